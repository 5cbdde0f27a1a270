package journal

import (
	"encoding/binary"
	"fmt"

	"lagan/evidence"
)

// chain follows the header's list of entry arrays.
type chain struct {
	j         *Journal
	nextArray uint64 // the next array's offset
	at        uint64 // the next item's
	end       uint64 // where the array's items end
	last      uint64 // the last entry
	err       error
}

func newChain(j *Journal) *chain { return &chain{j: j, nextArray: j.entryArray} }

func (c *chain) takeError() error {
	err := c.err
	c.err = nil
	return err
}

// next returns the offset of the next entry that an array names.
func (c *chain) next() (uint64, bool) {
	for {
		for c.at < c.end {
			off, err := c.item()
			if err != nil {
				return c.fail(err)
			}
			if off == 0 { // room for entries to come
				break
			}
			if off <= c.last {
				return c.fail(fmt.Errorf("entry array leads from offset %#x back to %#x: %w", c.last, off, evidence.ErrCorrupt))
			}
			c.last = off
			return off, true
		}
		if c.nextArray == 0 || !c.array() {
			return 0, false
		}
	}
}

func (c *chain) fail(err error) (uint64, bool) {
	c.err, c.at, c.end, c.nextArray = err, 0, 0, 0
	return 0, false
}

func (c *chain) item() (uint64, error) {
	var buf [8]byte
	if c.j.Compact() {
		b, err := c.j.r.bytes(c.at, 4, buf[:])
		if err != nil {
			return 0, err
		}
		c.at += 4
		return uint64(binary.LittleEndian.Uint32(b)), nil
	}
	b, err := c.j.r.bytes(c.at, 8, buf[:])
	if err != nil {
		return 0, err
	}
	c.at += 8
	return binary.LittleEndian.Uint64(b), nil
}

// array begins the next array of the chain.
func (c *chain) array() bool {
	o, err := c.j.r.object(c.nextArray)
	if err == nil && o.typ != objEntryArray {
		err = fmt.Errorf("object at offset %#x of type %d is no entry array: %w", o.off, o.typ, evidence.ErrCorrupt)
	}
	var buf [8]byte
	var b []byte
	if err == nil {
		b, err = c.j.r.bytes(o.off+objectHeader, 8, buf[:])
	}
	if err != nil {
		c.fail(err)
		return false
	}
	next := binary.LittleEndian.Uint64(b)
	item := uint64(8)
	if c.j.Compact() {
		item = 4
	}
	c.at = o.off + entryArrayItems
	c.end = c.at + (o.size-entryArrayItems)/item*item
	c.nextArray = next
	if next != 0 && next <= o.off { // journal-verify.c: "Array chain has cycle"
		c.nextArray = 0
		c.err = fmt.Errorf("entry array at offset %#x is followed by one at %#x: %w", o.off, next, evidence.ErrCorrupt)
	}
	return true
}

// scan walks from object to object. Where there is none, it looks for the
// next place that could be one.
type scan struct {
	j    *Journal
	at   uint64
	tail uint64 // the last object by the header: what comes after may be anything
	err  error
}

func newScan(j *Journal) *scan {
	s := &scan{j: j, at: j.headerSize, tail: j.tailObject}
	if s.at < minHeader || s.at%8 != 0 || s.at > j.r.size {
		s.at = minHeader
		s.err = fmt.Errorf("header of %d bytes: %w", j.headerSize, evidence.ErrCorrupt)
	}
	return s
}

func (s *scan) takeError() error {
	err := s.err
	s.err = nil
	return err
}

// next returns the offset of the next object that is an entry.
func (s *scan) next() (uint64, bool) {
	lost := false
	for s.at+objectHeader <= s.j.r.size {
		if s.j.r.exhausted() {
			return 0, false
		}
		o, err := s.j.r.object(s.at)
		if err == nil && lost && !s.plausible(o) {
			err = evidence.ErrCorrupt
		}
		if err != nil {
			if !lost && s.at <= s.tail && s.err == nil {
				s.err = err
			}
			lost = true
			s.at = s.j.r.nonZero(s.at + 8)
			continue
		}
		lost = false
		s.at += (o.size + 7) &^ 7
		if o.typ == objEntry {
			return o.off, true
		}
	}
	return 0, false
}

// plausible looks closer at a place that was found by trying.
func (s *scan) plausible(o object) bool {
	var buf [objectHeader]byte
	b, err := s.j.r.bytes(o.off, objectHeader, buf[:])
	if err != nil || binary.LittleEndian.Uint64(b)&^0xffff != 0 {
		return false // the reserved bytes
	}
	if o.typ != objData && o.flags != 0 {
		return false
	}
	end := o.off + (o.size+7)&^7
	if end >= s.j.r.size {
		return true
	}
	if _, err = s.j.r.object(end); err == nil {
		return true
	}
	return s.j.r.nonZero(end) >= min(end+objectHeader, s.j.r.size)
}
