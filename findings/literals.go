package findings

import (
	"cmp"
	"regexp/syntax"
	"slices"
	"strings"
)

// given is a value of a subject with its lower-case form and what that has, which
// are made once.
type given struct {
	s, low string
	folded bool
	paired bool
	pairs  *pairSet // of the lower-case form; nil: it is too long for that to tell anything
}

func (t *given) lower() string {
	if !t.folded {
		t.low, t.folded = strings.ToLower(t.s), true
	}
	return t.low
}

// Bounds on the texts whose pairs of bytes are noted: longer ones have most, and
// shorter ones are searched sooner.
const (
	minPaired = 16
	maxPaired = 16 << 10
)

func (t *given) pairSet() *pairSet {
	if !t.paired {
		t.paired = true
		if low := t.lower(); minPaired <= len(low) && len(low) <= maxPaired {
			t.pairs = new(pairSet)
			for i := 0; i+1 < len(low); i++ {
				n := pairOf(low[i], low[i+1])
				t.pairs[n>>6] |= 1 << (n & 63)
			}
		}
	}
	return t.pairs
}

// pairSet has a bit for each pair of bytes, some of which share one. A text that
// lacks a pair of a literal's lacks the literal: of a hundred literals, few are searched for.
type pairSet [1 << (pairBits - 6)]uint64

const pairBits = 12

// pairOf spreads pairs over the bits (Knuth's multiplicative hash).
func pairOf(a, b byte) uint16 {
	return uint16((uint32(a)<<8 | uint32(b)) * 2654435761 >> (32 - pairBits))
}

// demand is what a text must have for a pattern to match it: a literal, or all or
// one of other demands.
type demand struct {
	literal string   // lower-case; "": of the others
	pairs   []uint16 // the literal's
	all     bool     // of are all demanded, not one
	of      []demand
}

// met says whether a text has what is demanded.
func (d *demand) met(v *given) bool {
	if d.literal == "" {
		for i := range d.of {
			if d.of[i].met(v) != d.all {
				return !d.all
			}
		}
		return d.all
	}
	if set := v.pairSet(); set != nil {
		for _, n := range d.pairs {
			if set[n>>6]&(1<<(n&63)) == 0 {
				return false
			}
		}
	}
	return strings.Contains(v.lower(), d.literal)
}

// leaves is how many literals there are.
func (d *demand) leaves() int {
	if d.literal != "" {
		return 1
	}
	n := 0
	for i := range d.of {
		n += d.of[i].leaves()
	}
	return n
}

// weakest is the length of the literal that a text may get by with.
func (d *demand) weakest() int {
	n := len(d.literal)
	for i := range d.of {
		w := d.of[i].weakest()
		if i == 0 || w < n != d.all {
			n = w
		}
	}
	return n
}

// Bounds on what is demanded for one pattern: more would cost more than it saves.
const (
	maxLiterals = 96
	minLiteral  = 2 // of letters and digits, which any text has singly
	maxJoined   = 3 // demands of one sequence
	maxRunes    = 4 // of a class, for each of which there is a literal
)

// literals returns what a text must have for a pattern to match it; nil: nothing
// of that kind is known. A text that hasn't need not be given to the pattern, which
// is a hundred times slower than a search.
func literals(re *syntax.Regexp) *demand {
	re = re.Simplify()
	for _, joined := range [...]int{maxJoined, 1} {
		if d := required(re, joined); d == nil || d.leaves() <= maxLiterals {
			return d
		}
	}
	return nil
}

func required(re *syntax.Regexp, joined int) *demand {
	switch re.Op {
	case syntax.OpLiteral:
		return literal(strings.ToLower(string(re.Rune)))
	case syntax.OpCharClass:
		return class(re.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0], joined)
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0], joined)
		}
	case syntax.OpConcat:
		return sequence(re.Sub, joined)
	case syntax.OpAlternate:
		var one demand
		for _, sub := range re.Sub {
			d := required(sub, joined)
			if d == nil {
				return nil
			}
			if d.literal == "" && !d.all {
				one.of = append(one.of, d.of...)
			} else {
				one.of = append(one.of, *d)
			}
		}
		return &one
	}
	return nil
}

func literal(s string) *demand {
	if s == "" || len(s) < minLiteral && plain(rune(s[0])) {
		return nil
	}
	d := &demand{literal: s}
	for i := 0; i+1 < len(s); i++ {
		d.pairs = append(d.pairs, pairOf(s[i], s[i+1]))
	}
	return d
}

// plain says whether a character is one that nearly any text has.
func plain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r <= ' ' || r > '~'
}

// class is the demand of a class of a few characters, such as quotes.
func class(ranges []rune) *demand {
	var one demand
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if len(one.of) == maxRunes || plain(r) {
				return nil
			}
			one.of = append(one.of, demand{literal: string(r)})
		}
	}
	return &one
}

// sequence is the demand of what follows each other: the strongest of the parts', first.
func sequence(parts []*syntax.Regexp, joined int) *demand {
	var all []demand
	for _, sub := range parts {
		if d := required(sub, joined); d != nil {
			all = append(all, *d)
		}
	}
	slices.SortStableFunc(all, func(a, b demand) int {
		return cmp.Or(cmp.Compare(b.weakest(), a.weakest()), cmp.Compare(a.leaves(), b.leaves()))
	})
	all = slices.CompactFunc(all, func(a, b demand) bool { return a.literal != "" && a.literal == b.literal })
	all = all[:min(len(all), joined)]
	switch len(all) {
	case 0:
		return nil
	case 1:
		return &all[0]
	}
	return &demand{all: true, of: all}
}
