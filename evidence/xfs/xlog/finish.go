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
		f.cut(m.off, m.count)
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
	if len(b) < maxIntentBody {
		return fmt.Errorf("mapping exchange intent of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	o := rp.order
	ino1, ino2 := o.Uint64(b[16:]), o.Uint64(b[24:])
	off1, off2, n, flags := o.Uint64(b[40:]), o.Uint64(b[48:]), o.Uint64(b[56:]), o.Uint64(b[64:])
	if flags&^exchangeKnown != 0 {
		return fmt.Errorf("inodes %d and %d: exchange flags %#x: %w", ino1, ino2, flags, evidence.ErrUnsupported)
	}
	if n > maxFileBlock || off1 > maxFileBlock-n || off2 > maxFileBlock-n {
		return fmt.Errorf("inodes %d and %d: exchange of %#x blocks at %#x and %#x: %w", ino1, ino2, n, off1, off2, evidence.ErrCorrupt)
	}
	attr := flags&exchangeAttrFork != 0
	f1, err := rp.openFork(ino1, attr)
	if err != nil {
		return err
	}
	f2 := f1
	if ino1 != ino2 {
		if f2, err = rp.openFork(ino2, attr); err != nil {
			return err
		}
	}
	for i, f := range [...]*fork{f1, f2} {
		if binary.BigEndian.Uint32(f.d[inodeGen:]) != o.Uint32(b[32+4*i:]) {
			return fmt.Errorf("inode %d: exchange with another generation of it: %w", f.ino, evidence.ErrCorrupt)
		}
	}
	ranges := []mapping{{off: off1, count: n}}
	if flags&exchangeWritten != 0 {
		ranges = slices.DeleteFunc(f1.within(off1, n), func(m mapping) bool { return m.unwritten })
	}
	for _, r := range ranges {
		if err := exchange(f1, f2, r.off, off2+r.off-off1, r.count); err != nil {
			return err
		}
	}
	if flags&exchangeSizes != 0 && !attr {
		binary.BigEndian.PutUint64(f1.d[inodeSize:], o.Uint64(b[72:]))
		binary.BigEndian.PutUint64(f2.d[inodeSize:], o.Uint64(b[80:]))
	}
	if err := f1.save(); err != nil || f1 == f2 {
		return err
	}
	return f2.save()
}

// exchange swaps the mappings of n blocks.
func exchange(f1, f2 *fork, off1, off2, n uint64) error {
	a, b := f1.cut(off1, n), f2.cut(off2, n)
	for _, m := range b {
		m.off += off1 - off2
		if err := f1.put(m); err != nil {
			return err
		}
	}
	for _, m := range a {
		m.off += off2 - off1
		if err := f2.put(m); err != nil {
			return err
		}
	}
	return nil
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
