package lvm

import (
	"fmt"
	"strconv"
	"strings"

	"lagan/evidence"
)

// maxNesting bounds sections within sections: segments are at depth 4.
const maxNesting = 16

// group is a section of LVM's configuration text: values and sections by name.
type group struct {
	values map[string][]value
	groups map[string]*group
	order  []string // of the names of groups
}

// value is a string or a number.
type value struct {
	text   string
	number int64
	isText bool
}

// parseText parses the text of a volume group (libdm/libdm-config.c).
func parseText(s string) (*group, error) {
	p := &parser{s: s}
	g, err := p.group(0)
	if err != nil {
		return nil, fmt.Errorf("metadata text at %#x: %w: %w", p.at, evidence.ErrCorrupt, err)
	}
	return g, nil
}

type parser struct {
	s  string
	at int
}

// space passes blanks, line ends and comments.
func (p *parser) space() {
	for p.at < len(p.s) {
		switch p.s[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		case '#':
			if n := strings.IndexByte(p.s[p.at:], '\n'); n >= 0 {
				p.at += n
			} else {
				p.at = len(p.s)
			}
		default:
			return
		}
	}
}

// take passes c if it is next.
func (p *parser) take(c byte) bool {
	p.space()
	if p.at < len(p.s) && p.s[p.at] == c {
		p.at++
		return true
	}
	return false
}

// word returns what goes on up to a blank or a character of the syntax.
func (p *parser) word() string {
	p.space()
	start := p.at
	for p.at < len(p.s) && !strings.ContainsRune(" \t\r\n{}[]=,#\"", rune(p.s[p.at])) {
		p.at++
	}
	return p.s[start:p.at]
}

// group parses up to the brace that closes the section, or the end of the text.
func (p *parser) group(depth int) (*group, error) {
	g := &group{values: map[string][]value{}, groups: map[string]*group{}}
	if depth > maxNesting {
		return nil, fmt.Errorf("sections nested %d deep", depth)
	}
	for {
		p.space()
		if p.at == len(p.s) && depth == 0 || p.take('}') && depth > 0 {
			return g, nil
		}
		name := p.word()
		switch {
		case name == "":
			return nil, fmt.Errorf("a name is missing")
		case p.take('{'):
			sub, err := p.group(depth + 1)
			if err != nil {
				return nil, err
			}
			if g.groups[name] == nil {
				g.order = append(g.order, name)
			}
			g.groups[name] = sub
		case p.take('='):
			v, err := p.list()
			if err != nil {
				return nil, err
			}
			g.values[name] = v
		default:
			return nil, fmt.Errorf("%q is followed by neither = nor {", name)
		}
	}
}

// list parses one value, or several in brackets.
func (p *parser) list() ([]value, error) {
	if !p.take('[') {
		v, err := p.value()
		return []value{v}, err
	}
	var out []value
	for !p.take(']') {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		p.take(',')
	}
	return out, nil
}

func (p *parser) value() (value, error) {
	if p.take('"') {
		var b strings.Builder
		for p.at < len(p.s) {
			c := p.s[p.at]
			p.at++
			switch {
			case c == '"':
				return value{text: b.String(), isText: true}, nil
			case c == '\\' && p.at < len(p.s):
				b.WriteByte(p.s[p.at])
				p.at++
			default:
				b.WriteByte(c)
			}
		}
		return value{}, fmt.Errorf("a string doesn't end")
	}
	w := p.word()
	n, err := strconv.ParseInt(w, 0, 64)
	if err != nil {
		if _, err := strconv.ParseFloat(w, 64); err != nil {
			return value{}, fmt.Errorf("%q is no value", w)
		}
	}
	return value{number: n}, nil
}

// text returns a string, or "".
func (g *group) text(name string) string {
	if v := g.values[name]; len(v) == 1 && v[0].isText {
		return v[0].text
	}
	return ""
}

// number returns a number that isn't negative and fits into bits, or -1.
func (g *group) number(name string, bits uint) int64 {
	if v := g.values[name]; len(v) == 1 && !v[0].isText && v[0].number >= 0 && v[0].number < 1<<bits {
		return v[0].number
	}
	return -1
}

// has reports whether a list has a string.
func (g *group) has(name, text string) bool {
	for _, v := range g.values[name] {
		if v.isText && v.text == text {
			return true
		}
	}
	return false
}

// sub returns a section, an empty one where there is none.
func (g *group) sub(name string) *group {
	if s := g.groups[name]; s != nil {
		return s
	}
	return &group{}
}
