package xlog

import (
	"encoding/binary"
	"fmt"
	"time"

	"lagan/evidence"
)

// inodeFormat is struct xfs_inode_log_format.
type inodeFormat struct {
	fields uint32
	ino    uint64
	rdev   uint32
	location
	boffset int64
}

// parseInodeFormat decodes both layouts: that of 64-bit machines and that of
// 32-bit ones, which has no padding (xfs_inode_item_format_convert).
func parseInodeFormat(order binary.ByteOrder, b []byte) (inodeFormat, error) {
	pad := 0
	switch len(b) {
	case 56:
		pad = 4
	case 52:
	default:
		return inodeFormat{}, fmt.Errorf("inode format of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	tail := b[12+pad:]
	return inodeFormat{
		fields: order.Uint32(b[4:]), ino: order.Uint64(tail), rdev: order.Uint32(tail[8:]),
		location: location{int64(order.Uint64(tail[24:])), int32(order.Uint32(tail[32:]))},
		boffset:  int64(order.Uint32(tail[36:])),
	}, nil
}

// inode replays an inode item (xlog_recover_inode_commit_pass2).
func (rp *replayer) inode(it *item, lsn uint64) error {
	f, err := parseInodeFormat(rp.order, it.regions[0])
	if err != nil {
		return err
	}
	if rp.cancelled(f.location) {
		return nil // the whole chunk is freed later
	}
	if f.block < 0 || f.block > maxDaddr || f.len <= 0 || f.boffset > int64(f.len)*basicBlock-int64(rp.geo.InodeSize) {
		return fmt.Errorf("inode %d at %#x of %d blocks at %#x: %w", f.ino, f.boffset, f.len, f.block, evidence.ErrCorrupt)
	}
	off := f.block*basicBlock + f.boffset
	if err := rp.within(off, rp.geo.InodeSize); err != nil {
		return err
	}
	d := rp.buf(rp.geo.InodeSize)
	if err := rp.ov.read(d, off); err != nil {
		return err
	}
	if binary.BigEndian.Uint16(d) != magicInode {
		return fmt.Errorf("inode %d: none at %#x: %w", f.ino, off, evidence.ErrCorrupt)
	}
	if len(it.regions) < 2 {
		return fmt.Errorf("inode %d: no core: %w", f.ino, evidence.ErrCorrupt)
	}
	core, err := rp.diskCore(it.regions[1])
	if err != nil {
		return fmt.Errorf("inode %d: %w", f.ino, err)
	}
	rp.seenTime(core)
	if rp.newer(d, core, lsn) {
		return rp.changeOwners(f, d)
	}
	if err := rp.putInode(d, f, core, it, lsn); err != nil {
		return fmt.Errorf("inode %d: %w", f.ino, err)
	}
	rp.changed(object{f.ino, 0})
	if rp.geo.V5 {
		putCRC(d, inodeCRC)
	}
	if err := rp.ov.write(d, off); err != nil {
		return err
	}
	return rp.changeOwners(f, d)
}

// newer says whether the inode on the disk is newer than the logged one: by
// sequence number, or in version 4 by the count of its flushes. Equal sequence
// numbers do not mean so, since checkpoints may share one.
func (rp *replayer) newer(d, core []byte, lsn uint64) bool {
	be := binary.BigEndian
	if d[4] >= 3 {
		have := be.Uint64(d[inodeLSN:])
		return have != 0 && have != ^uint64(0) && have > lsn
	}
	if rp.geo.V5 {
		return false
	}
	have, logged := be.Uint16(d[inodeFlushIter:]), be.Uint16(core[inodeFlushIter:])
	wrapped := have == maxFlushIter && logged < maxFlushIter/2
	return logged < have && !wrapped
}

// coreFields are the widths of the fields of struct xfs_log_dinode up to di_next_unlinked.
var coreFields = []struct{ off, size int }{
	{0, 2}, {2, 2}, {6, 2}, {8, 4}, {12, 4}, {16, 4}, {20, 2}, {22, 2}, // magic mode metatype uid gid nlink projid
	{56, 8}, {64, 8}, {72, 4}, // size nblocks extsize
	{84, 4}, {88, 2}, {90, 2}, {92, 4}, // dmevmask dmstate flags gen
}

// coreFieldsV3 are those that version 3 adds.
var coreFieldsV3 = []struct{ off, size int }{
	{104, 8}, {120, 8}, {128, 4}, {152, 8}, // changecount flags2 cowextsize ino
}

// diskCore converts a logged inode core, which is in host byte order, to the
// form on the disk (xfs_log_dinode_to_disk). Its checksum, sequence number and
// unlinked pointer are not set.
func (rp *replayer) diskCore(in []byte) ([]byte, error) {
	if len(in) < inodeCoreV2 || rp.order.Uint16(in) != magicInode {
		return nil, fmt.Errorf("logged core of %d bytes: %w", len(in), evidence.ErrCorrupt)
	}
	v3 := in[4] >= 3
	if v3 != rp.geo.V5 || v3 && len(in) < inodeCoreV3 || len(in) > inodeCoreV3 {
		return nil, fmt.Errorf("logged core of %d bytes, version %d: %w", len(in), in[4], evidence.ErrCorrupt)
	}
	c := coreSwapper{make([]byte, inodeCoreV3), in, rp.order}
	for _, f := range coreFields {
		c.swap(f.off, f.size)
	}
	copy(c.out[4:6], in[4:6])                         // version, format
	copy(c.out[inodeForkOff:84], in[inodeForkOff:84]) // forkoff, aformat
	var flags2 uint64
	if v3 {
		for _, f := range coreFieldsV3 {
			c.swap(f.off, f.size)
		}
		copy(c.out[inodeUUID:], in[inodeUUID:inodeCoreV3])
		flags2 = binary.BigEndian.Uint64(c.out[inodeFlags2:])
		c.time(144, flags2) // di_crtime
	} else {
		c.swap(inodeFlushIter, 2)
	}
	c.time(32, flags2)
	c.time(40, flags2)
	c.time(inodeCtime, flags2)
	if flags2&flag2NREXT64 != 0 {
		c.swap(inodeNREXT64, 8)
	}
	c.swap(inodeNExtents, 4) // or di_big_anextents
	c.swap(80, 2)            // di_anextents, or padding
	if int(in[inodeForkOff])*8 > rp.geo.InodeSize-rp.geo.forkStart() {
		return nil, fmt.Errorf("fork offset %#x: %w", int(in[inodeForkOff])*8, evidence.ErrCorrupt)
	}
	return c.out, nil
}

// coreSwapper converts fields from host order to big-endian, at the same place.
type coreSwapper struct {
	out, in []byte
	order   binary.ByteOrder
}

func (c coreSwapper) swap(off, size int) {
	be := binary.BigEndian
	switch size {
	case 2:
		be.PutUint16(c.out[off:], c.order.Uint16(c.in[off:]))
	case 4:
		be.PutUint32(c.out[off:], c.order.Uint32(c.in[off:]))
	case 8:
		be.PutUint64(c.out[off:], c.order.Uint64(c.in[off:]))
	}
}

// time converts a timestamp: one number with the bigtime flag, else
// struct xfs_log_legacy_timestamp, seconds and nanoseconds.
func (c coreSwapper) time(off int, flags2 uint64) {
	if flags2&flag2BigTime != 0 {
		c.swap(off, 8)
		return
	}
	c.swap(off, 4)
	c.swap(off+4, 4)
}

// putInode puts a logged core and forks into the inode d.
func (rp *replayer) putInode(d []byte, f inodeFormat, core []byte, it *item, lsn uint64) error {
	copy(d[:inodeNextUnl], core)
	if rp.geo.V5 {
		copy(d[104:], core[104:])
		binary.BigEndian.PutUint64(d[inodeLSN:], lsn)
	} else {
		// The count begins anew once the log is replayed.
		clear(d[24:32])
	}
	start := rp.geo.forkStart()
	data, attr := d[start:], []byte(nil)
	if n := int(d[inodeForkOff]) * 8; n > 0 {
		data, attr = d[start:start+n], d[start+n:]
	}
	if f.fields&ilogDev != 0 {
		binary.BigEndian.PutUint32(data, f.rdev)
	}
	regions := it.regions[2:]
	if w := f.fields & ilogDFork; w != 0 && len(regions) > 0 {
		if err := rp.putFork(data, regions[0], w == ilogBroot); err != nil {
			return fmt.Errorf("data fork: %w", err)
		}
		regions = regions[1:]
	}
	if w := f.fields & ilogAFork; w != 0 && len(regions) > 0 {
		if err := rp.putFork(attr, regions[0], w == ilogABroot); err != nil {
			return fmt.Errorf("attribute fork: %w", err)
		}
	}
	return nil
}

// putFork copies a logged fork: local data and extents as they are, the root of a
// btree from its form in memory to the shorter one on the disk (xfs_bmbt_to_bmdr).
func (rp *replayer) putFork(fork, logged []byte, broot bool) error {
	if !broot {
		if len(logged) > len(fork) {
			return fmt.Errorf("%#x bytes for a fork of %#x: %w", len(logged), len(fork), evidence.ErrCorrupt)
		}
		copy(fork, logged)
		return nil
	}
	head := 24 // XFS_BTREE_LBLOCK_LEN
	if rp.geo.V5 {
		head = 72 // XFS_BTREE_LBLOCK_CRC_LEN
	}
	if len(logged) < head || len(fork) < 4 {
		return fmt.Errorf("btree root of %#x bytes for a fork of %#x: %w", len(logged), len(fork), evidence.ErrCorrupt)
	}
	n := int(binary.BigEndian.Uint16(logged[6:]))
	have, room := (len(logged)-head)/16, (len(fork)-4)/16
	if n > have || n > room {
		return fmt.Errorf("btree root of %d records, room for %d and %d: %w", n, have, room, evidence.ErrCorrupt)
	}
	copy(fork[:4], logged[4:8]) // level, numrecs
	copy(fork[4:4+n*8], logged[head:])
	copy(fork[4+room*8:][:n*8], logged[head+have*8:])
	return nil
}

// seenTime keeps the newest change time of the transaction.
func (rp *replayer) seenTime(core []byte) {
	if t := inodeTime(core, inodeCtime); t.After(rp.newest) {
		rp.newest = t
	}
}

// inodeTime decodes a timestamp of an inode core (xfs_inode_from_disk_ts).
func inodeTime(core []byte, off int) time.Time {
	be := binary.BigEndian
	if core[4] >= 3 && be.Uint64(core[inodeFlags2:])&flag2BigTime != 0 {
		ns := be.Uint64(core[off:]) // since 1901-12-13, -2^31 seconds (XFS_BIGTIME_EPOCH_OFFSET)
		return time.Unix(int64(ns/1e9)-1<<31, int64(ns%1e9)).UTC()
	}
	return time.Unix(int64(int32(be.Uint32(core[off:]))), int64(int32(be.Uint32(core[off+4:])))).UTC()
}

// inodeCreate writes a chunk of free inodes (xlog_recover_icreate_commit_pass2, xfs_ialloc_inode_init).
func (rp *replayer) inodeCreate(it *item) error {
	b, be := it.regions[0], binary.BigEndian
	if len(b) < 28 {
		return fmt.Errorf("inode create item of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	ag, bno, count, isize, length, gen := be.Uint32(b[4:]), be.Uint32(b[8:]), be.Uint32(b[12:]), be.Uint32(b[16:]), be.Uint32(b[20:]), b[24:28]
	g := &rp.geo
	// A chunk is of 64 inodes, or of a block of them if that holds more.
	most := max(64, uint32(1)<<g.InopBlog)
	off, ok := g.offset(uint64(ag)<<g.AgBlkLog | uint64(bno))
	if !ok || bno == 0 || bno >= g.AGBlocks || isize != uint32(g.InodeSize) || count == 0 || count > most || count>>g.InopBlog != length {
		return fmt.Errorf("inode create of %d inodes in %d blocks at block %#x of group %d: %w", count, length, bno, ag, evidence.ErrCorrupt)
	}
	n := int(length) * g.BlockSize
	if err := rp.within(off, n); err != nil {
		return err
	}
	cluster := g.clusterBlocks()
	for i := uint32(0); i+cluster <= length; i += cluster {
		at := location{(off + int64(i)*int64(g.BlockSize)) / basicBlock, int32(int(cluster) * g.BlockSize / basicBlock)}
		if rp.cancelled(at) {
			return nil
		}
	}
	chunk := make([]byte, n)
	first := (uint64(ag)<<g.AgBlkLog | uint64(bno)) << g.InopBlog
	for i := 0; i < int(count); i++ {
		d := chunk[i*g.InodeSize:][:g.InodeSize]
		be.PutUint16(d, magicInode)
		d[4] = 2
		copy(d[inodeGen:], gen)
		be.PutUint32(d[inodeNextUnl:], ^uint32(0)) // NULLAGINO
		if g.V5 {
			d[4] = 3
			be.PutUint64(d[inodeInumber:], first+uint64(i))
			copy(d[inodeUUID:], g.MetaUUID[:])
			putCRC(d, inodeCRC)
		}
	}
	rp.changed(object{uint64(off / basicBlock), int32(n / basicBlock)})
	return rp.ov.write(chunk, off)
}

// clusterBlocks returns how many blocks of inodes the kernel buffers together
// (xfs_ialloc_setup_geometry): 8 KiB for inodes of 256 bytes, in version 5 more for larger ones
// if chunks are aligned to it.
func (g *Geometry) clusterBlocks() uint32 {
	size := 8192
	if g.V5 {
		if grown := size * g.InodeSize / 256; int64(g.InoAlign) >= int64(grown/g.BlockSize) {
			size = grown
		}
	}
	return uint32(max(size/g.BlockSize, 1))
}
