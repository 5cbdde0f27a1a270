package jbd2

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"lagan/evidence"
	"lagan/internal/bin"
)

// On-disk facts of the log: include/linux/jbd2.h. All integers are big-endian,
// those of the fast-commit area apart (fs/ext4/fast_commit.h).
const (
	magic = 0xc03b3998 // JBD2_MAGIC_NUMBER

	descriptorBlock = 1 // JBD2_DESCRIPTOR_BLOCK
	commitBlock     = 2 // JBD2_COMMIT_BLOCK
	superblockV1    = 3 // JBD2_SUPERBLOCK_V1
	superblockV2    = 4 // JBD2_SUPERBLOCK_V2
	revokeBlock     = 5 // JBD2_REVOKE_BLOCK

	headerSize     = 12   // journal_header_t
	superblockSize = 1024 // journal_superblock_t
	checksumOffset = 0xfc // s_checksum
	revokeHeader   = 16   // jbd2_journal_revoke_header_t
	tailSize       = 4    // struct jbd2_journal_block_tail
	uuidSize       = 16

	// commit_header
	commitChecksum = 16 // h_chksum[0]
	commitSize     = 64 // sizeof, padding included

	crc32Type   = 1 // JBD2_CRC32_CHKSUM
	crc32Size   = 4 // JBD2_CRC32_CHKSUM_SIZE
	crc32cType  = 4 // JBD2_CRC32C_CHKSUM
	minBlocks   = 1024
	defaultFast = 256 // JBD2_DEFAULT_FAST_COMMIT_BLOCKS
)

// Flags of a tag, t_flags.
const (
	flagEscape   = 1 // the block began with magic, which the log holds as zero
	flagSameUUID = 2 // no UUID follows the tag
	flagLast     = 8
)

// Feature bits of the log's superblock.
const (
	CompatChecksum      = 0x1  // JBD2_FEATURE_COMPAT_CHECKSUM, checksum v1
	IncompatRevoke      = 0x1  // JBD2_FEATURE_INCOMPAT_REVOKE
	Incompat64Bit       = 0x2  // JBD2_FEATURE_INCOMPAT_64BIT
	IncompatAsyncCommit = 0x4  // JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT
	IncompatCsumV2      = 0x8  // JBD2_FEATURE_INCOMPAT_CSUM_V2
	IncompatCsumV3      = 0x10 // JBD2_FEATURE_INCOMPAT_CSUM_V3
	IncompatFastCommit  = 0x20 // JBD2_FEATURE_INCOMPAT_FAST_COMMIT

	supportedIncompat = IncompatRevoke | Incompat64Bit | IncompatAsyncCommit |
		IncompatCsumV2 | IncompatCsumV3 | IncompatFastCommit
)

