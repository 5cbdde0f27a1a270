package findings

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// condition compiles sigma's condition: selections joined by and, or, not and
// parentheses; "1 of x*", "all of them".
func condition(text string, selections map[string]matcher) (matcher, error) {
	text = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)
	p := conditionParser{words: strings.Fields(text), selections: selections}
	m, err := p.or(0)
	if err != nil {
		return nil, fmt.Errorf("condition %q: %w", text, err)
	}
	if p.at < len(p.words) {
		return nil, fmt.Errorf("condition %q: %q is not expected", text, p.words[p.at])
	}
	return m, nil
}

type conditionParser struct {
	words      []string
	at         int
	selections map[string]matcher
}

// maxNesting bounds parentheses and nots in each other.
const maxNesting = 64

func (p *conditionParser) next() string {
	if p.at < len(p.words) {
		return p.words[p.at]
	}
	return ""
}

func (p *conditionParser) or(depth int) (matcher, error) {
	var any anyOf
	for {
		m, err := p.and(depth)
		if err != nil {
			return nil, err
		}
		any = append(any, m)
		if !strings.EqualFold(p.next(), "or") {
			break
		}
		p.at++
	}
	if len(any) == 1 {
		return any[0], nil
	}
	return any, nil
}

func (p *conditionParser) and(depth int) (matcher, error) {
	var all allOf
	for {
		m, err := p.one(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
		if !strings.EqualFold(p.next(), "and") {
			break
		}
		p.at++
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return cheapFirst(all), nil
}

func (p *conditionParser) one(depth int) (matcher, error) {
	if depth > maxNesting {
		return nil, errors.New("it is nested too deeply")
	}
	word := p.next()
	p.at++
	switch strings.ToLower(word) {
	case "":
		return nil, errors.New("it ends too early")
	case "not":
		m, err := p.one(depth + 1)
		return not{m}, err
	case "(":
		m, err := p.or(depth + 1)
		if err == nil && p.next() != ")" {
			err = errors.New("a parenthesis is not closed")
		}
		p.at++
		return m, err
	case "1", "any", "all":
		if strings.EqualFold(p.next(), "of") {
			p.at++
			pattern := p.next()
			p.at++
			return p.several(pattern, strings.EqualFold(word, "all"))
		}
	case "|":
		return nil, errors.New("aggregations are not supported")
	}
	m := p.selections[word]
	if m == nil {
		return nil, fmt.Errorf("there is no selection %q", word)
	}
	return m, nil
}

// several joins the selections that a pattern names.
func (p *conditionParser) several(pattern string, all bool) (matcher, error) {
	var found []matcher
	for _, name := range sortedKeys(p.selections) {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok || pattern == "them" && !strings.HasPrefix(name, "_") {
			found = append(found, p.selections[name])
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no selection is called %q", pattern)
	}
	if all {
		return allOf(found), nil
	}
	return anyOf(found), nil
}
