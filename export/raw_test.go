package export_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/ext4"
	"lagan/evidence/memfs"
	"lagan/export"
	"lagan/overlay"
)

// rawTree has what an image is hard to make of.
func rawTree(large bool) *memfs.FS {
	f := memfs.New()
	at := func(n *memfs.Node, t time.Time) *memfs.Node {
		n.Info.Mtime, n.Info.Atime, n.Info.Ctime, n.Info.Btime = t, t.Add(1), t.Add(2), t.Add(3)
		return n
	}
	at(f.File("times/before", "x"), time.Date(1901, 12, 14, 0, 0, 0, 1, time.UTC))
	at(f.File("times/1969", "x"), time.Unix(-1, 999_999_990).UTC())
	at(f.File("times/2038", "x"), time.Unix(1<<31, 5).UTC())
	at(f.File("times/2446", "x"), time.Unix(1<<34-1<<31-2, 7).UTC())
	for _, n := range []int{1, 59, 60, 61, 4095} {
		f.Symlink(fmt.Sprintf("links/%d", n), strings.Repeat("t", n))
	}
	for _, d := range [][2]uint32{{1, 3}, {255, 255}, {256, 0}, {8, 256}, {4095, 1<<20 - 1}, {0, 0}} {
		f.Device(fmt.Sprintf("dev/c%d.%d", d[0], d[1]), evidence.TypeChar, d[0], d[1])
		f.Device(fmt.Sprintf("dev/b%d.%d", d[0], d[1]), evidence.TypeBlock, d[0], d[1])
	}
	f.Device("dev/fifo", evidence.TypeFIFO, 0, 0)
	f.Device("dev/socket", evidence.TypeSocket, 0, 0)
	first := f.File("hard/a", "linked")
	first.Info.Perm, first.Info.UID, first.Info.GID = 0o6755, 1<<31+5, 1<<32-2
	f.Link("hard/b", first)
	f.Link("elsewhere", first)
	f.File("names/"+strings.Repeat("n", 255), "long")
	f.File("names/latin1-\xe9\xff", "bytes")
	f.File("names/new\nline \t", "")
	f.Dir("sticky").Info.Perm = 0o1777
	f.File("x/one", "").Set("user.a", "")
	f.File("x/few", "x").Set("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00").Set("user.b", "12345")
	f.File("x/block", "x").Set("user.text", strings.Repeat("v", 3000)).Set("trusted.t", "t").Set("user.\xe9", "bytes")
	f.File("x/large", "x").Set("user.large", strings.Repeat("0123456789", 6000)).Set("user.second", strings.Repeat("z", 5000)).Set("user.small", "s")
	many := f.Dir("x/many")
	for i := range 100 {
		many.Set(fmt.Sprintf("user.%03d", i), strings.Repeat("v", i))
	}
	f.File("x/acl", "x").Set("system.posix_acl_access", acl(1, 6, 2, 7, 4, 4, 16, 7, 32, 0))
	f.Dir("x/default").Set("system.posix_acl_default", acl(1, 7, 4, 5, 8, 5, 16, 7, 32, 5))
	holes := f.File("holes", "")
	holes.Data = make([]byte, 16<<20+5)
	holes.Info.Size = int64(len(holes.Data))
	for i := 4096; i < len(holes.Data); i += 8192 { // every second block: more extents than one block of the tree has
		holes.Data[i] = byte(i>>13) | 1
	}
	f.File("zeros", strings.Repeat("\x00", 1<<20+1))
	f.File("full", strings.Repeat("0123456789abcdef", 1<<18)+"end")
	deep := strings.Repeat("d/", 200)
	f.File(deep+"bottom", "deep")
	f.Dir("empty")
	entries := 4000
	if large {
		entries = 12000 // of names so long that the index has two levels
	}
	for i := range entries {
		f.File(fmt.Sprintf("big/%0200d-\xe9", i), "")
	}
	for i := range 3000 {
		f.Dir(fmt.Sprintf("dirs/%d", i))
	}
	return f
}

// acl builds a POSIX ACL as system calls have it, of pairs of a tag and rights.
func acl(list ...uint16) string {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for i := 0; i < len(list); i += 2 {
		b = binary.LittleEndian.AppendUint16(b, list[i])
		b = binary.LittleEndian.AppendUint16(b, list[i+1])
		id := uint32(1<<32 - 1)
		if list[i] == 2 || list[i] == 8 {
			id = 1000 + uint32(list[i])
		}
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return string(b)
}

func rawImage(t testing.TB, s export.Source, o export.Options) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "raw.img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := export.Raw(context.Background(), f, s, o, "test"); err != nil {
		t.Fatal(err)
	}
	return f
}

