package findings

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// matcher is a compiled part of a detection. It returns where it matched: the field
// and the value, for evidence.
type matcher interface {
	match(s *Subject) (hit, bool)
}

// hit is what a matcher met.
type hit struct{ field, value string }

// allOf matches where all its parts do; the last part's hit that has a value counts.
type allOf []matcher

func (a allOf) match(s *Subject) (hit, bool) {
	var last hit
	for _, m := range a {
		h, ok := m.match(s)
		if !ok {
			return hit{}, false
		}
		if last.field == "" || telling(h.field) >= telling(last.field) {
			last = h
		}
	}
	return last, true
}

// cost ranks matchers by the work that they are, so that what reads a file's
// content is asked last.
func cost(m matcher) int {
	switch m := m.(type) {
	case allOf:
		return costOf(m)
	case anyOf:
		return costOf(m)
	case not:
		return cost(m.of)
	case *fieldMatch:
		switch m.field {
		case TextField, "added_text", "":
			return 3
		case "format", "packaged", "copy_of", "rewritten":
			return 2
		}
		return 1
	}
	return 0
}

func costOf(all []matcher) int {
	most := 0
	for _, m := range all {
		most = max(most, cost(m))
	}
	return most
}

// cheapFirst orders parts that must all hold.
func cheapFirst(all allOf) allOf {
	slices.SortStableFunc(all, func(a, b matcher) int { return cost(a) - cost(b) })
	return all
}

// telling says how much a field's value says to a reader: what stood in a file
// or on a line more than a flag.
func telling(field string) int {
	switch field {
	case "":
		return 0
	case TextField, "added_text", "command", "message", "CommandLine", "env", "secret_env", "args", "mounts", "reasons":
		return 3
	case "path", "name", "target", "TargetFilename":
		return 2
	}
	return 1
}

// anyOf matches where one of its parts does.
type anyOf []matcher

func (a anyOf) match(s *Subject) (hit, bool) {
	for _, m := range a {
		if h, ok := m.match(s); ok {
			return h, true
		}
	}
	return hit{}, false
}

type not struct{ of matcher }

func (n not) match(s *Subject) (hit, bool) {
	_, ok := n.of.match(s)
	return hit{}, !ok
}

// fieldMatch holds the values of a field against tests.
type fieldMatch struct {
	field  string // "": any field of text
	tests  []test
	every  bool // all tests must hold, each of some value
	exists *bool
}

// test says whether a value passes, and what of it did.
type test func(value *given) (string, bool)

func (f *fieldMatch) match(s *Subject) (hit, bool) {
	var vs []given
	if f.field == "" {
		vs = s.keywords()
	} else {
		vs = s.values(f.field)
	}
	if f.exists != nil {
		value := ""
		if len(vs) > 0 {
			value = vs[0].s
		}
		return hit{f.field, value}, (len(vs) > 0) == *f.exists
	}
	var found hit
	for _, t := range f.tests {
		ok := false
		for i := range vs {
			if part, passes := t(&vs[i]); passes {
				found, ok = hit{f.field, part}, true
				break
			}
		}
		if len(vs) == 0 {
			if _, passes := t(&given{}); passes && f.field != "" {
				ok, found = true, hit{f.field, ""} // null, or an empty text
			}
		}
		if ok != f.every {
			return found, ok
		}
	}
	return found, f.every
}

// compiler compiles the selections of a rule.
type compiler struct {
	// tested says that the rule's patterns are known to be right, as those of lagan's own are by
	// its tests: they are parsed when the first text is held against them, which few ever are.
	tested bool
}

// selection compiles one named part of a detection.
func (c compiler) selection(n *yaml.Node) (matcher, error) {
	switch n.Kind {
	case yaml.MappingNode:
		var all allOf
		for i := 0; i+1 < len(n.Content); i += 2 {
			m, err := c.field(n.Content[i].Value, n.Content[i+1])
			if err != nil {
				return nil, err
			}
			all = append(all, m)
		}
		return cheapFirst(all), nil
	case yaml.SequenceNode:
		var any anyOf
		for _, part := range n.Content {
			m, err := c.selection(part)
			if err != nil {
				return nil, err
			}
			any = append(any, m)
		}
		return any, nil
	case yaml.ScalarNode:
		return c.field("|contains", n)
	}
	return nil, fmt.Errorf("line %d: a selection is a map or a list", n.Line)
}

