package ext4

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"lagan/evidence"
)

// super is the superblock, decoded and found sane.
type super struct {
	inodes         uint32
	blocks         uint64
	firstBlock     uint64 // s_first_data_block
	blockBits      uint
	clusterBits    uint
	blocksPerGroup uint64
	inodesPerGroup uint32
	groups         uint32
	firstIno       uint32
	inodeSize      int
	descSize       int
	firstMetaBG    uint32
	backupBGs      [2]uint32
	groupNr        uint16 // s_block_group_nr: which copy this is

	compat, incompat, roCompat, flags uint32

	uuid        [16]byte
	csumSeed    uint32
	label       string
	mountedOn   string
	mounted     time.Time
	written     time.Time
	created     time.Time
	journalIno  uint32
	journalDev  uint32
	journalUUID [16]byte
	lastOrphan  uint32
	orphanFile  uint32
	projQuota   uint32
	quotas      [2]uint32 // s_usr_quota_inum, s_grp_quota_inum
	failures    string    // what the kernel noted of damage that it met
	hashSeed    [4]uint32
	hashVersion uint8
}

func (sb *super) blockSize() int { return 1 << sb.blockBits }

func (sb *super) metadataCsum() bool { return sb.roCompat&roMetadataCsum != 0 }

// groupsCounted says whether descriptors tell which inode tables were initialised.
func (sb *super) groupsCounted() bool { return sb.roCompat&(roMetadataCsum|roGdtCsum) != 0 }

