package btrfs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
)

func TestChecksums(t *testing.T) {
	tests := []struct {
		kind     uint16
		in, want string
	}{
		{csumCRC32C, "123456789", "839206e3"},
		{csumXXHash, "", "99e9d85137db46ef"},
		{csumXXHash, "abc", "990977adf52cbc44"},
		{csumXXHash, strings.Repeat("0123456789abcdef", 5) + "tail of 11b", ""},
		{csumSHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{csumBlake2b, "abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"},
		{csumBlake2b, "", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
		{99, "abc", ""},
	}
	for _, test := range tests {
		got := hex.EncodeToString(checksum(test.kind, []byte(test.in)))
		if test.want != "" && got != test.want || len(got) != 2*csumLength(test.kind) {
			t.Errorf("%d %q: %s, want %s", test.kind, test.in, got, test.want)
		}
	}
	if h := nameHash("default"); h != 0x8dbfc2d2 { // as mkfs.btrfs writes it
		t.Errorf("%#x", h)
	}
}

func TestLocate(t *testing.T) {
	stripes := func(n int) (s []stripe) {
		for i := range n {
			s = append(s, stripe{uint64(i + 1), uint64(i+1) << 24})
		}
		return s
	}
	const k64 = 64 << 10
	tests := []struct {
		name   string
		typ    uint64
		sub    uint16
		n      int
		offset uint64
		want   []physical
	}{
		{"single", 1, 1, 1, 5000, []physical{{1, 1<<24 + 5000, 1<<20 - 5000}}},
		{"dup", 4 | groupDUP, 1, 2, 0, []physical{{1, 1 << 24, 1 << 20}, {2, 2 << 24, 1 << 20}}},
		{"raid1c3", groupRAID1C3, 1, 3, 7, []physical{{1, 1<<24 + 7, 1<<20 - 7}, {2, 2<<24 + 7, 1<<20 - 7}, {3, 3<<24 + 7, 1<<20 - 7}}},
		{"raid0", groupRAID0, 1, 3, 4*k64 + 100, []physical{{2, 2<<24 + k64 + 100, k64 - 100}}},
		{"raid10", groupRAID10, 2, 4, 3 * k64, []physical{{3, 3<<24 + k64, k64}, {4, 4<<24 + k64, k64}}},
		{"raid5", groupRAID5, 1, 3, 0, []physical{{1, 1 << 24, k64}}},
		{"raid5, second row", groupRAID5, 1, 3, 2 * k64, []physical{{2, 2<<24 + k64, k64}}},
		{"raid6, second row", groupRAID6, 1, 4, 3 * k64, []physical{{3, 3<<24 + k64, k64}}},
	}
	for _, test := range tests {
		f := &FS{}
		f.addChunk(chunk{start: 1 << 30, length: 1 << 20, stripeLen: k64, typ: test.typ, subStripes: test.sub, stripes: stripes(test.n)})
		got, err := f.locate(1<<30 + test.offset)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: %v, %v, want %v", test.name, got, err, test.want)
		}
		for _, outside := range []uint64{0, 1<<30 - 1, 1<<30 + 1<<20, ^uint64(0)} {
			if _, err := f.locate(outside); !errors.Is(err, evidence.ErrCorrupt) {
				t.Errorf("%s: %#x: %v", test.name, outside, err)
			}
		}
	}
}

func TestBadChunks(t *testing.T) {
	good := func() []byte {
		b := make([]byte, chunkSize+2*stripeSize)
		le := binary.LittleEndian
		le.PutUint64(b, 1<<20)
		le.PutUint64(b[16:], 64<<10)
		le.PutUint64(b[24:], groupRAID10)
		le.PutUint16(b[44:], 2)
		le.PutUint16(b[46:], 2)
		return b
	}
	if _, err := decodeChunk(0, good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"cut":              func(b []byte) []byte { return b[:chunkSize+stripeSize] },
		"short":            func(b []byte) []byte { return b[:10] },
		"no stripes":       func(b []byte) []byte { b[44] = 0; return b },
		"many stripes":     func(b []byte) []byte { b[45] = 255; return b },
		"no length":        func(b []byte) []byte { clear(b[:8]); return b },
		"no stripe length": func(b []byte) []byte { clear(b[16:24]); return b },
		"odd stripes":      func(b []byte) []byte { b[16] = 3; return b },
		"no sub-stripes":   func(b []byte) []byte { b[46] = 0; return b },
		"raid6 of two":     func(b []byte) []byte { b[24], b[25] = 0, 1; return b },
	} {
		if _, err := decodeChunk(0, spoil(good())); !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodeChunk(^uint64(0)-5, good()); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("past the end of addresses: %v", err)
	}
}

func TestDecompress(t *testing.T) {
	plain := []byte(strings.Repeat("abcdefgh", 1000))
	var z bytes.Buffer
	zw := zlib.NewWriter(&z)
	zw.Write(plain)
	zw.Close()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for kind, packed := range map[uint8][]byte{compressZlib: z.Bytes(), compressZstd: enc.EncodeAll(plain, nil)} {
		padded := append(append([]byte(nil), packed...), make([]byte, 500)...)
		for _, size := range []int{0, 100, 8000, 8192} {
			got, err := decompress(kind, padded, size, 4096)
			if want := plain[:min(size, len(plain))]; err != nil || !bytes.Equal(got, want) {
				t.Errorf("kind %d, %d bytes: %d bytes, %v", kind, size, len(got), err)
			}
		}
		if _, err := decompress(kind, []byte("nonsense that is long enough"), 100, 4096); !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	if _, err := decompress(9, nil, 0, 4096); !errors.Is(err, evidence.ErrUnsupported) {
		t.Error(err)
	}
}

func TestLZO(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"literals", "\x15abcd\x11\x00\x00", "abcd"},
		{"match of 2", "\x15abcd" + "\x00\x00" + "\x11\x00\x00", ""}, // after 4 literals it has 3 bytes, from over 2048 back
		{"short match", "\x13ab" + "\x04\x00" + "\x11\x00\x00", "ab" + "ab"},
		{"overlap", "\x12a" + "\x60\x00" + "\x11\x00\x00", "a" + "aaaa"},
		{"with literals", "\x15abcd" + "\x6d\x00z" + "\x11\x00\x00", "abcd" + "abab"[:0] + "abcd" + "z"},
		{"far", "\x15abcd" + "\x22\x0c\x00" + "\x11\x00\x00", "abcd" + "abcd"},
		{"no end", "\x15abcd", ""},
		{"empty", "", ""},
		{"before the output", "\x12a" + "\x64\x00" + "\x11\x00\x00", ""},
		{"cut literals", "\x1fab", ""},
		{"endless length", "\x00" + strings.Repeat("\x00", 5000), ""},
	}
	for _, test := range tests {
		got, err := lzo1x(nil, []byte(test.in), 4096)
		if test.want == "" {
			if !errors.Is(err, evidence.ErrCorrupt) {
				t.Errorf("%s: %q, %v", test.name, got, err)
			}
			continue
		}
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	if _, err := lzo1x(nil, []byte("\x15abcd\x11\x00\x00"), 3); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("past the limit: %v", err)
	}
}

