package xfs

import (
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
	f.eachInode(agno, chunks, func(ino uint64, off int64, raw []byte, free bool, err error) bool {
		if !free {
			return true
		}
		var d dinode
		if err == nil {
			d, err = f.decodeInode(ino, off, raw)
		} else if more = yield(evidence.DeletedInode{}, err); !more {
			return false
		}
		// An inode that was never used has no times: mkfs and xfs_ialloc_inode_init write zeros.
		if err != nil || d.mode != 0 || be.Uint64(raw[diCtime:]) == 0 {
			return true
		}
		info := f.info(&d)
		info.FromJournal = f.changed(&d)
		more = yield(evidence.DeletedInode{Ino: evidence.Ino(d.ino), Info: info, Deleted: info.Ctime}, nil)
		return more
	})
	return more
}
