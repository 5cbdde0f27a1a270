package sqlite

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

// Left is a row that no table has any more, or an older state of one.
type Left struct {
	Values []any  // nil, int64, float64, string or []byte
	Page   uint32 // of the database
	Offset int64  // of the page in its file
	Place  string // "page 12, freed cell"; "write-ahead log, frame 3"
}

// Bounds of the search for rows.
const (
	maxLeftPages = 1 << 22
	maxLeftRows  = 1 << 20
	maxLeftBytes = 1 << 30
)

// Remnants yields what is left of rows that were deleted or changed: the cells of
// pages on the freelist, what lies between the cells of pages in use (freeblocks
// keep all but the first four bytes of a cell), all frames of the write-ahead
// log, also those of earlier rounds, and the pages in a rollback journal. Rows
// that are still there may be among those of the log and the journal.
func (db *DB) Remnants() iter.Seq2[Left, error] {
	return func(yield func(Left, error) bool) {
		l := db.leftWalk(yield)
		used := db.usedPages()
		pages := min(db.r.Size()/db.pageSize, maxLeftPages)
		b := make([]byte, db.pageSize)
		for n := int64(1); n <= pages && l.more; n++ {
			off := (n - 1) * db.pageSize
			if err := readFull(db.r, b, off); err != nil {
				l.more = yield(Left{}, fmt.Errorf("page %d: %w", n, err))
				continue
			}
			if _, replaced := db.over[uint32(n)]; replaced {
				l.page(b, uint32(n), off, fmt.Sprintf("page %d, before the log or journal", n), true)
			}
			l.page(b, uint32(n), off, fmt.Sprintf("page %d, free space", n), !used[uint32(n)])
		}
		l.log(db.wal)
		l.journal(db.journal)
	}
}

// JournalRows yields the rows in the pages of a rollback journal that was deleted:
// SQLite writes a page there before it changes it, and deletes the journal when it is
// done. Rows that are still there are among them; what lay in further pages is read
// where it stood, and may be another row's by now.
func (db *DB) JournalRows(j File) iter.Seq2[Left, error] {
	return func(yield func(Left, error) bool) { db.leftWalk(yield).journal(j) }
}

func (db *DB) leftWalk(yield func(Left, error) bool) *leftWalk {
	l := &leftWalk{db: db, yield: yield, more: true, budget: maxLeftBytes}
	for t, err := range db.Tables() {
		if err == nil {
			l.shape(kindsOf(t.SQL))
		}
	}
	return l
}

// usedPages returns the pages of all tables' trees.
func (db *DB) usedPages() map[uint32]bool {
	used := map[uint32]bool{1: true}
	for t, err := range db.Tables() {
		if err != nil {
			continue
		}
		w := walk{db: db, table: t, seen: used, yield: func(Row, error) bool { return true }}
		delete(used, t.Root)
		w.page(t.Root, 0)
	}
	return used
}

type leftWalk struct {
	db     *DB
	yield  func(Left, error) bool
	more   bool
	rows   int
	budget int64    // bytes of payloads that may still be read: chains of pages may overlap
	shapes [][]kind // what the tables' columns hold, without doubles
}

// shape notes what a table's columns hold, the first a text, as ids and names are.
func (l *leftWalk) shape(kinds []kind) {
	if len(kinds) == 0 || len(kinds) > maxColumns || !kinds[0].holds(textType) {
		return
	}
	if !slices.ContainsFunc(l.shapes, func(s []kind) bool { return slices.Equal(s, kinds) }) {
		l.shapes = append(l.shapes, kinds)
	}
}

// textType is the serial type of an empty text; a longer one's is larger by 2 a byte.
const textType = 13

// isText says whether a serial type is that of a text.
func isText(typ int64) bool { return typ >= textType && typ%2 == 1 }

// page looks through one page: free says that its cells are no rows of a table.
func (l *leftWalk) page(b []byte, n uint32, off int64, place string, free bool) {
	start := 0
	if n == 1 {
		start = headerSize
	}
	if b[start] != tableLeaf {
		if free { // a page on the freelist may be a trunk: its head is overwritten
			l.scan(b[:l.db.usable], n, off, place)
		}
		return
	}
	cells := int(binary.BigEndian.Uint16(b[start+3:]))
	content := int(binary.BigEndian.Uint16(b[start+5:]))
	table := start + leafHeader + 2*cells
	if table > len(b) {
		return
	}
	if free {
		for i := range cells {
			at := int(binary.BigEndian.Uint16(b[start+leafHeader+2*i:]))
			if at >= table && at+4 <= int(l.db.usable) {
				l.cell(b[at:l.db.usable], n, off, place, 0)
			}
		}
	}
	if content > table && content <= int(l.db.usable) {
		l.scan(b[table:content], n, off, place)
	}
	// The chain of freeblocks: offset of the next, size.
	next := int(binary.BigEndian.Uint16(b[start+1:]))
	for last := 0; next > last && next+4 <= int(l.db.usable); {
		size := int(binary.BigEndian.Uint16(b[next+2:]))
		if size < 4 || next+size > int(l.db.usable) {
			return
		}
		l.block(b[next:l.db.usable], size, n, off, place)
		last, next = next, int(binary.BigEndian.Uint16(b[next:]))
	}
}