func TestLZOSegments(t *testing.T) {
	segment := []byte("\x15abcd\x11\x00\x00")
	var b []byte
	add := func() {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(segment)))
		b = append(b, segment...)
	}
	b = make([]byte, 4)
	add()
	add()
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	for size, want := range map[int]string{8: "abcdabcd", 4: "abcd", 100: "abcdabcd"} {
		got, err := unlzo(b, size, 4096)
		if err != nil || string(got) != want {
			t.Errorf("%d: %q, %v", size, got, err)
		}
	}
	for _, bad := range [][]byte{nil, {1, 0}, {255, 0, 0, 0}, {9, 0, 0, 0, 255, 0, 0, 0, 1}, {2, 0, 0, 0}} {
		if _, err := unlzo(bad, 8, 4096); !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestNotBtrfs(t *testing.T) {
	for _, size := range []int{0, 100, 70 << 10} {
		if _, err := Open(bytes.NewReader(make([]byte, size)), int64(size), evidence.Options{}); !errors.Is(err, evidence.ErrFormat) {
			t.Errorf("%d zeros: %v", size, err)
		}
	}
	if _, err := OpenDevices(nil, evidence.Options{}); !errors.Is(err, evidence.ErrFormat) {
		t.Error(err)
	}
}

// spoiled opens an image after a change and returns the warnings.
func spoiled(t *testing.T, b []byte) (*FS, []string, error) {
	t.Helper()
	var warnings []string
	f, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(err error) { warnings = append(warnings, err.Error()) }})
	return f, warnings, err
}

