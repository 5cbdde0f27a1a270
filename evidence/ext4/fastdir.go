package ext4

import (
	"fmt"
	"io/fs"

	"lagan/evidence"
)

// fastDir is a directory that fast commits change: the names that they are
// about, and where new ones go.
type fastDir struct {
	names  map[string]*fastEntry // nil where there is no such name
	looked bool                  // names were looked for
	room   int64                 // on the volume: the unused end of the last block added; 0 without one
	end    int64
}

// fastEntry is where a name stands.
type fastEntry struct {
	ino  uint32
	at   int64  // of the entry on the volume
	lblk uint64 // of its block; inline directories have none
}

// dir returns the directory with its names found.
func (r *fastReplay) dir(ino uint32) (*fastDir, *inode, error) {
	in, err := r.get(ino)
	if err != nil {
		return nil, nil, err
	}
	if in.typ() != evidence.TypeDir {
		return nil, nil, fs.ErrNotExist
	}
	d := r.dirs[ino]
	if d == nil || d.looked {
		return d, in, nil
	}
	d.looked = true
	if in.flags&flagInlineData != 0 {
		return d, in, r.lookInline(d, in)
	}
	end := (uint64(max(in.size, 0)) + uint64(r.fs.sb.blockSize()) - 1) >> r.fs.sb.blockBits
	for u, err := range r.fs.mapping(in).runs(end) {
		for i := uint64(0); err == nil && u.pblk != 0 && i < u.n; i++ {
			b, err := r.fs.block(u.pblk + i)
			if err != nil {
				break // told when the directory is read
			}
			d.look(b, r.fs.offset(u.pblk+i), u.lblk+i)
		}
	}
	return d, in, nil
}

// look notes the names in one block that changes are about.
func (d *fastDir) look(b []byte, off int64, lblk uint64) {
	for at := 0; at+dirEntryHeader <= len(b); {
		e := b[at:]
		n, nameLen := recLen(e[4:], len(b)), int(e[6])
		if n < dirEntryHeader+nameLen || n < 12 || n > len(e) {
			return
		}
		if ino := le.Uint32(e); ino != 0 {
			name := e[dirEntryHeader : dirEntryHeader+nameLen]
			if _, wanted := d.names[string(name)]; wanted && !isDot(name) {
				d.names[string(name)] = &fastEntry{ino, off + int64(at), lblk}
			}
		}
		at += n
	}
}

// lookInline finds the names in an inline directory: both parts lie in the inode.
func (r *fastReplay) lookInline(d *fastDir, in *inode) error {
	at, err := r.fs.inodeAt(in.ino)
	if err != nil {
		return err
	}
	for _, part := range r.inlineParts(in) {
		d.look(in.raw[part.from:part.to], at+int64(part.from), 0)
	}
	return nil
}

// part is a piece of an inode.
type part struct{ from, to int }

// inlineParts returns where the entries of an inline directory lie in its inode.
func (r *fastReplay) inlineParts(in *inode) []part {
	parts := []part{{iBlock + 4, iBlock + iBlockSize}}
	r.fs.inodeXattrs(in, func(e xattrEntry, region []byte) error {
		if e.index == xattrSystemIndex && string(e.name) == "data" && e.inum == 0 {
			if v, err := e.value(region); err == nil && len(v) > 0 {
				if from := len(in.raw) - len(region) + int(e.offs); from >= goodOldInodeSize && from+len(v) <= len(in.raw) {
					parts = append(parts, part{from, from + len(v)})
				}
			}
		}
		return nil
	})
	return parts
}

