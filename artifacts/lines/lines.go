// Package lines reads logs line by line, packed or not, whatever is in them.
//
// Input is hostile: a line is cut at a bound, what is unpacked is bounded, and
// zeros that a power cut left behind are passed over and said.
package lines

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"

	"lagan/evidence"
)

const (
	// MaxLine bounds a line: runtimes cut at 16 KiB, which is 96 KiB where JSON
	// escapes every byte of it.
	MaxLine = 1 << 20
	// minFill is how many zeros in the middle of a line are taken for a hole
	// that was never written. Fewer are the log's own.
	minFill = 32
	// maxSkipped ends a log in which a line never ends: a hole of any size may
	// follow what was written, and no line of a log is that long.
	maxSkipped = 1 << 30
	// readAhead is the size of reads.
	readAhead = 64 << 10
)

// Line is one line without its end. Text is valid until the next one is asked for.
type Line struct {
	Offset int64 // in the log, unpacked
	Text   []byte
	Cut    bool // it was longer than MaxLine: the rest is left out
}

// Read yields the lines of a log. An error that is yielded with a zero Line is
// of the place between two lines; after an error of reading nothing follows.
func Read(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		s := scanner{in: bufio.NewReaderSize(r, readAhead), yield: yield}
		for s.next() {
		}
	}
}

type scanner struct {
	in    *bufio.Reader
	off   int64
	buf   []byte
	yield func(Line, error) bool
}

// next reads and yields one line, and says whether to go on.
func (s *scanner) next() bool {
	start := s.off
	s.buf = s.buf[:0]
	cut := false
	var text []byte
	for {
		piece, err := s.in.ReadSlice('\n')
		s.off += int64(len(piece))
		if err == nil && len(s.buf) == 0 {
			return s.line(start, piece[:len(piece)-1], cut) // the common case, without a copy
		}
		if room := MaxLine - len(s.buf); len(piece) > room {
			// Zeros may be many gigabytes of a hole: they are counted, not kept.
			cut = cut || len(bytes.Trim(piece[room:], "\x00\n")) > 0
			piece = piece[:room]
		}
		s.buf = append(s.buf, piece...)
		text = s.buf
		switch err {
		case nil:
			return s.line(start, bytes.TrimSuffix(text, []byte{'\n'}), cut)
		case bufio.ErrBufferFull:
			if s.off-start <= maxSkipped {
				continue
			}
			err = fmt.Errorf("a line of more than %d GiB, the rest is left out: %w", maxSkipped>>30, evidence.ErrCorrupt)
		}
		if len(text) > 0 && !s.line(start, text, cut) {
			return false
		}
		if err != io.EOF {
			s.yield(Line{}, fmt.Errorf("reading at %#x: %w", s.off, err))
		}
		return false
	}
}

// line yields a line, without the carriage return at its end, and what lies
// between zeros as lines of their own.
func (s *scanner) line(off int64, text []byte, cut bool) bool {
	for {
		lead := len(text)
		text = bytes.TrimLeft(text, "\x00")
		lead -= len(text)
		if lead > 0 {
			if !s.yield(Line{}, fmt.Errorf("%d zeros at %#x, as a power cut leaves them: %w", lead, off, evidence.ErrCorrupt)) {
				return false
			}
			off += int64(lead)
			if len(text) == 0 {
				return true
			}
		}
		at := fill(text)
		if at < 0 {
			break
		}
		if !s.yield(Line{Offset: off, Text: text[:at]}, nil) {
			return false
		}
		off += int64(at)
		text = text[at:]
	}
	text = bytes.TrimSuffix(text, []byte{'\r'})
	return s.yield(Line{Offset: off, Text: text, Cut: cut}, nil)
}

var zeros = make([]byte, minFill)

// fill finds zeros that were never written, -1 where there are none.
func fill(text []byte) int {
	if bytes.IndexByte(text, 0) < 0 {
		return -1
	}
	if at := bytes.Index(text, zeros); at >= 0 {
		return at
	}
	if rest := bytes.TrimRight(text, "\x00"); len(rest) < len(text) {
		return len(rest) // at the end of a line, they are never the log's own
	}
	return -1
}