func TestSuperblocks(t *testing.T) {
	b := load(t, "plain") // 48 MiB: it has one superblock
	large := make([]byte, superOffsets[1]+superSize)
	copy(large, b)
	mirror := large[superOffsets[1]:]
	copy(mirror, b[superOffsets[0]:][:superSize])
	binary.LittleEndian.PutUint64(mirror[0x30:], uint64(superOffsets[1]))
	sign := func(s []byte) { copy(s, checksum(csumCRC32C, s[csumSize:superSize])) }
	sign(mirror)
	first := large[superOffsets[0]:]

	first[0x12b] = 'X' // the label
	f, warnings, err := spoiled(t, large)
	if err != nil || f.Describe().Label != "lagan-plain" || !strings.Contains(fmt.Sprint(warnings), "bad checksum") {
		t.Errorf("bad checksum: %v, %v", warnings, err)
	}
	clear(first[:superSize])
	f, warnings, err = spoiled(t, large)
	if err != nil || f.Describe().Label != "lagan-plain" || !strings.Contains(fmt.Sprint(warnings), "a copy of it is used") {
		t.Errorf("no first one: %v, %v", warnings, err)
	}
	clear(mirror)
	if _, _, err := spoiled(t, large); !errors.Is(err, evidence.ErrFormat) {
		t.Errorf("none: %v", err)
	}
	for at, value := range map[int]byte{0x90: 1, 0x94: 1, 0xc6: 8, 0xc4: 9} {
		copy(first, b[superOffsets[0]:][:superSize])
		first[at] = value
		sign(first)
		if _, _, err := spoiled(t, large); !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
			t.Errorf("%#x: %v", at, err)
		}
	}
	copy(first, b[superOffsets[0]:][:superSize])
	first[0xbc+3] |= 0x80 // an unknown feature
	sign(first)
	if _, warnings, err := spoiled(t, large); err != nil || !strings.Contains(fmt.Sprint(warnings), "unknown features 0x80000000") {
		t.Errorf("unknown feature: %v, %v", warnings, err)
	}
}

// treeBlocks returns where an image has tree blocks.
func treeBlocks(b []byte) (out []int) {
	fsid := b[superOffsets[0]+0x20:][:16]
	for at := 0; at+4096 <= len(b); at += 4096 {
		if int64(at) != superOffsets[0] && bytes.Equal(b[at+headerFSID:at+headerFSID+16], fsid) {
			out = append(out, at)
		}
	}
	return out
}

// A tree block with a bad checksum costs a warning, not its content.
func TestBadChecksum(t *testing.T) {
	b := load(t, "plain")
	whole := listing(readAll(t, openBytes(t, b, evidence.Options{})))
	for _, at := range treeBlocks(b) {
		b[at] ^= 0xff
	}
	f, _, err := spoiled(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if listing(readAll(t, f)) != whole {
		t.Error("something is lost")
	}
}

func TestDataChecksum(t *testing.T) {
	b := load(t, "plain")
	at := bytes.Index(b, []byte("the same line again and again the same line"))
	for at > 0 && at < len(b)-10 {
		copy(b[at:], "THE")
		next := bytes.Index(b[at:], []byte("the same line again and again the same line"))
		if next < 0 {
			break
		}
		at += next
	}
	var warnings []string
	f := openBytes(t, b, evidence.Options{Warn: func(err error) { warnings = append(warnings, err.Error()) }})
	evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if i.Type == evidence.TypeFile {
			if _, err := evidence.ReadInode(f, e.Ino, 1<<30); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		return nil
	})
	if !strings.Contains(fmt.Sprint(warnings), "data at logical address") {
		t.Errorf("%q", warnings)
	}
}

func TestBadHandles(t *testing.T) {
	f := openBytes(t, load(t, "plain"), evidence.Options{})
	for path, want := range map[string]error{"file": nil, "missing": fs.ErrNotExist, "sub": nil, "file/x": nil} {
		_, err := evidence.Resolve(f, f.Root(), path, true)
		if want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, bad := range []evidence.Ino{0, 1 << 60, f.Root() + 1<<40} {
		if _, err := f.Stat(bad); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%#x: %v", bad, err)
		}
		if _, err := f.Open(bad); err == nil {
			t.Errorf("%#x opens", bad)
		}
		if _, err := f.ReadLink(bad); err == nil {
			t.Errorf("%#x has a target", bad)
		}
		for _, err := range f.ReadDir(bad) {
			if err == nil {
				t.Errorf("%#x has entries", bad)
			}
		}
	}
}
