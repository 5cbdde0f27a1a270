package xlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"lagan/evidence"
)

// extent is the part of the log that recovery is about.
type extent struct {
	tail, head int64 // first block to replay, block after the last one
	clean      bool  // nothing to replay
	note       string
}

// locate finds the active part of the log, as xlog_find_tail does.
func (l *disklog) locate() (extent, error) {
	head, err := l.findHead()
	if err != nil {
		return extent{}, err
	}
	if head == 0 {
		c, err := l.cycle(0)
		if err != nil {
			return extent{}, err
		}
		if c == 0 {
			return extent{clean: true, note: "the log was never written"}, nil
		}
	}
	last, ok, err := l.seekBack(head, head, 1)
	if err != nil {
		return extent{}, err
	}
	if !ok {
		return extent{}, fmt.Errorf("no record in the log: %w", evidence.ErrCorrupt)
	}
	e := extent{head: head}
	if e.tail, err = l.tailOf(last); err != nil {
		return extent{}, err
	}
	if e.clean, err = l.unmounted(last, head); err != nil || e.clean {
		return e, err
	}
	return e, l.verifyHead(&e, last)
}

// tailOf returns the first block that the record at block b says is still needed.
func (l *disklog) tailOf(b int64) (int64, error) {
	p, err := l.block(b)
	if err != nil {
		return 0, err
	}
	tail := int64(uint32(parseHeader(p).tailLSN))
	if tail >= l.blocks {
		return 0, fmt.Errorf("log record at block %#x: tail at block %#x: %w", b, tail, evidence.ErrCorrupt)
	}
	return tail, nil
}

// unmounted says whether the record at block b is the last before head and
// holds nothing but an unmount record (xlog_check_unmount_rec).
func (l *disklog) unmounted(b, head int64) (bool, error) {
	p, err := l.block(b)
	if err != nil {
		return false, err
	}
	h := parseHeader(p)
	data := (b + l.headerBlocks(h)) % l.blocks
	if h.ops != 1 || (b+l.headerBlocks(h)+h.dataBlocks())%l.blocks != head {
		return false, nil
	}
	if p, err = l.block(data); err != nil {
		return false, err
	}
	return p[9]&opUnmount != 0, nil // oh_flags
}

// verifyHead looks for torn writes among the last records, as many as can have
// been in flight, and takes the head back to the first one (xlog_verify_head).
func (l *disklog) verifyHead(e *extent, last int64) error {
	from, ok, err := l.seekBack(e.head, e.tail, maxIclogs)
	if err != nil {
		return err
	}
	if !ok {
		from = e.tail
	}
	bad, err := l.walk(from, e.head, l.checkOnly)
	if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
		return err
	}
	if err != nil {
		e.note = fmt.Sprintf("the newest log record that is whole ends at block %#x, torn ones follow up to %#x", bad, e.head)
		if last, ok, err = l.seekBack(bad, e.tail, 1); err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("log record at block %#x: no whole record before it: %w", bad, evidence.ErrCorrupt)
		}
		e.head = bad
		if e.tail, err = l.tailOf(last); err != nil {
			return err
		}
		if e.clean, err = l.unmounted(last, e.head); err != nil || e.clean || e.head == e.tail {
			return err
		}
	}
	return l.verifyTail(e, last)
}

// checkOnly is XLOG_RECOVER_CRCPASS.
func (l *disklog) checkOnly(r *record) error {
	if r.badCRC {
		return fmt.Errorf("log record at block %#x: checksum: %w", r.at, evidence.ErrCorrupt)
	}
	return nil
}

// verifyTail moves the tail forward over records that writes in flight may
// already have overwritten: those just ahead of the head (xlog_verify_tail). A
// bad record elsewhere is left for replay to stop at.
func (l *disklog) verifyTail(e *extent, last int64) error {
	p, err := l.block(last)
	if err != nil {
		return err
	}
	reach := maxIclogs * int64(min(parseHeader(p).size, maxRecord)) / basicBlock
	tail, ok, err := l.seekForward(e.head, e.tail, 1)
	if err != nil {
		return err
	}
	if ok {
		e.tail = tail
	}
	first := e.tail
	for tail = e.tail; ; {
		bad, err := l.walk(tail, e.head, l.checkOnly)
		if err == nil {
			if tail != first {
				e.tail = tail
				e.note = fmt.Sprintf("the log's tail was overwritten: replay begins at block %#x, not %#x", tail, first)
			}
			return nil
		}
		if !errors.Is(err, evidence.ErrCorrupt) {
			return err
		}
		distance := bad - e.head
		if distance < 0 {
			distance += l.blocks
		}
		if distance > reach {
			return nil
		}
		if tail, ok, err = l.seekForward(e.head, bad, 2); err != nil {
			return err
		}
		if !ok || tail == bad {
			return nil
		}
	}
}