// addName adds an entry, or returns fs.ErrExist where there is one of this
// name. New entries go to a block of their own at the end of the directory:
// readers find them there, be it indexed or not.
func (r *fastReplay) addName(dir, ino uint32, name string) error {
	d, in, err := r.dir(dir)
	if err != nil {
		return err
	}
	if d.names[name] != nil {
		return fs.ErrExist
	}
	child, err := r.fs.inode(ino)
	if err != nil {
		return err
	}
	if in.flags&flagInlineData != 0 {
		return r.addInline(d, in, child, name)
	}
	size := (dirEntryHeader + len(name) + 3) &^ 3
	if d.end-d.room < int64(size) {
		if err := r.growDir(d, in); err != nil {
			return err
		}
	}
	at := d.room
	d.room += int64(size)
	d.names[name] = &fastEntry{ino: ino, at: at}
	return r.editDir(in, at, func(b []byte, i int) {
		// The unused end of the block is one empty entry, which this one shortens.
		left := recLen(b[i+4:], len(b)) - size
		if left < 12 {
			size, left = size+left, 0
		}
		r.putEntry(b[i:], ino, size, child.typ(), name)
		if left > 0 {
			r.putEntry(b[i+size:], 0, left, 0, "")
		} else {
			d.room = d.end
		}
	})
}

func (r *fastReplay) putEntry(b []byte, ino uint32, size int, typ evidence.Type, name string) {
	le.PutUint32(b, ino)
	putRecLen(b[4:], size, r.fs.sb.blockSize())
	b[6], b[7] = uint8(len(name)), 0
	if r.fs.sb.incompat&incompatFiletype != 0 && ino != 0 {
		for i, t := range fileTypes {
			if t == typ {
				b[7] = uint8(i)
			}
		}
	}
	copy(b[dirEntryHeader:], name)
}

// putRecLen is the counterpart of recLen (ext4_rec_len_to_disk).
func putRecLen(b []byte, n, blockSize int) {
	switch {
	case blockSize < 1<<16:
	case n == 1<<16:
		n = 1<<16 - 1
	default:
		n = n&^3 | n>>16&3
	}
	le.PutUint16(b, uint16(n))
}

// editDir lets fn change the block of a directory that holds the byte at off,
// and sets the block's checksum.
func (r *fastReplay) editDir(in *inode, off int64, fn func(b []byte, i int)) error {
	start := off &^ int64(r.fs.sb.blockSize()-1)
	b, err := r.editBytes(start, r.fs.sb.blockSize())
	if err != nil {
		return err
	}
	fn(b, int(off-start))
	r.setDirSum(in, b)
	return nil
}

// growDir adds an empty block to a directory.
func (r *fastReplay) growDir(d *fastDir, in *inode) error {
	f, err := r.load(in)
	if err != nil {
		return err
	}
	blk, b, err := r.newBlock()
	if err != nil {
		return err
	}
	size := r.fs.sb.blockSize()
	d.room = r.fs.offset(blk)
	d.end = d.room + int64(size)
	if r.fs.sb.metadataCsum() {
		d.end -= dirTailSize
	}
	r.putEntry(b, 0, int(d.end-d.room), 0, "")
	r.setDirSum(in, b)
	lblk := (uint64(max(in.size, 0)) + uint64(size) - 1) >> r.fs.sb.blockBits
	f.cut(lblk, 1)
	f.add(run{lblk, 1, blk})
	if err := r.writeRuns(in.ino); err != nil {
		return err
	}
	delete(r.files, in.ino) // directories are looked at on the way: what is written is what counts
	r.runs -= len(f.runs)
	return r.editInode(in.ino, func(raw []byte) {
		end := (lblk + 1) << r.fs.sb.blockBits
		le.PutUint32(raw[0x04:], uint32(end))
		le.PutUint32(raw[0x6c:], uint32(end>>32))
	})
}

