package findings

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func (d *demand) String() string {
	if d == nil {
		return ""
	}
	if d.literal != "" {
		return d.literal
	}
	var parts []string
	for i := range d.of {
		parts = append(parts, d.of[i].String())
	}
	if d.all {
		return "(" + strings.Join(parts, " and ") + ")"
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

func TestLiterals(t *testing.T) {
	for pattern, want := range map[string]string{
		`(?i)\b(curl|wget)\b[^\n]*\|\s*(ba)?sh`: "((curl or wget) and sh and |)", `a.*longest.*b`: "longest", `x*`: "", `(foo|b*)`: "", `(?:abc){2,3}`: "abc",
		`^/etc/(passwd|shadow)$`: "((passwd or shadow) and /etc/)", `["']a\s*;`: "(; and (\" or '))", `[a-z]+x`: "", `é`: "é",
		`(goto \w|\$x\()`: "(goto  or $x()",
	} {
		re, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if got := literals(re).String(); got != want {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
}

// What a text lacks is never what its pattern matches: texts are made of each pattern of
// the rules, of each of its alternatives in turn, and held against what it demands.
func TestDemandsAreMet(t *testing.T) {
	s, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	patterns, demanding := 0, 0
	for _, r := range s.Rules {
		for _, name := range sortedKeys(r.Detection) {
			n := r.Detection[name]
			for _, p := range expressions(&n) {
				patterns++
				if checkDemand(t, p) {
					demanding++
				}
			}
		}
	}
	if patterns < 100 || demanding < patterns/2 {
		t.Errorf("%d of %d patterns were made a text of that they match and that something is demanded of: too few to say anything", demanding, patterns)
	}
}

// checkDemand says whether a pattern demands something, and matches a text that was made of it.
func checkDemand(t *testing.T, pattern string) bool {
	t.Helper()
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	d, re := literals(parsed), regexp.MustCompile(pattern)
	matched := false
	for which := range 24 {
		made := string(sample(nil, parsed, which))
		for _, text := range []string{made, strings.ToUpper(made), strings.Repeat("x\n", minPaired) + made} {
			if !re.MatchString(text) {
				continue
			}
			matched = true
			if d != nil && !d.met(&given{s: text}) {
				t.Errorf("%s matches %q, which lacks %v", pattern, text, d)
			}
		}
	}
	return matched && d != nil
}

// sample appends a text that an expression matches, apart from what stands around it.
func sample(dst []rune, re *syntax.Regexp, which int) []rune {
	switch re.Op {
	case syntax.OpLiteral:
		return append(dst, re.Rune...)
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			return append(dst, re.Rune[2*(which%(len(re.Rune)/2))])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return append(dst, ' ')
	case syntax.OpAlternate:
		return sample(dst, re.Sub[which%len(re.Sub)], which/len(re.Sub))
	case syntax.OpStar, syntax.OpQuest:
		if which%2 == 0 {
			return dst
		}
		return sample(dst, re.Sub[0], which/2)
	case syntax.OpRepeat:
		for range re.Min {
			dst = sample(dst, re.Sub[0], which)
		}
		return dst
	case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
		for _, sub := range re.Sub {
			dst = sample(dst, sub, which)
		}
	}
	return dst
}

// expressions are the regular expressions of a detection.
func expressions(n *yaml.Node) []string {
	var out []string
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		key, v := n.Content[i].Value, n.Content[i+1]
		if strings.Contains(key, "|re") && v.Kind == yaml.ScalarNode {
			out = append(out, v.Value)
		}
		for _, one := range v.Content {
			if strings.Contains(key, "|re") {
				out = append(out, one.Value)
			}
		}
	}
	for _, one := range n.Content {
		if n.Kind == yaml.SequenceNode {
			out = append(out, expressions(one)...)
		}
	}
	return out
}
