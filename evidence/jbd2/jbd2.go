// Package jbd2 reads the journal of ext3 and ext4 and replays it in memory, as
// a block overlay: the disk stays as it was.
//
// The rules are those of fs/jbd2/recovery.c: which transactions count, which
// blocks a later transaction revoked, where a bad checksum ends the replay.
// Where the kernel would refuse the mount, everything that is sound is
// replayed nevertheless, and Log.Note says what the kernel would have refused.
//
// Input is hostile: no panic, no unbounded allocation, no infinite loop. The
// overlay keeps positions in the log, never contents: 16 bytes a block.
package jbd2

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"lagan/evidence"
)

// Transaction is one complete transaction that is to be replayed.
type Transaction struct {
	Sequence uint32    // h_sequence of its blocks
	Commit   time.Time // when it was committed, by the node's clock; zero where not recorded
	Blocks   int       // copies of blocks in it, revoked ones included
	Revokes  int       // blocks that it revoked
}

// Log is a journal that was read: what it says of itself and what there is to replay.
type Log struct {
	Superblock
	Transactions []Transaction // complete ones, oldest first; none where the log is clean
	Replaced     int           // distinct blocks of the filesystem that the replay replaces
	Revoked      int           // copies that were not replayed because they were revoked
	Damaged      int           // copies that were not replayed because their checksum was bad
	FastCommits  int           // complete fast commits behind the last transaction
	// Note says what the kernel would have refused or given up at; it is empty
	// where the log simply ends.
	Note string

	r        io.ReaderAt
	size     int64
	replaced []replacement // by block
	fastTags int           // tags up to the last valid tail

	copyMu sync.Mutex
	copies *window // that Read looks through
}

// replacement is one block of the filesystem and the block of the log that holds
// its newest copy.
type replacement struct {
	block uint64
	pos   uint32
	flags uint16
}

// Read reads the journal that j holds: the content of the journal's inode, or a
// whole external journal device, size bytes long. What was noticed and read
// past goes to o.Warn. A journal whose superblock can't be used is an error; a
// log that breaks off later is not, see Log.Note.
func Read(j io.ReaderAt, size int64, o evidence.Options) (*Log, error) {
	l := &Log{r: j, size: size}
	if err := l.readSuperblock(o); err != nil {
		return nil, err
	}
	if !l.Dirty() {
		return l, nil
	}
	s := scan{log: l, o: o, w: newWindow(j, l.BlockSize)}
	s.run()
	s.replay()
	if l.Incompat&IncompatFastCommit != 0 && !s.refused {
		l.scanFast(o)
	}
	return l, nil
}

// readSuperblock finds the log's superblock: in block 0 of a journal inode, or,
// on a device of its own, in the block after the ext superblock.
func (l *Log) readSuperblock(o evidence.Options) error {
	b := make([]byte, superblockSize)
	off := int64(0)
	if block, ok := externalDevice(l.r); ok {
		l.External = true
		// ext4_get_journal_blkdev: EXT4_MIN_BLOCK_SIZE / blocksize + 1
		off = int64(block)
		if block == extSuperblock {
			off = 2 * extSuperblock
		}
	}
	if _, err := io.ReadFull(io.NewSectionReader(l.r, off, superblockSize), b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("journal superblock at %#x is cut off: %w", off, evidence.ErrCorrupt)
		}
		return fmt.Errorf("reading journal superblock at %#x: %w", off, err)
	}
	s, err := parseSuperblock(b)
	if err != nil {
		return err
	}
	s.External = l.External
	l.Superblock = s
	if s.BlockSize == 0 {
		return fmt.Errorf("journal superblock: block size 0: %w", evidence.ErrCorrupt)
	}
	if err := s.check(l.size / int64(s.BlockSize)); err != nil {
		return err
	}
	if s.checksummed() && crc32cWithout(^uint32(0), b, checksumOffset) != beUint32(b[checksumOffset:]) {
		l.remark(o, fmt.Errorf("journal superblock: bad checksum: %w", evidence.ErrCorrupt))
	}
	return nil
}

// externalDevice reports whether r is a device that holds a journal and nothing else, and its block size.
func externalDevice(r io.ReaderAt) (int, bool) {
	b := make([]byte, 2*extSuperblock)
	if n, _ := r.ReadAt(b, 0); n < len(b) {
		return 0, false
	}
	if leUint16(b[extMagicOffset:]) != extMagic || leUint32(b[extIncompatOffset:])&extJournalDev == 0 {
		return 0, false
	}
	log := leUint32(b[extLogBlockSize:])
	if log > 6 {
		return 0, false
	}
	return 1024 << log, true
}

// remark warns of err and adds it to the note.
func (l *Log) remark(o evidence.Options, err error) {
	o.Warning(err)
	msg := strings.TrimSuffix(err.Error(), ": "+evidence.ErrCorrupt.Error())
	if l.Note != "" {
		msg = l.Note + "; " + msg
	}
	l.Note = msg
}

// Span returns when the first and the last transaction that are to be replayed
// were committed; zero where there is none or it isn't dated.
func (l *Log) Span() (first, last time.Time) {
	if len(l.Transactions) == 0 {
		return first, last
	}
	return l.Transactions[0].Commit, l.Transactions[len(l.Transactions)-1].Commit
}
