package erofs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/erofs"
	"lagan/internal/needs"
)

func TestOpenErrors(t *testing.T) {
	good := unpack(t, "metabox")
	for _, c := range []struct {
		name   string
		break_ func(b []byte) []byte
		want   error
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
			b := c.break_(slices.Clone(good))
			f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
			if f != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, %v", f, err)
			}
		})
	}
}

// TestChecksum: a superblock that was changed is said, and read all the same.
func TestChecksum(t *testing.T) {
	b := unpack(t, "plain")
	b[1024+64] = 'G' // the label
	warned := 0
	f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(error) { warned++ }})
	if err != nil || warned != 1 || f.Describe().Label != "Golden" {
		t.Errorf("%v, %d warnings", err, warned)
	}
}

// TestTruncated: an image without its end keeps what is in front.
func TestTruncated(t *testing.T) {
	b := unpack(t, "lz4")
	for cut := len(b) - 4096; cut > 4096; cut -= len(b) / 7 {
		f, err := erofs.Open(bytes.NewReader(b[:cut]), int64(cut), evidence.Options{})
		if err != nil {
			if !ours(err) {
				t.Fatal(err)
			}
			continue
		}
		exercise(f, func(err error) {
			if !ours(err) {
				t.Errorf("cut at %#x: %v", cut, err)
			}
		})
	}
}

// TestMutants changes single bytes of every image, at places that a fixed seed chose.
func TestMutants(t *testing.T) {
	n := needs.Rounds(60, 10)
	for name := range golden {
		b := unpack(t, name)
		rng := rand.New(rand.NewPCG(3, uint64(len(name))))
		for range n {
			m := slices.Clone(b)
			for range 1 + rng.IntN(4) {
				at := rng.IntN(len(m))
				if rng.IntN(2) == 0 {
					at = 1024 + rng.IntN(min(len(m)-1024, 8192)) // where metadata is
				}
				m[at] = byte(rng.Uint32())
			}
			f, err := erofs.Open(bytes.NewReader(m), int64(len(m)), evidence.Options{})
			if err != nil {
				if !ours(err) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			exercise(f, func(err error) {
				if !ours(err) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
}

// failing fails every read from the nth on.
type failing struct {
	r    io.ReaderAt
	left int
}

var errSector = errors.New("bad sector")

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errSector
	}
	return f.r.ReadAt(b, off)
}

// TestReadErrors: a read that fails is handed up as it is.
func TestReadErrors(t *testing.T) {
	b := unpack(t, "lz4-fragments")
	for n := 0; n < 400; n += 7 {
		f, err := erofs.Open(&failing{bytes.NewReader(b), n}, int64(len(b)), evidence.Options{})
		if err != nil {
			if !errors.Is(err, errSector) {
				t.Fatalf("read %d: %v", n, err)
			}
			continue
		}
		said := false
		exercise(f, func(err error) { said = said || errors.Is(err, errSector) })
		if !said {
			t.Fatalf("read %d fails and nothing is said", n)
		}
	}
}

// TestDevices: content on another device than the image.
func TestDevices(t *testing.T) {
	b := unpack(t, "chunks")
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
	f := open(t, b)
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
	f = open(t, b)
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
	b := unpack(t, "metabox")
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
	done := make(chan bool)
	go func() {
		if f, err := erofs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{}); err == nil {
			exercise(f, func(error) {})
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("an inode waits for itself")
	}
}
