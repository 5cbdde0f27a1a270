package export_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/export"
)

// line is a record of the manifest, as far as tests look.
type line struct {
	Path, Type, Mode, Target, SHA256, Written, Hardlink, Rdev string
	PathRaw                                                   []byte `json:"path_raw"`
	WrittenRaw                                                []byte `json:"written_raw"`
	Size, Lost                                                int64
	Xattrs                                                    map[string]string
	Opaque                                                    bool
}

func manifestOf(t *testing.T, dir string) []line {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, export.Manifest))
	if err != nil {
		t.Fatal(err)
	}
	var out []line
	for text := range strings.Lines(string(b)) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if l.WrittenRaw != nil {
			l.Written = string(l.WrittenRaw)
		}
		out = append(out, l)
	}
	return out
}

// disk shows all that lies below a folder.
func disk(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(b) + info.ModTime().String()
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + target
		}
		out[path[len(dir):]] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func dirOptions(g *gaps) export.DirOptions { return export.DirOptions{Options: g.options()} }

func TestDir(t *testing.T) {
	var g gaps
	out := filepath.Join(t.TempDir(), "out")
	m := everyKind()
	m.File("sparse", strings.Repeat("\x00", 1<<20)+"end"+strings.Repeat("\x00", 5000))
	if err := export.Dir(context.Background(), out, whole(m), dirOptions(&g)); err != nil {
		t.Fatal(err)
	}
	if len(g) > 0 {
		t.Errorf("gaps: %q", g)
	}
	byPath := make(map[string]line)
	for _, l := range manifestOf(t, out) {
		byPath[l.Path] = l
		if l.Written == "" || l.Type != "file" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(out, l.Written))
		sum := sha256.Sum256(b)
		if err != nil || int64(len(b)) != l.Size || hex.EncodeToString(sum[:]) != l.SHA256 {
			t.Errorf("%s: %v, %d bytes", l.Path, err, len(b))
		}
	}
	for path, want := range map[string]line{
		"/bin/su":      {Type: "file", Mode: "4755", Written: "rootfs/bin/su"},
		"/bin/sh":      {Type: "symlink", Mode: "0777", Target: `/bin/\xff`},
		"/dev/sda":     {Type: "block", Mode: "0600", Rdev: "8:1"},
		"/dev/log":     {Type: "socket", Mode: "0600"},
		"/links/b":     {Type: "file", Mode: "0644", Hardlink: "/links/a"},
		"/etc":         {Type: "dir", Mode: "1777", Written: "rootfs/etc"},
		"/\\xff\nname": {Type: "file", Mode: "0644", Written: "rootfs/\xff\nname"},
	} {
		got := byPath[path]
		got = line{Type: got.Type, Mode: got.Mode, Written: got.Written, Target: got.Target, Rdev: got.Rdev, Hardlink: got.Hardlink}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n got %+v\nwant %+v", path, got, want)
		}
	}
	if got := byPath["/bin/su"].Xattrs["security.selinux"]; got != base64.StdEncoding.EncodeToString([]byte("u")) {
		t.Errorf("attribute %q", got)
	}
	for path, text := range disk(t, out) {
		if !strings.HasPrefix(text, "-rw------- ") && text != "drwx------" {
			t.Errorf("%s is %s", path, text)
		}
	}
	if err := export.Dir(context.Background(), out, whole(m), dirOptions(&g)); err == nil {
		t.Error("wrote into a folder that isn't empty")
	}
}

