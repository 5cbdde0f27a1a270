package ext4

import (
	"fmt"
	"io"

	"lagan/evidence"
	"lagan/evidence/jbd2"
)

// recovered returns the filesystem as it is after its journal, as the kernel's
// mount would have replayed it: opened again over a device that the log, in
// memory, overlays. It is fs itself where there is nothing to replay, where the
// caller wants to see the stale view, and where the journal can't be read,
// which is warned of.
func (fs *FS) recovered() *FS {
	fs.journal = fs.journalState()
	fs.findExternal()
	dirty := fs.journal.State == evidence.JournalDirty
	if !dirty && fs.journal.State != evidence.JournalClean {
		return fs
	}
	log, err := fs.readLog()
	switch {
	case err != nil && dirty:
		fs.journal.Note = err.Error()
		fs.opts.Warning(fmt.Errorf("ext4: journal is dirty and can't be replayed: the view is stale: %w", err))
		return fs
	case err != nil:
		fs.journal.Note = err.Error()
		fs.opts.Warning(fmt.Errorf("ext4: journal: %w", err))
		return fs
	case !dirty:
		// ext4_load_journal: without the flag the log is wiped unread (jbd2_journal_wipe).
		if n := len(log.Transactions); n > 0 {
			fs.journal.Note = fmt.Sprintf("the superblock asks for no recovery, so that %d transactions in the log don't count", n)
		}
		return fs
	case !log.Dirty():
		fs.journal.State = evidence.JournalClean
		return fs
	}
	fs.describe(log)
	if fs.opts.NoJournal {
		fs.opts.Warning(fmt.Errorf("ext4: journal is dirty and was left alone: the view is stale by %d transactions", len(log.Transactions)))
		return fs
	}
	return fs.replay(log)
}

// findExternal looks for the device that has the journal, where it is not in
// the filesystem, and sets the state that the journal then has.
func (fs *FS) findExternal() {
	if fs.journal.State != evidence.JournalExternal {
		return
	}
	for i, d := range fs.opts.Devices {
		if uuid, ok := journalDevice(d, d.Size); ok && uuid == fs.sb.journalUUID {
			fs.devices = []int{i}
			fs.journal = evidence.Journal{State: evidence.JournalClean, Note: "the journal is on another device, which is here"}
			if fs.sb.incompat&incompatRecover != 0 {
				fs.journal.State = evidence.JournalDirty
			}
			return
		}
	}
}

// journalDevice says of a volume that is a journal and nothing else which one it is.
func journalDevice(dev io.ReaderAt, size int64) (uuid [16]byte, ok bool) {
	b := make([]byte, superSize)
	if size < superOffset+superSize || readFull(dev, b, superOffset) != nil {
		return uuid, false
	}
	if le.Uint16(b[superMagicAt:]) != superMagic || le.Uint32(b[0x60:])&incompatJournalDev == 0 {
		return uuid, false
	}
	copy(uuid[:], b[0x68:])
	return uuid, true
}

// describe notes what is in the log.
func (fs *FS) describe(log *jbd2.Log) {
	j := &fs.journal
	j.Transactions, j.Blocks = len(log.Transactions), log.Replaced
	j.First, j.Last = log.Span()
	if log.Note != "" {
		fs.note(log.Note)
	}
	if log.FastCommits > 0 {
		fs.note(fmt.Sprintf("%d fast commits", log.FastCommits))
	}
	if log.Errno != 0 {
		fs.note(fmt.Sprintf("the kernel noted error %d in the journal", log.Errno))
	}
}

// note adds to what Describe says of the journal.
func (fs *FS) note(s string) {
	if fs.journal.Note != "" {
		s = fs.journal.Note + "; " + s
	}
	fs.journal.Note = s
}

// readLog reads the log from the journal's inode, or, where that is damaged,
// from the copy of its block map in the superblock.
func (fs *FS) readLog() (*jbd2.Log, error) {
	for _, i := range fs.devices {
		d := fs.opts.Devices[i]
		return fs.readLogFrom(io.NewSectionReader(d, 0, d.Size))
	}
	r, err := fs.journalInode()
	if err != nil {
		err = fmt.Errorf("journal inode: %w", err)
	} else {
		var log *jbd2.Log
		if log, err = fs.readLogFrom(r); err == nil {
			return log, nil
		}
	}
	if r := fs.journalBackup(); r != nil {
		if log, again := fs.readLogFrom(r); again == nil {
			fs.opts.Warning(fmt.Errorf("ext4: %w; the copy of the journal's block map in the superblock is used", err))
			return log, nil
		}
	}
	return nil, err
}

func (fs *FS) readLogFrom(r *io.SectionReader) (*jbd2.Log, error) {
	told := evidence.Options{Warn: func(err error) { fs.opts.Warning(fmt.Errorf("ext4: %w", err)) }}
	log, err := jbd2.Read(r, r.Size(), told)
	if err != nil {
		return nil, err
	}
	if log.BlockSize != fs.sb.blockSize() {
		return nil, fmt.Errorf("journal blocks of %d bytes in a filesystem of %d: %w", log.BlockSize, fs.sb.blockSize(), evidence.ErrCorrupt)
	}
	return log, nil
}

// The superblock's copy of the journal's inode (struct ext2_super_block of e2fsprogs).
const (
	jnlBackupTypeAt = 0xfd  // s_jnl_backup_type
	jnlBlocksAt     = 0x10c // s_jnl_blocks: i_block, then the high and the low word of i_size
	jnlBackupBlocks = 1     // EXT3_JNL_BACKUP_BLOCKS
)

// journalBackup returns the journal by the block map in the superblock, which
// e2fsck falls back on (e2fsck_get_journal in journal.c); nil where there is none.
func (fs *FS) journalBackup() *io.SectionReader {
	b := make([]byte, superSize)
	if readFull(fs.dev, b, superOffset) != nil || b[jnlBackupTypeAt] != jnlBackupBlocks {
		return nil
	}
	in := &inode{ino: fs.sb.journalIno, mode: 0o100600, links: 1}
	copy(in.block[:], b[jnlBlocksAt:])
	size := b[jnlBlocksAt+iBlockSize:]
	in.size = int64(le.Uint32(size))<<32 | int64(le.Uint32(size[4:]))
	if le.Uint16(in.block[:]) == extMagic {
		in.flags = flagExtents
	}
	if in.size <= 0 {
		return nil
	}
	return fs.content(in)
}

// replay opens the filesystem again over the log.
func (fs *FS) replay(log *jbd2.Log) *FS {
	// The superblock may be in the log as well, as any block.
	over, err := open(log.Overlay(fs.dev), fs.size, fs.opts)
	if err != nil {
		fs.journal.Note = err.Error()
		fs.opts.Warning(fmt.Errorf("ext4: after the replay of the journal there is no filesystem: the view is stale: %w", err))
		return fs
	}
	over.raw = fs.dev
	over.journal, over.devices = fs.journal, fs.devices
	over.journal.State = evidence.JournalReplayed
	if log.FastCommits > 0 {
		over.applyFast(log)
	}
	return over
}
