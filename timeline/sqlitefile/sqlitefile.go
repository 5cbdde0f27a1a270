// Package sqlitefile writes a SQLite database whose tables only grow at their
// ends, in one pass and with a few pages of memory for each: several hundred
// thousand rows a second, where a library would run SQL, keep a journal and
// move pages. It follows www.sqlite.org/fileformat2.html.
//
// Rows get the ids 1, 2, 3 ... of their table. Every page but the first is
// written once, in order, whatever table it is of; the first, with the schema, is
// written last.
package sqlitefile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// DB is a database that is being written.
type DB struct {
	file   io.WriterAt
	out    *bufio.Writer
	pages  uint32
	tables []*Table
}

// Table is one table that is being written.
type Table struct {
	db       *DB
	name     string
	sql      string
	sequence bool // it counts in sqlite_sequence
	tree     *tree
	rows     uint64
	cell     []byte
	indexes  []*index
}

type index struct {
	name, sql string
	root      uint32
}

// writeAhead is what is written at a time.
const writeAhead = 1 << 20

// New begins a database in an empty file.
func New(file io.WriterAt) (*DB, error) {
	db := &DB{file: file, out: bufio.NewWriterSize(&appender{w: file}, writeAhead)}
	_, err := db.page(make([]byte, PageSize)) // the first, which comes last
	return db, err
}

// appender writes one piece after the other.
type appender struct {
	w   io.WriterAt
	off int64
}

func (a *appender) Write(b []byte) (int, error) {
	n, err := a.w.WriteAt(b, a.off)
	a.off += int64(n)
	return n, err
}

// errFull says that the file has as many pages as its format can count.
var errFull = errors.New("writing SQLite file: too many pages")

// page appends a page and returns its number.
func (db *DB) page(b []byte) (uint32, error) {
	if db.pages++; db.pages == lockPage {
		if _, err := db.out.Write(make([]byte, PageSize)); err != nil {
			return 0, err
		}
		db.pages++
	}
	if db.pages > 1<<32-3 {
		return 0, errFull
	}
	_, err := db.out.Write(b)
	return db.pages, err
}

// next is the number that the page after the next n will have.
func (db *DB) next(n uint32) uint32 {
	at := db.pages + 1 + n
	if db.pages < lockPage && at >= lockPage {
		at++
	}
	return at
}

// Table begins a table. sql is its definition, of which the first column is an
// INTEGER PRIMARY KEY where counted is set: the row's id.
func (db *DB) Table(name, sql string, counted bool) *Table {
	t := &Table{db: db, name: name, sql: sql, sequence: counted, tree: db.newTree(false)}
	db.tables = append(db.tables, t)
	return t
}

// Rows returns how many rows were added.
func (t *Table) Rows() uint64 { return t.rows }

// Add appends a row and returns its id. The values are nil, int64, string or
// []byte, without the id.
func (t *Table) Add(values ...any) (uint64, error) {
	var r Row
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			r.Null()
		case int64:
			r.Int(v)
		case string:
			r.Text([]byte(v))
		case []byte:
			r.Blob(v)
		default:
			return 0, fmt.Errorf("writing SQLite file: a value of type %T", v)
		}
	}
	return t.AddRow(&r)
}

// AddRow appends a row and returns its id.
func (t *Table) AddRow(r *Row) (uint64, error) {
	size := len(r.types)
	if t.sequence {
		size++ // the id's own type, NULL: it is the key (2.1)
	}
	t.rows++
	head := size + 1
	if head > 0x7f {
		head++ // the header's length counts itself; rows have fewer than 2^14 columns
	}
	t.cell = appendVarint(t.cell[:0], uint64(head+len(r.body)))
	t.cell = appendVarint(t.cell, t.rows)
	start := len(t.cell)
	t.cell = appendVarint(t.cell, uint64(head))
	if t.sequence {
		t.cell = append(t.cell, 0)
	}
	t.cell = append(append(t.cell, r.types...), r.body...)
	if err := t.overflow(start); err != nil {
		return 0, err
	}
	return t.rows, t.tree.add(t.cell, t.rows-1)
}

// overflow moves what a leaf can't hold of the cell's payload, which begins at
// start, to pages of its own.
func (t *Table) overflow(start int) error {
	payload := t.cell[start:]
	if len(payload) <= maxLocal {
		return nil
	}
	local := minLocal + (len(payload)-minLocal)%overflowRoom
	if local > maxLocal {
		local = minLocal
	}
	rest := payload[local:]
	first := t.db.next(0)
	var b [PageSize]byte
	for len(rest) > 0 {
		n := copy(b[4:], rest)
		clear(b[4+n:])
		next := uint32(0)
		if rest = rest[n:]; len(rest) > 0 {
			next = t.db.next(1)
		}
		binary.BigEndian.PutUint32(b[:], next)
		if _, err := t.db.page(b[:]); err != nil {
			return err
		}
	}
	t.cell = binary.BigEndian.AppendUint32(t.cell[:start+local], first)
	return nil
}

