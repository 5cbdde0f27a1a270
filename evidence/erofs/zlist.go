package erofs

import (
	"encoding/binary"
	"fmt"

	"lagan/evidence"
)

// listed finds an extent in a list of struct z_erofs_extent, of which the
// first fields may be all that is recorded: z_erofs_map_blocks_ext.
func (z *zfile) listed(pos uint64) (extent, error) {
	record := uint64(4) << (z.advise >> adviseRecordShift & adviseRecordMask)
	at := alignUp(z.header+mapHeaderSize, record)
	if record <= 8 {
		return z.listedEqual(pos, at, record)
	}
	var length uint32
	e, end := extent{start: z.in.size}, z.in.size
	l, r := uint64(0), z.extents
	for l < r {
		mid := l + (r-l)/2
		var b [32]byte
		if err := z.fs.readMeta(z.in.meta, b[:record], at+mid*record); err != nil {
			return e, err
		}
		start := uint64(binary.LittleEndian.Uint32(b[12:]))
		if record > 16 {
			start |= uint64(binary.LittleEndian.Uint32(b[16:])) << 32
		}
		if start > pos {
			if start > end {
				return e, fmt.Errorf("extent %d from %#x: %w", mid, start, evidence.ErrCorrupt)
			}
			r, end = mid, start
			continue
		}
		l = mid + 1
		e.start, e.pos = start, binary.LittleEndian.Uint64(b[4:])
		length = binary.LittleEndian.Uint32(b[:])
	}
	e.length = end - min(e.start, end)
	if l >= z.extents && z.advise&adviseFragment != 0 {
		e.fragment = true
		z.fragment = uint64(length) | e.pos<<32
		return e, nil
	}
	return z.sized(e, length), nil
}

// listedEqual is for records of extents of one length: without their start in
// the file, and at four bytes without their block, each behind the one before.
func (z *zfile) listedEqual(pos, at, record uint64) (extent, error) {
	var b [8]byte
	i := pos >> z.bits
	e := extent{start: i << z.bits}
	e.length = min(1<<z.bits, z.in.size-e.start)
	if record == 8 {
		if err := z.fs.readMeta(z.in.meta, b[:], at+i*8); err != nil {
			return e, err
		}
		e.pos = uint64(binary.LittleEndian.Uint32(b[4:]))
		return z.tailOrSized(e, binary.LittleEndian.Uint32(b[:]), uint64(binary.LittleEndian.Uint32(b[4:]))), nil
	}
	if err := z.fs.readMeta(z.in.meta, b[:], at); err != nil {
		return e, err
	}
	e.pos = binary.LittleEndian.Uint64(b[:])
	if i > maxEqual {
		return e, fmt.Errorf("extent %d of a list without addresses: %w", i, evidence.ErrUnsupported)
	}
	lengths := make([]byte, 4*(i+1))
	if err := z.fs.readMeta(z.in.meta, lengths, at+8); err != nil {
		return e, err
	}
	for j := range i {
		e.pos += uint64(binary.LittleEndian.Uint32(lengths[4*j:]) & extentLenMask)
	}
	return z.tailOrSized(e, binary.LittleEndian.Uint32(lengths[4*i:]), 0), nil
}

// maxEqual bounds what is added up of one list of lengths: 1 MiB of them.
const maxEqual = 1 << 18

// tailOrSized tells the fragment at the end of a file from an extent.
func (z *zfile) tailOrSized(e extent, length uint32, high uint64) extent {
	if z.advise&adviseFragment != 0 && e.start+e.length >= z.in.size {
		e.fragment = true
		z.fragment = uint64(length) | high<<32
		return e
	}
	return z.sized(e, length)
}

// sized takes an extent's length, format and flags out of plen.
func (z *zfile) sized(e extent, length uint32) extent {
	e.size = uint64(length & extentLenMask)
	format := uint8(length >> extentFmtShift)
	mask := uint64(1)<<z.fs.sb.blockBits - 1
	switch {
	case e.size == 0:
		e.hole = true
	case format > 0:
		e.alg = format - 1
	case z.advise&adviseInterlaced != 0 && (e.pos|e.size)&mask == 0:
		e.alg = algInterlaced
	default:
		e.alg = algShifted
	}
	return e
}
