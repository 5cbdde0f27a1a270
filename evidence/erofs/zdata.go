package erofs

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"

	"lagan/evidence"
)

// How many decompressed extents a reader keeps: a file is mostly read from one
// end to the other, the inodes that hold pieces of others are not.
const (
	fileCache    = 1
	specialCache = 6
)

// extentCache keeps the extents last read of a file.
type extentCache struct {
	mu   sync.Mutex
	max  int
	last []cachedExtent // the latest in front
}

type cachedExtent struct {
	extent
	data []byte
	err  error // it can't be decompressed, and needn't be tried again
}

func (c *extentCache) get(pos uint64) *cachedExtent {
	for i := range c.last {
		if e := c.last[i]; pos >= e.start && pos-e.start < e.length {
			copy(c.last[1:], c.last[:i])
			c.last[0] = e
			return &c.last[0]
		}
	}
	return nil
}

func (c *extentCache) put(e cachedExtent) {
	if len(c.last) < c.max {
		c.last = append(c.last, cachedExtent{})
	}
	copy(c.last[1:], c.last)
	c.last[0] = e
}

// ReadAt implements io.ReaderAt within the file's size.
func (z *zfile) ReadAt(b []byte, off int64) (int, error) {
	z.cache.mu.Lock()
	defer z.cache.mu.Unlock()
	return readRuns(z.in.size, b, off, z.read)
}

func (z *zfile) read(b []byte, pos uint64) (int, error) {
	if c := z.cache.get(pos); c != nil {
		if c.err != nil {
			return 0, c.err
		}
		return copy(b, c.data[pos-c.start:]), nil
	}
	e, err := z.extentAt(pos)
	if err != nil {
		return 0, err
	}
	within := pos - e.start
	b = b[:min(uint64(len(b)), e.length-within)]
	switch {
	case e.hole:
		clear(b)
		return len(b), nil
	case e.fragment:
		return z.readFragment(b, within)
	}
	data, err := z.decompress(e)
	if err != nil {
		err = fmt.Errorf("inode %d: %s data at %#x for %#x: %w", z.in.nid, algNames[e.alg], e.pos, e.start, err)
		if errors.Is(err, evidence.ErrCorrupt) {
			z.cache.put(cachedExtent{e, nil, err})
		}
		return 0, err
	}
	z.cache.put(cachedExtent{e, data, nil})
	return copy(b, data[within:]), nil
}

// readFragment reads from the packed inode. No fragment may lead back to itself:
// not from that inode, nor from the metabox where that inode lies in it.
func (z *zfile) readFragment(b []byte, within uint64) (int, error) {
	sb := &z.fs.sb
	if z.fs.packed == nil || z.in.nid == sb.packed || z.in.nid == sb.metabox && sb.packed&metaboxBit != 0 {
		return 0, fmt.Errorf("inode %d: a fragment, and no packed inode: %w", z.in.nid, evidence.ErrCorrupt)
	}
	if z.fragment > 1<<62 {
		return 0, fmt.Errorf("inode %d: fragment at %#x: %w", z.in.nid, z.fragment, evidence.ErrCorrupt)
	}
	if err := readFull(z.fs.packed, b, int64(z.fragment+within)); err != nil {
		return 0, fmt.Errorf("inode %d: fragment: %w", z.in.nid, err)
	}
	return len(b), nil
}

// decompress reads and decompresses an extent; check has bounded both sizes.
func (z *zfile) decompress(e extent) ([]byte, error) {
	in := make([]byte, e.size)
	var err error
	if e.inline {
		err = z.fs.readMeta(z.in.meta, in, e.pos)
	} else {
		err = z.fs.at(0, e.pos, in)
	}
	if err != nil {
		return nil, err
	}
	out := make([]byte, e.length)
	switch e.alg {
	case algShifted:
		copy(out, in)
		return out, nil
	case algInterlaced:
		z.unrotate(out, in, e.start)
		return out, nil
	}
	if e.alg != algLZ4 || z.fs.sb.incompat&incompatZeroPadding != 0 {
		if in, err = z.trim(in); err != nil {
			return nil, err
		}
	}
	return out, z.fs.decode(e.alg, out, in)
}

// unrotate puts each byte at the offset within its block that it has in the
// file: what comes first stands at the end (z_erofs_transform_plain).
func (z *zfile) unrotate(out, in []byte, start uint64) {
	bs := uint64(1) << z.fs.sb.blockBits
	first := bs - start&(bs-1)
	n := copy(out, in[uint64(len(in))-min(first, uint64(len(in))):])
	if uint64(n) > first {
		n = int(first)
	}
	copy(out[n:], in)
}

// trim leaves out the zeros that fill the first block of a cluster up in front
// (z_erofs_fixup_insize).
func (z *zfile) trim(in []byte) ([]byte, error) {
	most := min(len(in), 1<<z.fs.sb.blockBits)
	for i := range most {
		if in[i] != 0 {
			return in[i:], nil
		}
	}
	return nil, fmt.Errorf("nothing but zeros: %w", evidence.ErrCorrupt)
}

