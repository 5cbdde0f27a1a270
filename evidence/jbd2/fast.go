package jbd2

import (
	"fmt"
	"io"
	"iter"

	"lagan/evidence"
)

// Tags of the fast-commit area (fs/ext4/fast_commit.h). Unlike the rest of the
// log the area is little-endian.
const (
	FastAddRange = 1 // EXT4_FC_TAG_ADD_RANGE
	FastDelRange = 2 // EXT4_FC_TAG_DEL_RANGE
	FastCreate   = 3 // EXT4_FC_TAG_CREAT
	FastLink     = 4 // EXT4_FC_TAG_LINK
	FastUnlink   = 5 // EXT4_FC_TAG_UNLINK
	FastInode    = 6 // EXT4_FC_TAG_INODE
	FastPad      = 7 // EXT4_FC_TAG_PAD
	FastTail     = 8 // EXT4_FC_TAG_TAIL
	FastHead     = 9 // EXT4_FC_TAG_HEAD
)

const (
	fastTagSize = 4 // struct ext4_fc_tl
	// Sizes of the values, as ext4_fc_value_len_isvalid wants them.
	fastRangeSize  = 16 // struct ext4_fc_add_range
	fastDelSize    = 12 // struct ext4_fc_del_range
	fastDentrySize = 8  // struct ext4_fc_dentry_info
	fastInodeSize  = 4  // struct ext4_fc_inode
	fastHeadSize   = 8  // struct ext4_fc_head
	fastTailSize   = 8  // struct ext4_fc_tail
	maxName        = 255
	minInode       = 128 // EXT4_GOOD_OLD_INODE_SIZE
)

// FastTag is one change that a fast commit records: see fs/ext4/fast_commit.c
// for what each value holds.
type FastTag struct {
	Tag   uint16
	Value []byte
}

// FastChanges yields the changes of all complete fast commits behind the last
// transaction, in order. They are to be applied after the replay. Heads, tails
// and padding are left out.
func (l *Log) FastChanges() iter.Seq2[FastTag, error] {
	return func(yield func(FastTag, error) bool) {
		left := l.fastTags
		for block := l.fastFirst(); left > 0 && block < l.Length; block++ {
			b, err := l.fastBlock(block)
			if err != nil {
				yield(FastTag{}, err)
				return
			}
			for off := 0; off+fastTagSize <= len(b) && left > 0; left-- {
				t, n, ok := fastTag(b[off:])
				if !ok {
					yield(FastTag{}, fmt.Errorf("fast commit in journal block %d at %#x: %w", block, off, evidence.ErrCorrupt))
					return
				}
				off += n
				if t.Tag >= FastPad {
					continue
				}
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}

// fastFirst returns the first block of the area: one block behind the end of
// the log stays unused (jbd2_journal_load: j_fc_first).
func (l *Log) fastFirst() uint32 { return l.end() + 1 }

func (l *Log) fastBlock(i uint32) ([]byte, error) {
	b := make([]byte, l.BlockSize)
	off := int64(i) * int64(l.BlockSize)
	if n, err := l.r.ReadAt(b, off); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading fast commit in journal block %d at %#x: %w", i, off, err)
	}
	return b, nil
}

// fastTag decodes the tag that b begins with, and says how long it is and
// whether its length is possible (ext4_fc_value_len_isvalid).
func fastTag(b []byte) (FastTag, int, bool) {
	t := FastTag{Tag: leUint16(b)}
	n := int(leUint16(b[2:]))
	if n > len(b)-fastTagSize {
		return t, 0, false
	}
	t.Value = b[fastTagSize : fastTagSize+n : fastTagSize+n]
	ok := false
	switch t.Tag {
	case FastAddRange:
		ok = n == fastRangeSize
	case FastDelRange:
		ok = n == fastDelSize
	case FastCreate, FastLink, FastUnlink:
		ok = n > fastDentrySize && n <= fastDentrySize+maxName
	case FastInode:
		ok = n >= fastInodeSize+minInode
	case FastPad:
		ok = true
	case FastTail:
		ok = n >= fastTailSize
	case FastHead:
		ok = n == fastHeadSize
	}
	return t, fastTagSize + n, ok
}

// scanFast finds out how many tags of the fast-commit area count
// (ext4_fc_replay_scan): those up to the last tail whose checksum is right and
// that belongs to the transaction which follows the last complete one.
func (l *Log) scanFast(o evidence.Options) {
	tid := l.Sequence + uint32(len(l.Transactions))
	f := fastScan{tid: tid}
	for block := l.fastFirst(); block < l.Length; block++ {
		b, err := l.fastBlock(block)
		if err != nil {
			l.remark(o, err)
			break
		}
		if block == l.fastFirst() && leUint16(b) != FastHead {
			break
		}
		if !f.block(b) {
			break
		}
	}
	l.fastTags, l.FastCommits = f.valid, f.commits
	if f.failed != "" && f.valid == 0 {
		// The kernel fails the mount with EFSBADCRC, ECANCELED or EOPNOTSUPP.
		l.remark(o, fmt.Errorf("fast commits are not replayed: %s: %w", f.failed, evidence.ErrCorrupt))
	}
}

type fastScan struct {
	tid     uint32
	sum     uint32
	seen    int // tags
	valid   int // of them, up to the last valid tail
	commits int
	failed  string // why the kernel would fail, unless a valid commit came before
}

// block takes one block of the area and says whether the next one counts.
func (f *fastScan) block(b []byte) bool {
	for off := 0; off+fastTagSize <= len(b); {
		t, n, ok := fastTag(b[off:])
		if !ok {
			f.failed = fmt.Sprintf("tag %d with a length it can't have", t.Tag)
			return false
		}
		summed := n
		switch t.Tag {
		case FastHead:
			if leUint32(t.Value) != 0 {
				f.failed = "unknown feature"
				return false
			}
			if leUint32(t.Value[4:]) != f.tid {
				return false
			}
		case FastTail:
			summed = fastTagSize + 4 // up to fc_crc
		}
		f.seen++
		f.sum = crc32c(f.sum, b[off:off+summed])
		if t.Tag == FastTail {
			if leUint32(t.Value) != f.tid || leUint32(t.Value[4:]) != f.sum {
				f.failed = "bad checksum"
				return false
			}
			f.valid = f.seen
			f.commits++
			f.sum = 0
		}
		off += n
	}
	return true
}
