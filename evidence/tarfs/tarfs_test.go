package tarfs

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"lagan/evidence"
	"lagan/evidence/packtest"
	"lagan/internal/needs"
)

var epoch = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)

func member(kind byte, name, content string) packtest.Member {
	return packtest.Member{Header: tar.Header{Typeflag: kind, Name: name, Mode: 0o644, ModTime: epoch, Format: tar.FormatPAX}, Content: content}
}

func file(name, content string) packtest.Member { return member(tar.TypeReg, name, content) }

func link(kind byte, name, target string) packtest.Member {
	e := member(kind, name, "")
	e.Linkname = target
	return e
}

// open opens an archive and returns what was warned of.
func open(tb testing.TB, b []byte) (*FS, []string) {
	tb.Helper()
	var warned []string
	f, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(err error) { warned = append(warned, err.Error()) }})
	if err != nil {
		tb.Fatal(err)
	}
	return f, warned
}

func TestMembers(t *testing.T) {
	attr := file("x", "x")
	attr.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b\x00\n=c"}
	escaped := file("x", "x")
	escaped.PAXRecords = map[string]string{"SCHILY.xattr.user.a%3Db%25": "c"}
	libarchive := file("x", "x")
	libarchive.PAXRecords = map[string]string{"LIBARCHIVE.xattr.user.a%20b": base64.RawStdEncoding.EncodeToString([]byte("v\x00"))}
	selinux := file("x", "x")
	selinux.PAXRecords = map[string]string{"RHT.security.selinux": "a:b:c"}
	socket := file("s", "")
	socket.PAXRecords = map[string]string{"SCHILY.filetype": "socket"}
	owned := file("owned", "")
	owned.Uid, owned.Gid, owned.Mode = 100000, 4294967294, 0o4755
	device := member(tar.TypeBlock, "sda", "")
	device.Devmajor, device.Devminor = 259, 70000
	for _, c := range []struct {
		name    string
		entries []packtest.Member
		want    string
		warned  int
	}{
		{"names in every form", []packtest.Member{file("./a", "1"), file("/b", "2"), file("c/../d", "3"), file("../../e", "4"), file("f//g", "5"), file("latin1-\xe9", "6")},
			"/a file 0644 0:0 x1 \"1\"\n/b file 0644 0:0 x1 \"2\"\n/d file 0644 0:0 x1 \"3\"\n/e file 0644 0:0 x1 \"4\"\n/f dir 0755 0:0 x1\n/f/g file 0644 0:0 x1 \"5\"\n/latin1-\xe9 file 0644 0:0 x1 \"6\"\n", 0},
		{"long names", []packtest.Member{file(strings.Repeat("d/", 200)+"f", "1")}, "", 0},
		{"the last one counts", []packtest.Member{file("a", "old"), file("a", "new"), member(tar.TypeDir, "d/", ""), file("d/x", "x"), member(tar.TypeDir, "d/", "")},
			"/a file 0644 0:0 x1 \"new\"\n/d dir 0644 0:0 x1\n/d/x file 0644 0:0 x1 \"x\"\n", 0},
		{"names of whiteouts are files", []packtest.Member{file(".wh.gone", ""), file("o/.wh..wh..opq", "")},
			"/.wh.gone file 0644 0:0 x1 \"\"\n/o dir 0755 0:0 x1\n/o/.wh..wh..opq file 0644 0:0 x1 \"\"\n", 0},
		{"hard links", []packtest.Member{file("a", "x"), link(tar.TypeLink, "b", "a"), link(tar.TypeLink, "d/c", "./a"), file("a", "y")},
			"/a file 0644 0:0 x1 \"y\"\n/b file 0644 0:0 x2 \"x\"\n/d dir 0755 0:0 x1\n/d/c file 0644 0:0 x2 \"x\"\n", 0},
		{"hard link to nothing", []packtest.Member{link(tar.TypeLink, "b", "a"), file("c", "x")}, "/c file 0644 0:0 x1 \"x\"\n", 1},
		{"below a file", []packtest.Member{file("a", "x"), file("a/b", "y"), file("c", "z")}, "/a file 0644 0:0 x1 \"x\"\n/c file 0644 0:0 x1 \"z\"\n", 1},
		{"file in the place of a folder", []packtest.Member{file("d/x", "x"), file("d", "y")}, "/d dir 0755 0:0 x1\n/d/x file 0644 0:0 x1 \"x\"\n", 1},
		{"through a link", []packtest.Member{member(tar.TypeDir, "usr/", ""), link(tar.TypeSymlink, "lib", "usr/lib"), file("lib/x", "x"), link(tar.TypeSymlink, "up", "../../usr"), file("up/y", "y")},
			"/lib symlink 0777 0:0 x1 -> usr/lib\n/up symlink 0777 0:0 x1 -> ../../usr\n/usr dir 0644 0:0 x1\n/usr/lib dir 0755 0:0 x1\n/usr/lib/x file 0644 0:0 x1 \"x\"\n/usr/y file 0644 0:0 x1 \"y\"\n", 0},
		{"links in a circle", []packtest.Member{link(tar.TypeSymlink, "a", "b"), link(tar.TypeSymlink, "b", "a"), file("a/x", "x")},
			"/a symlink 0777 0:0 x1 -> b\n/b symlink 0777 0:0 x1 -> a\n", 1},
		{"attributes", []packtest.Member{attr}, "/x file 0644 0:0 x1 \"x\" user.a=\"b\\x00\\n=c\"\n", 0},
		{"attributes escaped by GNU tar", []packtest.Member{escaped}, "/x file 0644 0:0 x1 \"x\" user.a=b%=\"c\"\n", 0},
		{"attributes of libarchive", []packtest.Member{libarchive}, "/x file 0644 0:0 x1 \"x\" user.a b=\"v\\x00\"\n", 0},
		{"SELinux", []packtest.Member{selinux}, "/x file 0644 0:0 x1 \"x\" security.selinux=\"a:b:c\\x00\"\n", 0},
		{"owners, devices, pipes, sockets", []packtest.Member{owned, device, member(tar.TypeFifo, "p", ""), member(tar.TypeChar, "wh", ""), socket},
			"/owned file 4755 100000:4294967294 x1 \"\"\n/p fifo 0644 0:0 x1\n/s socket 0644 0:0 x1\n/sda block 0644 0:0 x1 259:70000\n/wh char 0644 0:0 x1 0:0\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, warned := open(t, packtest.Tar(t, c.entries...))
			if have := packtest.Lines(t, f); c.want != "" && have != c.want {
				t.Errorf("have\n%s\nwant\n%s", have, c.want)
			}
			if len(warned) != c.warned {
				t.Errorf("warned of %q", warned)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	e := file("f", "")
	e.ModTime, e.AccessTime = epoch, time.Unix(-2, 750_000_000).UTC()
	e.PAXRecords = map[string]string{"LIBARCHIVE.creationtime": "1.5"}
	plain := file("g", "")
	plain.Format, plain.ModTime = tar.FormatUSTAR, time.Unix(epoch.Unix(), 0).UTC()
	f, _ := open(t, packtest.Tar(t, e, plain))
	for _, c := range []struct {
		name string
		want [4]time.Time
	}{
		{"f", [4]time.Time{epoch, time.Unix(-2, 750_000_000).UTC(), {}, time.Unix(1, 500_000_000).UTC()}},
		{"g", [4]time.Time{time.Unix(epoch.Unix(), 0).UTC()}},
	} {
		ino, err := evidence.Resolve(f, f.Root(), c.name, false)
		if err != nil {
			t.Fatal(err)
		}
		i, err := f.Stat(ino)
		if have := [4]time.Time{i.Mtime, i.Atime, i.Ctime, i.Btime}; err != nil || have != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, have, err, c.want)
		}
	}
}

// TestDamage breaks, cuts and joins archives: what is whole is read, and the rest told of.
func TestDamage(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 100)
	plain := func(name, content string) packtest.Member {
		return packtest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Format: tar.FormatUSTAR}, Content: content}
	}
	whole := packtest.Tar(t, plain("a", "1"), plain("b", big), plain("c", "3"))
	at := bytes.Index(whole, []byte("b\x00\x00\x00"))
	broken := bytes.Clone(whole)
	broken[at] ^= 1
	second := packtest.Tar(t, plain("d", "4"))
	for _, c := range []struct {
		name, names string
		b           []byte
		warned      string
	}{
		{"whole", "a b c", whole, ""},
		{"header broken", "a c", broken, "offset 0x400: no header"},
		{"cut in a content", "a b", whole[:at+block+1000], "in the content of \"b\""},
		{"cut in a header", "a", whole[:at+100], "offset"},
		{"no mark at the end", "a b c", bytes.TrimRight(whole, "\x00"), "ends without its mark"},
		{"another behind it", "a b c d", append(bytes.Clone(whole), second...), "another one follows"},
		{"noise behind it", "a b c", append(bytes.Clone(whole), bytes.Repeat([]byte("x"), 3000)...), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, warned := open(t, c.b)
			entries, err := evidence.List(f, f.Root())
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name)
			}
			if have := strings.Join(names, " "); have != c.names {
				t.Errorf("have %q", have)
			}
			if all := strings.Join(warned, "\n"); (c.warned == "") != (all == "") || !strings.Contains(all, c.warned) {
				t.Errorf("warned of %q", warned)
			}
		})
	}
	f, _ := open(t, whole[:at+block+1000])
	ino, _ := evidence.Resolve(f, f.Root(), "b", false)
	r, err := f.Open(ino)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if string(b) != big[:1000] || !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("of a cut file: %d bytes, %v", len(b), err)
	}
}

