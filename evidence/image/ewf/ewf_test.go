package ewf

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/adler32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

const diskSize = 16<<20 + 3*512

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func openPath(t testing.TB, path string, warn func(error)) (*Image, error) {
	f, size := imagetest.File(t, path)
	return Open(file{f, size}, Options{Warn: warn, Segment: func(n int) (File, error) {
		name := SegmentName(path, n)
		if _, err := os.Stat(name); err != nil {
			return nil, fs.ErrNotExist
		}
		f, size := imagetest.File(t, name)
		return file{f, size}, nil
	}})
}

// acquire packs a disk with ewfacquire and returns the path of the first segment.
func acquire(t testing.TB, disk []byte, args ...string) string {
	t.Helper()
	target := filepath.Join(t.TempDir(), "disk")
	args = append([]string{"-u", "-q", "-t", target, "-C", "case 7", "-e", "A. Nalyst", "-d", "sha1"}, args...)
	imagetest.Run(t, "ewfacquire", append(args, imagetest.Write(t, "disk.raw", disk))...)
	found, _ := filepath.Glob(target + ".?01")
	if len(found) != 1 {
		t.Fatalf("made %q", found)
	}
	return found[0]
}

func TestAgainstEwfacquire(t *testing.T) {
	disk := imagetest.Disk(diskSize)
	for name, args := range map[string][]string{
		"encase6 fast":     {"-f", "encase6", "-c", "deflate:fast"},
		"encase6 none":     {"-f", "encase6", "-c", "deflate:none"},
		"encase6 segments": {"-f", "encase6", "-c", "deflate:best", "-S", "1MiB"},
		"encase7":          {"-f", "encase7", "-b", "256"},
		"encase5":          {"-f", "encase5", "-b", "1024"},
		"encase3":          {"-f", "encase3", "-c", "deflate:empty-block"},
		"encase4":          {"-f", "encase4"},
		"encase2":          {"-f", "encase2", "-c", "deflate:best"},
		"encase1":          {"-f", "encase1"},
		"linen6":           {"-f", "linen6"},
		"ftk":              {"-f", "ftk"},
		"smart":            {"-f", "smart", "-c", "deflate:fast"},
		"ewf":              {"-f", "ewf"},
	} {
		t.Run(name, func(t *testing.T) {
			im, err := openPath(t, acquire(t, disk, args...), func(err error) { t.Error(err) })
			if err != nil {
				t.Fatal(err)
			}
			imagetest.Compare(t, im, disk)
			stored, sha := im.Hashes()
			if sum := md5.Sum(disk); stored != hex.EncodeToString(sum[:]) {
				t.Errorf("MD5 %s", stored)
			}
			if sum := sha1.Sum(disk); sha != "" && sha != hex.EncodeToString(sum[:]) || sha == "" && strings.HasPrefix(name, "encase6") {
				t.Errorf("SHA-1 %q", sha)
			}
			if h := im.Header(); h["c"] != "case 7" || h["e"] != "A. Nalyst" {
				t.Errorf("header %q", h)
			}
			if name == "encase6 segments" && im.Segments() < 3 {
				t.Errorf("%d segments", im.Segments())
			}
		})
	}
}

// TestDamage loses a segment, the end of one, and single bytes.
func TestDamage(t *testing.T) {
	disk := imagetest.Disk(diskSize)
	var warned []error
	warn := func(err error) { warned = append(warned, err) }
	read := func(path string) (int, error) {
		t.Helper()
		warned = nil
		im, err := openPath(t, path, warn)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, diskSize)
		n, err := im.ReadAt(p, 0)
		if !bytes.Equal(p[:n], disk[:n]) {
			t.Error("wrong bytes")
		}
		return n, err
	}
	readEnd := func(path string) (int, error) {
		t.Helper()
		im, err := openPath(t, path, warn)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1<<20)
		n, err := im.ReadAt(p, diskSize-1<<20)
		if !bytes.Equal(p[:n], disk[diskSize-1<<20:][:n]) {
			t.Error("wrong bytes at the end")
		}
		return n, err
	}
	path := acquire(t, disk, "-f", "encase6", "-c", "deflate:fast", "-S", "1MiB")
	second := SegmentName(path, 2)
	b, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	if n, err := read(path); n == 0 || n == diskSize || !errors.Is(err, evidence.ErrCorrupt) || len(warned) != 2 {
		t.Errorf("segment missing: %d bytes, %v, warned %v", n, err, warned)
	}
	if n, err := readEnd(path); n != 1<<20 || err != nil {
		t.Errorf("behind the missing segment: %d bytes, %v", n, err)
	}
	if err := os.WriteFile(second, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := read(path); n == 0 || n == diskSize || !errors.Is(err, evidence.ErrCorrupt) || len(warned) == 0 {
		t.Errorf("segment cut: %d bytes, %v, warned %v", n, err, warned)
	}
	if n, err := readEnd(path); n != 1<<20 || err != nil {
		t.Errorf("behind the cut segment: %d bytes, %v", n, err)
	}

	path = acquire(t, disk, "-f", "encase6", "-c", "deflate:fast")
	if b, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	table := bytes.Index(b, []byte("table\x00"))
	broken := bytes.Clone(b)
	broken[table+sectionHeader+tableHeader+8] ^= 1
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := read(path); n != diskSize || err != nil || len(warned) != 0 {
		t.Errorf("table broken, its copy whole: %d bytes, %v, warned %v", n, err, warned)
	}
	broken = bytes.Clone(b)
	sectors := bytes.Index(b, []byte("sectors\x00"))
	for i := range 5 {
		broken[sectors+sectionHeader+1000+i] ^= 0x55
	}
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := read(path); n == diskSize || !errors.Is(err, evidence.ErrCorrupt) || !strings.Contains(err.Error(), "chunk") {
		t.Errorf("chunk broken: %d bytes, %v", n, err)
	}
}

