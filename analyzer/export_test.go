package analyzer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/text"
)

// TestExportTruth compares each container's tar with what the live mount of it held.
func TestExportTruth(t *testing.T) {
	for _, name := range []string{"docker-ext4", "podman-ext4"} {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, name, Options{})
			entries := 0
			for _, tc := range loadTruth(t, name).Containers {
				if tc.Merged == nil {
					continue
				}
				c, err := n.FindContainer(tc.ID)
				if err != nil {
					t.Fatal(err)
				}
				view, err := n.View(c)
				if err != nil {
					t.Fatal(err)
				}
				got := exportedLines(t, n, view)
				for _, f := range tc.Merged {
					want := f.line()
					if f.Path == "/" || f.Type == "s" {
						continue
					}
					if got[f.Path] != want {
						t.Errorf("%s %s:\n got %s\nwant %s", view.Name, f.Path, got[f.Path], want)
					}
					delete(got, f.Path)
					entries++
				}
				for path := range got {
					t.Errorf("%s: %s is not in the container", view.Name, path)
				}
			}
			if entries < 100 {
				t.Fatalf("only %d entries were compared", entries)
			}
			t.Logf("%d entries", entries)
		})
	}
}

// exportedLines reads the tar of a tree and returns its entries by path, hard
// links as the files that they lead to.
func exportedLines(t *testing.T, n *Node, view *Tree) map[string]string {
	t.Helper()
	var b bytes.Buffer
	if err := n.ExportTar(context.Background(), view, &b, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	types := map[byte]evidence.Type{
		tar.TypeReg: evidence.TypeFile, tar.TypeDir: evidence.TypeDir, tar.TypeSymlink: evidence.TypeSymlink,
		tar.TypeChar: evidence.TypeChar, tar.TypeBlock: evidence.TypeBlock, tar.TypeFifo: evidence.TypeFIFO,
	}
	out := make(map[string]string)
	var order []string
	r := tar.NewReader(&b)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := "/" + strings.TrimSuffix(h.Name, "/")
		order = append(order, strings.ReplaceAll(name, "/", "\x00"))
		path, _ := text.ForJSON(name)
		if h.Typeflag == tar.TypeLink {
			out[path] = out["/"+h.Linkname]
			continue
		}
		sum, size, rdev := "", "", ""
		switch h.Typeflag {
		case tar.TypeReg:
			s := sha256.New()
			if _, err := io.Copy(s, r); err != nil {
				t.Fatal(err)
			}
			sum, size = hex.EncodeToString(s.Sum(nil)), fmt.Sprint(h.Size)
		case tar.TypeChar, tar.TypeBlock:
			rdev = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
		}
		xattrs := make(map[string]string)
		for k, v := range h.PAXRecords {
			if x, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
				xattrs[x] = hex.EncodeToString([]byte(v))
			}
		}
		target, _ := text.ForJSON(h.Linkname)
		out[path] = fileLine(types[h.Typeflag].String(), fmt.Sprintf("%04o", h.Mode&0o7777), uint32(h.Uid), uint32(h.Gid), h.ModTime.UnixNano(), size, sum, target, rdev, xattrs)
	}
	if !slices.IsSorted(order) {
		t.Error("entries are not in the order of a walk")
	}
	return out
}

// TestExportUpper checks a container's changes against what docker diff printed of it.
func TestExportUpper(t *testing.T) {
	n := openFixture(t, "docker-ext4", Options{})
	compared := 0
	for _, tc := range loadTruth(t, "docker-ext4").Containers {
		c, err := n.FindContainer(tc.ID)
		if err != nil {
			t.Fatal(err)
		}
		view, err := n.View(c)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := n.ExportTar(context.Background(), view, &b, ExportOptions{Upper: true}); err != nil {
			t.Fatal(err)
		}
		names, opaque := upperNames(t, &b)
		for _, line := range tc.Diff {
			kind, path, _ := strings.Cut(line, " ")
			if kind == "D" {
				dir, base := path[:strings.LastIndex(path, "/")], path[strings.LastIndex(path, "/")+1:]
				if !names[dir+"/.wh."+base] && !opaque[dir] {
					t.Errorf("%s: no whiteout for %s", view.Name, path)
				}
			} else if !names[path] {
				t.Errorf("%s: %s is not among the changes", view.Name, path)
			}
			compared++
		}
	}
	if compared < 20 {
		t.Fatalf("only %d lines were compared", compared)
	}
}

func upperNames(t *testing.T, from io.Reader) (names, opaque map[string]bool) {
	names, opaque = make(map[string]bool), make(map[string]bool)
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names, opaque
		}
		if err != nil {
			t.Fatal(err)
		}
		name := "/" + strings.TrimSuffix(h.Name, "/")
		if dir, ok := strings.CutSuffix(name, "/.wh..wh..opq"); ok {
			opaque[dir] = true
		}
		names[name] = true
	}
}
