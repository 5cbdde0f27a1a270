package xfs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

var (
	_ evidence.FS        = (*FS)(nil)
	_ evidence.Lookuper  = (*FS)(nil)
	_ evidence.Describer = (*FS)(nil)
	_ evidence.Scanner   = (*FS)(nil)
	_ evidence.Deleter   = (*FS)(nil)
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeExtent(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want extent
	}{
		{"0000000000000000 0000000001800014", extent{0, 12, 20, false}},
		{"8000000000000200 0000000000200001", extent{1, 1, 1, true}},
		{"7ffffffffffffe00 00000000002fffff", extent{1<<54 - 1, 1, 1<<20 - 1, false}},
		{"00000000000001ff ffffffffffffffff", extent{0, 1<<52 - 1, 1<<21 - 1, false}},
	} {
		if got := decodeExtent(unhex(t, c.hex)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.hex, got, c.want)
		}
	}
}

func TestDecodeTime(t *testing.T) {
	for _, c := range []struct {
		hex     string
		bigtime bool
		want    string
	}{
		{"00000000 00000000", false, "1970-01-01T00:00:00Z"},
		{"ffffffff 3b9ac9ff", false, "1969-12-31T23:59:59.999999999Z"},
		{"80000000 00000000", false, "1901-12-13T20:45:52Z"},
		{"7fffffff 00000001", false, "2038-01-19T03:14:07.000000001Z"},
		{"0000000000000000", true, "1901-12-13T20:45:52Z"},
		{"1dcd650000000000", true, "1970-01-01T00:00:00Z"},
		{"ffffffffffffffff", true, "2486-07-02T20:20:25.709551615Z"},
	} {
		if got := decodeTime(unhex(t, c.hex), c.bigtime).Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%s: %s, want %s", c.hex, got, c.want)
		}
	}
}

func TestHashName(t *testing.T) {
	// From xfs_db's hash command.
	for name, want := range map[string]uint32{"": 0, "a": 0x61, "..": 0x172e, "abc": 0x187163, "lost+found": 0x21aa60c, "abcdefg": 0x3c98f471} {
		if got := hashName(name); got != want {
			t.Errorf("%q: %#x, want %#x", name, got, want)
		}
	}
}

func TestConvertACL(t *testing.T) {
	// What Linux 6.18 shows as trusted.SGI_ACL_FILE and as system.posix_acl_access.
	disk := unhex(t, "00000005 00000001ffffffff00060000 00000002000003e800070000 00000004ffffffff00040000 00000010ffffffff00070000 00000020ffffffff00040000")
	want := unhex(t, "02000000 01000600ffffffff 02000700e8030000 04000400ffffffff 10000700ffffffff 20000400ffffffff")
	got, ok := convertACL(disk)
	if !ok || !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	for _, bad := range [][]byte{nil, disk[:3], disk[:20], append(slices.Clone(disk), 0)} {
		if _, ok := convertACL(bad); ok {
			t.Errorf("%x was converted", bad)
		}
	}
}

// TestShortAttrs decodes attributes of every namespace; the filesystem's own and
// those that are half written stay hidden.
func TestShortAttrs(t *testing.T) {
	entry := func(flags byte, name, value string) []byte {
		return append([]byte{byte(len(name)), byte(len(value)), flags}, name+value...)
	}
	b := slices.Concat([]byte{0, 0, 8, 0}, entry(0, "u", "1"), entry(attrRoot, "r", ""), entry(attrSecure, "s", "333"), entry(attrParent, "p", "4"),
		entry(attrIncomplete, "i", "5"), entry(attrVerity, "v", "6"), entry(attrRoot, aclFile, "bad"), entry(attrSecure, aclDefault, "x"))
	be.PutUint16(b, uint16(len(b)))
	for cut := range len(b) + 1 {
		got := ""
		err := shortAttrs(9, b[:cut], func(a attr) {
			if !a.hidden() {
				got += fmt.Sprintf("%s=%s%s ", a.fullName(), a.value, a.aclName())
			}
		})
		want := "user.u=1 trusted.r= security.s=333 trusted.SGI_ACL_FILE=badsystem.posix_acl_access security.SGI_ACL_DEFAULT=x "
		if !strings.HasPrefix(want, got) || (err == nil) != (cut == len(b)) || !ours(err) || err == nil && got != want {
			t.Errorf("%d bytes: %q, %v", cut, got, err)
		}
	}
}

