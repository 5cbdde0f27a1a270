package xlog

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"slices"

	"lagan/evidence"
)

// LoggedInode is what one transaction in the log holds of an inode.
type LoggedInode struct {
	Ino  uint64
	Core []byte // in the form on the disk; its checksum and sequence number are not set
	// Data is the data fork as it was logged, nil where it wasn't: short form,
	// extents, or, where Root says so, a B+tree's root in the form on the disk.
	Data []byte
	Root bool
}

// LoggedBuffer is what one transaction in the log holds of a block of metadata.
type LoggedBuffer struct {
	Offset int64 // on the device
	Len    int
	Chunks []LoggedChunk
}

// LoggedChunk is a part of a buffer.
type LoggedChunk struct {
	Offset int
	Data   []byte
}

// Logged is one item of the log; exactly one of Inode and Buffer is set.
type Logged struct {
	LSN    uint64
	Inode  *LoggedInode
	Buffer *LoggedBuffer
}

// maxRecords bounds the records of a log: of 2 GiB, with a block of header and one of data each.
const maxRecords = 1 << 21

// History yields the inodes and buffers of every transaction that the log still
// holds, replayed long ago or not, the oldest first: what was there before.
// Records that are overwritten in part, or damaged, are passed over with the
// transactions that they are part of.
func History(dev io.ReaderAt, size int64, g Geometry) iter.Seq2[Logged, error] {
	return func(yield func(Logged, error) bool) {
		if g.LogStart == 0 && g.External == nil {
			yield(Logged{}, fmt.Errorf("%s: %w", externalNote, evidence.ErrUnsupported))
			return
		}
		l, err := openLog(dev, size, g, func(error) {})
		if err != nil {
			yield(Logged{}, err)
			return
		}
		records, err := l.records()
		if err != nil && !yield(Logged{}, err) {
			return
		}
		h := historian{rp: newReplayer(l, dev, size, func(error) {}), yield: yield}
		h.a = &assembler{open: make(map[uint32]*trans), commit: h.commit, uuid: g.UUID}
		for _, at := range records {
			r, err := l.record(at.block)
			if err != nil || r.badCRC || h.stopped {
				continue
			}
			h.rp.ov = nil
			if h.a.add(r) != nil { // the rest of the record is of no use; others are
				h.a.open, h.a.cost = make(map[uint32]*trans), 0
			}
		}
	}
}

type recordAt struct {
	lsn   uint64
	block int64
}

// records lists the record headers in the log that stand where they say, the oldest first.
func (l *disklog) records() ([]recordAt, error) {
	var out []recordAt
	for b := int64(0); b < l.blocks; b++ {
		p, err := l.block(b)
		if err != nil {
			return out, err
		}
		if !isHeader(p) {
			continue
		}
		h := parseHeader(p)
		if h.uuid != l.geo.UUID || uint32(h.lsn) != uint32(b) || uint32(h.lsn>>32) != h.cycle || l.valid(h, b) != nil {
			continue
		}
		if len(out) >= maxRecords {
			break
		}
		out = append(out, recordAt{h.lsn, b})
	}
	slices.SortFunc(out, func(a, b recordAt) int { return cmp.Compare(a.lsn, b.lsn) })
	return out, nil
}

// historian takes apart transactions.
type historian struct {
	rp      *replayer
	a       *assembler
	yield   func(Logged, error) bool
	stopped bool
}

func (h *historian) commit(t *trans) error {
	h.rp.order = t.order
	for _, it := range t.items {
		if h.stopped || len(it.regions) == 0 || len(it.regions[0]) < 2 {
			return nil
		}
		out := Logged{LSN: t.lsn}
		switch it.typ(t.order) {
		case itemInode:
			out.Inode = h.inode(it)
		case itemBuf:
			out.Buffer = h.buffer(it)
		}
		if out.Inode != nil || out.Buffer != nil {
			h.stopped = !h.yield(out, nil)
		}
	}
	return nil
}

// inode decodes an inode item; nil where it can't be.
func (h *historian) inode(it *item) *LoggedInode {
	f, err := parseInodeFormat(h.rp.order, it.regions[0])
	if err != nil || len(it.regions) < 2 {
		return nil
	}
	core, err := h.rp.diskCore(it.regions[1])
	if err != nil {
		return nil
	}
	out := &LoggedInode{Ino: f.ino, Core: core}
	w := f.fields & ilogDFork
	if w == 0 || len(it.regions) < 3 {
		return out
	}
	logged := it.regions[2]
	if w != ilogBroot {
		out.Data = slices.Clone(logged)
		return out
	}
	fork := make([]byte, h.rp.geo.InodeSize-h.rp.geo.forkStart())
	if n := int(core[inodeForkOff]) * 8; n > 0 && n < len(fork) {
		fork = fork[:n]
	}
	if h.rp.putFork(fork, logged, true) == nil {
		out.Data, out.Root = fork, true
	}
	return out
}

// buffer decodes a buffer item; nil where it can't be, and where it says that the block was freed.
func (h *historian) buffer(it *item) *LoggedBuffer {
	f, err := parseBufFormat(h.rp.order, it.regions[0])
	if err != nil || f.flags&blfCancel != 0 || f.block < 0 || f.block > maxDaddr || f.len <= 0 {
		return nil
	}
	out := &LoggedBuffer{Offset: f.block * basicBlock, Len: int(f.len) * basicBlock}
	err = h.rp.chunks(&f, it, func(off int, data []byte) error {
		if n := len(out.Chunks); n > 0 && out.Chunks[n-1].Offset+len(out.Chunks[n-1].Data) == off {
			out.Chunks[n-1].Data = append(out.Chunks[n-1].Data, data...)
			return nil
		}
		out.Chunks = append(out.Chunks, LoggedChunk{off, slices.Clone(data)})
		return nil
	})
	if err != nil && len(out.Chunks) == 0 {
		return nil
	}
	return out
}

// CoreSize returns how many bytes of an inode precede its forks.
func (g *Geometry) CoreSize() int { return g.forkStart() }
