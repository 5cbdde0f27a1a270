package ext4

// The counterparts of csum.go: they set the checksums of what is changed in memory.

// setInodeSum sets an inode's checksum (ext4_inode_csum_set).
func (sb *super) setInodeSum(ino uint32, raw []byte) {
	if !sb.metadataCsum() {
		return
	}
	const lo, hi = 0x7c, 0x82 // l_i_checksum_lo, i_checksum_hi
	le.PutUint16(raw[lo:], 0)
	wide := len(raw) > goodOldInodeSize && le.Uint16(raw[0x80:]) >= 4
	if wide {
		le.PutUint16(raw[hi:], 0)
	}
	c := crc32c(sb.inodeSeed(ino, le.Uint32(raw[0x64:])), raw)
	le.PutUint16(raw[lo:], uint16(c))
	if wide {
		le.PutUint16(raw[hi:], uint16(c>>16))
	}
}

// setDescSum sets a group descriptor's checksum (ext4_group_desc_csum_set).
func (sb *super) setDescSum(group uint32, b []byte) {
	var g [4]byte
	le.PutUint32(g[:], group)
	switch {
	case sb.metadataCsum():
		le.PutUint16(b[descCsumAt:], 0)
		le.PutUint16(b[descCsumAt:], uint16(crc32c(crc32c(sb.csumSeed, g[:]), b)))
	case sb.roCompat&roGdtCsum != 0:
		c := crc16(crc16(^uint16(0), sb.uuid[:]), g[:])
		le.PutUint16(b[descCsumAt:], crc16(crc16(c, b[:descCsumAt]), b[descCsumAt+2:]))
	}
}

// setDirSum sets the checksum of a directory's leaf (ext4_dirblock_csum_set).
// A node of the hash tree has its own elsewhere, and no names to change.
func (r *fastReplay) setDirSum(in *inode, b []byte) {
	if !r.fs.sb.metadataCsum() || dxCountAt(b) != 0 {
		return
	}
	tail := b[len(b)-dirTailSize:]
	clear(tail)
	le.PutUint16(tail[4:], dirTailSize)
	tail[7] = ftDirCsum
	le.PutUint32(tail[8:], crc32c(in.seed(r.fs.sb), b[:len(b)-dirTailSize]))
}
