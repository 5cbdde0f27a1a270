package xfs

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"lagan/evidence"
	"lagan/evidence/xfs/xlog"
)

// logBuffer takes the names of a folder block in the log. Each entry says at its
// end where in the block it stands, so that parts of a block will do.
func (h *history) logBuffer(item xlog.Logged) {
	b := item.Buffer
	h.mapBlock(item.LSN, b)
	dirSize := int(h.f.sb.blockSize) << h.f.sb.dirBlkLog
	if b.Len != dirSize {
		return
	}
	owner, ok := h.blockOwner(b)
	if !ok {
		return
	}
	source := fmt.Sprintf("log, sequence %#x", item.LSN)
	for _, c := range b.Chunks {
		h.entriesIn(c.Data, c.Offset, owner, item.LSN, source)
	}
}

// blockOwner returns the folder that a block belongs to, by its header in the log or on the disk.
func (h *history) blockOwner(b *xlog.LoggedBuffer) (uint64, bool) {
	head := make([]byte, dir3DataHdr)
	if len(b.Chunks) > 0 && b.Chunks[0].Offset == 0 && len(b.Chunks[0].Data) >= len(head) {
		head = b.Chunks[0].Data[:len(head)]
	} else if n, _ := h.f.raw.ReadAt(head, b.Offset); n < len(head) {
		return 0, false
	}
	switch be.Uint32(head) {
	case magicDir3Block, magicDir3Data:
		return be.Uint64(head[dir3Owner:]), true
	case magicDirBlock, magicDirData:
		return 0, true // version 4 doesn't say
	}
	return 0, false
}

// entriesIn looks at every place of a part of a folder block for an entry.
func (h *history) entriesIn(b []byte, base int, dir, lsn uint64, source string) {
	for at := (dirDataAlign - base%dirDataAlign) % dirDataAlign; at+16 <= len(b); {
		n := h.entry(b[at:], base+at, dir, lsn, source, false)
		at += max(n, dirDataAlign)
	}
}

// entry takes one entry of a folder block, which begins at the block's byte
// pos. freed says that it may have been deleted, which overwrites its first four
// bytes and, of the last one in a stretch of free space, its place
// (xfs_dir2_data_make_free). It returns the entry's length, or 0.
func (h *history) entry(b []byte, pos int, dir, lsn uint64, source string, freed bool) int {
	ftLen := 0
	if h.f.sb.ftype() {
		ftLen = 1
	}
	if len(b) < 16 {
		return 0
	}
	n := int(b[8])
	size := (8 + 1 + n + ftLen + 2 + dirDataAlign - 1) &^ (dirDataAlign - 1)
	if n == 0 || size > len(b) {
		return 0
	}
	name := b[9 : 9+n]
	if bytes.IndexByte(name, 0) >= 0 || bytes.IndexByte(name, '/') >= 0 || ftLen == 1 && (b[9+n] == 0 || b[9+n] >= ftMax) {
		return 0
	}
	var typ uint8
	if ftLen == 1 {
		typ = b[9+n]
	}
	ino := be.Uint64(b)
	half := freed && be.Uint16(b) == dirFreeTag
	tag := int(be.Uint16(b[size-2:]))
	switch {
	case half:
		ino = uint64(be.Uint32(b[4:]))
	case ino == 0 || ino > maxInode, !freed && tag != pos:
		return 0
	}
	if isDot(name) {
		return size
	}
	if half {
		h.name(oldName{dir, 0, string(name), typ, lsn, source}, ino)
	} else {
		h.name(oldName{dir, ino, string(name), typ, lsn, source}, ino)
	}
	return size
}

func (h *history) name(n oldName, ino uint64) {
	low := ino & 0xffffffff
	all := h.names[low]
	for i := range all {
		if o := &all[i]; o.name == n.name && o.dir == n.dir && o.typ == n.typ {
			if n.lsn >= o.lsn && n.ino != 0 {
				*o = n
			}
			return
		}
	}
	if len(all) < maxOldNames && h.named < maxNamed {
		h.named++
		h.names[low] = append(all, n)
	}
}

// shortNames takes the names of a folder that is kept in its inode.
func (h *history) shortNames(dir uint64, b []byte, lsn uint64, source string) {
	h.f.shortForm(dir, b, func(name []byte, ino uint64, typ uint8) bool {
		h.name(oldName{dir, ino, string(name), typ, lsn, source}, ino)
		return true
	})
}

// folders reads the slack of the folders that are there, what the disk held of
// them before the log's replay, and the blocks of folders that were deleted.
func (h *history) folders() {
	f := h.f
	for agno := range f.groups() {
		chunks, _ := f.chunks(agno)
		f.eachInode(agno, chunks, nil, func(ino uint64, off int64, raw []byte, free bool, err error) bool {
			if err != nil || free || be.Uint16(raw) != magicInode || be.Uint16(raw[diMode:])&0o170000 != 0o040000 {
				return true
			}
			d, err := f.decodeInode(ino, off, bytes.Clone(raw))
			if err == nil {
				h.folder(&d)
			}
			return true
		})
	}
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		for _, v := range h.found[ino] {
			if be.Uint16(v.core[diMode:])&0o170000 == 0o040000 {
				h.deletedFolder(ino, v)
			}
		}
	}
}

