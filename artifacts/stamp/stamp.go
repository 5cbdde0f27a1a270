// Package stamp reads the times that lines of logs begin with, and finds the
// year of those that have none.
//
// Lines are hostile: what is no time is said to be none, and nothing panics.
package stamp

import (
	"bytes"
	"time"
)

// Stamp is a time as a line gives it.
type Stamp struct {
	Year                int // 0: the line has none
	Month               time.Month
	Day, Hour, Min, Sec int
	Nsec                int
	Zoned               bool // Offset is given
	Offset              int  // seconds east of UTC
}

// Time returns the instant: year is for a stamp without one, zone for one
// without a zone. A 29 February in a year without one is 1 March.
func (s Stamp) Time(year int, zone *time.Location) time.Time {
	if s.Year != 0 {
		year = s.Year
	}
	if s.Zoned {
		return time.Date(year, s.Month, s.Day, s.Hour, s.Min, s.Sec, s.Nsec, time.UTC).Add(-time.Duration(s.Offset) * time.Second)
	}
	return time.Date(year, s.Month, s.Day, s.Hour, s.Min, s.Sec, s.Nsec, zone).UTC()
}

// Parse reads the stamp that a line begins with, in one of the forms
//
//	Jan  2 15:04:05[.frac]        RFC 3164; also with a year after the day
//	2006-01-02T15:04:05[.frac][Z|+01:00|+0100|+01]
//	2006-01-02 15:04:05[,frac]    also with / between the parts of the date
//
// and returns what follows it.
func Parse(line []byte) (s Stamp, rest []byte, ok bool) {
	if len(line) > 0 && line[0] >= '0' && line[0] <= '9' {
		return parseISO(line)
	}
	return parseBSD(line)
}

// Klog reads the beginning of a line of Kubernetes' programs (k8s.io/klog):
// a letter for the severity, mmdd hh:mm:ss.uuuuuu.
func Klog(line []byte) (s Stamp, severity byte, rest []byte, ok bool) {
	if len(line) < 6 || bytes.IndexByte([]byte("IWEF"), line[0]) < 0 || line[5] != ' ' {
		return
	}
	p := parser{b: line[1:]}
	s.Month, s.Day = time.Month(p.digits(2)), p.digits(2)
	p.byte(' ')
	p.clock(&s)
	return s, line[0], p.b, !p.bad && s.valid()
}

func parseBSD(line []byte) (s Stamp, rest []byte, ok bool) {
	if len(line) < len("Jan  2 15:04:05") {
		return
	}
	at := bytes.Index([]byte("JanFebMarAprMayJunJulAugSepOctNovDec"), line[:3])
	if at < 0 || at%3 != 0 || line[3] != ' ' {
		return
	}
	s.Month = time.Month(at/3 + 1)
	p := parser{b: bytes.TrimLeft(line[4:], " ")}
	s.Day = p.number(2)
	p.byte(' ')
	if len(p.b) > 5 && p.b[2] != ':' && p.b[4] == ' ' {
		s.Year = p.digits(4)
		p.byte(' ')
	}
	p.clock(&s)
	return s, p.b, !p.bad && s.valid()
}

func parseISO(line []byte) (s Stamp, rest []byte, ok bool) {
	if len(line) < len("2006-01-02T15:04:05") || line[4] != '-' && line[4] != '/' || line[7] != line[4] {
		return
	}
	p := parser{b: line}
	s.Year = p.digits(4)
	p.b = p.b[1:]
	s.Month = time.Month(p.digits(2))
	p.b = p.b[1:]
	s.Day = p.digits(2)
	switch {
	case p.b[0] == 'T' || p.b[0] == 't':
		p.b = p.b[1:]
	case p.b[0] == ' ':
		p.b = bytes.TrimLeft(p.b, " ") // APT puts two
	default:
		return s, nil, false
	}
	p.clock(&s)
	p.zone(&s)
	return s, p.b, !p.bad && s.Year > 0 && s.valid()
}

func (s *Stamp) valid() bool {
	const daysIn = "\x1f\x1d\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"
	return s.Month >= 1 && s.Month <= 12 && s.Day >= 1 && s.Day <= int(daysIn[s.Month-1]) && s.Hour < 24 && s.Min < 60 && s.Sec <= 60
}

// parser takes parts off the front of b.
type parser struct {
	b   []byte
	bad bool
}

// digits takes exactly n digits.
func (p *parser) digits(n int) int {
	if len(p.b) < n {
		p.bad = true
		return 0
	}
	v := 0
	for _, c := range p.b[:n] {
		if c < '0' || c > '9' {
			p.bad = true
			return 0
		}
		v = v*10 + int(c-'0')
	}
	p.b = p.b[n:]
	return v
}

// number takes up to n digits.
func (p *parser) number(n int) int {
	have := 0
	for have < n && have < len(p.b) && p.b[have] >= '0' && p.b[have] <= '9' {
		have++
	}
	if have == 0 {
		p.bad = true
	}
	return p.digits(have)
}

func (p *parser) byte(c byte) {
	if len(p.b) == 0 || p.b[0] != c {
		p.bad = true
		return
	}
	p.b = p.b[1:]
}

// clock takes hh:mm:ss and a fraction, after a point or a comma.
func (p *parser) clock(s *Stamp) {
	s.Hour = p.digits(2)
	p.byte(':')
	s.Min = p.digits(2)
	p.byte(':')
	s.Sec = p.digits(2)
	if p.bad || len(p.b) < 2 || p.b[0] != '.' && p.b[0] != ',' || p.b[1] < '0' || p.b[1] > '9' {
		return
	}
	p.b = p.b[1:]
	for scale := 100_000_000; len(p.b) > 0 && p.b[0] >= '0' && p.b[0] <= '9'; p.b = p.b[1:] {
		s.Nsec += int(p.b[0]-'0') * scale
		scale /= 10
	}
}

// zone takes Z or an offset, if there is one.
func (p *parser) zone(s *Stamp) {
	if p.bad || len(p.b) == 0 {
		return
	}
	switch c := p.b[0]; {
	case c == 'Z' || c == 'z':
		s.Zoned = true
		p.b = p.b[1:]
	case (c == '+' || c == '-') && len(p.b) >= 3:
		at := parser{b: p.b[1:]}
		hours, minutes := at.digits(2), 0
		if len(at.b) >= 3 && at.b[0] == ':' {
			at.b = at.b[1:]
			minutes = at.digits(2)
		} else if len(at.b) >= 2 && at.b[0] >= '0' && at.b[0] <= '9' {
			minutes = at.digits(2)
		}
		if at.bad || hours > 15 || minutes > 59 {
			return // a word that begins with a dash
		}
		s.Zoned, s.Offset = true, hours*3600+minutes*60
		if c == '-' {
			s.Offset = -s.Offset
		}
		p.b = at.b
	}
}
