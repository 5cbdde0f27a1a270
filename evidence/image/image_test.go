package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

// sparseDisk is 3 MiB and a bit: text, a hole, noise, an odd end.
func sparseDisk() []byte {
	b := make([]byte, 3<<20+777)
	copy(b[4096:], bytes.Repeat([]byte("evidence"), 1000))
	seed := sha256.Sum256(nil)
	for at := 2 << 20; at < 2<<20+100000; at += len(seed) {
		seed = sha256.Sum256(seed[:])
		copy(b[at:], seed[:])
	}
	b[len(b)-1] = 1
	return b
}

func gzipped(parts ...[]byte) []byte {
	var out bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&out)
		w.Write(p)
		w.Close()
	}
	return out.Bytes()
}

func zstdFrame(p []byte, window int) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	w.Write(p)
	w.Close()
	return out.Bytes()
}

// seekableFile packs p in frames of n bytes, with a seek table.
func seekableFile(p []byte, n int) []byte {
	var out, table []byte
	for len(p) > 0 {
		part := p[:min(n, len(p))]
		p = p[len(part):]
		f := zstdFrame(part, 1<<20)
		out = append(out, f...)
		table = binary.LittleEndian.AppendUint32(table, uint32(len(f)))
		table = binary.LittleEndian.AppendUint32(table, uint32(len(part)))
	}
	count := len(table) / 8
	table = binary.LittleEndian.AppendUint32(table, uint32(count))
	table = binary.LittleEndian.AppendUint32(append(table, 0), seekFooterMagic)
	out = binary.LittleEndian.AppendUint32(out, seekTableMagic)
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(table))), table...)
}

// zstdBomb is one frame of blocks of 128 KiB of zeros.
func zstdBomb(blocks int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3} // a window of 128 KiB, no size
	for range blocks {
		b = append(b, 2, 0, 0x10, 0) // Block_Type 1 (RLE), Block_Size 0x20000, the byte
	}
	return append(b, 1, 0, 0)
}

func xzFile(p []byte) []byte {
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		panic(err)
	}
	w.Write(p)
	w.Close()
	return out.Bytes()
}

func lz4File(p []byte) []byte {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	w.Write(p)
	w.Close()
	return out.Bytes()
}

