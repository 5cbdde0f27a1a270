package timeline

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/s2"
)

// A run file holds sorted runs one after the other, those behind packedFrom compressed
// with S2. A run is a sequence of
//
//	uint64   the key's a
//	uint64   the key's b, without the record's place
//	uvarint  length of the record; 0: it is the one before again
//	bytes    the record, as view.go says
//
// in little-endian order. It is read back by the process that wrote it: the
// numbers of templates and common fields mean nothing to another.

const (
	// spoolBuffer is what is written at a time.
	spoolBuffer = 1 << 20
	// runBuffer is what is read of a run at a time, and minRunBuffer what it
	// shrinks to where runs are many.
	runBuffer    = 256 << 10
	minRunBuffer = 32 << 10
	// packedFrom is the size of the file from which runs are compressed, to a sixth: what
	// is less stays in the system's memory, where that would only cost time.
	packedFrom = 512 << 20
	// runBlock is what is compressed at a time; a run that is read holds two of them.
	runBlock = 64 << 10
	// maxRecord bounds a record that is read back: every field is bounded by
	// maxText, and lists too.
	maxRecord = (numFields + 1) * (maxText + 64)
	placeMask = uint64(1<<40-1) << 9
)

type spool struct {
	f       *os.File
	remove  string // the file's name, where it couldn't be removed while open
	size    int64  // of the file
	runs    []section
	pack    int64 // the size from which runs are compressed
	w       *s2.Writer
	scratch []byte
}

// Write appends to the file.
func (sp *spool) Write(b []byte) (int, error) {
	n, err := sp.f.Write(b)
	sp.size += int64(n)
	return n, err
}

// compressor returns what compresses a run that goes to w.
func (sp *spool) compressor(w io.Writer) *s2.Writer {
	if sp.w == nil {
		sp.w = s2.NewWriter(nil, s2.WriterConcurrency(1), s2.WriterBlockSize(runBlock))
	}
	sp.w.Reset(w)
	return sp.w
}

type section struct {
	start, end int64
	packed     bool
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, ".lagan-sort-*")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file to sort in: %w", err)
	}
	sp := &spool{f: f, pack: packedFrom}
	if err := os.Remove(f.Name()); err != nil {
		sp.remove = f.Name()
	}
	return sp, nil
}

func (sp *spool) close() error {
	err := sp.f.Close()
	if sp.remove != "" {
		os.Remove(sp.remove)
	}
	return err
}

// writeRun appends the sorter's sorted events as a run.
func (sp *spool) writeRun(s *Sorter) error {
	if len(s.keys) == 0 {
		return nil
	}
	out := bufio.NewWriterSize(sp, spoolBuffer)
	start, packed := sp.size, sp.size >= sp.pack
	var w io.Writer = out
	if packed {
		w = sp.compressor(out)
	}
	last := ^uint64(0)
	for _, k := range s.keys {
		var rec []byte
		if place := k.place(); place != last {
			rec, last = s.record(place), place
		}
		b := appendEntryHead(sp.scratch[:0], k, len(rec))
		sp.scratch = b
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("sorting in a temporary file: %w", err)
		}
		if _, err := w.Write(rec); err != nil {
			return fmt.Errorf("sorting in a temporary file: %w", err)
		}
	}
	if packed {
		if err := sp.w.Close(); err != nil {
			return fmt.Errorf("sorting in a temporary file: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("sorting in a temporary file: %w", err)
	}
	sp.runs = append(sp.runs, section{start, sp.size, packed})
	return nil
}

func appendEntryHead(dst []byte, k key, size int) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, k.a)
	dst = binary.LittleEndian.AppendUint64(dst, k.b&^placeMask)
	return binary.AppendUvarint(dst, uint64(size))
}

// run reads a run forward.
type run struct {
	r   runReader // nil: what is in memory
	k   key
	rec []byte
}

type runReader interface {
	io.Reader
	io.ByteReader
}

