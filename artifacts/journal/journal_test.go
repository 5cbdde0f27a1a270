package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/internal/needs"
)

// builder makes journals of few objects, without hash tables.
type builder struct {
	b       []byte
	compact bool
	entries []uint64
	data    map[string]uint64
	arrays  []uint64
}

func newBuilder(compactMode bool) *builder {
	b := &builder{b: make([]byte, 272), compact: compactMode, data: make(map[string]uint64)}
	copy(b.b, signature)
	if compactMode {
		b.b[12] = compact
	}
	binary.LittleEndian.PutUint64(b.b[88:], 272)
	return b
}

func (b *builder) object(typ, flags byte, body []byte) uint64 {
	for len(b.b)%8 != 0 {
		b.b = append(b.b, 0)
	}
	off := uint64(len(b.b))
	b.b = append(b.b, typ, flags, 0, 0, 0, 0, 0, 0)
	b.b = binary.LittleEndian.AppendUint64(b.b, uint64(16+len(body)))
	b.b = append(b.b, body...)
	return off
}

func (b *builder) field(s string, flags byte, payload []byte) uint64 {
	if off, ok := b.data[s]; ok {
		return off
	}
	head := dataPayload
	if b.compact {
		head = dataPayloadIn32
	}
	b.data[s] = b.object(objData, flags, append(make([]byte, head-16), payload...))
	return b.data[s]
}

func (b *builder) entry(fields ...string) {
	var items []byte
	for _, f := range fields {
		items = b.item(items, b.field(f, 0, []byte(f)))
	}
	n := uint64(len(b.entries) + 1)
	body := binary.LittleEndian.AppendUint64(nil, n)
	body = binary.LittleEndian.AppendUint64(body, 1_700_000_000_000_000+n)
	body = binary.LittleEndian.AppendUint64(body, n)
	body = append(body, make([]byte, 24)...)
	b.entries = append(b.entries, b.object(objEntry, 0, append(body, items...)))
}

func (b *builder) item(items []byte, off uint64) []byte {
	if b.compact {
		return binary.LittleEndian.AppendUint32(items, uint32(off))
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(items, off), 0)
}

// array links the entries from n on, with room for two more.
func (b *builder) array(entries []uint64) {
	body := make([]byte, 8)
	for _, off := range append(entries, 0, 0) {
		if b.compact {
			body = binary.LittleEndian.AppendUint32(body, uint32(off))
		} else {
			body = binary.LittleEndian.AppendUint64(body, off)
		}
	}
	off := b.object(objEntryArray, 0, body)
	if n := len(b.arrays); n == 0 {
		binary.LittleEndian.PutUint64(b.b[176:], off)
	} else {
		binary.LittleEndian.PutUint64(b.b[b.arrays[n-1]+16:], off)
	}
	b.arrays = append(b.arrays, off)
}

func (b *builder) finish(entries int) []byte {
	for len(b.b)%8 != 0 {
		b.b = append(b.b, 0)
	}
	binary.LittleEndian.PutUint64(b.b[96:], uint64(len(b.b)-272))
	binary.LittleEndian.PutUint64(b.b[136:], uint64(len(b.b)-8))
	binary.LittleEndian.PutUint64(b.b[152:], uint64(entries))
	return b.b
}

// six is a journal of six entries in two arrays.
func six(compactMode bool) *builder {
	b := newBuilder(compactMode)
	for n := range 6 {
		b.entry("_PID=1", "SYSLOG_IDENTIFIER=sshd", fmt.Sprintf("MESSAGE=line %d", n+1))
		if n == 1 {
			b.array(b.entries[:2])
		}
	}
	b.array(b.entries[2:])
	return b
}

// read returns the messages of a journal, those of unlinked entries with a
// star, and its errors.
func read(t *testing.T, b []byte) (string, []error) {
	t.Helper()
	j, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return "", []error{err}
	}
	var out []string
	var problems []error
	for e, err := range j.Entries() {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s := strings.TrimPrefix(string(e.Get("MESSAGE")), "line ")
		if e.Unlinked {
			s += "*"
		}
		out = append(out, s)
	}
	return strings.Join(out, " "), problems
}

