package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"lagan/internal/sqlite"
)

// removedRows makes a database as Podman's db.sql through sqlite3, in which a third
// of the containers were removed.
func removedRows(name string) ([]byte, error) {
	var sql strings.Builder
	sql.WriteString("PRAGMA page_size=4096;\nPRAGMA secure_delete=OFF;\nCREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL);\n")
	for i := range 60 {
		fmt.Fprintf(&sql, "INSERT INTO ContainerConfig VALUES('%064x','name-%d',NULL,'{\"name\":\"name-%d\",\"x\":\"%s\"}');\n", i*7919, i, i, strings.Repeat("y", 100+i*17%1500))
	}
	sql.WriteString("DELETE FROM ContainerConfig WHERE rowid % 3 = 0;\nDELETE FROM ContainerConfig WHERE rowid BETWEEN 20 AND 30;\n")
	cmd := exec.Command("sqlite3", "-batch", name)
	cmd.Stdin = strings.NewReader(sql.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sqlite3: %w: %s", err, out)
	}
	return os.ReadFile(name)
}

// leftOfSQLite is every row that was deleted and is found again.
func leftOfSQLite(raw []byte) map[leftKey]bool {
	db, err := sqlite.Open(bytes.NewReader(raw), nil, nil, nil)
	if err != nil {
		return nil
	}
	out := map[leftKey]bool{}
	for row, err := range db.Remnants() {
		if err != nil {
			continue
		}
		out[leftKey{uint64(row.Offset / pageSize), fmt.Sprintf("%q", row.Values)}] = true
	}
	return out
}