// makeDir gives a new directory its first block (ext4_init_new_dir). It isn't
// made where the inode has blocks already: an earlier commit made it.
func (r *fastReplay) makeDir(parent, ino uint32) (bool, error) {
	in, err := r.get(ino)
	if err != nil {
		return false, gone(err)
	}
	if in.flags&flagExtents != 0 {
		if u, err := r.fs.mapping(in).find(0); err != nil || u.pblk != 0 {
			return false, nil
		}
	}
	if err := r.editInode(ino, func(raw []byte) {
		clear(raw[iBlock:][:iBlockSize])
		putExtentHeader(raw[iBlock:], 0, 4, 0)
		le.PutUint32(raw[0x04:], 0)
		le.PutUint32(raw[0x6c:], 0)
	}); err != nil {
		return false, err
	}
	delete(r.files, ino)
	d := r.dirs[ino]
	if d == nil {
		d = &fastDir{names: map[string]*fastEntry{}}
		r.dirs[ino] = d
	}
	d.looked = true
	if in, err = r.get(ino); err != nil {
		return false, err
	}
	if err := r.growDir(d, in); err != nil {
		return false, err
	}
	at := d.room
	d.room += 24
	return true, r.editDir(in, at, func(b []byte, i int) {
		left := recLen(b[i+4:], len(b)) - 24
		r.putEntry(b, ino, 12, evidence.TypeDir, ".")
		r.putEntry(b[12:], parent, 12, evidence.TypeDir, "..")
		r.putEntry(b[24:], 0, left, 0, "")
	})
}

// removeName removes an entry, if it leads to the inode. fs.ErrNotExist where there is none of this name.
func (r *fastReplay) removeName(dir, ino uint32, name string) error {
	d, in, err := r.dir(dir)
	if err != nil {
		return err
	}
	e := d.names[name]
	switch {
	case e == nil:
		return fs.ErrNotExist
	case e.ino != ino:
		return nil
	}
	d.names[name] = nil
	if in.flags&flagInlineData != 0 {
		at, err := r.fs.inodeAt(dir)
		if err != nil {
			return err
		}
		return r.editInode(dir, func(raw []byte) { le.PutUint32(raw[e.at-at:], 0) })
	}
	return r.editDir(in, e.at, deleteEntry)
}

// deleteEntry joins the entry at i to the one before it and wipes it
// (ext4_generic_delete_entry in namei.c).
func deleteEntry(b []byte, i int) {
	before := -1
	for at := 0; at < i; {
		n := recLen(b[at+4:], len(b))
		if n < 12 || n > i-at {
			before = -1
			break
		}
		before, at = at, at+n
	}
	n := recLen(b[i+4:], len(b))
	if before < 0 {
		le.PutUint32(b[i:], 0)
		clear(b[i+6 : i+n])
		return
	}
	putRecLen(b[before+4:], i+n-before, len(b))
	clear(b[i : i+n])
}

// addInline puts an entry into the unused part of an inline directory.
func (r *fastReplay) addInline(d *fastDir, in, child *inode, name string) error {
	at, err := r.fs.inodeAt(in.ino)
	if err != nil {
		return err
	}
	need := (dirEntryHeader + len(name) + 3) &^ 3
	parts := r.inlineParts(in)
	done := false
	err = r.editInode(in.ino, func(raw []byte) {
		for _, p := range parts {
			if i := splitEntry(raw[p.from:p.to], need); i >= 0 {
				n := recLen(raw[p.from+i+4:], p.to-p.from)
				r.putEntry(raw[p.from+i:], child.ino, n, child.typ(), name)
				d.names[name] = &fastEntry{ino: child.ino, at: at + int64(p.from+i)}
				done = true
				return
			}
		}
	})
	if err == nil && !done {
		err = fmt.Errorf("directory inode %d: no room for %q in the inode: %w", in.ino, name, evidence.ErrUnsupported)
	}
	return err
}

// splitEntry finds need bytes that no entry of a list uses, makes an entry of
// them and returns where it begins; -1 where there is no room (ext4_add_dirent_to_inline).
func splitEntry(b []byte, need int) int {
	for at := 0; at+dirEntryHeader <= len(b); {
		n, nameLen := int(le.Uint16(b[at+4:])), int(b[at+6])
		if n < 12 || n&3 != 0 || n > len(b)-at || n < dirEntryHeader+nameLen {
			return -1
		}
		used := (dirEntryHeader + nameLen + 3) &^ 3
		if le.Uint32(b[at:]) == 0 {
			used = 0
		}
		if n-used >= need {
			if used > 0 {
				le.PutUint16(b[at+4:], uint16(used))
			}
			at += used
			le.PutUint16(b[at+4:], uint16(n-used))
			return at
		}
		at += n
	}
	return -1
}