// seekBack walks from head back to tail, round the start of the log, until it
// has met count record headers, and returns the last one met (xlog_rseek_logrec_hdr).
func (l *disklog) seekBack(head, tail int64, count int) (int64, bool, error) {
	at, found := int64(0), 0
	scan := func(from, to int64) error {
		for b := from; b >= to && found < count; b-- {
			p, err := l.block(b)
			if err != nil {
				return err
			}
			if isHeader(p) {
				at = b
				found++
			}
		}
		return nil
	}
	end := int64(0)
	if head > tail {
		end = tail
	}
	err := scan(head-1, end)
	if err == nil && tail >= head {
		err = scan(l.blocks-1, tail)
	}
	return at, found > 0, err
}

// seekForward is seekBack in the other direction (xlog_seek_logrec_hdr).
func (l *disklog) seekForward(head, tail int64, count int) (int64, bool, error) {
	at, found := int64(0), 0
	scan := func(from, to int64) error {
		for b := from; b < to && found < count; b++ {
			p, err := l.block(b)
			if err != nil {
				return err
			}
			if isHeader(p) {
				at = b
				found++
			}
		}
		return nil
	}
	end := l.blocks
	if head > tail {
		end = head
	}
	err := scan(tail, end)
	if err == nil && tail > head {
		err = scan(0, head)
	}
	return at, found > 0, err
}

// recordReach is XLOG_REC_SHIFT: the blocks of the longest record.
func (l *disklog) recordReach() int64 {
	if l.geo.LogV2 {
		return maxRecord / basicBlock
	}
	return maxRecordV1 / basicBlock
}

// flightReach is XLOG_TOTAL_REC_SHIFT: the blocks that may have been in flight.
func (l *disklog) flightReach() int64 { return min(maxIclogs*l.recordReach(), l.blocks) }

// findHead returns the block that the next record would have been written to
// (xlog_find_head). The log is a ring in which each block carries the number of
// the round in which it was written, so the head is where the numbers drop:
//
//	x+1 ... x+1 | x ... x
//
// but writes in flight end out of order, so that the drop may have holes.
func (l *disklog) findHead() (int64, error) {
	if head, partial, err := l.findZeroed(); err != nil || partial {
		return head, err
	}
	first, err := l.cycle(0)
	if err != nil {
		return 0, err
	}
	last, err := l.cycle(l.blocks - 1)
	if err != nil {
		return 0, err
	}
	head, stop := l.blocks, last-1
	if first != last {
		stop = last
		if head, err = l.findCycleStart(0, l.blocks-1, last); err != nil {
			return 0, err
		}
	}
	if head, err = l.trimHoles(head, stop); err != nil {
		return 0, err
	}
	if head, err = l.trimPartial(head); err != nil {
		return 0, err
	}
	return head % l.blocks, nil
}

// trimHoles takes head back to the first block before it, within what may have
// been in flight, that was not written in this round.
func (l *disklog) trimHoles(head int64, stop uint32) (int64, error) {
	n := l.flightReach()
	if head >= n {
		b, err := l.findCycle(head-n, n, stop)
		if err == nil && b >= 0 {
			head = b
		}
		return head, err
	}
	b, err := l.findCycle(l.blocks-(n-head), n-head, stop-1)
	if err != nil {
		return 0, err
	}
	if b >= 0 {
		return b, nil
	}
	if b, err = l.findCycle(0, head, stop); err == nil && b >= 0 {
		head = b
	}
	return head, err
}