// maxSlackBlocks bounds the blocks that are read of one folder.
const maxSlackBlocks = 1 << 20

func (h *history) folder(d *dinode) {
	f := h.f
	if f.changed(d) {
		if raw := h.rawInode(f.raw, d.ino); raw != nil && raw[diFormat] == fmtLocal && be.Uint16(raw[diMode:])&0o170000 == 0o040000 {
			_, data := h.split(raw)
			h.shortNames(d.ino, data, 0, "disk, before the log's replay")
		}
	}
	if d.format == fmtLocal {
		return
	}
	k, err := f.dataBlocks(d)
	if err != nil {
		return
	}
	left := maxSlackBlocks
	for pos, err := range f.dirBlocks(&k) {
		if left--; left < 0 {
			return
		}
		if err != nil || pos.off < 0 {
			continue
		}
		if b, _, err := f.dirData(&k, pos); err == nil {
			h.slack(b, d.ino, "folder slack")
		}
		if f.log != nil && f.log.Changed(pos.off, int64(f.sb.blockSize)<<f.sb.dirBlkLog) {
			b := make([]byte, int(f.sb.blockSize)<<f.sb.dirBlkLog)
			if n, _ := f.raw.ReadAt(b, pos.off); n == len(b) && h.dirOf(b) == d.ino {
				h.entriesIn(b, 0, d.ino, 0, "disk, before the log's replay")
				h.slack(b, d.ino, "folder slack, before the log's replay")
			}
		}
	}
}

// dirOf returns the folder that a block says it belongs to; 0 where it says none.
func (h *history) dirOf(b []byte) uint64 {
	if m := be.Uint32(b); m == magicDir3Block || m == magicDir3Data {
		return be.Uint64(b[dir3Owner:])
	}
	return 0
}

// slack looks through the free space of a folder block.
func (h *history) slack(b []byte, dir uint64, source string) {
	at, end := dirDataHdr, len(b)
	if m := be.Uint32(b); m == magicDir3Block || m == magicDir3Data {
		at = dir3DataHdr
	}
	ftLen := 0
	if h.f.sb.ftype() {
		ftLen = 1
	}
	for at+dirDataAlign <= end {
		if be.Uint16(b[at:]) != dirFreeTag {
			if at+12 > end {
				return
			}
			at += (8 + 1 + int(b[at+8]) + ftLen + 2 + dirDataAlign - 1) &^ (dirDataAlign - 1)
			continue
		}
		n := int(be.Uint16(b[at+2:]))
		if n == 0 || n%dirDataAlign != 0 || at+n > end {
			return
		}
		for p := at; p+16 <= at+n; {
			p += max(h.entry(b[p:at+n], p, dir, 0, source, true), dirDataAlign)
		}
		at += n
	}
}

// deletedFolder takes the names in what is left of a folder that was deleted.
func (h *history) deletedFolder(ino uint64, v *version) {
	f := h.f
	in := h.inode(ino, v)
	if in.format == fmtLocal {
		if v.data != nil {
			h.shortNames(ino, v.data, v.lsn, v.source)
		}
		return
	}
	probe := &version{lsn: v.lsn, core: v.core, data: v.data, root: v.root}
	h.resolve(ino, probe)
	k := fork{fs: f, ino: ino, name: "data", exts: probe.exts}
	for pos, err := range f.dirBlocks(&k) {
		if h.blocksLeft--; h.blocksLeft < 0 {
			return
		}
		if err != nil || pos.off < 0 {
			continue
		}
		if _, free := h.space.free(uint64(pos.off)>>f.sb.blockLog, 1); !free {
			continue
		}
		b := make([]byte, int(f.sb.blockSize)<<f.sb.dirBlkLog)
		if n, _ := f.raw.ReadAt(b, pos.off); n == len(b) && (h.dirOf(b) == ino || !f.sb.v5()) {
			h.entriesIn(b, 0, ino, v.lsn, "block of a deleted folder")
			h.slack(b, ino, "slack of a deleted folder")
		}
	}
}

// fits says whether the entry that a name comes from was of such an inode: numbers
// are used again, for folders after files too.
func (n *oldName) fits(mode uint16) bool {
	return n.typ == 0 || mode&0o170000 == 0 || entryType(n.typ) == evidence.TypeOfMode(mode)
}

// namesOf returns the names that led to an inode, the newest first. v is the
// version that they are wanted of.
func (h *history) namesOf(ino uint64, v *version) []evidence.OldName {
	all := slices.Clone(h.names[ino&0xffffffff])
	slices.SortStableFunc(all, func(a, b oldName) int {
		switch {
		case a.lsn > b.lsn:
			return -1
		case a.lsn < b.lsn:
			return 1
		}
		return 0
	})
	var next uint64 // when the number was used again
	if v != nil {
		for _, w := range h.found[ino] {
			if w.lsn > v.lsn && (next == 0 || w.lsn < next) {
				next = w.lsn
			}
		}
	}
	var out []evidence.OldName
	for _, n := range all {
		if n.ino != 0 && n.ino != ino || next != 0 && n.lsn >= next || v != nil && !n.fits(be.Uint16(v.core[diMode:])) {
			continue
		}
		out = append(out, evidence.OldName{Dir: evidence.Ino(n.dir), Name: n.name, Source: n.source})
	}
	return out
}
