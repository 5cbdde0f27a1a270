package erofs

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"lagan/evidence"
)

// flatFile is a file of consecutive blocks, of whose last the rest may lie
// behind the inode: erofs_map_blocks (data.c).
type flatFile struct {
	fs *FS
	in inode
}

// ReadAt implements io.ReaderAt within the file's size, which callers keep to.
func (r flatFile) ReadAt(b []byte, off int64) (int, error) {
	return readRuns(r.in.size, b, off, func(b []byte, pos uint64) (int, error) {
		tail := r.in.size
		if r.in.layout == layoutInline && tail > 0 {
			tail = (r.fs.blockCount(tail) - 1) << r.fs.sb.blockBits
		}
		if pos >= tail {
			at := r.in.data + (pos - tail)
			bs := uint64(1) << r.fs.sb.blockBits
			if r.in.data&(bs-1)+(r.in.size-tail) > bs {
				return 0, fmt.Errorf("inode %d: inline data across blocks: %w", r.in.nid, evidence.ErrCorrupt)
			}
			return len(b), r.fs.readMeta(r.in.meta, b, at)
		}
		b = b[:min(uint64(len(b)), tail-pos)]
		block := r.in.startBlock(r.fs)
		if block == math.MaxUint64 {
			clear(b)
			return len(b), nil
		}
		return len(b), r.fs.at(0, block<<r.fs.sb.blockBits+pos, b)
	})
}

// startBlock is the first block of a flat file; all ones is a hole.
func (in *inode) startBlock(f *FS) uint64 {
	block := uint64(in.union)
	if f.sb.incompat&incompat48Bit != 0 {
		block |= uint64(in.high) << 32
		if in.layout == layoutPlain && block == 1<<48-1 {
			return math.MaxUint64
		}
	}
	if in.layout == layoutPlain && uint32(block) == math.MaxUint32 && in.high == 0 {
		return math.MaxUint64
	}
	return block
}

// readRuns fills b from a file of size bytes, part by part: read fills what it
// can of its argument at a position and says how much that was.
func readRuns(size uint64, b []byte, off int64, read func(b []byte, pos uint64) (int, error)) (int, error) {
	if off < 0 || uint64(off) >= size {
		return 0, io.EOF
	}
	var end error
	if left := size - uint64(off); uint64(len(b)) > left {
		b, end = b[:left], io.EOF
	}
	done := 0
	for done < len(b) {
		n, err := read(b[done:], uint64(off)+uint64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, end
}

// chunkFile is a file of equal chunks, each anywhere: erofs_map_chunks (data.c).
type chunkFile struct {
	fs    *FS
	in    inode
	bits  uint8
	wide  bool // 8-byte indexes instead of block numbers
	index uint64
	mask  uint64 // of addresses
}

func (f *FS) openChunks(in inode) (io.ReaderAt, error) {
	format := uint16(in.union)
	if format&^chunkSupported != 0 {
		return nil, fmt.Errorf("inode %d: chunk format %#x: %w", in.nid, format, evidence.ErrUnsupported)
	}
	r := chunkFile{fs: f, in: in, bits: f.sb.blockBits + uint8(format&chunkBitsMask), wide: format&chunkIndexes != 0, mask: math.MaxUint32}
	if format&chunk48Bit != 0 {
		r.mask = 1<<48 - 1
	}
	r.index = alignUp(in.data, r.unit())
	return r, nil
}

func (r chunkFile) unit() uint64 {
	if r.wide {
		return 8
	}
	return 4
}

// ReadAt implements io.ReaderAt within the file's size.
func (r chunkFile) ReadAt(b []byte, off int64) (int, error) {
	return readRuns(r.in.size, b, off, func(b []byte, pos uint64) (int, error) {
		chunk, within := pos>>r.bits, pos&(1<<r.bits-1)
		b = b[:min(uint64(len(b)), 1<<r.bits-within)]
		addr, dev, err := r.chunk(chunk)
		if err != nil {
			return 0, err
		}
		if addr == math.MaxUint64 {
			clear(b)
			return len(b), nil
		}
		return len(b), r.fs.at(dev, addr<<r.fs.sb.blockBits+within, b)
	})
}

// chunk returns the first block of a chunk, all ones for a hole, and its device.
func (r chunkFile) chunk(i uint64) (addr uint64, dev int, err error) {
	var raw [8]byte
	entry := raw[:r.unit()]
	if err := r.fs.readMeta(r.in.meta, entry, r.index+i*r.unit()); err != nil {
		return 0, 0, fmt.Errorf("inode %d: chunk %d: %w", r.in.nid, i, err)
	}
	if !r.wide {
		addr = uint64(binary.LittleEndian.Uint32(entry))
	} else {
		addr = uint64(binary.LittleEndian.Uint16(entry))<<32 | uint64(binary.LittleEndian.Uint32(entry[4:]))
		dev = int(binary.LittleEndian.Uint16(entry[2:]) & r.fs.deviceMask())
	}
	if addr &= r.mask; addr == r.mask {
		return math.MaxUint64, 0, nil
	}
	return addr, dev, nil
}

// deviceMask is device_id_mask (erofs_scan_devices): as many bits as the number
// of devices takes.
func (f *FS) deviceMask() uint16 {
	mask := uint16(0)
	for n := f.sb.devices; n > 0 && len(f.devs) > 0; n >>= 1 {
		mask = mask<<1 | 1
	}
	return mask
}

func alignUp(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }
