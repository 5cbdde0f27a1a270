package piece

import (
	"encoding/binary"
	"fmt"
	"io"
)

// pageSize is how much of a table is read at a time.
const pageSize = 64 << 10

// Table reads integers out of the tables of a file, by way of a cache of pages:
// a table's length comes from the evidence and is never allocated.
type Table struct {
	r     io.ReaderAt
	pages *Cache[int64]
	order binary.ByteOrder
}

// NewTable returns a reader of tables in r that keeps at most max bytes.
func NewTable(r io.ReaderAt, order binary.ByteOrder, max int64) *Table {
	return &Table{r, NewCache[int64](max), order}
}

// U32 returns the 32-bit integer at off.
func (t *Table) U32(off int64) (uint32, error) {
	var b [4]byte
	err := t.bytes(b[:], off)
	return t.order.Uint32(b[:]), err
}

// U64 returns the 64-bit integer at off.
func (t *Table) U64(off int64) (uint64, error) {
	var b [8]byte
	err := t.bytes(b[:], off)
	return t.order.Uint64(b[:]), err
}

func (t *Table) bytes(b []byte, off int64) error {
	if off < 0 {
		return fmt.Errorf("table at offset %#x: negative", off)
	}
	for done := 0; done < len(b); {
		at := off + int64(done)
		page, err := t.pages.Get(at/pageSize, func() ([]byte, error) {
			p := make([]byte, pageSize)
			n, err := t.r.ReadAt(p, at/pageSize*pageSize)
			if n > 0 || err == io.EOF {
				err = nil
			}
			return p[:n], err
		})
		if err != nil {
			return fmt.Errorf("table at offset %#x: %w", off, err)
		}
		i := int(at % pageSize)
		if i >= len(page) {
			return fmt.Errorf("table at offset %#x: %w", off, io.ErrUnexpectedEOF)
		}
		done += copy(b[done:], page[i:])
	}
	return nil
}