func skippable(n int) []byte {
	b := make([]byte, 8+n)
	copy(b, []byte{0x5a, 0x2a, 0x4d, 0x18, byte(n), byte(n >> 8)})
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// openBytes opens content as a file; the warnings are returned beside the image's bytes.
func openBytes(t *testing.T, content []byte, o Options) ([]byte, string, []error, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "evidence.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	o.TempDir = t.TempDir()
	var warned []error
	o.Warn = func(err error) { warned = append(warned, err) }
	im, err := Open(context.Background(), path, o)
	if left, _ := os.ReadDir(o.TempDir); len(left) > 0 {
		t.Errorf("%s is left in the temporary folder", left[0].Name())
	}
	if err != nil {
		return nil, "", warned, err
	}
	defer im.Close()
	b, err := io.ReadAll(io.NewSectionReader(im, 0, im.Size()))
	return b, im.Format(), warned, err
}

func TestOpenForms(t *testing.T) {
	d := sparseDisk()
	corrupt := gzipped(d[:1<<20], d[1<<20:])
	first := len(gzipped(d[:1<<20]))
	corrupt[first-6] ^= 1 // in the CRC of the first member
	cut := zstdFrame(d, 1<<20)
	cut = cut[:len(cut)-100]
	for _, c := range []struct {
		name    string
		content []byte
		format  string
		size    int // of the prefix of d that comes out
		warned  string
	}{
		{"raw", d, "raw", len(d), ""},
		{"gzip", gzipped(d), "gzip+raw", len(d), ""},
		{"gzip members", gzipped(d[:5000], d[5000:5001], nil, d[5001:]), "gzip+raw", len(d), ""},
		{"gzip zero padding", join(gzipped(d), make([]byte, 700)), "gzip+raw", len(d), ""},
		{"gzip garbage after", join(gzipped(d), []byte("garbage")), "gzip+raw", len(d), "no member"},
		{"gzip bad checksum", corrupt, "gzip+raw", len(d), "checksum"},
		{"zstd", zstdFrame(d, 1<<20), "zstd+raw", len(d), ""},
		{"zstd long window", zstdFrame(d, 128<<20), "zstd+raw", len(d), ""},
		{"zstd frames", join(skippable(30), zstdFrame(d[:9], 1<<20), skippable(0), zstdFrame(d[9:], 1<<20)), "zstd+raw", len(d), ""},
		{"zstd cut short", cut, "zstd+raw", 2 << 20, "stopped near"},
		{"zstd seekable", seekableFile(d, 100_000), "zstd+raw", len(d), ""},
		{"zstd seekable in large frames", seekableFile(append(bytes.Clone(d), make([]byte, 33<<20)...), 33<<20), "zstd+raw", len(d), ""},
		{"zstd seekable, table off by one", append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9}, seekableFile(d, 1<<20)...), "zstd+raw", len(d), ""},
		{"xz", xzFile(d), "xz+raw", len(d), ""},
		{"xz streams", join(xzFile(d[:1<<20]), make([]byte, 8), xzFile(d[1<<20:])), "xz+raw", len(d), ""},
		{"xz cut short", xzFile(d)[:50_000], "xz+raw", 1 << 20, "stopped near"},
		{"xz garbage after", join(xzFile(d), []byte("garbage")), "xz+raw", len(d), "no stream"},
		{"lz4", lz4File(d), "lz4+raw", len(d), ""},
		{"lz4 frames", join(skippable(7), lz4File(d[:1<<20]), lz4File(d[1<<20:])), "lz4+raw", len(d), ""},
		{"gzip in zstd", zstdFrame(gzipped(d), 1<<20), "zstd+gzip+raw", len(d), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, format, warned, err := openBytes(t, c.content, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if format != c.format {
				t.Errorf("format %q, want %q", format, c.format)
			}
			if len(got) < c.size || !bytes.Equal(got[:min(len(got), len(d))], d[:min(len(got), len(d))]) {
				t.Errorf("%d bytes, want %d of the disk's", len(got), c.size)
			}
			text := errors.Join(warned...)
			if c.warned == "" && text != nil || c.warned != "" && (text == nil || !strings.Contains(text.Error(), c.warned)) {
				t.Errorf("warned %v, want %q", text, c.warned)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	d := sparseDisk()
	for _, c := range []struct {
		name    string
		content []byte
		o       Options
		want    error
		text    string
	}{
		{"empty file", nil, Options{}, evidence.ErrFormat, "is empty"},
		{"gzip header only", gzipped(d)[:12], Options{}, evidence.ErrCorrupt, "unpacking"},
		{"gzip of nothing", gzipped(nil), Options{}, evidence.ErrFormat, "nothing is in it"},
		{"zstd magic only", zstdFrame(d, 1<<20)[:5], Options{}, evidence.ErrCorrupt, "unpacking"},
		{"zip", []byte("PK\x03\x04 and so on"), Options{}, evidence.ErrUnsupported, "unpack it"},
		{"xz header only", xzFile(d)[:12], Options{}, evidence.ErrCorrupt, "unpacking"},
		{"xz dictionary of 4 GiB", xzDictionary4G(), Options{}, evidence.ErrUnsupported, "dictionary"},
		{"zstd window of 2 GiB", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0}, Options{}, evidence.ErrUnsupported, "window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := openBytes(t, c.content, c.o)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	if _, err := Open(context.Background(), t.TempDir(), Options{}); !errors.Is(err, ErrDirectory) {
		t.Errorf("folder: got %v", err)
	}
	if _, err := Open(context.Background(), filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: got %v", err)
	}
}

// xzDictionary4G is an xz file whose only block asks for the largest dictionary.
func xzDictionary4G() []byte {
	b := append([]byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 4}, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[6:8]))
	block := []byte{2, 0, 0x21, 1, 40, 0, 0, 0}
	b = append(b, block...)
	return append(binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(block)), 0, 0, 0, 0)
}

