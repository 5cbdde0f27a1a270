package sqlite

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"

	"lagan/evidence"
)

// rows walks a table's b-tree: section 1.6.
func (db *DB) rows(t Table) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		w := walk{db: db, table: t, seen: make(map[uint32]bool), yield: yield}
		w.page(t.Root, 0)
	}
}

type walk struct {
	db    *DB
	table Table
	seen  map[uint32]bool
	yield func(Row, error) bool
}

func (w *walk) fail(err error) bool {
	return w.yield(Row{}, fmt.Errorf("table %q: %w", w.table.Name, err))
}

// page yields the rows below page n. It returns false to end the walk.
func (w *walk) page(n uint32, depth int) bool {
	if w.seen[n] || depth > maxDepth {
		return w.fail(fmt.Errorf("page %d is used twice or lies too deep: %w", n, evidence.ErrCorrupt))
	}
	w.seen[n] = true
	b, err := w.db.page(n)
	if err != nil {
		return w.fail(err)
	}
	start := 0
	if n == 1 {
		start = headerSize
	}
	size := leafHeader
	if b[start] == tableInterior {
		size = interiorHeader
	} else if b[start] != tableLeaf {
		return w.fail(fmt.Errorf("page %d has the type %#x: %w", n, b[start], evidence.ErrCorrupt))
	}
	cells := int(binary.BigEndian.Uint16(b[start+3:]))
	if start+size+2*cells > len(b) {
		return w.fail(fmt.Errorf("page %d has %d cells: %w", n, cells, evidence.ErrCorrupt))
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(b[start+size+2*i:]))
		if at < start+size || at+4 > int(w.db.usable) {
			if !w.fail(fmt.Errorf("page %d: cell %d stands at %#x: %w", n, i, at, evidence.ErrCorrupt)) {
				return false
			}
			continue
		}
		if b[start] == tableInterior {
			if !w.page(binary.BigEndian.Uint32(b[at:]), depth+1) {
				return false
			}
			continue
		}
		row, err := w.cell(b[at:w.db.usable])
		if err != nil {
			err = fmt.Errorf("page %d: cell %d: %w", n, i, err)
			if !w.fail(err) {
				return false
			}
			continue
		}
		if !w.yield(row, nil) {
			return false
		}
	}
	if b[start] == tableInterior {
		return w.page(binary.BigEndian.Uint32(b[start+8:]), depth+1)
	}
	return true
}

// cell decodes a leaf's cell: payload size, row id, payload, overflow page.
func (w *walk) cell(b []byte) (Row, error) {
	size, n := varint(b)
	id, m := varint(b[n:])
	if n == 0 || m == 0 || size < 0 || size > MaxValue {
		return Row{}, fmt.Errorf("payload of %d bytes: %w", size, evidence.ErrCorrupt)
	}
	payload, err := w.db.payload(b[n+m:], size)
	if err != nil {
		return Row{}, err
	}
	row := Row{ID: id, columns: w.table.Columns}
	row.values, err = w.db.record(payload)
	if k := w.table.rowID; k >= 0 && k < len(row.values) && row.values[k] == nil {
		row.values[k] = id // a column INTEGER PRIMARY KEY stands for the row id
	}
	return row, err
}

// payload collects size bytes: what stands in the cell, then the chain of
// overflow pages, section 1.6 "cell payload overflow".
func (db *DB) payload(b []byte, size int64) ([]byte, error) {
	local := size
	if limit := db.usable - 35; size > limit {
		least := (db.usable-12)*32/255 - 23
		if local = least + (size-least)%(db.usable-4); local > limit {
			local = least
		}
	}
	if local > int64(len(b)) {
		return nil, fmt.Errorf("payload of %d bytes, of which %d in a cell with %d: %w", size, local, len(b), evidence.ErrCorrupt)
	}
	out := append([]byte(nil), b[:local]...)
	if local == size {
		return out, nil
	}
	if int64(len(b)) < local+4 {
		return nil, fmt.Errorf("no overflow page in the cell: %w", evidence.ErrCorrupt)
	}
	seen := make(map[uint32]bool)
	for next := binary.BigEndian.Uint32(b[local:]); int64(len(out)) < size; {
		if seen[next] {
			return nil, fmt.Errorf("overflow page %d is used twice: %w", next, evidence.ErrCorrupt)
		}
		seen[next] = true
		p, err := db.page(next)
		if err != nil {
			return nil, fmt.Errorf("overflow: %w", err)
		}
		next = binary.BigEndian.Uint32(p)
		out = append(out, p[4:4+min(db.usable-4, size-int64(len(out)))]...)
	}
	return out, nil
}

// record decodes a row: section 2.1.
func (db *DB) record(b []byte) ([]any, error) {
	head, n := varint(b)
	if n == 0 || head < int64(n) || head > int64(len(b)) {
		return nil, fmt.Errorf("record header of %d bytes: %w", head, evidence.ErrCorrupt)
	}
	types, body := b[n:head], b[head:]
	var out []any
	for len(types) > 0 {
		typ, n := varint(types)
		if n == 0 || len(out) >= maxColumns {
			return out, fmt.Errorf("record header: %w", evidence.ErrCorrupt)
		}
		types = types[n:]
		size := sizeOf(typ)
		if size < 0 || size > int64(len(body)) {
			return out, fmt.Errorf("column %d of type %d in %d bytes: %w", len(out), typ, len(body), evidence.ErrCorrupt)
		}
		out = append(out, db.value(typ, body[:size]))
		body = body[size:]
	}
	return out, nil
}

// sizeOf returns the bytes that a value of a serial type takes, -1 for types that there are not.
func sizeOf(typ int64) int64 {
	switch {
	case typ < 0, typ == 10, typ == 11:
		return -1
	case typ <= 4:
		return typ
	case typ == 5:
		return 6
	case typ <= 7:
		return 8
	case typ <= 9:
		return 0
	}
	return (typ - 12) / 2
}

func (db *DB) value(typ int64, b []byte) any {
	switch {
	case typ == 0:
		return nil
	case typ <= 6:
		n := int64(int8(b[0]))
		for _, c := range b[1:] {
			n = n<<8 | int64(c)
		}
		return n
	case typ == 7:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	case typ <= 9:
		return typ - 8
	case typ%2 == 1:
		return db.decodeText(b)
	}
	return b
}

// varint decodes SQLite's varint, 1 to 9 bytes; n is 0 where there is none.
func varint(b []byte) (v int64, n int) {
	for i := 0; i < len(b) && i < 9; i++ {
		if i == 8 {
			return v<<8 | int64(b[i]), 9
		}
		v = v<<7 | int64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
