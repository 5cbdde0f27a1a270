package ext4

import (
	"bytes"
	"maps"
	"slices"

	"lagan/evidence"
)

// entries takes the names in a block that may be a directory's, those that are
// in use and those in the slack behind them. Linux blanks a deleted entry since
// 5.13; older kernels only lengthen the one before it.
func (h *history) entries(b []byte, block uint64, dir uint32, age int64, source string) {
	ends, ok := dirChain(b)
	if !ok {
		return
	}
	if h.fs.newDirName(b) {
		dir = le.Uint32(b)
	}
	at := 0
	for _, end := range ends {
		if e := b[at:]; le.Uint32(e) != 0 && age != now && isName(e[dirEntryHeader:dirEntryHeader+int(e[6])]) {
			h.name(e, false, block, dir, age, source)
		}
		used := dirEntryHeader + (int(b[at+6])+3)&^3
		if le.Uint32(b[at:]) == 0 {
			used = 0 // a deleted first entry keeps its own name
		}
		for slack := at + used; slack+12 <= end; {
			n := h.slack(b[slack:end], block, dir, age, source)
			if n == 0 {
				n = 4
			}
			slack += n
		}
		at = end
	}
}

// newDirName says whether a block begins with the entry of the directory itself.
func (fs *FS) newDirName(b []byte) bool {
	return len(b) > 24 && b[6] == 1 && b[8] == '.' && le.Uint16(b[4:]) == 12 && b[18] == 2 && b[20] == '.' && b[21] == '.'
}

// isName says whether a name may stand in a directory. One that may not was put
// there with an editor of disks, and hides none of the others.
func isName(b []byte) bool {
	return len(b) > 0 && bytes.IndexByte(b, 0) < 0 && bytes.IndexByte(b, '/') < 0
}

// dirChain returns where the entries of a block end; false where it is no
// directory's block, whose entries fill it exactly.
func dirChain(b []byte) (ends []int, ok bool) {
	named, bad := false, false
	for at := 0; at < len(b); {
		if at+dirEntryHeader > len(b) {
			return nil, false
		}
		n, nameLen := recLen(b[at+4:], len(b)), int(b[at+6])
		if n < 12 || n < dirEntryHeader+nameLen || n&3 != 0 || at+n > len(b) {
			return nil, false
		}
		if le.Uint32(b[at:]) != 0 {
			ok := isName(b[at+dirEntryHeader : at+dirEntryHeader+nameLen])
			named, bad = named || ok, bad || !ok
		}
		at += n
		ends = append(ends, at)
	}
	return ends, named || !bad && len(ends) > 0 && len(ends) <= 2
}

// slack looks at a place between entries for one that was there, and returns its length or 0.
func (h *history) slack(b []byte, block uint64, dir uint32, age int64, source string) int {
	ino, n, nameLen := le.Uint32(b), int(le.Uint16(b[4:])), int(b[6])
	if ino < h.fs.sb.firstIno || ino > h.fs.sb.inodes || nameLen == 0 || n < dirEntryHeader+nameLen || n&3 != 0 ||
		dirEntryHeader+nameLen > len(b) || b[7]&0xf >= uint8(len(fileTypes)) || h.fs.sb.incompat&incompatFiletype != 0 && b[7] == 0 {
		return 0
	}
	if !isName(b[dirEntryHeader : dirEntryHeader+nameLen]) {
		return 0
	}
	h.name(b, true, block, dir, age, "directory slack, "+source)
	return dirEntryHeader + (nameLen+3)&^3
}

// name notes the name of one entry.
func (h *history) name(e []byte, slack bool, block uint64, dir uint32, age int64, source string) {
	ino, name := le.Uint32(e), e[dirEntryHeader:dirEntryHeader+int(e[6])]
	if ino < h.fs.sb.firstIno || ino > h.fs.sb.inodes || isDot(name) {
		return
	}
	all := h.names[ino]
	for i := range all {
		if n := &all[i]; n.name == string(name) && (n.block == block || n.dir == dir && dir != 0) && n.typ == h.typeOf(e) {
			if n.slack || !slack {
				n.age, n.source, n.slack = age, source, slack
			}
			return
		}
	}
	if len(all) >= maxOldNames || h.named >= maxNames {
		return
	}
	h.named++
	h.names[ino] = append(all, oldName{block, dir, string(name), age, source, h.typeOf(e), slack})
}

