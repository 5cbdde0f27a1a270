package containerlog

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// CRI reads lines of the form that the kubelet reads (Kubernetes
// pkg/kubelet/kuberuntime/logs, containerd internal/cri/io/logger.go):
//
//	TIME SOURCE P|F[:TAG...] TEXT
func CRI(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for l, err := range lines.Read(r) {
			if err == nil && len(l.Text) == 0 {
				continue
			}
			var e Entry
			if err == nil {
				e, err = parseCRI(l)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func parseCRI(l lines.Line) (Entry, error) {
	stamp, rest, ok1 := bytes.Cut(l.Text, []byte{' '})
	src, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tags, text, _ := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || len(src) == 0 || len(tags) == 0 || tags[0] != 'P' && tags[0] != 'F' || len(tags) > 1 && tags[1] != ':' {
		return Entry{}, fmt.Errorf("line at %#x: %q has not the form of a CRI log: %w", l.Offset, quote(l.Text), evidence.ErrCorrupt)
	}
	at, ok := parseTime(stamp)
	if !ok {
		return Entry{}, fmt.Errorf("line at %#x: %q is no time: %w", l.Offset, quote(stamp), evidence.ErrCorrupt)
	}
	return Entry{Time: at, Source: source(src), Text: text, More: tags[0] == 'P', Flags: flags(tags), Offset: l.Offset}, nil
}

func flags(b []byte) string {
	switch string(b) {
	case "F":
		return "F"
	case "P":
		return "P"
	}
	return string(b)
}

// parseTime parses RFC 3339 with any number of digits of a second; without a
// zone it is UTC, as Docker of old wrote it.
func parseTime(b []byte) (time.Time, bool) {
	if t, ok := fastTime(b); ok {
		return t, true
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04:05.999999999", string(b)); err != nil {
			return time.Time{}, false
		}
	}
	return t.UTC(), true
}

// fastTime parses what runtimes write: 2026-11-22T09:23:59.992998603Z.
func fastTime(b []byte) (time.Time, bool) {
	const form = "0000-00-00T00:00:00"
	if len(b) < len(form)+1 || b[len(b)-1] != 'Z' {
		return time.Time{}, false
	}
	var n [6]int
	field := 0
	for i := range len(form) {
		c := b[i]
		if form[i] != '0' {
			if c != form[i] {
				return time.Time{}, false
			}
			field++
			continue
		}
		if c < '0' || c > '9' {
			return time.Time{}, false
		}
		n[field] = n[field]*10 + int(c-'0')
	}
	nsec, scale := 0, 100_000_000
	if frac := b[len(form) : len(b)-1]; len(frac) > 0 {
		if frac[0] != '.' || len(frac) == 1 || len(frac) > 10 {
			return time.Time{}, false
		}
		for _, c := range frac[1:] {
			if c < '0' || c > '9' {
				return time.Time{}, false
			}
			nsec += int(c-'0') * scale
			scale /= 10
		}
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], nsec, time.UTC)
	if n[1] < 1 || n[1] > 12 || t.Day() != n[2] || n[3] > 23 || n[4] > 59 || n[5] > 59 {
		return time.Time{}, false
	}
	return t, true
}