// TestTools unpacks what the usual tools packed.
func TestTools(t *testing.T) {
	d := sparseDisk()[2<<20-100_000:][:300_000]
	raw := imagetest.Write(t, "disk", d)
	for _, c := range [][]string{
		{"gzip", "-1"}, {"zstd", "-q", "--long=27"}, {"bzip2", "-1"}, {"lz4", "-q", "-z"}, {"lz4", "-q", "-l"},
		{"xz", "-0", "-T2", "--block-size=100000"}, {"xz", "--check=sha256"}, {"xz", "--check=none"},
	} {
		packed := imagetest.Run(t, c[0], append(c[1:], "-c", raw)...)
		for _, content := range []string{packed, packed + packed} {
			got, _, warned, err := openBytes(t, []byte(content), Options{})
			if n := len(content) / len(packed); err != nil || len(warned) > 0 || !bytes.Equal(got, bytes.Repeat(d, n)) {
				t.Errorf("%q x %d: %d bytes, %v, %v", c, n, len(got), err, warned)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	d := sparseDisk()
	for _, c := range []struct {
		names  []string
		open   string
		format string
		size   int
		text   string // of the error or warning
	}{
		{[]string{"d.001", "d.002", "d.003"}, "d.001", "split+raw", len(d), ""},
		{[]string{"d.000", "d.001", "d.002"}, "d.000", "split+raw", len(d), ""},
		{[]string{"d.img.aa", "d.img.ab", "d.img.ac"}, "d.img.aa", "split+raw", len(d), ""},
		{[]string{"xaa", "xab", "xac"}, "xaa", "split+raw", len(d), ""},
		{[]string{"d.001", "d.002", "d.004"}, "d.001", "split+raw", 2 << 20, "d.003"},
		{[]string{"d.001", "d.002", "d.003"}, "d.002", "", 0, "part 2"},
		{[]string{"d.002", "e.002", "d.003"}, "d.002", "raw", 1 << 20, ""},
		{[]string{"d.001", "d.img", "e.002"}, "d.001", "raw", 1 << 20, ""},
	} {
		dir := t.TempDir()
		for i, name := range c.names {
			end := min((i+1)<<20, len(d))
			if i == 2 {
				end = len(d)
			}
			if err := os.WriteFile(filepath.Join(dir, name), d[i<<20:end], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var warned []error
		im, err := Open(context.Background(), filepath.Join(dir, c.open), Options{Warn: func(err error) { warned = append(warned, err) }})
		if text := errors.Join(append(warned, err)...); (text != nil) != (c.text != "") || text != nil && !strings.Contains(text.Error(), c.text) {
			t.Errorf("%q: %v", c.names, text)
		}
		if err != nil {
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(im, 0, im.Size()))
		if im.Format() != c.format || err != nil || c.format == "split+raw" && !bytes.Equal(got, d[:c.size]) || len(got) != c.size {
			t.Errorf("%q: %s of %d bytes, %v", c.names, im.Format(), len(got), err)
		}
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestParents opens a chain of qcow2 files, first without and then with the names of the lower ones.
func TestParents(t *testing.T) {
	dir := t.TempDir()
	d := sparseDisk()[:3<<20]
	base, mid, top := filepath.Join(dir, "base.raw"), filepath.Join(dir, "mid.qcow2"), filepath.Join(dir, "top.qcow2")
	if err := os.WriteFile(base, d, 0o600); err != nil {
		t.Fatal(err)
	}
	imagetest.Run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, mid)
	imagetest.Run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", mid, top)
	imagetest.Run(t, "qemu-io", "-c", "write -P 7 100k 9k", top)
	copy(d[100<<10:], bytes.Repeat([]byte{7}, 9<<10))
	for _, parents := range [][]string{nil, {mid}, {top, mid}} { // what isn't the parent's is read all the same
		var warned []error
		im, err := Open(context.Background(), top, Options{Parents: parents, Warn: func(err error) { warned = append(warned, err) }})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 9<<10)
		if _, err := im.ReadAt(b, 100<<10); err != nil && err != io.EOF || !bytes.Equal(b, d[100<<10:][:len(b)]) && b[0] != 7 {
			t.Errorf("parents %q: own bytes: %v", parents, err)
		}
		missing := "mid.qcow2"
		if parents != nil {
			missing = "base.raw"
		}
		if _, err := im.ReadAt(b, 1<<20); !errors.Is(err, evidence.ErrUnsupported) || !strings.Contains(err.Error(), missing) {
			t.Errorf("parents %q: %v", parents, err)
		}
		if len(warned) != 1 || !strings.Contains(warned[0].Error(), missing) {
			t.Errorf("parents %q: warned of %v", parents, warned)
		}
		im.Close()
	}
	im, err := Open(context.Background(), top, Options{Parents: []string{base, mid, top}})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	imagetest.Compare(t, im, d)
	if a := Describe(im); a.Format != "qcow2" || len(a.Files) != 3 || len(a.Parents) != 2 {
		t.Errorf("%+v", a)
	}
}

// TestParentByID opens a VMDK that holds changes: its parent under another name,
// and one that was written to since.
func TestParentByID(t *testing.T) {
	dir := t.TempDir()
	d := sparseDisk()[:3<<20]
	raw, base, renamed, top := imagetest.Write(t, "raw", d), filepath.Join(dir, "base.vmdk"), filepath.Join(dir, "copy of it.vmdk"), filepath.Join(dir, "top.vmdk")
	imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, base)
	imagetest.Run(t, "qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, top)
	imagetest.Run(t, "qemu-io", "-c", "write -P 7 100k 9k", top)
	want := bytes.Clone(d)
	copy(want[100<<10:], bytes.Repeat([]byte{7}, 9<<10))
	read := func(parents ...string) (Image, []error) {
		var warned []error
		im, err := Open(context.Background(), top, Options{Parents: parents, Warn: func(err error) { warned = append(warned, err) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { im.Close() })
		return im, warned
	}
	im, warned := read(raw, base)
	if imagetest.Compare(t, im, want); len(warned) > 0 {
		t.Errorf("warned of %v", warned)
	}
	if err := os.Rename(base, renamed); err != nil {
		t.Fatal(err)
	}
	im, warned = read(raw, renamed)
	if imagetest.Compare(t, im, want); len(warned) > 0 || Describe(im).Parents[0] != renamed {
		t.Errorf("renamed: %+v, warned of %v", Describe(im), warned)
	}
	imagetest.Run(t, "qemu-io", "-c", "write -P 8 0 1k", renamed)
	if im, warned = read(raw, renamed); len(warned) != 1 || len(Describe(im).Parents) != 0 {
		t.Errorf("changed and renamed: %+v, warned of %v", Describe(im), warned)
	}
	if err := os.Rename(renamed, base); err != nil {
		t.Fatal(err)
	}
	copy(want, bytes.Repeat([]byte{8}, 1<<10))
	im, warned = read(raw, base)
	if imagetest.Compare(t, im, want); len(warned) != 1 || !strings.Contains(warned[0].Error(), "its id is another one") {
		t.Errorf("changed: warned of %v", warned)
	}
}

// TestSnapshots lists and opens internal snapshots.
func TestSnapshots(t *testing.T) {
	d := sparseDisk()[:3<<20]
	raw, path := imagetest.Write(t, "raw", d), filepath.Join(t.TempDir(), "disk.qcow2")
	imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path)
	imagetest.Run(t, "qemu-img", "snapshot", "-c", "2", path)
	imagetest.Run(t, "qemu-io", "-c", "write -P 7 0 9k", path)
	imagetest.Run(t, "qemu-img", "snapshot", "-c", "later", path)
	imagetest.Run(t, "qemu-io", "-c", "write -P 8 0 9k", path)
	for snapshot, want := range map[string]byte{"": 8, "2": 7, "later": 7, "1": d[0]} { // an id goes before a name
		im, err := Open(context.Background(), path, Options{Snapshot: snapshot})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := im.ReadAt(b, 0); err != nil || b[0] != want {
			t.Errorf("snapshot %q: %x, %v", snapshot, b, err)
		}
		if a := Describe(im); len(a.Snapshots) != 2 || a.Snapshots[1].Name != "later" || (a.Loaded == "") != (snapshot == "") {
			t.Errorf("snapshot %q: %+v", snapshot, a)
		}
		im.Close()
	}
	for _, p := range []string{path, raw} {
		if _, err := Open(context.Background(), p, Options{Snapshot: "none"}); !errors.Is(err, ErrNoSnapshot) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestTrap has the magic of a container in the boot sector of a disk with a GPT.
func TestTrap(t *testing.T) {
	d := make([]byte, 1<<20)
	copy(d, "QFI\xfb\x00\x00\x00\x03")
	copy(d[512:], "EFI PART")
	got, format, _, err := openBytes(t, d, Options{})
	if err != nil || format != "raw" || !bytes.Equal(got, d) {
		t.Errorf("%s of %d bytes, %v", format, len(got), err)
	}
}

func FuzzUnpack(f *testing.F) {
	d := sparseDisk()[:9000]
	for _, b := range [][]byte{gzipped(d, d), zstdFrame(d, 1<<20), seekableFile(d, 1000), xzFile(d), lz4File(d), xzDictionary4G(),
		[]byte("BZh91AY&SY")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := Open(context.Background(), imagetest.Write(t, "evidence.bin", b), Options{
			TempDir: t.TempDir(), MaxSize: 8 << 20, Warn: func(err error) { imagetest.Fuzz(t, nil, err) }})
		if err != nil {
			imagetest.Fuzz(t, nil, err)
			return
		}
		imagetest.Fuzz(t, im, nil)
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestLooksLikeText(t *testing.T) {
	for _, c := range []struct {
		content string
		want    bool
	}{
		{"# a config\nkey = value\n", true},
		{strings.Repeat("ж", 3000), true},
		{"x" + strings.Repeat("ж", 3000), true},
		{"a\x00b", false},
		{"\xff\xfe", false},
		{"", false},
	} {
		if got := LooksLikeText(strings.NewReader(c.content)); got != c.want {
			t.Errorf("%.20q: got %v", c.content, got)
		}
	}
}
