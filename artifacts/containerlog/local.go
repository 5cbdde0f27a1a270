package containerlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"lagan/evidence"
)

// Facts of the local driver: moby daemon/logger/local/local.go and
// daemon/logger/internal/logdriver/entry.proto.
const (
	lengthSize = 4 // big-endian, before and after a record
	// maxRecord bounds a record: Docker cuts lines at 16 KiB; attributes come on top.
	maxRecord = 1 << 20
	// maxSkipped bounds the search for the next record: a hole may be of any size.
	maxSkipped = 256 << 20

	fieldSource   = 1 // of LogEntry
	fieldTimeNano = 2
	fieldLine     = 3
	fieldPartial  = 4
	fieldMetadata = 5
	fieldLast     = 1 // of PartialLogEntryMetadata

	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// Local reads the log of Docker's local driver, which Docker also keeps beside
// remote ones (container-cached.log): records of protobuf between two lengths.
// Where the lengths don't agree, the next place is looked for where they do.
func Local(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		in := bufio.NewReaderSize(r, maxRecord+2*lengthSize)
		var off int64
		for {
			e, size, err := record(in, off)
			if err == io.EOF {
				return
			}
			if err == nil && size > 0 {
				if !yield(e, nil) {
					return
				}
				in.Discard(size)
				off += int64(size)
				continue
			}
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				yield(Entry{}, err)
				return
			}
			skipped, end := resync(in, off)
			if err == nil {
				err = fmt.Errorf("no record: %w", evidence.ErrCorrupt)
			}
			if !yield(Entry{}, fmt.Errorf("%d bytes at %#x are left out: %w", skipped, off, err)) || end {
				return
			}
			off += skipped
		}
	}
}

// record reads the record that begins here, without passing it, and returns
// how many bytes it has with its two lengths.
func record(in *bufio.Reader, off int64) (Entry, int, error) {
	head, err := in.Peek(lengthSize)
	if len(head) == 0 {
		if err == nil || err == io.EOF {
			return Entry{}, 0, io.EOF
		}
		return Entry{}, 0, fmt.Errorf("reading at %#x: %w", off, err)
	}
	if len(head) < lengthSize {
		return Entry{}, 0, fmt.Errorf("the end of a record is missing: %w", evidence.ErrCorrupt)
	}
	n := binary.BigEndian.Uint32(head)
	if n == 0 || n > maxRecord {
		return Entry{}, 0, fmt.Errorf("a length of %d: %w", n, evidence.ErrCorrupt)
	}
	whole, _ := in.Peek(int(n) + 2*lengthSize)
	if len(whole) < int(n)+2*lengthSize {
		return Entry{}, 0, fmt.Errorf("the end of a record is missing: %w", evidence.ErrCorrupt)
	}
	if again := binary.BigEndian.Uint32(whole[lengthSize+n:]); again != n {
		return Entry{}, 0, fmt.Errorf("lengths %d and %d: %w", n, again, evidence.ErrCorrupt)
	}
	e, ok := entry(whole[lengthSize : lengthSize+n])
	if !ok {
		return Entry{}, 0, fmt.Errorf("not a LogEntry: %w", evidence.ErrCorrupt)
	}
	e.Offset = off
	return e, len(whole), nil
}

// resync passes bytes up to where a record begins, and says whether the log ends before.
func resync(in *bufio.Reader, off int64) (skipped int64, end bool) {
	for {
		if n, _ := in.Discard(1); n == 0 {
			return skipped, true
		}
		if skipped++; skipped > maxSkipped {
			return skipped, true
		}
		// The first byte of a length is 0: nothing else is worth a look.
		if b, _ := in.Peek(lengthSize); len(b) < lengthSize {
			n, _ := in.Discard(len(b))
			return skipped + int64(n), true
		} else if b[0] != 0 || b[1] == 0 && b[2] == 0 && b[3] == 0 {
			continue
		}
		if _, size, err := record(in, off+skipped); err == nil && size > 0 {
			return skipped, false
		}
	}
}

// entry decodes a LogEntry.
func entry(b []byte) (e Entry, ok bool) {
	var timed, partial, last bool
	for len(b) > 0 {
		field, wire, value, rest, ok := protoField(b)
		if !ok {
			return Entry{}, false
		}
		switch {
		case field == fieldSource && wire == wireBytes:
			e.Source = source(value.bytes)
		case field == fieldTimeNano && wire == wireVarint:
			e.Time, timed = time.Unix(0, int64(value.num)).UTC(), true
		case field == fieldLine && wire == wireBytes:
			e.Text = value.bytes
		case field == fieldPartial && wire == wireVarint:
			partial = value.num != 0
		case field == fieldMetadata && wire == wireBytes:
			last = isLast(value.bytes)
		}
		b = rest
	}
	e.More = partial && !last
	return e, timed
}

func isLast(b []byte) bool {
	for len(b) > 0 {
		field, wire, value, rest, ok := protoField(b)
		if !ok {
			return false
		}
		if field == fieldLast && wire == wireVarint {
			return value.num != 0
		}
		b = rest
	}
	return false
}

type protoValue struct {
	num   uint64
	bytes []byte
}

// protoField reads one field of a protobuf message.
func protoField(b []byte) (field uint64, wire byte, v protoValue, rest []byte, ok bool) {
	key, n := binary.Uvarint(b)
	if n <= 0 {
		return
	}
	b = b[n:]
	field, wire = key>>3, byte(key&7)
	switch wire {
	case wireVarint, wireBytes:
		if v.num, n = binary.Uvarint(b); n <= 0 {
			return
		}
		b = b[n:]
		if wire == wireBytes {
			if v.num > uint64(len(b)) {
				return
			}
			v.bytes, b = b[:v.num], b[v.num:]
		}
	case wire64, wire32:
		size := 8
		if wire == wire32 {
			size = 4
		}
		if len(b) < size {
			return
		}
		b = b[size:]
	default:
		return
	}
	return field, wire, v, b, field != 0
}
