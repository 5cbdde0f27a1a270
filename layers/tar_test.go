package layers_test

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/evidence/packtest"
	"lagan/layers"
	"lagan/overlay"
)

var epoch = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func file(name, content string) packtest.Member {
	return packtest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: epoch}, Content: content}
}

func dir(name string) packtest.Member {
	return packtest.Member{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: epoch}}
}

func link(typ byte, name, target string) packtest.Member {
	return packtest.Member{Header: tar.Header{Typeflag: typ, Name: name, Linkname: target, Mode: 0o777, ModTime: epoch}}
}

func openTar(tb testing.TB, b []byte) *layers.Tar {
	tb.Helper()
	t, err := layers.OpenTar(bytes.NewReader(b), int64(len(b)), layers.TarOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestTar(t *testing.T) {
	attr := file("x", "x")
	attr.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"}
	owned := file("owned", "")
	owned.Uid, owned.Gid, owned.Mode = 100000, 4294967294, 0o4755
	device := packtest.Member{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8, Devminor: 1, Mode: 0o660}}
	for _, c := range []struct {
		name    string
		entries []packtest.Member
		want    string
	}{
		{"names in every form", []packtest.Member{file("./a", "1"), file("/b", "2"), file("c/../d", "3"), file("../../e", "4"), file("f//g", "5")},
			"/a file 0644 0:0 x1 \"1\"\n/b file 0644 0:0 x1 \"2\"\n/d file 0644 0:0 x1 \"3\"\n/e file 0644 0:0 x1 \"4\"\n/f dir 0755 0:0 x1\n/f/g file 0644 0:0 x1 \"5\"\n"},
		{"the last entry stands", []packtest.Member{file("a", "old"), file("a", "new"), dir("d"), file("d/x", "x"), dir("d")},
			"/a file 0644 0:0 x1 \"new\"\n/d dir 0755 0:0 x1\n/d/x file 0644 0:0 x1 \"x\"\n"},
		{"whiteouts", []packtest.Member{file(".wh.gone", ""), dir("o"), file("o/.wh..wh..opq", ""), file("o/in", ""), file(".wh..wh.plnk/1.2", "aufs")},
			"/gone char 0000 0:0 x1 0:0\n/o dir 0755 0:0 x1 trusted.overlay.opaque=\"y\"\n/o/in file 0644 0:0 x1 \"\"\n"},
		{"opaque before the folder", []packtest.Member{file("o/.wh..wh..opq", ""), dir("o")}, "/o dir 0755 0:0 x1 trusted.overlay.opaque=\"y\"\n"},
		{"hard links", []packtest.Member{file("a", "x"), link(tar.TypeLink, "b", "a"), link(tar.TypeLink, "d/c", "./a"), file("a", "y")},
			"/a file 0644 0:0 x1 \"y\"\n/b file 0644 0:0 x2 \"x\"\n/d dir 0755 0:0 x1\n/d/c file 0644 0:0 x2 \"x\"\n"},
		{"through a link of the layer", []packtest.Member{dir("usr"), link(tar.TypeSymlink, "lib", "usr/lib"), file("lib/x", "x"), link(tar.TypeSymlink, "up", "../../usr"), file("up/y", "y")},
			"/lib symlink 0777 0:0 x1 -> usr/lib\n/up symlink 0777 0:0 x1 -> ../../usr\n/usr dir 0755 0:0 x1\n/usr/lib dir 0755 0:0 x1\n/usr/lib/x file 0644 0:0 x1 \"x\"\n/usr/y file 0644 0:0 x1 \"y\"\n"},
		{"attributes, owners, devices", []packtest.Member{attr, owned, device, {Header: tar.Header{Typeflag: tar.TypeFifo, Name: "p"}}},
			"/owned file 4755 100000:4294967294 x1 \"\"\n/p fifo 0000 0:0 x1\n/sda block 0660 0:0 x1 8:1\n/x file 0644 0:0 x1 \"x\" user.a=\"b\"\n"},
		{"bytes", []packtest.Member{file("latin1-\xe9", "1")}, "/latin1-\xe9 file 0644 0:0 x1 \"1\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := openTar(t, packtest.Tar(t, c.entries...))
			if have := packtest.Lines(t, f); have != c.want {
				t.Errorf("have\n%s\nwant\n%s", have, c.want)
			}
		})
	}
}