// open returns what reads a run, so many bytes of the file at a time.
func (sp *spool) open(sec section, size int) runReader {
	r := bufio.NewReaderSize(io.NewSectionReader(sp.f, sec.start, sec.end-sec.start), size)
	if sec.packed {
		return s2.NewReader(r, s2.ReaderMaxBlockSize(runBlock), s2.ReaderAllocBlock(runBlock))
	}
	return r
}

// next reads the next event; ok is false at the run's end.
func (r *run) next() (ok bool, err error) {
	var head [16]byte
	if _, err := io.ReadFull(r.r, head[:]); err == io.EOF {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("reading sorted events: %w", err)
	}
	r.k.a = binary.LittleEndian.Uint64(head[:])
	r.k.b = binary.LittleEndian.Uint64(head[8:])
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return false, fmt.Errorf("reading sorted events: %w", err)
	}
	if n > uint64(maxRecord) || n == 0 && len(r.rec) == 0 || r.k.b&placeMask != 0 || r.k.sec() > maxSec || r.k.desc() >= numDescs {
		return false, errRecord("entry")
	}
	if n == 0 {
		return true, nil
	}
	if uint64(cap(r.rec)) < n {
		r.rec = make([]byte, n, n+n/2)
	}
	r.rec = r.rec[:n]
	if _, err := io.ReadFull(r.r, r.rec); err != nil {
		return false, fmt.Errorf("reading sorted events: %w", err)
	}
	return true, nil
}

// merge gives the events of all runs, and of memory, in order.
type merge struct {
	s      *Sorter
	memory int // next key in memory
	runs   []*run
	moved  *run // the run whose event was given last, and must move on
}

func (s *Sorter) newMerge() (*merge, error) {
	m := &merge{s: s}
	size := min(max(s.limit/4/int64(len(s.spool.runs)+1), minRunBuffer), runBuffer)
	for _, sec := range s.spool.runs {
		r := &run{r: s.spool.open(sec, int(size))}
		ok, err := r.next()
		if err != nil {
			return nil, err
		}
		if ok {
			m.runs = append(m.runs, r)
		}
	}
	if len(s.keys) > 0 {
		r := &run{}
		m.fromMemory(r)
		m.runs = append(m.runs, r)
	}
	heap.Init(m)
	return m, nil
}

// fromMemory moves the run that stands for what is in memory.
func (m *merge) fromMemory(r *run) bool {
	if m.memory >= len(m.s.keys) {
		return false
	}
	k := m.s.keys[m.memory]
	m.memory++
	r.rec = m.s.record(k.place())
	r.k = key{k.a, k.b &^ placeMask}
	return true
}

// next returns the next event. The record is valid until the call after.
func (m *merge) next() (key, []byte, bool, error) {
	if m.moved != nil {
		ok, err := false, error(nil)
		if m.moved.r == nil {
			ok = m.fromMemory(m.moved)
		} else {
			ok, err = m.moved.next()
		}
		switch {
		case err != nil:
			return key{}, nil, false, err
		case ok:
			heap.Fix(m, 0)
		default:
			heap.Pop(m)
		}
	}
	if len(m.runs) == 0 {
		return key{}, nil, false, nil
	}
	m.moved = m.runs[0]
	return m.moved.k, m.moved.rec, true, nil
}

// The heap of runs, by their next events.

func (m *merge) Len() int      { return len(m.runs) }
func (m *merge) Swap(i, j int) { m.runs[i], m.runs[j] = m.runs[j], m.runs[i] }
func (m *merge) Push(x any)    { m.runs = append(m.runs, x.(*run)) }

func (m *merge) Pop() any {
	last := m.runs[len(m.runs)-1]
	m.runs = m.runs[:len(m.runs)-1]
	return last
}

func (m *merge) Less(i, j int) bool {
	x, y := m.runs[i], m.runs[j]
	if x.k.a != y.k.a {
		return x.k.a < y.k.a
	}
	if x.k.b>>59 != y.k.b>>59 {
		return x.k.b>>59 < y.k.b>>59
	}
	if c := m.s.compareRecords(x.rec, y.rec); c != 0 {
		return c < 0
	}
	return x.k.b&511 < y.k.b&511
}
