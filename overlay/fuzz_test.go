package overlay_test

import (
	"fmt"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/overlay"
)

// FuzzMerge makes layers of random marks and looks at all of the view: no
// panic, an end, one handle a name, and only files that Stat and Open agree on.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("\x02\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add([]byte("\x83\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x10\x21\x32\x43\x54\x65\x76"))
	f.Add([]byte("\x44\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4\xf3\xf2\xf1\xf0"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) == 0 || len(script) > 400 {
			return
		}
		next := func() int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b)
		}
		head := next()
		o := overlay.Options{UserXattr: head&0x80 != 0, DataOnly: head >> 5 & 1}
		var layers []overlay.Layer
		for range 2 + head&7 {
			l := memfs.New()
			for range 12 {
				fuzzEntry(l, next)
			}
			layers = append(layers, overlay.Layer{FS: l, Root: l.Root()})
		}
		view, err := overlay.Merge(layers, o)
		if err != nil {
			t.Fatal(err)
		}
		checkView(t, view)
	})
}

var fuzzPaths = []string{"a", "b", "c", "a/a", "a/b", "b/a", "b/c", "c/b", "a/a/a", "b/a/b", "c/b/a", "a/b/c"}

var fuzzValues = []string{"", "y", "x", "a", "b", "/a", "/b/a", "/c/b/a", "/a/b", "..", "//", "a/b", "/a/../b", "\x00\x04\x00\x00", "zz", "/no"}

func fuzzEntry(l *memfs.FS, next func() int) {
	b := next()
	path := fuzzPaths[b%len(fuzzPaths)]
	if dir, _ := pathSplit(path); !isDirOrNone(l, dir) || exists(l, path) {
		return
	}
	var n *memfs.Node
	switch b >> 4 % 8 {
	case 0, 1, 2, 3:
		n = l.Dir(path)
	case 4:
		n = l.File(path, "content")
	case 5:
		n = l.File(path, "")
	case 6:
		n = l.Device(path, evidence.TypeChar, 0, 0)
	default:
		n = l.Symlink(path, "x")
	}
	b = next()
	marks := []string{"opaque", "redirect", "metacopy", "whiteout"}
	prefix := "trusted.overlay."
	if b&0x80 != 0 {
		prefix = "user.overlay."
	}
	n.Set(prefix+marks[b&3], fuzzValues[b>>2&15])
	if b&0x40 != 0 {
		n.Set(prefix+"redirect", fuzzValues[next()&15])
	}
	if b == 0x7f {
		n.Err = fmt.Errorf("bad sector: %w", evidence.ErrCorrupt)
	}
}

func pathSplit(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

func exists(l *memfs.FS, path string) bool {
	_, err := evidence.Resolve(l, l.Root(), path, false)
	return err == nil
}

// isDirOrNone says whether path is a directory, or can be made one.
func isDirOrNone(l *memfs.FS, path string) bool {
	for at := path; at != ""; at, _ = pathSplit(at) {
		if ino, err := evidence.Resolve(l, l.Root(), at, false); err == nil {
			info, err := l.Stat(ino)
			return err == nil && info.Type == evidence.TypeDir
		}
	}
	return true
}

func checkView(t *testing.T, view *overlay.FS) {
	seen := 0
	evidence.Walk(view, view.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if seen++; seen > 100000 {
			t.Fatal("a walk without end")
		}
		if err != nil {
			return nil
		}
		if info.Type == evidence.TypeChar && info.Major == 0 && info.Minor == 0 {
			t.Errorf("%s: a whiteout is shown", path)
		}
		if _, _, err := view.Origin(e.Ino); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if path != "" {
			if again, err := evidence.Resolve(view, view.Root(), path, false); err != nil || again != e.Ino {
				t.Errorf("%s: handle %#x, resolved again %#x, %v", path, e.Ino, again, err)
			}
		}
		if info.Type == evidence.TypeFile {
			view.Open(e.Ino)
		}
		view.Xattrs(e.Ino)
		return nil
	})
}
