package packtest

import (
	"bytes"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/internal/needs"
)

var big = flag.Bool("packtest.big", false, "compare images of a big tree")

// TestKernel packs one folder in every way, has the kernel read the images, and
// compares everything it says. What a version of the tool or the kernel doesn't
// know is skipped.
func (f Format) TestKernel(t *testing.T, variants [][]string) {
	needs.Root(t, "mounting")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	f.Shape.fill(t, tree)
	for _, options := range variants {
		t.Run(strings.Join(append([]string{f.First}, options...), " "), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			make := f.Make(image, tree, false, options)
			needs.Tool(t, make.Path)
			if out, err := make.CombinedOutput(); err != nil {
				t.Skipf("this %s can't: %s", make.Args[0], firstLine(out))
			}
			mnt := filepath.Join(dir, "mnt")
			os.MkdirAll(mnt, 0o755)
			if out, err := exec.Command("mount", "-t", f.Name, "-o", "loop,ro", image, mnt).CombinedOutput(); err != nil {
				t.Skipf("this kernel can't: %s", firstLine(out))
			}
			defer exec.Command("umount", mnt).Run()
			fsys := f.openImage(t, image)
			compareTrees(t, fsys, fsys.Root(), mnt)
		})
	}
}

// makeGolden makes the images; that they are read right, TestKernel shows of others.
func (f Format) makeGolden(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	fillGolden(t, tree)
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range f.Golden {
		image := filepath.Join(t.TempDir(), "image")
		if out, err := f.Make(image, tree, true, options).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.path(name), w.EncodeAll(b, nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return s
}

func (f Format) openImage(t testing.TB, path string) evidence.FS {
	t.Helper()
	h, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	info, err := h.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f.opened(t, h, info.Size())
}

// compareTrees compares everything that the kernel shows of a mounted image.
func compareTrees(t *testing.T, f evidence.FS, ino evidence.Ino, path string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat(ino)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	if info.Inode != st.Ino || info.Type != evidence.TypeOfMode(uint16(st.Mode)) || info.Perm != uint16(st.Mode)&0o7777 || info.UID != st.Uid || info.GID != st.Gid ||
		uint64(info.Nlink) != uint64(st.Nlink) || info.Size != st.Size || info.Mtime.UnixNano() != st.Mtim.Nano() || info.Major != unix.Major(st.Rdev) || info.Minor != unix.Minor(st.Rdev) {
		t.Errorf("%s: %+v, the kernel says %+v", path, info, st)
	}
	x, err := f.Xattrs(ino)
	if want := hostXattrs(t, path); err != nil || !maps.EqualFunc(x, want, bytes.Equal) {
		t.Errorf("%s: extended attributes %d, %v; the kernel says %d", path, len(x), err, len(want))
	}
	switch info.Type {
	case evidence.TypeDir:
		compareDirs(t, f, ino, path)
	case evidence.TypeFile:
		compareContent(t, f, ino, path)
	case evidence.TypeSymlink:
		target, err := f.ReadLink(ino)
		if want, _ := os.Readlink(path); err != nil || target != want {
			t.Errorf("%s: target %q, %v; the kernel says %q", path, target, err, want)
		}
	}
}

func compareDirs(t *testing.T, f evidence.FS, ino evidence.Ino, path string) {
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, e := range list {
		want[e.Name()] = true
	}
	for e, err := range f.ReadDir(ino) {
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if !want[e.Name] {
			t.Errorf("%s: %q is not there", path, e.Name)
			continue
		}
		delete(want, e.Name)
		if again, err := evidence.Lookup(f, ino, e.Name); err != nil || again != e {
			t.Errorf("%s: Lookup of %q: %v, %v", path, e.Name, again, err)
		}
		if info, err := f.Stat(e.Ino); err == nil && info.Type != e.Type {
			t.Errorf("%s: %q is a %s, the entry says %s", path, e.Name, info.Type, e.Type)
		}
		compareTrees(t, f, e.Ino, filepath.Join(path, e.Name))
	}
	for name := range want {
		t.Errorf("%s: %q is missing", path, name)
	}
	for _, name := range []string{"", "\x00", "none", "zzzzz"} {
		if _, err := evidence.Lookup(f, ino, name); err == nil {
			t.Errorf("%s: Lookup finds %q", path, name)
		}
	}
}

func compareContent(t *testing.T, f evidence.FS, ino evidence.Ino, path string) {
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Open(ino)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	have := make([]byte, len(want))
	if n, err := r.ReadAt(have, 0); n != len(want) || !bytes.Equal(have, want) {
		at := 0
		for at < n && have[at] == want[at] {
			at++
		}
		t.Errorf("%s: %d bytes of %d, other from %#x: %v", path, n, len(want), at, err)
		return
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(want))))
	for range min(20, len(want)) {
		off := rng.IntN(len(want))
		b := make([]byte, 1+rng.IntN(min(len(want)-off, 9000)))
		if n, err := r.ReadAt(b, int64(off)); n != len(b) || !bytes.Equal(b, want[off:off+n]) {
			t.Errorf("%s: %d bytes at %#x: %d, %v", path, len(b), off, n, err)
		}
	}
}

func hostXattrs(t *testing.T, path string) map[string][]byte {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err == unix.EOPNOTSUPP { // the image was made without any
		return nil
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	out := map[string][]byte{}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, v)
		if err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
		out[name] = v[:n]
	}
	return out
}
