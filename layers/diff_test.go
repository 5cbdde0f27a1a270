package layers_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/layers"
	"lagan/overlay"
)

func view(t testing.TB, of ...*memfs.FS) *overlay.FS {
	t.Helper()
	var ls []overlay.Layer
	for _, l := range of {
		ls = append(ls, overlay.Layer{FS: l, Root: l.Root()})
	}
	f, err := overlay.Merge(ls, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lines gives a comparison as docker diff prints it, with what changed behind.
func lines(base, cur evidence.FS, o layers.DiffOptions) (out []string, errs []error) {
	for c, err := range layers.Diff(base, cur, o) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s := c.Kind.Letter() + " " + c.Path
		if len(c.Changed) > 0 {
			s += " " + strings.Join(c.Changed, ",")
		}
		out = append(out, s)
	}
	return out, errs
}

const opaque = "trusted.overlay.opaque"

func later(n *memfs.Node) *memfs.Node {
	n.Info.Mtime = n.Info.Mtime.Add(time.Second)
	return n
}

func TestDiff(t *testing.T) {
	image := memfs.New()
	for _, p := range []string{"etc/passwd", "etc/hosts", "etc/ssh/key", "opt/app/bin", "opt/app/lib/x", "opt/app-2/y", "tmp/t", "srv/file"} {
		image.File(p, "of the image")
	}
	image.Symlink("srv/link", "file")
	image.Device("srv/null", evidence.TypeChar, 1, 3)
	for _, c := range []struct {
		name   string
		change func(up *memfs.FS)
		want   []string
		native []string
	}{
		{"nothing", func(up *memfs.FS) {}, nil, nil},
		{"added", func(up *memfs.FS) { later(up.Dir("opt/new/deep")); up.File("opt/new/deep/f", "x") },
			[]string{"C /opt", "A /opt/new", "A /opt/new/deep", "A /opt/new/deep/f"}, nil},
		{"deleted, a folder with all in it", func(up *memfs.FS) {
			up.Device("etc/hosts", evidence.TypeChar, 0, 0)
			up.Device("opt/app", evidence.TypeChar, 0, 0)
		},
			[]string{"C /etc", "D /etc/hosts", "C /opt", "D /opt/app"}, nil},
		{"sorted by the path's bytes", func(up *memfs.FS) {
			up.File("opt/app/new", "")
			up.File("opt/app-2/new", "")
			up.File("opt/app.d", "")
		},
			[]string{"C /opt", "C /opt/app", "C /opt/app-2", "A /opt/app-2/new", "A /opt/app.d", "A /opt/app/new"}, nil},
		{"content, of one size and time too", func(up *memfs.FS) {
			up.File("etc/passwd", "of the Image")
			later(up.File("etc/hosts", "longer than it was"))
		},
			[]string{"C /etc", "C /etc/hosts content,mtime", "C /etc/passwd content"}, []string{"C /etc/hosts content,mtime", "C /etc/passwd content"}},
		{"mode, owner, attributes, time", func(up *memfs.FS) {
			up.File("etc/passwd", "of the image").Info.Perm = 0o4755
			up.File("etc/hosts", "of the image").Info.GID = 3
			up.File("tmp/t", "of the image").Set("user.a", "b")
			later(up.File("srv/file", "of the image"))
			up.Dir("opt").Info.Perm = 0o700
		},
			[]string{"C /etc", "C /etc/hosts owner", "C /etc/passwd mode", "C /opt mode", "C /srv", "C /srv/file mtime", "C /tmp", "C /tmp/t xattrs"},
			[]string{"C /etc/hosts owner", "C /etc/passwd mode", "C /opt mode", "C /srv/file mtime", "C /tmp/t xattrs"}},
		{"copied up and nothing else", func(up *memfs.FS) { up.File("etc/passwd", "of the image"); later(up.Dir("etc")) },
			nil, []string{"C /etc mtime", "C /etc/passwd"}},
		{"links, devices, types", func(up *memfs.FS) {
			up.Symlink("srv/link", "other")
			up.Device("srv/null", evidence.TypeChar, 1, 5)
			up.Symlink("srv/file", "x")
		},
			[]string{"C /srv", "C /srv/file type,mode", "C /srv/link target", "C /srv/null content"}, []string{"C /srv/file type,mode", "C /srv/link target", "C /srv/null content"}},
		{"a file over a folder", func(up *memfs.FS) { up.File("opt/app", "") }, []string{"C /opt", "C /opt/app type,mode"}, []string{"C /opt/app type,mode"}},
		{"a folder over a file", func(up *memfs.FS) { up.Dir("etc/passwd").Set(opaque, "y"); up.File("etc/passwd/in", "") },
			[]string{"C /etc", "C /etc/passwd type,mode", "A /etc/passwd/in"}, []string{"C /etc", "D /etc/passwd type,mode", "A /etc/passwd/in"}},
		{"an opaque folder", func(up *memfs.FS) {
			up.Dir("opt/app").Set(opaque, "y")
			up.File("opt/app/bin", "of the image")
			up.File("opt/app/new", "")
		},
			[]string{"C /opt", "C /opt/app", "D /opt/app/lib", "A /opt/app/new"}, []string{"C /opt", "D /opt/app", "C /opt/app/bin", "A /opt/app/new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := memfs.New()
			c.change(up)
			base, cur := view(t, image), view(t, up, image)
			have, errs := lines(base, cur, layers.DiffOptions{})
			if !slices.Equal(have, c.want) || len(errs) > 0 {
				t.Errorf("have %q, %v\nwant %q", have, errs, c.want)
			}
			if c.native == nil {
				c.native = c.want
			}
			if have, errs := lines(base, cur, layers.DiffOptions{Native: true}); !slices.Equal(have, c.native) || len(errs) > 0 {
				t.Errorf("native: have %q, %v\nwant %q", have, errs, c.native)
			}
		})
	}
}

// TestDiffPlain compares two trees that know nothing of layers.
func TestDiffPlain(t *testing.T) {
	a, b := memfs.New(), memfs.New()
	a.File("d/same", "same")
	b.File("d/same", "same")
	a.File("d/old", "")
	b.File("new", "")
	have, errs := lines(a, b, layers.DiffOptions{Ignore: func(p string) bool { return p == "/new" }})
	if want := []string{"C /d", "D /d/old"}; !slices.Equal(have, want) || len(errs) > 0 {
		t.Errorf("%q, %v", have, errs)
	}
	for c := range layers.Diff(a, b, layers.DiffOptions{}) {
		switch c.Path {
		case "/d/old":
			if c.Kind != layers.Deleted || c.OldIno != a.At("d/old").Ino || c.Ino != 0 || !c.Old.Mtime.Equal(memfs.Epoch) || !c.Info.Mtime.IsZero() {
				t.Errorf("%+v", c)
			}
		case "/new":
			if c.Kind != layers.Added || c.Ino != b.At("new").Ino || !c.Old.Mtime.IsZero() {
				t.Errorf("%+v", c)
			}
		}
	}
}

func TestDiffErrors(t *testing.T) {
	broken := errors.New("bad sector")
	a, b := memfs.New(), memfs.New()
	for _, f := range []*memfs.FS{a, b} {
		f.File("d/x", "x")
		f.File("e/y", "y")
		f.File("f", "f")
	}
	b.At("d").Err, a.At("f").Err = broken, broken
	b.File("e/z", "")
	have, errs := lines(a, b, layers.DiffOptions{})
	if want := []string{"C /e", "A /e/z"}; !slices.Equal(have, want) || len(errs) != 2 || !errors.Is(errs[0], broken) {
		t.Errorf("%q, %v", have, errs)
	}
}

// TestDiffLoop: a directory that contains itself.
func TestDiffLoop(t *testing.T) {
	a, b := memfs.New(), memfs.New()
	a.Dir("d")
	d := b.Dir("d")
	b.Link("d/d", d)
	_, errs := lines(a, b, layers.DiffOptions{})
	if len(errs) == 0 || !errors.Is(errs[0], evidence.ErrCorrupt) {
		t.Errorf("%v", errs)
	}
}

func BenchmarkDiff(b *testing.B) {
	low, up := memfs.New(), memfs.New()
	for i := range 50_000 {
		low.File(fmt.Sprintf("d%d/e%d/f%d", i/1000, i/20%50, i), "content")
	}
	for i := range 500 {
		up.File(fmt.Sprintf("d%d/e%d/f%d", i%50, i%50, i), "other")
	}
	base, cur := view(b, low), view(b, up, low)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for range layers.Diff(base, cur, layers.DiffOptions{}) {
			n++
		}
		if n < 500 {
			b.Fatal(n)
		}
	}
}
