package timeline

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
)

// write returns what an output of one format has for records.
func write(tb testing.TB, f Format, o Options, records func(add func(*Record))) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriter(o, Output{&out, f})
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	records(func(r *Record) {
		if err := w.Add(r); err != nil {
			tb.Fatal(err)
		}
	})
	if err := w.Finish(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// lines decodes JSON lines, and fails on one that is none.
func lines(tb testing.TB, b []byte) []map[string]any {
	tb.Helper()
	var out []map[string]any
	for _, line := range bytes.SplitAfter(b, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if line[len(line)-1] != '\n' {
			tb.Fatalf("no line break at the end of %q", line)
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		var e map[string]any
		if err := d.Decode(&e); err != nil {
			tb.Fatalf("%v: %q", err, line)
		}
		out = append(out, e)
	}
	return out
}

func TestFileRecord(t *testing.T) {
	b := write(t, JSONL, Options{}, func(add func(*Record)) { benchRecords(1, add) })
	got := lines(t, b)
	if len(got) != 4 {
		t.Fatalf("%d lines: %s", len(got), b)
	}
	t.Logf("%s", b)
}