func TestFormat(t *testing.T) {
	disk := make([]byte, 4096)
	for name, b := range map[string][]byte{"zeros": disk, "empty": nil, "text": []byte(strings.Repeat("text ", 500)), "magic alone": append(make([]byte, 257), "ustar\x0000"...)} {
		if _, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{}); !errors.Is(err, evidence.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIOFS(t *testing.T) {
	f, _ := open(t, packtest.Tar(t, member(tar.TypeDir, "d/", ""), file("d/f", "x"), link(tar.TypeSymlink, "l", "d"), link(tar.TypeLink, "h", "d/f")))
	if err := fstest.TestFS(evidence.IOFS(f), "d/f", "h"); err != nil {
		t.Error(err)
	}
}

// gnuTar runs GNU tar in a folder, and returns the archive.
func gnuTar(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	needs.Tool(t, "tar")
	out := filepath.Join(t.TempDir(), "a.tar")
	cmd := exec.Command("tar", append([]string{"-C", dir, "-cf", out}, args...)...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// gnuTree makes a folder with what GNU tar has several forms for.
func gnuTree(t testing.TB, parts int64) string {
	dir := t.TempDir()
	write := func(name string, off int64, b string) {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o640)
		if err == nil {
			_, err = f.WriteAt([]byte(b), off)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	write("plain", 0, "plain\n")
	write(strings.Repeat("n", 150), 0, "long name")
	write("latin1-\xe9", 0, "not UTF-8")
	for i := range parts { // more than fit into a header
		write("sparse", i*1<<20+i*4096, fmt.Sprintf("part %d", i))
	}
	os.Truncate(filepath.Join(dir, "sparse"), 100<<20)
	write("hole", 0, "")
	os.Truncate(filepath.Join(dir, "hole"), 1<<20)
	os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, "z-hard"))
	os.Symlink(strings.Repeat("t", 150), filepath.Join(dir, "symlink"))
	os.Chtimes(filepath.Join(dir, "plain"), epoch, epoch)
	return dir
}

func FuzzOpen(f *testing.F) {
	attr := file("x", "x")
	attr.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b", "LIBARCHIVE.xattr.b": "YQ"}
	f.Add(packtest.Tar(f, attr, file(strings.Repeat("d/", 100)+"f", "1"), link(tar.TypeLink, "b", "x"), link(tar.TypeSymlink, "c", "x")))
	f.Add(packtest.Tar(f, packtest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("n", 150), Format: tar.FormatGNU}, Content: "x"}))
	dir := gnuTree(f, 6)
	for _, v := range []string{"0.0", "0.1", "1.0"} {
		f.Add(gnuTar(f, dir, "--format=posix", "--sparse", "--sparse-version="+v, "sparse"))
	}
	f.Add(gnuTar(f, dir, "--format=gnu", "--sparse", "."))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i := 0; i+block <= len(b); i += block { // checksums, which no mutation gets right
			if bytes.HasPrefix(b[i+offMagic:], []byte(magicUstar)) {
				fixSum(b[i : i+block])
			}
		}
		tree, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
		if err != nil {
			if tree != nil || !errors.Is(err, evidence.ErrFormat) && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
				t.Fatal(tree, err)
			}
			return
		}
		p := make([]byte, 1000)
		evidence.Walk(tree, tree.Root(), func(_ string, e evidence.Entry, i evidence.Info, err error) error {
			if _, err := tree.Xattrs(e.Ino); err != nil {
				ours(t, err)
			}
			if r, err := tree.Open(e.Ino); err == nil {
				_, err = r.ReadAt(p, i.Size/2)
				ours(t, err)
			} else {
				ours(t, err)
			}
			return nil
		})
	})
}

func ours(t *testing.T, err error) {
	for _, is := range []error{nil, evidence.ErrCorrupt, evidence.ErrUnsupported, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, is) {
			return
		}
	}
	t.Errorf("error of another kind: %v", err)
}

func fixSum(b []byte) {
	copy(b[offSum:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[offSum:], fmt.Sprintf("%06o\x00 ", sum))
}
