// Package fail2ban reads fail2ban.log: which addresses failed to log in, and when
// each was banned and let in again. The form of a line is that of fail2ban's
// server/server.py (setLogTarget), what is said of an address that of
// server/filter.py and server/actions.py:
//
//	2026-10-01 12:00:00,123 fail2ban.actions        [812]: NOTICE  [sshd] Ban 203.0.113.7
//
// Versions before 0.9 have no process id. Input is hostile: lines are bounded,
// and what doesn't look as one is what the one before it goes on with (a
// traceback) and is passed over.
package fail2ban

import (
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/artifacts/stamp"
	"lagan/evidence"
)

// Entry is one line. What it doesn't say is empty.
type Entry struct {
	Offset   int64
	Time     time.Time
	Part     string // of fail2ban: "actions", "filter", "jail" ...
	PID      int
	Severity string
	Jail     string
	Action   string // "Found", "Ban", "Unban" ... of an address
	IP       netip.Addr
	Text     string // the message, with the jail
}

// Read yields the entries of a log, whose times are in zone.
func Read(r io.Reader, zone *time.Location) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		first := true
		for l, err := range lines.Read(r) {
			var e Entry
			if err == nil {
				var ok bool
				if e, ok = parse(string(l.Text), zone); !ok {
					if !first || strings.TrimSpace(string(l.Text)) == "" {
						continue
					}
					err = fmt.Errorf("line at %#x is none of fail2ban's: %w", l.Offset, evidence.ErrFormat)
				}
				e.Offset = l.Offset
			}
			first = false
			if !yield(e, err) {
				return
			}
		}
	}
}

// parse takes a line apart.
func parse(line string, zone *time.Location) (e Entry, ok bool) {
	s, rest, ok := stamp.Parse([]byte(line))
	if !ok || s.Year == 0 {
		return e, false
	}
	e.Time = s.Time(0, zone)
	head, text, _ := strings.Cut(strings.TrimSpace(string(rest)), ": ")
	name, pid, _ := strings.Cut(strings.TrimSuffix(head, "]"), "[")
	if name, ok = strings.CutPrefix(strings.TrimSpace(name), "fail2ban"); !ok {
		return e, false
	}
	e.Part = strings.TrimPrefix(name, ".")
	e.PID, _ = strconv.Atoi(pid) // 0 where there is none
	e.Severity, e.Text, _ = strings.Cut(text, " ")
	e.Text = strings.TrimSpace(e.Text)
	if jail, said, ok := strings.Cut(strings.TrimPrefix(e.Text, "["), "] "); ok && strings.HasPrefix(e.Text, "[") {
		e.Jail = jail
		e.address(said)
	}
	return e, true
}

// actions are what is said before an address, the longest of a beginning first.
var actions = []string{"Increase Ban", "Restore Ban", "Found", "Unban", "Ban", "Ignore"}

// address reads what a jail says of an address, if that is what it says.
func (e *Entry) address(said string) {
	for _, a := range actions {
		rest, ok := strings.CutPrefix(said, a+" ")
		if !ok {
			continue
		}
		word, _, _ := strings.Cut(rest, " ")
		if ip, err := netip.ParseAddr(word); err == nil {
			e.Action, e.IP = a, ip.WithZone("")
		}
		return
	}
	if word, ok := strings.CutSuffix(said, " already banned"); ok {
		if ip, err := netip.ParseAddr(word); err == nil {
			e.Action, e.IP = "already banned", ip.WithZone("")
		}
	}
}
