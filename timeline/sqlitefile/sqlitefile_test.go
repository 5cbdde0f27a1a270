package sqlitefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/internal/needs"
	"lagan/internal/sqlite"
)

// memory is a file in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(b []byte, off int64) (int, error) {
	if need := int(off) + len(b); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], b), nil
}

// text gives the n-th row's value, of every length around those where a row
// leaves its page.
func text(n int) string {
	sizes := []int{0, 1, 100, maxLocal - 8, maxLocal, maxLocal + 1, minLocal + overflowRoom, PageSize, 3 * PageSize, 100_000}
	size := sizes[n%len(sizes)]
	if n > 200 {
		size = n % 50
	}
	return strings.Repeat(string(rune('a'+n%26)), size)
}

func write(t testing.TB, file io.WriterAt, rows int) {
	t.Helper()
	db, err := New(file)
	if err != nil {
		t.Fatal(err)
	}
	plain := db.Table("metadata", "CREATE TABLE metadata (key TEXT, value TEXT)", false)
	things := db.Table("things", "CREATE TABLE things (_identifier INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT, n INTEGER, data BLOB)", true)
	db.Table("untold", "CREATE TABLE untold (_identifier INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)", true)
	if _, err := plain.Add("k", "v"); err != nil {
		t.Fatal(err)
	}
	var labels []string
	for i := range rows {
		label := fmt.Sprintf("event.%d", i+1)
		labels = append(labels, label)
		id, err := things.Add(label, int64(i)*int64(i)*int64(i)-5, []byte(text(i)))
		if err != nil || id != uint64(i+1) {
			t.Fatal(id, err)
		}
	}
	slices.Sort(labels)
	err = things.Index("by_label", "CREATE INDEX by_label ON things (label)", func(yield func([]byte, uint64) bool) {
		for _, l := range labels {
			var id uint64
			fmt.Sscanf(l, "event.%d", &id)
			if !yield([]byte(l), id) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadBack(t *testing.T) {
	for _, rows := range []int{0, 1, 7, 500, 30_000} {
		var m memory
		write(t, &m, rows)
		db, err := sqlite.Open(bytes.NewReader(m.b), nil, nil, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(rows, err)
		}
		i := 0
		for r, err := range db.Rows("things") {
			if err != nil {
				t.Fatal(rows, err)
			}
			n, _ := r.Int("n")
			if r.ID != int64(i+1) || r.Text("label") != fmt.Sprintf("event.%d", i+1) || n != int64(i)*int64(i)*int64(i)-5 || r.Text("data") != text(i) {
				t.Fatalf("row %d of %d: id %d, %q, %d, %d bytes", i, rows, r.ID, r.Text("label"), n, len(r.Text("data")))
			}
			i++
		}
		if i != rows {
			t.Errorf("%d rows of %d", i, rows)
		}
	}
}

// TestSQLite has the real library judge the file.
func TestSQLite(t *testing.T) {
	tool := needs.Tool(t, "sqlite3")
	for _, rows := range []int{0, 1, 500, 30_000} {
		name := filepath.Join(t.TempDir(), "x.db")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, rows)
		f.Close()
		out, err := exec.Command(tool, name, "PRAGMA integrity_check", "SELECT count(*), count(DISTINCT label), ifnull(max(_identifier), 0) FROM things INDEXED BY by_label",
			"SELECT count(*) FROM untold", "INSERT INTO things (label) VALUES ('next')", "SELECT max(_identifier) FROM things", "PRAGMA integrity_check").CombinedOutput()
		if want := fmt.Sprintf("ok\n%d|%d|%d\n0\n%d\nok\n", rows, rows, rows, rows+1); err != nil || string(out) != want {
			t.Errorf("%d rows: %v: %q, want %q", rows, err, out, want)
		}
	}
}

// discard keeps nothing.
type discard struct{ size int64 }

func (d *discard) WriteAt(b []byte, off int64) (int, error) {
	d.size = max(d.size, off+int64(len(b)))
	return len(b), nil
}

// TestLockPage crosses the page that the library keeps for itself, at each of
// the places that a row's pages can have to it.
func TestLockPage(t *testing.T) {
	for before := range 5 {
		db, err := New(&discard{})
		if err != nil {
			t.Fatal(err)
		}
		tab := db.Table("t", "CREATE TABLE t (_identifier INTEGER PRIMARY KEY, b BLOB)", true)
		db.pages = lockPage - 1 - uint32(before)
		var promised []uint32
		for n := range uint32(3) {
			promised = append(promised, db.next(n))
		}
		if _, err := tab.Add(make([]byte, 3*PageSize)); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(promised, lockPage) || !slices.IsSorted(promised) || db.pages != promised[2] {
			t.Errorf("%d pages before: %v, and %d was last", before, promised, db.pages)
		}
	}
}

type full struct{ left int }

func (f *full) WriteAt(b []byte, off int64) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("no space left")
	}
	return len(b), nil
}

func TestWriteFails(t *testing.T) {
	db, err := New(&full{left: writeAhead})
	if err != nil {
		t.Fatal(err)
	}
	tab := db.Table("t", "CREATE TABLE t (_identifier INTEGER PRIMARY KEY, b BLOB)", true)
	for range 10_000 {
		if _, err = tab.Add(make([]byte, 1000)); err != nil {
			return
		}
	}
	t.Error("no error")
}

func TestVarint(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 21, 1<<49 - 1, 1<<56 - 1} {
		got, n := varint(appendVarint(nil, v))
		if got != v || n != len(appendVarint(nil, v)) {
			t.Errorf("%d: %d, %d bytes", v, got, n)
		}
	}
	if n := len(appendVarint(nil, 1<<63)); n != 9 {
		t.Errorf("%d bytes", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	db, err := New(&discard{})
	if err != nil {
		b.Fatal(err)
	}
	tab := db.Table("t", "CREATE TABLE t (_identifier INTEGER PRIMARY KEY, a TEXT, n INTEGER, b BLOB)", true)
	data := make([]byte, 300)
	var r Row
	b.ReportAllocs()
	for b.Loop() {
		r.Reset()
		r.Text(data[:20])
		r.Int(1795339480205304)
		r.Blob(data)
		if _, err := tab.AddRow(&r); err != nil {
			b.Fatal(err)
		}
	}
}
