// Package bin decodes fixed-width integers from a bounded byte slice.
//
// A Cursor never panics: a read past the end yields zero and makes the
// cursor's error sticky, so that a decoder can read a whole structure field by
// field, in on-disk order, and check once.
package bin

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrShort says that a structure is longer than the bytes it was given.
var ErrShort = errors.New("structure is cut short")

// Cursor reads forward through bytes in one byte order.
type Cursor struct {
	b     []byte
	order binary.ByteOrder
	off   int
	err   error
}

// LE returns a cursor over b that reads little-endian integers.
func LE(b []byte) *Cursor { return &Cursor{b: b, order: binary.LittleEndian} }

// BE returns a cursor over b that reads big-endian integers.
func BE(b []byte) *Cursor { return &Cursor{b: b, order: binary.BigEndian} }

// Err returns ErrShort, with the offset of the first failed read, or nil.
func (c *Cursor) Err() error { return c.err }

// Offset returns the number of bytes that were read or skipped.
func (c *Cursor) Offset() int { return c.off }

// Len returns the number of bytes left.
func (c *Cursor) Len() int { return len(c.b) - c.off }

// Seek moves to an absolute offset.
func (c *Cursor) Seek(off int) {
	if off < 0 || off > len(c.b) {
		c.fail(off)
		return
	}
	c.off = off
}

// Skip moves n bytes forward.
func (c *Cursor) Skip(n int) { c.take(n) }

// Bytes returns the next n bytes, not copied, or nil where fewer are left.
func (c *Cursor) Bytes(n int) []byte { return c.take(n) }

// Rest returns all bytes that are left, not copied.
func (c *Cursor) Rest() []byte { return c.take(c.Len()) }

// U8 reads one byte.
func (c *Cursor) U8() uint8 {
	b := c.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// U16 reads a 16-bit integer.
func (c *Cursor) U16() uint16 {
	b := c.take(2)
	if b == nil {
		return 0
	}
	return c.order.Uint16(b)
}

// U32 reads a 32-bit integer.
func (c *Cursor) U32() uint32 {
	b := c.take(4)
	if b == nil {
		return 0
	}
	return c.order.Uint32(b)
}

// U64 reads a 64-bit integer.
func (c *Cursor) U64() uint64 {
	b := c.take(8)
	if b == nil {
		return 0
	}
	return c.order.Uint64(b)
}

func (c *Cursor) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > len(c.b)-c.off {
		c.fail(c.off)
		return nil
	}
	b := c.b[c.off : c.off+n : c.off+n]
	c.off += n
	return b
}

func (c *Cursor) fail(off int) {
	if c.err == nil {
		c.err = fmt.Errorf("offset %#x: %w", off, ErrShort)
	}
}
