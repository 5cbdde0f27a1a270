// Package sqlite reads the rows of a SQLite 3 database without SQL: Podman's
// db.sql, k3s' state.db. It follows www.sqlite.org/fileformat2.html.
//
// A write-ahead log or a hot rollback journal beside the file is applied in
// memory, as the library would on opening; the files stay as they are.
//
// Input is hostile: every offset is checked, no page is entered twice in one
// walk, no allocation is larger than what stands in the file and the limits in
// disk.go. A page or row that can't be read is an error in its place, and the
// rest goes on. Tables WITHOUT ROWID are not read.
package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"strings"
	"unicode/utf16"

	"lagan/evidence"
)

// File is a file of the evidence with its size.
type File interface {
	io.ReaderAt
	Size() int64
}

// DB is one database. Its methods may be called from several goroutines.
type DB struct {
	r        File
	pageSize int64
	usable   int64
	encoding uint32
	// over holds the pages that a log or journal has in place of the file's.
	over         map[uint32]place
	wal, journal File // nil: none
}

// place is where a page's content stands.
type place struct {
	r   File
	off int64
}

// Open reads the header of a database. wal and journal, where not nil, are the
// files that stand beside it with -wal and -journal added to its name. It
// returns evidence.ErrFormat where r is no SQLite database. warn, where set, is
// told what was wrong and read past.
func Open(r, wal, journal File, warn func(error)) (*DB, error) {
	if warn == nil {
		warn = func(error) {}
	}
	db := &DB{r: r, over: make(map[uint32]place), wal: wal, journal: journal}
	// The log first: a new database may have its only pages there.
	if wal != nil && wal.Size() > 0 {
		if err := db.readLog(wal); err != nil {
			warn(fmt.Errorf("write-ahead log: %w", err))
		}
	}
	h := make([]byte, headerSize)
	if err := readFull(r, h, 0); err != nil && len(db.over) == 0 {
		return nil, fmt.Errorf("reading SQLite header: %w: %w", err, evidence.ErrFormat)
	}
	if p, ok := db.over[1]; ok {
		if err := readFull(p.r, h, p.off); err != nil {
			return nil, fmt.Errorf("reading SQLite header from the log: %w", err)
		}
	}
	if string(h[:len(headerMagic)]) != headerMagic {
		return nil, fmt.Errorf("no SQLite header: %w", evidence.ErrFormat)
	}
	if err := db.readHeader(h); err != nil {
		return nil, err
	}
	if journal != nil && journal.Size() > 0 {
		if err := db.readJournal(journal); err != nil {
			warn(fmt.Errorf("rollback journal: %w", err))
		}
	}
	return db, nil
}

func (db *DB) readHeader(h []byte) error {
	db.pageSize = int64(binary.BigEndian.Uint16(h[offPageSize:]))
	if db.pageSize == 1 {
		db.pageSize = maxPageSize
	}
	if db.pageSize < minPageSize || db.pageSize&(db.pageSize-1) != 0 {
		return fmt.Errorf("SQLite page size %d: %w", db.pageSize, evidence.ErrCorrupt)
	}
	db.usable = db.pageSize - int64(h[offReserved])
	if db.usable < minUsable {
		return fmt.Errorf("%d usable bytes in a SQLite page: %w", db.usable, evidence.ErrCorrupt)
	}
	db.encoding = binary.BigEndian.Uint32(h[offEncoding:])
	return nil
}

// readFull fills b from offset off.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes at offset %#x: %w", len(b), off, err)
}

// page reads a page, from the log or journal where that has it.
func (db *DB) page(n uint32) ([]byte, error) {
	at := place{db.r, (int64(n) - 1) * db.pageSize}
	if p, ok := db.over[n]; ok {
		at = p
	}
	if n == 0 || at.off+db.pageSize > at.r.Size() {
		return nil, fmt.Errorf("page %d is past the end of the file: %w", n, evidence.ErrCorrupt)
	}
	b := make([]byte, db.pageSize)
	if err := readFull(at.r, b, at.off); err != nil {
		return nil, fmt.Errorf("page %d: %w", n, err)
	}
	return b, nil
}

// Table is one entry of the schema.
type Table struct {
	Name    string
	Root    uint32
	SQL     string
	Columns []string // as far as the SQL tells them
	rowID   int      // index of the column that is the row id, -1: none
}

// Tables yields the tables of the schema: section 2.6.
func (db *DB) Tables() iter.Seq2[Table, error] {
	return func(yield func(Table, error) bool) {
		for row, err := range db.rows(Table{Name: "sqlite_schema", Root: 1, rowID: -1}) {
			if err != nil {
				if !yield(Table{}, err) {
					return
				}
				continue
			}
			if len(row.values) < 5 || row.text(0) != "table" {
				continue
			}
			t := Table{Name: row.text(1), SQL: row.text(4)}
			root, _ := row.values[3].(int64)
			if root <= 0 || root > math.MaxUint32 {
				continue // a virtual table
			}
			t.Root = uint32(root)
			t.Columns, t.rowID = columnsOf(t.SQL)
			if !yield(t, nil) {
				return
			}
		}
	}
}

// Rows yields the rows of the table called name, in the order of their ids. A
// table that isn't there is fs.ErrNotExist.
func (db *DB) Rows(name string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var failed error
		for t, err := range db.Tables() {
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			if !strings.EqualFold(t.Name, name) {
				continue
			}
			db.rows(t)(yield)
			return
		}
		if failed == nil {
			failed = fs.ErrNotExist
		}
		yield(Row{}, fmt.Errorf("table %q: %w", name, failed))
	}
}

// Row is one row of a table.
type Row struct {
	ID      int64
	columns []string
	values  []any
}

// Text returns the text or blob of the named column, "" where it holds none.
func (r Row) Text(column string) string {
	for i, c := range r.columns {
		if strings.EqualFold(c, column) {
			return r.text(i)
		}
	}
	return ""
}

// Int returns the number in the named column, and whether it holds one.
func (r Row) Int(column string) (int64, bool) {
	for i, c := range r.columns {
		if strings.EqualFold(c, column) && i < len(r.values) {
			n, ok := r.values[i].(int64)
			return n, ok
		}
	}
	return 0, false
}

// Values returns all columns: nil, int64, float64, string or []byte.
func (r Row) Values() []any { return r.values }

func (r Row) text(i int) string {
	if i >= len(r.values) {
		return ""
	}
	switch v := r.values[i].(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// decodeText returns a text of the database's encoding as UTF-8.
func (db *DB) decodeText(b []byte) string {
	var order binary.ByteOrder
	switch db.encoding {
	case encodingUTF16LE:
		order = binary.LittleEndian
	case encodingUTF16BE:
		order = binary.BigEndian
	default:
		return string(b)
	}
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}
