package rpm

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"

	"lagan/evidence"
)

// Of Berkeley DB's dbinc/db_page.h: the metadata page, then the pages.
const (
	bdbMagic       = 0x061561 // DB_HASHMAGIC
	bdbMetaMagic   = 12
	bdbPageSize    = 20
	bdbEncrypted   = 24
	bdbLastPage    = 32
	bdbMetaSize    = 512
	bdbPageHeader  = 26
	bdbNextPage    = 16
	bdbEntries     = 20
	bdbFree        = 22 // of an overflow page: the bytes on it
	bdbType        = 25
	bdbHashOld     = 2
	bdbHash        = 13
	bdbOverflow    = 7
	bdbItemOffPage = 3 // H_OFFPAGE: type, 3 unused, page, length
	bdbOffPageSize = 12
	minBDBPage     = 512
	maxBDBPage     = 64 << 10
)

// bdb is a Berkeley DB hash.
type bdb struct {
	r     io.ReaderAt
	order binary.ByteOrder
	size  int64
	last  uint32
}

// openBDB reads the metadata page: evidence.ErrFormat where it is none.
func openBDB(r io.ReaderAt, size int64) (*bdb, error) {
	head := make([]byte, bdbMetaSize)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, evidence.ErrFormat
	}
	d := &bdb{r: r}
	switch {
	case binary.LittleEndian.Uint32(head[bdbMetaMagic:]) == bdbMagic:
		d.order = binary.LittleEndian
	case binary.BigEndian.Uint32(head[bdbMetaMagic:]) == bdbMagic:
		d.order = binary.BigEndian
	default:
		return nil, evidence.ErrFormat
	}
	d.size, d.last = int64(d.order.Uint32(head[bdbPageSize:])), d.order.Uint32(head[bdbLastPage:])
	if d.size < minBDBPage || d.size > maxBDBPage || d.size&(d.size-1) != 0 {
		return nil, fmt.Errorf("a Berkeley DB with pages of %d bytes: %w", d.size, evidence.ErrCorrupt)
	}
	if head[bdbEncrypted] != 0 {
		return nil, fmt.Errorf("encrypted Berkeley DB: %w", evidence.ErrUnsupported)
	}
	if most := size/d.size - 1; int64(d.last) > most {
		d.last = uint32(max(most, 0)) // the file was cut: what is there is read
	}
	return d, nil
}

// packages yields the values of all hash pages, in the order of the file. The
// buckets' order means nothing, and a page that no bucket leads to may hold a
// package that was there.
func (d *bdb) packages() iter.Seq2[Package, error] {
	return func(yield func(Package, error) bool) {
		page := make([]byte, d.size)
		for n := uint32(1); n <= d.last; n++ {
			if _, err := d.r.ReadAt(page, int64(n)*d.size); err != nil {
				if !yield(Package{}, fmt.Errorf("page %d of Berkeley DB: %w", n, err)) {
					return
				}
				continue
			}
			if t := page[bdbType]; t != bdbHash && t != bdbHashOld {
				continue
			}
			if !d.page(page, n, yield) {
				return
			}
		}
	}
}

func (d *bdb) page(page []byte, n uint32, yield func(Package, error) bool) bool {
	entries := int(d.order.Uint16(page[bdbEntries:]))
	if bdbPageHeader+2*entries > len(page) {
		return yield(Package{}, fmt.Errorf("page %d of Berkeley DB has %d entries: %w", n, entries, evidence.ErrCorrupt))
	}
	for i := 1; i < entries; i += 2 { // keys and values take turns
		at := int(d.order.Uint16(page[bdbPageHeader+2*i:]))
		if at+bdbOffPageSize > len(page) || page[at] != bdbItemOffPage {
			continue // rpm's count of packages is the one value on a page itself
		}
		blob, err := d.overflow(d.order.Uint32(page[at+4:]), d.order.Uint32(page[at+8:]))
		var p Package
		if err == nil {
			p, err = ParseHeader(blob)
		}
		if err != nil {
			err = fmt.Errorf("entry %d on page %d of Berkeley DB: %w", i, n, err)
		}
		p.Offset = int64(n)*d.size + int64(at)
		if !yield(p, err) {
			return false
		}
	}
	return true
}

// overflow joins the pages of a value.
func (d *bdb) overflow(n, length uint32) ([]byte, error) {
	if length > maxHeader || int64(length) > int64(d.last+1)*d.size {
		return nil, fmt.Errorf("value of %d bytes: %w", length, evidence.ErrCorrupt)
	}
	var out []byte
	page := make([]byte, d.size)
	for steps := uint32(0); n != 0; steps++ {
		if n > d.last || steps > d.last {
			return nil, fmt.Errorf("value leads to page %d: %w", n, evidence.ErrCorrupt)
		}
		if _, err := d.r.ReadAt(page, int64(n)*d.size); err != nil {
			return nil, err
		}
		used := int(d.order.Uint16(page[bdbFree:]))
		if page[bdbType] != bdbOverflow || bdbPageHeader+used > len(page) {
			return nil, fmt.Errorf("page %d is none of a value's: %w", n, evidence.ErrCorrupt)
		}
		if out = append(out, page[bdbPageHeader:bdbPageHeader+used]...); len(out) > int(length) {
			return nil, fmt.Errorf("value is longer than %d bytes: %w", length, evidence.ErrCorrupt)
		}
		n = d.order.Uint32(page[bdbNextPage:])
	}
	return out, nil
}
