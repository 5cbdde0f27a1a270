// Package audit reads the log of auditd, /var/log/audit/audit.log, raw and
// enriched. It puts the records of one event together by time and serial
// number, and decodes what auditd writes in hexadecimal.
//
// The format is that of the kernel's kernel/audit.c (audit_log_n_untrustedstring,
// audit_log_n_hex) and auditd's src/auditd-event.c; which fields are encoded is
// in audit-userspace's auparse/typetab.h.
//
// Input is hostile: lines, fields, records of an event and events that wait for
// more records are bounded.
package audit

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// Field is one field of a record, decoded. Names of what auditd adds in
// enriched logs are upper-case.
type Field struct{ Name, Value string }

// Record is one line.
type Record struct {
	Type   string
	Text   string // what follows the time, with encoded values decoded
	Fields []Field
}

// Get returns a field's first value that says something.
func (r *Record) Get(name string) string {
	for i := range r.Fields {
		if f := &r.Fields[i]; f.Name == name && says(f.Value) {
			return f.Value
		}
	}
	return ""
}

func says(value string) bool {
	switch value {
	case "", "?", "(null)", "(none)", "(unset)":
		return false
	}
	return true
}

// Event is what the kernel or a program told at one time under one number.
type Event struct {
	Time    time.Time
	Serial  uint64
	Node    string // "" where auditd was not told to name it
	Offset  int64  // of its first line, unpacked
	Records []Record

	ended bool
}

const (
	// maxFields bounds those of one record: an EXECVE has one an argument, and
	// the kernel starts a new record after 7,500 bytes (MAX_EXECVE_AUDIT_LEN).
	maxFields = 4096
	// maxRecords bounds those of one event.
	maxRecords = 512
	// maxWaiting bounds the events that wait for more records. ausearch gives
	// an event up after two seconds of the log's time.
	maxWaiting = 64
	maxWait    = 2 * time.Second
)

// Read yields the events of a log. A line that is no record yields an error.
func Read(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		j := joiner{yield: yield}
		for l, err := range lines.Read(r) {
			if err == nil {
				err = j.line(&l)
			}
			if err != nil && !j.stopped {
				j.stopped = !yield(Event{}, err)
			}
			if j.stopped {
				return
			}
		}
		for len(j.waiting) > 0 && !j.stopped {
			j.hand(0)
		}
	}
}

// joiner puts records together. Those of events on several processors mix.
type joiner struct {
	waiting []*Event // the oldest first
	yield   func(Event, error) bool
	stopped bool
}

func (j *joiner) line(l *lines.Line) error {
	text := bytes.TrimRight(l.Text, " \r")
	if len(text) == 0 {
		return nil
	}
	e, rec, ok := parse(text)
	if !ok {
		return fmt.Errorf("line at offset %#x is no audit record: %w", l.Offset, evidence.ErrCorrupt)
	}
	e.Offset = l.Offset
	for len(j.waiting) > 0 && !j.stopped && (len(j.waiting) >= maxWaiting || e.Time.Sub(j.waiting[0].Time) > maxWait) {
		j.hand(0)
	}
	for i, w := range j.waiting {
		if w.Serial == e.Serial && w.Time.Equal(e.Time) && w.Node == e.Node && len(w.Records) < maxRecords && !w.ended {
			if rec.Type == "EOE" {
				j.hand(i)
				return nil
			}
			w.Records = append(w.Records, rec)
			return nil
		}
	}
	if rec.Type == "EOE" {
		return nil // of an event before the log begins
	}
	e.Records = []Record{rec}
	j.waiting = append(j.waiting, &e)
	return nil
}

// hand yields an event that waits.
func (j *joiner) hand(i int) {
	e := j.waiting[i]
	j.waiting = append(j.waiting[:i], j.waiting[i+1:]...)
	j.stopped = !j.yield(*e, nil)
}

// parse reads [node=NODE ]type=TYPE msg=audit(SECONDS.MILLISECONDS:SERIAL): TEXT.
func parse(b []byte) (e Event, rec Record, ok bool) {
	if rest, ok := bytes.CutPrefix(b, []byte("node=")); ok {
		name, rest, _ := bytes.Cut(rest, []byte{' '})
		e.Node, b = string(name), rest
	}
	b, ok = bytes.CutPrefix(b, []byte("type="))
	if !ok {
		return e, rec, false
	}
	typ, b, ok := bytes.Cut(b, []byte(" msg=audit("))
	if !ok || len(typ) == 0 || len(typ) > 64 || bytes.IndexByte(typ, ' ') >= 0 {
		return e, rec, false
	}
	stamp, text, ok := bytes.Cut(b, []byte("):"))
	if !ok || len(stamp) > 64 {
		return e, rec, false
	}
	if e.Time, e.Serial, ok = parseStamp(string(stamp)); !ok {
		return e, rec, false
	}
	rec.Type = string(typ)
	rec.read(bytes.TrimLeft(text, " "))
	return e, rec, true
}

func parseStamp(s string) (t time.Time, serial uint64, ok bool) {
	clock, number, ok := strings.Cut(s, ":")
	seconds, fraction, dot := strings.Cut(clock, ".")
	if !ok || !dot || len(fraction) == 0 || len(fraction) > 9 {
		return t, 0, false
	}
	serial, err1 := strconv.ParseUint(number, 10, 64)
	sec, err2 := strconv.ParseInt(seconds, 10, 48)
	frac, err3 := strconv.ParseUint(fraction, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || sec < 0 {
		return t, 0, false
	}
	for range 9 - len(fraction) {
		frac *= 10
	}
	return time.Unix(sec, int64(frac)).UTC(), serial, true
}
