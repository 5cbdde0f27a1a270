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
	f.eachInode(agno, chunks, nil, func(ino uint64, off int64, raw []byte, free bool, err error) bool {
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
		more = yield(f.freedInode(&d, off), nil)
		return more
	})
	return more
}

// freedInode says what is left of a freed inode. Where only the log says that it
// was freed, the disk still holds it as it was before, mode and size too.
func (f *FS) freedInode(d *dinode, off int64) evidence.DeletedInode {
	out := evidence.DeletedInode{Ino: evidence.Ino(d.ino), Info: f.info(d), Deleted: d.time(diCtime)}
	out.Info.FromJournal = f.changed(d)
	if !out.Info.FromJournal {
		return out
	}
	raw := make([]byte, len(d.raw))
	if n, _ := f.raw.ReadAt(raw, off); n < len(raw) {
		return out
	}
	if old, err := f.decodeInode(d.ino, off, raw); err == nil && old.mode != 0 {
		out.Info = f.info(&old)
	}
	return out
}
