package sqlite

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leftIDs returns the first columns of what is left, with the length of the last.
func leftIDs(t *testing.T, name string) map[string]int {
	t.Helper()
	out := map[string]int{}
	var beside [2]File
	for i, suffix := range []string{"-wal", "-journal"} {
		if b, err := os.ReadFile(name + suffix); err == nil {
			beside[i] = bytes.NewReader(b)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(bytes.NewReader(b), beside[0], beside[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range db.Remnants() {
		if err != nil {
			t.Fatal(err)
		}
		id, _ := row.Values[0].(string)
		doc, _ := row.Values[len(row.Values)-1].(string)
		if strings.HasPrefix(doc, "{") && strings.HasSuffix(doc, "}") {
			out[id] = max(out[id], len(doc))
		}
	}
	return out
}

// TestRemnants deletes rows through the real sqlite3, as podman rm does: they are
// found in freed cells and pages, and in the log.
func TestRemnants(t *testing.T) {
	for _, mode := range []string{"DELETE", "PERSIST", "WAL"} {
		name := filepath.Join(t.TempDir(), "db.sql")
		sql := ".dbconfig no_ckpt_on_close on\nPRAGMA secure_delete=OFF;\nPRAGMA journal_mode=" + mode + ";\nCREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY NOT NULL, Name TEXT, PodID TEXT, JSON TEXT NOT NULL);\n"
		for i := range 40 {
			sql += fmt.Sprintf("INSERT INTO ContainerConfig VALUES('%064x','name%d',NULL,'{\"name\":\"name%d\",\"x\":\"%s\"}');\n", i, i, i, strings.Repeat("y", 200+i*300))
		}
		sql += fmt.Sprintf("DELETE FROM ContainerConfig WHERE ID IN ('%064x','%064x','%064x');\n", 3, 17, 38)
		run(t, name, sql)
		got := leftIDs(t, name)
		want := []int{3, 17, 38}
		if mode == "DELETE" {
			want = want[:1] // the pages that the others went on in are used again
		}
		for _, i := range want {
			id := fmt.Sprintf("%064x", i)
			if size := len(fmt.Sprintf(`{"name":"name%d","x":"%s"}`, i, strings.Repeat("y", 200+i*300))); got[id] != size {
				t.Errorf("%s: row %d: %d bytes of its document, want %d", mode, i, got[id], size)
			}
		}
	}
}

// TestJournalRows finds deleted rows in a journal alone, in which the page was as
// it had been before: of a database whose own pages were blanked since.
func TestJournalRows(t *testing.T) {
	name := filepath.Join(t.TempDir(), "db.sql")
	sql := "PRAGMA secure_delete=ON;\nPRAGMA journal_mode=PERSIST;\nCREATE TABLE A(ID TEXT PRIMARY KEY NOT NULL, Stamp INTEGER, JSON TEXT NOT NULL);\n"
	for i := range 10 {
		sql += fmt.Sprintf("INSERT INTO A VALUES('%064x',%d,'{\"n\":%d}');\n", i, 1700000000+i, i)
	}
	run(t, name, sql+fmt.Sprintf("DELETE FROM A WHERE ID='%064x';\n", 4))
	main, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(name + "-journal")
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(bytes.NewReader(main), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := func(rows func(func(Left, error) bool)) bool {
		for row, err := range rows {
			if err == nil && row.Values[0] == fmt.Sprintf("%064x", 4) && row.Values[1] == int64(1700000004) && row.Values[2] == `{"n":4}` {
				return true
			}
		}
		return false
	}
	if found(db.Remnants()) || !found(db.JournalRows(bytes.NewReader(journal))) {
		t.Error("the deleted row is found in the database, or not in its journal")
	}
}

// TestRemnantsOfMutants damages a database, one page at a time: nothing panics, it
// ends, and what was deleted on the pages that were left alone is found.
// scripts/remnants -mutants has many more.
func TestRemnantsOfMutants(t *testing.T) {
	name := filepath.Join(t.TempDir(), "db.sql")
	sql := "PRAGMA page_size=4096;\nPRAGMA secure_delete=OFF;\nCREATE TABLE A(ID TEXT PRIMARY KEY NOT NULL, Name TEXT, JSON TEXT NOT NULL);\n"
	for i := range 30 {
		sql += fmt.Sprintf("INSERT INTO A VALUES('%064x','n',  '{\"x\":\"%s\"}');\n", i, strings.Repeat("y", i*80))
	}
	run(t, name, sql+"DELETE FROM A WHERE rowid % 3 = 0;\n")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const pageSize = 4096
	rows := func(raw []byte) map[string]uint32 {
		out := map[string]uint32{}
		db, err := Open(bytes.NewReader(raw), nil, nil, nil)
		if err != nil {
			return out
		}
		for row, err := range db.Remnants() {
			if err == nil {
				out[fmt.Sprintf("%d %q", row.Page, row.Values)] = row.Page
			}
		}
		return out
	}
	want := rows(good)
	if len(want) < 10 {
		t.Fatalf("%d rows were deleted and are found", len(want))
	}
	rnd := rand.New(rand.NewPCG(1, 9))
	kept, possible := 0, 0
	for range 40 {
		raw := bytes.Clone(good)
		page := 1 + rnd.IntN(len(raw)/pageSize-1) // all but the first, which says what the file is
		for range 1 + rnd.IntN(40) {
			raw[page*pageSize+rnd.IntN(pageSize)] = byte(rnd.Uint32())
		}
		got := rows(raw)
		for row, on := range want {
			if on != uint32(page+1) {
				possible++
				if _, ok := got[row]; ok {
					kept++
				}
			}
		}
	}
	if kept*100 < possible*95 {
		t.Errorf("%d of %d rows on untouched pages, less than 95 %%", kept, possible)
	}
}