// craft makes an image of 3 chunks of one sector: plain, packed, plain with a wrong checksum.
func craft() []byte {
	le := binary.LittleEndian
	b := append([]byte(magicEWF), 1, 1, 0, 0, 0)
	add := func(name string, data []byte) {
		h := make([]byte, sectionHeader)
		copy(h, name)
		next := len(b) + sectionHeader + len(data)
		if name == "done" {
			next = len(b)
		}
		le.PutUint64(h[16:], uint64(next))
		le.PutUint64(h[24:], uint64(sectionHeader+len(data)))
		le.PutUint32(h[offSectionSum:], adler32.Checksum(h[:offSectionSum]))
		b = append(append(b, h...), data...)
	}
	sum := func(d []byte) []byte { return le.AppendUint32(d, adler32.Checksum(d)) }
	volume := make([]byte, volumeSizeSMART-4)
	for i, v := range []uint32{1, 3, 1, 512, 3} {
		le.PutUint32(volume[4*i:], v)
	}
	add("volume", sum(volume))
	start := uint32(len(b) + sectionHeader)
	plain := sum(bytes.Repeat([]byte{5}, 512))
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(bytes.Repeat([]byte{6}, 512))
	z.Close()
	data := append(bytes.Clone(plain), packed.Bytes()...)
	add("sectors", append(append(data, bytes.Repeat([]byte{7}, 512)...), 1, 2, 3, 4))
	head := make([]byte, tableHeader-4)
	head[0] = 3
	var entries []byte
	for _, e := range []uint32{start, start + 516 | flagPacked, start + 516 + uint32(packed.Len())} {
		entries = le.AppendUint32(entries, e)
	}
	add("table", append(sum(head), sum(entries)...))
	add("done", nil)
	return b
}

func openBytes(b []byte, warn func(error)) (*Image, error) {
	return Open(bytes.NewReader(b), Options{Warn: warn})
}

