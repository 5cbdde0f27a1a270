package btrfs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
)

// decompress unpacks an extent to at most size bytes. One that gives fewer is
// followed by zeros, as the kernel reads it.
func decompress(kind uint8, packed []byte, size, sector int) ([]byte, error) {
	switch kind {
	case compressZlib:
		return unzlib(packed, size)
	case compressLZO:
		return unlzo(packed, size, sector)
	case compressZstd:
		return unzstd(packed, size)
	}
	return nil, fmt.Errorf("compression of kind %d: %w", kind, evidence.ErrUnsupported)
}

func unzlib(packed []byte, size int) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("zlib: %w: %w", err, evidence.ErrCorrupt)
	}
	return readUpTo(z, size, "zlib")
}

// zstdDecoders are kept: each has buffers of its own.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(zstdWindow))
	if err != nil {
		return err
	}
	return d
}}

// zstdWindow is the largest window that a frame may ask for; the kernel's own
// is 128 KiB (ZSTD_BTRFS_MAX_WINDOWLOG, fs/btrfs/zstd.c).
const zstdWindow = 1 << 20

func unzstd(packed []byte, size int) ([]byte, error) {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, fmt.Errorf("zstd: %w", evidence.ErrUnsupported)
	}
	defer zstdDecoders.Put(d)
	if err := d.Reset(bytes.NewReader(packed)); err != nil {
		return nil, fmt.Errorf("zstd: %w: %w", err, evidence.ErrCorrupt)
	}
	return readUpTo(d, size, "zstd")
}

// readUpTo reads at most size bytes. A stream may give fewer: the last of a
// file ends where that does, and zeros follow it to the end of the sector,
// which zstd takes for another frame.
func readUpTo(r io.Reader, size int, what string) ([]byte, error) {
	out := make([]byte, size)
	n, err := io.ReadFull(r, out)
	ended := err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || n > 0 && errors.Is(err, zstd.ErrMagicMismatch)
	if !ended {
		return nil, fmt.Errorf("%s: %w: %w", what, err, evidence.ErrCorrupt)
	}
	return out[:n], nil
}

// unlzo unpacks lzo: a length of all, then segments of a length and as many
// bytes, each of which unpacks to at most a sector. A length doesn't cross the
// end of a sector: where less than its four bytes are left, they are skipped
// (fs/btrfs/lzo.c).
func unlzo(packed []byte, size, sector int) ([]byte, error) {
	const lengthSize = 4
	bad := func(format string, args ...any) ([]byte, error) {
		return nil, fmt.Errorf("lzo: %s: %w", fmt.Sprintf(format, args...), evidence.ErrCorrupt)
	}
	if len(packed) < lengthSize {
		return bad("%d bytes", len(packed))
	}
	total := int(binary.LittleEndian.Uint32(packed))
	if total < lengthSize || total > len(packed) {
		return bad("length %#x in %#x bytes", total, len(packed))
	}
	out := make([]byte, 0, size)
	at := lengthSize
	for at < total && len(out) < size {
		if left := sector - at%sector; left < lengthSize {
			at += left
		}
		if at+lengthSize > total {
			break
		}
		n := int(binary.LittleEndian.Uint32(packed[at:]))
		at += lengthSize
		if n > total-at {
			return bad("segment of %#x bytes, %#x are left", n, total-at)
		}
		var err error
		if out, err = lzo1x(out, packed[at:at+n], min(sector, size-len(out))); err != nil {
			return nil, err
		}
		at += n
	}
	return out, nil
}

// lzo1x unpacks a LZO1X stream (Documentation/staging/lzo.rst of the kernel)
// and appends at most limit bytes.
func lzo1x(out, in []byte, limit int) ([]byte, error) {
	d := lzo{in: in, out: out, start: len(out), limit: len(out) + limit}
	d.run()
	if d.err != "" {
		return nil, fmt.Errorf("lzo: %s at %#x: %w", d.err, d.at, evidence.ErrCorrupt)
	}
	return d.out, nil
}

type lzo struct {
	in, out      []byte
	at           int
	start, limit int
	err          string
}

func (d *lzo) fail(why string) {
	if d.err == "" {
		d.err = why
	}
}

func (d *lzo) byte() int {
	if d.at >= len(d.in) {
		d.fail("input ends")
		return 0
	}
	d.at++
	return int(d.in[d.at-1])
}

// length reads the rest of a length whose low bits were zero.
func (d *lzo) length(base int) int {
	n := base
	for d.err == "" {
		b := d.byte()
		if b != 0 {
			return n + b
		}
		if n += 255; n > maxCompressed {
			d.fail("length out of bounds")
		}
	}
	return 0
}

func (d *lzo) literals(n int) {
	switch {
	case d.err != "":
	case n > len(d.in)-d.at:
		d.fail("literals past the input")
	case n > d.limit-len(d.out):
		d.fail("literals past the output")
	default:
		d.out = append(d.out, d.in[d.at:d.at+n]...)
		d.at += n
	}
}

func (d *lzo) match(distance, n int) {
	switch {
	case d.err != "":
	case distance > len(d.out)-d.start:
		d.fail("match before the output")
	case n > d.limit-len(d.out):
		d.fail("match past the output")
	default:
		for range n { // may overlap with what it writes
			d.out = append(d.out, d.out[len(d.out)-distance])
		}
	}
}

// run decodes instructions until the end marker. state is the number of
// literals that the last one copied: 4 stands for "4 or more".
func (d *lzo) run() {
	state := 0
	if len(d.in) > 0 && d.in[0] > 17 {
		n := d.byte() - 17
		d.literals(n)
		state = min(n, 4)
	}
	for d.err == "" {
		t := d.byte()
		var distance, n, tail int
		switch {
		case t >= 64:
			tail = t & 3
			distance = t>>2&7 + d.byte()<<3 + 1
			n = t>>5 + 1
		case t >= 32:
			if n = t & 31; n == 0 {
				n = d.length(31)
			}
			n += 2
			low := d.byte()
			distance = low>>2 + d.byte()<<6 + 1
			tail = low & 3
		case t >= 16:
			if n = t & 7; n == 0 {
				n = d.length(7)
			}
			n += 2
			low := d.byte()
			distance = (t&8)<<11 + low>>2 + d.byte()<<6
			tail = low & 3
			if distance == 0 {
				return // end of stream
			}
			distance += 1 << 14
		case state == 0:
			if n = t; n == 0 {
				n = d.length(15)
			}
			d.literals(n + 3)
			state = 4
			continue
		case state < 4:
			tail = t & 3
			distance = t>>2 + d.byte()<<2 + 1
			n = 2
		default:
			tail = t & 3
			distance = t>>2 + d.byte()<<2 + 1<<11 + 1
			n = 3
		}
		d.match(distance, n)
		d.literals(tail)
		state = tail
	}
}