// TestTarHostile: what no runtime would unpack is an error of ours.
func TestTarHostile(t *testing.T) {
	deep := strings.Repeat("d/", 3000) + "f"
	for name, entries := range map[string][]packtest.Member{
		"links without end":             {link(tar.TypeSymlink, "a", "b"), link(tar.TypeSymlink, "b", "a"), file("a/x", "")},
		"hard link to nothing":          {link(tar.TypeLink, "a", "none")},
		"hard link to a folder":         {dir("d"), link(tar.TypeLink, "a", "d")},
		"below a file":                  {file("a", ""), file("a/b", "")},
		"deep":                          {file(deep, "")},
		"a link that grows at each use": {link(tar.TypeSymlink, "a", "a/a/a/a/a/a"), file("a/x", "")},
	} {
		t.Run(name, func(t *testing.T) {
			b := packtest.Tar(t, entries...)
			f, err := layers.OpenTar(bytes.NewReader(b), int64(len(b)), layers.TarOptions{})
			if !errors.Is(err, evidence.ErrCorrupt) || f == nil {
				t.Errorf("%v", err)
			}
		})
	}
	b := packtest.Tar(t, file("a", "content"), file("b", strings.Repeat("x", 2000)))
	f, err := layers.OpenTar(bytes.NewReader(b[:2000]), 2000, layers.TarOptions{})
	if _, lookup := f.Lookup(f.Root(), "a"); !errors.Is(err, evidence.ErrCorrupt) || lookup != nil {
		t.Errorf("cut short: %v, %v", err, lookup)
	}
}

