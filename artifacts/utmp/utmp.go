// Package utmp reads the records of logins: utmp, wtmp and btmp, and lastlog.
// Their form is the C library's and differs between machines: it is told from
// the records themselves. Input is hostile: records are of fixed size, and one
// that makes no sense is an error in its place.
package utmp

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"time"

	"lagan/evidence"
)

// Entry is one record.
type Entry struct {
	Type        int
	PID         int
	Terminal    string // ut_line
	ID          string // ut_id
	User        string
	Host        string
	Termination int
	Exit        int
	Session     int64
	Time        time.Time // zero: the record has none
	IP          netip.Addr
	Offset      int64
}

// TypeName returns the constant's name of ut_type.
func (e *Entry) TypeName() string {
	if e.Type >= 0 && e.Type < len(typeNames) {
		return typeNames[e.Type]
	}
	return fmt.Sprint(e.Type)
}

// TerminalNumber returns ut_id as plaso gives it, a little-endian number.
func (e *Entry) TerminalNumber() uint32 {
	var n uint32
	for i := len(e.ID) - 1; i >= 0; i-- {
		n = n<<8 | uint32(e.ID[i])
	}
	return n
}

const (
	// judged is how much of a file decides its layout.
	judged = 64 << 10
	// maxSecond is the end of the times that make sense: the year 2200.
	maxSecond = 7_258_118_400
	// maxBad ends a file that is something else.
	maxBad = 1000
)

// Read yields the records of utmp, wtmp or btmp.
func Read(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		head := make([]byte, judged)
		n, err := io.ReadFull(r, head)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			yield(Entry{}, err)
			return
		}
		head = head[:n]
		l := judge(head)
		in := io.MultiReader(bytes.NewReader(head), r)
		b := make([]byte, l.size)
		bad := 0
		for off := int64(0); ; off += int64(l.size) {
			n, err := io.ReadFull(in, b)
			if err == io.EOF {
				return
			}
			if err == io.ErrUnexpectedEOF {
				err = fmt.Errorf("record at %#x: only %d of %d bytes: %w", off, n, l.size, evidence.ErrCorrupt)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			e, err := l.decode(b, off)
			if !yield(e, err) {
				return
			}
			if err != nil {
				if bad++; bad == maxBad {
					yield(Entry{}, fmt.Errorf("the rest from %#x on is left out: %w", off, evidence.ErrCorrupt))
					return
				}
			}
		}
	}
}

// judge finds the layout in which the most records make sense.
func judge(head []byte) layout {
	best, most := layouts[0], -1.0
	for _, l := range layouts {
		good, count := 0, 0
		for b := head; len(b) >= l.size; b = b[l.size:] {
			count++
			if e, err := l.decode(b[:l.size], 0); err == nil && (e.Type != Empty || !e.Time.IsZero()) {
				good++
			}
		}
		if count == 0 {
			continue
		}
		if share := float64(good) / float64(count); share > most {
			best, most = l, share
		}
	}
	return best
}

// decode reads one record. One that can't be of struct utmp is an error.
func (l *layout) decode(b []byte, off int64) (Entry, error) {
	e := Entry{
		Type: int(int16(l.order.Uint16(b[offType:]))), PID: int(int32(l.order.Uint32(b[offPID:]))),
		Terminal: text(b[offLine : offLine+lenLine]), ID: text(b[offID : offID+lenID]),
		User: text(b[offUser : offUser+lenUser]), Host: text(b[offHost : offHost+lenHost]),
		Termination: int(int16(l.order.Uint16(b[offExit:]))), Exit: int(int16(l.order.Uint16(b[offExit+2:]))), Offset: off,
	}
	rest := b[offRest:]
	number := func(size int) int64 {
		v := int64(l.order.Uint32(rest)) // 32-bit seconds are read unsigned: they last until 2106
		if size == 8 {
			v = int64(l.order.Uint64(rest))
		}
		rest = rest[size:]
		return v
	}
	e.Session = number(l.session)
	sec, usec := number(l.seconds), number(l.seconds)
	e.IP = address(rest[:lenAddr])
	switch {
	case e.Type < Empty || e.Type > Accounting:
		return Entry{}, fmt.Errorf("record at %#x: type %d: %w", off, e.Type, evidence.ErrCorrupt)
	case sec < 0 || sec > maxSecond || usec < 0 || usec >= 1e6:
		return Entry{}, fmt.Errorf("record at %#x: time %d.%06d: %w", off, sec, usec, evidence.ErrCorrupt)
	case e.PID < 0:
		return Entry{}, fmt.Errorf("record at %#x: pid %d: %w", off, e.PID, evidence.ErrCorrupt)
	}
	if sec != 0 || usec != 0 {
		e.Time = time.Unix(sec, usec*1000).UTC()
	}
	return e, nil
}

// text returns what a field holds before its first NUL.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// address reads ut_addr_v6: an IPv4 address is in the first four bytes alone.
func address(b []byte) netip.Addr {
	switch {
	case len(bytes.Trim(b, "\x00")) == 0:
		return netip.Addr{}
	case len(bytes.Trim(b[4:], "\x00")) == 0:
		return netip.AddrFrom4([4]byte(b))
	}
	return netip.AddrFrom16([16]byte(b)).Unmap()
}
