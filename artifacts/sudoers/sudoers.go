// Package sudoers reads who may become whom: /etc/sudoers and the files it
// includes, as sudoers(5) describes them.
//
// Input is hostile: lines and what they are joined to are bounded. The grammar
// is read as far as a timeline needs it: whose rule it is, and whether it asks
// for a password.
package sudoers

import (
	"fmt"
	"io"
	"iter"
	"strings"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// Rule is one logical line.
type Rule struct {
	Offset int64
	Kind   string // rule, defaults, alias, include
	User   string // of a rule: NAME, %GROUP, ALIAS, #UID
	// NoPassword says that a rule has the tag NOPASSWD, or defaults !authenticate.
	NoPassword bool
	Text       string
}

// maxRule bounds what backslashes join.
const maxRule = 64 << 10

// Read yields the rules of a file.
func Read(r io.Reader) iter.Seq2[Rule, error] {
	return func(yield func(Rule, error) bool) {
		var joined strings.Builder
		start := int64(-1)
		for line, err := range lines.Read(r) {
			if err != nil {
				if !yield(Rule{}, err) {
					return
				}
				continue
			}
			if start < 0 {
				start = line.Offset
			}
			rest, more := strings.CutSuffix(string(line.Text), `\`)
			if joined.Len()+len(rest) > maxRule {
				if !yield(Rule{}, fmt.Errorf("rule at %#x has more than %d bytes: %w", start, maxRule, evidence.ErrCorrupt)) {
					return
				}
				joined.Reset()
				start = -1
				continue
			}
			joined.WriteString(rest)
			if more {
				continue
			}
			rule, ok := parse(joined.String())
			rule.Offset = start
			joined.Reset()
			start = -1
			if ok && !yield(rule, nil) {
				return
			}
		}
		if rule, ok := parse(joined.String()); ok {
			rule.Offset = start
			yield(rule, nil)
		}
	}
}

func parse(s string) (Rule, bool) {
	text := strings.Join(strings.Fields(uncommented(s)), " ")
	word, rest, _ := strings.Cut(text, " ")
	r := Rule{Text: text}
	switch {
	case text == "":
		return r, false
	case strings.HasPrefix(word, "#include") || strings.HasPrefix(word, "@include"):
		r.Kind = "include"
	case strings.HasPrefix(word, "Defaults"):
		r.Kind, r.NoPassword = "defaults", strings.Contains(text, "!authenticate")
	case strings.HasSuffix(word, "_Alias"):
		r.Kind = "alias"
	case rest == "":
		return r, false
	default:
		r.Kind, r.User, r.NoPassword = "rule", word, strings.Contains(text, "NOPASSWD:")
	}
	return r, true
}

// uncommented cuts a comment off: # begins one, but for #include and #UID.
func uncommented(s string) string {
	trimmed := strings.TrimSpace(s)
	if strings.HasPrefix(trimmed, "#include") {
		return trimmed
	}
	for i := range len(s) {
		if s[i] == '#' && (i == 0 || s[i-1] != '\\') && (i+1 == len(s) || s[i+1] < '0' || s[i+1] > '9') {
			return s[:i]
		}
	}
	return s
}
