package xfs

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

var update = flag.Bool("update", false, "make testdata anew (root)")

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	// mkfs.xfs refuses filesystems under 300 MiB unless its test suite runs it.
	c.Env = append(os.Environ(), "TEST_DIR=1", "TEST_DEV=1", "QA_CHECK_FS=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// makeImage makes a filesystem on a file that is full of 0xaa: a zeroed one hides
// reads of the wrong block. A large file is left sparse.
func makeImage(t testing.TB, path string, mib int, options ...string) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Repeat([]byte{0xaa}, min(mib, 64)<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.xfs", append([]string{"-q", "-f", "-K"}, append(options, path)...)...)
}

// mount mounts an image until the returned function is called.
func mount(t testing.TB, image, options string) (string, func()) {
	t.Helper()
	needs.Root(t, "mounting")
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "xfs", "-o", "loop,noatime,nouuid"+options, image, dir).CombinedOutput(); err != nil {
		t.Skipf("this kernel does not mount it: %v: %s", err, out)
	}
	done := false
	umount := func() {
		if !done {
			done = true
			run(t, "umount", dir)
		}
	}
	t.Cleanup(umount)
	return dir, umount
}

// open opens an image; warnings fail the test unless they are wanted.
func open(t testing.TB, path string, o evidence.Options) *FS {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if o.Warn == nil {
		o.Warn = func(err error) { t.Errorf("warning: %v", err) }
	}
	fsys, err := Open(f, info.Size(), o)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func stamp(tm time.Time) string {
	if tm.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%d.%09d", tm.Unix(), tm.Nanosecond())
}

// line is how both sides of a comparison describe an inode.
func line(i evidence.Info, size int64, detail string, xattrs map[string][]byte) string {
	var x strings.Builder
	for _, k := range slices.Sorted(maps.Keys(xattrs)) {
		fmt.Fprintf(&x, " %q=%x", k, sha256.Sum256(xattrs[k]))
	}
	return fmt.Sprintf("%s %04o %d:%d links %d inode %d size %d m%s a%s c%s b%s %s%s", i.Type, i.Perm, i.UID, i.GID, i.Nlink, i.Inode,
		size, stamp(i.Mtime), stamp(i.Atime), stamp(i.Ctime), stamp(i.Btime), detail, x.String())
}

// readAll describes every path of f.
func readAll(t testing.TB, f *FS) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			t.Errorf("%q: %v", path, err)
			return nil
		}
		detail := ""
		switch info.Type {
		case evidence.TypeSymlink:
			target, err := f.ReadLink(e.Ino)
			detail = fmt.Sprintf("-> %q %v", target, err)
		case evidence.TypeChar, evidence.TypeBlock:
			detail = fmt.Sprintf("%d:%d", info.Major, info.Minor)
		case evidence.TypeFile:
			b, err := evidence.ReadInode(f, e.Ino, 1<<30)
			detail = fmt.Sprintf("%x %v", sha256.Sum256(b), err)
		}
		x, err := f.Xattrs(e.Ino)
		if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		out[path] = line(info, info.Size, detail, x)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// kernelSays describes every path below dir as the kernel shows it.
