package xfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"lagan/evidence"
	"lagan/internal/bin"
)

// super is the part of the superblock (struct xfs_dsb) that reading needs.
type super struct {
	blockSize, sectSize, inodeSize uint32
	dblocks, rblocks               uint64
	uuid, metaUUID                 [16]byte
	logStart                       uint64
	rootIno, rbmIno, rsumIno       uint64
	agBlocks, agCount, logBlocks   uint32
	version                        uint16
	inopBlock                      uint16
	label                          string
	blockLog, sectLog, inodeLog    uint8
	inopbLog, agblkLog             uint8
	inProgress                     uint8
	quotaInos                      [3]uint64 // user, group, project
	dirBlkLog, logSectLog          uint8
	logSectSize                    uint16
	logSunit                       uint32
	features2                      uint32
	roCompat, incompat             uint32
	logIncompat                    uint32
	crcOK                          bool
	sector                         []byte // the first 512 bytes, for package xlog
}

// decodeSuper decodes the sector b. It says nothing of whether the fields make sense.
func decodeSuper(b []byte) (super, error) {
	c := bin.BE(b)
	if c.U32() != magicSB {
		return super{}, fmt.Errorf("no XFS superblock: %w", evidence.ErrFormat)
	}
	var s super
	s.blockSize = c.U32()
	s.dblocks = c.U64()
	s.rblocks = c.U64()
	c.U64() // sb_rextents
	copy(s.uuid[:], c.Bytes(16))
	s.logStart = c.U64()
	s.rootIno, s.rbmIno, s.rsumIno = c.U64(), c.U64(), c.U64()
	c.U32() // sb_rextsize
	s.agBlocks, s.agCount = c.U32(), c.U32()
	c.U32() // sb_rbmblocks
	s.logBlocks = c.U32()
	s.version = c.U16()
	sect, inode := c.U16(), c.U16()
	s.sectSize, s.inodeSize = uint32(sect), uint32(inode)
	s.inopBlock = c.U16()
	s.label = string(bytes.TrimRight(c.Bytes(12), "\x00"))
	s.blockLog, s.sectLog, s.inodeLog, s.inopbLog = c.U8(), c.U8(), c.U8(), c.U8()
	s.agblkLog = c.U8()
	c.U8() // sb_rextslog
	s.inProgress = c.U8()
	c.Skip(1 + 4*8) // sb_imax_pct and the counters
	s.quotaInos[0], s.quotaInos[1] = c.U64(), c.U64()
	c.Skip(2 + 1 + 1 + 4 + 4 + 4) // sb_qflags to sb_width
	s.dirBlkLog, s.logSectLog = c.U8(), c.U8()
	s.logSectSize = c.U16()
	s.logSunit = c.U32()
	s.features2 = c.U32()
	c.Skip(4 + 4) // sb_bad_features2, sb_features_compat
	if s.v5() {
		s.roCompat, s.incompat, s.logIncompat = c.U32(), c.U32(), c.U32()
		c.Skip(4 + 4) // sb_crc, sb_spino_align
		s.quotaInos[2] = c.U64()
		c.Skip(8) // sb_lsn
		copy(s.metaUUID[:], c.Bytes(16))
	}
	if s.incompat&incompatMetaUUID == 0 {
		s.metaUUID = s.uuid // xfs_sb_from_disk
	}
	if err := c.Err(); err != nil {
		return super{}, fmt.Errorf("superblock: %w: %w", err, evidence.ErrCorrupt)
	}
	if int(s.sectSize) <= len(b) && s.sectSize >= sectorMin {
		b = b[:s.sectSize]
	}
	s.sector = b[:min(len(b), sectorMin)]
	s.crcOK = !s.v5() || checksumOK(b, sbCRC)
	return s, nil
}

func (s *super) v5() bool { return s.version&versionNumBits == sbVersion5 }

