package xlog

import (
	"encoding/binary"
	"fmt"
	"slices"

	"lagan/evidence"
)

// The deferred mapping operations (XFS_BMAP_MAP, XFS_BMAP_UNMAP) and their flags
// in struct xfs_map_extent.
const (
	bmapMap       = 1
	bmapUnmap     = 2
	bmapTypeMask  = 0xff
	bmapAttrFork  = 1 << 31
	bmapUnwritten = 1 << 30
	bmapRealtime  = 1 << 29
)

// XFS_EXCHMAPS_*: the flags in struct xfs_xmi_log_format. Those that clear the
// reflink flag change nothing that is shown.
const (
	exchangeAttrFork = 1 << 0
	exchangeSizes    = 1 << 1
	exchangeWritten  = 1 << 2 // only where file 1 has written blocks
	exchangeKnown    = 1<<5 - 1
)

// maxFileBlock is XFS_MAX_FILEOFF.
const maxFileBlock = 1<<54 - 1

// finishBmap carries out a block mapping operation (xfs_bmap_recover_work, xfs_bmap_finish_one).
func (rp *replayer) finishBmap(b []byte) error {
	if len(b) < 48 || rp.order.Uint32(b[4:]) != 1 {
		return fmt.Errorf("block mapping intent of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	ino := rp.order.Uint64(b[16:])
	m := mapping{block: rp.order.Uint64(b[24:]), off: rp.order.Uint64(b[32:]), count: uint64(rp.order.Uint32(b[40:]))}
	flags := rp.order.Uint32(b[44:])
	m.unwritten = flags&bmapUnwritten != 0
	if flags&bmapRealtime != 0 {
		return fmt.Errorf("inode %d: mapping of the realtime device: %w", ino, evidence.ErrUnsupported)
	}
	_, ok := rp.geo.offset(m.block)
	if !ok || m.count == 0 || m.count > maxExtentLen || m.off > maxFileBlock-m.count {
		return fmt.Errorf("inode %d: mapping of %d blocks at %#x to %#x: %w", ino, m.count, m.off, m.block, evidence.ErrCorrupt)
	}
	f, err := rp.openFork(ino, flags&bmapAttrFork != 0)
	if err != nil {
		return err
	}
	switch flags & bmapTypeMask {
	case bmapMap:
		if err := f.put(m); err != nil {
			return err
		}
	case bmapUnmap:
		f.cut(m)
	default:
		return fmt.Errorf("inode %d: mapping operation %d: %w", ino, flags&bmapTypeMask, evidence.ErrCorrupt)
	}
	return f.save()
}

// finishExchange carries out what is left of an exchange of two files' mappings
// (xfs_exchmaps_finish_one). The steps before it left mapping operations, if any, of
// their own. The files get the sizes that were logged; Linux 6.18 takes those
// that they have half-way (mended by "actually recover intended file sizes in
// xfs_xmi_item_recover_intent"), and then cuts off what lies behind.
func (rp *replayer) finishExchange(b []byte) error {
	x, err := parseExchange(rp.order, b)
	if err != nil {
		return err
	}
	f1, f2, err := rp.openPair(x)
	if err != nil {
		return err
	}
	ranges := []mapping{{off: x.off[0], count: x.count}}
	if x.flags&exchangeWritten != 0 {
		_, there := split(f1.maps, ranges)
		ranges = slices.DeleteFunc(there, func(m mapping) bool { return m.unwritten })
	}
	toSecond := x.off[1] - x.off[0]
	m1, m2 := f1.cut(ranges...), f2.cut(shift(ranges, toSecond)...)
	if err := f1.put(shift(m2, -toSecond)...); err != nil {
		return err
	}
	if err := f2.put(shift(m1, toSecond)...); err != nil {
		return err
	}
	if x.flags&exchangeSizes != 0 && x.flags&exchangeAttrFork == 0 {
		binary.BigEndian.PutUint64(f2.d[inodeSize:], x.size[1])
		binary.BigEndian.PutUint64(f1.d[inodeSize:], x.size[0])
	}
	if err := f1.save(); err != nil || f1 == f2 {
		return err
	}
	return f2.save()
}

// shift moves mappings within the file.
func shift(maps []mapping, by uint64) []mapping {
	out := slices.Clone(maps)
	for i := range out {
		out[i].off += by
	}
	return out
}

// openPair opens the forks of an exchange; both may be of one file.
func (rp *replayer) openPair(x exchangeIntent) (f1, f2 *fork, err error) {
	var f [2]*fork
	for i, ino := range x.ino {
		if i == 1 && ino == x.ino[0] {
			f[1] = f[0]
			break
		}
		if f[i], err = rp.openFork(ino, x.flags&exchangeAttrFork != 0); err != nil {
			return nil, nil, err
		}
		if binary.BigEndian.Uint32(f[i].d[inodeGen:]) != x.gen[i] {
			return nil, nil, fmt.Errorf("inode %d: exchange with another generation of it: %w", ino, evidence.ErrCorrupt)
		}
	}
	return f[0], f[1], nil
}

// exchangeIntent is struct xfs_xmi_log_format.
type exchangeIntent struct {
	ino, off, size [2]uint64
	gen            [2]uint32
	count, flags   uint64
}

func parseExchange(o binary.ByteOrder, b []byte) (x exchangeIntent, err error) {
	if len(b) < maxIntentBody {
		return x, fmt.Errorf("mapping exchange intent of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	x.count, x.flags = o.Uint64(b[56:]), o.Uint64(b[64:])
	for i := range x.ino {
		x.ino[i], x.gen[i] = o.Uint64(b[16+i*8:]), o.Uint32(b[32+i*4:])
		x.off[i], x.size[i] = o.Uint64(b[40+i*8:]), o.Uint64(b[72+i*8:])
	}
	if x.flags&^exchangeKnown != 0 {
		return x, fmt.Errorf("inodes %d and %d: exchange flags %#x: %w", x.ino[0], x.ino[1], x.flags, evidence.ErrUnsupported)
	}
	if x.count > maxFileBlock || x.off[0] > maxFileBlock-x.count || x.off[1] > maxFileBlock-x.count {
		return x, fmt.Errorf("inodes %d and %d: exchange of %#x blocks at %#x and %#x: %w", x.ino[0], x.ino[1], x.count, x.off[0], x.off[1], evidence.ErrCorrupt)
	}
	return x, nil
}

// changeOwners makes the blocks of a fork's btree name the inode that has them
// since two files exchanged their extents (xfs_recover_inode_owner_change).
func (rp *replayer) changeOwners(in inodeFormat, d []byte) error {
	be := binary.BigEndian
	if in.fields&(ilogDOwner|ilogAOwner) == 0 || !rp.geo.V5 || be.Uint16(d[2:]) == 0 {
		return nil
	}
	for _, attr := range [...]bool{false, true} {
		flag := uint32(ilogDOwner)
		if attr {
			flag = ilogAOwner
		}
		f := &fork{rp: rp, ino: in.ino, d: slices.Clone(d), attr: attr}
		if in.fields&flag == 0 || *f.format() != formatBtree {
			continue
		}
		if err := f.load(); err != nil {
			return err
		}
		for _, fsb := range f.blocks {
			off, ok := rp.geo.offset(fsb)
			b := rp.buf(rp.geo.BlockSize)
			if err := rp.ov.read(b, off); err != nil || !ok {
				return err
			}
			be.PutUint64(b[56:], in.ino) // bb_owner
			putCRC(b, 64)
			if err := rp.ov.write(b, off); err != nil {
				return err
			}
		}
	}
	return nil
}
