// Package packtest tests the readers of filesystems that a tool packs out of a
// folder in one go, erofs and squashfs: over images that their tools made, against
// the kernel, and over damaged ones. For tests alone.
package packtest

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
)

var update = flag.Bool("update", false, "make testdata's images anew, as root")

// Format is one such filesystem, and what makes it.
type Format struct {
	Name string // as mount -t takes it
	Open func(io.ReaderAt, int64, evidence.Options) (evidence.FS, error)
	// Make is the command that packs a folder into an image. The images of
	// testdata are to have the same bytes whenever they are made.
	Make func(image, tree string, golden bool, options []string) *exec.Cmd
	// Golden are the images in testdata, NAME.FORMAT.zst, with the options that each was made with.
	Golden map[string][]string
	First  string // the one of them that testdata/tree.txt was listed from
	// Near gives places of an image where its metadata is.
	Near func(rng *rand.Rand, size int) int
	// RootTime says that the root has its folder's time, not that of the packing.
	RootTime bool
	Shape    Shape
}

// Shape are the sizes of the folder that is packed for comparisons with the kernel.
type Shape struct {
	Sizes []int // of files; of each a random, a compressible and an empty one
	Turns int   // of blocks that compress and such that don't, in one file
	Names int   // in one folder
}

// Unpack returns an image of testdata.
func (f Format) Unpack(t testing.TB, name string) []byte {
	t.Helper()
	return fixtures.Unpack(t, f.path(name))
}

func (f Format) path(name string) string {
	return filepath.Join("testdata", name+"."+f.Name+".zst")
}

// Opened opens an image that nothing is wrong with.
func (f Format) Opened(t testing.TB, b []byte) evidence.FS {
	t.Helper()
	return f.opened(t, bytes.NewReader(b), int64(len(b)))
}

func (f Format) opened(t testing.TB, r io.ReaderAt, size int64) evidence.FS {
	t.Helper()
	fsys, err := f.Open(r, size, evidence.Options{Warn: func(err error) { t.Errorf("warning: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// list gives a tree as text, without what differs between images of it.
func (f Format) list(t testing.TB, fsys evidence.FS) string {
	t.Helper()
	var out strings.Builder
	err := evidence.Walk(fsys, fsys.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "/%s %s %04o %d:%d %d", path, i.Type, i.Perm, i.UID, i.GID, i.Nlink)
		if path != "" || f.RootTime { // compact inodes keep whole seconds
			fmt.Fprintf(&out, " %d", i.Mtime.Unix())
		}
		switch i.Type {
		case evidence.TypeFile:
			r, err := fsys.Open(e.Ino)
			if err != nil {
				return err
			}
			h := sha256.New()
			if _, err := io.Copy(h, r); err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d %x", i.Size, h.Sum(nil)[:8])
		case evidence.TypeSymlink:
			target, err := fsys.ReadLink(e.Ino)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " ->%s", target)
		case evidence.TypeChar, evidence.TypeBlock:
			fmt.Fprintf(&out, " %d:%d", i.Major, i.Minor)
		}
		x, err := fsys.Xattrs(e.Ino)
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

// TestGolden lists each image of testdata, and hands check what it says of itself.
func (f Format) TestGolden(t *testing.T, check func(evidence.Description) bool) {
	truth := filepath.Join("testdata", "tree.txt")
	if *update {
		f.makeGolden(t)
		if err := os.WriteFile(truth, []byte(f.list(t, f.Opened(t, f.Unpack(t, f.First)))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(truth)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Golden)) {
		t.Run(name, func(t *testing.T) {
			fsys := f.Opened(t, f.Unpack(t, name))
			if have := f.list(t, fsys); have != string(want) {
				h, w := strings.Split(have, "\n"), strings.Split(string(want), "\n")
				for i := range min(len(h), len(w)) {
					if h[i] != w[i] {
						t.Fatalf("have %s\nwant %s", h[i], w[i])
					}
				}
				t.Fatalf("%d lines, want %d", len(h), len(w))
			}
			if d := fsys.(evidence.Describer).Describe(); d.Type != f.Name || d.Size == 0 || d.Created.Year() != 2023 || !check(d) {
				t.Errorf("%+v", d)
			}
		})
	}
}