// block looks through a freeblock, in which several cells may have been joined.
func (l *leftWalk) block(b []byte, size int, n uint32, off int64, place string) {
	// Payload size and row id took two bytes at least; what is left of them after four is not much.
	for skip := 2; skip <= 8 && skip < size; skip++ {
		if l.cell(b, n, off, place, skip) {
			break
		}
	}
	if size > 4 {
		l.headless(b, 4, n, off, place)
	}
	l.scan(b[min(4, size):size], n, off, place)
}

// headless decodes a cell whose first four bytes, sizes and row id and the length
// of the record's header, were overwritten when it was freed: at b[at] the
// types of the columns begin.
func (l *leftWalk) headless(b []byte, at int, n uint32, off int64, place string) {
	if b[at] < 13 || b[at]&0x80 == 0 && b[at]%2 == 0 {
		return
	}
	for _, kinds := range l.shapes {
		head, sum, k := at, int64(0), 0
		for ; k < len(kinds) && head < len(b) && sum <= MaxValue; k++ {
			typ, size := varint(b[head:])
			width := sizeOf(typ)
			if size == 0 || width < 0 || !kinds[k].holds(typ) || k == 0 && !isText(typ) {
				break
			}
			head, sum = head+size, sum+width
		}
		length := head - at + 1
		if k < len(kinds) || length > 127 || sum > MaxValue || sum < 8 || l.budget < sum {
			continue
		}
		l.budget -= sum
		payload, err := l.db.payload(b[at-1:], int64(length)+sum)
		if err != nil {
			continue
		}
		payload[0] = byte(length)
		values, err := l.db.record(payload)
		if err != nil || len(values) != len(kinds) || !readable(values) || l.rows >= maxLeftRows {
			continue
		}
		l.rows++
		l.more = l.more && l.yield(Left{values, n, off, place}, nil)
		return
	}
}

// readable says whether all texts of a row are text.
func readable(values []any) bool {
	for _, v := range values {
		s, ok := v.(string)
		if ok && (!utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' })) {
			return false
		}
	}
	return true
}

// scan tries every place of b for a whole cell.
func (l *leftWalk) scan(b []byte, n uint32, off int64, place string) {
	for at := 0; at+8 < len(b) && l.more; at++ {
		if b[at] != 0 && !l.cell(b[at:], n, off, place, 0) && at > 0 {
			l.headless(b, at, n, off, place)
		}
	}
}

// cell decodes a cell; skip is where its record begins, where its own head is overwritten.
func (l *leftWalk) cell(b []byte, n uint32, off int64, place string, skip int) bool {
	head := skip
	size := int64(-1)
	if skip == 0 {
		s, a := varint(b)
		_, c := varint(b[a:])
		if a == 0 || c == 0 || s < 4 || s > MaxValue {
			return false
		}
		head, size = a+c, s
	}
	if head >= len(b) {
		return false
	}
	want, ok := l.record(b[head:])
	if !ok || size >= 0 && size != want || l.budget < want {
		return false
	}
	l.budget -= want
	payload, err := l.db.payload(b[head:], want)
	if err != nil {
		return false
	}
	values, err := l.db.record(payload)
	if err != nil || l.rows >= maxLeftRows {
		return false
	}
	l.rows++
	if l.more = l.more && l.yield(Left{values, n, off, place}, nil); !l.more {
		return true
	}
	return true
}

// record checks a record's header and returns the size of the record: its columns
// hold what those of some table do.
func (l *leftWalk) record(b []byte) (int64, bool) {
	head, n := varint(b)
	if n == 0 || head < 3 || head > int64(len(b)) || head > 2*maxColumns {
		return 0, false
	}
	for _, kinds := range l.shapes {
		total, types, k := head, b[n:head], 0
		for ; len(types) > 0 && k < len(kinds) && total <= MaxValue; k++ {
			typ, size := varint(types)
			width := sizeOf(typ)
			if size == 0 || width < 0 || !kinds[k].holds(typ) || k == 0 && !isText(typ) {
				break
			}
			types, total = types[size:], total+width
		}
		if k == len(kinds) && len(types) == 0 && total <= MaxValue {
			return total, true
		}
	}
	return 0, false
}

// log goes through all frames of the write-ahead log, those of earlier rounds too.
func (l *leftWalk) log(wal File) {
	if wal == nil {
		return
	}
	b := make([]byte, frameHeader+l.db.pageSize)
	for n := int64(0); n < maxFrames && l.more; n++ {
		off := walHeaderSize + n*int64(len(b))
		if off+int64(len(b)) > wal.Size() || readFull(wal, b, off) != nil {
			return
		}
		if page := binary.BigEndian.Uint32(b); page > 0 {
			l.page(b[frameHeader:], page, off+frameHeader, fmt.Sprintf("write-ahead log, frame %d", n+1), true)
		}
	}
}

// journal goes through the pages of a rollback journal, finished or not.
func (l *leftWalk) journal(j File) {
	if j == nil {
		return
	}
	// A finished journal's header is blank; its records stand behind the sector.
	for _, sector := range []int64{512, 4096} {
		b := make([]byte, 4+l.db.pageSize+4)
		for at := sector; at+int64(len(b)) <= j.Size() && l.more; at += int64(len(b)) {
			if readFull(j, b, at) != nil {
				return
			}
			page := binary.BigEndian.Uint32(b)
			if page == 0 || page > maxLeftPages {
				break
			}
			l.page(b[4:4+l.db.pageSize], page, at+4, fmt.Sprintf("rollback journal, page %d", page), true)
		}
	}
}