func TestCrafted(t *testing.T) {
	var warned []error
	im, err := openBytes(craft(), func(err error) { warned = append(warned, err) })
	if err != nil || len(warned) > 0 {
		t.Fatal(err, warned)
	}
	p := make([]byte, 3*512)
	if n, err := im.ReadAt(p, 0); n != len(p) || err != nil || p[0] != 5 || p[512] != 6 || p[1024] != 7 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0].Error(), "checksum") {
		t.Errorf("warned %v", warned)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
		text string
	}{
		"other magic":    {[]byte("EVX\x09\x0d\x0a\xff\x00\x01\x01\x00\x00\x00"), evidence.ErrFormat, ""},
		"Ex01":           {[]byte(magicEWF2 + "12345678"), evidence.ErrUnsupported, "Ex01"},
		"L01":            {[]byte(magicLEF + "12345678"), evidence.ErrUnsupported, "logical"},
		"second segment": {[]byte(magicEWF + "\x01\x02\x00\x00\x00"), evidence.ErrCorrupt, "segment 2"},
		"header only":    {[]byte(magicEWF + "\x01\x01\x00\x00\x00"), evidence.ErrCorrupt, "section"},
		"no volume":      {append(craft()[:fileHeader], craft()[fileHeader+sectionHeader+volumeSizeSMART:]...), evidence.ErrCorrupt, ""},
	} {
		if _, err := openBytes(c.b, nil); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSegmentName(t *testing.T) {
	for _, c := range []struct {
		first string
		n     int
		want  string
	}{
		{"a.E01", 2, "a.E02"}, {"a.E01", 99, "a.E99"}, {"a.E01", 100, "a.EAA"}, {"a.E01", 125, "a.EAZ"}, {"a.E01", 126, "a.EBA"},
		{"a.E01", 99 + 676, "a.EZZ"}, {"a.E01", 100 + 676, "a.FAA"}, {"a.E01", 99 + 22*676, "a.ZZZ"}, {"a.E01", 100 + 22*676, ""},
		{"a.s01", 100, "a.saa"}, {"a.s01", 2, "a.s02"}, {"a.img", 2, ""}, {"a.E02", 3, ""}, {"01", 2, ""},
	} {
		if got := SegmentName(c.first, c.n); got != c.want {
			t.Errorf("%s %d: got %q, want %q", c.first, c.n, got, c.want)
		}
	}
}

func TestOverflow(t *testing.T) {
	var b []byte
	for _, e := range []uint32{100, 0x7fff8000, 0x80000004, 0x80008008} {
		b = binary.LittleEndian.AppendUint32(b, e)
	}
	tab := table{base: 0, end: 1 << 40}
	b = binary.LittleEndian.AppendUint32(b, overflow(b))
	if at, _, packed := tab.place(b, 3, 1<<20); at != 0x80008008 || packed {
		t.Errorf("at %#x, packed %v", at, packed)
	}
	if at, n, packed := tab.place(b, 1, 1<<20); at != 0x7fff8000 || packed || n != 0x8004 {
		t.Errorf("at %#x, %#x bytes, packed %v", at, n, packed)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(craft(), craft())
	f.Fuzz(func(t *testing.T, b, second []byte) {
		im, err := Open(bytes.NewReader(b), Options{
			Warn: func(err error) { imagetest.Fuzz(t, nil, err) },
			Segment: func(n int) (File, error) {
				if n > 3 {
					return nil, fmt.Errorf("no more: %w", fs.ErrNotExist)
				}
				return bytes.NewReader(second), nil
			}})
		if err != nil {
			imagetest.Fuzz(t, nil, err)
			return
		}
		imagetest.Fuzz(t, im, nil)
	})
}

// segmentOf makes segment n of an image of one chunk a segment, filled with its number.
func segmentOf(n, count int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(append([]byte(magicEWF), 1), uint16(n))
	b = append(b, 0, 0)
	add := func(name string, data []byte) {
		h := make([]byte, sectionHeader)
		copy(h, name)
		next := len(b) + sectionHeader + len(data)
		if data == nil {
			next = len(b)
		}
		le.PutUint64(h[16:], uint64(next))
		le.PutUint64(h[24:], uint64(sectionHeader+len(data)))
		le.PutUint32(h[offSectionSum:], adler32.Checksum(h[:offSectionSum]))
		b = append(append(b, h...), data...)
	}
	sum := func(d []byte) []byte { return le.AppendUint32(d, adler32.Checksum(d)) }
	if n == 1 {
		volume := make([]byte, volumeSizeSMART-4)
		for i, v := range []uint32{1, uint32(count), 1, 512, uint32(count)} {
			le.PutUint32(volume[4*i:], v)
		}
		add("volume", sum(volume))
	}
	start := uint32(len(b) + sectionHeader)
	add("sectors", sum(bytes.Repeat([]byte{byte(n)}, 512)))
	head := make([]byte, tableHeader-4)
	head[0] = 1
	add("table", append(sum(head), sum(le.AppendUint32(nil, start))...))
	if n == count {
		add("done", nil)
	} else {
		add("next", nil)
	}
	return b
}

// TestManySegments reads past .E99 and .EZZ, with and without a segment.
func TestManySegments(t *testing.T) {
	const count = 99 + 26*26 + 30 // up to .FBD
	first := filepath.Join(t.TempDir(), "disk.E01")
	path := func(n int) string {
		if n == 1 {
			return first
		}
		return SegmentName(first, n)
	}
	for n := 1; n <= count; n++ {
		if err := os.WriteFile(path(n), segmentOf(n, count), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var warned []error
	read := func() ([]byte, error) {
		im, err := Open(bytes.NewReader(segmentOf(1, count)), Options{
			Warn: func(err error) { warned = append(warned, err) },
			Segment: func(n int) (File, error) {
				b, err := os.ReadFile(path(n))
				return bytes.NewReader(b), err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 512*count)
		for i := range count {
			if _, err := im.ReadAt(p[512*i:512*(i+1)], int64(512*i)); err != nil && i != 150 {
				return p, err
			}
		}
		return p, nil
	}
	for _, lost := range []int{0, 151} {
		if lost > 0 {
			if err := os.Remove(path(lost)); err != nil {
				t.Fatal(err)
			}
		}
		p, err := read()
		if err != nil || (len(warned) > 0) != (lost > 0) {
			t.Fatal(err, warned)
		}
		for i := range count {
			if want := byte(i + 1); i+1 != lost && (p[512*i] != want || p[512*i+511] != want) {
				t.Fatalf("segment %d, %s: %d", i+1, path(i+1), p[512*i])
			}
		}
	}
}