// decode fills out. The compressed data may go on: clusters are shared.
func (f *FS) decode(alg uint8, out, in []byte) error {
	var r io.Reader
	switch alg {
	case algLZ4:
		if n := lz4Block(out, in); n < len(out) {
			return fmt.Errorf("ends after %d bytes of %d: %w", n, len(out), evidence.ErrCorrupt)
		}
		return nil
	case algLZMA:
		var err error
		if r, err = f.lzma(in, len(out)); err != nil {
			return fmt.Errorf("%w: %w", err, evidence.ErrCorrupt)
		}
	case algDeflate:
		r = flate.NewReader(bytes.NewReader(in))
	case algZstd:
		d, err := f.zstd.get(in)
		if err != nil {
			return fmt.Errorf("%w: %w", err, evidence.ErrCorrupt)
		}
		defer f.zstd.put(d)
		r = d
	}
	if n, err := io.ReadFull(r, out); err != nil {
		return fmt.Errorf("ends after %d bytes of %d: %w: %w", n, len(out), err, evidence.ErrCorrupt)
	}
	return nil
}

// lzma reads what the kernel calls MicroLZMA (lib/xz, xz_dec_microlzma): an LZMA
// stream without a header, whose first byte, always zero, is replaced by the
// negated properties.
func (f *FS) lzma(in []byte, size int) (io.Reader, error) {
	// No more of a dictionary is ever needed than comes out.
	dict := min(max(uint32(size), lzma.MinDictCap), max(f.lzmaDict, lzma.MinDictCap))
	head := append(make([]byte, 0, lzma.HeaderLen+1), ^in[0])
	head = binary.LittleEndian.AppendUint32(head, dict)
	head = binary.LittleEndian.AppendUint64(head, uint64(size))
	return lzma.NewReader(io.MultiReader(bytes.NewReader(append(head, 0)), bytes.NewReader(in[1:])))
}

// zstdPool keeps decoders, which are costly to make.
type zstdPool struct{ pool sync.Pool }

func (p *zstdPool) get(in []byte) (*zstd.Decoder, error) {
	if d, ok := p.pool.Get().(*zstd.Decoder); ok {
		return d, d.Reset(bytes.NewReader(in))
	}
	return zstd.NewReader(bytes.NewReader(in), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(2*maxExtent), zstd.WithDecoderMaxMemory(4*maxExtent))
}

func (p *zstdPool) put(d *zstd.Decoder) {
	if d.Reset(nil) == nil {
		p.pool.Put(d)
	}
}

// readCompression reads the configuration of each algorithm, which follow the
// superblock: z_erofs_parse_cfgs (decompressor.c).
func (f *FS) readCompression() error {
	if f.sb.incompat&incompatComprCfgs == 0 {
		f.sb.algs = 1 << algLZ4 // the field was the LZ4 distance
		return nil
	}
	pos := uint64(superOffset + superSize + extSlotSize*int(f.sb.extSlots))
	for alg := range algShifted {
		if f.sb.algs&(1<<alg) == 0 {
			continue
		}
		b, err := f.readSized(f.meta, &pos, 1<<f.sb.blockBits)
		if err != nil {
			return fmt.Errorf("configuration of %s at %#x: %w", algNames[alg], pos, err)
		}
		if alg == algLZMA {
			if len(b) < 4 {
				return fmt.Errorf("configuration of lzma at %#x: %d bytes: %w", pos, len(b), evidence.ErrCorrupt)
			}
			if f.lzmaDict = binary.LittleEndian.Uint32(b); f.lzmaDict > maxDict {
				return fmt.Errorf("configuration of lzma at %#x: dictionary of %d bytes: %w", pos, f.lzmaDict, evidence.ErrUnsupported)
			}
		}
	}
	if unknown := f.sb.algs >> algShifted; unknown != 0 {
		f.o.Warning(fmt.Errorf("erofs with compression algorithms %#x, some unknown: %w", f.sb.algs, evidence.ErrUnsupported))
	}
	return nil
}

var errLZ4 = errors.New("lz4")

// lz4Block decodes an LZ4 block until out is full, and returns how much of it
// is: less where the data ends or contradicts itself. LZ4 block format,
// lz4_Block_format.md; the libraries can't stop in the middle of a sequence.
func lz4Block(out, in []byte) int {
	o, i := 0, 0
	for i < len(in) {
		token := in[i]
		i++
		literals, next, err := lz4Length(in, i, int(token>>4))
		if err != nil {
			return o
		}
		i = next
		n := copy(out[o:], in[i:min(len(in), i+literals)])
		o += n
		i += literals
		if o == len(out) || i+2 > len(in) {
			return o
		}
		distance := int(in[i]) | int(in[i+1])<<8
		length, next, err := lz4Length(in, i+2, int(token&15))
		if err != nil || distance == 0 || distance > o {
			return o
		}
		i = next
		for end := min(len(out), o+length+4); o < end; {
			// A match may reach into what it writes.
			o += copy(out[o:end], out[o-distance:o])
		}
		if o == len(out) {
			return o
		}
	}
	return o
}

// lz4Length reads a length: 15 says that bytes follow that add to it, to the
// first that isn't 255.
func lz4Length(in []byte, i, n int) (length, next int, err error) {
	if n < 15 {
		return n, i, nil
	}
	for ; i < len(in); i++ {
		n += int(in[i])
		if in[i] != 255 {
			return n, i + 1, nil
		}
	}
	return 0, i, errLZ4
}
