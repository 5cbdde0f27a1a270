package ext4

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"lagan/evidence"
	"lagan/evidence/jbd2"
)

// Values of the tags of a fast commit (fs/ext4/fast_commit.h).
const (
	fcDentryName = 8 // fc_dname, after fc_parent_ino and fc_ino
	fcRawInode   = 4 // fc_raw_inode, after fc_ino
	fcExtent     = 4 // fc_ex, after fc_ino
	iGeneration  = 0x64
	iBlock       = 0x28
)

// fastReplay applies fast commits to a filesystem in memory, change by change,
// as fs/ext4/fast_commit.c does on the disk: with its results, the odd ones
// included (a folder that a fast commit made has one link).
type fastReplay struct {
	fs    *FS
	mem   *memory
	alloc allocator
	files map[uint32]*fileRuns
	dirs  map[uint32]*fastDir
	// deleted are inodes whose last name was removed: the kernel frees them at
	// once. What they point to is kept until another file takes the inode.
	deleted map[uint32]struct{}
	runs    int // in files
	refused error
}

// applyFast applies the log's fast commits. What can't be applied is warned of.
func (fs *FS) applyFast(log *jbd2.Log) {
	r := &fastReplay{
		fs: fs, mem: newMemory(fs.dev, fs.sb.blockBits), files: map[uint32]*fileRuns{},
		dirs: map[uint32]*fastDir{}, deleted: map[uint32]struct{}{},
	}
	r.alloc.fs = fs
	fs.dev = r.mem
	r.prepare(log)
	for t, err := range log.FastChanges() {
		if err == nil {
			err = r.apply(t)
		}
		if err != nil {
			fs.fastFailed("fast commits are applied in part", err)
			break
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(r.files)) {
		if err := r.writeRuns(ino); err != nil {
			fs.fastFailed("a fast commit is applied in part", err)
		}
	}
	if r.refused != nil {
		fs.fastFailed("the kernel would refuse the fast commits", r.refused)
	}
}

func (fs *FS) fastFailed(what string, err error) {
	fs.note(what + ": " + err.Error())
	fs.opts.Warning(fmt.Errorf("ext4: %s: %w", what, err))
}

// prepare notes which names and blocks the changes are about: names are looked
// for in one pass over a folder, and blocks that a file gets later must not be
// taken for anything else (fc_regions).
func (r *fastReplay) prepare(log *jbd2.Log) {
	for t, err := range log.FastChanges() {
		if err != nil {
			return
		}
		switch t.Tag {
		case jbd2.FastAddRange:
			f := decodeExtent(t.Value[fcExtent:])
			r.alloc.reserve(f.pblk, f.n)
		case jbd2.FastCreate, jbd2.FastLink, jbd2.FastUnlink:
			dir := le.Uint32(t.Value)
			d := r.dirs[dir]
			if d == nil {
				d = &fastDir{names: map[string]*fastEntry{}}
				r.dirs[dir] = d
			}
			d.names[string(t.Value[fcDentryName:])] = nil
		}
	}
}

// refuse notes the first thing on which the kernel's replay would have failed, and with it the mount.
func (r *fastReplay) refuse(err error) {
	if r.refused == nil {
		r.refused = err
	}
}

// apply makes one change. An inode that isn't there is no error, but nothing to do.
func (r *fastReplay) apply(t jbd2.FastTag) error {
	ino := le.Uint32(t.Value)
	switch t.Tag {
	case jbd2.FastInode:
		return r.replaceInode(ino, t.Value[fcRawInode:])
	case jbd2.FastAddRange:
		f := decodeExtent(t.Value[fcExtent:])
		if !f.unwritten && !r.fs.validBlocks(f.pblk, f.n) {
			return fmt.Errorf("inode %d: fast commit with blocks %#x to %#x: %w", ino, f.pblk, f.pblk+f.n, evidence.ErrCorrupt)
		}
		return r.setRange(ino, f)
	case jbd2.FastDelRange:
		return r.setRange(ino, extentRun{run: run{lblk: uint64(le.Uint32(t.Value[4:])), n: uint64(le.Uint32(t.Value[8:]))}})
	}
	dir, ino, name := ino, le.Uint32(t.Value[4:]), string(t.Value[fcDentryName:])
	switch t.Tag {
	case jbd2.FastCreate:
		return r.create(dir, ino, name)
	case jbd2.FastLink:
		return r.link(dir, ino, name)
	case jbd2.FastUnlink:
		return r.unlink(dir, ino, name)
	}
	return nil
}

// get returns an inode that the kernel's ext4_iget would find; else fs.ErrNotExist.
func (r *fastReplay) get(ino uint32) (*inode, error) {
	if ino < r.fs.sb.firstIno && ino != rootIno || ino > r.fs.sb.inodes {
		return nil, fs.ErrNotExist
	}
	in, err := r.fs.inode(ino)
	if err != nil {
		return nil, err
	}
	if in.links == 0 {
		return nil, fs.ErrNotExist
	}
	return in, nil
}

// gone returns nil where err says that an inode isn't there: the change is passed over, as in the kernel.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// editInode lets fn change an inode, and sets its checksum.
func (r *fastReplay) editInode(ino uint32, fn func(raw []byte)) error {
	at, err := r.fs.inodeAt(ino)
	if err != nil {
		return err
	}
	raw, err := r.editBytes(at, r.fs.sb.inodeSize)
	if err != nil {
		return fmt.Errorf("inode %d: %w", ino, err)
	}
	fn(raw)
	r.fs.sb.setInodeSum(ino, raw)
	return nil
}

// editBytes returns n bytes at off, which lie in one block, to be changed.
func (r *fastReplay) editBytes(off int64, n int) ([]byte, error) {
	b, err := r.mem.edit(uint64(off) >> r.fs.sb.blockBits)
	if err != nil {
		return nil, err
	}
	r.fs.cache.forget(off, chunkSize)
	r.fs.blocks.forget(off, r.fs.blockChunk())
	in := int(uint64(off) & uint64(r.fs.sb.blockSize()-1))
	return b[in : in+n : in+n], nil
}

// replaceInode puts an inode in its place but for i_block, which the ranges
// build up, unless it holds the content itself (ext4_fc_replay_inode).
func (r *fastReplay) replaceInode(ino uint32, image []byte) error {
	if ino < r.fs.sb.firstIno && ino != rootIno || ino > r.fs.sb.inodes || len(image) > r.fs.sb.inodeSize {
		return fmt.Errorf("fast commit of inode %d in %d bytes: %w", ino, len(image), evidence.ErrCorrupt)
	}
	_, taken := r.deleted[ino]
	delete(r.deleted, ino)
	err := r.editInode(ino, func(raw []byte) {
		if taken {
			delete(r.files, ino)
			clear(raw[iBlock:][:iBlockSize])
		}
		copy(raw[:iBlock], image)
		copy(raw[iGeneration:], image[iGeneration:])
		flags := le.Uint32(raw[0x20:])
		switch {
		case flags&flagExtents != 0:
			if h := raw[iBlock:]; le.Uint16(h) != extMagic {
				delete(r.files, ino)
				putExtentHeader(h, 0, 4, 0)
			}
		case flags&flagInlineData != 0:
			delete(r.files, ino)
			copy(raw[iBlock:][:iBlockSize], image[iBlock:])
		default:
			delete(r.files, ino)
		}
	})
	if err != nil {
		return err
	}
	if le.Uint16(image[0x1a:]) == 0 { // i_links_count
		// ext4_iget of it fails with ESTALE, and the replay with EFSCORRUPTED.
		r.refuse(fmt.Errorf("inode %d has no links: %w", ino, evidence.ErrCorrupt))
	}
	return r.markUsed(ino)
}

// create links a new inode (ext4_fc_replay_create).
func (r *fastReplay) create(dir, ino uint32, name string) error {
	in, err := r.get(ino)
	if errors.Is(err, fs.ErrNotExist) {
		r.refuse(fmt.Errorf("inode %d of the new name %q is not there: %w", ino, name, evidence.ErrCorrupt))
		return nil
	} else if err != nil {
		return err
	}
	if err := r.markUsed(ino); err != nil {
		return err
	}
	if in.typ() == evidence.TypeDir && in.flags&flagInlineData == 0 {
		if _, err := r.get(dir); err != nil {
			return gone(err)
		}
		if made, err := r.makeDir(dir, ino); !made {
			return err
		}
	}
	if err := r.addName(dir, ino, name); gone(err) != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return r.setLinks(ino, func(uint16) uint16 { return 1 })
}

// link adds a name (ext4_fc_replay_link).
func (r *fastReplay) link(dir, ino uint32, name string) error {
	if _, err := r.get(ino); err != nil {
		return gone(err)
	}
	switch err := r.addName(dir, ino, name); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return gone(err)
	}
	return r.setLinks(ino, func(n uint16) uint16 { return n + 1 })
}