// field compiles "field|modifier|modifier: values".
func (c compiler) field(key string, n *yaml.Node) (matcher, error) {
	name, mods, _ := strings.Cut(key, "|")
	f := &fieldMatch{field: name}
	kind, cased, encode := "", false, ""
	for mod := range strings.SplitSeq(mods, "|") {
		switch mod {
		case "":
		case "all":
			f.every = true
		case "cased":
			cased = true
		case "base64", "base64offset":
			encode = mod
		case "contains", "startswith", "endswith", "re", "cidr", "lt", "lte", "gt", "gte", "exists":
			kind = mod
		case "i", "m", "s":
			kind += "|" + mod
		case "windash":
		default:
			return nil, fmt.Errorf("line %d: modifier %q is not supported", n.Line, mod)
		}
	}
	if name == "" && kind == "" {
		kind = "contains"
	}
	if kind == "exists" {
		yes := n.Value == "true"
		f.exists = &yes
		return f, nil
	}
	values := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		values = n.Content
	}
	for _, v := range values {
		if v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		if v.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a value is no text", v.Line)
		}
		tests, err := c.value(v, kind, cased, encode)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", v.Line, err)
		}
		f.tests = append(f.tests, tests)
	}
	return f, nil
}

func (c compiler) value(v *yaml.Node, kind string, cased bool, encode string) (test, error) {
	value := v.Value
	switch base, flags, _ := strings.Cut(kind, "|"); base {
	case "re":
		return c.regexp(value, flags)
	case "cidr":
		p, err := netip.ParsePrefix(value)
		if err != nil {
			return nil, err
		}
		return func(v *given) (string, bool) {
			a, err := netip.ParseAddr(v.s)
			return v.s, err == nil && p.Contains(a.Unmap())
		}, nil
	case "lt", "lte", "gt", "gte":
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, err
		}
		return compare(base, n), nil
	}
	if v.Tag == "!!null" {
		return func(v *given) (string, bool) { return "", v.s == "" }, nil
	}
	switch encode {
	case "base64":
		value, cased = strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(value)), "="), true
	case "base64offset":
		return offsets(value), nil
	}
	return compileText(value, kind, cased)
}

func (c compiler) regexp(value, flags string) (test, error) {
	if flags != "" {
		value = "(?" + strings.ReplaceAll(flags, "|", "") + ")" + value
	}
	if !c.tested {
		if _, err := syntax.Parse(value, syntax.Perl); err != nil {
			return nil, err
		}
	}
	return find(value), nil
}

// pattern is a regular expression that is parsed when the first text is held against it, and
// compiled when the first text has what it demands: most of a set never are, and
// both cost more than a small disk's files.
type pattern struct {
	text  string
	parse sync.Once
	asks  *demand // nil: any text may match
	once  sync.Once
	re    *regexp.Regexp
}

// may says whether a text has what the pattern demands.
func (p *pattern) may(v *given) bool {
	p.parse.Do(func() {
		if parsed, err := syntax.Parse(p.text, syntax.Perl); err == nil { // as it is: see compiler
			p.asks = literals(parsed)
		}
	})
	return p.asks == nil || p.asks.met(v)
}

// patterns are those that were given, since rules use one for several fields.
var patterns sync.Map // by text

// find looks for a pattern in texts that have what it demands. The pattern must be right.
func find(text string) test {
	known, ok := patterns.Load(text)
	if !ok {
		known, _ = patterns.LoadOrStore(text, &pattern{text: text})
	}
	p := known.(*pattern)
	return func(v *given) (string, bool) {
		if !p.may(v) {
			return "", false
		}
		p.once.Do(func() { p.re = regexp.MustCompile(p.text) })
		at := p.re.FindStringIndex(v.s)
		if at == nil {
			return "", false
		}
		return around(v.s, at[0], at[1]), true
	}
}