// Index adds an index of one column of text. keys are the ids of rows in the
// order of the index, with what each has there.
func (t *Table) Index(name, sql string, keys func(yield func(text []byte, id uint64) bool)) error {
	tree := t.db.newTree(true)
	var r Row
	var cell []byte
	var failed error
	keys(func(text []byte, id uint64) bool {
		r.Reset()
		r.Text(text)
		r.Int(int64(id))
		head := len(r.types) + 1
		cell = appendVarint(cell[:0], uint64(head+len(r.body)))
		cell = appendVarint(cell, uint64(head))
		cell = append(append(cell, r.types...), r.body...)
		failed = tree.add(cell, 0)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	root, err := tree.finish()
	t.indexes = append(t.indexes, &index{name, sql, root})
	return err
}

// Close writes what is left, and the schema.
func (db *DB) Close() error {
	schema := db.newTree(false)
	number := uint64(0)
	entry := func(kind, name, table string, root uint32, sql string) error {
		var r Row
		r.Text([]byte(kind))
		r.Text([]byte(name))
		r.Text([]byte(table))
		r.Int(int64(root))
		r.Text([]byte(sql))
		number++
		head := len(r.types) + 1
		cell := appendVarint(nil, uint64(head+len(r.body)))
		cell = appendVarint(appendVarint(cell, number), uint64(head))
		cell = append(append(cell, r.types...), r.body...)
		return schema.add(cell, number-1)
	}
	if slices.ContainsFunc(db.tables, func(t *Table) bool { return t.sequence }) {
		if err := db.sequences(); err != nil {
			return err
		}
	}
	for _, t := range db.tables {
		root, err := t.tree.finish()
		if err != nil {
			return err
		}
		if err := entry("table", t.name, t.name, root, t.sql); err != nil {
			return err
		}
		for _, x := range t.indexes {
			if err := entry("index", x.name, t.name, x.root, x.sql); err != nil {
				return err
			}
		}
	}
	return db.finish(schema)
}

// sequences adds the table of the ids that were given last (2.6.2).
func (db *DB) sequences() error {
	t := db.Table("sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)", false)
	for _, x := range db.tables {
		if x.sequence && x.rows > 0 {
			if _, err := t.Add(x.name, int64(x.rows)); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish writes the first page: the file's header, and the root of the schema.
func (db *DB) finish(schema *tree) error {
	root := &schema.leaf
	right := uint32(0)
	if n := len(schema.inner); n > 0 {
		var err error
		if right, err = db.page(schema.leaf.seal(0)); err != nil {
			return err
		}
		for _, p := range schema.inner[:n-1] {
			if right, err = db.page(p.seal(right)); err != nil {
				return err
			}
		}
		root = schema.inner[n-1]
	} else if free := root.top - root.header() - 2*root.n; free < headerSize {
		// The header takes room on the first page: the leaf moves below it.
		at, err := db.page(root.seal(0))
		if err != nil {
			return err
		}
		right = at
		root = &page{}
		root.reset(interiorTable) // with a rightmost child alone
	}
	first := make([]byte, PageSize)
	body := root.seal(right)
	head := root.header() + 2*root.n
	copy(first[headerSize:], body[:head])
	copy(first[root.top:], body[root.top:])
	db.head(first)
	if err := db.out.Flush(); err != nil {
		return err
	}
	_, err := db.file.WriteAt(first, 0)
	return err
}

// head writes the file's header (1.3).
func (db *DB) head(b []byte) {
	be := binary.BigEndian
	copy(b, magic)
	be.PutUint16(b[16:], PageSize)
	b[18], b[19] = 1, 1 // no write-ahead log
	b[21], b[22], b[23] = 64, 32, 32
	be.PutUint32(b[24:], 1) // changes
	be.PutUint32(b[28:], db.pages)
	be.PutUint32(b[40:], 1) // the schema's cookie
	be.PutUint32(b[44:], 4) // the schema's format
	be.PutUint32(b[56:], 1) // UTF-8
	be.PutUint32(b[92:], 1) // the change that the version is valid for
	be.PutUint32(b[96:], writerValid)
}