func kernelSays(t testing.TB, dir string) map[string]string {
	t.Helper()
	births := make(map[string]time.Time)
	found := strings.Split(run(t, "sh", "-c", `cd "$1" && find . -print0 | xargs -0 stat --printf '%n\0%.9W\0'`, "sh", dir), "\x00")
	for i := 0; i+1 < len(found); i += 2 {
		var s, ns int64
		if _, err := fmt.Sscanf(found[i+1], "%d.%d", &s, &ns); err != nil {
			t.Fatal(err)
		}
		births[strings.TrimPrefix(strings.TrimPrefix(found[i], "."), "/")] = time.Unix(s, ns).UTC()
	}
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(p, dir), "/")
		var st syscall.Stat_t
		if err := syscall.Lstat(p, &st); err != nil {
			return err
		}
		ts := func(s syscall.Timespec) time.Time { return time.Unix(s.Sec, s.Nsec).UTC() }
		i := evidence.Info{Inode: st.Ino, Type: evidence.TypeOfMode(uint16(st.Mode)), Perm: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid,
			Nlink: uint32(st.Nlink), Mtime: ts(st.Mtim), Atime: ts(st.Atim), Ctime: ts(st.Ctim), Btime: births[rel]}
		detail := ""
		switch i.Type {
		case evidence.TypeSymlink:
			target, err := os.Readlink(p)
			detail = fmt.Sprintf("-> %q %v", target, err)
		case evidence.TypeChar, evidence.TypeBlock:
			detail = fmt.Sprintf("%d:%d", st.Rdev>>8&0xfff, st.Rdev&0xff|st.Rdev>>12&0xfff00)
		case evidence.TypeFile:
			b, err := os.ReadFile(p)
			detail = fmt.Sprintf("%x %v", sha256.Sum256(b), err)
		}
		out[rel] = line(i, st.Size, detail, kernelXattrs(t, p, i.Type))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func kernelXattrs(t testing.TB, path string, typ evidence.Type) map[string][]byte {
	if typ == evidence.TypeSymlink {
		return nil // package syscall would follow it
	}
	out := make(map[string][]byte)
	list := make([]byte, 1<<16)
	n, err := syscall.Listxattr(path, list)
	if err != nil {
		t.Fatal(path, err)
	}
	for _, name := range strings.FieldsFunc(string(list[:n]), func(r rune) bool { return r == 0 }) {
		v := make([]byte, 1<<16)
		n, err := syscall.Getxattr(path, name, v)
		if err != nil {
			t.Fatal(path, name, err)
		}
		out[name] = v[:n]
	}
	return out
}

// compare reports where two descriptions differ.
func compare(t *testing.T, want, got map[string]string) {
	t.Helper()
	all := maps.Clone(want)
	maps.Copy(all, got)
	bad := 0
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if want[p] != got[p] {
			if bad++; bad <= 10 {
				t.Errorf("%q:\n got %s\nwant %s", p, got[p], want[p])
			}
		}
	}
	t.Logf("%d paths compared, %d differ", len(all), bad)
}

// populate fills a mounted filesystem with what readers get wrong.
func populate(t testing.TB, dir string) {
	t.Helper()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(path, data string) { must(os.WriteFile(path, []byte(data), 0o640)) }
	for _, d := range []string{"short", "block", "leaf", "node", "x", "other", "opaque"} {
		must(os.Mkdir(at(d), 0o750))
	}
	put(at("hello"), "hello")
	must(os.Chmod(at("hello"), 0o4755|os.ModeSetuid))
	must(os.Chown(at("hello"), 100000, 165536))
	must(os.Link(at("hello"), at("x", "hardlink")))
	for i := range 3 {
		put(at("short", fmt.Sprint("f", i)), "")
	}
	for i := range 15 {
		put(at("block", fmt.Sprint("file-name-", i)), "")
	}
	for i := range 200 {
		put(at("leaf", fmt.Sprint("leaf-folder-entry-name-", i)), "")
	}
	// Two folders that grow by turns get an extent for nearly every block.
	pad := strings.Repeat("-long-name", 18)
	for i := range 250 {
		must(os.Link(at("hello"), at("node", fmt.Sprint(i, pad))))
		must(os.Link(at("hello"), at("other", fmt.Sprint(i, pad))))
	}
	for i := 0; i < 250; i += 3 {
		must(os.Remove(at("node", fmt.Sprint(i, pad))))
	}
	for _, n := range []int{1, 100, 335, 336, 337, 500, 967, 968, 969, 1023} {
		must(os.Symlink("/"+strings.Repeat("l", n-1), at(fmt.Sprint("link", n))))
	}
	for name, dev := range map[string]int{"null": 1<<8 | 3, "whiteout": 0, "big": 259<<8 | 70000&0xff | 70000&^0xff<<12} {
		must(syscall.Mknod(at("x", name), syscall.S_IFCHR|0o600, dev))
	}
	must(syscall.Mknod(at("x", "sda"), syscall.S_IFBLK|0o660, 8<<8|1))
	must(syscall.Mkfifo(at("x", "fifo"), 0o600))
	populateAttrs(t, at, put)
	populateFiles(t, at, put)
	for name, tm := range map[string]time.Time{"y1960": time.Unix(-300000000, 5), "y2039": time.Unix(2190000000, 1), "y2100": time.Unix(4102444800, 123456789)} {
		put(at("x", name), "")
		must(os.Chtimes(at("x", name), tm.Add(1), tm))
	}
	for _, name := range []string{"\xff\xfe-bad", "new\nline", "naïve-文件", " leading", strings.Repeat("n", 255)} {
		put(at("short", name), name)
	}
	for i := range 10 {
		put(at("x", fmt.Sprint("gone", i)), "gone")
	}
	for i := range 10 {
		must(os.Remove(at("x", fmt.Sprint("gone", i))))
	}
}