// check says why the geometry can't be true (xfs_validate_sb_common, fs/xfs/libxfs/xfs_sb.c).
func (s *super) check() error {
	bad := func(what string, v any) error {
		return fmt.Errorf("superblock: %s %v: %w", what, v, evidence.ErrCorrupt)
	}
	pow2 := func(v uint32, log uint8, lo, hi uint32) bool {
		return v >= lo && v <= hi && log < 32 && v == 1<<log
	}
	switch v := s.version & versionNumBits; {
	case v != sbVersion4 && v != sbVersion5:
		return fmt.Errorf("superblock version %d: %w", v, evidence.ErrUnsupported)
	case v == sbVersion4 && s.version&versionDirV2 == 0:
		return fmt.Errorf("version 1 directories: %w", evidence.ErrUnsupported)
	case !pow2(s.blockSize, s.blockLog, blockMin, blockMax):
		return bad("block size", s.blockSize)
	case !pow2(s.sectSize, s.sectLog, sectorMin, sectorMax):
		return bad("sector size", s.sectSize)
	case !pow2(s.inodeSize, s.inodeLog, inodeMin, inodeMax) || s.inodeSize > s.blockSize:
		return bad("inode size", s.inodeSize)
	case s.blockLog-s.inodeLog != s.inopbLog || s.inopBlock != 1<<s.inopbLog:
		return bad("inodes per block", s.inopBlock)
	case s.dirBlkLog > 16 || uint64(s.blockSize)<<s.dirBlkLog > dirBlockMax:
		return bad("directory block size exponent", s.dirBlkLog)
	case s.agCount == 0 || s.agBlocks < 64: // XFS_MIN_AG_BLOCKS
		return bad("allocation groups of blocks", s.agBlocks)
	case s.agblkLog != uint8(bits.Len32(s.agBlocks-1)):
		return bad("allocation group size exponent", s.agblkLog)
	case s.dblocks > uint64(s.agCount)*uint64(s.agBlocks) || s.dblocks <= uint64(s.agCount-1)*uint64(s.agBlocks):
		return bad("size in blocks", s.dblocks)
	case s.dblocks > 1<<62>>s.blockLog:
		return bad("size in blocks", s.dblocks)
	}
	return s.checkFeatures()
}

// checkFeatures refuses what an older reader would misread.
func (s *super) checkFeatures() error {
	if unknown := s.incompat &^ supportedIncompat; s.v5() && unknown != 0 {
		return fmt.Errorf("incompatible XFS features %#x: %w", unknown, evidence.ErrUnsupported)
	}
	return nil
}

func (s *super) ftype() bool {
	return s.v5() && s.incompat&incompatFType != 0 || s.version&versionMoreBits != 0 && s.features2&version2FType != 0
}

// agLength returns the number of blocks of an allocation group: the last may be shorter.
func (s *super) agLength(agno uint32) uint32 {
	if agno == s.agCount-1 {
		return uint32(s.dblocks - uint64(agno)*uint64(s.agBlocks))
	}
	return s.agBlocks
}

// features names what is switched on as xfs_info and xfs_db's version do.
func (s *super) features() []string {
	out := []string{"v4"}
	if s.v5() {
		out = []string{"v5", "crc"}
	}
	v2 := s.features2
	if s.version&versionMoreBits == 0 {
		v2 = 0
	}
	for _, f := range []struct {
		on   bool
		name string
	}{
		{s.ftype(), "ftype"},
		{s.version&versionAttr != 0, "attr"},
		{s.v5() || v2&version2Attr2 != 0, "attr2"},
		{s.v5() || v2&version2LazySB != 0, "lazy-count"},
		{s.v5() || v2&version2ProjID32 != 0, "projid32bit"},
		{s.version&versionBorg != 0, "ascii-ci"},
		{s.version&versionQuota != 0, "quota"},
		{s.roCompat&roCompatFinobt != 0, "finobt"},
		{s.incompat&incompatSparse != 0, "sparse"},
		{s.roCompat&roCompatRmapbt != 0, "rmapbt"},
		{s.roCompat&roCompatReflink != 0, "reflink"},
		{s.incompat&incompatBigtime != 0, "bigtime"},
		{s.roCompat&roCompatInobtCount != 0, "inobtcount"},
		{s.incompat&incompatNrext64 != 0, "nrext64"},
		{s.incompat&incompatExchange != 0, "exchange"},
		{s.incompat&incompatParent != 0, "parent"},
		{s.incompat&incompatMetadir != 0, "metadir"},
		{s.incompat&incompatZoned != 0, "zoned"},
		{s.incompat&incompatZoneGaps != 0, "zone-gaps"},
		{s.incompat&incompatMetaUUID != 0, "meta-uuid"},
		{s.incompat&incompatNeedsRepair != 0, "needsrepair"},
		{s.rblocks != 0, "realtime"},
	} {
		if f.on {
			out = append(out, f.name)
		}
	}
	return out
}

// notices are what a reader of the superblock should be told of.
func (s *super) notices(size int64) []error {
	var out []error
	say := func(on bool, format string, args ...any) {
		if on {
			out = append(out, fmt.Errorf(format, args...))
		}
	}
	end := int64(s.dblocks) << s.blockLog
	say(s.inProgress != 0, "superblock: mkfs was never finished: %w", evidence.ErrCorrupt)
	say(end > size, "the filesystem of %d bytes is cut short after %d: %w", end, size, evidence.ErrCorrupt)
	say(s.incompat&incompatNeedsRepair != 0, "xfs: marked as needing repair (needsrepair): it was found damaged and not repaired")
	say(s.rblocks != 0, "xfs: content of files on the realtime device: %w", evidence.ErrUnsupported)
	say(s.incompat&(incompatZoned|incompatZoneGaps) != 0, "xfs: zoned realtime device: %w", evidence.ErrUnsupported)
	say(s.roCompat&^roCompatKnown != 0, "xfs: unknown read-only compatible features %#x are ignored", s.roCompat&^roCompatKnown)
	return out
}

