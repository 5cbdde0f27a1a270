package rpm

import (
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"io"
	"iter"

	"lagan/evidence"
)

// Of rpm's lib/backend/ndb/rpmpkg.c. All numbers are little-endian.
const (
	ndbMagic    = 'R' | 'p'<<8 | 'm'<<16 | 'P'<<24
	ndbSlot     = 'S' | 'l'<<8 | 'o'<<16 | 't'<<24
	ndbBlob     = 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24
	ndbBlobEnd  = 'B' | 'l'<<8 | 'b'<<16 | 'E'<<24
	ndbVersion  = 0
	ndbHeader   = 32
	ndbSlotSize = 16
	ndbSlotPage = 4096
	ndbBlock    = 16
	ndbBlobHead = 16
	ndbBlobTail = 12 // Adler-32 of all before it, length, magic
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

// blob reads a package's header: rpmpkgReadBlob of rpmpkg.c. A header of which the
// sum is another is not what rpm wrote.
func (d *ndb) blob(index uint32, at, room int64) (Package, error) {
	bad := func(err error) (Package, error) { return Package{}, fmt.Errorf("blob at %#x: %w", at, err) }
	var head [ndbBlobHead]byte
	if _, err := d.r.ReadAt(head[:], at); err != nil {
		return bad(err)
	}
	le := binary.LittleEndian
	length := int64(le.Uint32(head[12:]))
	blocks := (ndbBlobHead + length + ndbBlobTail + ndbBlock - 1) / ndbBlock
	if le.Uint32(head[:]) != ndbBlob || le.Uint32(head[4:]) != index || length > maxHeader || room != blocks*ndbBlock || at+room > d.size {
		return bad(evidence.ErrCorrupt)
	}
	b := make([]byte, room)
	if _, err := d.r.ReadAt(b, at); err != nil {
		return bad(err)
	}
	summed, tail := b[:room-ndbBlobTail], b[room-ndbBlobTail:]
	if le.Uint32(tail[8:]) != ndbBlobEnd || int64(le.Uint32(tail[4:])) != length {
		return bad(fmt.Errorf("its end is another's: %w", evidence.ErrCorrupt))
	}
	if sum, want := adler32.Checksum(summed), le.Uint32(tail); sum != want {
		return bad(fmt.Errorf("sum %#08x, not %#08x: %w", sum, want, evidence.ErrCorrupt))
	}
	return ParseHeader(summed[ndbBlobHead:][:length])
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
