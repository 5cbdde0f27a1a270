// Package syslog reads the text logs of a node's system: what syslog daemons
// write in the forms of RFC 3164, RFC 5424 and with ISO times, and the logs of
// cloud-init, the kubelet, containerd and dockerd, which have times of the same
// kinds. Of sshd, sudo, cron and PAM it understands what they say.
//
// A time without a year gets it from a first pass over the file (Survey). Input
// is hostile: lines are bounded, and what a line can't tell is left out.
package syslog

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"lagan/artifacts/lines"
	"lagan/artifacts/stamp"
	"lagan/evidence"
)

// Kind says what is known of an entry.
type Kind uint8

// The kinds of entries.
const (
	Line Kind = iota
	CronTask
	SSHLogin
	SSHFailed
	SSHOpened
)

// Entry is one message. Its strings are empty where the line doesn't say.
type Entry struct {
	Kind     Kind
	Time     time.Time
	Yearless bool // the year is inferred
	Zoneless bool // the zone is the one that Read was told
	Host     string
	Reporter string // the program, RFC 3164's tag
	PID      int    // 0: none
	Facility string
	Severity string
	ID       string // RFC 5424's MSGID
	Text     string // the message, with the lines that go on with it
	Offset   int64  // of its line, unpacked

	// What sshd, sudo, cron and PAM tell.
	Username    string
	IP          string
	Port        string
	Method      string // password, publickey, ...
	Result      string // success, failure
	Fingerprint string // SHA256:... or hex, without the kind of key
	Command     string
	Terminal    string
	Directory   string
}

// Options say how times are completed.
type Options struct {
	Zone  *time.Location // nil: UTC
	Years stamp.Years    // as Survey returned it, begun
}

const (
	// maxContinued bounds the lines that are added to a message.
	maxContinued = 64 << 10
	// maxPrefix bounds what is looked through for a program's name.
	maxPrefix = 256
)

// Survey reads a log once to find how many years its lines cover.
func Survey(r io.Reader) stamp.Years {
	var y stamp.Years
	for l, err := range lines.Read(r) {
		if err != nil {
			continue // Read says so
		}
		if h, ok := header(l.Text); ok {
			y.Note(h.stamp)
		}
	}
	return y
}

// Read yields the messages of a log. A line without a time goes on with the
// message before it.
func Read(r io.Reader, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if o.Zone == nil {
			o.Zone = time.UTC
		}
		s := reader{o: o, yield: yield}
		for l, err := range lines.Read(r) {
			if !s.line(l, err) {
				return
			}
		}
		if s.lost() {
			s.flush()
		}
	}
}

type reader struct {
	o       Options
	yield   func(Entry, error) bool
	have    bool // entry is waiting for lines that go on with it
	e       Entry
	more    []byte
	undated int // lines before the first time
	from    int64
}

func (s *reader) line(l lines.Line, err error) bool {
	if err != nil {
		return s.flush() && s.yield(Entry{}, err)
	}
	if len(bytes.TrimSpace(l.Text)) == 0 {
		return true
	}
	h, ok := header(l.Text)
	if !ok {
		return s.goOn(l)
	}
	if !s.lost() || !s.flush() {
		return false
	}
	year := s.o.Years.Next(h.stamp)
	s.e = Entry{Time: h.stamp.Time(year, s.o.Zone), Yearless: h.stamp.Year == 0, Zoneless: !h.stamp.Zoned, Offset: l.Offset}
	h.fill(&s.e)
	s.have = true
	return true
}

// goOn takes a line without a time.
func (s *reader) goOn(l lines.Line) bool {
	switch {
	case misdated(l.Text):
		return s.flush() && s.yield(Entry{}, fmt.Errorf("line at %#x: %q: no such month: %w", l.Offset, l.Text[:min(len(l.Text), 15)], evidence.ErrCorrupt))
	case !s.have:
		if s.undated++; s.undated == 1 {
			s.from = l.Offset
		}
	case len(s.more)+len(l.Text) < maxContinued:
		s.more = append(append(s.more, '\n'), l.Text...)
	}
	return true
}

// misdated says whether a line begins as one of RFC 3164 does but for the month's name.
func misdated(b []byte) bool {
	if len(b) < len("Jan  2 15:04:05") || b[3] != ' ' || b[0] == ' ' {
		return false
	}
	_, _, ok := stamp.Parse(append([]byte("Jan"), b[3:len("Jan  2 15:04:05")]...))
	return ok
}

// lost tells of the lines that have no time before the first that has one.
func (s *reader) lost() bool {
	if s.undated == 0 {
		return true
	}
	n := s.undated
	s.undated = 0
	return s.yield(Entry{}, fmt.Errorf("%d lines from %#x on have no time: %w", n, s.from, evidence.ErrFormat))
}

// flush yields the entry that waits.
func (s *reader) flush() bool {
	if !s.have {
		return true
	}
	s.have = false
	if len(s.more) > 0 {
		s.e.Text += string(s.more)
		s.more = s.more[:0]
	}
	understand(&s.e)
	return s.yield(s.e, nil)
}

// head is the front of a line.
type head struct {
	stamp    stamp.Stamp
	priority int // -1: none
	form     form
	severity string
	rest     []byte
}

type form uint8

const (
	bsd  form = iota // HOST TAG[PID]: TEXT, after a time of RFC 3164
	iso              // the same after an ISO time; ChromeOS has the severity in HOST's place
	v1               // RFC 5424
	klog             // THREAD FILE:LINE] TEXT
	kv               // time="..." level=... msg="..."
	bare             // - FILE[LEVEL]: TEXT (Python's logging), and other programs' own
)

// header finds the time of a line and the form of what follows.
func header(b []byte) (head, bool) {
	h := head{priority: -1}
	if len(b) > 0 && b[0] == '<' {
		if end := bytes.IndexByte(b[:min(len(b), 5)], '>'); end > 1 {
			if p, err := strconv.Atoi(string(b[1:end])); err == nil && p <= 191 {
				h.priority, b = p, b[end+1:]
			}
		}
		if after, ok := bytes.CutPrefix(b, []byte("1 ")); ok && h.priority >= 0 {
			h.form, b = v1, after
		}
	}
	var ok bool
	if after, quoted := bytes.CutPrefix(b, []byte(`time="`)); quoted {
		if h.stamp, h.rest, ok = stamp.Parse(after); ok {
			h.form = kv
			h.rest = bytes.TrimPrefix(h.rest, []byte{'"'})
		}
		return h, ok
	}
	var level byte
	if h.stamp, level, h.rest, ok = stamp.Klog(b); ok {
		h.form = klog
		h.severity = map[byte]string{'I': "INFO", 'W': "WARNING", 'E': "ERROR", 'F': "FATAL"}[level]
		return h, true
	}
	if h.stamp, h.rest, ok = stamp.Parse(b); !ok || len(h.rest) > 0 && h.rest[0] != ' ' && h.rest[0] != ':' {
		return h, false
	}
	if h.form != v1 && h.stamp.Year != 0 {
		h.form = iso
		if b[10] == ' ' {
			h.form = bare
		}
	}
	return h, true
}
