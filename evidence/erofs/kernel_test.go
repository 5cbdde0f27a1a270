//go:build linux

package erofs_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/evidence/erofs"
	"lagan/internal/needs"
)

var big = flag.Bool("erofs.big", false, "compare images of a big tree")

// mkfs is the mkfs.erofs to use: another one than the system's makes more
// formats.
func mkfs() string {
	if p := os.Getenv("MKFS_EROFS"); p != "" {
		return p
	}
	return "mkfs.erofs"
}

// variants are options of mkfs.erofs. What a version of it doesn't know is skipped.
var variants = [][]string{
	{},
	{"-x-1"},
	{"-x1"},
	{"-Eforce-inode-extended"},
	{"-Eforce-inode-compact", "-T1700000000"},
	{"-Enoinline_data"},
	{"--chunksize=4096"},
	{"--chunksize=65536"},
	{"-Eforce-chunk-indexes", "--chunksize=8192"},
	{"-zlz4"},
	{"-zlz4hc,9"},
	{"-zlz4hc,12", "-C65536"},
	{"-zlz4", "-Elegacy-compress"},
	{"-zlz4", "-Eztailpacking"},
	{"-zlz4hc", "-C16384", "-Eztailpacking"},
	{"-b512"},
	{"-b1024", "-zlz4"},
	{"-zlz4hc", "-Efragments"},
	{"-zlz4hc", "-Eall-fragments,fragdedupe=full", "-C32768"},
	{"-zlz4hc", "-Ededupe", "-C32768"},
	{"-zlz4hc", "-Ededupe,fragments,ztailpacking", "-C65536"},
	{"-zlzma", "-C65536"},
	{"-zlzma,level=9,dictsize=32768"},
	{"-zdeflate", "-C32768", "-Eztailpacking"},
	{"-zzstd", "-C65536", "-Efragments"},
	{"-zzstd,level=19", "-C1048576"},
	{"-zlz4hc:zstd", "-C32768"},
	{"-zzstd", "-E48bit"},
	{"-E48bit"},
	{"-zzstd", "-C65536", "--max-extent-bytes=65536", "-E48bit"},
	{"-zlz4hc", "--zD=1"},
	{"-zzstd", "-m4096"},
	{"-zlz4", "-m4096", "--MZ=i"},
	{"-Exattr-name-filter", "--xattr-prefix=user.note."},
	{"-zlz4", "-m4096", "--xattr-prefix=trusted.overlay.", "--xattr-prefix=user.note."},
}

// TestKernel makes images of one tree in every way, has the kernel read them,
// and compares everything it says.
func TestKernel(t *testing.T) {
	needs.Root(t, "mounting")
	if _, err := exec.LookPath(mkfs()); err != nil {
		needs.Lack(t, "%v", err)
	}
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	fill(t, tree)
	for _, options := range variants {
		t.Run(strings.Join(append([]string{"plain"}, options...), " "), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			if out, err := exec.Command(mkfs(), append(slices.Clone(options), image, tree)...).CombinedOutput(); err != nil {
				t.Skipf("this mkfs.erofs can't: %s", firstLine(out))
			}
			mnt := filepath.Join(dir, "mnt")
			os.MkdirAll(mnt, 0o755)
			if out, err := exec.Command("mount", "-t", "erofs", "-o", "loop,ro", image, mnt).CombinedOutput(); err != nil {
				t.Skipf("this kernel can't: %s", firstLine(out))
			}
			defer exec.Command("umount", mnt).Run()
			f := openImage(t, image)
			compareTrees(t, f, f.Root(), mnt)
		})
	}
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return s
}

