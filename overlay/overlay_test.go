package overlay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/overlay"
)

// layer makes a layer from lines such as
//
//	dir a opaque=y       file a/b=content redirect=/x     gone a/c (0:0 device)
//	link a/d=target      dev a/e                          xgone a/f (empty, whiteout attribute)
//
// Marks without a prefix are trusted.overlay.*.
func layer(lines ...string) *memfs.FS {
	f := memfs.New()
	for _, line := range lines {
		fields := strings.Fields(line)
		path, value, _ := strings.Cut(fields[1], "=")
		var n *memfs.Node
		switch fields[0] {
		case "dir":
			n = f.Dir(path)
		case "file":
			n = f.File(path, value)
		case "link":
			n = f.Symlink(path, value)
		case "gone":
			n = f.Device(path, evidence.TypeChar, 0, 0)
		case "dev":
			n = f.Device(path, evidence.TypeChar, 1, 3)
		case "xgone":
			n = f.File(path, "").Set("trusted.overlay.whiteout", "")
		default:
			panic(line)
		}
		for _, mark := range fields[2:] {
			name, v, _ := strings.Cut(mark, "=")
			if !strings.Contains(name, ".") {
				name = "trusted.overlay." + name
			}
			n.Set(name, v)
		}
	}
	return f
}