// The ext superblock of an external journal device (fs/ext4/super.c,
// ext4_get_journal_blkdev): it stands at 1024, the log's own in the block after it.
const (
	extSuperblock     = 1024
	extMagicOffset    = extSuperblock + 56 // s_magic
	extMagic          = 0xef53
	extLogBlockSize   = extSuperblock + 24 // s_log_block_size
	extIncompatOffset = extSuperblock + 96 // s_feature_incompat
	extJournalDev     = 0x8                // EXT4_FEATURE_INCOMPAT_JOURNAL_DEV
	maxBlockSize      = 65536              // EXT4_MAX_BLOCK_SIZE
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c continues a sum as jbd2_chksum does: without the usual inversions.
func crc32c(sum uint32, b []byte) uint32 { return ^crc32.Update(^sum, castagnoli, b) }

var zeros [4]byte

// crc32cWithout is crc32c with the four bytes at off taken for zero, where the sum itself stands.
func crc32cWithout(sum uint32, b []byte, off int) uint32 {
	sum = crc32c(sum, b[:off])
	sum = crc32c(sum, zeros[:])
	return crc32c(sum, b[off+4:])
}

// crc32be tabulates crc32_be of lib/crc32.c: the polynomial 0x04c11db7 with the
// most significant bit first, which hash/crc32 doesn't have.
var crc32beTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crc32be(sum uint32, b []byte) uint32 {
	for _, c := range b {
		sum = sum<<8 ^ crc32beTable[byte(sum>>24)^c]
	}
	return sum
}

// Superblock is what the log says of itself (journal_superblock_t).
type Superblock struct {
	Version      int    // 1 or 2
	BlockSize    int    // s_blocksize, bytes
	Length       uint32 // s_maxlen, blocks
	First        uint32 // s_first, the first block of log proper
	Sequence     uint32 // s_sequence, of the first transaction that counts
	Start        uint32 // s_start, where it lies; 0 where there is none
	Errno        int32  // s_errno, of an aborted journal
	Compat       uint32 // s_feature_compat
	Incompat     uint32 // s_feature_incompat
	ROCompat     uint32 // s_feature_ro_compat
	UUID         [16]byte
	Users        uint32 // s_nr_users, filesystems on an external journal
	ChecksumType uint8  // s_checksum_type
	FastBlocks   uint32 // s_num_fc_blks
	Head         uint32 // s_head, where a clean log goes on
	External     bool   // the log is a device of its own
}

// Dirty says that the log holds transactions that may not have reached their place.
func (s *Superblock) Dirty() bool { return s.Start != 0 }

// checksummed says that descriptors, commits and tags carry CRC-32C sums (v2 or v3).
func (s *Superblock) checksummed() bool { return s.Incompat&(IncompatCsumV2|IncompatCsumV3) != 0 }

// end returns the block behind the log proper, where it wraps to First
// (jbd2_journal_load: j_last).
func (s *Superblock) end() uint32 {
	if s.Incompat&IncompatFastCommit == 0 {
		return s.Length
	}
	n := s.FastBlocks
	if n == 0 {
		n = defaultFast
	}
	if s.Length >= n && s.Length-n >= minBlocks {
		return s.Length - n
	}
	return s.Length
}

// tagSize follows journal_tag_bytes.
func (s *Superblock) tagSize() int {
	if s.Incompat&IncompatCsumV3 != 0 {
		return 16
	}
	n := 12
	if s.Incompat&IncompatCsumV2 != 0 {
		n += 2
	}
	if s.Incompat&Incompat64Bit == 0 {
		n -= 4
	}
	return n
}

// tail returns how many bytes at the end of a descriptor or revoke block belong to its sum.
func (s *Superblock) tail() int {
	if s.checksummed() {
		return tailSize
	}
	return 0
}

// seed returns j_csum_seed.
func (s *Superblock) seed() uint32 { return crc32c(^uint32(0), s.UUID[:]) }

// parseSuperblock decodes b, which holds superblockSize bytes.
func parseSuperblock(b []byte) (Superblock, error) {
	c := bin.BE(b)
	var s Superblock
	if c.U32() != magic {
		return s, fmt.Errorf("journal superblock: no magic number: %w", evidence.ErrCorrupt)
	}
	switch t := c.U32(); t {
	case superblockV1:
		s.Version = 1
	case superblockV2:
		s.Version = 2
	default:
		return s, fmt.Errorf("journal superblock: block type %d: %w", t, evidence.ErrCorrupt)
	}
	c.Skip(4) // h_sequence
	s.BlockSize = int(c.U32())
	s.Length = c.U32()
	s.First = c.U32()
	s.Sequence = c.U32()
	s.Start = c.U32()
	s.Errno = int32(c.U32())
	if s.Version == 1 {
		// journal_get_superblock: what follows counts from format 2 on.
		return s, c.Err()
	}
	s.Compat = c.U32()
	s.Incompat = c.U32()
	s.ROCompat = c.U32()
	copy(s.UUID[:], c.Bytes(uuidSize))
	s.Users = c.U32()
	c.Skip(12) // s_dynsuper, s_max_transaction, s_max_trans_data
	s.ChecksumType = c.U8()
	c.Skip(3)
	s.FastBlocks = c.U32()
	s.Head = c.U32()
	return s, c.Err()
}

// check refuses what journal_get_superblock refuses, where nothing could be read past it.
func (s *Superblock) check(blocks int64) error {
	if s.BlockSize < 1024 || s.BlockSize > maxBlockSize || s.BlockSize&(s.BlockSize-1) != 0 {
		return fmt.Errorf("journal superblock: block size %d: %w", s.BlockSize, evidence.ErrCorrupt)
	}
	if int64(s.Length) > blocks {
		return fmt.Errorf("journal superblock: %d blocks in a journal of %d: %w", s.Length, blocks, evidence.ErrCorrupt)
	}
	if s.First == 0 || s.First >= s.end() {
		return fmt.Errorf("journal superblock: first block %d of %d: %w", s.First, s.Length, evidence.ErrCorrupt)
	}
	if s.Start != 0 && (s.Start < s.First || s.Start >= s.end()) {
		return fmt.Errorf("journal superblock: log starts at block %d of %d: %w", s.Start, s.Length, evidence.ErrCorrupt)
	}
	if f := s.Incompat &^ supportedIncompat; f != 0 {
		return fmt.Errorf("journal feature %#x: %w", f, evidence.ErrUnsupported)
	}
	if s.Incompat&IncompatCsumV2 != 0 && s.Incompat&IncompatCsumV3 != 0 ||
		s.checksummed() && s.Compat&CompatChecksum != 0 {
		return fmt.Errorf("journal superblock: two checksum features at once: %w", evidence.ErrCorrupt)
	}
	if s.checksummed() && s.ChecksumType != crc32cType {
		return fmt.Errorf("journal checksum type %d: %w", s.ChecksumType, evidence.ErrUnsupported)
	}
	return nil
}

// tag is one entry of a descriptor block: which block of the filesystem a block of the log is a copy of.
type tag struct {
	block    uint64
	checksum uint32
	flags    uint16
}

// tags calls fn for each tag of a descriptor block, in order. The bounds are those of count_tags.
func (s *Superblock) tags(b []byte, fn func(tag)) {
	size := s.tagSize()
	end := len(b) - s.tail()
	for off := headerSize; off+size <= end; {
		t := tag{
			block: uint64(binary.BigEndian.Uint32(b[off:])),
			flags: binary.BigEndian.Uint16(b[off+6:]),
		}
		if s.Incompat&Incompat64Bit != 0 {
			t.block |= uint64(binary.BigEndian.Uint32(b[off+8:])) << 32
		}
		switch {
		case s.Incompat&IncompatCsumV3 != 0:
			t.checksum = binary.BigEndian.Uint32(b[off+12:])
		case s.Incompat&IncompatCsumV2 != 0:
			t.checksum = uint32(binary.BigEndian.Uint16(b[off+4:]))
		}
		fn(t)
		off += size
		if t.flags&flagSameUUID == 0 {
			off += uuidSize
		}
		if t.flags&flagLast != 0 {
			return
		}
	}
}

// tagOK verifies a block against its tag's sum (jbd2_block_tag_csum_verify).
func (s *Superblock) tagOK(t tag, sequence uint32, data []byte) bool {
	if !s.checksummed() {
		return true
	}
	var seq [4]byte
	binary.BigEndian.PutUint32(seq[:], sequence)
	sum := crc32c(crc32c(s.seed(), seq[:]), data)
	if s.Incompat&IncompatCsumV3 != 0 {
		return t.checksum == sum
	}
	return t.checksum == sum&0xffff
}

// tailOK verifies the sum at the end of a descriptor or revoke block (jbd2_descriptor_block_csum_verify).
func (s *Superblock) tailOK(b []byte) bool {
	if !s.checksummed() {
		return true
	}
	off := len(b) - tailSize
	return crc32cWithout(s.seed(), b, off) == binary.BigEndian.Uint32(b[off:])
}

// commitOK verifies a commit block's own sum. Old kernels left what follows the
// header unwritten, so a sum over zeros there will do
// (jbd2_commit_block_csum_verify, jbd2_commit_block_csum_verify_partial).
func (s *Superblock) commitOK(b []byte) bool {
	if !s.checksummed() {
		return true
	}
	want := binary.BigEndian.Uint32(b[commitChecksum:])
	if crc32cWithout(s.seed(), b, commitChecksum) == want {
		return true
	}
	clean := make([]byte, len(b))
	copy(clean, b[:commitSize])
	return crc32cWithout(s.seed(), clean, commitChecksum) == want
}
