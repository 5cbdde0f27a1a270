package sqlite

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// run feeds the real sqlite3 with commands.
func run(t testing.TB, db, commands string) string {
	t.Helper()
	needs.Tool(t, "sqlite3")
	cmd := exec.Command("sqlite3", "-batch", db)
	cmd.Stdin = strings.NewReader(commands)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	return string(out)
}

func file(t testing.TB, name string) File {
	t.Helper()
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

func open(t testing.TB, name string) *DB {
	t.Helper()
	db, err := Open(file(t, name), file(t, name+"-wal"), file(t, name+"-journal"), func(err error) { t.Error("warning:", err) })
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// dump is every row as "id|type:hex|...", as the query below prints it.
func dump(t testing.TB, db *DB, table string) string {
	t.Helper()
	var b strings.Builder
	for row, err := range db.Rows(table) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(&b, row.ID)
		for _, v := range row.Values() {
			switch v := v.(type) {
			case nil:
				b.WriteString("|null:")
			case int64:
				fmt.Fprintf(&b, "|integer:%X", strconv.FormatInt(v, 10))
			case float64:
				fmt.Fprintf(&b, "|real:%d", int64(v*1000))
			case string:
				fmt.Fprintf(&b, "|text:%X", v)
			case []byte:
				fmt.Fprintf(&b, "|blob:%s", strings.ToUpper(hex.EncodeToString(v)))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// column is the query's part for one column.
func column(name string) string {
	return "typeof(" + name + ")||':'||CASE typeof(" + name + ") WHEN 'real' THEN CAST(" + name + "*1000 AS INTEGER) WHEN 'integer' THEN hex(CAST(" + name + " AS TEXT)) WHEN 'text' THEN hex(CAST(" + name + " AS BLOB)) ELSE hex(" + name + ") END"
}

func query(t testing.TB, db, table string, columns ...string) string {
	t.Helper()
	q := "SELECT rowid"
	for _, c := range columns {
		q += "," + column(c)
	}
	return run(t, db, ".mode list\n"+q+" FROM "+table+" ORDER BY rowid;\n")
}

const fill = `
CREATE TABLE "t"(id INTEGER PRIMARY KEY, -- the row's, (number)
  a TEXT NOT NULL, b, c /* x, y */ BLOB DEFAULT 'a,b', CHECK (id > -10));
CREATE TABLE other(x);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < 700)
INSERT INTO t SELECT i*7, printf('%.*c', i*i % 3000, 'q')||i,
  CASE i%9 WHEN 0 THEN NULL WHEN 1 THEN i WHEN 2 THEN -i WHEN 3 THEN i*1000003 WHEN 4 THEN i*100000000003 WHEN 5 THEN i/8.0 WHEN 6 THEN 9223372036854775807-i WHEN 7 THEN 0 ELSE 1 END,
  CASE i%3 WHEN 0 THEN zeroblob(i*37) WHEN 1 THEN x'00ff10' ELSE 'text' END FROM n;
DELETE FROM t WHERE id % 5 = 1;
`

func TestSameAsSQLite(t *testing.T) {
	for _, size := range []int{512, 1024, 4096, 65536} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "x.db")
			run(t, name, fmt.Sprintf("PRAGMA page_size=%d;%s", size, fill))
			db := open(t, name)
			if got, want := dump(t, db, "t"), query(t, name, "t", "id", "a", "b", "c"); got != want {
				t.Errorf("%d bytes differ from sqlite3's %d", len(got), len(want))
			}
		})
	}
}

func TestUTF16(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.db")
	run(t, name, "PRAGMA encoding='UTF-16';CREATE TABLE t(a);INSERT INTO t VALUES('héllo €');")
	for row, err := range open(t, name).Rows("t") {
		if err != nil || row.Text("A") != "héllo €" {
			t.Errorf("%q, %v", row.Text("a"), err)
		}
	}
}

func TestWriteAheadLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.db")
	run(t, name, ".dbconfig no_ckpt_on_close on\nPRAGMA journal_mode=WAL;PRAGMA wal_autocheckpoint=0;"+fill+"UPDATE t SET a='new' WHERE id=70;")
	if f := file(t, name+"-wal"); f == nil || f.Size() == 0 {
		t.Fatal("sqlite3 left no log")
	}
	got := dump(t, open(t, name), "t")
	// The last frames were torn off: the transaction is not there.
	wal, err := os.ReadFile(name + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	torn, err := Open(file(t, name), bytes.NewReader(wal[:len(wal)-100]), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if before := dump(t, torn, "t"); before == got || before == "" {
		t.Errorf("a torn log changes nothing, or everything (%d bytes)", len(before))
	}
	if want := query(t, name, "t", "id", "a", "b", "c"); got != want || !strings.Contains(got, "|text:6E6577|") {
		t.Errorf("%d bytes differ from sqlite3's %d", len(got), len(want))
	}
}

func TestHotJournal(t *testing.T) {
	dir := t.TempDir()
	name, copied := filepath.Join(dir, "x.db"), filepath.Join(dir, "y.db")
	run(t, name, fill)
	want := dump(t, open(t, name), "t")
	run(t, name, "PRAGMA cache_size=5;PRAGMA cache_spill=5;BEGIN;UPDATE t SET a='changed', b=7;\n.shell cp "+name+" "+copied+"\n.shell cp "+name+"-journal "+copied+"-journal\nROLLBACK;\n")
	if f := file(t, copied+"-journal"); f == nil || f.Size() == 0 {
		t.Fatal("sqlite3 left no journal")
	}
	if without, err := Open(file(t, copied), nil, nil, nil); err != nil || func() bool {
		for row, err := range without.Rows("t") {
			if err == nil && row.Text("a") == "changed" {
				return false
			}
		}
		return true
	}() {
		t.Errorf("the copy has none of the change: %v", err)
	}
	if got := dump(t, open(t, copied), "t"); got != want {
		t.Errorf("%d bytes after the rollback, %d before the transaction", len(got), len(want))
	}
}

func TestColumns(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE TABLE t(a,b)": "[a b] -1",
		"CREATE TABLE t(ID INTEGER PRIMARY KEY NOT NULL, b TEXT)":       "[ID b] 0",
		"CREATE TABLE t(a TEXT DEFAULT ',)', \"b c\" INT, UNIQUE(a,b))": "[a b c] -1",
		"CREATE TABLE t([a b] x, `c`, 'd'(3)) ":                         "[a b c d] -1",
		"CREATE TABLE t":                                                "[] -1",
		"":                                                              "[] -1",
	} {
		columns, id := columnsOf(sql)
		if got := fmt.Sprint(columns, id); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
}

// exercise reads all that can be read.
func exercise(raw, wal, journal []byte) error {
	var w, j File
	if wal != nil {
		w = bytes.NewReader(wal)
	}
	if journal != nil {
		j = bytes.NewReader(journal)
	}
	db, err := Open(bytes.NewReader(raw), w, j, nil)
	if err != nil {
		if !errors.Is(err, evidence.ErrFormat) && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		return nil
	}
	for t := range db.Tables() {
		for range db.rows(t) {
		}
	}
	for range db.Remnants() {
	}
	if j != nil {
		for range db.JournalRows(j) {
		}
	}
	return nil
}

func TestDamage(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.db")
	run(t, name, "PRAGMA page_size=512;"+fill)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Count(dump(t, open(t, name), "t"), "\n")
	raw := bytes.Clone(good)
	clear(raw[len(raw)/2/512*512:][:512])
	rows, failed := 0, 0
	db, err := Open(bytes.NewReader(raw), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range db.Rows("t") {
		if rows++; err != nil {
			rows--
			failed++
		}
	}
	if failed == 0 || rows < all*9/10 {
		t.Errorf("%d of %d rows, %d errors", rows, all, failed)
	}
	// Every pointer of every interior page leads to the page itself.
	seed := uint64(1)
	for range 40 {
		raw := bytes.Clone(good)
		for range 8 {
			seed = seed*6364136223846793005 + 1442695040888963407
			raw[seed>>33%uint64(len(raw))] = byte(seed >> 20)
		}
		if err := exercise(raw, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVarint(t *testing.T) {
	for _, c := range []struct {
		b []byte
		v int64
		n int
	}{
		{[]byte{0}, 0, 1}, {[]byte{0x7f}, 127, 1}, {[]byte{0x81, 0}, 128, 2}, {[]byte{0x81}, 0, 0}, {nil, 0, 0},
		{bytes.Repeat([]byte{0xff}, 9), -1, 9}, {[]byte{0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, math.MaxInt64, 9},
	} {
		if v, n := varint(c.b); v != c.v || n != c.n {
			t.Errorf("% x: %d, %d; want %d, %d", c.b, v, n, c.v, c.n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	name := filepath.Join(f.TempDir(), "x.db")
	run(f, name, "PRAGMA page_size=512;CREATE TABLE t(a,b);INSERT INTO t VALUES(1,'x'),(2,zeroblob(900));")
	raw, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, raw, wal, journal []byte) {
		if err := exercise(raw, wal, journal); err != nil {
			t.Error(err)
		}
	})
}
