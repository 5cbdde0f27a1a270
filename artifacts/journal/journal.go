// Package journal reads systemd's journal files: system, user and remote ones,
// archived, in use, or renamed to .journal~ after a crash.
//
// It follows systemd's docs/JOURNAL_FILE_FORMAT.md: regular and compact files,
// keyed hashes, payloads compressed with xz, lz4 and zstd. Entries come in the
// order of the file, which is that of their sequence numbers. Beside the entry
// arrays, by which journalctl finds entries, the objects themselves are walked
// one after the other, so that an entry to which no array leads (damage, or a
// copy taken while it was written) is found as well, and marked.
//
// Input is hostile: no panic, no allocation sized by the file, no loop.
// Offsets of arrays and entries must rise, as systemd demands itself; values are
// cut at MaxValue; the work on references is bounded by the file's size. Tags
// of Forward Secure Sealing are passed over, hashes are not verified.
package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"lagan/evidence"
)

// MaxValue is the most bytes of a field's value that are kept. Only core dumps
// and the like are longer.
const MaxValue = 1 << 20

// maxSize bounds what is read of a file, which may be a hole of any size.
// journald's have 128 MiB by default, and compact ones at most this.
const maxSize = 4 << 30

// maxErrors bounds the errors that are told one by one.
const maxErrors = 50

// Field is one field of an entry. A name may occur several times.
type Field struct {
	Name  string
	Value []byte
	Cut   bool // longer than MaxValue
}

// Entry is one log entry. Fields and their values are the caller's to read
// until the next entry is asked for. Where none of its fields can be read, there
// is still its time.
type Entry struct {
	Offset    int64 // of its object in the file
	Seqnum    uint64
	Realtime  time.Time // when journald received it, to the microsecond; zero: unknown
	Monotonic time.Duration
	BootID    [16]byte
	Fields    []Field
	Unlinked  bool // no entry array leads to it: journalctl doesn't show it
}

// Get returns the first value of a field, nil where there is none.
func (e *Entry) Get(name string) []byte {
	for i := range e.Fields {
		if e.Fields[i].Name == name {
			return e.Fields[i].Value
		}
	}
	return nil
}

// Journal is an open journal file.
type Journal struct {
	Header
	r     *reader
	items itemCache
	long  bool // longer than what is read
}

// Open reads a journal's header. evidence.ErrFormat says that it is no journal,
// evidence.ErrUnsupported that it needs a feature that isn't known.
func Open(r io.ReaderAt, size int64) (*Journal, error) {
	if size < minHeader {
		return nil, fmt.Errorf("%d bytes are no journal: %w", size, evidence.ErrFormat)
	}
	j := &Journal{r: newReader(r, min(size, maxSize)), long: size > maxSize}
	b := make([]byte, min(size, readHeader))
	if err := j.r.read(b, 0); err != nil {
		return nil, err
	}
	var err error
	if j.Header, err = decodeHeader(b); err != nil {
		return nil, err
	}
	return j, nil
}

// Entries returns all entries. Where something can't be read, it yields an
// error and goes on; an entry of which some fields can't be read comes with the others.
// It is to be used once at a time.
func (j *Journal) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		w := &walk{j: j, yield: yield}
		w.run()
	}
}

// walk is one pass over a journal.
type walk struct {
	j       *Journal
	yield   func(Entry, error) bool
	stopped bool
	errors  int
	found   uint64
	fields  []Field
}

// report yields an error. It returns false when nothing more is asked for.
func (w *walk) report(err error) bool {
	if err == nil || w.stopped {
		return !w.stopped
	}
	if w.errors++; w.errors > maxErrors {
		return true
	}
	w.stopped = !w.yield(Entry{}, err)
	return !w.stopped
}

// run merges the entries that arrays lead to with those that are met on the
// way through the file. Both come with rising offsets.
func (w *walk) run() {
	arrays := newChain(w.j)
	objects := newScan(w.j)
	linked, isLinked := arrays.next()
	met, isMet := objects.next()
	for (isLinked || isMet) && !w.stopped {
		if w.j.r.exhausted() {
			w.report(fmt.Errorf("more references than a journal of %d bytes can have: %w", w.j.r.size, evidence.ErrCorrupt))
			break
		}
		switch {
		case isMet && (!isLinked || met < linked):
			w.entry(met, true)
			met, isMet = objects.next()
		case isLinked && (!isMet || linked < met):
			w.entry(linked, false)
			linked, isLinked = arrays.next()
		default:
			w.entry(linked, false)
			linked, isLinked = arrays.next()
			met, isMet = objects.next()
		}
		w.report(arrays.takeError())
		w.report(objects.takeError())
	}
	w.report(arrays.takeError())
	w.report(objects.takeError())
	w.end()
}

// end says what is missing as a whole.
func (w *walk) end() {
	h := &w.j.Header
	if w.j.long {
		w.report(fmt.Errorf("only the first %d bytes are read: %w", maxSize, evidence.ErrUnsupported))
	} else if end := h.headerSize + h.arenaSize; end > w.j.r.size && end >= h.arenaSize {
		w.report(fmt.Errorf("the file ends at offset %#x, its header says %#x: %w", w.j.r.size, end, evidence.ErrCorrupt))
	}
	if !w.stopped && w.found < h.Entries {
		w.report(fmt.Errorf("the header counts %d entries, %d were found: %w", h.Entries, w.found, evidence.ErrCorrupt))
	}
	if more := w.errors - maxErrors; more > 0 && !w.stopped {
		w.yield(Entry{}, fmt.Errorf("%d more errors: %w", more, evidence.ErrCorrupt))
	}
}

// entry reads an entry and yields it.
func (w *walk) entry(off uint64, unlinked bool) {
	e, problem, err := w.j.entry(off, w.fields[:0])
	if cap(e.Fields) > cap(w.fields) {
		w.fields = e.Fields
	}
	switch {
	case unlinked && (errors.Is(err, evidence.ErrCorrupt) || err == nil && len(e.Fields) == 0):
		return // what only looks like an entry
	case err != nil:
		w.report(err)
		return
	}
	w.found++
	e.Unlinked = unlinked
	if w.report(problem) {
		w.stopped = !w.yield(e, nil)
	}
}
