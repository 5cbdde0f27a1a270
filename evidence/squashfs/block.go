package squashfs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	lzo "github.com/anchore/go-lzo"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"lagan/evidence"
)

// blockCache keeps decompressed blocks by where they lie.
type blockCache struct {
	max    int
	blocks map[uint64]*block
	tick   uint64
}

type block struct {
	data []byte
	pos  uint64
	next uint64 // where the block behind it begins
	err  error  // it can't be decompressed, and needn't be tried again
	used uint64
}

func (c *blockCache) get(pos uint64) *block {
	b := c.blocks[pos]
	if b != nil {
		c.tick++
		b.used = c.tick
	}
	return b
}

func (c *blockCache) put(pos uint64, b *block) {
	if c.blocks == nil {
		c.blocks = map[uint64]*block{}
	}
	if len(c.blocks) >= c.max {
		oldest := pos
		for p, o := range c.blocks {
			if oldest == pos || o.used < c.blocks[oldest].used {
				oldest = p
			}
		}
		delete(c.blocks, oldest)
	}
	c.tick++
	b.used = c.tick
	c.blocks[pos] = b
}

// metadataAt returns the metadata block at pos: two bytes of length before it
// (squashfs_read_data, block.c).
func (f *FS) metadataAt(pos uint64) (*block, error) {
	f.mu.Lock()
	b := f.metadata.get(pos)
	f.mu.Unlock()
	if b != nil {
		return b, b.err
	}
	var head [2]byte
	if err := f.read(head[:], pos); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint16(head[:])
	size := int(length &^ metadataPlain)
	if size == 0 { // SQUASHFS_COMPRESSED_SIZE
		size = metadataPlain
	}
	raw := make([]byte, size)
	if err := f.read(raw, pos+2); err != nil {
		return nil, err
	}
	b = &block{data: raw, pos: pos, next: pos + 2 + uint64(size)}
	if length&metadataPlain == 0 {
		b.data, b.err = f.dec.decode(raw, metadataSize)
	}
	if b.err == nil && (len(b.data) > metadataSize || len(b.data) == 0) {
		b.err = fmt.Errorf("%d bytes: %w", len(b.data), evidence.ErrCorrupt)
	}
	if b.err != nil {
		b.err = fmt.Errorf("metadata block at %#x: %w", pos, b.err)
	}
	f.mu.Lock()
	f.metadata.put(pos, b)
	f.mu.Unlock()
	return b, b.err
}

// cursor reads on through metadata blocks.
type cursor struct {
	fs    *FS
	block *block
	off   int
}

// at returns a cursor at an offset in the metadata block at pos.
func (f *FS) at(pos uint64, off int) (*cursor, error) {
	b, err := f.metadataAt(pos)
	if err != nil {
		return nil, err
	}
	if off > len(b.data) {
		return nil, fmt.Errorf("offset %#x in the metadata block at %#x: %w", off, pos, evidence.ErrCorrupt)
	}
	return &cursor{f, b, off}, nil
}

// read fills b (squashfs_read_metadata, cache.c). What is asked for at once is bounded by callers.
func (c *cursor) read(b []byte) error {
	for len(b) > 0 {
		if c.off == len(c.block.data) {
			next, err := c.fs.metadataAt(c.block.next)
			if err != nil {
				return err
			}
			c.block, c.off = next, 0
		}
		n := copy(b, c.block.data[c.off:])
		b = b[n:]
		c.off += n
	}
	return nil
}

// entry reads one of the entries of a table that is a list of metadata blocks.
func (f *FS) entry(b []byte, table uint64, i uint64) error {
	per := uint64(metadataSize / len(b))
	var p [8]byte
	if err := f.read(p[:], table+i/per*8); err != nil {
		return err
	}
	c, err := f.at(binary.LittleEndian.Uint64(p[:]), int(i%per)*len(b))
	if err != nil {
		return err
	}
	return c.read(b)
}

// decoder decompresses blocks.
type decoder struct {
	kind uint16
	zstd sync.Pool
	zlib sync.Pool
}

var errLong = errors.New("more than a block comes out")