func merge(t testing.TB, o overlay.Options, layers ...*memfs.FS) *overlay.FS {
	t.Helper()
	var ls []overlay.Layer
	for i, l := range layers {
		ls = append(ls, overlay.Layer{FS: l, Root: l.Root(), Name: fmt.Sprint(i)})
	}
	f, err := overlay.Merge(ls, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// show lists a view: path, layer, and the content of files or target of links,
// "!" where the kernel would refuse the entry, "error" where a directory isn't
// known to be whole.
func show(f *overlay.FS) []string {
	var out []string
	evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if path == "" {
			return nil
		}
		if err != nil {
			out = append(out, path+" error")
			return nil
		}
		l, _, _ := f.Origin(e.Ino)
		s := fmt.Sprintf("%s %d", path, l)
		switch info.Type {
		case evidence.TypeDir:
			stack, _ := f.Stack(e.Ino)
			s = path + "/ "
			for _, l := range stack {
				s += fmt.Sprint(l.Layer)
			}
		case evidence.TypeFile:
			b := []byte("unreadable")
			if r, err := f.Open(e.Ino); err == nil {
				b, _ = io.ReadAll(r)
			}
			s += " " + string(b)
		case evidence.TypeSymlink:
			target, _ := f.ReadLink(e.Ino)
			s += " ->" + target
		case evidence.TypeChar:
			s += " device"
		}
		if f.Redirected(e.Ino) {
			s += " redirected"
		}
		if f.Problem(e.Ino) != nil {
			s += " !"
		}
		out = append(out, s)
		return nil
	})
	return out
}

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers []*memfs.FS
		o      overlay.Options
		want   []string
	}{
		{"upper wins, names are united", []*memfs.FS{layer("file a=new", "dir d", "file d/x=1"), layer("file a=old", "file b=b", "file d/y=2")}, overlay.Options{},
			[]string{"a 0 new", "b 1 b", "d/ 01", "d/x 0 1", "d/y 1 2"}},
		{"one layer", []*memfs.FS{layer("file a=a", "gone b", "xgone c", "dev d", "link e=/x")}, overlay.Options{},
			[]string{"a 0 a", "d 0 device", "e 0 ->/x"}},
		{"whiteouts end the search", []*memfs.FS{layer("gone a", "xgone b", "dir d"), layer("file d/f=x", "gone d/f2"), layer("file a=a", "file b=b", "file d/f2=y")}, overlay.Options{},
			[]string{"d/ 012", "d/f 1 x"}},
		{"whiteout of a name that comes back", []*memfs.FS{layer("dir d", "file d/x=2"), layer("gone d"), layer("file d/y=1")}, overlay.Options{},
			[]string{"d/ 0", "d/x 0 2"}},
		{"an empty file is no whiteout, a whiteout attribute on content neither", []*memfs.FS{layer("file a=", "file b=full whiteout="), layer("file a=a", "file b=b")}, overlay.Options{},
			[]string{"a 0 ", "b 0 full"}},
		{"opaque y", []*memfs.FS{layer("dir d opaque=y", "file d/n=n"), layer("file d/o=o")}, overlay.Options{}, []string{"d/ 0", "d/n 0 n"}},
		{"opaque in the middle", []*memfs.FS{layer("dir d"), layer("dir d opaque=y", "file d/m=m"), layer("file d/o=o")}, overlay.Options{}, []string{"d/ 01", "d/m 1 m"}},
		{"opaque x, and other values, merge", []*memfs.FS{layer("dir d opaque=x", "dir e opaque=yes", "dir f opaque="), layer("xgone d/o", "file e/o=o", "file f/o=o"), layer("file d/o=o")}, overlay.Options{},
			[]string{"d/ 012", "e/ 01", "e/o 1 o", "f/ 01", "f/o 1 o"}},
		{"file over folder and folder over file", []*memfs.FS{layer("file a=a", "dir b"), layer("file a/x=x", "file b=b"), layer("file b/y=y", "file a/z=z")}, overlay.Options{},
			[]string{"a 0 a", "b/ 0"}},
		{"a file in a middle layer ends the merge", []*memfs.FS{layer("dir a"), layer("file a=a"), layer("file a/x=x")}, overlay.Options{}, []string{"a/ 0"}},
		{"relative redirect", []*memfs.FS{layer("dir d/new redirect=old", "gone d/old"), layer("file d/old/x=x")}, overlay.Options{},
			[]string{"d/ 01", "d/new/ 01 redirected", "d/new/x 1 x"}},
		{"absolute redirect", []*memfs.FS{layer("dir new redirect=/a/b", "gone a"), layer("file c=c"), layer("file a/b/x=x")}, overlay.Options{},
			[]string{"c 1 c", "new/ 02 redirected", "new/x 2 x"}},
		{"redirect of a redirect", []*memfs.FS{layer("dir z redirect=y", "gone y"), layer("dir y redirect=/d/x", "gone d"), layer("file d/x/f=f")}, overlay.Options{},
			[]string{"z/ 012 redirected", "z/f 2 f"}},
		{"elements of a redirect are redirected", []*memfs.FS{layer("dir z redirect=/b/c"), layer("dir b redirect=a"), layer("file a/c/f=f")}, overlay.Options{},
			[]string{"a/ 2", "a/c/ 2", "a/c/f 2 f", "b/ 12 redirected", "b/c/ 2", "b/c/f 2 f", "z/ 02 redirected", "z/f 2 f"}},
		{"an opaque element of a redirect ends the search below", []*memfs.FS{layer("dir z redirect=/b/c", "gone b"), layer("dir b opaque=y", "file b/c/m=m"), layer("file b/c/o=o")}, overlay.Options{},
			[]string{"z/ 01 redirected", "z/m 1 m"}},
		{"but a deeper absolute redirect goes on", []*memfs.FS{layer("dir z redirect=/b/c", "gone b", "gone e"), layer("dir b opaque=y", "dir b/c redirect=/e"), layer("file e/o=o")}, overlay.Options{},
			[]string{"z/ 012 redirected", "z/o 2 o"}},
		{"a redirect to nothing", []*memfs.FS{layer("dir a redirect=b"), layer("file a/x=x")}, overlay.Options{}, []string{"a/ 0 redirected"}},
		{"invalid redirects", []*memfs.FS{layer("dir a redirect=b/c", "dir b redirect=", "dir c redirect=//x", "dir d redirect=/x/", "dir e redirect=.."), layer("dir x")}, overlay.Options{},
			[]string{"a/ 0 !", "a error", "b/ 0 !", "b error", "c/ 0 !", "c error", "d/ 0 !", "d error", "e/ 0 redirected !", "e error", "x/ 1"}},
		{"metadata-only copy", []*memfs.FS{layer("file d/a=???? metacopy="), layer("file d/a=data")}, overlay.Options{}, []string{"d/ 01", "d/a 0 data"}},
		{"through another, and a redirect", []*memfs.FS{layer("file a=???? metacopy="), layer("file a=!!!! metacopy= redirect=/d/b"), layer("file d/b=data")}, overlay.Options{},
			[]string{"a 0 data redirected", "d/ 2", "d/b 2 data"}},
		{"metadata-only copy without data", []*memfs.FS{layer("file a=???? metacopy=", "file b=???? metacopy=", "file c=???? metacopy=", "file d=???? metacopy=x"), layer("dir a", "gone b", "file d=d"), layer("file b=b", "file c=???? metacopy=")}, overlay.Options{},
			[]string{"a 0 unreadable !", "b 0 unreadable !", "c 0 unreadable !", "d 0 unreadable !"}},
		{"metadata-only copy in the lowest layer", []*memfs.FS{layer("file a=a"), layer("file b=???? metacopy=")}, overlay.Options{}, []string{"a 0 a", "b 1 unreadable !"}},
		{"data-only layers", []*memfs.FS{layer("file a=???? metacopy= redirect=/o/f", "file b=???? metacopy= redirect=/o/none", "file c=???? metacopy="), layer("file hidden=x"), layer("file o/f=data", "file c=c")}, overlay.Options{DataOnly: 2},
			[]string{"a 0 data", "b 0 unreadable", "c 0 unreadable !"}},
		{"attributes for users are ordinary", []*memfs.FS{layer("dir a user.overlay.opaque=y", "dir b user.overlay.redirect=c", "file d= user.overlay.whiteout="), layer("file a/x=x", "file b/y=y", "file d=d")}, overlay.Options{},
			[]string{"a/ 01", "a/x 1 x", "b/ 01", "b/y 1 y", "d 0 "}},
		{"userxattr", []*memfs.FS{layer("dir a user.overlay.opaque=y", "dir b opaque=y", "file d= user.overlay.whiteout=", "dir e user.overlay.redirect=b", "file f=own user.overlay.metacopy="), layer("file a/x=x", "file b/y=y", "file d=d", "file e/z=z", "file f=f")}, overlay.Options{UserXattr: true},
			[]string{"a/ 0", "b/ 01", "b/y 1 y", "e/ 0 !", "e error", "f 0 own !"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := merge(t, c.o, c.layers...)
			if have := show(f); !slices.Equal(have, c.want) {
				t.Errorf("have %q\nwant %q", have, c.want)
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	up, low := layer("dir d user.a=1 security.selinux=u trusted.overlay.overlay.opaque=inner impure=y", "dir d2"), layer("dir d user.b=2", "file d/f=f")
	up.At("d").Info.Perm, up.At("d").Info.UID = 0o700, 42
	x := low.At("d/f")
	low.Link("d/g", x)
	f := merge(t, overlay.Options{}, up, low)
	d, err := f.Lookup(f.Root(), "d")
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat(d.Ino)
	if err != nil || info.Perm != 0o700 || info.UID != 42 || info.Inode != uint64(up.At("d").Ino) {
		t.Errorf("%+v, %v", info, err)
	}
	have, err := f.Xattrs(d.Ino)
	want := map[string][]byte{"user.a": []byte("1"), "security.selinux": []byte("u"), "trusted.overlay.opaque": []byte("inner")}
	if err != nil || !maps.EqualFunc(have, want, bytes.Equal) {
		t.Errorf("xattrs %q, %v", have, err)
	}
	a, err := f.Lookup(d.Ino, "f")
	b, err2 := f.Lookup(d.Ino, "g")
	if err != nil || err2 != nil || a.Ino != b.Ino {
		t.Errorf("hard links %v, %v; %v, %v", a, b, err, err2)
	}
	if info, _ := f.Stat(a.Ino); info.Nlink != 2 {
		t.Errorf("nlink %d", info.Nlink)
	}
	if _, err := f.Lookup(d.Ino, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that isn't there: %v", err)
	}
	if _, err := f.Stat(12345678 | 1<<63); err == nil {
		t.Error("a handle that was never given")
	}
	if _, err := f.Stat(400 << 54); err == nil {
		t.Error("a handle of a layer that there isn't")
	}
}

// TestUnreadable: what can't be read is said, and the rest is there.
func TestUnreadable(t *testing.T) {
	broken := errors.New("bad sector")
	up, low := layer("file d/a=a"), layer("file d/b=b", "file d/c=c")
	up.At("d").Err, low.At("d/c").Err = broken, broken
	var warned []error
	f := merge(t, overlay.Options{Warn: func(err error) { warned = append(warned, err) }}, up, low)
	d, err := f.Lookup(f.Root(), "d")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var failed error
	for e, err := range f.ReadDir(d.Ino) {
		if err != nil {
			failed = err
			continue
		}
		names = append(names, e.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) || !errors.Is(failed, broken) {
		t.Errorf("%q, %v", names, failed)
	}
	if len(warned) == 0 || f.Problem(d.Ino) == nil {
		t.Error("nothing said of attributes that can't be read")
	}
	// A name that only the unreadable part could have is not denied.
	if _, err := f.Lookup(d.Ino, "none"); !errors.Is(err, broken) {
		t.Errorf("a name that may have been there: %v", err)
	}
}

func TestSame(t *testing.T) {
	low, mid, up := layer("file a/x=x", "file b/y=y", "file c=c"), layer("file a/z=z"), layer("file b/new=n", "file c=???? metacopy=")
	base, cur := merge(t, overlay.Options{}, mid, low), merge(t, overlay.Options{}, up, mid, low)
	for path, want := range map[string]bool{"": false, "a": true, "a/x": true, "b": false, "b/y": true, "c": false} {
		i, err := evidence.Resolve(base, base.Root(), path, false)
		j, err2 := evidence.Resolve(cur, cur.Root(), path, false)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if have := cur.Same(j, base, i); have != want {
			t.Errorf("Same of %q is %v", path, have)
		}
	}
	i, _ := evidence.Resolve(base, base.Root(), "c", false)
	j, _ := evidence.Resolve(cur, cur.Root(), "c", false)
	if !cur.SameData(j, base, i) {
		t.Error("a metadata-only copy has other data than what it copies")
	}
	if cur.Same(j, low, i) || cur.SameData(j, low, i) {
		t.Error("the same as an FS that isn't merged")
	}
	user := merge(t, overlay.Options{UserXattr: true}, mid, low)
	k, _ := evidence.Resolve(user, user.Root(), "a", false)
	i, _ = evidence.Resolve(base, base.Root(), "a", false)
	if user.Same(k, base, i) {
		t.Error("views of other mount options are never the same")
	}
}

func TestMergeErrors(t *testing.T) {
	l := layer("file a=a")
	if _, err := overlay.Merge(nil, overlay.Options{}); !errors.Is(err, evidence.ErrUnsupported) {
		t.Errorf("no layers: %v", err)
	}
	if _, err := overlay.Merge(make([]overlay.Layer, 501), overlay.Options{}); !errors.Is(err, evidence.ErrUnsupported) {
		t.Errorf("501 layers: %v", err)
	}
	if _, err := overlay.Merge([]overlay.Layer{{FS: l, Root: l.Root()}}, overlay.Options{DataOnly: 1}); !errors.Is(err, evidence.ErrUnsupported) {
		t.Errorf("all layers data-only: %v", err)
	}
	if _, err := overlay.Merge([]overlay.Layer{{FS: l, Root: l.At("a").Ino}}, overlay.Options{}); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("a file as a layer: %v", err)
	}
	if _, err := overlay.Merge([]overlay.Layer{{FS: l, Root: 99}}, overlay.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a layer that isn't there: %v", err)
	}
}

// TestLimits: 500 layers that redirect into each other, and long redirects.
func TestLimits(t *testing.T) {
	var layers []*memfs.FS
	for i := range 500 {
		layers = append(layers, layer(fmt.Sprintf("dir d%d redirect=/d%d", i, i+1)))
	}
	f := merge(t, overlay.Options{}, layers...)
	e, err := f.Lookup(f.Root(), "d0")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Problem(e.Ino); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("499 redirects: %v", err)
	}
	if stack, _ := f.Stack(e.Ino); len(stack) < 200 {
		t.Errorf("%d directories are merged", len(stack))
	}
	long := merge(t, overlay.Options{}, layer("dir a redirect=/"+strings.Repeat("x/", 3000)+"x"), layer("dir b"))
	if e, _ := long.Lookup(long.Root(), "a"); long.Problem(e.Ino) == nil {
		t.Error("a redirect longer than any path is followed")
	}
}

// TestBigHandles: inode numbers that don't fit a handle beside the layer.
func TestBigHandles(t *testing.T) {
	l := layer("file d/a=a")
	big := bigFS{l}
	f, err := overlay.Merge([]overlay.Layer{{FS: big, Root: big.Root()}}, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if have := show(f); !slices.Equal(have, []string{"d/ 0", "d/a 0 a"}) {
		t.Errorf("%q", have)
	}
	a, _ := evidence.Resolve(f, f.Root(), "d/a", false)
	b, _ := evidence.Resolve(f, f.Root(), "d/a", false)
	if a != b {
		t.Errorf("handles %#x and %#x of one inode", a, b)
	}
}

type bigFS struct{ *memfs.FS }

const bigOffset = 1 << 60

func (b bigFS) Root() evidence.Ino { return b.FS.Root() + bigOffset }
func (b bigFS) Stat(i evidence.Ino) (evidence.Info, error) {
	return b.FS.Stat(i - bigOffset)
}
func (b bigFS) Xattrs(i evidence.Ino) (map[string][]byte, error) { return b.FS.Xattrs(i - bigOffset) }
func (b bigFS) Open(i evidence.Ino) (*io.SectionReader, error)   { return b.FS.Open(i - bigOffset) }
func (b bigFS) ReadDir(i evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		for e, err := range b.FS.ReadDir(i - bigOffset) {
			e.Ino += bigOffset
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestConcurrent(t *testing.T) {
	cache := overlay.NewCache(20) // small, so that directories are dropped all the time
	var layers []*memfs.FS
	for i := range 6 {
		l := memfs.New()
		for j := range 40 {
			l.File(fmt.Sprintf("d%d/f%d", j%(i+2), j), fmt.Sprint(i))
		}
		layers = append(layers, l)
	}
	f := merge(t, overlay.Options{Cache: cache}, layers...)
	want := show(merge(t, overlay.Options{}, layers...))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if have := show(f); !slices.Equal(have, want) {
				t.Error("another view from another goroutine")
			}
		})
	}
	wg.Wait()
}

// TestDoubling: two directories of each layer redirect to one that holds two
// such again. The names double with each layer, the directories don't, and a
// walk must end.
func TestDoubling(t *testing.T) {
	var layers []*memfs.FS
	for range 60 {
		layers = append(layers, layer("dir a", "dir a/x redirect=/a", "dir a/y redirect=/a"))
	}
	f := merge(t, overlay.Options{}, layers...)
	entries := 0
	var last error
	evidence.Walk(f, f.Root(), func(_ string, _ evidence.Entry, _ evidence.Info, err error) error {
		entries++
		if err != nil {
			last = err
		}
		return nil
	})
	if entries > 100_000 || !errors.Is(last, evidence.ErrCorrupt) {
		t.Errorf("%d entries, %v", entries, last)
	}
}
