package containerlog

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

// told is an entry in one line: second, source, text, + if the line goes on, $ if it has no end.
func told(seq iter.Seq2[Entry, error]) (out []string, failed []error) {
	for e, err := range seq {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		more := ""
		if e.More {
			more = "+"
		} else if e.Unended {
			more = "$"
		}
		out = append(out, fmt.Sprintf("%d %s %s%s", e.Time.Unix(), e.Source, e.Text, more))
	}
	return out, failed
}

func check(t *testing.T, name string, seq iter.Seq2[Entry, error], want []string, errs int) {
	t.Helper()
	got, failed := told(seq)
	if !reflect.DeepEqual(got, want) || len(failed) != errs {
		t.Errorf("%s: %v\n got %q\nwant %q", name, failed, got, want)
	}
}

func TestCRI(t *testing.T) {
	const at = "1970-01-01T00:00:0"
	nul := strings.Repeat("\x00", 100)
	for _, test := range []struct {
		name, log string
		want      []string
		errs      int
	}{
		{"lines", at + "1.5Z stdout F a b\n" + at + "2Z stderr F \n", []string{"1 stdout a b", "2 stderr "}, 0},
		{"pieces", at + "1Z stdout P a\n" + at + "2Z stderr F x\n" + at + "3Z stdout P b\n" + at + "4Z stdout F c\n", []string{"2 stderr x", "1 stdout abc"}, 0},
		{"no end", at + "1Z stdout P a\n", []string{"1 stdout a+"}, 0},
		{"tags", at + "1Z stdout P:x:y a\n" + at + "1Z stdout F:x b\n", []string{"1 stdout ab"}, 0},
		{"zone", "1970-01-01T01:00:01+01:00 stdout F a\n", []string{"1 stdout a"}, 0},
		{"two spaces", at + "1Z stdout F  a\n", []string{"1 stdout  a"}, 0},
		{"zeros of a power cut", at + "1Z stdout F a\n" + nul + at + "2Z stdout F b\n" + nul, []string{"1 stdout a", "2 stdout b"}, 2},
		{"a line cut by a power cut", at + "1Z stdout F a" + nul + "\n" + at + "2Z stdout F b\n", []string{"1 stdout a", "2 stdout b"}, 1},
		{"zeros of the program", at + "1Z stdout F a\x00b\n", []string{"1 stdout a\x00b"}, 0},
		{"garbage", "x\n" + at + "1Z stdout X a\n" + at + "xZ stdout F a\n1Z\n" + at + "1Z stdout F b", []string{"1 stdout b"}, 4},
	} {
		check(t, test.name, Join(CRI(strings.NewReader(test.log))), test.want, test.errs)
	}
}

func TestJSONFile(t *testing.T) {
	object := func(text string, sec int) string {
		b, err := json.Marshal(map[string]string{"log": text})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`%s,"stream":"stdout","time":"1970-01-01T00:00:%02d.5Z"}`+"\n", b[:len(b)-1], sec)
	}
	odd := "\x01\t\b\f\r\"\\/<&>\u2028é😀"
	for _, test := range []struct {
		name, log string
		want      []string
		errs      int
	}{
		{"lines", object("a\n", 1) + object(odd+"\n", 2), []string{"1 stdout a", "2 stdout " + odd}, 0},
		{"pieces", object(strings.Repeat("a", 16<<10), 1) + object("b\n", 2), []string{"1 stdout " + strings.Repeat("a", 16<<10) + "b"}, 0},
		{"a program's last words", object("foo", 1) + object("bar\n", 2), []string{"1 stdout foo$", "2 stdout bar"}, 0},
		{"a long line without an end", object(strings.Repeat("a", 16<<10), 1) + object("b", 2), []string{"1 stdout " + strings.Repeat("a", 16<<10) + "b$"}, 0},
		{"attributes", `{"log":"a\n","stream":"stderr","attrs":{"k":"v"},"time":"1970-01-01T00:00:01Z"}`, []string{"1 stderr a"}, 0},
		{"escapes", `{"log":"\u0041\ud83d\ude00\/\n","stream":"stdout","time":"1970-01-01T00:00:01Z"}`, []string{"1 stdout A😀/"}, 0},
		{"half a surrogate", `{"log":"\ud83d\n","stream":"stdout","time":"1970-01-01T00:00:01Z"}`, []string{"1 stdout \ufffd"}, 0},
		{"torn", `{"log":"a\n","stre` + strings.Repeat("\x00", 50) + object("b\n", 2), []string{"2 stdout b"}, 2},
		{"no time", `{"log":"a\n","stream":"stdout","time":""}`, nil, 1},
	} {
		check(t, test.name, Join(JSONFile(strings.NewReader(test.log))), test.want, test.errs)
	}
}

