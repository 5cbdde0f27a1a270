package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// occurrence is what of an event says that it is the same in two snapshots. What its
// file weighs today, what its evidence is called and which other times fell
// together with it is not: those differ where nothing happened at that time.
type occurrence struct {
	Datetime    string `json:"datetime"`
	Nanoseconds string `json:"timestamp_nanoseconds"`
	Meaning     string `json:"timestamp_desc"`
	Message     string `json:"message"`
	Type        string `json:"data_type"`
	Source      string `json:"display_name"`
	Inode       string `json:"inode"`
	Record      string `json:"record"`
}

// fileEvent is the kind of events that files' own times are.
const fileEvent = "fs:stat"

// name is the event in words.
func (e *occurrence) name() string { return e.Meaning + ": " + e.Message }

// id tells events apart.
func (e *occurrence) id() [16]byte {
	what := e.Message
	if e.Type == fileEvent {
		what = "inode " + e.Inode // its message has the owner and mode of today
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", e.Nanoseconds, e.Meaning, e.Type, e.Source, what))
	return [16]byte(sum[:16])
}

// group is what the first snapshot has of one moment and the second has not, so far.
type group map[[16]byte]*pending

type pending struct {
	count int
	e     occurrence
}

// onlyIn counts the events that one snapshot alone has.
type onlyIn struct {
	change      string
	count       int
	first, last string
}

func (o *onlyIn) add(e *occurrence) {
	if o.count++; o.count == 1 {
		o.first = e.Datetime
	}
	o.last = e.Datetime
}

// CompareEvents tells the events of two timelines that only one has, in the order
// of time: each (every), or what they are in number. An event that the first
// alone has was lost: a log was emptied, a file replaced or its times changed.
func CompareEvents(ctx context.Context, dir, before, after string, every bool, tell func(Difference) error) error {
	paths := [2]string{filepath.Join(dir, before, TimelineFile), filepath.Join(dir, after, TimelineFile)}
	if !exists(paths[0]) || !exists(paths[1]) {
		return nil // it was not among the tasks
	}
	var in [2]*lines
	var more [2]bool
	for i, p := range paths {
		l, err := source{path: p}.open(0)
		if err != nil {
			return err
		}
		defer l.f.Close()
		in[i] = l
		if more[i], err = l.next(); err != nil {
			return err
		}
	}
	added, removed := onlyIn{change: Added}, onlyIn{change: Removed}
	one := func(o *onlyIn, e *occurrence) error {
		o.add(e)
		if !every {
			return nil
		}
		return tell(Difference{File: TimelineFile, Change: o.change, Key: e.Datetime, Name: e.name()})
	}
	for more[0] || more[1] {
		if err := ctx.Err(); err != nil {
			return err
		}
		now := in[0].key
		if !more[0] || more[1] && in[1].key < now {
			now = in[1].key
		}
		lost := group{}
		err := moment(in[0], &more[0], now, func(e *occurrence) error { return lost.add(paths[0], e) })
		if err != nil {
			return err
		}
		err = moment(in[1], &more[1], now, func(e *occurrence) error {
			if lost.take(e) {
				return nil
			}
			return one(&added, e)
		})
		if err != nil {
			return err
		}
		for _, e := range lost.rest() {
			if err := one(&removed, &e); err != nil {
				return err
			}
		}
	}
	for _, o := range []onlyIn{added, removed} {
		if every || o.count == 0 {
			continue
		}
		if err := tell(Difference{File: TimelineFile, Change: o.change, Count: o.count, Name: fmt.Sprintf("%d events, %s to %s", o.count, o.first, o.last)}); err != nil {
			return err
		}
	}
	return nil
}

// moment hands over the events of one time.
func moment(l *lines, more *bool, now int64, f func(*occurrence) error) error {
	for *more && l.key == now {
		var e occurrence
		if err := json.Unmarshal(l.line, &e); err != nil {
			return fmt.Errorf("%s: %w", l.f.Name(), err)
		}
		if e.Record == "" {
			if err := f(&e); err != nil {
				return err
			}
		}
		var err error
		if *more, err = l.next(); err != nil {
			return err
		}
	}
	return nil
}

func (g group) add(path string, e *occurrence) error {
	if len(g) >= maxCompared {
		return fmt.Errorf("%s has more than %d events at one time, too many to compare", path, maxCompared)
	}
	p := g[e.id()]
	if p == nil {
		p = &pending{e: *e}
		g[e.id()] = p
	}
	p.count++
	return nil
}

// take says whether the first snapshot has the event too, and strikes it off.
func (g group) take(e *occurrence) bool {
	p := g[e.id()]
	if p == nil {
		return false
	}
	if p.count--; p.count == 0 {
		delete(g, e.id())
	}
	return true
}

// rest returns what is left, in a fixed order.
func (g group) rest() []occurrence {
	var out []occurrence
	for _, id := range slices.SortedFunc(maps.Keys(g), func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) }) {
		for range g[id].count {
			out = append(out, g[id].e)
		}
	}
	slices.SortStableFunc(out, func(a, b occurrence) int { return bytes.Compare([]byte(a.name()), []byte(b.name())) })
	return out
}
