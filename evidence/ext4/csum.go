package ext4

import (
	"encoding/binary"
	"hash/crc32"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
	zeros4     [4]byte
)

// crc32c continues a checksum as the kernel's ext4_chksum does: no inversion
// before or after.
func crc32c(crc uint32, b []byte) uint32 { return ^crc32.Update(^crc, castagnoli, b) }

// crc32cU32 continues a checksum over one integer, without a slice to allocate.
func crc32cU32(crc, v uint32) uint32 {
	for range 4 {
		crc = castagnoli[byte(crc)^byte(v)] ^ crc>>8
		v >>= 8
	}
	return crc
}

// crc16Table is of the polynomial 0x8005, reflected (lib/crc16.c).
var crc16Table = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0xa001
			} else {
				c >>= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc16(crc uint16, b []byte) uint16 {
	for _, v := range b {
		crc = crc>>8 ^ crc16Table[byte(crc)^v]
	}
	return crc
}

// superSum says whether the superblock's checksum holds (ext4_superblock_csum_verify).
func superSum(b []byte) bool {
	return crc32c(^uint32(0), b[:superCsumAt]) == le.Uint32(b[superCsumAt:])
}

// descSum says whether a group descriptor's checksum holds (ext4_group_desc_csum in super.c).
func (sb *super) descSum(group uint32, b []byte) bool {
	want := le.Uint16(b[descCsumAt:])
	switch {
	case sb.metadataCsum():
		c := crc32cU32(sb.csumSeed, group)
		c = crc32c(c, b[:descCsumAt])
		c = crc32c(c, zeros4[:2])
		return uint16(crc32c(c, b[descCsumAt+2:])) == want
	case sb.roCompat&roGdtCsum != 0:
		var g [4]byte
		le.PutUint32(g[:], group)
		c := crc16(^uint16(0), sb.uuid[:])
		c = crc16(c, g[:])
		c = crc16(c, b[:descCsumAt])
		return crc16(c, b[descCsumAt+2:]) == want
	}
	return true
}

// inodeSeed starts all checksums of what belongs to an inode (i_csum_seed).
func (sb *super) inodeSeed(ino, generation uint32) uint32 {
	return crc32cU32(crc32cU32(sb.csumSeed, ino), generation)
}

// inodeSum says whether an inode's checksum holds (ext4_inode_csum in inode.c).
func (sb *super) inodeSum(seed uint32, raw []byte) bool {
	const lo, hi = 0x7c, 0x82 // l_i_checksum_lo, i_checksum_hi
	if len(raw) == usualInodeSize {
		// In one go, over the checksum as well, which is then taken out again.
		c := crc32c(seed, raw) ^ sumShares[0][raw[lo]] ^ sumShares[1][raw[lo+1]]
		want := uint32(le.Uint16(raw[lo:]))
		if le.Uint16(raw[0x80:]) < 4 { // i_extra_isize doesn't cover i_checksum_hi
			return c&0xffff == want
		}
		return c^sumShares[2][raw[hi]]^sumShares[3][raw[hi+1]] == want|uint32(le.Uint16(raw[hi:]))<<16
	}
	c := crc32c(seed, raw[:lo])
	c = crc32c(c, zeros4[:2])
	c = crc32c(c, raw[lo+2:goodOldInodeSize])
	want := uint32(le.Uint16(raw[lo:]))
	if len(raw) <= goodOldInodeSize {
		return c&0xffff == want
	}
	c = crc32c(c, raw[goodOldInodeSize:hi])
	if le.Uint16(raw[0x80:]) < 4 { // i_extra_isize doesn't cover i_checksum_hi
		return crc32c(c, raw[hi:])&0xffff == want
	}
	c = crc32c(c, zeros4[:2])
	return crc32c(c, raw[hi+2:]) == want|uint32(le.Uint16(raw[hi:]))<<16
}

const usualInodeSize = 256

// sumShares has what each byte of an inode's own checksum adds to the sum over
// an inode of the usual size: a CRC is linear, so that it can be taken out.
var sumShares = func() (t [4][256]uint32) {
	b := make([]byte, usualInodeSize)
	for i, at := range []int{0x7c, 0x7d, 0x82, 0x83} {
		for v := range t[i] {
			b[at] = byte(v)
			t[i][v] = crc32c(0, b)
		}
		b[at] = 0
	}
	return t
}()

// extentSum says whether the checksum behind a block of extents holds (ext4_extent_block_csum).
func extentSum(seed uint32, b []byte) bool {
	end := extEntrySize * (1 + int(le.Uint16(b[4:]))) // eh_max
	if end+4 > len(b) {
		return false
	}
	return crc32c(seed, b[:end]) == le.Uint32(b[end:])
}

// xattrSum says whether an attribute block's checksum holds (ext4_xattr_block_csum).
func (sb *super) xattrSum(blk uint64, b []byte) bool {
	c := crc32cU32(crc32cU32(sb.csumSeed, uint32(blk)), uint32(blk>>32))
	c = crc32c(c, b[:0x10])
	c = crc32c(c, zeros4[:])
	return crc32c(c, b[0x14:]) == le.Uint32(b[0x10:])
}

// dirSum says whether a directory block's checksum holds, be it a leaf or a
// node of the hash tree (ext4_dirblock_csum_verify, ext4_dx_csum_verify). A
// block without room for one doesn't.
func dirSum(seed uint32, b []byte) bool {
	// Nodes first: one that was a leaf may still end like one.
	at := dxCountAt(b)
	if at == 0 {
		tail := len(b) - dirTailSize
		t := b[tail:]
		return le.Uint32(t) == 0 && le.Uint16(t[4:]) == dirTailSize && t[6] == 0 && t[7] == ftDirCsum &&
			crc32c(seed, b[:tail]) == le.Uint32(t[8:])
	}
	limit, count := int(le.Uint16(b[at:])), int(le.Uint16(b[at+2:]))
	end := at + 8*limit // struct dx_tail follows
	if count > limit || end+8 > len(b) {
		return false
	}
	c := crc32c(seed, b[:at+8*count])
	c = crc32c(c, b[end:end+4]) // dt_reserved
	return crc32c(c, zeros4[:]) == le.Uint32(b[end+4:])
}

// dxCountAt returns where dx_countlimit stands in a block of the hash tree, 0
// in any other block (get_dx_countlimit in namei.c).
func dxCountAt(b []byte) int {
	switch n := recLen(b[4:], len(b)); {
	case n == len(b):
		return dxNodeCountAt
	case n == 12 && recLen(b[16:], len(b)) == len(b)-12 && le.Uint32(b[24:]) == 0 && b[29] == 8:
		return dxRootCountAt
	}
	return 0
}