func TestEntries(t *testing.T) {
	le := binary.LittleEndian
	for _, test := range []struct {
		name   string
		change func(*builder) []byte
		want   string
		err    error
	}{
		{"whole", func(b *builder) []byte { return b.finish(6) }, "1 2 3 4 5 6", nil},
		{"no array", func(b *builder) []byte { le.PutUint64(b.b[176:], 0); return b.finish(6) }, "1* 2* 3* 4* 5* 6*", nil},
		{"array of another type", func(b *builder) []byte {
			b.b[b.arrays[1]] = objTag
			le.PutUint64(b.b[b.arrays[1]+8:], 64)
			return b.finish(6)
		}, "1 2 3* 4* 5* 6*", evidence.ErrCorrupt},
		{"array leads to itself", func(b *builder) []byte { le.PutUint64(b.b[b.arrays[0]+16:], b.arrays[0]); return b.finish(6) }, "1 2 3* 4* 5* 6*", evidence.ErrCorrupt},
		{"entries in disorder", func(b *builder) []byte {
			if b.compact {
				le.PutUint32(b.b[b.arrays[0]+28:], uint32(b.entries[0]))
			} else {
				le.PutUint64(b.b[b.arrays[0]+32:], b.entries[0])
			}
			return b.finish(6)
		}, "1 2* 3* 4* 5* 6*", evidence.ErrCorrupt},
		{"entry not linked yet", func(b *builder) []byte { b.entry("MESSAGE=line 7"); return b.finish(6) }, "1 2 3 4 5 6 7*", nil},
		{"entry without number", func(b *builder) []byte { le.PutUint64(b.b[b.entries[2]+16:], 0); return b.finish(6) }, "1 2 4 5 6", evidence.ErrCorrupt},
		{"field elsewhere", func(b *builder) []byte { le.PutUint32(b.b[b.entries[3]+entryItems:], 1<<30); return b.finish(6) }, "1 2 3 4 5 6", evidence.ErrCorrupt},
		{"size of an object", func(b *builder) []byte { le.PutUint64(b.b[b.data["MESSAGE=line 4"]+8:], 1<<62); return b.finish(6) }, "1 2 3  5 6", evidence.ErrCorrupt},
		{"cut short", func(b *builder) []byte { return b.finish(6)[:b.entries[4]] }, "1 2 3* 4*", evidence.ErrCorrupt},
		{"fewer than counted", func(b *builder) []byte { return b.finish(9) }, "1 2 3 4 5 6", evidence.ErrCorrupt},
		{"header size", func(b *builder) []byte { b.finish(6); le.PutUint64(b.b[88:], 3); return b.b }, "1 2 3 4 5 6", evidence.ErrCorrupt},
		{"unknown flag", func(b *builder) []byte { b.b[13] = 1; return b.finish(6) }, "", evidence.ErrUnsupported},
		{"no journal", func(b *builder) []byte { b.b[0] = 'X'; return b.finish(6) }, "", evidence.ErrFormat},
		{"short", func(b *builder) []byte { return b.b[:100] }, "", evidence.ErrFormat},
		{"hole", func(b *builder) []byte {
			clear(b.b[b.data["MESSAGE=line 3"]:b.data["MESSAGE=line 4"]])
			return b.finish(6)
		}, "1 2 4 5 6", evidence.ErrCorrupt},
	} {
		for _, compactMode := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,%t", test.name, compactMode), func(t *testing.T) {
				got, problems := read(t, test.change(six(compactMode)))
				if got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				err := errors.Join(problems...)
				if test.err == nil && err != nil || !errors.Is(err, test.err) {
					t.Errorf("errors: %v", err)
				}
			})
		}
	}
}

func TestPayloads(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	long := []byte("MESSAGE=" + strings.Repeat("y", needs.Rounds(20, 9)<<20))
	for _, test := range []struct {
		name    string
		flags   byte
		payload []byte
		length  int // of MESSAGE
		cut     bool
		err     error
	}{
		{"plain", 0, []byte("MESSAGE=abc"), 3, false, nil},
		{"plain, long", 0, long, MaxValue, true, nil},
		{"lz4", packedLZ4, compress(t, long[:5008], packedLZ4), 5000, false, nil},
		{"lz4, long", packedLZ4, compress(t, long, packedLZ4), MaxValue, true, nil},
		{"xz", packedXZ, compress(t, long[:5008], packedXZ), 5000, false, nil},
		{"xz, long", packedXZ, compress(t, long, packedXZ), MaxValue, true, nil},
		{"zstd", packedZstd, z.EncodeAll(long[:5008], nil), 5000, false, nil},
		{"zstd, over the window", packedZstd, z.EncodeAll(long, nil), MaxValue, true, nil},
		{"lz4 of too few bytes", packedLZ4, append(binary.LittleEndian.AppendUint64(nil, 1<<40), "abc"...), 0, false, evidence.ErrCorrupt},
		{"lz4 of nothing", packedLZ4, append(make([]byte, 8), "abc"...), 0, false, evidence.ErrCorrupt},
		{"lz4 of too many bytes", packedLZ4, append(binary.LittleEndian.AppendUint64(nil, maxBlock+1), make([]byte, 1<<20)...), 0, false, evidence.ErrUnsupported},
		{"no xz", packedXZ, []byte("MESSAGE=0123456789012345678901234567890"), 0, false, evidence.ErrUnsupported},
		{"no zstd", packedZstd, []byte("MESSAGE=0123"), 0, false, evidence.ErrCorrupt},
		{"two compressions", packedZstd | packedLZ4, []byte("MESSAGE=0123"), 0, false, evidence.ErrUnsupported},
		{"no name", 0, []byte("=x"), 0, false, evidence.ErrCorrupt},
		{"no field", 0, []byte("message"), 0, false, evidence.ErrCorrupt},
		{"bad name", 0, []byte("mess=x"), 0, false, evidence.ErrCorrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBuilder(false)
			b.field("M", test.flags, test.payload)
			b.entry("A=1", "M")
			b.array(b.entries)
			in := b.finish(1)
			j, err := Open(bytes.NewReader(in), int64(len(in)))
			if err != nil {
				t.Fatal(err)
			}
			var failed error
			for e, err := range j.Entries() {
				if err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				if string(e.Get("A")) != "1" || len(e.Get("MESSAGE")) != test.length {
					t.Errorf("A is %q, MESSAGE has %d bytes", e.Get("A"), len(e.Get("MESSAGE")))
				}
				if len(e.Fields) == 2 && e.Fields[1].Cut != test.cut {
					t.Errorf("cut: %t", e.Fields[1].Cut)
				}
			}
			if test.err == nil && failed != nil || !errors.Is(failed, test.err) {
				t.Errorf("errors: %v", failed)
			}
		})
	}
}

