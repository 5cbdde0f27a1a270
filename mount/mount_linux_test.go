package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/internal/needs"
)

// gaps collects what Guard is told.
type gaps struct {
	mu   sync.Mutex
	list []string
}

func (g *gaps) guard(path func() string, read func() error) {
	defer func() {
		if r := recover(); r != nil {
			g.add(fmt.Sprintf("%s: panic: %v", path(), r))
		}
	}()
	if err := read(); err != nil {
		g.add(path() + ": " + err.Error())
	}
}

func (g *gaps) add(s string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, s)
}

func (g *gaps) has(t *testing.T, part string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.ContainsFunc(g.list, func(s string) bool { return strings.Contains(s, part) }) {
		t.Errorf("no gap says %q: %q", part, g.list)
	}
}

// serving mounts trees for the length of a test.
func serving(t *testing.T, trees ...Tree) (folder string, g *gaps) {
	t.Helper()
	needs.FUSE(t)
	folder, g = t.TempDir(), &gaps{}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, folder, trees, Options{Source: "a,b \\c", Size: 1 << 20, Guard: g.guard, Mounted: func() { close(ready) }})
	}()
	select {
	case err := <-ended:
		t.Fatal(err)
	case <-ready:
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return folder, g
}

func whole(fsys evidence.FS) Tree {
	return Tree{Open: func() (View, error) { return View{FS: fsys}, nil }}
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

// capability is CAP_NET_RAW, as struct vfs_cap_data of include/uapi/linux/capability.h: the kernel shows no other bytes.
var capability = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// TestKinds shows each kind of inode, with what belongs to it.
func TestKinds(t *testing.T) {
	m := memfs.New()
	m.File("etc/passwd", "root:x:0:0\n").Info.UID = 1000
	m.At("etc/passwd").Info.Perm = 0o4600
	m.At("etc/passwd").X = map[string][]byte{"user.a": []byte("1"), "trusted.b": {0, 1}, "security.capability": capability}
	m.Symlink("etc/link", "../etc/passwd")
	device := m.File("dev/big", "")
	device.Info.Type, device.Info.Major, device.Info.Minor = evidence.TypeChar, 0x123, 0xabcde
	pipe := m.File("dev/pipe", "")
	pipe.Info.Type = evidence.TypeFIFO
	m.Dir("etc").Entries = append(m.Dir("etc").Entries, evidence.Entry{Name: "hard", Ino: m.At("etc/passwd").Ino, Type: evidence.TypeFile})
	m.At("etc/passwd").Info.Nlink = 2
	folder, g := serving(t, whole(m))

	s := stat(t, folder+"/etc/passwd")
	if s.Mode != unix.S_IFREG|0o4600 || s.Uid != 1000 || s.Nlink != 2 || s.Size != 11 || s.Mtim.Nsec != 123456789 {
		t.Errorf("got %+v", s)
	}
	if hard := stat(t, folder+"/etc/hard"); hard.Ino != s.Ino {
		t.Errorf("a hard link has inode %d, want %d", hard.Ino, s.Ino)
	}
	if s := stat(t, folder+"/dev/big"); unix.Major(s.Rdev) != 0x123 || unix.Minor(s.Rdev) != 0xabcde || s.Mode&unix.S_IFMT != unix.S_IFCHR {
		t.Errorf("device: got %+v", s)
	}
	if target, err := os.Readlink(folder + "/etc/link"); target != "../etc/passwd" {
		t.Errorf("link: %q, %v", target, err)
	}
	if b, err := os.ReadFile(folder + "/etc/link"); string(b) != "root:x:0:0\n" {
		t.Errorf("through the link: %q, %v", b, err)
	}
	if _, err := os.OpenFile(folder+"/dev/big", os.O_RDONLY, 0); !errors.Is(err, unix.EACCES) {
		t.Errorf("opening a device: %v", err)
	}
	if err := os.WriteFile(folder+"/etc/new", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing: %v", err)
	}
	if _, err := os.Stat(folder + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what isn't there: %v", err)
	}
	var f unix.Statfs_t
	if err := unix.Statfs(folder, &f); err != nil || f.Blocks != 256 || f.Bfree != 0 {
		t.Errorf("statfs: %+v, %v", f, err)
	}
	checkXattrs(t, folder+"/etc/passwd")
	if len(g.list) > 0 {
		t.Errorf("gaps: %q", g.list)
	}
}

func checkXattrs(t *testing.T, path string) {
	t.Helper()
	list := make([]byte, 1000)
	n, err := unix.Llistxattr(path, list)
	want := "security.capability\x00user.a\x00"
	if os.Getuid() == 0 {
		want = "security.capability\x00trusted.b\x00user.a\x00"
	}
	if err != nil || string(list[:n]) != want {
		t.Errorf("attributes: %q, %v", list[:n], err)
	}
	if n, err := unix.Lgetxattr(path, "security.capability", list); err != nil || string(list[:n]) != string(capability) {
		t.Errorf("attribute: %d, %v", n, err)
	}
	if n, err := unix.Lgetxattr(path, "user.a", nil); err != nil || n != 1 {
		t.Errorf("length of an attribute: %d, %v", n, err)
	}
	if _, err := unix.Lgetxattr(path, "user.none", list); err != unix.ENODATA {
		t.Errorf("no such attribute: %v", err)
	}
}

// TestHostile mounts a tree that means harm: bad names, a directory inside
// itself, types that no Unix has, sizes without end, a reader that panics.
func TestHostile(t *testing.T) {
	m := memfs.New()
	m.File("good", "good")
	m.File("bad", "x").Err = errors.New("bad sector")
	m.File("type", "x").Info.Type = evidence.TypeUnknown
	m.File("size", "x").Info.Size = -1
	m.File("huge", "x").Info.Size = 1 << 60
	m.File("\n\x1b\xff", "odd")
	loop := m.Dir("loop")
	loop.Entries = append(loop.Entries, evidence.Entry{Name: "again", Ino: loop.Ino, Type: evidence.TypeDir})
	rootDir := m.At("/")
	good := m.At("good").Ino
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", strings.Repeat("n", maxName+1)} {
		rootDir.Entries = append(rootDir.Entries, evidence.Entry{Name: name, Ino: good, Type: evidence.TypeFile})
	}
	m.File("panic", "x")
	folder, g := serving(t, whole(panics{m, m.At("panic").Ino}))

	list, err := os.ReadDir(folder)
	if err != nil || len(list) != 8 {
		t.Errorf("%d entries, %v", len(list), err)
	}
	if b, err := os.ReadFile(folder + "/good"); string(b) != "good" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(folder + "/\n\x1b\xff"); string(b) != "odd" {
		t.Errorf("%q, %v", b, err)
	}
	for _, name := range []string{"bad", "type", "size", "panic"} {
		if _, err := os.ReadFile(folder + "/" + name); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := stat(t, folder+"/huge"); s.Size != 1<<60 {
		t.Errorf("huge: %+v", s)
	}
	if f, err := os.Open(folder + "/huge"); err == nil {
		if _, err := f.ReadAt(make([]byte, 10), 1<<59); err == nil {
			t.Error("read past what there is")
		}
		f.Close()
	}
	if s := stat(t, folder+"/loop"+strings.Repeat("/again", 20)); s.Ino != uint64(loop.Ino) {
		t.Errorf("loop: inode %d", s.Ino)
	}
	if out, err := exec.Command("find", folder+"/loop").CombinedOutput(); err == nil || !strings.Contains(string(out), "loop") {
		t.Errorf("find sees no loop: %s, %v", out, err) // and it ends
	}
	for _, part := range []string{"/bad: bad sector", `left out, as no file can be called so: "a/b"`, "/type: ", "/size: ", "/panic: panic: reader"} {
		g.has(t, part)
	}
}

// panics is a tree whose reader fails over one inode.
type panics struct {
	evidence.FS
	ino evidence.Ino
}

func (p panics) Stat(ino evidence.Ino) (evidence.Info, error) {
	if ino == p.ino {
		panic("reader")
	}
	return p.FS.Stat(ino)
}

// TestPartly reads a file with a place that can't be read: all others can be.
func TestPartly(t *testing.T) {
	const size, bad = 300 << 10, 200 << 10
	m := memfs.New()
	m.File("f", strings.Repeat("x", size))
	folder, g := serving(t, whole(hole{m, bad}))
	f, err := os.Open(folder + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 4096)
	for off := int64(0); off < size; off += int64(len(b)) {
		n, err := f.ReadAt(b, off)
		if wantErr := off == bad; (err != nil) != wantErr || (!wantErr && n != len(b)) {
			t.Errorf("at %d: %d bytes, %v", off, n, err)
		}
	}
	g.has(t, "/f: reading")
}

// hole is a tree of files with a bad sector.
type hole struct {
	evidence.FS
	at int64
}

func (h hole) Open(ino evidence.Ino) (*io.SectionReader, error) {
	r, err := h.FS.Open(ino)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(holed{r, h.at}, 0, r.Size()), nil
}

type holed struct {
	r  io.ReaderAt
	at int64
}

func (h holed) ReadAt(b []byte, off int64) (int, error) {
	if off < h.at+512 && off+int64(len(b)) > h.at {
		return 0, errors.New("bad sector")
	}
	return h.r.ReadAt(b, off)
}

// TestSeveral mounts trees under folders. One that can't be opened is an error
// of its own folder, and is opened when it is looked into.
func TestSeveral(t *testing.T) {
	a, b := memfs.New(), memfs.New()
	a.File("who", "a")
	b.File("who", "b")
	folder, g := serving(t,
		Tree{Path: []string{"docker", "a"}, Open: whole(a).Open},
		Tree{Path: []string{"docker", "b"}, Open: whole(b).Open},
		Tree{Path: []string{"none"}, Open: func() (View, error) { return View{}, errors.New("its layers are gone") }},
	)
	for _, name := range []string{"a", "b"} {
		if got, err := os.ReadFile(filepath.Join(folder, "docker", name, "who")); string(got) != name {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	list, err := os.ReadDir(folder)
	if err != nil || len(list) != 2 || list[0].Name() != "docker" || list[1].Name() != "none" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := os.ReadDir(folder + "/none"); !errors.Is(err, syscall.EIO) {
		t.Errorf("what can't be opened: %v", err)
	}
	g.has(t, "/none: its layers are gone")
	for _, bad := range [][]Tree{
		{{Path: []string{"a"}}, {Path: []string{"a"}}},
		{{Path: []string{"a"}}, {Path: []string{"a", "b"}}},
		{{Path: []string{"a", "b"}}, {Path: []string{"a"}}},
		{{Path: []string{".."}}}, {{Path: []string{"a/b"}}}, {{Path: []string{""}}},
	} {
		if _, err := newFolders(bad); err == nil {
			t.Errorf("%v was laid out", bad)
		}
	}
}

// TestForget checks that what the kernel forgets is let go, and nothing else is.
func TestForget(t *testing.T) {
	table := newTable(key{tree: 0, ino: 2})
	a := table.found(key{tree: 0, ino: 5}, rootID, "a")
	if again := table.found(key{tree: 0, ino: 5}, rootID, "b"); again != a {
		t.Errorf("one inode is %d and %d", a, again)
	}
	below := table.found(key{tree: 0, ino: 6}, a, "c")
	if got := table.path(table.get(below), "d"); got != "/a/c/d" {
		t.Errorf("path %s", got)
	}
	table.forget(a, 1)
	if table.get(a) == nil {
		t.Error("forgotten too early")
	}
	table.forget(a, 7) // more than were told
	table.forget(rootID, 1)
	table.forget(999, 1)
	if table.get(a) != nil || table.get(rootID) == nil || len(table.entries) != 2 || len(table.ids) != 2 {
		t.Errorf("left: %v", table.entries)
	}
	if got := table.path(table.get(below), ""); got != "/c" {
		t.Errorf("path %s", got)
	}
	if next := table.found(key{tree: 0, ino: 5}, rootID, "a"); next == a {
		t.Error("a number was given twice")
	}
}

// TestRefused has a folder that is none, and what can't be opened.
func TestRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]error{file: unix.ENOTDIR, file + ".none": os.ErrNotExist} {
		if err := Serve(t.Context(), folder, []Tree{whole(memfs.New())}, Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", folder, err)
		}
	}
	if _, err := os.Stat(device); err != nil {
		if err := Serve(t.Context(), t.TempDir(), []Tree{whole(memfs.New())}, Options{}); !errors.Is(err, ErrNoFUSE) {
			t.Errorf("without FUSE: %v", err)
		}
	}
}
