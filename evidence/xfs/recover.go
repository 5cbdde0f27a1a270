package xfs

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"lagan/evidence"
	"lagan/evidence/xfs/xlog"
)

// Bounds of what is kept of the log's past.
const (
	maxVersions   = 1 << 18
	maxOldNames   = 16 // of one inode
	maxAllExtents = 1 << 22
	maxNamed      = 1 << 20
)

const diNblocks = 64 // di_nblocks, of struct xfs_dinode

// Recovered yields the deleted inodes, each in the last state that is still
// known. The log keeps inodes and folders as transactions left them until their
// place is used again; a freed inode keeps its extents where they stood,
// since only its core is written (xfs_iflush_fork); and the inodes of a chunk that
// was freed as a whole lie in free space as they were before.
func (f *FS) Recovered() iter.Seq2[evidence.Recovered, error] {
	return func(yield func(evidence.Recovered, error) bool) {
		h := &history{f: f, found: map[uint64][]*version{}, names: map[uint64][]oldName{}, fixed: map[uint64]bool{}}
		h.space = f.freeSpace()
		h.extsLeft, h.blocksLeft = maxAllExtents, maxSlackBlocks
		if err := h.read(); err != nil && !yield(evidence.Recovered{}, err) {
			return
		}
		h.freedChunks()
		h.folders()
		h.claim()
		h.give(yield)
	}
}

var _ evidence.Recoverer = (*FS)(nil)

// history is what the log and the free space keep of the past.
type history struct {
	f                    *FS
	space                *freeSpace
	found                map[uint64][]*version
	names                map[uint64][]oldName // by the low 32 bits of the inode's number
	fixed                map[uint64]bool      // chunks of freed inodes that were looked at
	maps                 map[int64][]oldMap   // blocks of B+trees of extents in the log, by place
	mapped               int
	count                int
	named                int
	extsLeft, blocksLeft int // what hostile inodes may still claim
}

// version is the last known state of an inode before it was deleted.
type version struct {
	lsn    uint64
	core   []byte
	data   []byte // the data fork, nil unknown
	root   bool   // data is a B+tree's root
	source string
	gone   time.Time // the change time of its freed successor
	ended  bool

	exts     []extent
	missing  bool
	overlaid bool
	unsized  bool
}

type oldName struct {
	dir    uint64
	ino    uint64 // 0: only the low half is known
	name   string
	lsn    uint64
	source string
}

func (v *version) generation() uint32 { return be.Uint32(v.core[92:]) } // di_gen

// read goes through the log.
func (h *history) read() error {
	f := h.f
	g, err := f.geometry()
	if err != nil || g.LogStart == 0 {
		return nil // told when it was opened
	}
	for item, err := range xlog.History(f.raw, f.size, g) {
		if err != nil {
			return fmt.Errorf("xfs: older states in the log: %w", err)
		}
		switch {
		case item.Inode != nil:
			h.logged(item.LSN, item.Inode)
		case item.Buffer != nil:
			h.logBuffer(item)
		}
	}
	return nil
}

// logged notes a state of an inode.
func (h *history) logged(lsn uint64, i *xlog.LoggedInode) {
	if h.f.hidden[i.Ino] || len(i.Core) < diForkoff+8 {
		return
	}
	mode := be.Uint16(i.Core[diMode:])
	if mode&0o170000 == 0o040000 && i.Core[diFormat] == fmtLocal && i.Data != nil {
		h.shortNames(i.Ino, i.Data, lsn, fmt.Sprintf("log, sequence %#x", lsn))
	}
	h.state(i.Ino, lsn, i.Core, i.Data, i.Root, fmt.Sprintf("log, sequence %#x", lsn))
}

