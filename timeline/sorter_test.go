package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lagan/internal/needs"
)

// shuffled makes records that differ in one thing at a time, many of one time,
// and calls add for each in an order that the seed gives.
func shuffled(seed uint64, n int, add func(*Record)) {
	rng := rand.New(rand.NewPCG(seed, 1))
	order := rng.Perm(n)
	commons := make([]*Common, 7)
	for i := range commons {
		var r Record
		r.Reset(Unknown, nil)
		r.String(FieldContainerName, fmt.Sprint("container ", i%5)) // some are equal
		if i > 3 {
			r.String(FieldDisplayName, fmt.Sprint("log ", i))
		}
		commons[i] = r.Common()
	}
	var r Record
	for _, i := range order {
		r.Reset(DataType(i%5+1), commons[i%7])
		if i%3 == 0 {
			r.Path("NODE:", fmt.Sprint("/dir/", i%11, "/file"))
		}
		if i%4 == 0 {
			r.Int(FieldOffset, int64(i%23))
		}
		r.String(FieldMessageBody, strings.Repeat("x", i%300))
		r.Int(FieldPID, int64(i%13))
		if i%50 != 0 {
			r.Unix(Modified, int64(i%17)-8, uint32(i%3)*499)
			r.Unix(Created, int64(i%17)-8, 0)
		}
		add(&r)
	}
}

func TestOrderIsFixed(t *testing.T) {
	n := needs.Rounds(6000, 2000)
	var first []byte
	for seed := range uint64(2) {
		for _, memory := range []int64{0, 200 << 10, 50 << 10} {
			for _, jobs := range []int{1, 3} {
				got := write(t, JSONL, Options{Memory: memory, Jobs: jobs, TempDir: t.TempDir()}, func(add func(*Record)) { shuffled(seed, n, add) })
				if first == nil {
					first = got
					checkOrder(t, got)
				}
				if !bytes.Equal(got, first) {
					t.Fatalf("seed %d, memory %d, jobs %d: other bytes", seed, memory, jobs)
				}
			}
		}
	}
}

func checkOrder(t *testing.T, b []byte) {
	last := ""
	events := lines(t, b)
	var at int64 = -1 << 62
	for i, e := range events {
		ns, err := e["timestamp"].(interface{ Int64() (int64, error) }).Int64()
		if err != nil || ns < at {
			t.Fatalf("line %d: %d after %d", i+1, ns, at)
		}
		name, _ := e["display_name"].(string)
		key := fmt.Sprint(e["timestamp_nanoseconds"])
		if key == last[:min(len(key), len(last))] && len(last) > len(key) && last[len(key)] == ' ' && name < last[len(key)+1:] {
			t.Fatalf("line %d: %q after %q", i+1, name, last)
		}
		at, last = ns, key+" "+name
	}
}

