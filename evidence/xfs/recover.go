package xfs

import (
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
	typ    uint8 // of the entry, 0 where entries have none
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