// directories finds the directory of every block with old names, and reads the
// slack of the directories that are there, and the entries of those that were deleted.
func (h *history) directories() {
	fs := h.quiet()
	size := fs.sb.inodeSize
	fs.tables(func(t *table, err error) bool {
		if err != nil {
			return true // told by Deleted
		}
		for _, p := range t.pieces {
			raw := t.of(p, size)
			for i := range p.n {
				b := raw[i*size : (i+1)*size]
				if live(b) && le.Uint16(b)&0o170000 == 0o040000 {
					h.directory(fs, p.first+uint32(i), b)
				}
			}
		}
		return true
	})
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		for _, v := range h.found[ino] {
			if le.Uint16(v.raw)&0o170000 == 0o040000 {
				h.deletedDirectory(fs, ino, v)
			}
		}
	}
}

// maxDirBlocks bounds the blocks read of one directory: 4 GiB in blocks of 4 KiB, more than a directory of 2^24 names has.
const maxDirBlocks = 1 << 20

func (h *history) directory(fs *FS, ino uint32, raw []byte) {
	var in inode
	fs.decodeInode(&in, ino, bytes.Clone(raw))
	if in.flags&(flagEncrypt|flagInlineData) != 0 {
		return
	}
	for r, err := range fs.mapping(&in).runs(min(in.blocks(fs.sb), maxDirBlocks)) {
		if err != nil || r.pblk == 0 {
			continue
		}
		for i := range r.n {
			blk := r.pblk + i
			if len(h.copies[blk]) > 0 {
				h.owners[blk] = ino
			}
			if b, err := fs.block(blk); err == nil {
				h.entries(b, blk, ino, now, "disk")
			}
		}
	}
}

func (h *history) deletedDirectory(fs *FS, ino uint32, v *version) {
	var in inode
	fs.decodeInode(&in, ino, v.raw)
	dir := &version{id: v.id, age: v.age, raw: v.raw}
	h.resolve(&in, dir)
	for _, r := range dir.runs {
		for i := range min(r.n, maxDirBlocks) {
			if h.blocksLeft == 0 {
				return
			}
			h.blocksLeft--
			blk := r.pblk + i
			if h.owners[blk] == 0 {
				h.owners[blk] = ino
			}
			if h.inUse.has(blk) {
				continue
			}
			if b, err := fs.block(blk); err == nil {
				h.entries(b, blk, ino, v.age, "block of a deleted directory")
			}
		}
	}
}

// typeOf is the type in an entry, unknown where the filesystem keeps none.
func (h *history) typeOf(e []byte) evidence.Type {
	if h.fs.sb.incompat&incompatFiletype == 0 || int(e[7]&0xf) >= len(fileTypes) {
		return evidence.TypeUnknown
	}
	return fileTypes[e[7]&0xf]
}

// namesOf returns the names that led to an inode before an age, the newest
// first. typ is the inode's type. again says that its number is in use again: what stands in slack may be
// of the later inode, unless it is older.
func (h *history) namesOf(ino uint32, before int64, typ evidence.Type, again bool) []evidence.OldName {
	all := slices.Clone(h.names[ino])
	slices.SortStableFunc(all, func(a, b oldName) int { return int(b.age - a.age) })
	var out []evidence.OldName
	for _, n := range all {
		if n.age >= before && (again || !n.slack) || typ != evidence.TypeUnknown && n.typ != evidence.TypeUnknown && n.typ != typ {
			continue
		}
		dir := n.dir
		if dir == 0 {
			dir = h.owners[n.block]
		}
		name := evidence.OldName{Dir: evidence.Ino(dir), Name: n.name, Source: n.source}
		if !slices.ContainsFunc(out, func(o evidence.OldName) bool { return o.Dir == name.Dir && o.Name == name.Name }) {
			out = append(out, name)
		}
	}
	return out
}