// state takes one state of an inode, in the order of time.
func (h *history) state(ino, lsn uint64, core, data []byte, root bool, source string) {
	alive := be.Uint16(core[diMode:]) != 0
	linked := be.Uint32(core[diNlink:]) != 0
	all := h.found[ino]
	var last *version
	if n := len(all); n > 0 && !all[n-1].ended {
		last = all[n-1]
	}
	gen := be.Uint32(core[92:])
	same := last != nil && last.generation() == gen
	switch {
	case last != nil && !alive, last != nil && !same:
		last.ended = true
		if !alive {
			last.gone = h.timeOf(core, diCtime)
		}
	case same && !linked:
		// Unlinked and not yet freed: its size and extents are whole until it is truncated.
		if be.Uint64(core[diSize:]) == be.Uint64(last.core[diSize:]) && data != nil && be.Uint32(core[diNextents:]) > 0 {
			last.data, last.root = data, root
		}
		return
	case same:
		last.core, last.lsn, last.source = core, lsn, source
		if data != nil {
			last.data, last.root = data, root
		}
		return
	}
	if !alive || be.Uint16(core[diMode:])&0o170000 == 0 || h.count >= maxVersions {
		return
	}
	if !linked && last == nil && be.Uint64(core[diSize:]) == 0 {
		return // what was before is gone from the log
	}
	h.count++
	h.found[ino] = append(all, &version{lsn: lsn, core: core, data: data, root: root, source: source})
}

func (h *history) timeOf(core []byte, off int) time.Time {
	bigtime := core[diVersion] == 3 && be.Uint64(core[diFlags2:])&flag2Bigtime != 0
	return decodeTime(core[off:], bigtime)
}

// rawInode reads an inode as it lies on the device, and checks that it is the one.
func (h *history) rawInode(r io.ReaderAt, ino uint64) []byte {
	off, err := h.f.inodeOffset(ino)
	if err != nil {
		return nil
	}
	b := make([]byte, h.f.sb.inodeSize)
	if n, _ := r.ReadAt(b, off); n < len(b) || be.Uint16(b) != magicInode {
		return nil
	}
	if h.f.sb.v5() && (b[diVersion] != 3 || be.Uint64(b[diIno:]) != ino || !checksumOK(b, diCRC)) {
		return nil
	}
	return b
}

// split divides an inode's bytes into its core and its data fork.
func (h *history) split(raw []byte) (core, data []byte) {
	size := dinodeV2Size
	if raw[diVersion] == 3 {
		size = dinodeV3Size
	}
	data = raw[size:]
	if n := int(raw[diForkoff]) << 3; n > 0 && n < len(data) {
		data = data[:n]
	}
	return raw[:size], data
}

// freedChunks looks at the inodes around those that the log names, where their
// chunk was freed as a whole: the disk has them as they were before.
func (h *history) freedChunks() {
	f := h.f
	known := map[uint64]bool{}
	for agno := range f.groups() {
		chunks, _ := f.chunks(agno)
		for _, c := range chunks {
			known[f.inoOf(agno, c.start)] = true
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		first := ino &^ (inodesChunk - 1)
		if known[first] || h.fixed[first] {
			continue
		}
		h.fixed[first] = true
		for n := range uint64(inodesChunk) {
			if h.chunkFree(first + n) {
				h.fromDisk(first+n, "freed inode chunk")
			}
		}
	}
}

// chunkFree says whether the block of an inode is free space.
func (h *history) chunkFree(ino uint64) bool {
	off, err := h.f.inodeOffset(ino)
	if err != nil {
		return false
	}
	_, free := h.space.free(uint64(off)>>h.f.sb.blockLog, 1)
	return free
}

// fromDisk takes what lies on the disk of an inode that is deleted by now.
func (h *history) fromDisk(ino uint64, source string) {
	raw := h.rawInode(h.f.raw, ino)
	if raw == nil || be.Uint16(raw[diMode:]) == 0 {
		return
	}
	core, data := h.split(raw)
	lsn := uint64(0)
	if raw[diVersion] == 3 {
		lsn = be.Uint64(raw[112:]) // di_lsn
	}
	for _, v := range h.found[ino] {
		if v.generation() != be.Uint32(core[92:]) {
			continue
		}
		// The log knows it too: the disk has what the log doesn't.
		if v.data == nil && be.Uint32(core[diNextents:]) == be.Uint32(v.core[diNextents:]) {
			v.data, v.root = data, core[diFormat] == fmtBtree
		}
		if be.Uint64(v.core[diSize:]) == 0 && be.Uint64(core[diSize:]) != 0 && be.Uint32(v.core[diNlink:]) == 0 {
			v.core, v.data, v.root, v.source = core, data, core[diFormat] == fmtBtree, source
		}
		return
	}
	if h.count < maxVersions && be.Uint16(core[diMode:])&0o170000 != 0 {
		h.count++
		h.found[ino] = append(h.found[ino], &version{lsn: lsn, core: core, data: data, root: core[diFormat] == fmtBtree, source: source})
	}
}

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
	if d.Open {
		r.DeletedInode = d
		r.Source = "inode"
	} else if r.Deleted = v.gone; deleted && v.gone.IsZero() {
		// Freeing adds one to the generation (xfs_inode_uninit).
		if cur != nil && be.Uint32(cur[92:]) == v.generation()+1 {
			r.Deleted = d.Deleted
		}
	}
	r.Names = h.namesOf(ino, v)
	h.content(&r, &in, v)
	return r, true
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
			r.Content, r.State = c, evidence.ContentWhole
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
	case in.typ() != evidence.TypeFile, in.flags&flagRealtime != 0, int64(in.size) < 0:
		return
	case in.size == 0 && in.nextents == 0:
		r.Content, r.State = io.NewSectionReader(&pieces{f: h.f}, 0, 0), evidence.ContentWhole
		return
	}
	h.judge(r, in, v)
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
	slices.SortFunc(kept, byOffset)
	r.Content = io.NewSectionReader(&pieces{f, kept}, 0, int64(in.size))
}

