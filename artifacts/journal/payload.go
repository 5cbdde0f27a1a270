package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"lagan/evidence"
)

const (
	// maxPayload is a name, the sign between, and a value one byte too long.
	maxPayload = maxName + 1 + MaxValue + 1
	// maxPacked bounds the compressed bytes of one value that are looked at.
	maxPacked = 16 << 20
	// maxBlock bounds an lz4 block, which can only be unpacked as a whole.
	maxBlock = 64 << 20
	// maxDict bounds the dictionary of xz; systemd compresses with preset 0, 256 KiB.
	maxDict = 8 << 20
	// maxWindow bounds the window of zstd; at systemd's level it has 2 MiB.
	maxWindow = 8 << 20
)

// payload returns NAME=value of the data object at off, until the next call,
// and whether it was cut.
func (j *Journal) payload(off uint64) (b []byte, cut bool, err error) {
	o, err := j.r.object(off)
	if err != nil {
		return nil, false, err
	}
	at := uint64(dataPayload)
	if j.Compact() {
		at = dataPayloadIn32
	}
	if o.typ != objData || o.size <= at {
		return nil, false, fmt.Errorf("object at offset %#x of type %d and %d bytes is no data: %w", off, o.typ, o.size, evidence.ErrCorrupt)
	}
	n, most := o.size-at, uint64(maxPayload)
	packed := o.flags != 0
	if packed {
		most = maxPacked
	}
	cut = n > most
	n = min(n, most)
	if packed && cut && o.flags == packedLZ4 {
		return nil, false, fmt.Errorf("data at offset %#x of %d bytes of lz4: %w", off, o.size, evidence.ErrUnsupported)
	}
	b, err = j.raw(off+at, int(n))
	if err != nil || !packed {
		return b, cut, err
	}
	b, more, err := j.items.unpack.unpack(o.flags, b)
	if err != nil {
		if !errors.Is(err, evidence.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", err, evidence.ErrCorrupt)
		}
		return nil, false, fmt.Errorf("data at offset %#x: %w", off, err)
	}
	j.r.work += uint64(len(b))
	return b, more || cut, nil
}

// raw reads n bytes, which lie in the file.
func (j *Journal) raw(off uint64, n int) ([]byte, error) {
	if off+uint64(n) > j.r.size {
		return nil, fmt.Errorf("%d bytes at offset %#x: %w", n, off, evidence.ErrCorrupt)
	}
	if cap(j.items.buf) < n {
		j.items.buf = make([]byte, n) // they are in the file: n is at most its size
	}
	return j.r.bytes(off, n, j.items.buf[:cap(j.items.buf)])
}

// unpacker decompresses values. Its buffers are reused.
type unpacker struct {
	out  []byte
	zstd *zstd.Decoder
}

// unpack returns the first maxPayload bytes of a value, and whether there are more.
func (u *unpacker) unpack(flags uint8, in []byte) ([]byte, bool, error) {
	switch flags {
	case packedXZ:
		return u.xz(in)
	case packedLZ4:
		return u.lz4(in)
	case packedZstd:
		return u.unzstd(in)
	}
	return nil, false, fmt.Errorf("object flags %#x: %w", flags, evidence.ErrUnsupported)
}

// lz4 reads the length, in eight bytes, and the block (compress_blob_lz4).
func (u *unpacker) lz4(in []byte) ([]byte, bool, error) {
	if len(in) <= 8 {
		return nil, false, io.ErrUnexpectedEOF
	}
	size := binary.LittleEndian.Uint64(in)
	in = in[8:]
	if size == 0 || size > uint64(len(in))*255 { // nothing, or more than lz4 can make of it
		return nil, false, fmt.Errorf("lz4: %d bytes say that they are %d", len(in), size)
	}
	if size > maxBlock {
		return nil, false, fmt.Errorf("lz4 of %d bytes: %w", size, evidence.ErrUnsupported)
	}
	if uint64(cap(u.out)) < size {
		u.out = make([]byte, size)
	}
	n, err := lz4.UncompressBlock(in, u.out[:size])
	if err != nil {
		return nil, false, fmt.Errorf("lz4: %w", err)
	}
	return u.out[:min(n, maxPayload)], n > maxPayload, nil
}

// xz looks at the header first: the dictionary is allocated as it says, and
// filters other than LZMA2 aren't known (The .xz File Format, section 3.1).
func (u *unpacker) xz(in []byte) ([]byte, bool, error) {
	const streamHeader = 12
	if len(in) < streamHeader+8 {
		return nil, false, io.ErrUnexpectedEOF
	}
	h := in[streamHeader:]
	flags, at := h[1], 2
	for _, present := range []bool{flags&0x40 != 0, flags&0x80 != 0} { // sizes, of variable length
		for present && at < len(h) && h[at]&0x80 != 0 {
			at++
		}
		if present {
			at++
		}
	}
	if flags&3 != 0 || at+2 >= len(h) || h[at] != 0x21 || h[at+1] != 1 {
		return nil, false, fmt.Errorf("xz with other filters than LZMA2: %w", evidence.ErrUnsupported)
	}
	if dict, err := lzma.DecodeDictCap(h[at+2]); err != nil || dict > maxDict {
		return nil, false, fmt.Errorf("xz with a dictionary of %d bytes: %w", dict, evidence.ErrUnsupported)
	}
	r, err := xz.ReaderConfig{DictCap: lzma.MinDictCap, SingleStream: true}.NewReader(bytes.NewReader(in))
	if err != nil {
		return nil, false, fmt.Errorf("xz: %w", err)
	}
	b, more, err := u.head(r)
	if err != nil {
		err = fmt.Errorf("xz: %w", err)
	}
	return b, more, err
}

func (u *unpacker) unzstd(in []byte) ([]byte, bool, error) {
	if u.zstd == nil {
		var err error
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
		if err != nil {
			return nil, false, err
		}
	}
	out, err := u.zstd.DecodeAll(in, u.out[:0])
	if err == nil {
		u.out = out[:0]
		return out[:min(len(out), maxPayload)], len(out) > maxPayload, nil
	}
	if !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, false, fmt.Errorf("zstd: %w", err)
	}
	return u.longZstd(in)
}

// longZstd reads the head of a value of over maxWindow bytes.
func (u *unpacker) longZstd(in []byte) ([]byte, bool, error) {
	d, err := zstd.NewReader(bytes.NewReader(in), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, false, fmt.Errorf("zstd: %w", err)
	}
	defer d.Close()
	b, more, err := u.head(d)
	if err != nil {
		err = fmt.Errorf("zstd: %w", err)
	}
	return b, more, err
}

// head reads maxPayload bytes, and says whether there are more.
func (u *unpacker) head(r io.Reader) ([]byte, bool, error) {
	var w bytes.Buffer
	w.Grow(4096)
	n, err := io.Copy(&w, io.LimitReader(r, maxPayload+1))
	if err != nil {
		return nil, false, err
	}
	b := w.Bytes()
	return b[:min(len(b), maxPayload)], n > maxPayload, nil
}
