package ext4

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"lagan/evidence"
)

// maxOrphanFile bounds the orphan file: mke2fs makes at most 512 blocks of it.
const maxOrphanFile = 64 << 20

// Deleted yields the inodes that were deleted and not used again since, in the
// order of the inode tables: what their fields still say, and, of those that a
// process held open (the orphans), the content too. Since Linux 3.x a deleted
// inode keeps its owner, mode and times, not its size and blocks.
func (fs *FS) Deleted() iter.Seq2[evidence.DeletedInode, error] {
	return func(yield func(evidence.DeletedInode, error) bool) {
		orphans, err := fs.orphans()
		if err != nil && !yield(evidence.DeletedInode{}, err) {
			return
		}
		more := true
		emit := func(ino uint32, raw []byte, marked bool) {
			_, open := orphans[ino]
			delete(orphans, ino)
			// One that is still allocated, with a number for a time, lost its place in the list.
			open = open || marked && fs.numbers(le.Uint32(raw[0x14:]))
			if d, ok := fs.deleted(ino, raw, open); ok {
				more = yield(d, nil)
			}
		}
		size := fs.sb.inodeSize
		fs.tables(func(t *table, err error) bool {
			if err != nil {
				more = yield(evidence.DeletedInode{}, err)
				return more
			}
			for _, p := range t.pieces {
				raw := t.of(p, size)
				for i := 0; i < p.n && more; i++ {
					b := raw[i*size : (i+1)*size]
					if le.Uint16(b[0x1a:]) == 0 && !fs.sb.hidden(p.first+uint32(i)) {
						marked, _ := p.allocated(fs.sb, i)
						emit(p.first+uint32(i), b, marked)
					}
				}
			}
			return more
		})
		// Orphans behind what the descriptors count as used.
		for _, ino := range slices.Sorted(maps.Keys(orphans)) {
			if raw, err := fs.rawInode(ino); err == nil && more {
				emit(ino, raw, false)
			}
		}
	}
}

// deleted decodes what is left of a deleted inode, if anything is.
func (fs *FS) deleted(ino uint32, raw []byte, open bool) (evidence.DeletedInode, bool) {
	if le.Uint16(raw[0x1a:]) != 0 || le.Uint32(raw[0x20:])&flagEAInode != 0 {
		return evidence.DeletedInode{}, false
	}
	if le.Uint16(raw) == 0 && (open || le.Uint32(raw[0x14:]) == 0) { // i_mode, i_dtime
		return evidence.DeletedInode{}, false
	}
	var in inode
	fs.decodeInode(&in, ino, raw)
	d := evidence.DeletedInode{Ino: evidence.Ino(ino), Info: fs.info(&in), Open: open}
	for _, t := range []*time.Time{&d.Info.Mtime, &d.Info.Atime, &d.Info.Ctime, &d.Info.Btime} {
		if t.Unix() == 0 { // gone, or never there
			*t = time.Time{}
		}
	}
	if fs.raw != nil {
		d.Info.FromJournal = fs.replayed(&in)
	}
	if !open && !fs.numbers(in.dtime) {
		d.Deleted = time.Unix(int64(in.dtime), 0).UTC()
	}
	return d, true
}

// numbers says whether an i_dtime is no time but, as in an orphan, the number
// of the next one, 0 in the last (e2fsck tells them apart in the same way).
func (fs *FS) numbers(dtime uint32) bool {
	when := time.Unix(int64(dtime), 0)
	return dtime == 0 || dtime <= fs.sb.inodes && (fs.sb.created.IsZero() || when.Before(fs.sb.created))
}

// orphans returns the inodes that were deleted while they were open: those on
// the list that begins in the superblock and goes on in i_dtime, and those in
// the orphan file (ext4_orphan_cleanup in orphan.c). Inodes with links, which
// were only being truncated, are left out.
func (fs *FS) orphans() (map[uint32]struct{}, error) {
	out := map[uint32]struct{}{}
	seen := map[uint32]struct{}{}
	var failed error
	for ino := fs.sb.lastOrphan; ino != 0; {
		if _, again := seen[ino]; again || ino < fs.sb.firstIno {
			failed = fmt.Errorf("orphan list: inode %d is no next one: %w", ino, evidence.ErrCorrupt)
			break
		}
		seen[ino] = struct{}{}
		in, err := fs.inode(ino)
		if err != nil {
			failed = fmt.Errorf("orphan list: %w", err)
			break
		}
		if in.links == 0 && in.mode != 0 {
			out[ino] = struct{}{}
		}
		ino = in.dtime
	}
	if fs.sb.compat&compatOrphanFile != 0 && fs.sb.orphanFile != 0 {
		failed = errors.Join(failed, fs.orphanFile(out))
	}
	return out, failed
}

// orphanFile adds the deleted inodes that the orphan file names.
func (fs *FS) orphanFile(out map[uint32]struct{}) error {
	in, err := fs.inode(fs.sb.orphanFile)
	if err != nil {
		return fmt.Errorf("orphan file: %w", err)
	}
	if in.size > maxOrphanFile {
		return fmt.Errorf("orphan file of %d bytes: %w", in.size, evidence.ErrCorrupt)
	}
	r := fs.content(in)
	b := make([]byte, fs.sb.blockSize())
	var failed error
	for lblk := uint64(0); ; lblk++ {
		if _, err := io.ReadFull(r, b); err == io.EOF {
			return failed
		} else if err != nil {
			return errors.Join(failed, fmt.Errorf("orphan file: %w", err))
		}
		tail := b[len(b)-orphanTailSize:]
		if le.Uint32(tail) != orphanMagic {
			failed = errors.Join(failed, fmt.Errorf("orphan file: block %d: magic %#x: %w", lblk, le.Uint32(tail), evidence.ErrCorrupt))
			continue
		}
		fs.verifyOrphans(in, lblk, b)
		for e := b[:len(b)-orphanTailSize]; len(e) >= 4; e = e[4:] {
			ino := le.Uint32(e)
			if ino < fs.sb.firstIno || ino > fs.sb.inodes {
				continue
			}
			if o, err := fs.inode(ino); err == nil && o.links == 0 && o.mode != 0 {
				out[ino] = struct{}{}
			}
		}
	}
}

// verifyOrphans checks a block's checksum (ext4_orphan_file_block_csum_verify).
func (fs *FS) verifyOrphans(in *inode, lblk uint64, b []byte) {
	if !fs.sb.metadataCsum() {
		return
	}
	r, err := fs.mapping(in).find(lblk)
	if err != nil {
		return
	}
	end := len(b) - orphanTailSize
	c := crc32cU32(crc32cU32(in.seed(fs.sb), uint32(r.pblk)), uint32(r.pblk>>32))
	if crc32c(c, b[:end]) != le.Uint32(b[end+4:]) {
		fs.warn(object{inOrphans, lblk}, fmt.Errorf("orphan file: block %d at %#x: bad checksum: %w", lblk, r.pblk, evidence.ErrCorrupt))
	}
}
