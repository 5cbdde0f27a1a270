package node

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Bounds of a document that is taken apart.
const (
	maxYAMLDepth = 64
	maxYAMLItems = 20_000
)

// Flat has the texts of a JSON or YAML document by their place: the keys on the
// way, joined by dots. What stands in a list has the list's own place.
type Flat map[string][]string

// Text returns the first text at a place, "" where there is none.
func (f Flat) Text(place string) string {
	if v := f[place]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Flatten takes a JSON document apart, or one of YAML that is written in blocks
// (yaml.org/spec/1.2.2, 8.2): anchors, texts over several lines and mappings
// within braces are passed over. It is meant for configurations, whose writers
// do without those; what isn't either language gives nothing or nonsense.
func Flatten(text string) Flat {
	out := make(Flat)
	var doc any
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "{") && json.Unmarshal([]byte(trimmed), &doc) == nil {
		out.json("", doc, 0)
		return out
	}
	out.yaml(text)
	return out
}

func (f Flat) put(place, value string) {
	if place != "" && len(f) < maxYAMLItems && len(f[place]) < maxYAMLItems {
		f[place] = append(f[place], value)
	}
}

func (f Flat) json(place string, v any, depth int) {
	if depth > maxYAMLDepth {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			f.json(below(place, k), v[k], depth+1)
		}
	case []any:
		for _, x := range v {
			f.json(place, x, depth+1)
		}
	case string:
		f.put(place, v)
	case nil:
	default:
		b, err := json.Marshal(v)
		if err == nil {
			f.put(place, string(b))
		}
	}
}

func below(place, key string) string {
	if place == "" {
		return key
	}
	return place + "." + key
}

// level is a mapping that is open: its keys stand at an indent.
type level struct {
	indent int
	place  string // of the mapping itself
}

func (f Flat) yaml(text string) {
	open := []level{{0, ""}}
	place, skip := "", -1 // of the last key; the indent of a text over several lines
	for line := range strings.Lines(text) {
		body := strings.TrimLeft(strings.TrimRight(line, " \t\r\n"), " ")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if body == "" || body[0] == '#' {
			continue
		}
		if skip >= 0 && indent > skip {
			continue
		}
		skip = -1
		if strings.HasPrefix(body, "---") { // another document: its places are its own
			open, place = []level{{0, ""}}, ""
			continue
		}
		dash := false
		for body == "-" || strings.HasPrefix(body, "- ") { // an item begins a mapping of its own
			rest := strings.TrimLeft(strings.TrimPrefix(body, "-"), " ")
			dash, indent, body = true, indent+len(body)-len(rest), rest
		}
		for len(open) > 1 && indent < open[len(open)-1].indent {
			open = open[:len(open)-1]
			place = open[len(open)-1].place
		}
		top := open[len(open)-1]
		if indent > top.indent || dash && indent > top.indent {
			if len(open) > maxYAMLDepth {
				return
			}
			top = level{indent, place}
			open = append(open, top)
		}
		key, value, ok := cutKey(body)
		if !ok {
			if dash {
				f.put(top.place, scalar(body))
			}
			continue
		}
		place = below(top.place, key)
		switch value = scalar(value); {
		case value == "|" || value == ">" || value == "|-" || value == ">-" || value == "|+":
			skip = indent
		case strings.HasPrefix(value, "[") && strings.HasSuffix(value, "]"):
			for _, item := range strings.Split(value[1:len(value)-1], ",") {
				f.put(place, scalar(item))
			}
		case value != "":
			f.put(place, value)
		}
	}
}

// cutKey splits "key: value".
func cutKey(body string) (key, value string, ok bool) {
	if body != "" && (body[0] == '"' || body[0] == '\'') {
		end := strings.IndexByte(body[1:], body[0])
		if end < 0 || !strings.HasPrefix(body[end+2:], ":") {
			return "", "", false
		}
		return body[1 : 1+end], body[end+3:], true
	}
	if key, ok := strings.CutSuffix(body, ":"); ok {
		return key, "", true
	}
	return strings.Cut(body, ": ")
}

// scalar is a text without its quotes and what follows it.
func scalar(s string) string {
	s = strings.TrimSpace(s)
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		if end := strings.IndexByte(s[1:], s[0]); end >= 0 {
			return s[1 : 1+end]
		}
		return ""
	}
	if strings.HasPrefix(s, "#") {
		return ""
	}
	s, _, _ = strings.Cut(s, " #")
	return strings.TrimSpace(s)
}