// findSuper reads the superblock of r: the primary, or, where it is damaged,
// one of the copies that begin every allocation group. It returns what to warn of.
func findSuper(r io.ReaderAt, size int64) (super, []error, error) {
	head, err := readHead(r)
	if err != nil {
		return super{}, nil, err
	}
	primary, err := decodeSuper(head)
	if err == nil {
		err = primary.check()
	}
	if err == nil && primary.crcOK {
		return primary, nil, nil
	}
	isXFS := len(head) >= 4 && be.Uint32(head) == magicSB
	for _, pos := range backupPositions(head, size, primary) {
		s, ok := backupSuper(r, pos)
		if !ok {
			continue
		}
		if s.rootIno == nullIno || s.rootIno == 0 {
			s.rootIno = primary.rootIno // mkfs writes it to some of the copies only
		}
		why := fmt.Errorf("primary superblock is damaged, the copy at offset %#x is used: %w", pos, evidence.ErrCorrupt)
		return s, []error{why}, nil
	}
	switch {
	case err == nil: // the checksum alone is wrong, and no copy is better
		return primary, []error{fmt.Errorf("superblock: bad checksum: %w", evidence.ErrCorrupt)}, nil
	case isXFS:
		return super{}, nil, err
	}
	return super{}, nil, fmt.Errorf("no XFS superblock: %w", evidence.ErrFormat)
}

// readHead reads the beginning of r. Sectors that can't be read are zeros, unless that is all of them.
func readHead(r io.ReaderAt) ([]byte, error) {
	head := make([]byte, 4*sectorMax)
	n, err := r.ReadAt(head, 0)
	if n == len(head) || err == nil || errors.Is(err, io.EOF) {
		return head[:n], nil
	}
	end := 0
	for off := 0; off < len(head); off += sectorMin {
		sector := head[off : off+sectorMin]
		n, _ := r.ReadAt(sector, int64(off))
		clear(sector[n:])
		if n > 0 {
			end = off + n
		}
	}
	if end == 0 {
		return nil, fmt.Errorf("reading superblock: %w", err)
	}
	return head[:end], nil
}

// backupSuper reads the copy at pos and checks that it belongs there.
func backupSuper(r io.ReaderAt, pos int64) (super, bool) {
	b := make([]byte, sectorMax)
	n, err := r.ReadAt(b, pos)
	if err != nil && err != io.EOF {
		return super{}, false
	}
	s, err := decodeSuper(b[:n])
	if err != nil || s.check() != nil || !s.crcOK {
		return super{}, false
	}
	return s, pos%(int64(s.agBlocks)<<s.blockLog) == 0
}

// backupPositions guesses where the second and third superblock are. The free
// space header of group 0 holds the length of a group; where it is gone too,
// and nothing else took its place, mkfs's usual division into few groups is tried.
func backupPositions(head []byte, size int64, primary super) []int64 {
	var out []int64
	add := func(blocks, block int64) {
		if blocks >= 64 && block >= blockMin && blocks <= size/block {
			out = append(out, blocks*block, 2*blocks*block)
		}
	}
	if primary.blockSize >= blockMin {
		add(int64(primary.agBlocks), int64(primary.blockSize))
	}
	found := false
	for sect := sectorMin; sect <= sectorMax; sect *= 2 {
		if len(head) < 3*sect || be.Uint32(head[sect:]) != magicAGF || be.Uint32(head[2*sect:]) != magicAGI {
			continue
		}
		found = true
		for block := int64(blockMin); block <= blockMax; block *= 2 {
			add(int64(be.Uint32(head[sect+agfLength:])), block)
			add(int64(be.Uint32(head[2*sect+agiLength:])), block)
		}
	}
	if found || len(head) < 4096 || len(bytes.TrimLeft(head[:4096], "\x00")) != 0 || othersMagic(head) {
		return out
	}
	const usualGroups = 32 // mkfs.xfs makes 4, or 1 per disk of a striped volume up to 32
	for groups := int64(2); groups <= usualGroups; groups++ {
		for _, block := range []int64{4096, 1024} {
			blocks := size / block
			add((blocks+groups-1)/groups, block)
		}
	}
	return out
}

// othersMagic tells of formats that leave their first blocks empty: what lies
// behind them may be left over from an XFS that they replaced.
func othersMagic(head []byte) bool {
	has := func(off int, magic string) bool {
		return len(head) >= off+len(magic) && string(head[off:off+len(magic)]) == magic
	}
	return has(65536+64, "_BHRfS_M") || has(32769, "CD001") || has(65536+52, "ReIsEr")
}