// TestReadErrors fails each page of a file in turn: what lies elsewhere is read.
func TestReadErrors(t *testing.T) {
	b := newBuilder(true)
	for n := range 400 {
		b.entry(fmt.Sprintf("MESSAGE=line %d %s", n, strings.Repeat("x", 500)))
	}
	b.array(b.entries)
	in := b.finish(400)
	for bad := int64(1); bad < int64(len(in)/pageSize); bad++ {
		j, err := Open(badPage{bytes.NewReader(in), bad}, int64(len(in)))
		if err != nil {
			t.Fatal(err)
		}
		n, failed := 0, 0
		for _, err := range j.Entries() {
			if err != nil {
				failed++
			} else {
				n++
			}
		}
		if n < 300 || failed == 0 {
			t.Errorf("page %d: %d entries, %d errors", bad, n, failed)
		}
	}
}

type badPage struct {
	io.ReaderAt
	page int64
}

func (r badPage) ReadAt(b []byte, off int64) (int, error) {
	if off/pageSize == r.page {
		return 0, iotest.ErrTimeout
	}
	return r.ReaderAt.ReadAt(b, off)
}

// TestHostileReferences has many entries that refer to one value that is long
// when it is unpacked.
func TestHostileReferences(t *testing.T) {
	b := newBuilder(true)
	off := b.field("M", packedLZ4, compress(t, []byte("MESSAGE="+strings.Repeat("y", MaxValue)), packedLZ4))
	var items []byte
	for range 4000 {
		items = b.item(items, off)
	}
	for n := range 100 {
		body := binary.LittleEndian.AppendUint64(nil, uint64(n+1))
		b.object(objEntry, 0, append(append(body, make([]byte, 40)...), items...))
	}
	in := b.finish(100)
	j, err := Open(bytes.NewReader(in), int64(len(in)))
	if err != nil {
		t.Fatal(err)
	}
	for range j.Entries() {
	}
	if j.r.work > 2*j.r.budget {
		t.Errorf("work of %d bytes for a file of %d", j.r.work, len(in))
	}
}

func TestMutants(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, compactMode := range []bool{false, true} {
		good := six(compactMode).finish(6)
		for range needs.Rounds(5000, 500) {
			b := bytes.Clone(good)
			for range 1 + rng.IntN(6) {
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
			try(t, b)
		}
	}
}

// try reads a file to its end; all errors must be ours.
func try(t *testing.T, b []byte) {
	j, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		if j != nil || !known(err) {
			t.Fatalf("%v, %v", j, err)
		}
		return
	}
	n := 0
	for e, err := range j.Entries() {
		if err != nil && !known(err) {
			t.Fatal(err)
		}
		if err == nil && len(e.Fields) == 0 && e.Unlinked {
			t.Fatal("entry without fields")
		}
		n++
	}
	if n > len(b)/8+maxErrors+10 {
		t.Fatalf("%d entries in %d bytes", n, len(b))
	}
}

func known(err error) bool {
	return errors.Is(err, evidence.ErrFormat) || errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported)
}

func FuzzJournal(f *testing.F) {
	f.Add(six(false).finish(6))
	f.Add(six(true).finish(6))
	b := newBuilder(false)
	b.field("M", packedLZ4, []byte{12, 0, 0, 0, 0, 0, 0, 0, 0xc0, 'M', 'E', 'S', 'S', 'A', 'G', 'E', '=', 'a', 'b', 'c', 'd'})
	b.entry("M")
	b.array(b.entries)
	f.Add(b.finish(1))
	f.Fuzz(func(t *testing.T, b []byte) { try(t, b) })
}

func BenchmarkEntries(b *testing.B) {
	w := newBuilder(true)
	for n := range 20000 {
		w.entry("_PID=1", "SYSLOG_IDENTIFIER=sshd", "_SYSTEMD_UNIT=ssh.service", "_HOSTNAME=node", fmt.Sprintf("_CMDLINE=%d", n%50), fmt.Sprintf("MESSAGE=line %d", n))
	}
	w.array(w.entries)
	in := w.finish(20000)
	b.ReportAllocs()
	for b.Loop() {
		j, err := Open(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for range j.Entries() {
			n++
		}
		if n != 20000 {
			b.Fatal(n)
		}
	}
}
