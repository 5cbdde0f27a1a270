package squashfs_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/evidence/squashfs"
)

var update = flag.Bool("update", false, "make testdata's images anew, as root")

// golden are images of one tree, made by mksquashfs 4.5. No kernel reads lzma ones.
var golden = map[string][]string{
	"gzip":         {},
	"gzip-4k":      {"-b", "4K"},
	"lzma":         {"-comp", "lzma"},
	"lzo":          {"-comp", "lzo"},
	"xz":           {"-comp", "xz"},
	"lz4":          {"-comp", "lz4", "-Xhc", "-b", "8K"},
	"zstd":         {"-comp", "zstd"},
	"plain":        {"-noI", "-noD", "-noF", "-noX"},
	"no-fragments": {"-no-fragments", "-b", "16K"},
}

func unpack(t testing.TB, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", name+".squashfs.zst"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t testing.TB, b []byte) *squashfs.FS {
	t.Helper()
	f, err := squashfs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(err error) { t.Errorf("warning: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// list gives a tree as text, without what differs between images of it.
func list(t testing.TB, f evidence.FS) string {
	t.Helper()
	var out strings.Builder
	err := evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "/%s %s %04o %d:%d %d", path, i.Type, i.Perm, i.UID, i.GID, i.Nlink)
		fmt.Fprintf(&out, " %d", i.Mtime.Unix())
		switch i.Type {
		case evidence.TypeFile:
			r, err := f.Open(e.Ino)
			if err != nil {
				return err
			}
			h := sha256.New()
			if _, err := io.Copy(h, r); err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d %x", i.Size, h.Sum(nil)[:8])
		case evidence.TypeSymlink:
			target, err := f.ReadLink(e.Ino)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " ->%s", target)
		case evidence.TypeChar, evidence.TypeBlock:
			fmt.Fprintf(&out, " %d:%d", i.Major, i.Minor)
		}
		x, err := f.Xattrs(e.Ino)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(x)) {
			fmt.Fprintf(&out, " %s=%x", name, x[name])
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	truth := filepath.Join("testdata", "tree.txt")
	if *update {
		makeGolden(t)
		if err := os.WriteFile(truth, []byte(list(t, open(t, unpack(t, "gzip")))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(truth)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(golden)) {
		t.Run(name, func(t *testing.T) {
			f := open(t, unpack(t, name))
			if have := list(t, f); have != string(want) {
				h, w := strings.Split(have, "\n"), strings.Split(string(want), "\n")
				for i := range min(len(h), len(w)) {
					if h[i] != w[i] {
						t.Fatalf("have %s\nwant %s", h[i], w[i])
					}
				}
				t.Fatalf("%d lines, want %d", len(h), len(w))
			}
			d := f.Describe()
			if d.Type != "squashfs" || d.Size == 0 || d.Created.Year() != 2023 || len(d.Features) < 2 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// makeGolden makes the images; that they are read right, TestKernel shows of others.
func makeGolden(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	fillGolden(t, tree)
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range golden {
		image := filepath.Join(t.TempDir(), "image")
		args := append([]string{tree, image, "-quiet", "-no-progress", "-mkfs-time", "1700000000"}, options...)
		if out, err := exec.Command(mksquashfs(), args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name+".squashfs.zst"), w.EncodeAll(b, nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