// decode decompresses one block, of at most most bytes.
func (d *decoder) decode(in []byte, most int) (out []byte, err error) {
	switch d.kind {
	case compGzip:
		out, err = d.inflate(in, most)
	case compLZMA:
		out, err = decodeLZMA(in, most)
	case compLZO:
		out = make([]byte, most)
		var n int
		n, err = decodeLZO(in, out)
		out = out[:n]
	case compXZ:
		out, err = decodeXZ(in, most)
	case compLZ4:
		out = make([]byte, most)
		var n int
		n, err = lz4.UncompressBlock(in, out)
		out = out[:max(n, 0)]
	case compZstd:
		out, err = d.unzstd(in, most)
	}
	if err != nil {
		if !errors.Is(err, evidence.ErrUnsupported) {
			err = fmt.Errorf("%s: %w: %w", compNames[d.kind], err, evidence.ErrCorrupt)
		}
		return nil, err
	}
	return out, nil
}

// readMost reads all of r, to its end and the checksum there; it must not be
// more than most bytes.
func readMost(r io.Reader, most int) ([]byte, error) {
	out := make([]byte, most)
	n := 0
	for n < most {
		k, err := r.Read(out[n:])
		n += k
		if err == io.EOF {
			return out[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
	var b [1]byte
	k, err := io.ReadFull(r, b[:])
	if k > 0 {
		return nil, errLong
	}
	if err != io.EOF {
		return nil, err
	}
	return out, nil
}

func (d *decoder) inflate(in []byte, most int) ([]byte, error) {
	r, ok := d.zlib.Get().(io.ReadCloser)
	var err error
	if ok {
		err = r.(zlib.Resetter).Reset(bytes.NewReader(in), nil)
	} else {
		r, err = zlib.NewReader(bytes.NewReader(in))
	}
	if err != nil {
		return nil, err
	}
	defer d.zlib.Put(r)
	return readMost(r, most)
}

func (d *decoder) unzstd(in []byte, most int) ([]byte, error) {
	z, ok := d.zstd.Get().(*zstd.Decoder)
	if !ok {
		var err error
		z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(2<<maxBlockLog))
		if err != nil {
			return nil, err
		}
	}
	defer d.zstd.Put(z)
	out, err := z.DecodeAll(in, make([]byte, 0, most))
	if err == nil && len(out) > most {
		err = errLong
	}
	return out, err
}

// maxDict bounds a dictionary: mksquashfs uses a block's size at most.
const maxDict = 1 << maxBlockLog

// decodeLZMA decodes an .lzma file, as the LZMA SDK writes it.
func decodeLZMA(in []byte, most int) ([]byte, error) {
	if len(in) < lzma.HeaderLen {
		return nil, io.ErrUnexpectedEOF
	}
	if dict := binary.LittleEndian.Uint32(in[1:]); dict > maxDict {
		return nil, fmt.Errorf("lzma: dictionary of %d bytes: %w", dict, evidence.ErrUnsupported)
	}
	r, err := lzma.ReaderConfig{DictCap: maxDict}.NewReader(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	return readMost(r, most)
}

// decodeXZ decodes an xz stream of one block. Its header is looked at first: the
// dictionary is allocated as it says, and filters other than LZMA2 aren't known
// (The .xz File Format, section 3.1).
func decodeXZ(in []byte, most int) ([]byte, error) {
	const streamHeader = 12
	if len(in) < streamHeader+8 {
		return nil, io.ErrUnexpectedEOF
	}
	h := in[streamHeader:]
	flags, at := h[1], 2
	for _, present := range []bool{flags&0x40 != 0, flags&0x80 != 0} { // sizes, as variable-length integers
		for present && at < len(h) && h[at]&0x80 != 0 {
			at++
		}
		if present {
			at++
		}
	}
	if flags&3 != 0 || at+2 >= len(h) || h[at] != 0x21 || h[at+1] != 1 {
		return nil, fmt.Errorf("xz with other filters than LZMA2: %w", evidence.ErrUnsupported)
	}
	if dict, err := lzma.DecodeDictCap(h[at+2]); err != nil || dict > maxDict {
		return nil, fmt.Errorf("xz: dictionary of %d bytes: %w", dict, evidence.ErrUnsupported)
	}
	r, err := xz.ReaderConfig{DictCap: lzma.MinDictCap, SingleStream: true}.NewReader(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	return readMost(r, most)
}

// decodeLZO keeps a panic of the library from going further than the block.
func decodeLZO(in, out []byte) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, fmt.Errorf("%v", p)
		}
	}()
	return lzo.Decompress(in, out)
}