// TestTarStreamed: without content to read from.
func TestTarStreamed(t *testing.T) {
	f, err := layers.ReadTar(bytes.NewReader(packtest.Tar(t, file("a", "content"), file("empty", ""))), layers.TarOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.Lookup(f.Root(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(e.Ino); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if _, err := f.Stat(99); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestTarMerged: tars stack as layers do.
func TestTarMerged(t *testing.T) {
	low := openTar(t, packtest.Tar(t, dir("d"), file("d/a", "low"), file("gone", "x"), dir("o"), file("o/hidden", "x")))
	up := openTar(t, packtest.Tar(t, file("d/a", "up"), file(".wh.gone", ""), dir("o"), file("o/.wh..wh..opq", ""), file("o/new", "n")))
	v, err := overlay.Merge([]overlay.Layer{{FS: up, Root: up.Root()}, {FS: low, Root: low.Root()}}, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "/d dir 0755 0:0 x1\n/d/a file 0644 0:0 x1 \"up\"\n/o dir 0755 0:0 x1\n/o/new file 0644 0:0 x1 \"n\"\n"
	if have := packtest.Lines(t, v); have != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
}

func TestParseDigest(t *testing.T) {
	hexed := strings.Repeat("0a", 32)
	if d, err := layers.ParseDigest("sha256:" + hexed); err != nil || d.String() != "sha256:"+hexed || d.IsZero() {
		t.Errorf("%v %v", d, err)
	}
	for s, want := range map[string]error{
		"": evidence.ErrCorrupt, "sha256": evidence.ErrCorrupt, "sha256:12": evidence.ErrCorrupt, "sha256:" + strings.ToUpper(hexed): evidence.ErrCorrupt,
		"sha256:../../" + hexed[6:]: evidence.ErrCorrupt, "md5:" + hexed[:32]: evidence.ErrUnsupported,
	} {
		if d, err := layers.ParseDigest(s); !errors.Is(err, want) || !d.IsZero() {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func packed(tb testing.TB, kind layers.Compression, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch kind {
	case layers.Gzip:
		w = gzip.NewWriter(&out)
	case layers.Zstd:
		z, err := zstd.NewWriter(&out)
		if err != nil {
			tb.Fatal(err)
		}
		w = z
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestReadBlob(t *testing.T) {
	noise := make([]byte, 1<<20)
	rand.Read(noise)
	content := packtest.Tar(t, file("a", "content"), file("noise", string(noise)))
	half := len(content) / 2
	// a skippable frame, as zstd:chunked and eStargz put their tables behind or between
	skippable := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "toc!"...)
	for name, blob := range map[string][]byte{
		"none":          content,
		"gzip":          packed(t, layers.Gzip, content),
		"zstd":          packed(t, layers.Zstd, content),
		"eStargz":       append(packed(t, layers.Gzip, content[:half]), packed(t, layers.Gzip, content[half:])...),
		"zstd:chunked":  bytes.Join([][]byte{packed(t, layers.Zstd, content[:half]), packed(t, layers.Zstd, content[half:]), skippable}, nil),
		"skipped first": append(bytes.Clone(skippable), packed(t, layers.Zstd, content)...),
	} {
		t.Run(name, func(t *testing.T) {
			read := 0
			s, err := layers.ReadBlob(bytes.NewReader(blob), layers.DigestOf(blob), -1, func(r io.Reader) error {
				n, err := io.CopyN(io.Discard, r, 700) // and leaves the rest
				read = int(n)
				return err
			})
			if err != nil || read != 700 {
				t.Fatal(read, err)
			}
			if s.Digest != layers.DigestOf(blob) || s.Size != int64(len(blob)) || s.DiffID != layers.DigestOf(content) || s.Unpacked != int64(len(content)) {
				t.Errorf("%+v", s)
			}
			bad := bytes.Clone(blob)
			bad[len(bad)/3] ^= 4
			s, err = layers.ReadBlob(bytes.NewReader(bad), layers.DigestOf(blob), -1, nil)
			if s.Digest != layers.DigestOf(bad) || s.Size != int64(len(bad)) || s.DiffID == layers.DigestOf(content) {
				t.Errorf("flipped: %+v, %v", s, err)
			}
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Errorf("flipped: %v", err)
			}
		})
	}
}

// TestReadBlobFails: what can't be read is not what was changed.
func TestReadBlobFails(t *testing.T) {
	bad := errors.New("bad sector")
	blob := packed(t, layers.Gzip, packtest.Tar(t, file("a", "content")))
	s, err := layers.ReadBlob(io.MultiReader(bytes.NewReader(blob[:40]), &failing{bad}), layers.Digest{}, -1, nil)
	if !errors.Is(err, bad) || !s.Digest.IsZero() {
		t.Errorf("%+v %v", s, err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzTar(f *testing.F) {
	f.Add(packtest.Tar(f, dir("d"), file("d/a", "content"), link(tar.TypeSymlink, "l", "d"), link(tar.TypeLink, "h", "l/a"), file("d/.wh.x", ""), file("d/.wh..wh..opq", "")))
	f.Add(sparseTar(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		fsys, err := layers.OpenTar(bytes.NewReader(b), int64(len(b)), layers.TarOptions{})
		if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
			t.Fatal(err)
		}
		evidence.Walk(fsys, fsys.Root(), func(_ string, e evidence.Entry, i evidence.Info, err error) error {
			if i.Type == evidence.TypeFile {
				if r, err := fsys.Open(e.Ino); err == nil {
					io.CopyN(io.Discard, r, 1<<16)
				}
			}
			fsys.Xattrs(e.Ino)
			fsys.ReadLink(e.Ino)
			fsys.Path(e.Ino)
			return nil
		})
	})
}