// logEntry makes a record of the local driver.
func logEntry(text string, sec int, partial, last bool) []byte {
	var b []byte
	put := func(field uint64, s string) {
		b = binary.AppendUvarint(b, field<<3|wireBytes)
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	put(fieldSource, "stdout")
	b = binary.AppendUvarint(binary.AppendUvarint(b, fieldTimeNano<<3), uint64(sec)*1e9)
	put(fieldLine, text)
	if partial {
		b = append(b, fieldPartial<<3, 1)
		meta := ""
		if last {
			meta = "\x08\x01"
		}
		put(fieldMetadata, meta+"\x12\x02id\x18\x01")
	}
	n := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	return append(append(bytes.Clone(n), b...), n...)
}

func TestLocal(t *testing.T) {
	a, b := logEntry("a", 1, false, false), logEntry("b", 2, false, false)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, test := range []struct {
		name string
		log  []byte
		want []string
		errs int
	}{
		{"records", join(a, b), []string{"1 stdout a", "2 stdout b"}, 0},
		{"pieces", join(logEntry("x", 1, true, false), logEntry("y", 2, true, false), logEntry("z", 3, true, true), b), []string{"1 stdout xyz", "2 stdout b"}, 0},
		{"torn at the end", join(a, b[:len(b)-3]), []string{"1 stdout a"}, 1},
		{"garbage between", join(a, []byte("\x00\x00\x00\x05xxx"), b), []string{"1 stdout a", "2 stdout b"}, 1},
		{"zeros at the end", join(a, make([]byte, 4096)), []string{"1 stdout a"}, 1},
		{"zeros between", join(a, make([]byte, 4096), b), []string{"1 stdout a", "2 stdout b"}, 1},
		{"first is lost", join(a[5:], b), []string{"2 stdout b"}, 1},
		{"a length that lies", join([]byte{0xff, 0xff, 0xff, 0xff}, a), []string{"1 stdout a"}, 1},
	} {
		check(t, test.name, Join(Local(bytes.NewReader(test.log))), test.want, test.errs)
	}
}

func TestJoinIsBounded(t *testing.T) {
	text := bytes.Repeat([]byte("a"), 1<<16)
	n, size := 0, 0
	for e, err := range Join(func(yield func(Entry, error) bool) {
		for i := range 1000 {
			if !yield(Entry{Source: fmt.Sprint(i % 20), Text: text, More: true}, nil) {
				return
			}
		}
	}) {
		if err != nil || len(e.Text) > maxJoined || !e.More {
			t.Fatal(err, len(e.Text))
		}
		n++
		size += len(e.Text)
	}
	if size != 1000<<16 {
		t.Errorf("%d bytes of %d in %d lines", size, 1000<<16, n)
	}
}

// TestCorpus compares with what plaso's tests expect of its own files
// (tests/parsers/text_plugins/cri.py, jsonl_plugins/docker_container_log.py).
func TestCorpus(t *testing.T) {
	dir := needs.Corpora(t)
	for _, test := range []struct {
		name    string
		read    func(io.Reader) iter.Seq2[Entry, error]
		entries int
		first   time.Time
		text    string
	}{
		{"cri.log", CRI, 17, time.Date(2016, 10, 6, 0, 17, 9, 669794202, time.UTC), "log content 1"},
		{"docker/containers/e7d0b7ea5ccf08366e2b0c8afa2318674e8aefe802315378125d2bb83fe3110c/container-json.log", JSONFile, 10,
			time.Date(2016, 1, 7, 16, 49, 10, 0, time.UTC), "\x1b]0;root@e7d0b7ea5ccf: /home/plaso\x07root@e7d0b7ea5ccf:/home/plaso# ls\r"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, "plaso", test.name))
		if err != nil {
			t.Error(err)
			continue
		}
		n := 0
		for e, err := range test.read(bytes.NewReader(b)) {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if n++; n == 1 && (!e.Time.Equal(test.first) || string(e.Text) != test.text) {
				t.Errorf("%s: the first is %s %q", test.name, e.Time, e.Text)
			}
		}
		if n != test.entries {
			t.Errorf("%s: %d entries, where plaso has %d", test.name, n, test.entries)
		}
	}
}

func fuzz(f *testing.F, read func(io.Reader) iter.Seq2[Entry, error]) {
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, err := range Join(read(bytes.NewReader(b))) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}

func FuzzCRI(f *testing.F) {
	f.Add([]byte("1970-01-01T00:00:01.5Z stdout P a\n1970-01-01T00:00:01.5Z stdout F b\n\x00\x00"))
	fuzz(f, CRI)
}

func FuzzJSONFile(f *testing.F) {
	f.Add([]byte(`{"log":"a\u0041\ud83d\ude00\n","stream":"stdout","time":"1970-01-01T00:00:01.5Z"}` + "\n"))
	fuzz(f, JSONFile)
}

func FuzzLocal(f *testing.F) {
	f.Add(append(logEntry("a", 1, true, false), logEntry("b", 1, true, true)...))
	f.Add(append(logEntry("a", 1, false, false), 0, 0, 0, 9, 1))
	fuzz(f, Local)
}

// FuzzFastJSON compares the decoder by hand with encoding/json.
func FuzzFastJSON(f *testing.F) {
	f.Add([]byte(`{"log":"a\u0041\ud83d\ude00\n","stream":"stdout","time":"1970-01-01T00:00:01.5Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		o := object{rest: b}
		stamp, ok := o.parse(&e)
		if !ok {
			return
		}
		var want struct{ Log, Stream, Time string }
		if err := json.Unmarshal(b, &want); err != nil {
			return // control bytes and bad UTF-8, which encoding/json is strict about
		}
		if got := strings.ToValidUTF8(string(o.buf), "\ufffd"); got != strings.ToValidUTF8(want.Log, "\ufffd") && !strings.Contains(want.Log, "\ufffd") {
			t.Errorf("%q: %q, not %q", b, got, want.Log)
		}
		if e.Source != want.Stream && !strings.Contains(want.Stream, "\ufffd") || string(stamp) != want.Time && !strings.Contains(want.Time, "\ufffd") {
			t.Errorf("%q: %q %q", b, e.Source, stamp)
		}
	})
}

func BenchmarkJSONFile(b *testing.B) {
	line := `{"log":"10.0.3.1 - - [22/Nov/2026:09:23:56 +0000] \"GET / HTTP/1.1\" 200 615 \"-\" \"ELB-HealthChecker/2.0\"\n","stream":"stdout","time":"2026-11-22T09:23:56.977851451Z"}` + "\n"
	log := strings.Repeat(line, 10000)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range JSONFile(strings.NewReader(log)) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