func TestShortForm(t *testing.T) {
	f := &FS{}
	f.sb.version, f.sb.incompat = sbVersion5, incompatFType
	for _, c := range []struct {
		name, hex, want string
		bad             bool
	}{
		{"empty", "00 00 00000080", "", false},
		{"narrow", "02 00 00000080 01 0060 61 01 00000083 02 0070 6262 02 00000084", "a=131 file, bb=132 dir, ", false},
		{"wide", "01 01 0000000000000080 01 0060 61 08 0000000100000083", "a=4294967427 char, ", false},
		{"cut", "02 00 00000080 01 0060 61 01 00000083 02 0070 62", "a=131 file, ", true},
		{"no header", "02 00", "", true},
		{"slash", "02 00 00000080 01 0060 2f 01 00000083 01 0060 61 01 00000083", "a=131 file, ", true},
		{"no name", "01 00 00000080 00 0060 01 00000083", "", true},
	} {
		got := ""
		_, err := f.shortForm(128, unhex(t, c.hex), func(name []byte, ino uint64, ft uint8) bool {
			got += fmt.Sprintf("%s=%d %s, ", name, ino, entryType(ft))
			return true
		})
		if got != c.want || (err != nil) != c.bad || !ours(err) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// edited opens shapes.img with the inode of a path edited; its checksum is then wrong.
func edited(t *testing.T, path string, edit func(raw []byte)) (*FS, evidence.Ino, []error) {
	t.Helper()
	image := unpack(t, "shapes.img.zst")
	f, _, err := openBytes(image, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ino, err := evidence.Resolve(f, f.Root(), path, false)
	if err != nil {
		t.Fatal(err)
	}
	off, _ := f.inodeOffset(uint64(ino))
	edit(image[off:][:f.sb.inodeSize])
	f, warnings, err := openBytes(image, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Stat(ino)
	return f, ino, *warnings
}

// TestHugeSparse reads a file of 2^60 bytes, a hole but for its start.
func TestHugeSparse(t *testing.T) {
	for _, name := range []string{"x/sparse", "x/hole", "x/fragmented"} {
		f, ino, _ := edited(t, name, func(raw []byte) { be.PutUint64(raw[diSize:], 1<<60) })
		r, err := f.Open(ino)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{1 << 40, 1<<59 + 12345, 1<<60 - 1<<20} {
			b := bytes.Repeat([]byte{1}, 1<<20)
			if n, err := r.ReadAt(b, off); n != len(b) || err != nil || !bytes.Equal(b, make([]byte, len(b))) {
				t.Errorf("%s at %#x: %d bytes, %v", name, off, n, err)
			}
		}
		if n, err := r.ReadAt(make([]byte, 10), 1<<60-5); n != 5 || err != io.EOF {
			t.Errorf("%s at its end: %d bytes, %v", name, n, err)
		}
	}
}

// TestFragments reads a file of many extents at every offset that matters.
func TestFragments(t *testing.T) {
	f, _, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ino, err := evidence.Resolve(f, f.Root(), "x/fragmented", false)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Open(ino)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	for i := range int64(149) {
		if _, err := r.ReadAt(b, i*8192+4091); err != nil || b[0] != byte(i) || b[4] != byte(i) || b[5] != 0 {
			t.Fatalf("fragment %d ends with %v, %v", i, b, err)
		}
		if _, err := r.ReadAt(b, i*8192+8187); err != nil || b[4] != 0 || b[5] != byte(i+1) {
			t.Fatalf("hole %d ends with %v, %v", i, b, err)
		}
	}
}

func TestOddInodes(t *testing.T) {
	for _, c := range []struct {
		name, path string
		edit       func(raw []byte)
		check      func(f *FS, ino evidence.Ino) error
		want       error
	}{
		{"realtime", "x/shared", func(raw []byte) { raw[diFlags+1] |= flagRealtime }, openOf, evidence.ErrUnsupported},
		{"negative size", "x/shared", func(raw []byte) { raw[diSize] = 0xff }, openOf, evidence.ErrCorrupt},
		{"unknown format", "x/shared", func(raw []byte) { raw[diFormat] = 9 }, openOf, evidence.ErrCorrupt},
		{"too many extents", "x/shared", func(raw []byte) { raw[diNextents] = 1 }, openOf, evidence.ErrCorrupt},
		{"deep tree", "x/fragmented", func(raw []byte) { raw[dinodeV3Size] = 1 }, openOf, evidence.ErrCorrupt},
		{"extent outside", "x/shared", func(raw []byte) { raw[dinodeV3Size+8] = 0xff }, readOf, evidence.ErrCorrupt},
		{"long target", "link100", func(raw []byte) { raw[diSize+5] = 1 }, linkOf, evidence.ErrCorrupt},
		{"no magic", "x/shared", func(raw []byte) { raw[0] = 0 }, statOf, evidence.ErrCorrupt},
		{"inode version", "x/shared", func(raw []byte) { raw[diVersion] = 1 }, statOf, evidence.ErrCorrupt},
		{"free", "x/shared", func(raw []byte) { raw[diMode], raw[diMode+1] = 0, 0 }, statOf, evidence.ErrCorrupt},
		{"fork outside", "x/ea", func(raw []byte) { raw[diForkoff] = 0xff }, statOf, nil},
		{"short attributes", "x/ea", func(raw []byte) { raw[dinodeV3Size+int(raw[diForkoff])*8+2] = 0xff }, xattrsOf, evidence.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, ino, warnings := edited(t, c.path, c.edit)
			if err := c.check(f, ino); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
			if c.name != "no magic" && c.name != "inode version" && len(warnings) == 0 {
				t.Error("no warning of the bad checksum")
			}
		})
	}
}

func openOf(f *FS, ino evidence.Ino) error   { _, err := f.Open(ino); return err }
func statOf(f *FS, ino evidence.Ino) error   { _, err := f.Stat(ino); return err }
func linkOf(f *FS, ino evidence.Ino) error   { _, err := f.ReadLink(ino); return err }
func xattrsOf(f *FS, ino evidence.Ino) error { _, err := f.Xattrs(ino); return err }
func readOf(f *FS, ino evidence.Ino) error   { _, err := evidence.ReadInode(f, ino, 1<<24); return err }

// TestOtherKinds asks inodes for what they are not.
func TestOtherKinds(t *testing.T) {
	f, _, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	file, _ := evidence.Resolve(f, f.Root(), "hello", false)
	for name, err := range map[string]error{
		"open of a folder": openOf(f, f.Root()), "link of a folder": linkOf(f, f.Root()), "stat of nothing": statOf(f, 1<<60),
		"stat of a hole": statOf(f, 3),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, err := range f.ReadDir(file) {
		if err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("a file's entries: %v", err)
		}
	}
	if _, err := f.Lookup(file, "x"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lookup in a file: %v", err)
	}
}

// TestIndex makes sure that names of large folders are found by their hash.
func TestIndex(t *testing.T) {
	f, _, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := evidence.Lookup(f, f.Root(), "node")
	d, err := f.inode(uint64(dir.Ino))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for e, err := range f.ReadDir(dir.Ino) {
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.lookupHash(&d, e.Name); got != e || err != nil {
			t.Errorf("%q: %+v, %v", e.Name, got, err)
		}
		count++
	}
	if count < 100 {
		t.Errorf("%d entries", count)
	}
	for _, name := range []string{"", "zzzz", strings.Repeat("x", 255)} {
		if _, err := f.lookupHash(&d, name); err != fs.ErrNotExist {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSuperblock(t *testing.T) {
	whole := unpack(t, "shapes.img.zst")
	for _, c := range []struct {
		name string
		edit func(sb []byte)
		want error
		warn string
	}{
		{"as it was", func([]byte) {}, nil, ""},
		{"needsrepair", func(sb []byte) { sb[219] |= incompatNeedsRepair }, nil, "needsrepair"},
		{"unknown incompatible", func(sb []byte) { sb[216] |= 0x40 }, evidence.ErrUnsupported, ""},
		{"unknown read-only", func(sb []byte) { sb[212] |= 0x40 }, nil, "0x40000000"},
		{"realtime", func(sb []byte) { sb[23] = 9 }, nil, "realtime"},
		{"mkfs not finished", func(sb []byte) { sb[126] = 1 }, nil, "never finished"},
		{"version 3", func(sb []byte) { sb[101] = sb[101]&0xf0 | 3 }, evidence.ErrUnsupported, ""},
		{"block size", func(sb []byte) { sb[120] = 40 }, evidence.ErrCorrupt, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// One group alone, so that no copy of the superblock helps.
			image := slices.Clone(whole)
			clear(image[17<<20:][:512])
			c.edit(image)
			fixChecksum(image[:512], sbCRC)
			_, warnings, err := openBytes(image, evidence.Options{NoJournal: true})
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if !strings.Contains(fmt.Sprint(*warnings), c.warn) {
				t.Errorf("warnings %v", *warnings)
			}
		})
	}
}

func TestDevice(t *testing.T) {
	raw := make([]byte, 256)
	be.PutUint32(raw[dinodeV2Size:], 259<<18|70000)
	d := dinode{raw: raw, version: 2}
	if major, minor := d.device(); major != 259 || minor != 70000 {
		t.Errorf("%d:%d", major, minor)
	}
	be.PutUint16(raw[diOnlink:], 7)
	be.PutUint32(raw[diNlink:], 9)
	if d.nlink() != 9 {
		t.Errorf("version 2: %d links", d.nlink())
	}
	if d.version = 1; d.nlink() != 7 {
		t.Errorf("version 1: %d links", d.nlink())
	}
}

// TestAttrSet reads attributes of a version 4 filesystem, as xfs_db makes them.
func TestAttrSet(t *testing.T) {
	needs.Tool(t, "mkfs.xfs", "xfs_db")
	image := t.TempDir() + "/xfs.img"
	makeProto(t, image, 16, protoFile(t, 3, 10), "-m", "crc=0")
	f := open(t, image, evidence.Options{})
	ino, err := evidence.Resolve(f, f.Root(), "hello", false)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"user.small": 10, "security.middle": 300, "user.large": 9000, "trusted.largest": 65535}
	// In this order: xfs_db 6.1 crashes where the largest comes first.
	run(t, "xfs_db", "-x", "-c", fmt.Sprint("inode ", ino), "-c", "attr_set -u small -v 10", "-c", "attr_set -s middle -v 300",
		"-c", "attr_set -u large -v 9000", "-c", "attr_set -r largest -v 65535", image)
	x, err := open(t, image, evidence.Options{}).Xattrs(ino)
	if err != nil || len(x) != len(want) {
		t.Errorf("%d attributes, %v", len(x), err)
	}
	for name, n := range want {
		if !bytes.Equal(x[name], bytes.Repeat([]byte("v"), n)) {
			t.Errorf("%s: %d bytes", name, len(x[name]))
		}
	}
}

func BenchmarkScan(b *testing.B) {
	f, _, err := openBytes(unpack(b, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var dirs []evidence.Ino
		for i := range f.Inodes() {
			if i.Info.Type == evidence.TypeDir {
				dirs = append(dirs, i.Ino)
			}
		}
		for range f.Entries(dirs) {
		}
	}
}

// TestConcurrent reads from several goroutines, and leaves scans half way.
func TestConcurrent(t *testing.T) {
	f, _, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := readAll(t, f)
	done := make(chan string)
	for range 4 {
		go func() {
			got := readAll(t, f)
			for i := range f.Inodes() {
				if i.Ino%7 == 0 {
					break
				}
			}
			for range f.Entries([]evidence.Ino{f.Root(), 1 << 50}) {
				break
			}
			for range f.Deleted() {
				break
			}
			done <- fmt.Sprint(len(got))
		}()
	}
	for range 4 {
		if got := <-done; got != fmt.Sprint(len(want)) {
			t.Errorf("%s paths, want %d", got, len(want))
		}
	}
}
