package journal

import (
	"encoding/binary"
	"fmt"
	"io"

	"lagan/evidence"
)

// pageSize and pages bound what is kept of the file: 8 MiB. Entries refer to
// what stands shortly before them, and to a few objects far before.
const (
	pageSize = 16 << 10
	pages    = 512
)

// workRatio bounds the work on a file of hostile references: bytes that are
// read and decompressed, as a multiple of the file's size. journald's own files
// stay under a tenth of it.
const (
	workRatio = 256
	workBase  = 64 << 20
)

// reader reads a file by pages.
type reader struct {
	r      io.ReaderAt
	size   uint64
	work   uint64
	budget uint64
	cache  [pages]page
}

type page struct {
	number uint64 // +1; 0: none
	b      []byte
	err    error
}

func newReader(r io.ReaderAt, size int64) *reader {
	return &reader{r: r, size: uint64(size), budget: uint64(size)*workRatio + workBase}
}

// exhausted says whether the file had more work done for it than any real one needs.
func (r *reader) exhausted() bool { return r.work > r.budget }

// page returns the bytes of the page that off lies in.
func (r *reader) page(off uint64) (*page, error) {
	n := off / pageSize
	p := &r.cache[n%pages]
	if p.number == n+1 {
		return p, p.err
	}
	if p.b == nil {
		p.b = make([]byte, pageSize)
	}
	p.number, p.err = n+1, nil
	r.work += pageSize
	p.b = p.b[:min(pageSize, r.size-n*pageSize)]
	if got, err := r.r.ReadAt(p.b, int64(n*pageSize)); got < len(p.b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		p.err = fmt.Errorf("reading at offset %#x: %w", n*pageSize, err)
	}
	return p, p.err
}

// read fills b with the bytes at off, which lie in the file.
func (r *reader) read(b []byte, off uint64) error {
	for len(b) > 0 {
		if off >= r.size {
			return fmt.Errorf("offset %#x is past the end: %w", off, evidence.ErrCorrupt)
		}
		p, err := r.page(off)
		if err != nil {
			return err
		}
		n := copy(b, p.b[off%pageSize:])
		b, off = b[n:], off+uint64(n)
	}
	return nil
}

// bytes returns n bytes at off as they lie in a page, or else copied to buf. They are
// valid until the next read.
func (r *reader) bytes(off uint64, n int, buf []byte) ([]byte, error) {
	if in := off % pageSize; in+uint64(n) <= pageSize && off+uint64(n) <= r.size {
		p, err := r.page(off)
		if err != nil {
			return nil, err
		}
		return p.b[in : in+uint64(n)], nil
	}
	b := buf[:n]
	return b, r.read(b, off)
}

// object reads and checks an object's header.
func (r *reader) object(off uint64) (object, error) {
	if off%8 != 0 || off < minHeader || off > r.size || r.size-off < objectHeader {
		return object{}, fmt.Errorf("no object can be at offset %#x: %w", off, evidence.ErrCorrupt)
	}
	var buf [objectHeader]byte
	b, err := r.bytes(off, objectHeader, buf[:])
	if err != nil {
		return object{}, err
	}
	o := object{off: off, typ: b[0], flags: b[1], size: binary.LittleEndian.Uint64(b[8:])}
	if o.typ == objUnused || o.typ >= objTypes || o.size < minObject[o.typ] || o.size > r.size-off {
		return o, fmt.Errorf("object at offset %#x of type %d and %d bytes: %w", off, o.typ, o.size, evidence.ErrCorrupt)
	}
	return o, nil
}

// nonZero returns the first offset from off on, in steps of eight, at which a word is not zero.
func (r *reader) nonZero(off uint64) uint64 {
	for off+8 <= r.size {
		p, err := r.page(off)
		if err != nil { // a page that can't be read is passed over
			off = (off/pageSize + 1) * pageSize
			continue
		}
		b := p.b[off%pageSize:]
		for len(b) >= 8 {
			if binary.LittleEndian.Uint64(b) != 0 {
				return off
			}
			b, off = b[8:], off+8
		}
		if len(b) > 0 {
			break
		}
	}
	return r.size
}