func TestAddFromManyGoroutines(t *testing.T) {
	want := write(t, JSONL, Options{}, func(add func(*Record)) {
		for g := range uint64(4) {
			shuffled(g, 500, add)
		}
	})
	var out bytes.Buffer
	w, err := NewWriter(Options{Memory: 100 << 10, TempDir: t.TempDir()}, Output{&out, JSONL})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			shuffled(g, 500, func(r *Record) {
				if err := w.Add(r); err != nil {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
	if err := w.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Error("other bytes")
	}
	if w.Written() != w.Events() || w.Written() == 0 {
		t.Errorf("%d of %d written", w.Written(), w.Events())
	}
}

func TestKeys(t *testing.T) {
	for _, s := range []stamp{{minSec, 0, 0}, {maxSec, maxNsec, NotATime}, {-1, 999999999, Created}, {0, 31, Accessed}, {1, 32, Modified}} {
		k := newKey(s, 9, 1<<40-1)
		if k.sec() != s.sec || k.nsec() != s.nsec || k.desc() != s.desc || k.macb() != 9 || k.place() != 1<<40-1 {
			t.Errorf("%v: %d %d %d %d %#x", s, k.sec(), k.nsec(), k.desc(), k.macb(), k.place())
		}
	}
}

func TestEvents(t *testing.T) {
	s := NewSorter(0, "")
	defer s.Close()
	var r Record
	r.Reset(FSStat, nil)
	r.Path("NODE:", "/etc/passwd")
	r.Uint(FieldInode, 12)
	r.Strings(FieldTag, []string{"a", "b"})
	r.Bool(FieldIsAllocated, true)
	when := time.Date(1960, 2, 29, 1, 2, 3, 4, time.UTC)
	r.Time(Created, when)
	if err := s.Add(&r); err != nil {
		t.Fatal(err)
	}
	for e, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintln(e.Time(), e.Desc(), e.DataType(), e.MACB(), e.Message(), e.Text(FieldFilename), e.Text(FieldInode), e.Text(FieldTag), e.Text(FieldIsAllocated), e.Text(FieldPID))
		if want := fmt.Sprintln(when, "Creation Time", "fs:stat", "...b", "NODE:/etc/passwd", "/etc/passwd", "12", `["a","b"]`, "true", ""); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestLargeRecords(t *testing.T) {
	big := func(add func(*Record)) {
		var r Record
		for i := range 6 {
			r.Reset(Unknown, nil)
			for id := 1; id <= 40; id++ {
				r.String(StringField(id), strings.Repeat(string(rune('a'+i)), maxText))
			}
			r.Unix(Recorded, int64(-i), 0)
			add(&r)
		}
	}
	want := write(t, JSONL, Options{}, big)
	if got := write(t, JSONL, Options{Memory: 3 << 20, TempDir: t.TempDir()}, big); !bytes.Equal(got, want) || bytes.Count(got, []byte("\n")) != 6 {
		t.Error("other bytes")
	}
}

func TestTemporaryFileIsGone(t *testing.T) {
	dir := t.TempDir()
	s := NewSorter(1<<10, dir)
	shuffled(1, 1000, func(r *Record) {
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	})
	if s.spool == nil || len(s.spool.runs) < 10 {
		t.Error("nothing was spilled")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = NewSorter(1, dir+"/missing")
	var r Record
	r.Reset(Unknown, nil)
	if err := s.Add(&r); err == nil {
		t.Error("no error without a folder for temporary files")
	}
}

type failing struct{ after int }

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, errors.New("disk is full")
	}
	return len(b), nil
}

func TestWriteErrors(t *testing.T) {
	needs.Time(t)
	for _, f := range Formats {
		for _, after := range []int{0, 1 << 20} {
			w, err := NewWriter(Options{}, Output{&failing{after}, f})
			if err != nil {
				t.Fatal(err)
			}
			benchRecords(20000, func(r *Record) {
				if e := w.Add(r); e != nil {
					err = e
				}
			})
			if e := w.Finish(context.Background()); err == nil {
				err = e
			}
			if err == nil || !strings.Contains(err.Error(), "disk is full") {
				t.Errorf("%s: %v", f, err)
			}
			w.Close()
		}
	}
}

func TestCancel(t *testing.T) {
	for _, memory := range []int64{0, 1 << 20} {
		ctx, cancel := context.WithCancel(context.Background())
		w, _ := NewWriter(Options{Memory: memory, TempDir: t.TempDir()}, Output{io.Discard, JSONL})
		benchRecords(20000, func(r *Record) { w.Add(r) })
		cancel()
		if err := w.Finish(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		w.Close()
	}
}

func TestSinceUntil(t *testing.T) {
	fill := func(add func(*Record)) {
		var r Record
		for i := range 10 {
			r.Reset(FSStat, nil)
			r.Path("NODE:", fmt.Sprint("/", i))
			r.Unix(Modified, int64(i), 0)
			r.Unix(Created, int64(i+5), 0)
			add(&r)
		}
		r.Gap(nil, "x", "unreadable")
		add(&r)
	}
	got := lines(t, write(t, JSONL, Options{Filter: Filter{Since: time.Unix(3, 0), Until: time.Unix(6, 0)}}, fill))
	if len(got) != 1+3+1 { // the gap, mtimes 3 to 5, btime 5
		t.Errorf("%d lines", len(got))
	}
	body := write(t, Bodyfile, Options{Filter: Filter{Since: time.Unix(3, 0), Until: time.Unix(6, 0)}}, fill)
	if n := bytes.Count(body, []byte("\n")); n != 4 {
		t.Errorf("%d lines of bodyfile", n)
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats {
		if got, err := ParseFormat(string(f)); got != f || err != nil {
			t.Error(f, err)
		}
	}
	if f, err := ParseFormat(""); f != JSONL || err != nil {
		t.Error(f, err)
	}
	if _, err := ParseFormat("xls"); err == nil {
		t.Error("no error")
	}
	if _, err := NewWriter(Options{}, Output{io.Discard, "xls"}); err == nil {
		t.Error("no error")
	}
	if f, ok := FormatOf("/out/Node.JSONL"); f != JSONL || !ok {
		t.Error(f, ok)
	}
	if _, ok := FormatOf("out"); ok {
		t.Error("a format without an ending")
	}
}

// TestPackedRuns has the later runs compressed, and some of them only: the order is the same.
func TestPackedRuns(t *testing.T) {
	want := fmt.Sprint(sorted(t, 0, 0))
	for _, from := range []int64{0, 20 << 10, 1 << 40} {
		if got := fmt.Sprint(sorted(t, 4<<10, from)); got != want {
			t.Errorf("compressed from %d bytes on, the events are others", from)
		}
	}
}

// sorted returns the times and names of shuffled events, sorted in so much memory with runs compressed
// from a size of the file on.
func sorted(t *testing.T, memory, from int64) (out []string) {
	t.Helper()
	s := NewSorter(memory, t.TempDir())
	defer s.Close()
	if memory > 0 {
		sp, err := newSpool(s.tempDir)
		if err != nil {
			t.Fatal(err)
		}
		sp.pack = from
		s.spool = sp
	}
	shuffled(5, 2000, func(r *Record) {
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	})
	packed := 0
	for _, sec := range s.spoolRuns() {
		if sec.packed {
			packed++
		}
	}
	if memory > 0 && (from == 0) != (packed == len(s.spoolRuns())) || from == 1<<40 && packed > 0 || from == 20<<10 && packed == 0 {
		t.Errorf("from %d bytes on: %d of %d runs are compressed", from, packed, len(s.spoolRuns()))
	}
	for batch, err := range s.batches(context.Background(), func() *batch { return &batch{} }) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch.items {
			out = append(out, fmt.Sprintf("%v %x", batch.items[i].k.sec(), batch.items[i].rec))
		}
	}
	return out
}

func (s *Sorter) spoolRuns() []section {
	if s.spool == nil {
		return nil
	}
	return s.spool.runs
}

// FuzzRun reads bytes as a run file. Whatever they are, no panic, and no error
// but those of reading.
func FuzzRun(f *testing.F) {
	var entries []byte
	s := NewSorter(0, "")
	shuffled(3, 20, func(r *Record) { s.Add(r) })
	for _, k := range s.keys {
		rec := s.record(k.place())
		entries = append(appendEntryHead(entries, k, len(rec)), rec...)
	}
	f.Add(entries)
	f.Add(entries[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		name := t.TempDir() + "/run"
		var sp spool
		var packed bytes.Buffer
		var ends [2]int64
		w := sp.compressor(&packed)
		w.Write(b[:len(b)/2])
		w.Close()
		ends[0] = int64(packed.Len())
		packed.Write(b[len(b)/2:])
		ends[1] = int64(packed.Len())
		if err := os.WriteFile(name, packed.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		broken := NewSorter(0, "")
		broken.commons = s.commons
		broken.spool = &spool{f: file, runs: []section{{0, ends[0], true}, {ends[0], ends[1], false}}}
		defer broken.Close()
		e := &jsonl{commons: broken.commons}
		for batch, err := range broken.batches(context.Background(), func() *batch { return &batch{} }) {
			if err == nil {
				_, err = e.append(nil, batch.items)
			}
			if err != nil {
				if !errors.Is(err, errCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "overflow") {
					t.Fatal(err)
				}
				return
			}
		}
	})
}

// TestSortKeys compares the order of rounds with that of comparisons alone.
func TestSortKeys(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for name, next := range map[string]func(i int) uint64{
		"random":    func(int) uint64 { return rng.Uint64() },
		"one time":  func(int) uint64 { return 7 },
		"two times": func(i int) uint64 { return uint64(i&1) << 63 },
		"near":      func(int) uint64 { return 1<<40 + rng.Uint64N(2000) },
		"outliers": func(i int) uint64 {
			return []uint64{0, 1<<60 + rng.Uint64N(1<<30), ^uint64(0)}[min(i%1000, 1)+i/49_999]
		},
		"in order":    func(i int) uint64 { return uint64(i) << 20 },
		"in disorder": func(i int) uint64 { return uint64(1<<20-i) << 20 },
	} {
		var s Sorter
		keys := make([]key, 50_000)
		for i := range keys {
			keys[i] = key{next(i), rng.Uint64()&31<<59 | rng.Uint64()&511}
		}
		want := slices.Clone(keys)
		slices.SortFunc(want, s.compare)
		s.sortKeys(keys)
		if !slices.Equal(keys, want) {
			t.Errorf("%s: not in order", name)
		}
	}
}