func compare(op string, n float64) test {
	return func(v *given) (string, bool) {
		s := v.s
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return "", false
		}
		switch op {
		case "lt":
			return s, x < n
		case "lte":
			return s, x <= n
		case "gt":
			return s, x > n
		}
		return s, x >= n
	}
}

// offsets finds text that was encoded in base64 at any of three alignments.
func offsets(value string) test {
	var forms []string
	for shift := range 3 {
		enc := base64.StdEncoding.EncodeToString(append(make([]byte, shift), value...))
		start, end := [...]int{0, 2, 3}[shift], len(enc)
		switch (len(value) + shift) % 3 {
		case 1:
			end -= 3
		case 2:
			end -= 2
		}
		if start < end {
			forms = append(forms, enc[start:end])
		}
	}
	return func(v *given) (string, bool) {
		for _, f := range forms {
			if i := strings.Index(v.s, f); i >= 0 {
				return around(v.s, i, i+len(f)), true
			}
		}
		return "", false
	}
}

// compileText compiles sigma's plain values: * and ? stand for any text and any
// one character, a backslash takes their meaning, case doesn't count.
func compileText(value, kind string, cased bool) (test, error) {
	literal, wild := unescape(value)
	if wild {
		return find(wildcards(value, kind, cased)), nil
	}
	fold := func(v *given) string { return v.s }
	if !cased {
		fold = (*given).lower
		literal = strings.ToLower(literal)
	}
	switch kind {
	case "contains":
		return func(v *given) (string, bool) {
			i := strings.Index(fold(v), literal)
			if i < 0 || i > len(v.s) { // the lower-case form may be longer
				return "", false
			}
			return around(v.s, i, min(i+len(literal), len(v.s))), true
		}, nil
	case "startswith":
		return func(v *given) (string, bool) { return v.s, strings.HasPrefix(fold(v), literal) }, nil
	case "endswith":
		return func(v *given) (string, bool) { return v.s, strings.HasSuffix(fold(v), literal) }, nil
	}
	return func(v *given) (string, bool) { return v.s, fold(v) == literal }, nil
}

// unescape undoes the backslashes before *, ? and themselves, and says whether
// the value has wildcards.
func unescape(value string) (literal string, wild bool) {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value) && strings.IndexByte(`*?\`, value[i+1]) >= 0:
			i++
			c = value[i]
		case c == '*' || c == '?':
			return "", true
		}
		b.WriteByte(c)
	}
	return b.String(), false
}

func wildcards(value, kind string, cased bool) string {
	b := []byte("(?s)")
	if !cased {
		b = []byte("(?is)")
	}
	if kind == "" || kind == "startswith" {
		b = append(b, '^')
	}
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value) && strings.IndexByte(`*?\`, value[i+1]) >= 0:
			i++
			b = append(b, regexp.QuoteMeta(value[i:i+1])...)
		case c == '*':
			b = append(b, ".*"...)
		case c == '?':
			b = append(b, '.')
		default:
			b = append(b, regexp.QuoteMeta(value[i:i+1])...)
		}
	}
	if kind == "" || kind == "endswith" {
		b = append(b, '$')
	}
	return string(b)
}

// maxShown is the most bytes of a value that evidence shows.
const maxShown = 400

// around returns what stands at a place of a text: the line of it, cut to a
// length that can be read.
func around(s string, from, to int) string {
	if len(s) <= maxShown && !strings.Contains(s, "\n") {
		return s
	}
	start := strings.LastIndexByte(s[:from], '\n') + 1
	end := len(s)
	if i := strings.IndexByte(s[to:], '\n'); i >= 0 {
		end = to + i
	}
	if end-start > maxShown {
		start = max(start, from-maxShown/4)
		end = min(end, start+maxShown)
	}
	return strings.ToValidUTF8(s[start:end], "\ufffd")
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
