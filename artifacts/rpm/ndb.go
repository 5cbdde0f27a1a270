package rpm

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"

	"lagan/evidence"
)

// Of rpm's lib/backend/ndb/rpmpkg.c. All numbers are little-endian.
const (
	ndbMagic    = 'R' | 'p'<<8 | 'm'<<16 | 'P'<<24
	ndbSlot     = 'S' | 'l'<<8 | 'o'<<16 | 't'<<24
	ndbBlob     = 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24
	ndbVersion  = 0
	ndbHeader   = 32
	ndbSlotSize = 16
	ndbSlotPage = 4096
	ndbBlock    = 16
	ndbBlobHead = 16
	// maxSlotPages bounds the slots: 2^20 packages.
	maxSlotPages = 4096
)

// ndb is rpm's own database.
type ndb struct {
	r     io.ReaderAt
	size  int64
	slots int64 // bytes
}

func openNDB(r io.ReaderAt, size int64) (*ndb, error) {
	head := make([]byte, ndbHeader)
	if _, err := r.ReadAt(head, 0); err != nil || binary.LittleEndian.Uint32(head) != ndbMagic {
		return nil, evidence.ErrFormat
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v != ndbVersion {
		return nil, fmt.Errorf("ndb of version %d: %w", v, evidence.ErrUnsupported)
	}
	pages := binary.LittleEndian.Uint32(head[12:])
	if pages == 0 || pages > maxSlotPages {
		return nil, fmt.Errorf("ndb with %d pages of slots: %w", pages, evidence.ErrCorrupt)
	}
	return &ndb{r, size, min(int64(pages)*ndbSlotPage, size)}, nil
}

func (d *ndb) packages() iter.Seq2[Package, error] {
	return func(yield func(Package, error) bool) {
		var slot [ndbSlotSize]byte
		for at := int64(ndbHeader); at+ndbSlotSize <= d.slots; at += ndbSlotSize {
			if _, err := d.r.ReadAt(slot[:], at); err != nil {
				yield(Package{}, fmt.Errorf("slot at %#x of ndb: %w", at, err))
				return
			}
			le := binary.LittleEndian
			if le.Uint32(slot[:]) != ndbSlot {
				if !yield(Package{}, fmt.Errorf("slot at %#x of ndb: %w", at, evidence.ErrCorrupt)) {
					return
				}
				continue
			}
			index, block, count := le.Uint32(slot[4:]), le.Uint32(slot[8:]), le.Uint32(slot[12:])
			if block == 0 {
				continue // free
			}
			p, err := d.blob(index, int64(block)*ndbBlock, int64(count)*ndbBlock)
			if err != nil {
				err = fmt.Errorf("slot at %#x of ndb: %w", at, err)
			}
			p.Offset = int64(block) * ndbBlock
			if !yield(p, err) {
				return
			}
		}
	}
}

func (d *ndb) blob(index uint32, at, room int64) (Package, error) {
	var head [ndbBlobHead]byte
	if _, err := d.r.ReadAt(head[:], at); err != nil {
		return Package{}, fmt.Errorf("blob at %#x: %w", at, err)
	}
	le := binary.LittleEndian
	length := int64(le.Uint32(head[12:]))
	if le.Uint32(head[:]) != ndbBlob || le.Uint32(head[4:]) != index || length > room || length > maxHeader || at+ndbBlobHead+length > d.size {
		return Package{}, fmt.Errorf("blob at %#x: %w", at, evidence.ErrCorrupt)
	}
	b := make([]byte, length)
	if _, err := d.r.ReadAt(b, at+ndbBlobHead); err != nil {
		return Package{}, fmt.Errorf("blob at %#x: %w", at, err)
	}
	return ParseHeader(b)
}

// Packages yields the packages of a database that is a Berkeley DB hash or ndb:
// evidence.ErrFormat where it is neither.
func Packages(r io.ReaderAt, size int64) (iter.Seq2[Package, error], error) {
	n, err := openNDB(r, size)
	if err == nil {
		return n.packages(), nil
	}
	if err != evidence.ErrFormat {
		return nil, err
	}
	b, err := openBDB(r, size)
	if err != nil {
		return nil, err
	}
	return b.packages(), nil
}
