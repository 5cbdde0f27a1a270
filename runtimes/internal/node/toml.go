package node

import "strings"

// TOML holds the texts of a TOML document by table and key: Texts["plugins.x"]["root_path"].
// The top table is called "". Values of other types are left out. Quotes in a
// table's name are dropped.
type TOML map[string]map[string][]string

// ParseTOML reads the keys whose values are texts or lists of texts, and passes
// over everything else and what isn't TOML at all: toml.io/en/v1.0.0.
func ParseTOML(text string) TOML {
	out := TOML{"": {}}
	table := ""
	open := false // a list was met that nothing closes
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		whole := text
		text = rest
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			table = tableName(line)
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		var texts []string
		switch {
		case value == "":
		case value[0] == '[' && !open:
			// A list may go on over lines, up to its bracket.
			from := strings.IndexByte(whole, '[')
			var n int
			if texts, n = scan(whole[from:]); n < 0 {
				open = true
				continue
			}
			text = whole[from+n:]
		case value[0] == '"' || value[0] == '\'':
			texts, _ = scan(value)
		}
		if len(texts) > 0 {
			if out[table] == nil {
				out[table] = map[string][]string{}
			}
			out[table][strings.Trim(strings.TrimSpace(key), `"'`)] = texts
		}
	}
	return out
}

// Text returns a key's single text, "" where there is none.
func (t TOML) Text(table, key string) string {
	if v := t[table][key]; len(v) == 1 {
		return v[0]
	}
	return ""
}

func tableName(line string) string {
	line = strings.TrimLeft(line, "[")
	if i := strings.LastIndexByte(line, ']'); i >= 0 {
		line = strings.TrimRight(line[:i], "]")
	}
	return strings.Map(func(r rune) rune {
		if r == '"' || r == '\'' || r == ' ' {
			return -1
		}
		return r
	}, line)
}

// scan collects the quoted texts of a value, one or those of a list, and
// returns how long the value is; -1 where it has no end.
func scan(value string) (texts []string, length int) {
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '#':
			nl := strings.IndexByte(value[i:], '\n')
			if nl < 0 {
				return texts, -1
			}
			i += nl
		case ']':
			return texts, i + 1
		case '"', '\'':
			var b strings.Builder
			j := i + 1
			for ; j < len(value) && value[j] != c && value[j] != '\n'; j++ {
				if c == '"' && value[j] == '\\' && j+1 < len(value) {
					j++ // \" and \\, which are all that a path needs
				}
				b.WriteByte(value[j])
			}
			if j >= len(value) || value[j] != c {
				return nil, -1
			}
			texts = append(texts, b.String())
			i = j
			if value[0] != '[' {
				return texts, i + 1
			}
		}
	}
	return texts, -1
}