func TestDirPreserve(t *testing.T) {
	var g gaps
	out := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(out, 0o755); err != nil { // an empty folder may be there
		t.Fatal(err)
	}
	m := everyKind()
	m.At("etc").Info.Perm = 0o1055
	o := dirOptions(&g)
	o.Links, o.Preserve = true, true
	if err := export.Dir(context.Background(), out, whole(m), o); err != nil {
		t.Fatal(err)
	}
	at := func(path string) fs.FileInfo {
		info, err := os.Lstat(filepath.Join(out, export.Files, path))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if su := at("bin/su"); su.Mode() != 0o755 || !su.ModTime().Equal(memfs.Epoch) {
		t.Errorf("su: %v %v", su.Mode(), su.ModTime())
	}
	if etc := at("etc"); etc.Mode() != fs.ModeDir|0o755 || !etc.ModTime().Equal(memfs.Epoch) {
		t.Errorf("etc: %v %v", etc.Mode(), etc.ModTime())
	}
	if !os.SameFile(at("links/a"), at("links/b")) {
		t.Error("the hard link is a file of its own")
	}
	if target, err := os.Readlink(filepath.Join(out, export.Files, "bin/sh")); target != "/bin/\xff" {
		t.Errorf("link to %q, %v", target, err)
	}
	for _, name := range []string{"dev/null", "dev/pipe", "dev/log", "dev/sda"} {
		if _, err := os.Lstat(filepath.Join(out, export.Files, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made: %v", name, err)
		}
	}
	if len(g) > 0 {
		t.Errorf("gaps: %q", g)
	}
}

// TestDirPath exports a folder far down: the folders above it are made and not told.
func TestDirPath(t *testing.T) {
	var g gaps
	out := filepath.Join(t.TempDir(), "out")
	m := everyKind()
	s := export.Source{FS: m, Start: m.At(long + "/" + long).Ino, Path: long + "/" + long}
	if err := export.Dir(context.Background(), out, s, dirOptions(&g)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(out, export.Files, long, long, long)); string(b) != "deep" {
		t.Errorf("%q, %v", b, err)
	}
	if n := len(manifestOf(t, out)); n != 2 {
		t.Errorf("%d records", n)
	}
}

// entry gives a folder one more name, whatever it has already.
func entry(dir *memfs.Node, name string, n *memfs.Node) {
	dir.Entries = append(dir.Entries, evidence.Entry{Name: name, Ino: n.Ino, Type: n.Info.Type})
}

// hostile are trees that want out of the folder, or that no host can hold.
// victim is a folder outside, up the same from where the tree is written.
var hostile = map[string]func(m *memfs.FS, victim, up string){
	"dot dot":           func(m *memfs.FS, _, _ string) { entry(m.At(""), "..", m.File("f", "evil")) },
	"dot":               func(m *memfs.FS, _, _ string) { entry(m.At(""), ".", m.Dir("d")) },
	"path up":           func(m *memfs.FS, _, up string) { entry(m.At(""), up+"/f", m.File("f", "evil")) },
	"absolute path":     func(m *memfs.FS, victim, _ string) { entry(m.At(""), victim+"/f", m.File("f", "evil")) },
	"folder up":         func(m *memfs.FS, _, up string) { entry(m.At(""), up, m.Dir("d")) },
	"empty name":        func(m *memfs.FS, _, _ string) { entry(m.At(""), "", m.File("f", "evil")) },
	"NUL in a name":     func(m *memfs.FS, _, _ string) { entry(m.At(""), "a\x00b", m.File("f", "evil")) },
	"newline in a name": func(m *memfs.FS, _, _ string) { m.File("a\n{\"path\":\"/fake\"}", "evil") },
	"terminal escapes":  func(m *memfs.FS, _, _ string) { m.File("\x1b[2J\x1b]0;evil\x07", "evil") },
	"backslashes":       func(m *memfs.FS, _, _ string) { m.File(`..\..\evil`, "evil") },
	"drive":             func(m *memfs.FS, _, _ string) { m.File(`C:evil`, "evil"); m.File("NUL.txt", ""); m.File("con", "") },
	"not UTF-8":         func(m *memfs.FS, _, _ string) { m.File("\xff\xfe/\xc0\xae\xc0\xae/x", "evil") },
	"255 bytes":         func(m *memfs.FS, _, _ string) { m.File(long+"/"+long, "deep") },
	"256 bytes":         func(m *memfs.FS, _, _ string) { m.File(long+"x/"+long+"y", "deep") },
	"256 bytes, alike":  func(m *memfs.FS, _, _ string) { m.File(long+"x", ""); m.File(long+"y", "") },
	"a mebibyte":        func(m *memfs.FS, _, _ string) { m.File(strings.Repeat("/..", 1)[1:]+strings.Repeat("n", 1<<20), "") },
	"absolute link":     func(m *memfs.FS, victim, _ string) { m.Symlink("l", victim) },
	"link up":           func(m *memfs.FS, _, up string) { m.Symlink("l", up+"/victim") },
	"link, then folder": func(m *memfs.FS, victim, _ string) {
		m.File("d/f", "evil")
		d := m.At("d")
		m.At("").Entries = nil
		entry(m.At(""), "x", m.Symlink("l", victim))
		entry(m.At(""), "x", d)
	},
	"folder, then link": func(m *memfs.FS, victim, _ string) {
		m.File("x/f", "evil")
		entry(m.At(""), "x", m.Symlink("l", victim))
	},
	"link, then file": func(m *memfs.FS, victim, _ string) {
		l := m.Symlink("l", victim+"/secret")
		entry(m.At(""), "x", l)
		entry(m.At(""), "x", m.File("f", "evil"))
	},
	"file, then link": func(m *memfs.FS, victim, _ string) {
		m.File("x", "evil")
		entry(m.At(""), "x", m.Symlink("l", victim+"/secret"))
	},
	"dangling link, then file": func(m *memfs.FS, victim, _ string) {
		entry(m.At(""), "x", m.Symlink("l", victim+"/new"))
		entry(m.At(""), "x", m.File("f", "evil"))
	},
	"file, then folder": func(m *memfs.FS, _, _ string) {
		m.File("x", "evil")
		d := m.Dir("d")
		m.File("d/f", "evil")
		entry(m.At(""), "x", d)
	},
	"folder, then file": func(m *memfs.FS, _, _ string) { m.File("x/f", "evil"); entry(m.At(""), "x", m.File("f", "evil")) },
	"the manifest's name": func(m *memfs.FS, _, up string) {
		m.File(export.Manifest, "evil")
		entry(m.At(""), "../"+export.Manifest, m.At(export.Manifest))
	},
	"an escaped name": func(m *memfs.FS, _, _ string) {
		m.File(long+"x", "1")
		sum := sha256.Sum256([]byte(long + "x"))
		m.File(strings.Repeat("n", 100)+fmt.Sprintf("%%%x", sum[:6]), "2")
	},
	"hard link to a link": func(m *memfs.FS, victim, _ string) {
		l := m.Symlink("a", victim+"/secret")
		l.Info.Nlink = 2
		m.Link("b", l)
		entry(m.At(""), "b", m.File("f", "evil"))
	},
	"hard link of a folder": func(m *memfs.FS, _, _ string) {
		m.File("d/f", "evil")
		m.Link("e", m.At("d"))
		m.At("d").Info.Nlink = 9
	},
	"folder in itself": func(m *memfs.FS, _, _ string) { d := m.Dir("d"); entry(d, "e", d) },
	"folder above":     func(m *memfs.FS, _, _ string) { entry(m.Dir("d"), "r", m.At("")) },
	"devices": func(m *memfs.FS, _, _ string) {
		m.Device("sda", evidence.TypeBlock, 8, 0)
		m.Device("mem", evidence.TypeChar, 1, 1)
		m.Device("p", evidence.TypeFIFO, 0, 0)
		m.Device("s", evidence.TypeSocket, 0, 0)
	},
	"setuid": func(m *memfs.FS, _, _ string) { m.File("su", "evil").Info.Perm = 0o7777; m.Dir("d").Info.Perm = 0o7777 },
	"closed folders": func(m *memfs.FS, _, _ string) {
		m.File("d/e/f", "x")
		m.At("d").Info.Perm = 0
		m.At("d/e").Info.Perm = 0
	},
	"empty target":    func(m *memfs.FS, _, _ string) { m.Symlink("l", ""); m.Symlink("k", strings.Repeat("x/", 4000)) },
	"target with NUL": func(m *memfs.FS, victim, _ string) { m.Symlink("l", victim+"\x00x") },
	"far times": func(m *memfs.FS, _, _ string) {
		m.File("f", "").Info.Mtime = time.Unix(1<<40, 0)
		m.File("g", "").Info.Mtime = time.Unix(-1<<40, 0)
	},
	"a vast file":       func(m *memfs.FS, _, _ string) { m.File("f", "").Info.Size = 1 << 60 },
	"a file of size <0": func(m *memfs.FS, _, _ string) { m.File("f", "").Info.Size = -1 },
	"deep": func(m *memfs.FS, _, _ string) {
		d := m.At("")
		for range 3 * 64 {
			n := m.Dir("tmp")
			m.At("").Entries = slices.DeleteFunc(m.At("").Entries, func(e evidence.Entry) bool { return e.Name == "tmp" })
			entry(d, "dddddddd", n)
			d = n
		}
		entry(d, "f", m.File("f", "evil"))
	},
}

// TestDirHostile exports each tree with and without links, and looks at all
// that lies around the folder.
func TestDirHostile(t *testing.T) {
	if len(hostile) < 30 {
		t.Fatalf("%d cases", len(hostile))
	}
	for name, grow := range hostile {
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/links=%t", name, all), func(t *testing.T) {
				around := t.TempDir()
				for _, dir := range []string{"victim", "home"} {
					if err := os.Mkdir(filepath.Join(around, dir), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile(filepath.Join(around, "victim/secret"), []byte("untouched"), 0o644); err != nil {
					t.Fatal(err)
				}
				before := disk(t, around)
				m := memfs.New()
				grow(m, filepath.Join(around, "victim"), "../../..")
				m.File("zz/last", "the rest is there")
				var g gaps
				o := dirOptions(&g)
				o.Links, o.Preserve = all, all
				out := filepath.Join(around, "home/out")
				if err := export.Dir(context.Background(), out, whole(m), o); err != nil {
					t.Fatal(err)
				}
				if b, err := os.ReadFile(filepath.Join(out, export.Files, "zz/last")); string(b) != "the rest is there" {
					t.Errorf("the rest: %q, %v", b, err)
				}
				checkDir(t, out, all)
				if err := os.RemoveAll(out); err != nil {
					t.Fatal(err)
				}
				if after := disk(t, around); fmt.Sprint(after) != fmt.Sprint(before) {
					t.Errorf("around the folder:\n got %q\nwant %q", after, before)
				}
			})
		}
	}
}

// checkDir checks that an exported folder has what its manifest says and nothing else.
func checkDir(t *testing.T, out string, links bool) {
	t.Helper()
	written := map[string]bool{export.Manifest: true, ".": true}
	root, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, l := range manifestOf(t, out) {
		if l.Written == "" {
			continue
		}
		if written[l.Written] {
			t.Errorf("%q was written twice", l.Written)
		}
		written[l.Written] = true
		info, err := root.Lstat(l.Written)
		if err != nil {
			t.Errorf("%q: %v", l.Written, err)
			continue
		}
		typ := map[fs.FileMode]string{0: "file", fs.ModeDir: "dir", fs.ModeSymlink: "symlink"}[info.Mode().Type()]
		if typ != l.Type || typ == "symlink" && !links || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%q is %v, recorded as %s", l.Written, info.Mode(), l.Type)
		}
		if !links && info.Mode().Perm() != 0o600 && info.Mode().Perm() != 0o700 {
			t.Errorf("%q has mode %v", l.Written, info.Mode())
		}
	}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !written[path] {
			t.Errorf("%q is not in the manifest", path)
		}
		return nil
	})
	if err != nil {
		t.Log(err) // io/fs can't walk names that aren't UTF-8
	}
}

// TestDirCancelled checks that nothing is left of an export that was ended.
func TestDirCancelled(t *testing.T) {
	around := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	var g gaps
	o := dirOptions(&g)
	o.Progress = func(n int64) {
		if n == 5 {
			cancel()
		}
	}
	if err := export.Dir(ctx, filepath.Join(around, "out"), whole(everyKind()), o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := disk(t, around); len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
}

// TestDirUnreadable checks that what is lost of a file is in the manifest.
func TestDirUnreadable(t *testing.T) {
	m := memfs.New()
	m.File("a", "")
	var g gaps
	out := filepath.Join(t.TempDir(), "out")
	if err := export.Dir(context.Background(), out, whole(broken{m, 10_000, 5000, 5001}), dirOptions(&g)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(out, export.Files, "a"))
	want := append(append(bytes.Repeat([]byte("x"), 5000), make([]byte, 3192)...), bytes.Repeat([]byte("x"), 10_000-8192)...)
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if l := manifestOf(t, out); len(l) != 2 || l[1].Lost != 3192 || len(g) != 1 {
		t.Errorf("%+v, gaps %q", l, g)
	}
}
