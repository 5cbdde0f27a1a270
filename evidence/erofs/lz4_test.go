package erofs

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// TestLZ4Block decodes what the library compressed, to every length: the kernel
// stops in the middle of shared clusters, and so must this.
func TestLZ4Block(t *testing.T) {
	var text bytes.Buffer
	for i := range 400 {
		fmt.Fprintf(&text, "%d the same again and again %d\n", i%7, i*i%1000)
	}
	text.Write(make([]byte, 300)) // a match of distance one
	want := text.Bytes()
	packed := make([]byte, lz4.CompressBlockBound(len(want)))
	n, err := lz4.CompressBlock(want, packed, nil)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	packed = packed[:n]
	for size := range len(want) + 1 {
		out := make([]byte, size)
		if n := lz4Block(out, packed); n != size || !bytes.Equal(out, want[:size]) {
			t.Fatalf("%d bytes of %d", n, size)
		}
	}
	if n := lz4Block(make([]byte, len(want)+1), packed); n != len(want) {
		t.Errorf("%d bytes of %d that there are", n, len(want))
	}
	for cut := range packed {
		out := make([]byte, len(want))
		if n := lz4Block(out, packed[:cut]); !bytes.Equal(out[:n], want[:n]) {
			t.Errorf("cut at %d: %d bytes are wrong", cut, n)
		}
	}
}

func TestLZ4Corrupt(t *testing.T) {
	for name, in := range map[string][]byte{
		"nothing":               {},
		"literals that aren't":  {0xf0},
		"length without end":    {0xf0, 0xff, 0xff, 0xff},
		"distance zero":         {0x10, 'a', 0, 0},
		"distance before start": {0x10, 'a', 2, 0},
		"distance cut":          {0x10, 'a', 1},
		"match length cut":      {0x1f, 'a', 1, 0, 0xff},
	} {
		if n := lz4Block(make([]byte, 100), in); n > 1 {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}

// TestUnrotate: an interlaced cluster keeps each byte at its offset in a block.
func TestUnrotate(t *testing.T) {
	z := &zfile{fs: &FS{sb: super{blockBits: 12}}}
	file := make([]byte, 3*4096)
	for i := range file {
		file[i] = byte(i * 7 >> 3)
	}
	for _, start := range []uint64{0, 1, 100, 4095, 4096, 5000} {
		for _, length := range []uint64{1, 50, 4000, 4096} {
			in := make([]byte, 4096)
			for i := range length {
				in[(start+i)%4096] = file[start+i]
			}
			out := make([]byte, length)
			z.unrotate(out, in, start)
			if !bytes.Equal(out, file[start:start+length]) {
				t.Errorf("%d bytes from %d", length, start)
			}
		}
	}
}