func openRaw(t testing.TB, f *os.File) evidence.FS {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := ext4.Open(f, st.Size(), evidence.Options{Warn: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// inodeLines has all that an image is to keep of a tree, by path.
func inodeLines(t testing.TB, fsys evidence.FS) map[string]string {
	t.Helper()
	out := make(map[string]string)
	names := make(map[uint64]string) // by number: a mounted folder has a handle for each name
	err := evidence.Walk(fsys, fsys.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if err != nil {
			t.Errorf("%q: %v", path, err)
			return nil
		}
		sum, target, links := "", "", ""
		switch i.Type {
		case evidence.TypeSymlink:
			target, err = fsys.ReadLink(e.Ino)
		case evidence.TypeFile:
			var r *io.SectionReader
			if r, err = fsys.Open(e.Ino); err == nil {
				h := sha256.New()
				_, err = io.Copy(h, r)
				sum = fmt.Sprintf("%x %d", h.Sum(nil)[:8], i.Size)
			}
		}
		if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		if i.Type != evidence.TypeDir {
			if names[i.Inode] == "" {
				names[i.Inode] = path
			}
			links = fmt.Sprintf("%d %q", i.Nlink, names[i.Inode])
		}
		x, err := fsys.Xattrs(e.Ino)
		if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		var xs []string
		for _, k := range slices.Sorted(maps.Keys(x)) {
			s := sha256.Sum256(x[k])
			xs = append(xs, fmt.Sprintf("%q=%x", k, s[:4]))
		}
		out[path] = fmt.Sprintf("%s %04o %d:%d %s %s %q %d:%d %d %d %d %d %s", i.Type, i.Perm, i.UID, i.GID, links, sum, target, i.Major, i.Minor,
			i.Mtime.UnixNano(), i.Atime.UnixNano(), i.Ctime.UnixNano(), i.Btime.UnixNano(), xs)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compareLines(t testing.TB, got, want map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			t.Errorf("%q:\n got %s\nwant %s", path, got[path], want[path])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, not %d", len(got), len(want))
	}
}

func TestRaw(t *testing.T) {
	f := rawTree(false)
	var g gaps
	img := rawImage(t, whole(f), g.options())
	compareLines(t, inodeLines(t, openRaw(t, img)), inodeLines(t, f))
	if len(g) != 0 {
		t.Errorf("gaps: %q", g)
	}
	again := rawImage(t, whole(f), g.options())
	a, err := io.ReadAll(io.NewSectionReader(img, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(again, 0, 1<<40))
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("another run gives other bytes: %v", err)
	}
}

// TestRawNoPlace exports what ext4 can't hold: each is told, the rest is there.
func TestRawNoPlace(t *testing.T) {
	f := memfs.New()
	f.File("ok", "content")
	f.File("future", "x").Info.Mtime = time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Symlink("no-target", "")
	f.Symlink("long-target", strings.Repeat("t", 4096))
	f.Device("dev", evidence.TypeChar, 1<<12, 0)
	f.File("dir/"+strings.Repeat("n", 256), "x")
	f.Dir(strings.Repeat("d", 256)).Info.Perm = 0o700
	f.File("huge", "").Info.Size = 1 << 50
	f.File("attr", "x").Set("btrfs.x", "y").Set("user.ok", "z").Set("user."+strings.Repeat("n", 256), "")
	many := f.File("many", "x")
	for i := range 300 {
		many.Set(fmt.Sprintf("user.%d", i), "x")
	}
	f.File("unread", "12345").Err = errors.New("bad sector")
	var g gaps
	img := rawImage(t, whole(f), g.options())
	want := []string{"/future", "/no-target", "/long-target", "/dev", "/dir/nnn", "/ddd", "/huge", "/attr", "/attr", "/many", "/unread"}
	for _, path := range want {
		if !slices.ContainsFunc(g, func(s string) bool { return strings.HasPrefix(s, path) }) {
			t.Errorf("no gap of %s in %q", path, g)
		}
	}
	fsys := openRaw(t, img)
	if b, err := evidence.ReadFile(fsys, fsys.Root(), "ok", 100); err != nil || string(b) != "content" {
		t.Errorf("ok: %q %v", b, err)
	}
	attr, err := evidence.Resolve(fsys, fsys.Root(), "attr", false)
	if err != nil {
		t.Fatal(err)
	}
	if x, err := fsys.Xattrs(attr); err != nil || len(x) != 1 || string(x["user.ok"]) != "z" {
		t.Errorf("attributes %q %v", x, err)
	}
	for _, gone := range []string{"dev", "no-target", "huge", strings.Repeat("d", 256)} {
		if _, err := evidence.Resolve(fsys, fsys.Root(), gone, false); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
}

// TestRawUpper writes a container's changes as overlayfs keeps them: merged with
// the image again, they give the container's view.
func TestRawUpper(t *testing.T) {
	lower, upper := memfs.New(), memfs.New()
	lower.File("etc/passwd", "root")
	lower.File("etc/gone", "x")
	lower.File("opt/hidden", "x")
	upper.File("etc/passwd", "evil")
	upper.Device("etc/gone", evidence.TypeChar, 0, 0)
	upper.Dir("opt").Set("trusted.overlay.opaque", "y")
	upper.File("opt/new", "n")
	view := merged(t, upper, lower)
	var g gaps
	img := rawImage(t, export.Source{FS: view, Start: view.Root(), Upper: upper}, g.options())
	again := merged(t, openRaw(t, img), lower)
	compareLines(t, inodeLines(t, again), inodeLines(t, view))
	if len(g) != 0 {
		t.Errorf("gaps: %q", g)
	}
	part := rawImage(t, export.Source{FS: view, Start: must(evidence.Resolve(view, view.Root(), "etc/passwd", false)), Path: "etc/passwd"}, g.options())
	if got := inodeLines(t, openRaw(t, part)); len(got) != 3 || !strings.Contains(got["etc/passwd"], "file") {
		t.Errorf("a part: %q", got)
	}
}

func must(ino evidence.Ino, err error) evidence.Ino {
	if err != nil {
		panic(err)
	}
	return ino
}

func merged(t *testing.T, all ...evidence.FS) *overlay.FS {
	t.Helper()
	var list []overlay.Layer
	for _, l := range all {
		list = append(list, overlay.Layer{FS: l, Root: l.Root()})
	}
	v, err := overlay.Merge(list, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
