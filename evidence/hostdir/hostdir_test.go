//go:build linux

package hostdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/evidence/iofstest"
	"lagan/internal/needs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes a folder with one of everything; beside it lies "outside/secret".
func tree(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	top := filepath.Join(base, "evidence")
	for _, d := range []string{"outside", "evidence/a/b", "evidence/empty"} {
		must(t, os.MkdirAll(filepath.Join(base, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(base, "outside/secret"), []byte("secret"), 0o644))
	must(t, os.WriteFile(top+"/a/file", []byte("content"), 0o640))
	must(t, os.WriteFile(top+"/a/na\xffme\n", nil, 0o4755))
	must(t, os.Chmod(top+"/a/na\xffme\n", 0o755|fs.ModeSetuid))
	must(t, os.Link(top+"/a/file", top+"/a/b/hard"))
	must(t, os.Symlink("../../outside", top+"/up"))
	must(t, os.Symlink("../outside/secret", top+"/a/escape"))
	must(t, os.Symlink("/etc", top+"/absolute"))
	must(t, unix.Mkfifo(top+"/fifo", 0o600))
	sparse, err := os.Create(top + "/sparse")
	must(t, err)
	must(t, sparse.Truncate(1<<40))
	must(t, sparse.Close())
	return top
}

func open(t *testing.T, path string) *FS {
	t.Helper()
	f, err := Open(path, evidence.Options{})
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func at(t *testing.T, f *FS, path string) evidence.Ino {
	t.Helper()
	ino, err := evidence.Resolve(f, f.Root(), path, false)
	must(t, err)
	return ino
}

// TestWalk compares all that Walk shows with what lstat says.
func TestWalk(t *testing.T) {
	top := tree(t)
	f := open(t, top)
	want := map[string]fs.FileInfo{}
	must(t, filepath.Walk(top, func(p string, fi fs.FileInfo, err error) error {
		rel, _ := filepath.Rel(top, p)
		want[strings.TrimPrefix(rel, ".")] = fi
		return err
	}))
	must(t, evidence.Walk(f, f.Root(), func(p string, e evidence.Entry, info evidence.Info, err error) error {
		must(t, err)
		fi := want[p]
		delete(want, p)
		if fi == nil {
			t.Errorf("%q isn't there", p)
			return nil
		}
		st := fi.Sys().(*syscall.Stat_t)
		switch {
		case info.Inode != st.Ino, info.Size != fi.Size(), !info.Mtime.Equal(fi.ModTime()),
			uint32(info.Perm)|uint32(st.Mode)&unix.S_IFMT != st.Mode, info.UID != st.Uid, uint64(info.Nlink) != uint64(st.Nlink),
			!info.Ctime.Equal(time.Unix(st.Ctim.Unix())), info.Type != evidence.TypeOfMode(uint16(st.Mode)):
			t.Errorf("%q: %+v, lstat says %+v", p, info, st)
		}
		return nil
	}))
	for p := range want {
		t.Errorf("%q is missing", p)
	}
}

func TestRead(t *testing.T) {
	f := open(t, tree(t))
	b, err := evidence.ReadFile(f, f.Root(), "a/b/hard", 100)
	if string(b) != "content" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	target, err := f.ReadLink(at(t, f, "a/escape"))
	if target != "../outside/secret" || err != nil {
		t.Errorf("link: got %q, %v", target, err)
	}
	if _, err := f.ReadLink(at(t, f, "a/file")); err == nil {
		t.Error("link: a file has no target")
	}
	for _, p := range []string{"fifo", "a", "up"} {
		if _, err := f.Open(at(t, f, p)); err == nil {
			t.Errorf("%s was opened", p)
		}
	}
	r, err := f.Open(at(t, f, "sparse"))
	must(t, err)
	tail := make([]byte, 10)
	if n, err := r.ReadAt(tail, 1<<40-5); n != 5 || err != io.EOF {
		t.Errorf("end of a sparse file: %d, %v", n, err)
	}
	if _, err := f.Stat(12345); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown handle: %v", err)
	}
	for _, name := range []string{"none", "", ".", "..", "a/b", strings.Repeat("x", 300)} {
		if _, err := f.Lookup(f.Root(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("lookup %.10q: %v", name, err)
		}
	}
}

// TestNothingEscapes follows every link as an analysis does, then with a
// folder that is changed for a link after its handle was given out.
func TestNothingEscapes(t *testing.T) {
	top := tree(t)
	f := open(t, top)
	for _, p := range []string{"up/secret", "a/escape", "absolute/passwd", "../outside/secret", "a/../../outside/secret"} {
		if b, err := evidence.ReadFile(f, f.Root(), p, 1<<20); err == nil {
			t.Errorf("%s gave %q", p, b)
		}
	}
	file := at(t, f, "a/file")
	r, err := f.Open(file)
	must(t, err)
	must(t, os.Rename(top+"/a", top+"/a.old"))
	must(t, os.Symlink("../outside", top+"/a"))
	must(t, os.Rename(filepath.Dir(top)+"/outside/secret", filepath.Dir(top)+"/outside/file"))
	if b, _ := io.ReadAll(r); string(b) == "secret" {
		t.Error("an open file was read through a link")
	}
	// A second FS whose folders aren't open yet.
	g := open(t, top)
	a := g.names.handle(root, "a")
	if _, err := g.Stat(g.names.handle(a, "file")); err == nil {
		t.Error("a link was followed as if it were a folder")
	}
	for _, err := range g.ReadDir(a) {
		if err == nil {
			t.Error("a link was listed")
		}
	}
}

func TestFileBecomesPipe(t *testing.T) {
	top := tree(t)
	f := open(t, top)
	r, err := f.Open(at(t, f, "a/file"))
	must(t, err)
	must(t, os.Remove(top+"/a/file"))
	must(t, unix.Mkfifo(top+"/a/file", 0o600))
	if _, err := r.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a pipe was read")
	}
}

func TestXattrs(t *testing.T) {
	top := tree(t)
	err := unix.Lsetxattr(top+"/a/file", "user.empty", nil, 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skip("the temporary folder has no attributes")
	}
	must(t, err)
	want := map[string]string{"user.empty": ""}
	if seesTrusted() {
		must(t, unix.Lsetxattr(top+"/a/file", "trusted.overlay.opaque", []byte("y"), 0))
		must(t, unix.Lsetxattr(top+"/up", "trusted.link", []byte("l"), 0))
		want["trusted.overlay.opaque"] = "y"
	}
	f := open(t, top)
	check := func(p string, want map[string]string) {
		got, err := f.Xattrs(at(t, f, p))
		must(t, err)
		for k, v := range want {
			if g, ok := got[k]; !ok || string(g) != v {
				t.Errorf("%s: %s is %q", p, k, g)
			}
		}
	}
	check("a/file", want)
	if seesTrusted() {
		check("up", map[string]string{"trusted.link": "l"})
	}
	for _, p := range []string{"", "fifo", "a"} {
		check(p, nil)
	}
}

func TestDevice(t *testing.T) {
	top := tree(t)
	if err := unix.Mknod(top+"/whiteout", unix.S_IFCHR|0o600, 0); err != nil {
		t.Skipf("making a device: %v", err)
	}
	if err := unix.Mknod(top+"/dev", unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))); err != nil {
		t.Skipf("making a device: %v", err)
	}
	f := open(t, top)
	info, err := f.Stat(at(t, f, "dev"))
	if err != nil || info.Type != evidence.TypeBlock || info.Major != 259 || info.Minor != 70000 {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := f.Open(at(t, f, "dev")); err == nil {
		t.Error("a device was opened")
	}
}

// TestManyAndDeep has more files and folders in use than may be open, and a
// path longer than PATH_MAX.
func TestManyAndDeep(t *testing.T) {
	top := t.TempDir()
	const n = 400
	for i := range n {
		must(t, os.MkdirAll(fmt.Sprintf("%s/d%d", top, i), 0o755))
		must(t, os.WriteFile(fmt.Sprintf("%s/d%d/f", top, i), []byte(fmt.Sprint(i)), 0o644))
	}
	dir, err := unix.Open(top, unix.O_RDONLY, 0)
	must(t, err)
	const depth = 100
	name := strings.Repeat("n", 200)
	for range depth {
		must(t, unix.Mkdirat(dir, name, 0o755))
		next, err := unix.Openat(dir, name, unix.O_RDONLY, 0)
		must(t, err)
		unix.Close(dir)
		dir = next
	}
	unix.Close(dir)

	f := open(t, top)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range n {
				i = (i*7 + g*13) % n
				b, err := evidence.ReadFile(f, f.Root(), fmt.Sprintf("d%d/f", i), 10)
				if err != nil || string(b) != fmt.Sprint(i) {
					t.Errorf("d%d: %q, %v", i, b, err)
				}
			}
		}()
	}
	wg.Wait()
	deepest := 0
	must(t, evidence.Walk(f, f.Root(), func(p string, _ evidence.Entry, _ evidence.Info, err error) error {
		deepest = max(deepest, strings.Count(p, "/"))
		return err
	}))
	if deepest != depth-1 {
		t.Errorf("walked %d deep, want %d", deepest, depth-1)
	}
	if open := len(f.dirs.byIno) + len(f.files.byIno); open > openDirs+openFiles {
		t.Errorf("%d descriptors are open", open)
	}
}

