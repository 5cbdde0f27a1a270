package storage

import (
	"bytes"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/internal/sqlite"
	"lagan/runtimes"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// sqliteRemnants reads the rows that db.sql lost: in freed pages and cells, in
// frames of the write-ahead log, in the rollback journal.
func (s *Store) sqliteRemnants(name string) ([]runtimes.Remnant, error) {
	main, err := s.open(name)
	if main == nil || err != nil {
		return nil, err
	}
	var beside [2]sqlite.File
	for i, suffix := range []string{"-wal", "-journal"} {
		if f, err := s.open(name + suffix); err == nil && f != nil {
			beside[i] = f
		}
	}
	db, err := sqlite.Open(main, beside[0], beside[1], nil)
	if err != nil {
		return nil, nil // told when it was read
	}
	gone := traces.Modified(s.fsys, s.node, name)
	if t := traces.Modified(s.fsys, s.node, name+"-wal"); t.After(gone) {
		gone = t
	}
	out, err := s.rowRemnants(db.Remnants(), name, gone)
	return append(out, s.exitCodes(db, name, gone)...), err
}

// rowRemnants tells of the containers that rows of no table are of.
func (s *Store) rowRemnants(rows iter.Seq2[sqlite.Left, error], name string, gone time.Time) ([]runtimes.Remnant, error) {
	states := map[string][]byte{}
	configs := map[string]sqlite.Left{}
	var out []runtimes.Remnant
	var failed error
	for row, err := range rows {
		if err != nil {
			failed = fmt.Errorf("%s: %w", name, err)
			continue
		}
		values := row.Values
		if len(values) < 2 {
			continue
		}
		id, _ := values[0].(string)
		doc, _ := values[len(values)-1].(string)
		switch {
		case !oci.IsHex64(id):
		case len(values) == 4 && strings.HasPrefix(doc, "{") && strings.Contains(doc, `"createdTime"`):
			if _, ok := configs[id]; !ok {
				configs[id] = row
			}
		case len(values) == 4 && strings.HasPrefix(doc, "{"):
			states[id] = []byte(doc)
		case len(values) == 3:
			stamp, ok := values[1].(int64)
			if ok && stamp > 1e9 && stamp < 1e11 && !s.listsContainer(id) {
				out = append(out, runtimes.Remnant{Object: runtimes.ObjectContainer, Runtime: runtimes.Podman, StorePath: s.root, ID: id, Existed: time.Unix(stamp, 0).UTC(),
					Gone: gone, Source: name, Place: row.Place, Offset: row.Offset, Sure: runtimes.Likely, Note: "its exit code"})
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(configs)) {
		row := configs[id]
		doc, _ := row.Values[len(row.Values)-1].(string)
		found := s.configRemnants(name, id, documents{config: []byte(doc), state: states[id]}, row.Place, runtimes.Likely)
		for i := range found {
			found[i].Gone, found[i].Offset = gone, row.Offset
		}
		out = append(out, found...)
	}
	return out, failed
}

// journalMagic begins a rollback journal: section 3 of fileformat2.html.
var journalMagic = []byte{0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7}

// journalRemnants reads a deleted rollback journal of db.sql, which has the pages as
// they were before a transaction; SQLite deletes it when that is done.
func (s *Store) journalRemnants(at string, raw []byte) []runtimes.Remnant {
	for _, name := range []string{sqliteState, "libpod/" + sqliteState} {
		name = join(s.root, name)
		main, err := s.open(name)
		if main == nil || err != nil || at != "" && at != name+"-journal" {
			continue
		}
		db, err := sqlite.Open(main, nil, nil, nil)
		if err != nil {
			continue // told when it was read
		}
		// What it says of rows that are damaged is no gap: pages of other databases' journals are tried too.
		out, _ := s.rowRemnants(db.JournalRows(bytes.NewReader(raw)), at, time.Time{})
		return out
	}
	return nil
}

// exitCodes reads the exit codes that outlive their containers: libpod/sqlite_state.go, PruneContainerExitCodes.
func (s *Store) exitCodes(db *sqlite.DB, name string, gone time.Time) []runtimes.Remnant {
	var out []runtimes.Remnant
	for row, err := range db.Rows("ContainerExitCode") {
		if err != nil {
			continue
		}
		id := row.Text("ID")
		stamp, ok := row.Int("Timestamp")
		if !oci.IsHex64(id) || s.listsContainer(id) || !ok || stamp <= 0 {
			continue
		}
		c := runtimes.Container{ID: id, Name: id[:12], Kind: runtimes.KindContainer, Runtime: runtimes.Podman, State: runtimes.StateExited, StorePath: s.root, Finished: time.Unix(stamp, 0).UTC()}
		if code, ok := row.Int("ExitCode"); ok {
			n := int(code)
			c.ExitCode = &n
		}
		c.Rootfs.Problem = fmt.Errorf("only its exit code is left: %w", fs.ErrNotExist)
		out = append(out, runtimes.Remnant{Object: runtimes.ObjectContainer, Runtime: runtimes.Podman, StorePath: s.root, ID: id, Container: &c, Existed: c.Finished, Gone: gone,
			Source: name, Place: "table ContainerExitCode", Offset: -1, Sure: runtimes.Sure, Note: "its exit code"})
	}
	return out
}
