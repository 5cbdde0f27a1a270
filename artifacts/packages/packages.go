// Package packages reads the logs of package managers: dpkg's, APT's history,
// and those of yum and DNF. Input is hostile: lines and entries are bounded.
package packages

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/artifacts/stamp"
	"lagan/evidence"
)

// Entry is one line, or what one run of APT did to packages.
type Entry struct {
	Time, End time.Time // End only of APT's
	Yearless  bool
	Zoneless  bool
	Severity  string
	Text      string
	Offset    int64

	// Of APT's history.
	Command     string // Install, Upgrade, Remove, ...
	Packages    string
	CommandLine string
	Requester   string
	Comment     string
	Error       string
}

// Options say how times are completed.
type Options struct {
	Zone  *time.Location // nil: UTC
	Years stamp.Years    // begun
}

// Survey reads a log once to find how many years its lines cover.
func Survey(r io.Reader) stamp.Years {
	var y stamp.Years
	for l, err := range lines.Read(r) {
		if err != nil {
			continue
		}
		if s, _, ok := stamp.Parse(l.Text); ok {
			y.Note(s)
		}
	}
	return y
}

// maxContinued bounds the lines that are added to an entry.
const maxContinued = 256 << 10

// Lines reads the logs with an entry a line: dpkg.log, yum.log, dnf.log,
// dnf.rpm.log. A line without a time goes on with the one before it.
func Lines(r io.Reader, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var e Entry
		have := false
		flush := func() bool {
			if !have {
				return true
			}
			have = false
			return yield(e, nil)
		}
		for l, err := range lines.Read(r) {
			if err != nil {
				if !flush() || !yield(Entry{}, err) {
					return
				}
				continue
			}
			s, rest, ok := stamp.Parse(l.Text)
			switch {
			case ok:
				if !flush() {
					return
				}
				e = Entry{Time: s.Time(o.Years.Next(s), o.zone()), Yearless: s.Year == 0, Zoneless: !s.Zoned, Offset: l.Offset}
				e.Severity, e.Text = severity(string(bytes.TrimSpace(rest)))
				have = true
			case have && len(e.Text)+len(l.Text) < maxContinued:
				e.Text += "\n" + string(l.Text)
			case len(bytes.TrimSpace(l.Text)) > 0:
				if !flush() || !yield(Entry{}, fmt.Errorf("line at %#x has no time: %w", l.Offset, evidence.ErrCorrupt)) {
					return
				}
			}
		}
		flush()
	}
}

func (o *Options) zone() *time.Location {
	if o.Zone == nil {
		return time.UTC
	}
	return o.Zone
}

// severity takes the level off the front of a line of DNF's.
func severity(s string) (level, text string) {
	word, rest, ok := strings.Cut(s, " ")
	switch word {
	case "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "DDEBUG", "SUBDEBUG", "TRACE", "ALL":
		if ok {
			return word, strings.TrimSpace(rest)
		}
	}
	return "", s
}

// AptHistory reads APT's history.log: stanzas of "Key: value" lines between
// empty ones. What a run did is an entry for each of Install, Upgrade, Remove
// and so on, and one if it did nothing.
func AptHistory(r io.Reader, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		a := apt{o: o, yield: yield}
		for l, err := range lines.Read(r) {
			if err != nil {
				if !a.flush() || !yield(Entry{}, err) {
					return
				}
				continue
			}
			if !a.line(l) {
				return
			}
		}
		a.flush()
	}
}

type apt struct {
	o     Options
	yield func(Entry, error) bool
	have  bool
	e     Entry
	did   []action
}

type action struct{ command, packages string }

// maxActions bounds the actions of one run; APT knows eight.
const maxActions = 64

func (a *apt) line(l lines.Line) bool {
	if len(bytes.TrimSpace(l.Text)) == 0 {
		return a.flush()
	}
	key, value, ok := strings.Cut(string(l.Text), ": ")
	if !ok {
		return a.yield(Entry{}, fmt.Errorf("line at %#x: no key: %w", l.Offset, evidence.ErrCorrupt))
	}
	if key == "Start-Date" && !a.flush() {
		return false
	}
	if !a.have {
		a.have = true
		a.e = Entry{Offset: l.Offset, Zoneless: true}
	}
	switch key {
	case "Start-Date", "End-Date":
		s, _, ok := stamp.Parse([]byte(value))
		if !ok || s.Year == 0 {
			return a.yield(Entry{}, fmt.Errorf("line at %#x: %.40q is no time: %w", l.Offset, value, evidence.ErrCorrupt))
		}
		if at := s.Time(0, a.o.zone()); key == "Start-Date" {
			a.e.Time = at
		} else {
			a.e.End = at
		}
	case "Commandline":
		a.e.CommandLine = value
	case "Requested-By":
		a.e.Requester = value
	case "Comment":
		a.e.Comment = value
	case "Error":
		a.e.Error = value
	default:
		if len(a.did) < maxActions {
			a.did = append(a.did, action{key, value})
		}
	}
	return true
}

func (a *apt) flush() bool {
	if !a.have {
		return true
	}
	a.have = false
	did := a.did
	a.did = a.did[:0]
	if len(did) == 0 {
		did = []action{{}}
	}
	for _, d := range did {
		e := a.e
		e.Command, e.Packages = d.command, d.packages
		if d.command != "" {
			e.Text = d.command + ": " + d.packages
		} else {
			e.Text = "Commandline: " + e.CommandLine
		}
		if !a.yield(e, nil) {
			return false
		}
	}
	return true
}