// trimPartial takes head back over a record that was written only in part.
func (l *disklog) trimPartial(head int64) (int64, error) {
	n := l.recordReach()
	start := max(head-n, 0)
	b, atStart, err := l.findRecord(start, head, 0)
	if err != nil || !atStart {
		return b, err
	}
	// The record may have begun before the end of the physical log.
	b, atStart, err = l.findRecord(max(l.blocks-(n-head), 0), l.blocks, head)
	if err != nil {
		return 0, err
	}
	if atStart {
		return 0, fmt.Errorf("log: no record header before block %#x: %w", head, evidence.ErrCorrupt)
	}
	if b != l.blocks {
		head = b
	}
	return head, nil
}

// findZeroed deals with a log whose end was never written (xlog_find_zeroed).
func (l *disklog) findZeroed() (head int64, partial bool, err error) {
	c, err := l.cycle(0)
	if err != nil || c == 0 {
		return 0, true, err
	}
	if c, err = l.cycle(l.blocks - 1); err != nil || c != 0 {
		return 0, false, err
	}
	last, err := l.findCycleStart(0, l.blocks-1, 0)
	if err != nil {
		return 0, true, err
	}
	n := min(l.flightReach(), last)
	b, err := l.findCycle(last-n, n, 0)
	if err != nil {
		return 0, true, err
	}
	start := last - n
	if b >= 0 {
		last = b
	}
	head, atStart, err := l.findRecord(start, last, 0)
	if err == nil && atStart {
		err = fmt.Errorf("log: no record header before block %#x: %w", last, evidence.ErrCorrupt)
	}
	return head, true, err
}

// findCycleStart finds by bisection a block with the given cycle whose
// predecessor has another one (xlog_find_cycle_start).
func (l *disklog) findCycleStart(first, last int64, cycle uint32) (int64, error) {
	for mid := (first + last) / 2; mid != first && mid != last; mid = (first + last) / 2 {
		c, err := l.cycle(mid)
		if err != nil {
			return 0, err
		}
		if c == cycle {
			last = mid
		} else {
			first = mid
		}
	}
	return last, nil
}

// findCycle returns the first of n blocks from start that has the given cycle, or -1 (xlog_find_verify_cycle).
func (l *disklog) findCycle(start, n int64, cycle uint32) (int64, error) {
	for b := start; b < start+n; b++ {
		c, err := l.cycle(b)
		if err != nil {
			return 0, err
		}
		if c == cycle {
			return b, nil
		}
	}
	return -1, nil
}

// findRecord finds the last record header before block last. Where that record
// does not end exactly at last, it was cut short, and its own block is returned
// in place of last (xlog_find_verify_log_record). extra blocks of it were
// already seen at the start of the log. atStart says that block 0 was reached
// without a header.
func (l *disklog) findRecord(start, last, extra int64) (b int64, atStart bool, err error) {
	for i := last - 1; ; i-- {
		if i < 0 {
			return 0, true, nil
		}
		if i < start {
			return 0, false, fmt.Errorf("log: no record header in blocks %#x to %#x: %w", start, last, evidence.ErrCorrupt)
		}
		p, err := l.block(i)
		if err != nil {
			return 0, false, err
		}
		if !isHeader(p) {
			continue
		}
		h := parseHeader(p)
		if h.uuid != l.geo.UUID && h.uuid != [16]byte{} {
			return 0, false, fmt.Errorf("log record at block %#x belongs to another filesystem, %x: %w", i, h.uuid, evidence.ErrCorrupt)
		}
		if last-i+extra != h.dataBlocks()+l.headerBlocks(h) {
			last = i
		}
		return last, false, nil
	}
}

// externalScan is how much of a device is searched for a record's header: the
// longest record fits twice.
const externalScan = 2 * (maxRecord + 16*basicBlock)

// HoldsLog says whether a device has the log of the filesystem with this UUID
// (sb_uuid). Nothing but the records themselves say whose it is.
func HoldsLog(dev evidence.Device, uuid [16]byte) bool {
	b := make([]byte, min(externalScan, dev.Size))
	n, _ := dev.ReadAt(b, 0)
	for b = b[:n]; len(b) >= basicBlock; b = b[basicBlock:] {
		if binary.BigEndian.Uint32(b) != headerMagic {
			continue
		}
		if h := parseHeader(b); (h.version == 1 || h.version == 2) && h.uuid == uuid {
			return true
		}
	}
	return false
}
