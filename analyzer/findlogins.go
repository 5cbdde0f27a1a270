package analyzer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lagan/findings"
	"lagan/timeline"
)

// loginFinder remembers who came from where.
type loginFinder struct {
	attempts []attempt
	failed   map[string]*failures // by address
}

// attempt is one login that was let in.
type attempt struct {
	at         time.Time
	user, from string
	evidence   findings.Evidence
	said       string
}

// failures are the attempts of one address that failed.
type failures struct {
	times   []time.Time
	users   map[string]bool
	unknown bool // a user that doesn't exist was asked for
}

// Bounds on what is remembered: a server on the Internet is tried by many.
const (
	maxAttempts  = 200_000
	maxAddresses = 100_000
	maxFailures  = 1000
)

func (l *loginFinder) record(f *finder, r *timeline.Record) {
	x := &f.lines.x
	ok := false
	result := strings.ToLower(x.Text(timeline.FieldAuthenticationResult))
	switch r.Kind() {
	case timeline.SyslogSSHLogin:
		ok = true
	case timeline.SyslogSSHFailedConnection:
	case timeline.Utmp:
		kind := x.Text(timeline.FieldLoginType)
		if kind != "USER_PROCESS" && kind != "LASTLOG" && result != "failure" {
			return
		}
		ok = result != "failure"
	case timeline.SyslogLine, timeline.SystemdJournal, timeline.SELinuxLine:
		if result == "" || r.Kind() == timeline.SELinuxLine && x.Text(timeline.FieldAuditType) != "USER_LOGIN" {
			return
		}
		ok = result == "success" || result == "accepted"
	default:
		return
	}
	from, user := x.Text(timeline.FieldIPAddress), x.Text(timeline.FieldUsername)
	address, err := netip.ParseAddr(from)
	if err != nil || address.IsUnspecified() || address.IsLoopback() {
		return
	}
	from = address.Unmap().WithZone("").String()
	e := f.lineEvidence("login")
	if ok {
		if len(l.attempts) < maxAttempts {
			l.attempts = append(l.attempts, attempt{e.Time, user, from, e, x.Message()})
		}
		return
	}
	if l.failed == nil {
		l.failed = make(map[string]*failures)
	}
	b := l.failed[from]
	if b == nil {
		if len(l.failed) >= maxAddresses {
			return
		}
		b = &failures{users: make(map[string]bool)}
		l.failed[from] = b
	}
	if len(b.times) < maxFailures {
		b.times = append(b.times, e.Time)
		b.users[user] = true
	}
	body := x.Text(timeline.FieldMessageBody)
	b.unknown = b.unknown || strings.HasPrefix(body, "Invalid user") || strings.Contains(body, "invalid user")
}

const (
	manyFailures = 5              // of one address, which nobody mistypes
	recently     = 24 * time.Hour // before the login
)

// finish tells the logins that came after failures or from elsewhere than before.
func (l *loginFinder) finish(f *finder) {
	slices.SortStableFunc(l.attempts, func(a, b attempt) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.from, b.from), strings.Compare(a.user, b.user), strings.Compare(a.evidence.Place, b.evidence.Place))
	})
	seen := make(map[string]map[string]bool) // by user, the addresses
	for i := range l.attempts {
		a := &l.attempts[i]
		if b := l.failed[a.from]; b != nil {
			if n := b.before(a.at); n >= manyFailures || n > 0 && (b.unknown || len(b.users) > 2) {
				e := a.evidence
				e.Field, e.Value = "ip_address", fmt.Sprintf("%s was let in as %s after %d failed attempts: %s", a.from, a.user, n, a.said)
				f.computed("login-after-failures", e)
			}
		}
		known := seen[a.user]
		if known == nil {
			known = make(map[string]bool)
			seen[a.user] = known
		}
		if !known[a.from] && len(known) > 0 && public(a.from) && !near(known, a.from) {
			e := a.evidence
			e.Field, e.Value = "ip_address", fmt.Sprintf("%s came from %s for the first time: %s", a.user, a.from, a.said)
			f.computed("login-new-address", e)
		}
		known[a.from] = true
	}
}

func (b *failures) before(at time.Time) int {
	n := 0
	for _, t := range b.times {
		if !t.After(at) && at.Sub(t) < recently {
			n++
		}
	}
	return n
}

// public says whether an address may be one of the Internet's.
func public(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !shared.Contains(a)
}

// shared is the range of carriers' and clouds' translators: RFC 6598.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// near says whether an address is of the same network as one that is known.
func near(known map[string]bool, s string) bool {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return false
	}
	bits := 24
	if a.Is6() {
		bits = 56
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return false
	}
	for k := range known {
		if b, err := netip.ParseAddr(k); err == nil && p.Contains(b) {
			return true
		}
	}
	return false
}
