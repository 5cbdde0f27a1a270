package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"lagan/evidence"
)

// Facts of the container: "The .xz File Format", version 1.2.0. The library's
// own reader of it takes the dictionary's size from the file as it is, up to 4 GiB,
// which is why its LZMA2 decoder alone is used.
const (
	xzHeaderSize  = 12 // Stream Header
	xzFooterSize  = 12
	xzFilterLZMA2 = 0x21
	xzMaxFilters  = 4
	// maxDictionary bounds the memory of a decoder; xz -9 asks for 64 MiB.
	maxDictionary = 256 << 20

	xzHasPackedSize   = 1 << 6 // Block Flags
	xzHasUnpackedSize = 1 << 7
	xzReservedFlags   = 0x3c

	offXZCheck = 7 // the second of the Stream Flags
)

// xzReader reads the blocks of all streams of a file, one after another.
type xzReader struct {
	in    *countingReader
	o     Options
	block *xzBlock // the current one
	check byte     // of the current stream: the kind of checksum
	err   error    // sticky
}

// xzBlock is a block that is being unpacked.
type xzBlock struct {
	off     int64 // of its header
	start   int64 // of its packed data
	data    io.Reader
	sum     hash.Hash // nil where there is none, or one that isn't known
	sumSize int
}

// countingReader counts what is read through a buffer.
type countingReader struct {
	*bufio.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func openXZ(src *source, o Options) (io.ReadCloser, error) {
	x := &xzReader{in: &countingReader{Reader: bufio.NewReaderSize(src, readAhead)}, o: o}
	return io.NopCloser(x), x.header()
}

// header reads a Stream Header.
func (x *xzReader) header() error {
	off := x.in.n
	b := make([]byte, xzHeaderSize)
	if _, err := io.ReadFull(x.in, b); err != nil {
		return x.fail(off, err)
	}
	if !bytes.HasPrefix(b, magicXZ) || crc32.ChecksumIEEE(b[6:8]) != le32(b[8:]) {
		return x.fail(off, errors.New("no stream header"))
	}
	x.check = b[offXZCheck] & 0xf
	return nil
}

func (x *xzReader) fail(off int64, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("xz: offset %#x: %w: %w", off, evidence.ErrCorrupt, err)
}

func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.data.Read(p)
		if x.block.sum != nil {
			x.block.sum.Write(p[:n])
		}
		switch {
		case err == io.EOF:
			x.err = x.endBlock()
		case err != nil:
			x.err = x.fail(x.in.n, err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// next begins the next block; after the last one of a stream, the next stream.
func (x *xzReader) next() error {
	off := x.in.n
	size, err := x.in.ReadByte()
	if err != nil {
		return x.fail(off, err)
	}
	if size == 0 {
		return x.endStream()
	}
	b := make([]byte, (int(size)+1)*4)
	b[0] = size
	if _, err := io.ReadFull(x.in, b[1:]); err != nil {
		return x.fail(off, err)
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	if crc32.ChecksumIEEE(body) != le32(sum) {
		return x.fail(off, errors.New("block header: wrong checksum"))
	}
	dictionary, err := xzDictionary(body)
	if err != nil {
		return x.fail(off, err)
	}
	if dictionary > maxDictionary {
		return fmt.Errorf("xz: offset %#x: a dictionary of %d MiB: unpack it with xz -d: %w", off, dictionary>>20, evidence.ErrUnsupported)
	}
	data, err := lzma.Reader2Config{DictCap: int(max(dictionary, lzma.MinDictCap))}.NewReader2(x.in)
	if err != nil {
		return x.fail(off, err)
	}
	x.block = &xzBlock{off: off, start: off + int64(len(b)), data: data}
	x.block.sum, x.block.sumSize = xzChecksum(x.check)
	return nil
}

// xzDictionary returns the size of the dictionary of a block, whose only
// filter has to be LZMA2.
func xzDictionary(b []byte) (int64, error) {
	flags := b[1]
	if flags&xzReservedFlags != 0 || flags&(xzMaxFilters-1) != 0 {
		return 0, fmt.Errorf("filters before LZMA2: unpack it with xz -d: %w", evidence.ErrUnsupported)
	}
	rest := b[2:]
	for _, has := range []byte{xzHasPackedSize, xzHasUnpackedSize} {
		if flags&has != 0 {
			_, n := binary.Uvarint(rest)
			if n <= 0 {
				return 0, errors.New("block header: no size")
			}
			rest = rest[n:]
		}
	}
	if len(rest) < 3 || rest[0] != xzFilterLZMA2 || rest[1] != 1 || rest[2] > 40 {
		return 0, fmt.Errorf("no LZMA2 filter: %w", evidence.ErrUnsupported)
	}
	d := rest[2]
	if d == 40 {
		return 1<<32 - 1, nil
	}
	return (2 | int64(d&1)) << (d/2 + 11), nil
}

// xzChecksum returns the checksum of a kind and its size (2.1.1.2 of the
// format, where reserved kinds have sizes too).
func xzChecksum(kind byte) (hash.Hash, int) {
	switch kind {
	case 0:
		return nil, 0
	case 1:
		return crc32.NewIEEE(), 4
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), 8
	case 10:
		return sha256.New(), 32
	}
	return nil, 4 << ((kind - 1) / 3)
}

// endBlock passes the padding and compares the checksum, which is a warning: the data is there.
func (x *xzReader) endBlock() error {
	blk := x.block
	x.block = nil
	tail := make([]byte, (4-(x.in.n-blk.start)%4)%4+int64(blk.sumSize))
	if _, err := io.ReadFull(x.in, tail); err != nil {
		return x.fail(x.in.n, err)
	}
	if blk.sum == nil {
		return nil
	}
	got := blk.sum.Sum(nil)
	if blk.sumSize != sha256.Size {
		for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 { // CRCs are stored little-endian
			got[i], got[j] = got[j], got[i]
		}
	}
	if !bytes.Equal(got, tail[len(tail)-blk.sumSize:]) {
		x.o.warn(fmt.Errorf("xz: block at offset %#x: wrong checksum: %w", blk.off, evidence.ErrCorrupt))
	}
	return nil
}

// endStream passes the index, whose first byte was read, and the footer, and
// begins the next stream if there is one.
func (x *xzReader) endStream() error {
	start := x.in.n - 1
	count, err := binary.ReadUvarint(x.in)
	if err != nil {
		return x.fail(start, err)
	}
	for range count {
		for range 2 { // Unpadded Size, Uncompressed Size
			if _, err := binary.ReadUvarint(x.in); err != nil {
				return x.fail(start, err)
			}
		}
	}
	rest := (4-(x.in.n-start)%4)%4 + 4 + xzFooterSize // padding, CRC32
	if _, err := io.CopyN(io.Discard, x.in, rest); err != nil {
		return x.fail(start, err)
	}
	for { // Stream Padding
		b, err := x.in.Peek(4)
		switch {
		case len(b) == 0:
			return io.EOF
		case err != nil && err != io.EOF:
			return err
		case len(b) == 4 && allZero(b):
			x.in.Discard(4)
			x.in.n += 4
		case len(b) == 4 && bytes.HasPrefix(magicXZ, b):
			return x.header()
		default:
			x.o.warn(fmt.Errorf("xz: bytes at offset %#x that are no stream are left out: %w", x.in.n, evidence.ErrCorrupt))
			return io.EOF
		}
	}
}

func allZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
