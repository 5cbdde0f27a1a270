package export_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/export"
	"lagan/overlay"
)

// gaps collects what an export reports.
type gaps []string

func (g *gaps) options() export.Options {
	return export.Options{Guard: func(path string, read func() error) {
		defer func() {
			if r := recover(); r != nil {
				*g = append(*g, fmt.Sprintf("%s: panic %v", path, r))
			}
		}()
		if err := read(); err != nil {
			*g = append(*g, fmt.Sprintf("%s: %v", path, err))
		}
	}}
}

func tarOf(t testing.TB, s export.Source, o export.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := export.Tar(context.Background(), &b, s, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func whole(fsys evidence.FS) export.Source { return export.Source{FS: fsys, Start: fsys.Root()} }

// lines shows a tar's entries, with all that is to be compared.
func lines(t testing.TB, b []byte) []string {
	t.Helper()
	var out []string
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("after %d entries: %v", len(out), err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%c %q %04o %d:%d", h.Typeflag, h.Name, h.Mode&0o7777, h.Uid, h.Gid)
		if h.Linkname != "" {
			line += fmt.Sprintf(" -> %q", h.Linkname)
		}
		if h.Devmajor != 0 || h.Devminor != 0 {
			line += fmt.Sprintf(" %d,%d", h.Devmajor, h.Devminor)
		}
		if len(data) > 0 {
			line += fmt.Sprintf(" %q", data)
		}
		for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
				line += fmt.Sprintf(" %s=%q", name, h.PAXRecords[k])
			}
		}
		if !h.ModTime.Equal(memfs.Epoch) {
			line += " " + h.ModTime.UTC().Format(time.RFC3339Nano)
		}
		out = append(out, line)
	}
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("entry %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

var long = strings.Repeat("n", 255)

// everyKind has an inode of each kind that a tar can hold, and what it can't.
func everyKind() *memfs.FS {
	m := memfs.New()
	m.File("etc/passwd", "root").Info.Perm = 0o644
	m.Dir("etc").Info.Perm = 0o1777
	su := m.File("bin/su", "#!")
	su.Info.Perm, su.Info.UID, su.Info.GID = 0o4755, 1<<32-2, 3_000_000
	su.Set("security.capability", "\x01\x00\x00\x02").Set("user.a", "b\x00c").Set("trusted.overlay.origin", "x").Set("security.selinux", "u")
	su.Set("user.overlay.opaque", "y")
	old := m.File("bin/old", "")
	old.Info.Mtime = time.Unix(-5, 250).UTC()
	m.Symlink("bin/sh", "/bin/\xff")
	m.Device("dev/null", evidence.TypeChar, 1, 3)
	m.Device("dev/sda", evidence.TypeBlock, 8, 1)
	m.Device("dev/pipe", evidence.TypeFIFO, 0, 0)
	m.Device("dev/log", evidence.TypeSocket, 0, 0)
	m.File("\xff\nname", "1")
	m.File("etc-", "after etc/ in a list of paths")
	m.File(long+"/"+long+"/"+long, "deep")
	first := m.File("links/a", "shared")
	m.Link("links/b", first)
	first.Info.Nlink = 2
	return m
}

func TestTar(t *testing.T) {
	var g gaps
	o := g.options()
	var left []string
	o.Left = func(path string, info evidence.Info) { left = append(left, path+" "+info.Type.String()) }
	m := everyKind()
	b := tarOf(t, whole(m), o)
	want := []string{
		`5 "bin/" 0755 0:0`,
		`0 "bin/old" 0644 0:0 1969-12-31T23:59:55.00000025Z`,
		`2 "bin/sh" 0777 0:0 -> "/bin/\xff"`,
		`0 "bin/su" 4755 4294967294:3000000 "#!" security.capability="\x01\x00\x00\x02" user.a="b\x00c"`,
		`5 "dev/" 0755 0:0`,
		`3 "dev/null" 0600 0:0 1,3`,
		`6 "dev/pipe" 0600 0:0`,
		`4 "dev/sda" 0600 0:0 8,1`,
		`5 "etc/" 1777 0:0`,
		`0 "etc/passwd" 0644 0:0 "root"`,
		`0 "etc-" 0644 0:0 "after etc/ in a list of paths"`,
		`5 "links/" 0755 0:0`,
		`0 "links/a" 0644 0:0 "shared"`,
		`1 "links/b" 0644 0:0 -> "links/a"`,
		fmt.Sprintf(`5 "%s/" 0755 0:0`, long),
		fmt.Sprintf(`5 "%s/%s/" 0755 0:0`, long, long),
		fmt.Sprintf(`0 "%s/%s/%s" 0644 0:0 "deep"`, long, long, long),
		`0 "\xff\nname" 0644 0:0 "1"`,
	}
	compare(t, lines(t, b), want)
	if len(g) > 0 {
		t.Errorf("gaps: %q", g)
	}
	if !slices.Equal(left, []string{"/dev/log socket"}) {
		t.Errorf("left out: %q", left)
	}
	if again := tarOf(t, whole(m), o); !bytes.Equal(b, again) {
		t.Error("the same tree gave other bytes")
	}
	links := export.Source{FS: m, Start: m.At("links").Ino, Path: "links"}
	compare(t, lines(t, tarOf(t, links, o)), want[11:14])
	file := export.Source{FS: m, Start: m.At("etc/passwd").Ino, Path: "etc/passwd"}
	compare(t, lines(t, tarOf(t, file, o)), want[9:10])
}

// TestTarUpper writes the uppermost layer of a merged view, as an OCI layer has it.
func TestTarUpper(t *testing.T) {
	upper, lower := memfs.New(), memfs.New()
	lower.File("etc/passwd", "old")
	lower.File("etc/shadow", "lower's")
	lower.File("logs/1", "hidden")
	lower.File("was/in", "moved")
	lower.File("data", "content of the lower")
	lower.File("opt/kept", "")
	upper.File("etc/passwd", "new")
	upper.Device("etc/shadow", evidence.TypeChar, 0, 0)
	upper.File("logs/2", "")
	upper.At("logs").Set("trusted.overlay.opaque", "y")
	upper.Device("was", evidence.TypeChar, 0, 0)
	upper.Dir("is").Set("trusted.overlay.redirect", "/was")
	data := upper.File("data", "")
	data.Set("trusted.overlay.metacopy", "")
	data.Info.Perm, data.Info.Size = 0o600, int64(len("content of the lower"))
	view, err := overlay.Merge([]overlay.Layer{{FS: upper, Root: upper.Root()}, {FS: lower, Root: lower.Root()}}, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var g gaps
	s := whole(view)
	s.Upper = upper
	compare(t, lines(t, tarOf(t, s, g.options())), []string{
		`0 "data" 0600 0:0 "content of the lower"`,
		`5 "etc/" 0755 0:0`,
		`0 "etc/passwd" 0644 0:0 "new"`,
		`0 "etc/.wh.shadow" 0600 0:0`,
		`5 "is/" 0755 0:0`,
		`0 "is/.wh..wh..opq" 0755 0:0`,
		`0 "is/in" 0644 0:0 "moved"`,
		`5 "logs/" 0755 0:0`,
		`0 "logs/.wh..wh..opq" 0755 0:0`,
		`0 "logs/2" 0644 0:0`,
		`0 ".wh.was" 0600 0:0`,
	})
	if len(g) > 0 {
		t.Errorf("gaps: %q", g)
	}
	opt, err := evidence.Lookup(view, view.Root(), "opt")
	if err != nil {
		t.Fatal(err)
	}
	s.Start, s.Path = opt.Ino, "opt"
	compare(t, lines(t, tarOf(t, s, g.options())), nil)
}

// broken serves files whose bytes can't be read from one place on, or not in one place.
type broken struct {
	*memfs.FS
	size int64
	from int64
	to   int64
}

type brokenReader struct{ b broken }

var errRead = errors.New("input/output error")

func (r brokenReader) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		if o := off + int64(i); o >= r.b.from && o < r.b.to {
			return i, errRead
		}
		p[i] = 'x'
	}
	return len(p), nil
}

func (b broken) Stat(ino evidence.Ino) (evidence.Info, error) {
	info, err := b.FS.Stat(ino)
	if info.Type == evidence.TypeFile {
		info.Size = b.size
	}
	return info, err
}

func (b broken) Open(evidence.Ino) (*io.SectionReader, error) {
	if b.from < 0 {
		return nil, errRead
	}
	return io.NewSectionReader(brokenReader{b}, 0, b.size), nil
}

// TestUnreadable checks that what can't be read leaves a whole tar and a gap.
func TestUnreadable(t *testing.T) {
	for _, c := range []struct {
		size, from, to int64
		length, zeros  int64
	}{
		{10_000, 5000, 5001, 10_000, 8192 - 5000},
		{10_000, 9000, 10_000, 10_000, 1000},
		{10_000, 0, 10_000, 10_000, 10_000},
		{1 << 24, 0, 1 << 24, 1 << 24, 1 << 24}, // given up after a thousand places
		{10_000, -1, 0, 0, 0},
		{1 << 60, 0, 1, 0, 0},
	} {
		m := memfs.New()
		m.File("a", "")
		m.File("z", "")
		var g gaps
		b := tarOf(t, whole(broken{m, c.size, c.from, c.to}), g.options())
		r := tar.NewReader(bytes.NewReader(b))
		for range 2 {
			h, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil || h.Size != c.length {
				t.Fatalf("%+v: size %d, %v", c, h.Size, err)
			}
			if zeros := int64(bytes.Count(data, []byte{0})); zeros != c.zeros {
				t.Errorf("%+v: %d zeros", c, zeros)
			}
		}
		if len(g) != 2 {
			t.Errorf("%+v: gaps %q", c, g)
		}
	}
}

// TestTarHostile checks what no tar can hold: it is a gap, and the rest is there.
func TestTarHostile(t *testing.T) {
	for name, c := range map[string]struct {
		make func(m *memfs.FS)
		want string // the entry that is there all the same
	}{
		"dot dot": {func(m *memfs.FS) {
			m.Dir("x")
			m.At("x").Entries = append(m.At("x").Entries, evidence.Entry{Name: "..", Ino: m.At("x").Ino})
		}, `5 "x/" 0755 0:0`},
		"slash": {func(m *memfs.FS) {
			f := m.File("x", "")
			m.At("").Entries = []evidence.Entry{{Name: "../../etc/x", Ino: f.Ino}}
		}, ""},
		"empty name": {func(m *memfs.FS) { f := m.File("x", ""); m.At("").Entries = []evidence.Entry{{Name: "", Ino: f.Ino}} }, ""},
		"NUL": {func(m *memfs.FS) {
			f := m.File("x", "")
			m.At("").Entries = []evidence.Entry{{Name: "a\x00b", Ino: f.Ino}}
		}, ""},
		"itself": {func(m *memfs.FS) {
			d := m.Dir("x")
			d.Entries = append(d.Entries, evidence.Entry{Name: "y", Ino: d.Ino})
		}, `5 "x/" 0755 0:0`},
		"target NUL":    {func(m *memfs.FS) { m.Symlink("x", "a\x00b") }, `2 "x" 0777 0:0 -> "a"`},
		"attribute =":   {func(m *memfs.FS) { m.File("x", "").Set("user.a=b", "c") }, `0 "x" 0644 0:0`},
		"attributes":    {func(m *memfs.FS) { m.File("x", "").Set("user.a", strings.Repeat("v", 1<<21)) }, `0 "x" 0644 0:0`},
		"device number": {func(m *memfs.FS) { m.Device("x", evidence.TypeBlock, 1<<31, 0) }, ""},
		"long name":     {func(m *memfs.FS) { m.File(strings.Repeat("x", 1<<21), "") }, ""},
		"long target":   {func(m *memfs.FS) { m.Symlink("x", strings.Repeat("x", 1<<21)) }, ""},
		"no type":       {func(m *memfs.FS) { m.File("x", "").Info.Type = evidence.TypeUnknown }, ""},
		"unreadable":    {func(m *memfs.FS) { m.File("x", "").Err = errRead }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := memfs.New()
			c.make(m)
			m.File("zz", "after")
			var g gaps
			var want []string
			if c.want != "" {
				want = append(want, c.want)
			}
			got := lines(t, tarOf(t, whole(m), g.options()))
			if name == "itself" {
				want = append(want, `5 "x/y/" 0755 0:0`)
			}
			compare(t, got, append(want, `0 "zz" 0644 0:0 "after"`))
			if len(g) == 0 {
				t.Error("no gap")
			}
		})
	}
}

type fullDisk struct{ left int }

func (f *fullDisk) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errRead
	}
	return len(b), nil
}

func TestTarFullDisk(t *testing.T) {
	m := everyKind()
	size := len(tarOf(t, whole(m), new(gaps).options()))
	for left := 0; left < size; left += 512 {
		var g gaps
		if err := export.Tar(context.Background(), &fullDisk{left}, whole(m), g.options()); !errors.Is(err, errRead) || len(g) > 0 {
			t.Fatalf("after %d bytes: %v, gaps %q", left, err, g)
		}
	}
}