// unlink removes a name (ext4_fc_replay_unlink, __ext4_unlink). A link is
// dropped even where the name leads to another inode by now.
func (r *fastReplay) unlink(dir, ino uint32, name string) error {
	if _, err := r.get(ino); err != nil {
		return gone(err)
	}
	if err := r.removeName(dir, ino, name); err != nil {
		return gone(err)
	}
	return r.setLinks(ino, func(n uint16) uint16 {
		if n == 1 {
			r.deleted[ino] = struct{}{}
		}
		return n - 1
	})
}

func (r *fastReplay) setLinks(ino uint32, fn func(uint16) uint16) error {
	return r.editInode(ino, func(raw []byte) { le.PutUint16(raw[0x1a:], fn(le.Uint16(raw[0x1a:]))) })
}

// markUsed marks an inode in its group's bitmap, and counts it among those
// that the descriptor says are used (ext4_mark_inode_used).
func (r *fastReplay) markUsed(ino uint32) error {
	sb := r.fs.sb
	g, i := (ino-1)/sb.inodesPerGroup, (ino-1)%sb.inodesPerGroup
	d, err := r.fs.group(g)
	if err != nil {
		return err
	}
	bitmap, err := r.editBytes(r.fs.offset(d.inodeBitmap), sb.blockSize())
	if err != nil {
		return err
	}
	uninit := d.used == 0 && sb.groupsCounted()
	if uninit {
		clear(bitmap)
	}
	bitmap[i/8] |= 1 << (i % 8)
	if i < d.used {
		return nil
	}
	desc, err := r.editBytes(r.fs.descAt(g, 0), sb.descSize)
	if err != nil {
		return err
	}
	unused := sb.inodesPerGroup - i - 1
	le.PutUint16(desc[0x12:], le.Uint16(desc[0x12:])&^bgInodeUninit)
	le.PutUint16(desc[0x1c:], uint16(unused)) // bg_itable_unused_lo
	if sb.descSize >= descSize64 {
		le.PutUint16(desc[0x32:], uint16(unused>>16)) // bg_itable_unused_hi
	}
	sb.setDescSum(g, desc)
	return nil
}
