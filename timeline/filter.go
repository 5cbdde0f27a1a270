package timeline

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Filter says which events are kept. Its zero value keeps all. What could not
// be read (Warning) is kept by every filter: it is never silent.
type Filter struct {
	// Since and Until, where set, leave out the times before and from them on.
	Since, Until time.Time
	// Kinds, where there are any, are the kinds that are kept.
	Kinds []DataType
	// Grep, where set, must match the message, or any text of the record.
	Grep *regexp.Regexp
}

// ParseKinds returns the kinds whose data_type matches any of the patterns, in
// which * stands for anything.
func ParseKinds(patterns []string) ([]DataType, error) {
	var out []DataType
	for _, p := range patterns {
		found := false
		for k := range kinds {
			// path.Match's * stops at slashes, which no data_type has.
			ok, err := path.Match(p, k.String())
			if err != nil {
				return nil, fmt.Errorf("%q is no pattern of kinds: %w", p, err)
			}
			if ok && !slices.Contains(out, k) {
				out = append(out, k)
			}
			found = found || ok
		}
		if !found {
			return nil, fmt.Errorf("no kind of record is called %q; there are %s", p, strings.Join(kindNames(), ", "))
		}
	}
	return out, nil
}

func kindNames() []string {
	var names []string
	for k := range kinds {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

// filter is a Filter in use.
type filter struct {
	Filter
	kinds [maxDataTypes]bool
	times bool
	// commons are the shared fields that grep matched or didn't.
	commons map[*Common]bool
	v       view
	scratch []byte
}

func newFilter(f Filter) *filter {
	x := &filter{Filter: f, times: !f.Since.IsZero() || !f.Until.IsZero(), commons: make(map[*Common]bool)}
	for k := range x.kinds {
		x.kinds[k] = len(f.Kinds) == 0 || slices.Contains(f.Kinds, DataType(k))
	}
	return x
}

// all says whether everything is kept.
func (f *filter) all() bool { return !f.times && len(f.Kinds) == 0 && f.Grep == nil }

// keep takes away the times that are not kept, and says whether the record is.
func (f *filter) keep(r *Record) bool {
	if f.times && !r.keepTimes(f.Since, f.Until) {
		return false
	}
	if r.kind == Warning {
		return true
	}
	return f.kinds[r.kind.known()] && (f.Grep == nil || f.matches(r))
}

// matches looks at the message, then at each text, the record's own first.
func (f *filter) matches(r *Record) bool {
	v := &f.v
	v.name, v.nameForm, v.ownName, v.kind, v.template, v.common, v.body = r.name, r.nameForm, len(r.name) > 0, r.kind, r.template, r.common, r.body
	v.offset = r.offset
	if !v.ownName && r.common != nil {
		v.name, v.nameForm = r.common.name, r.common.form
	}
	if v.index() != nil {
		return true // never: what a record built can be read
	}
	f.scratch, _ = v.message(f.scratch[:0])
	if f.Grep.Match(f.scratch) || f.Grep.Match(v.name) || f.texts(v) {
		return true
	}
	return r.common != nil && f.shared(r.common)
}

func (f *filter) texts(v *view) bool {
	for x := range v.fields() {
		if x.typ == typeInt || x.typ == typeBool {
			continue
		}
		f.scratch = x.appendText(f.scratch[:0])
		if f.Grep.Match(f.scratch) {
			return true
		}
	}
	return false
}

// maxShared bounds the shared fields whose answer is remembered.
const maxShared = 1 << 16

func (f *filter) shared(c *Common) bool {
	hit, known := f.commons[c]
	if !known {
		v := view{name: c.name, nameForm: c.form, body: c.body}
		hit = f.Grep.Match(c.name) || f.texts(&v)
		if len(f.commons) < maxShared {
			f.commons[c] = hit
		}
	}
	return hit
}
