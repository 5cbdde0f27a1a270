package jbd2

import (
	"encoding/binary"
	"fmt"
	"io"
)

// readAhead is how much of the log one read asks for: a log is read from end to end.
const readAhead = 256 << 10

// window gives the blocks of a log, which it reads in large pieces.
type window struct {
	r     io.ReaderAt
	bs    int
	ahead int // what one read asks for
	buf   []byte
	first uint32 // block at buf[0]
	n     uint32 // blocks in buf
}

func newWindow(r io.ReaderAt, bs int) *window { return &window{r: r, bs: bs, ahead: readAhead} }

// block returns block i of the log. It is valid until the next call.
func (w *window) block(i uint32) ([]byte, error) {
	if i < w.first || i-w.first >= w.n {
		if w.buf == nil {
			w.buf = make([]byte, max(w.ahead, w.bs))
		}
		off := int64(i) * int64(w.bs)
		n, err := w.r.ReadAt(w.buf, off)
		w.first, w.n = i, uint32(n/w.bs)
		if w.n == 0 {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading journal block %d at %#x: %w", i, off, err)
		}
	}
	at := int(i-w.first) * w.bs
	return w.buf[at : at+w.bs : at+w.bs], nil
}

func beUint32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func beUint64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
func leUint16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func leUint32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
