package timeline

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hash/adler32"

	"lagan/internal/needs"
	"lagan/internal/sqlite"
)

// plasoRows reads a table of a storage file, and fails on ids with gaps.
func plasoRows(t *testing.T, b []byte, table string) []sqlite.Row {
	t.Helper()
	db, err := sqlite.Open(bytes.NewReader(b), nil, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	var out []sqlite.Row
	for r, err := range db.Rows(table) {
		if err != nil {
			t.Fatal(table, err)
		}
		if out = append(out, r); r.ID != int64(len(out)) {
			t.Errorf("%s: the id of row %d is %d", table, len(out), r.ID)
		}
	}
	return out
}

// eventData unpacks the attributes of one row.
func eventData(t *testing.T, r sqlite.Row) map[string]any {
	t.Helper()
	z, err := zlib.NewReader(strings.NewReader(r.Text("_data")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z) // which checks the Adler-32
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return m
}

func TestPlaso(t *testing.T) {
	for _, memory := range []int64{0, 1} { // 1: every record goes through a temporary file
		b := write(t, Plaso, Options{Memory: memory}, story)
		testPlaso(t, b)
	}
}

func testPlaso(t *testing.T, b []byte) {
	meta := map[string]string{}
	for _, r := range plasoRows(t, b, "metadata") {
		meta[r.Text("key")] = r.Text("value")
	}
	if fmt.Sprint(meta) != "map[compression_format:zlib format_version:20260516 serialization_format:json]" {
		t.Error(meta)
	}
	want := lines(t, write(t, JSONL, Options{}, story))
	events, data, streams := plasoRows(t, b, "event"), plasoRows(t, b, "event_data"), plasoRows(t, b, "event_data_stream")
	if len(events) != len(want) {
		t.Fatalf("%d events, not %d", len(events), len(want))
	}
	types, parsers, labels := map[string]int{}, map[string]int{}, map[string]int{}
	for i, e := range events {
		w := want[i]
		var n int
		fmt.Sscanf(e.Text("_event_data_identifier"), "event_data.%d", &n)
		if n < 1 || n > len(data) {
			t.Fatalf("event %d is of %q", i+1, e.Text("_event_data_identifier"))
		}
		d := eventData(t, data[n-1])
		stamp, _ := e.Int("timestamp")
		if fmt.Sprint(stamp) != fmt.Sprint(w["timestamp"]) || e.Text("timestamp_desc") != w["timestamp_desc"] {
			t.Errorf("event %d is at %d, %q: %v", i+1, stamp, e.Text("timestamp_desc"), w)
		}
		if !strings.Contains(e.Text("date_time"), fmt.Sprintf(`"timestamp": %s}`, w["timestamp_nanoseconds"])) {
			t.Errorf("event %d: %s, not %v", i+1, e.Text("date_time"), w["timestamp_nanoseconds"])
		}
		for key, v := range w {
			switch key {
			case "message", "datetime", "timestamp", "timestamp_desc", "timestamp_nanoseconds", "macb", "data_type", "source_short", "source_long", "parser", "tag",
				"sha256_hash", "md5_hash", "login_type", "severity", "truncated":
			default:
				if fmt.Sprint(d[key]) != fmt.Sprint(v) {
					t.Errorf("event %d: %s is %v, not %v", i+1, key, d[key], v)
				}
			}
		}
		types[d["data_type"].(string)]++
		if p, ok := w["parser"].(string); ok {
			parsers[p]++
			if d["_parser_chain"] != p {
				t.Error(d["_parser_chain"], p)
			}
		}
		if w["filename"] != nil {
			var s int
			fmt.Sscanf(fmt.Sprint(d["_event_data_stream_identifier"]), "event_data_stream.%d", &s)
			if s < 1 || s > len(streams) || !json.Valid([]byte(streams[s-1].Text("path_spec"))) || w["sha256_hash"] != nil && streams[s-1].Text("sha256_hash") != w["sha256_hash"] {
				t.Errorf("event %d: stream %v of %v", i+1, d["_event_data_stream_identifier"], w)
			}
		}
		if tags, ok := w["tag"].([]any); ok {
			for _, l := range tags {
				labels[l.(string)]++
			}
		}
	}
	checkCounts(t, b, "data_type_count", "name", types, len(events))
	checkCounts(t, b, "parser_count", "name", parsers, len(events))
	total := 0
	for _, n := range labels {
		total += n
	}
	checkCounts(t, b, "event_label_count", "label", labels, total)
	if n := len(plasoRows(t, b, "session")); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// checkCounts compares a table of counts.
func checkCounts(t *testing.T, b []byte, table, column string, want map[string]int, total int) {
	t.Helper()
	got := map[string]int{}
	for _, r := range plasoRows(t, b, table) {
		n, _ := r.Int("number_of_events")
		got[r.Text(column)] = int(n)
	}
	if got["total"] != total {
		t.Errorf("%s: a total of %d, not %d", table, got["total"], total)
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: %d of %q, not %d", table, got[k], k, n)
		}
	}
}

// TestPlasoVersions has the real library open the file, in place and through a pipe.
func TestPlasoVersions(t *testing.T) {
	tool := needs.Tool(t, "sqlite3")
	for _, version := range PlasoVersions {
		name := filepath.Join(t.TempDir(), "x.plaso")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var piped bytes.Buffer
		w, err := NewWriter(Options{PlasoVersion: version}, Output{W: f, Format: Plaso}, Output{W: &piped, Format: Plaso})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		story(func(r *Record) {
			if err := w.Add(r); err != nil {
				t.Fatal(err)
			}
		})
		if err := w.Finish(context.Background()); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, piped.Bytes()) {
			t.Errorf("%v: the file and the pipe differ", err)
		}
		out, err := exec.Command(tool, name, "PRAGMA integrity_check", "SELECT value FROM metadata WHERE key='format_version'",
			"SELECT count(*) = max(_identifier) FROM event", "SELECT count(*) > 0 FROM event_tag INDEXED BY event_tag_per_event WHERE _event_identifier LIKE 'event.%'",
			"SELECT count(*) FROM event JOIN event_data ON _event_data_identifier = 'event_data.' || event_data._identifier").CombinedOutput()
		want := fmt.Sprintf("ok\n%d\n1\n1\n%d\n", version, w.Written())
		if err != nil || string(out) != want {
			t.Errorf("%d: %v: %q, want %q", version, err, out, want)
		}
	}
	if _, err := NewWriter(Options{PlasoVersion: 20200101}, Output{W: io.Discard, Format: Plaso}); err == nil {
		t.Error("no error for an unknown version")
	}
}

// TestPlasoDeterministic runs twice, with other numbers of goroutines.
func TestPlasoDeterministic(t *testing.T) {
	records := func(add func(*Record)) { benchRecords(3000, add) }
	a := write(t, Plaso, Options{Jobs: 1}, records)
	b := write(t, Plaso, Options{Jobs: 7}, records)
	if !bytes.Equal(a, b) {
		t.Error("the files differ")
	}
	if n := len(plasoRows(t, a, "event_data")); n != 3000 {
		t.Errorf("%d event data of 3000 files", n)
	}
	if n := len(plasoRows(t, a, "event")); n != 12000 {
		t.Errorf("%d events", n)
	}
}

func TestAdlerOfBoth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		x, y := make([]byte, rng.IntN(300)), make([]byte, rng.IntN(140_000))
		for _, b := range [][]byte{x, y} {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}
		want := adler32.Checksum(append(bytes.Clone(x), y...))
		if got := adlerOfBoth(adler32.Checksum(x), adler32.Checksum(y), uint32(len(y))); got != want {
			t.Fatalf("%d and %d bytes: %#x, not %#x", len(x), len(y), got, want)
		}
	}
}