// parseSuper decodes the 1024 bytes of a superblock. The checks are those of
// ext4_fill_super in super.c, as far as reading depends on them.
func parseSuper(b []byte) (*super, error) {
	if len(b) < superSize || le.Uint16(b[superMagicAt:]) != superMagic {
		return nil, evidence.ErrFormat
	}
	sb := &super{
		inodes:      le.Uint32(b),
		blocks:      uint64(le.Uint32(b[0x04:])),
		firstBlock:  uint64(le.Uint32(b[0x14:])),
		groupNr:     le.Uint16(b[0x5a:]),
		compat:      le.Uint32(b[0x5c:]),
		incompat:    le.Uint32(b[0x60:]),
		roCompat:    le.Uint32(b[0x64:]),
		label:       cstring(b[0x78:0x88]),
		mountedOn:   cstring(b[0x88:0xc8]),
		journalIno:  le.Uint32(b[0xe0:]),
		journalDev:  le.Uint32(b[0xe4:]),
		lastOrphan:  le.Uint32(b[0xe8:]),
		hashVersion: b[0xfc],
		firstMetaBG: le.Uint32(b[0x104:]),
		flags:       le.Uint32(b[0x160:]),
		projQuota:   le.Uint32(b[0x26c:]),
		orphanFile:  le.Uint32(b[0x280:]),
		mounted:     superTime(b[0x2c:], b[0x275]),
		written:     superTime(b[0x30:], b[0x274]),
		created:     superTime(b[0x108:], b[0x276]),
		backupBGs:   [2]uint32{le.Uint32(b[0x24c:]), le.Uint32(b[0x250:])},
	}
	sb.quotas = [2]uint32{le.Uint32(b[0x240:]), le.Uint32(b[0x244:])}
	if state := le.Uint16(b[0x3a:]); state&stateErrors != 0 {
		sb.failures = superFailures(b)
	}
	copy(sb.uuid[:], b[0x68:])
	copy(sb.journalUUID[:], b[0xd0:])
	for i := range sb.hashSeed {
		sb.hashSeed[i] = le.Uint32(b[0xec+4*i:])
	}
	sb.csumSeed = crc32c(^uint32(0), sb.uuid[:])
	if sb.incompat&incompatCsumSeed != 0 {
		sb.csumSeed = le.Uint32(b[0x270:])
	}
	if sb.incompat&incompat64Bit != 0 {
		sb.blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	if sb.incompat&incompatJournalDev != 0 {
		return nil, fmt.Errorf("journal_dev: this is the journal of a filesystem on another device: %w", evidence.ErrUnsupported)
	}
	if err := sb.geometry(b); err != nil {
		return nil, err
	}
	if unknown := sb.incompat &^ supportedIncompat; unknown != 0 {
		return nil, fmt.Errorf("incompatible features %s: %w", strings.Join(featureNames(nil, unknown, 'I', &incompatNames), " "), evidence.ErrUnsupported)
	}
	return sb, nil
}

// geometry decodes and checks the sizes that everything else is computed from.
func (sb *super) geometry(b []byte) error {
	logBlock := le.Uint32(b[0x18:])
	if logBlock > 6 { // EXT4_MAX_BLOCK_LOG_SIZE is 16: 64 KiB
		return superError(0x18, "block size 1024<<%d", logBlock)
	}
	sb.blockBits = 10 + uint(logBlock)
	sb.clusterBits = sb.blockBits
	maxPerGroup := uint64(8) << sb.blockBits // the bits of one bitmap
	if sb.roCompat&roBigalloc != 0 {
		logCluster := le.Uint32(b[0x1c:])
		if logCluster < logBlock || logCluster > 20 { // EXT4_MAX_CLUSTER_LOG_SIZE is 30
			return superError(0x1c, "cluster size 1024<<%d", logCluster)
		}
		sb.clusterBits = 10 + uint(logCluster)
		maxPerGroup <<= sb.clusterBits - sb.blockBits
	}
	sb.firstIno, sb.inodeSize = goodOldFirstIno, goodOldInodeSize
	if le.Uint32(b[0x4c:]) > 0 { // s_rev_level: dynamic
		sb.firstIno = le.Uint32(b[0x54:])
		sb.inodeSize = int(le.Uint16(b[0x58:]))
		if sb.firstIno < goodOldFirstIno {
			return superError(0x54, "first inode %d", sb.firstIno)
		}
	}
	if n := sb.inodeSize; n < goodOldInodeSize || n > sb.blockSize() || n&(n-1) != 0 {
		return superError(0x58, "inode size %d", n)
	}
	sb.descSize = descSizeMin
	if sb.incompat&incompat64Bit != 0 {
		sb.descSize = int(le.Uint16(b[0xfe:]))
		if n := sb.descSize; n < descSize64 || n > 1024 || n&(n-1) != 0 {
			return superError(0xfe, "group descriptor size %d", n)
		}
	}
	sb.blocksPerGroup = uint64(le.Uint32(b[0x20:]))
	sb.inodesPerGroup = le.Uint32(b[0x28:])
	if n := sb.blocksPerGroup; n == 0 || n > maxPerGroup {
		return superError(0x20, "%d blocks per group", n)
	}
	if n := sb.inodesPerGroup; n == 0 || n > 8<<sb.blockBits {
		return superError(0x28, "%d inodes per group", n)
	}
	if sb.firstBlock >= sb.blocks || sb.firstBlock > 1 {
		return superError(0x14, "first data block %d of %d", sb.firstBlock, sb.blocks)
	}
	if sb.blocks > 1<<(63-sb.blockBits) {
		return superError(0x04, "%d blocks", sb.blocks)
	}
	groups := (sb.blocks - sb.firstBlock + sb.blocksPerGroup - 1) / sb.blocksPerGroup
	if groups > 1<<32-1 || groups*uint64(sb.inodesPerGroup) != uint64(sb.inodes) {
		return superError(0, "%d inodes in %d groups of %d", sb.inodes, groups, sb.inodesPerGroup)
	}
	sb.groups = uint32(groups)
	return nil
}

func superError(at int, format string, args ...any) error {
	return fmt.Errorf("superblock: %s at offset %#x of it: %w", fmt.Sprintf(format, args...), at, evidence.ErrCorrupt)
}

// superFailures words what the kernel noted when it met damage (save_error_info in super.c).
func superFailures(b []byte) string {
	s := "the kernel marked the filesystem as damaged"
	if first := superTime(b[0x198:], b[0x278]); !first.IsZero() {
		s += fmt.Sprintf(": %d errors, the first in %q on %s", le.Uint32(b[0x194:]), cstring(b[0x1a8:0x1c8]), first.Format(time.RFC3339))
	}
	if last := superTime(b[0x1cc:], b[0x279]); !last.IsZero() {
		s += ", the last on " + last.Format(time.RFC3339)
	}
	return s
}

// doubts warns of what the superblock says that can't be so, and of what it
// says of damage.
func (fs *FS) doubts() {
	sb := fs.sb
	if sb.failures != "" {
		fs.warn(object{inSuper, 1}, fmt.Errorf("superblock: %s: %w", sb.failures, evidence.ErrCorrupt))
	}
	for i, ino := range []uint32{sb.journalIno, sb.lastOrphan, sb.projQuota, sb.quotas[0], sb.quotas[1]} {
		if ino > sb.inodes {
			what := [...]string{"journal", "orphan list", "project quota", "user quota", "group quota"}[i]
			fs.warn(object{inSuper, uint64(2 + i)}, fmt.Errorf("superblock: %s at inode %d of %d: %w", what, ino, sb.inodes, evidence.ErrCorrupt))
		}
	}
	if root, err := fs.inode(rootIno); err != nil || root.links == 0 || root.typ() != evidence.TypeDir {
		fs.warn(object{inSuper, 8}, fmt.Errorf("inode %d is no root directory in use: %w", rootIno, evidence.ErrCorrupt))
	}
	if have := sb.blocks << sb.blockBits; have > uint64(fs.size) {
		fs.warn(object{inSuper, 9}, fmt.Errorf("cut short: %d bytes of a filesystem of %d: %w", fs.size, have, evidence.ErrCorrupt))
	}
}

// superTime decodes a time of the superblock, whose bits 32 to 39 stand apart
// (ext4_get_tstamp); 0 is unknown.
func superTime(lo []byte, hi uint8) time.Time {
	t := int64(le.Uint32(lo)) | int64(hi)<<32
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(t, 0).UTC()
}

func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// hasSuper says whether a group begins with a copy of the superblock (ext4_bg_has_super in balloc.c).
func (sb *super) hasSuper(group uint32) bool {
	switch {
	case group == 0:
		return true
	case sb.compat&compatSparseSuper2 != 0:
		return group == sb.backupBGs[0] || group == sb.backupBGs[1]
	case group == 1 || sb.roCompat&roSparseSuper == 0:
		return true
	}
	return isPower(group, 3) || isPower(group, 5) || isPower(group, 7)
}

func isPower(n, base uint32) bool {
	for n > 1 && n%base == 0 {
		n /= base
	}
	return n == 1
}

// backupCandidates are where mke2fs puts the first copies: the beginnings of
// groups, for each block size, of as many blocks as one bitmap has bits.
func backupCandidates(size int64) []int64 {
	var out []int64
	for bits := uint(10); bits <= 16; bits++ {
		perGroup := min(int64(8)<<bits, 65528) // EXT2_MAX_BLOCKS_PER_GROUP less a byte of bits
		first := int64(0)
		if bits == 10 {
			first = 1
		}
		for _, group := range []int64{1, 3, 5, 7, 9, 25, 27, 49} {
			at := (group*perGroup + first) << bits
			if at+superSize <= size {
				out = append(out, at)
			}
		}
	}
	return out
}

// findBackup looks for a copy of the superblock.
func findBackup(r io.ReaderAt, size int64) (*super, int64, error) {
	b := make([]byte, superSize)
	for _, at := range backupCandidates(size) {
		if err := readFull(r, b, at); err != nil {
			continue
		}
		sb, err := parseSuper(b)
		if err != nil || sb.metadataCsum() && !superSum(b) {
			continue
		}
		// Old filesystems don't number their copies.
		group := (uint64(at)>>sb.blockBits - sb.firstBlock) / sb.blocksPerGroup
		if sb.groupNr != 0 && uint64(sb.groupNr) != group || sb.firstBlock+group*sb.blocksPerGroup != uint64(at)>>sb.blockBits {
			continue
		}
		return sb, at, nil
	}
	return nil, 0, evidence.ErrFormat
}

// foreign says whether the volume carries the mark of something else, so that
// a copy of an ext superblock further in is only what was there before.
func foreign(r io.ReaderAt) bool {
	for _, m := range []struct {
		at    int64
		magic string
	}{
		{0, "XFSB"}, {0, "hsqs"}, {0, "LUKS\xba\xbe"}, {0, "QFI\xfb"}, {1024, "\xe2\xe1\xf5\xe0"}, {0x10040, "_BHRfS_M"},
		{0, "LABELONE"}, {512, "LABELONE"}, {1024, "LABELONE"}, {1536, "LABELONE"}, {4086, "SWAPSPACE2"},
		{0x8001, "CD001"}, {4096, "\xfc\x4e\x2b\xa9"}, {1024, "\x10\x20\xf5\xf2"}, {510, "\x55\xaa"},
	} {
		b := make([]byte, len(m.magic))
		if readFull(r, b, m.at) == nil && string(b) == m.magic {
			return true
		}
	}
	return false
}

// kind tells ext2, ext3 and ext4 apart as blkid does (libblkid/src/superblocks/ext.c).
func (sb *super) kind() string {
	const ro = roSparseSuper | roLargeFile | roBtreeDir
	const in = incompatFiletype | incompatMetaBG | incompatRecover
	switch {
	case sb.roCompat&^ro != 0 || sb.incompat&^in != 0:
		return "ext4"
	case sb.compat&compatHasJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// features are in the order of dumpe2fs.
func (sb *super) features() []string {
	names := featureNames(nil, sb.compat, 'C', &compatNames)
	names = featureNames(names, sb.incompat, 'I', &incompatNames)
	return featureNames(names, sb.roCompat, 'R', &roCompatNames)
}

func featureNames(to []string, bits uint32, letter byte, names *[32]string) []string {
	for i, name := range names {
		switch {
		case bits&(1<<i) == 0:
		case name == "":
			to = append(to, fmt.Sprintf("FEATURE_%c%d", letter, i))
		default:
			to = append(to, name)
		}
	}
	return to
}