// TestPortable walks and reads by what other systems have.
func TestPortable(t *testing.T) {
	top := tree(t)
	warned := 0
	f, err := openPortable(top, evidence.Options{Warn: func(error) { warned++ }})
	must(t, err)
	defer f.Close()
	linux := open(t, top)
	var got, want []string
	list := func(fsys evidence.FS, out *[]string) {
		must(t, evidence.Walk(fsys, fsys.Root(), func(p string, _ evidence.Entry, i evidence.Info, err error) error {
			*out = append(*out, fmt.Sprintf("%q %v %o %d %v %v", p, i.Type, i.Perm, i.Size, i.Mtime, err))
			return nil
		}))
	}
	list(f, &got)
	list(linux, &want)
	if strings.Join(got, "\n") != strings.Join(want, "\n") || warned != 1 {
		t.Errorf("got\n%s\nwant\n%s\n%d warnings", strings.Join(got, "\n"), strings.Join(want, "\n"), warned)
	}
	if b, err := evidence.ReadFile(f, f.Root(), "a/file", 100); string(b) != "content" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	for _, p := range []string{"up/secret", "a/escape", "absolute/passwd", "../outside/secret", "fifo"} {
		if b, err := evidence.ReadFile(f, f.Root(), p, 1<<20); err == nil {
			t.Errorf("%s gave %q", p, b)
		}
	}
	link, err := evidence.Lookup(f, f.Root(), "up")
	must(t, err)
	if target, err := f.ReadLink(link.Ino); target != "../../outside" || err != nil {
		t.Errorf("link: %q, %v", target, err)
	}
	for _, err := range f.ReadDir(link.Ino) {
		if err == nil {
			t.Error("a link was listed")
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open(t.TempDir()+"/none", evidence.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	file := t.TempDir() + "/file"
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := Open(file, evidence.Options{}); err == nil {
		t.Error("a file was opened as a folder")
	}
	f, err := Open(t.TempDir(), evidence.Options{})
	must(t, err)
	must(t, f.Close())
}

// TestBoundaries enters another filesystem and leaves the kernel's out.
func TestBoundaries(t *testing.T) {
	needs.Root(t, "mounting")
	top := tree(t)
	if err := unix.Mount("none", top+"/empty", "tmpfs", 0, ""); err != nil {
		t.Skipf("mounting: %v", err)
	}
	defer unix.Unmount(top+"/empty", 0)
	if err := unix.Mount("none", top+"/a/b", "proc", 0, ""); err != nil {
		t.Skipf("mounting: %v", err)
	}
	defer unix.Unmount(top+"/a/b", 0)
	must(t, os.WriteFile(top+"/empty/inside", nil, 0o600))
	var warned []error
	f, err := Open(top, evidence.Options{Warn: func(err error) { warned = append(warned, err) }})
	must(t, err)
	defer f.Close()
	found := map[string]bool{}
	for range 2 {
		must(t, evidence.Walk(f, f.Root(), func(p string, _ evidence.Entry, _ evidence.Info, err error) error {
			found[p] = true
			return err
		}))
	}
	if !found["empty/inside"] || found["a/b/self"] || !found["a/b"] {
		t.Errorf("found %v", found)
	}
	if len(warned) != 1 || !strings.Contains(warned[0].Error(), "proc") {
		t.Errorf("warned %v", warned)
	}
	if got := fmt.Sprint(f.Boundaries()); got != "[a/b empty]" {
		t.Errorf("boundaries %s", got)
	}
}

// TestHardLinks: all names of an inode lead to one handle.
func TestHardLinks(t *testing.T) {
	f := open(t, tree(t))
	a, b := at(t, f, "a/file"), at(t, f, "a/b/hard")
	if a != b {
		t.Errorf("looked up: handles %d and %d", a, b)
	}
	f = open(t, tree(t))
	seen := map[evidence.Ino]int{}
	err := evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, _ evidence.Info, err error) error {
		if e.Type == evidence.TypeFile {
			seen[e.Ino]++
		}
		return err
	})
	must(t, err)
	twice := 0
	for _, n := range seen {
		twice += n - 1
	}
	if twice != 1 || len(seen) != 3 {
		t.Errorf("of 4 names, 2 of one inode, the walk found %v", seen)
	}
}

func TestIOFS(t *testing.T) {
	top := t.TempDir()
	for i := range 20 {
		must(t, os.WriteFile(fmt.Sprintf("%s/f%d", top, i), []byte(fmt.Sprint(i)), 0o644))
	}
	iofstest.Test(t, open(t, top))
}
