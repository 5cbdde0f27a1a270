package xlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"lagan/evidence"
)

const (
	// maxWarnings is how many items that can't be replayed are reported one by one.
	maxWarnings = 100
	// maxBuffer bounds a logged buffer: no metadata buffer is longer than a block
	// of 64 KiB (XFS_MAX_BLOCKSIZE).
	maxBuffer = 64 << 10
	// maxDaddr keeps addresses in bytes from overflowing.
	maxDaddr = 1 << 53
	// maxObjects bounds the memory that counting takes.
	maxObjects = 1 << 21
)

// location names a buffer as the log does: its address and length in basic blocks.
type location struct {
	block int64
	len   int32
}

// object is a buffer, or (len 0) an inode, that replay changed.
type object struct {
	n   uint64
	len int32
}

// replayer is the state of the two passes.
type replayer struct {
	log   *disklog
	geo   Geometry
	ov    *overlay
	order binary.ByteOrder // of the transaction under replay

	cancels    map[location]int // buffers that are freed later, and how often
	quotaOff   uint16           // kinds of dquots not to replay, as blf flags
	unstamped  map[int64]stamped
	stampOrder []int64
	stampLSN   uint64
	intents    []*intent
	byID       map[intentKey]*intent

	forkExtents int                 // read so far to finish mapping operations
	taken       map[uint64]struct{} // free blocks that became part of a btree

	objects      map[object]struct{}
	transactions int
	first, last  time.Time
	newest       time.Time // in the transaction under replay
	notes        []string
	warnings     int
	warnTo       func(error)
	scratch      []byte
}

func newReplayer(l *disklog, dev io.ReaderAt, size int64, warn func(error)) *replayer {
	return &replayer{
		log: l, geo: l.geo, ov: newOverlay(dev, size), warnTo: warn,
		cancels: make(map[location]int), unstamped: make(map[int64]stamped),
		byID: make(map[intentKey]*intent), taken: make(map[uint64]struct{}),
		objects: make(map[object]struct{}),
	}
}

// warn reports what was passed over, the first maxWarnings of it one by one.
func (rp *replayer) warn(err error) {
	if rp.warnings++; rp.warnings <= maxWarnings {
		rp.warnTo(err)
	}
}

// changed notes that an object was replayed.
func (rp *replayer) changed(o object) {
	if len(rp.objects) < maxObjects {
		rp.objects[o] = struct{}{}
	}
}

// collectCancels is XLOG_RECOVER_PASS1.
func (rp *replayer) collectCancels(t *trans) error {
	for _, it := range t.items {
		switch it.typ(t.order) {
		case itemBuf:
			f, err := parseBufFormat(t.order, it.regions[0])
			if err == nil && f.flags&blfCancel != 0 {
				rp.cancels[f.location]++
			}
		case itemQuotaOff:
			if b := it.regions[0]; len(b) >= 8 {
				rp.quotaOff |= quotaOffFlags(t.order.Uint32(b[4:]))
			}
		}
	}
	return nil
}

// commit is XLOG_RECOVER_PASS2. An item that can't be replayed is reported and passed over.
func (rp *replayer) commit(t *trans) error {
	// Checkpoints may share a sequence number, and then each of them must apply:
	// buffers get theirs when the number changes (xlog_recover_process_ophdr).
	if t.lsn != rp.stampLSN {
		if err := rp.stamp(); err != nil {
			return err
		}
		rp.stampLSN = t.lsn
	}
	rp.order, rp.newest = t.order, time.Time{}
	for _, it := range t.ordered() {
		err := rp.item(it, t.lsn)
		switch {
		case err == nil:
		case errors.Is(err, evidence.ErrCorrupt):
			rp.warn(fmt.Errorf("log item of type %#x: %w", it.typ(t.order), err))
		default:
			return err
		}
	}
	rp.transactions++
	if !rp.newest.IsZero() {
		if rp.first.IsZero() {
			rp.first = rp.newest
		}
		rp.last = rp.newest
	}
	return nil
}

func (rp *replayer) item(it *item, lsn uint64) error {
	if len(it.regions) != it.total {
		return fmt.Errorf("%d regions of %d: %w", len(it.regions), it.total, evidence.ErrCorrupt)
	}
	typ := it.typ(rp.order)
	switch typ {
	case itemBuf:
		return rp.buffer(it, lsn)
	case itemInode:
		return rp.inode(it, lsn)
	case itemICreate:
		return rp.inodeCreate(it)
	case itemDquot:
		return rp.dquot(it, lsn)
	case itemQuotaOff:
		return nil
	}
	if _, ok := intentNames[typ]; ok {
		return rp.intent(typ, it)
	}
	if _, ok := intentNames[typ-1]; ok {
		return rp.done(typ-1, it)
	}
	return fmt.Errorf("unknown type: %w", evidence.ErrCorrupt)
}

// within checks that n bytes at off lie in the filesystem.
func (rp *replayer) within(off int64, n int) error {
	if off < 0 || off > rp.geo.bytes()-int64(n) {
		return fmt.Errorf("%#x bytes at %#x are outside the filesystem: %w", n, off, evidence.ErrCorrupt)
	}
	return nil
}

// buf returns scratch space of n bytes, which the next call gives away again.
func (rp *replayer) buf(n int) []byte {
	if n > cap(rp.scratch) {
		rp.scratch = make([]byte, max(n, maxBuffer))
	}
	return rp.scratch[:n]
}
