package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/runtimes"
)

// viewLines lists all that a tar can hold of a tree's files, by path.
func viewLines(t *testing.T, n *Node, view *Tree) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := n.List(context.Background(), view, "/", ListOptions{Recursive: true, Hash: true}, func(f File) error {
		nlink := f.Info.Nlink
		if f.Info.Type == evidence.TypeDir {
			nlink = 0
		}
		var x []string
		for _, k := range slices.Sorted(maps.Keys(f.Xattrs)) {
			x = append(x, fmt.Sprintf("%s=%x", k, f.Xattrs[k]))
		}
		if f.Path != "/" {
			size := f.Info.Size
			if f.Info.Type == evidence.TypeDir {
				size = 0
			}
			out[f.Path] = fmt.Sprintf("%s %04o %d:%d %d %d %q %s %s %d:%d %s", f.Info.Type, f.Info.Perm, f.Info.UID, f.Info.GID, nlink, size,
				f.Target, f.SHA256, f.Info.Mtime, f.Info.Major, f.Info.Minor, x)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBlobsForFolders has an image's blobs stand for its folders, and compares
// both views file by file.
func TestBlobsForFolders(t *testing.T) {
	n := openFixture(t, "eks-xfs", Options{TempDir: t.TempDir()})
	compared := 0
	for _, i := range n.Images() {
		if len(i.Blobs) == 0 || slices.ContainsFunc(i.Blobs, func(b runtimes.Blob) bool { return b.Path == "" }) {
			continue
		}
		folders, err := n.ImageView(i)
		if err != nil {
			t.Fatal(err)
		}
		packed := *i
		packed.Rootfs = runtimes.Rootfs{}
		blobs, err := n.ImageView(&packed)
		if err != nil {
			t.Fatal(err)
		}
		want, got := viewLines(t, n, folders), viewLines(t, n, blobs)
		for path, line := range want {
			if got[path] != line {
				t.Errorf("%s %s:\nblob   %s\nfolder %s", i.DisplayName(), path, got[path], line)
			}
			compared++
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d files, not %d", i.DisplayName(), len(got), len(want))
		}
	}
	if compared < 500 {
		t.Fatalf("only %d files were compared", compared)
	}
	if gaps := n.Gaps(); len(gaps) != 0 {
		t.Errorf("gaps: %v", gaps)
	}
	t.Logf("%d files", compared)
}

// TestLayerOption brings a layer from outside for a folder that is missing.
func TestLayerOption(t *testing.T) {
	from := openFixture(t, "eks-xfs", Options{})
	i, err := from.FindImage("docker.io/library/nginx:1.25.3")
	if err != nil {
		t.Fatal(err)
	}
	const layer = 2
	path := filepath.Join(t.TempDir(), "layer.tar.gz")
	r, err := openPath(i.store, i.Blobs[layer].Path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := evidence.ReadFile(i.store.Tree, i.store.Tree.Root(), i.Blobs[layer].Path, r.Size())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(b)
	flipped[len(b)/2] ^= 1
	bad := filepath.Join(filepath.Dir(path), "flipped")
	if err := os.WriteFile(bad, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	l := i.Rootfs.Lower[len(i.Layers)-1-layer]
	l.Dir += "-gone"
	for _, tc := range []struct {
		name, digest, path string
		gap                string // "": found whole
	}{
		{"diff id", i.Layers[layer], path, ""},
		{"blob", i.Blobs[layer].Digest, path, ""},
		{"damaged", i.Layers[layer], bad, "flipped"},
		{"another's", i.Layers[layer], "", "unpacks to"},
		{"none", i.Layers[0], path, "--layer " + i.Layers[layer]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.path == "" {
				tc.path = filepath.Join(filepath.Dir(path), "empty.tar")
				if err := os.WriteFile(tc.path, make([]byte, 1024), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			n := openFixture(t, "eks-xfs", Options{TempDir: t.TempDir(), Layers: []LayerOption{{tc.digest, tc.path}}})
			n.images = func() []*Image { // its blob isn't on the disk
				c := *i
				c.Blobs = slices.Clone(c.Blobs)
				c.Blobs[layer].Path = ""
				return []*Image{&c}
			}
			n.Stores = nil
			fsys, root, err := n.layerPlace(i.store, l, i.Rootfs)
			var text []string
			for _, g := range n.Gaps() {
				text = append(text, g.Message)
			}
			if err != nil {
				if text = append(text, err.Error()); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("error %v", err)
				}
			}
			if all := strings.Join(text, "\n"); tc.gap == "" && err != nil || !strings.Contains(all, tc.gap) {
				t.Fatalf("err %v, gaps %s", err, all)
			}
			if tc.gap != "" {
				return
			}
			want := viewLines(t, n, &Tree{FS: evidence.Sub(i.store.Tree, mustRoot(t, from, i, layer))})
			for path, line := range viewLines(t, n, &Tree{FS: evidence.Sub(fsys, root)}) {
				if want[path] != line {
					t.Errorf("%s:\n got %s\nwant %s", path, line, want[path])
				}
			}
			if len(n.Gaps()) != 1 {
				t.Errorf("gaps: %v", n.Gaps())
			}
		})
	}
}

func mustRoot(t *testing.T, n *Node, i *Image, layer int) evidence.Ino {
	t.Helper()
	ino, err := n.layerRoot(i.store, i.Rootfs.Lower[len(i.Layers)-1-layer].Dir)
	if err != nil {
		t.Fatal(err)
	}
	return ino
}

func TestParseLayerOption(t *testing.T) {
	hexed := strings.Repeat("ab", 32)
	for in, want := range map[string]LayerOption{
		"sha256:" + hexed + "=/x=y": {"sha256:" + hexed, "/x=y"},
		hexed + "=layer.tar":        {"sha256:" + hexed, "layer.tar"},
		"sha256:ab=x":               {}, hexed: {}, hexed + "=": {}, "=": {}, "": {},
	} {
		got, err := ParseLayerOption(in)
		if got != want || (err == nil) != (want != LayerOption{}) {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
}