func populateAttrs(t testing.TB, at func(...string) string, put func(path, data string)) {
	set := func(path, name string, value []byte) {
		t.Helper()
		if err := syscall.Setxattr(path, name, value, 0); err != nil {
			t.Fatal(path, name, err)
		}
	}
	set(at("opaque"), "trusted.overlay.opaque", []byte("y"))
	for _, f := range []string{"ea", "ea-many", "ea-remote", "ea-leaf"} {
		put(at("x", f), f)
	}
	set(at("x", "ea"), "trusted.overlay.metacopy", nil)
	set(at("x", "ea"), "user.small", []byte("small"))
	set(at("x", "ea"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	for i := range 120 {
		set(at("x", "ea-many"), fmt.Sprint("user.key-", i), bytes.Repeat([]byte{byte(i)}, i))
	}
	for i := range 6 {
		set(at("x", "ea-leaf"), fmt.Sprint("user.k", i), bytes.Repeat([]byte{byte(i)}, 90))
	}
	for _, n := range []int{968, 3000, 65536} {
		set(at("x", "ea-remote"), fmt.Sprint("user.large", n), bytes.Repeat([]byte{byte(n / 3)}, n))
	}
	// user::rw- user:1000:rwx group::r-- mask::rwx other::r--
	acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x07\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff")
	set(at("x", "ea"), "system.posix_acl_access", acl)
	set(at("opaque"), "system.posix_acl_default", acl)
}

func populateFiles(t testing.TB, at func(...string) string, put func(path, data string)) {
	edit := func(name string, fn func(*os.File) error) {
		t.Helper()
		f, err := os.Create(at("x", name))
		if err == nil {
			err = fn(f)
		}
		if err != nil {
			t.Fatal(name, err)
		}
		f.Close()
	}
	write := func(f *os.File, off int64, b byte, n int) error {
		_, err := f.WriteAt(bytes.Repeat([]byte{b}, n), off)
		return err
	}
	edit("sparse", func(f *os.File) error {
		if err := write(f, 100<<10, 'S', 5000); err != nil {
			return err
		}
		return f.Truncate(300 << 10)
	})
	edit("hole", func(f *os.File) error { return f.Truncate(1 << 20) })
	edit("preallocated", func(f *os.File) error {
		if err := write(f, 0, 'F', 3000); err != nil {
			return err
		}
		return syscall.Fallocate(int(f.Fd()), 0, 0, 200<<10)
	})
	edit("fragmented", func(f *os.File) error {
		for i := range 150 {
			if err := write(f, int64(i)*8192, byte(i), 4096); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return nil
	})
	for _, n := range []int{0, 1, 1023, 1024, 1025, 4097} {
		put(at("x", fmt.Sprint("size", n)), strings.Repeat("z", n))
	}
	put(at("x", "shared"), strings.Repeat("shared", 3000))
	run(t, "cp", "--reflink=auto", at("x", "shared"), at("x", "clone"))
	edit("clone2", func(f *os.File) error {
		src, err := os.Open(at("x", "shared"))
		if err != nil {
			return err
		}
		defer src.Close()
		const ficlone = 0x40049409
		syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ficlone, src.Fd()) // fails without reflink
		return write(f, 5000, 'c', 100)
	})
}

// TestKernel compares with what the kernel shows, over the ways of making a filesystem.
func TestKernel(t *testing.T) {
	needs.Tool(t, "mkfs.xfs", "mount")
	for _, c := range []struct {
		name    string
		mib     int
		options []string
	}{
		{"default", 64, nil},
		{"1k", 32, []string{"-b", "size=1024", "-m", "rmapbt=1"}},
		{"nrext64", 64, []string{"-i", "nrext64=1", "-n", "size=16384"}},
		{"inode2k", 64, []string{"-i", "size=2048", "-s", "size=4096"}},
		{"old", 48, []string{"-m", "bigtime=0,inobtcount=0,finobt=0,reflink=0", "-i", "sparse=0", "-d", "agcount=3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "xfs.img")
			makeImage(t, image, c.mib, c.options...)
			dir, umount := mount(t, image, "")
			populate(t, dir)
			umount()
			dir, umount = mount(t, image, ",ro")
			want := kernelSays(t, dir)
			umount()
			f := open(t, image, evidence.Options{})
			compare(t, want, readAll(t, f))
			checkScan(t, f)
			if s := evidence.Describe(f).Journal.State; s != evidence.JournalClean {
				t.Errorf("journal is %q", s)
			}
		})
	}
}

// checkScan compares the passes in disk order with a walk.
func checkScan(t *testing.T, f *FS) {
	t.Helper()
	inodes := make(map[evidence.Ino]evidence.Inode)
	var dirs []evidence.Ino
	for i, err := range f.Inodes() {
		if err != nil {
			t.Error(err)
			continue
		}
		if _, twice := inodes[i.Ino]; twice {
			t.Errorf("inode %d twice", i.Ino)
		}
		inodes[i.Ino] = i
		if i.Info.Type == evidence.TypeDir {
			dirs = append(dirs, i.Ino)
		}
	}
	entries := make(map[evidence.DirEntry]int)
	for range 2 { // with what the pass over the inodes kept, and without
		for e, err := range f.Entries(dirs) {
			if err != nil {
				t.Error(err)
				continue
			}
			entries[e]++
		}
	}
	reached := make(map[evidence.Ino]bool)
	err := evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		reached[e.Ino] = true
		i := inodes[e.Ino]
		if i.Info != info {
			t.Errorf("%q: scanned as %+v, is %+v", path, i.Info, info)
		}
		x, err := f.Xattrs(e.Ino)
		if err != nil {
			t.Error(err)
		}
		if want := slices.Sorted(maps.Keys(x)); !slices.Equal(i.Xattrs, want) {
			t.Errorf("%q: scanned attributes %q, are %q", path, i.Xattrs, want)
		}
		if info.Type == evidence.TypeSymlink {
			if target, err := f.ReadLink(e.Ino); target != i.Target || err != nil {
				t.Errorf("%q: scanned target %q, is %q, %v", path, i.Target, target, err)
			}
		}
		if info.Type == evidence.TypeDir {
			checkFolder(t, f, e.Ino, entries)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if len(reached) != len(inodes) || len(entries) != 0 {
		t.Errorf("%d inodes scanned, %d reached; %d entries that no walk finds", len(inodes), len(reached), len(entries))
	}
}

func checkFolder(t *testing.T, f *FS, dir evidence.Ino, entries map[evidence.DirEntry]int) {
	t.Helper()
	for e, err := range f.ReadDir(dir) {
		if err != nil {
			t.Error(err)
			continue
		}
		k := evidence.DirEntry{Dir: dir, Entry: e}
		if entries[k] != 2 {
			t.Errorf("entry %+v was scanned %d times in two passes", k, entries[k])
		}
		delete(entries, k)
		if got, err := f.Lookup(dir, e.Name); got != e || err != nil {
			t.Errorf("lookup of %q: %+v, %v", e.Name, got, err)
		}
	}
	if _, err := f.Lookup(dir, "no such name"); err != fs.ErrNotExist {
		t.Errorf("lookup of a missing name: %v", err)
	}
}
