package findings

import (
	"regexp/syntax"
	"strings"
)

// given is a value of a subject with its lower-case form, which is made once.
type given struct {
	s, low string
	folded bool
}

func (t *given) lower() string {
	if !t.folded {
		t.low, t.folded = strings.ToLower(t.s), true
	}
	return t.low
}

// Bounds on the literals of one pattern: more would cost more than they save.
const (
	maxLiterals = 96
	minLiteral  = 2
)

// literals returns lower-case texts of which whatever a pattern matches has at
// least one; nil: nothing of that kind is known. A text without any of them need
// not be given to the pattern, which is a hundred times slower than a search.
func literals(re *syntax.Regexp) []string {
	out := required(re.Simplify())
	if len(out) > maxLiterals {
		return nil
	}
	return out
}

func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if s := strings.ToLower(string(re.Rune)); len(s) >= minLiteral {
			return []string{s}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if r := required(sub); better(r, best) {
				best = r
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			r := required(sub)
			if r == nil {
				return nil
			}
			all = append(all, r...)
		}
		return all
	}
	return nil
}

// better prefers the longer of two sets' shortest texts, and then the smaller set.
func better(a, b []string) bool {
	if a == nil || b == nil {
		return a != nil
	}
	x, y := shortest(a), shortest(b)
	return x > y || x == y && len(a) < len(b)
}

func shortest(all []string) int {
	n := len(all[0])
	for _, s := range all {
		n = min(n, len(s))
	}
	return n
}

// hasAny says whether a text has one of some others.
func hasAny(s string, any []string) bool {
	for _, a := range any {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}