// FuzzPlasoRows feeds what no encoder of ours wrote to the file.
func FuzzPlasoRows(f *testing.F) {
	p := newPlaso(NewSorter(0, ""))
	s := NewSorter(0, "")
	story(func(r *Record) { s.Add(r) })
	p.commons = s.commons
	for b, err := range s.batches(context.Background(), func() *batch { return &batch{} }) {
		if err != nil {
			f.Fatal(err)
		}
		out, err := p.append(nil, b.items)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := newPlasoFile(io.Discard, Options{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer file.close()
		if _, err := file.Write(b); err == nil {
			if err := file.finish(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkPlaso(b *testing.B) { benchmarkFormat(b, Plaso) }

// BenchmarkPlasoFile is the whole way to a storage file.
func BenchmarkPlasoFile(b *testing.B) {
	var events int64
	for b.Loop() {
		f, err := os.Create(filepath.Join(b.TempDir(), "x"))
		if err != nil {
			b.Fatal(err)
		}
		w, err := NewWriter(Options{}, Output{f, Plaso})
		if err != nil {
			b.Fatal(err)
		}
		benchRecords(100_000, func(r *Record) {
			if err := w.Add(r); err != nil {
				b.Fatal(err)
			}
		})
		if err := w.Finish(context.Background()); err != nil {
			b.Fatal(err)
		}
		events += w.Written()
		w.Close()
		f.Close()
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
