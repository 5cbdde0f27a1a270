package xfs

import (
	"bytes"
	"lagan/evidence"
	"maps"
	"slices"
)

// give yields the deleted inodes in the order of their numbers.
func (h *history) give(yield func(evidence.Recovered, error) bool) {
	deleted := map[uint64]evidence.DeletedInode{}
	for d, err := range h.f.Deleted() {
		if err != nil {
			if !yield(evidence.Recovered{}, err) {
				return
			}
			continue
		}
		if len(h.found[uint64(d.Ino)]) > 0 {
			deleted[uint64(d.Ino)] = d
			continue
		}
		if !yield(h.unlogged(d), nil) {
			return
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		d, isDeleted := deleted[ino]
		told := false
		for _, v := range h.found[ino] {
			r, ok := h.recovered(ino, v, d, isDeleted)
			if !ok {
				continue
			}
			told = told || r.Open || r.Deleted.Equal(d.Deleted)
			if !yield(r, nil) {
				return
			}
		}
		if isDeleted && !told && !yield(h.unlogged(d), nil) {
			return
		}
	}
}

// recovered puts together what is known of a version; false where it is the
// inode that is there now.
func (h *history) recovered(ino uint64, v *version, d evidence.DeletedInode, deleted bool) (evidence.Recovered, bool) {
	f := h.f
	cur := h.rawInode(f.dev, ino)
	inUse := cur != nil && be.Uint16(cur[diMode:]) != 0 && !h.chunkFree(ino)
	if inUse && be.Uint32(cur[92:]) == v.generation() && !d.Open {
		return evidence.Recovered{}, false
	}
	in := h.inode(ino, v)
	r := evidence.Recovered{Source: v.source, DeletedInode: evidence.DeletedInode{Ino: evidence.Ino(ino), Info: f.info(&in)}}
	switch {
	case d.Open && d.Info.Size == 0 && in.size > 0:
		// The kernel cuts a file before it frees it (xfs_inactive_truncate): nobody has it open any more.
		r.Deleted = d.Info.Ctime
	case d.Open:
		r.DeletedInode = d
		r.Source = "inode"
	default:
		h.whenFreed(&r, v, d, deleted, cur)
	}
	r.Names = h.namesOf(ino, v)
	h.content(&r, &in, v)
	return r, true
}

// whenFreed finds when an inode was deleted.
func (h *history) whenFreed(r *evidence.Recovered, v *version, d evidence.DeletedInode, deleted bool, cur []byte) {
	if r.Deleted = v.gone; deleted && v.gone.IsZero() {
		// Freeing adds one to the generation (xfs_inode_uninit).
		if cur != nil && be.Uint32(cur[92:]) == v.generation()+1 {
			r.Deleted = d.Deleted
		}
	}
}

// inode makes an inode of a version.
func (h *history) inode(ino uint64, v *version) dinode {
	c := v.core
	d := dinode{ino: ino, mode: be.Uint16(c[diMode:]), version: c[diVersion], format: c[diFormat], flags: be.Uint16(c[diFlags:]),
		size: be.Uint64(c[diSize:]), nextents: uint64(be.Uint32(c[diNextents:]))}
	d.raw = bytes.Clone(c)
	if d.version == 3 && len(c) >= dinodeV3Size {
		d.flags2 = be.Uint64(c[diFlags2:])
		if d.flags2&flag2Nrext64 != 0 {
			d.nextents = be.Uint64(c[diBigNextents:])
		}
	}
	d.raw = append(d.raw, v.data...)
	return d
}

// unlogged is a deleted inode that the log doesn't know.
func (h *history) unlogged(d evidence.DeletedInode) evidence.Recovered {
	r := evidence.Recovered{DeletedInode: d, State: evidence.ContentTimes, Source: "inode"}
	r.Names = h.namesOf(uint64(d.Ino), nil)
	if d.Open {
		if c, err := h.f.Open(d.Ino); err == nil {
			if r.Content, r.State = c, evidence.ContentWhole; d.Info.Size == 0 {
				r.State, r.Note = evidence.ContentUnproven, "it may have been cut on its way to being freed"
			}
		}
		return r
	}
	raw := h.rawInode(h.f.raw, uint64(d.Ino))
	if raw == nil {
		return r
	}
	core, data := h.split(raw)
	v := &version{core: core, data: data, root: core[diFormat] == fmtBtree, source: "inode"}
	if be.Uint16(core[diMode:]) == 0 {
		// A freed inode keeps the extents that it had, not how many nor how large the file was.
		size := dinodeV2Size
		if raw[diVersion] == 3 {
			size = dinodeV3Size
		}
		exts := h.leftExtents(raw[size:])
		if len(exts) == 0 {
			return r
		}
		v.exts, v.unsized = exts, true
		last := exts[len(exts)-1]
		in := dinode{ino: uint64(d.Ino), mode: 0o100000, size: (last.off + last.count) << h.f.sb.blockLog}
		h.judge(&r, &in, v)
		return r
	}
	h.resolve(uint64(d.Ino), v)
	in := h.inode(uint64(d.Ino), v)
	h.content(&r, &in, v)
	return r
}

// leftExtents reads the extents that a freed inode still holds: as many as make sense.
func (h *history) leftExtents(fork []byte) []extent {
	var out []extent
	next := uint64(0)
	for ; len(fork) >= bmbtRec; fork = fork[bmbtRec:] {
		e := decodeExtent(fork)
		if _, err := h.f.blockOffset(e.start, e.count); err != nil || e.count == 0 || e.start == 0 || e.off < next || len(out) == 0 && e.off != 0 {
			break
		}
		next = e.off + e.count
		out = append(out, e)
	}
	return out
}

// content finds what is left of the content.
func (h *history) content(r *evidence.Recovered, in *dinode, v *version) {
	r.State = evidence.ContentTimes
	switch {
	case r.Open:
		if c, err := h.f.Open(r.Ino); err == nil {
			r.Content, r.State = c, evidence.ContentWhole
		}
		return
	case in.typ() == evidence.TypeSymlink && in.format == fmtLocal && v.data != nil && in.size <= uint64(len(v.data)):
		r.Target, r.State = string(v.data[:in.size]), evidence.ContentWhole
		return
	case in.typ() == evidence.TypeSymlink && in.format == fmtExtents:
		h.remoteTarget(r, in, v)
		return
	case in.typ() != evidence.TypeFile, in.flags&flagRealtime != 0, int64(in.size) < 0:
		return
	case in.size == 0 && in.nextents == 0:
		r.Content, r.State = h.sectionOf(nil, 0), evidence.ContentWhole
		return
	}
	h.judge(r, in, v)
}

// remoteTarget reads the target of a link from blocks that are free and that no
// later file had.
func (h *history) remoteTarget(r *evidence.Recovered, in *dinode, v *version) {
	if v.missing || v.overlaid || in.size == 0 || in.size > symlinkMax {
		return
	}
	for _, e := range v.exts {
		for done := uint64(0); done < e.count; {
			n, free := h.space.free(h.f.deviceBlock(e.start+done), e.count-done)
			if !free {
				return
			}
			done += max(n, 1)
		}
	}
	then := &asOf{h: h, lsn: v.lsn, ino: in.ino}
	var target []byte
	for _, e := range v.exts {
		off, err := h.f.blockOffset(e.start, e.count)
		if err != nil || e.count > symlinkMax {
			return
		}
		b := make([]byte, min(int64(e.count)<<h.f.sb.blockLog, symlinkMax+int64(h.f.sb.blockSize)))
		if n, _ := then.ReadAt(b, off); n < len(b) {
			return
		}
		if h.f.sb.v5() {
			if be.Uint32(b) != magicSymlink || ownerOfBlock(b) != in.ino {
				return
			}
			b = b[symlinkHdr:][:min(int(be.Uint32(b[remoteBytes:])), len(b)-symlinkHdr)]
		}
		target = append(target, b...)
	}
	if uint64(len(target)) < in.size {
		return
	}
	if r.Target, r.State = string(target[:in.size]), evidence.ContentWhole; !h.f.sb.v5() {
		r.State = evidence.ContentUnproven // version 4 doesn't say whose a block is
	}
}

// judge says how much of a version's content is left.
func (h *history) judge(r *evidence.Recovered, in *dinode, v *version) {
	f := h.f
	end := (in.size + uint64(f.sb.blockSize) - 1) >> f.sb.blockLog
	var kept []extent
	var have, lost uint64
	for _, e := range v.exts {
		if e.off >= end || e.unwritten {
			continue
		}
		e.count = min(e.count, end-e.off)
		have += e.count
		for done := uint64(0); done < e.count; {
			n, free := h.space.free(f.deviceBlock(e.start+done), e.count-done)
			if n = max(n, 1); free {
				kept = append(kept, extent{off: e.off + done, start: e.start + done, count: n})
			} else {
				lost += n
			}
			done += n
		}
	}
	r.Lost = min(int64(lost<<f.sb.blockLog), int64(in.size))
	switch {
	case have > 0 && lost == have, have == 0 && (v.missing || v.data == nil):
		r.State = evidence.ContentTimes
		return
	case lost > 0:
		r.State = evidence.ContentPartly
	case v.missing:
		r.State, r.Note = evidence.ContentPartly, "part of its map of blocks is gone"
	case v.overlaid:
		r.State, r.Note = evidence.ContentPartly, "a file that was deleted later had blocks of it"
	case v.unsized:
		r.State, r.Note = evidence.ContentUnproven, "its size is not known: up to a block of what follows belongs to no file"
	default:
		r.State = evidence.ContentWhole
	}
	if v.unsized && r.Info.Size == 0 {
		r.Info.Size = int64(in.size)
		if r.Info.Type == evidence.TypeUnknown {
			r.Note = firstNote(r.Note, "its type is not known")
		}
	}
	r.Content = h.sectionOf(kept, int64(in.size))
}

func firstNote(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
