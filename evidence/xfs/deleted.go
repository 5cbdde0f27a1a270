package xfs

import (
	"fmt"
	"iter"

	"lagan/evidence"
)

// Deleted yields, for each allocation group, first the inodes that were deleted
// while open, whose content is whole, then those that were freed. Freeing
// clears mode, size and extents and leaves owner and times; ctime is the time
// of the deletion (xfs_ifree, xfs_inode_uninit).
func (f *FS) Deleted() iter.Seq2[evidence.DeletedInode, error] {
	return func(yield func(evidence.DeletedInode, error) bool) {
		for agno := range f.groups() {
			if !f.deletedOpen(agno, yield) || !f.freed(agno, yield) {
				return
			}
		}
	}
}

func (f *FS) deletedOpen(agno uint32, yield func(evidence.DeletedInode, error) bool) bool {
	for ino, err := range f.unlinked(agno) {
		var d dinode
		if err == nil {
			d, err = f.inode(ino)
		}
		if err != nil {
			if !yield(evidence.DeletedInode{}, err) {
				return false
			}
			continue
		}
		info := f.info(&d)
		info.FromJournal = f.changed(&d)
		if !yield(evidence.DeletedInode{Ino: evidence.Ino(ino), Info: info, Deleted: info.Ctime, Open: true}, nil) {
			return false
		}
	}
	return true
}

func (f *FS) freed(agno uint32, yield func(evidence.DeletedInode, error) bool) bool {
	chunks, err := f.chunks(agno)
	if err != nil && !yield(evidence.DeletedInode{}, err) {
		return false
	}
	more := true
	f.eachChunk(agno, chunks, func(c chunk, b []byte, off int64, err error) bool {
		if err != nil {
			more = yield(evidence.DeletedInode{}, fmt.Errorf("inodes from %d on: %w", f.inoOf(agno, c.start), err))
			return more
		}
		for n := range inodesChunk {
			if !c.made(n) || !c.isFree(n) {
				continue
			}
			raw := b[n<<f.sb.inodeLog:][:f.sb.inodeSize]
			d, err := f.decodeInode(f.inoOf(agno, c.start+uint32(n)), off+int64(n)<<f.sb.inodeLog, raw)
			// An inode that was never used has no times: mkfs and xfs_ialloc_inode_init write zeros.
			if err != nil || d.mode != 0 || be.Uint64(raw[diCtime:]) == 0 {
				continue
			}
			info := f.info(&d)
			info.FromJournal = f.changed(&d)
			if more = yield(evidence.DeletedInode{Ino: evidence.Ino(d.ino), Info: info, Deleted: info.Ctime}, nil); !more {
				return false
			}
		}
		return true
	})
	return more
}
