package erofs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/evidence/erofs"
	"lagan/evidence/iofstest"
	"lagan/evidence/packtest"
)

func TestOpenErrors(t *testing.T) {
	good := format.Unpack(t, "metabox")
	for _, c := range []struct {
		name  string
		spoil func(b []byte) []byte
		want  error
	}{
		{"empty", func([]byte) []byte { return nil }, evidence.ErrFormat},
		{"another magic", func(b []byte) []byte { b[1024] ^= 1; return b }, evidence.ErrFormat},
		{"cut in the superblock", func(b []byte) []byte { return b[:1100] }, evidence.ErrFormat},
		{"block size 2^40", func(b []byte) []byte { b[1024+12] = 40; return b }, evidence.ErrCorrupt},
		{"block size 2", func(b []byte) []byte { b[1024+12] = 1; return b }, evidence.ErrCorrupt},
		{"unknown feature", func(b []byte) []byte { b[1024+83] = 0x40; return b }, evidence.ErrUnsupported},
		{"metabox in itself", func(b []byte) []byte { b[1024+128+7] = 0x80; return b }, evidence.ErrCorrupt},
		{"cut behind the superblock", func(b []byte) []byte { return b[:1200] }, evidence.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.spoil(slices.Clone(good))
			f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
			if f != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, %v", f, err)
			}
		})
	}
}

// TestChecksum: a superblock that was changed is said, and read all the same.
func TestChecksum(t *testing.T) {
	b := format.Unpack(t, "plain")
	b[1024+64] = 'G' // the label
	warned := 0
	f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(error) { warned++ }})
	if err != nil || warned != 1 || f.Describe().Label != "Golden" {
		t.Errorf("%v, %d warnings", err, warned)
	}
}

func TestTruncated(t *testing.T)  { format.TestTruncated(t, "lz4") }
func TestMutants(t *testing.T)    { format.TestMutants(t) }
func TestReadErrors(t *testing.T) { format.TestReadErrors(t, "lz4-fragments", 400, 7) }

func FuzzOpen(f *testing.F) {
	format.Fuzz(f, func(size int) []packtest.Patches {
		return []packtest.Patches{
			{At1: 1024 + 80, Bytes1: []byte{0xff, 1}, At2: 1024 + 36, Bytes2: []byte{0x24}},
			{At1: 1152 + 32, Bytes1: []byte{0x03, 0x00}, At2: 0x480, Bytes2: []byte{0xff, 0xff, 0xff, 0x7f}},
		}
	})
}

// TestDevices: content on another device than the image.
func TestDevices(t *testing.T) {
	b := format.Unpack(t, "chunks")
	content := slices.Clone(b)
	// A device table of one slot in the last block, and every chunk on it.
	at := len(b)
	b = append(b, make([]byte, 4096)...)
	sb := b[1024:]
	binary.LittleEndian.PutUint32(sb[80:], binary.LittleEndian.Uint32(sb[80:])|8)
	binary.LittleEndian.PutUint16(sb[86:], 1)
	binary.LittleEndian.PutUint16(sb[88:], uint16(at/128))
	copy(b[at:], "the blob's tag")
	binary.LittleEndian.PutUint32(b[at+64:], uint32(len(content)/4096))
	binary.LittleEndian.PutUint32(sb[8:], binary.LittleEndian.Uint32(sb[8:])&^1) // no checksum
	var index []int
	f := format.Opened(t, b)
	want, err := evidence.ReadFile(f, f.Root(), "random", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	// The chunk of /random is found by what it holds.
	for i := 1024; i+8 <= at; i += 4 {
		block := int(binary.LittleEndian.Uint32(b[i+4:]))
		if binary.LittleEndian.Uint32(b[i:]) == 0 && block > 0 && (block+1)*4096 <= len(content) && bytes.Equal(content[block*4096:][:len(want)], want) {
			index = append(index, i)
		}
	}
	if len(index) != 1 {
		t.Fatalf("%d indexes", len(index))
	}
	b[index[0]+2] = 1 // device_id
	f = format.Opened(t, b)
	if _, err := evidence.ReadFile(f, f.Root(), "random", 1<<20); !errors.Is(err, evidence.ErrUnsupported) {
		t.Errorf("without the device: %v", err)
	}
	f, err = erofs.OpenDevices(bytes.NewReader(b), int64(len(b)), []erofs.Device{{R: bytes.NewReader(content), Size: int64(len(content))}}, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if have, err := evidence.ReadFile(f, f.Root(), "random", 1<<20); err != nil || !bytes.Equal(have, want) {
		t.Errorf("with the device: %v", err)
	}
}

// TestFragmentLoop: the metabox has its end in the packed inode, and that lies
// in the metabox.
func TestFragmentLoop(t *testing.T) {
	b := format.Unpack(t, "metabox")
	sb := b[1024:]
	binary.LittleEndian.PutUint32(sb[8:], binary.LittleEndian.Uint32(sb[8:])&^1)     // no checksum
	binary.LittleEndian.PutUint32(sb[80:], binary.LittleEndian.Uint32(sb[80:])|0x20) // fragments
	binary.LittleEndian.PutUint64(sb[96:], binary.LittleEndian.Uint64(sb[112:]))     // the packed inode is the root
	nid := binary.LittleEndian.Uint64(sb[128:])
	inode := b[uint64(binary.LittleEndian.Uint32(sb[40:]))<<sb[12]+nid<<5:]
	size := 32
	if inode[0]&1 != 0 {
		size = 64
	}
	inode[size+4] |= 0x20 // h_advise: a fragment at the end
	// The list of extents has their lengths alone; the last is where the fragment is.
	extents := binary.LittleEndian.Uint32(inode[8:]) >> 12
	clear(inode[size+8+8:][4*(extents-1):][:4])
	// An inode that waits for itself would end the test as a deadlock, or at its time limit.
	if f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{}); err == nil {
		packtest.Exercise(f, func(error) {})
	}
}

func TestIOFS(t *testing.T) {
	b := format.Unpack(t, "lz4")
	f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	iofstest.Test(t, f)
}