func firstNote(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// resolve finds a version's extents.
func (h *history) resolve(ino uint64, v *version) {
	f := h.f
	in := h.inode(ino, v)
	if in.typ() != evidence.TypeFile && in.typ() != evidence.TypeDir || in.format == fmtLocal {
		return
	}
	if v.data == nil || in.format == fmtExtents && in.nextents*bmbtRec > uint64(len(v.data)) {
		h.fromLiteral(ino, v, &in)
	}
	if v.data == nil {
		v.missing = in.nextents > 0
		return
	}
	if in.format == fmtExtents {
		v.exts = decodeExtents(v.data[:min(len(v.data), int(min(in.nextents, 1<<16))*bmbtRec)])
	} else {
		then := &asOf{h: h, lsn: v.lsn, ino: ino}
		quiet := &FS{dev: then, raw: then, size: f.size, sb: f.sb, opts: evidence.Options{}}
		quiet.cache.r, quiet.cache.size = then, f.size
		k, err := quiet.fork(ino, "data", fmtBtree, v.data, 0)
		if err != nil {
			v.missing = true
			return
		}
		for e, err := range k.all(0) {
			if err != nil || h.extsLeft <= 0 {
				v.missing = true
				break
			}
			h.extsLeft--
			v.exts = append(v.exts, e)
		}
	}
	v.missing = v.missing || !h.counted(&in, v)
}

// fromLiteral takes the extents that a freed inode still holds, where they are
// as many as the log says that it had.
func (h *history) fromLiteral(ino uint64, v *version, in *dinode) {
	raw := h.rawInode(h.f.raw, ino)
	if raw == nil || in.format != fmtExtents || in.nextents == 0 {
		return
	}
	gen := be.Uint32(raw[92:])
	if gen != v.generation() && gen != v.generation()+1 {
		return
	}
	size := dinodeV2Size
	if raw[diVersion] == 3 {
		size = dinodeV3Size
	}
	if need := in.nextents * bmbtRec; need <= uint64(len(raw)-size) && uint64(len(h.leftExtents(raw[size:][:need]))) == in.nextents {
		v.data = bytes.Clone(raw[size:][:need])
	}
}

// counted checks the extents found against the inode's count of blocks, which
// may count those of its attributes and of the B+tree as well.
func (h *history) counted(in *dinode, v *version) bool {
	var sum uint64
	for _, e := range v.exts {
		if _, err := h.f.blockOffset(e.start, e.count); err != nil {
			return false
		}
		sum += e.count
	}
	want := be.Uint64(v.core[diNblocks:])
	if in.format == fmtExtents {
		return uint64(len(v.exts)) == in.nextents && sum <= want
	}
	return sum <= want && uint64(len(v.exts)) == in.nextents
}

// oldMap is a block of a B+tree of extents as a transaction left it.
type oldMap struct {
	lsn   uint64
	block []byte
}

// maxMapped bounds the bytes of such blocks that are kept.
const maxMapped = 64 << 20

// mapBlock keeps a block of a B+tree of extents: the log has the parts of it
// that changed, over what it was before.
func (h *history) mapBlock(lsn uint64, b *xlog.LoggedBuffer) {
	magic := uint32(magicBMap)
	if h.f.sb.v5() {
		magic = magicBMapCRC
	}
	if b.Len != int(h.f.sb.blockSize) || h.mapped+b.Len > maxMapped {
		return
	}
	all := h.maps[b.Offset]
	block := make([]byte, b.Len)
	if n := len(all); n > 0 {
		copy(block, all[n-1].block)
	} else if n, _ := h.f.raw.ReadAt(block, b.Offset); n < b.Len {
		return
	}
	for _, c := range b.Chunks {
		if c.Offset < len(block) {
			copy(block[c.Offset:], c.Data)
		}
	}
	if be.Uint32(block) != magic {
		return
	}
	if h.maps == nil {
		h.maps = map[int64][]oldMap{}
	}
	h.mapped += b.Len
	h.maps[b.Offset] = append(all, oldMap{lsn, block})
}

// asOf is the device with the blocks of an inode's B+tree of extents as they were at a time.
type asOf struct {
	h   *history
	lsn uint64
	ino uint64
}

func (a *asOf) ReadAt(p []byte, off int64) (int, error) {
	n, err := a.h.f.raw.ReadAt(p, off)
	size := int64(a.h.f.sb.blockSize)
	for at := off &^ (size - 1); at < off+int64(n); at += size {
		all := a.h.maps[at]
		for i := len(all) - 1; i >= 0; i-- {
			b := all[i].block
			if all[i].lsn > a.lsn || a.h.f.sb.v5() && be.Uint64(b[btLongOwner:]) != a.ino {
				continue
			}
			if at < off {
				copy(p[:n], b[off-at:])
			} else {
				copy(p[at-off:n], b)
			}
			break
		}
	}
	return n, err
}

// maxComparisons bounds the comparisons of deleted files' blocks with each other.
const maxComparisons = 1 << 24

// claim finds every version's extents, and marks those of which a later one had blocks.
func (h *history) claim() {
	type claim struct {
		start, end uint64
		v          *version
	}
	var all []claim
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		for _, v := range h.found[ino] {
			h.resolve(ino, v)
			for _, e := range v.exts {
				at := h.f.deviceBlock(e.start)
				all = append(all, claim{at, at + e.count, v})
			}
		}
	}
	slices.SortFunc(all, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end), cmp.Compare(a.v.lsn, b.v.lsn))
	})
	var open []claim
	budget := maxComparisons
	for _, c := range all {
		open = slices.DeleteFunc(open, func(o claim) bool { return o.end <= c.start })
		for _, o := range open {
			if budget--; budget < 0 {
				o.v.overlaid, c.v.overlaid = true, true
				continue
			}
			switch {
			case o.v == c.v:
			case o.v.lsn < c.v.lsn:
				o.v.overlaid = true
			default:
				c.v.overlaid = true
			}
		}
		open = append(open, c)
	}
}

// pieces reads extents, which are sorted; zeros between them.
type pieces struct {
	f    *FS
	exts []extent
}

func (p *pieces) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at offset %d", off)
	}
	clear(b)
	bits := p.f.sb.blockLog
	first := uint64(off) >> bits
	i, _ := slices.BinarySearchFunc(p.exts, first, func(e extent, at uint64) int {
		if e.off+e.count <= at {
			return -1
		}
		return 1
	})
	for ; i < len(p.exts); i++ {
		e := p.exts[i]
		start, end := int64(e.off<<bits), int64((e.off+e.count)<<bits)
		if start >= off+int64(len(b)) {
			break
		}
		from, to := max(start, off), min(end, off+int64(len(b)))
		if from >= to {
			continue
		}
		pos, err := p.f.blockOffset(e.start, e.count)
		if err != nil {
			return int(from - off), err
		}
		if n, err := p.f.dev.ReadAt(b[from-off:to-off], pos+from-start); n < int(to-from) {
			return int(from-off) + n, err
		}
	}
	return len(b), nil
}