func openImage(t testing.TB, path string) *erofs.FS {
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
	f, err := erofs.Open(h, info.Size(), evidence.Options{Warn: func(err error) { t.Errorf("warning: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// fill makes the tree: what readers of compressed files get wrong above all.
func fill(t *testing.T, top string) {
	rng := rand.New(rand.NewPCG(7, 7))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	j := func(p string) string { return filepath.Join(top, p) }
	for _, d := range []string{"sizes", "deep/er/est", "many", "sticky", "empty", "x"} {
		must(os.MkdirAll(j(d), 0o755))
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	text := func(n int) []byte {
		var b bytes.Buffer
		for b.Len() < n {
			fmt.Fprintf(&b, "line %d of %x\n", b.Len()%977, rng.Uint32()%5000)
		}
		return b.Bytes()[:n]
	}
	sizes, turns, names := []int{0, 1, 31, 100, 511, 512, 513, 1000, 4000, 4095, 4096, 4097, 8191, 8192, 12345, 65535, 65536, 70000}, 30, 300
	if *big {
		sizes, turns, names = append(sizes, 200001, 1<<20, 3_000_001), 300, 3000
	}
	for _, n := range sizes {
		must(os.WriteFile(j(fmt.Sprintf("sizes/random-%d", n)), random(n), 0o644))
		must(os.WriteFile(j(fmt.Sprintf("sizes/text-%d", n)), text(n), 0o600))
		must(os.WriteFile(j(fmt.Sprintf("sizes/zeros-%d", n)), make([]byte, n), 0o640))
	}
	// Blocks that compress and blocks that don't, by turns; the same again, for deduplication.
	var mixed []byte
	for i := range turns {
		if i%3 == 0 {
			mixed = append(mixed, random(5000)...)
		} else {
			mixed = append(mixed, text(7000)...)
		}
	}
	must(os.WriteFile(j("mixed"), mixed, 0o644))
	must(os.WriteFile(j("mixed-again"), append(random(777), mixed...), 0o644))
	sparse, err := os.Create(j("sparse"))
	must(err)
	_, err = sparse.WriteAt([]byte("in the middle"), 1<<20)
	must(err)
	must(sparse.Truncate(3 << 20))
	must(sparse.Close())
	for i := range names {
		must(os.WriteFile(j(fmt.Sprintf("many/a-rather-long-name-of-a-file-%05d", i)), fmt.Appendf(nil, "%d", i), 0o644))
	}
	must(os.WriteFile(j("deep/er/est/\xff\xfe bad name \n"), []byte("x"), 0o4755))
	must(os.Link(j("mixed"), j("deep/hardlink")))
	must(os.Symlink("../../etc/shadow", j("link")))
	must(os.Symlink("/"+strings.Repeat("l/", 1500), j("longlink")))
	must(unix.Mknod(j("x/whiteout"), unix.S_IFCHR, 0))
	must(unix.Mknod(j("x/big"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(unix.Mkfifo(j("x/fifo"), 0o640))
	must(os.Chmod(j("sticky"), os.ModeSticky|0o777))
	must(os.Chown(j("mixed"), 100000, 165536))
	for i := range 40 {
		must(unix.Lsetxattr(j(fmt.Sprintf("many/a-rather-long-name-of-a-file-%05d", i)), "user.note.shared", []byte("the same for all"), 0))
	}
	for i := range 16 { // what a block of ext4 holds
		must(unix.Lsetxattr(j("x"), fmt.Sprintf("user.note.%d", i), random(i*9), 0))
	}
	must(unix.Lsetxattr(j("deep"), "trusted.overlay.opaque", []byte("y"), 0))
	must(unix.Lsetxattr(j("mixed"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	must(unix.Lsetxattr(j("mixed"), "user.empty", nil, 0))
	for i, p := range []string{"mixed", "many", "link", "x/fifo", "sizes/zeros-0"} {
		ts := unix.NsecToTimespec(time.Date(1975+20*i, 1, 2, 3, 4, 5, 678901234, time.UTC).UnixNano())
		must(unix.UtimesNanoAt(unix.AT_FDCWD, j(p), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// fillGolden makes the small tree of the images in testdata.
func fillGolden(t *testing.T, top string) {
	rng := rand.New(rand.NewPCG(9, 9))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	j := func(p string) string { return filepath.Join(top, p) }
	must(os.MkdirAll(j("many"), 0o755))
	must(os.MkdirAll(j("d"), 0o1777))
	var text bytes.Buffer
	for text.Len() < 36_000 {
		fmt.Fprintf(&text, "line %d of %d\n", text.Len()%37, rng.Uint32()%9)
	}
	random := make([]byte, 2600)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	must(os.WriteFile(j("text"), text.Bytes(), 0o644))
	must(os.WriteFile(j("random"), random, 0o4755))
	must(os.WriteFile(j("mixed"), slices.Concat(text.Bytes()[:9999], random[:2500], text.Bytes()[5000:14_001]), 0o644))
	must(os.WriteFile(j("again"), text.Bytes()[:20_000], 0o600))
	must(os.WriteFile(j("zeros"), make([]byte, 40_000), 0o644))
	must(os.WriteFile(j("empty"), nil, 0o644))
	must(os.WriteFile(j("d/small"), []byte("small"), 0o644))
	for i := range 120 {
		must(os.WriteFile(j(fmt.Sprintf("many/a-name-that-takes-its-place-%03d", i)), fmt.Appendf(nil, "%d", i*i), 0o644))
	}
	must(os.Link(j("text"), j("d/hardlink")))
	must(os.Symlink("../../etc/shadow", j("link")))
	must(unix.Mknod(j("d/gone"), unix.S_IFCHR, 0))
	must(unix.Mknod(j("d/disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(unix.Mkfifo(j("d/fifo"), 0o640))
	must(os.Chown(j("random"), 100000, 165536))
	must(unix.Lsetxattr(j("text"), "user.note.one", []byte("1"), 0))
	must(unix.Lsetxattr(j("d"), "trusted.overlay.opaque", []byte("y"), 0))
	for _, p := range []string{"random", "mixed", "again", "zeros", "many"} {
		must(unix.Lsetxattr(j(p), "user.note.all", []byte("the same for all of them"), 0))
	}
	must(filepath.WalkDir(top, func(p string, _ os.DirEntry, err error) error {
		ts := unix.NsecToTimespec(1_600_000_000_123456789)
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// compareTrees compares everything that the kernel shows of a mounted image.
func compareTrees(t *testing.T, f *erofs.FS, ino evidence.Ino, path string) {
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

func compareDirs(t *testing.T, f *erofs.FS, ino evidence.Ino, path string) {
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
		if again, err := f.Lookup(ino, e.Name); err != nil || again != e {
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
		if _, err := f.Lookup(ino, name); err == nil {
			t.Errorf("%s: Lookup finds %q", path, name)
		}
	}
}

func compareContent(t *testing.T, f *erofs.FS, ino evidence.Ino, path string) {
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
