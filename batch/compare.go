package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Difference is what two snapshots differ in, in one record.
type Difference struct {
	File   string `json:"file"` // containers.jsonl, ...
	Change string `json:"change"`
	Key    string `json:"key"`  // what the record is of
	Name   string `json:"name"` // as people call it
	// Fields are those that differ, each with both values.
	Fields []FieldDifference `json:"fields,omitempty"`
	Count  int               `json:"count,omitempty"` // of events, where they aren't told one by one
}

// FieldDifference is a field with the values that it has in two snapshots;
// a value that isn't there is nil.
type FieldDifference struct {
	Name string          `json:"name"`
	Old  json.RawMessage `json:"old,omitempty"`
	New  json.RawMessage `json:"new,omitempty"`
}

// The changes of records.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// kind says how the records of one file are told apart, and called.
type kind struct {
	file string
	key  []string
	name []string
}

// compared are the files that are compared by records; of timelines see CompareEvents.
var compared = []kind{
	{"containers.jsonl", []string{"runtime", "namespace", "data_root", "id"}, []string{"pod_namespace", "pod_name", "name", "id"}},
	{"images.jsonl", []string{"runtime", "namespace", "data_root", "id", "digest"}, []string{"names", "id"}},
	{"diff.jsonl", []string{"container", "path", "path_raw"}, []string{"container_name", "path"}},
	{"findings.jsonl", []string{"rule", "object", "container"}, []string{"severity", "title", "object"}},
}

// maxCompared bounds the records that are kept of one file for comparison.
const maxCompared = 5_000_000

// Compare tells, in a fixed order, what the second of two snapshots below dir
// has that the first hasn't, lacks and has otherwise.
func Compare(ctx context.Context, dir, before, after string, tell func(Difference) error) error {
	for _, name := range []string{before, after} {
		if !goodName.MatchString(name) || !exists(filepath.Join(dir, name, DoneFile)) {
			return fmt.Errorf("%s holds no finished snapshot %q", dir, name)
		}
	}
	for _, k := range compared {
		file := k.file
		old, err := k.read(ctx, filepath.Join(dir, before, file))
		if err != nil {
			return err
		}
		now, err := k.read(ctx, filepath.Join(dir, after, file))
		if err != nil {
			return err
		}
		keys := slices.Collect(maps.Keys(old))
		for key := range now {
			if _, ok := old[key]; !ok {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			d, differs := k.difference(key, old[key], now[key])
			if !differs {
				continue
			}
			if err := tell(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// read returns the records of a file by their key; none where there is no file.
func (k kind) read(ctx context.Context, path string) (map[string][]byte, error) {
	out := map[string][]byte{}
	if !exists(path) {
		return out, nil
	}
	l, err := source{path: path}.open(0)
	if err != nil {
		return nil, err
	}
	defer l.f.Close()
	for {
		more, err := l.next()
		if err != nil || !more {
			return out, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var r map[string]json.RawMessage
		if err := json.Unmarshal(l.line, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if string(r["record"]) == `"warning"` {
			continue
		}
		if len(out) >= maxCompared {
			return nil, fmt.Errorf("%s has more than %d records, too many to compare", path, maxCompared)
		}
		key := fields(r, k.key, "\x1f")
		for n := 2; out[key] != nil; n++ { // several of one key are told apart by their order
			key = fields(r, k.key, "\x1f") + fmt.Sprintf("\x1f%d", n)
		}
		out[key] = bytes.Clone(l.line)
	}
}

// fields joins the values of fields that a record has.
func fields(r map[string]json.RawMessage, names []string, with string) string {
	var out []string
	for _, n := range names {
		v, ok := r[n]
		if !ok {
			continue
		}
		var s string
		var list []string
		switch {
		case json.Unmarshal(v, &s) == nil:
		case json.Unmarshal(v, &list) == nil:
			s = strings.Join(list, ",")
		default:
			s = string(v)
		}
		if s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, with)
}

func (k kind) difference(key string, old, now []byte) (Difference, bool) {
	d := Difference{File: k.file, Key: strings.ReplaceAll(key, "\x1f", " ")}
	var a, b map[string]json.RawMessage
	if old != nil && json.Unmarshal(old, &a) != nil || now != nil && json.Unmarshal(now, &b) != nil {
		return d, false // both were decoded before
	}
	switch {
	case a == nil:
		d.Change, d.Name = Added, fields(b, k.name, " ")
		return d, true
	case b == nil:
		d.Change, d.Name = Removed, fields(a, k.name, " ")
		return d, true
	}
	d.Change, d.Name = Changed, fields(b, k.name, " ")
	all := map[string]bool{}
	for n := range a {
		all[n] = true
	}
	for n := range b {
		all[n] = true
	}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if n != "atime" && !bytes.Equal(a[n], b[n]) { // reading a file changes its access time
			d.Fields = append(d.Fields, FieldDifference{n, a[n], b[n]})
		}
	}
	return d, len(d.Fields) > 0
}
