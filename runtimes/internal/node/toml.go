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
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '[':
			table = tableName(line)
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		// A list may go on over lines, up to its bracket.
		for strings.HasPrefix(value, "[") && !closed(value) && text != "" {
			line, text, _ = strings.Cut(text, "\n")
			value += "\n" + line
		}
		if texts := quoted(value); texts != nil {
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

// closed says whether a list's closing bracket was met outside of quotes and comments.
func closed(value string) bool {
	_, end := scan(value)
	return end
}

// quoted returns the texts of a value: one, or those of a list. nil where it is of another type.
func quoted(value string) []string {
	if value == "" || value[0] != '"' && value[0] != '\'' && value[0] != '[' {
		return nil
	}
	texts, _ := scan(value)
	return texts
}

// scan collects the quoted texts of a value, and says whether a bracket closed it.
func scan(value string) (texts []string, end bool) {
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '#':
			nl := strings.IndexByte(value[i:], '\n')
			if nl < 0 {
				return texts, false
			}
			i += nl
		case ']':
			return texts, true
		case '"', '\'':
			var b strings.Builder
			j := i + 1
			for ; j < len(value) && value[j] != c; j++ {
				if c == '"' && value[j] == '\\' && j+1 < len(value) {
					j++ // \" and \\, which are all that a path needs
				}
				b.WriteByte(value[j])
			}
			if j >= len(value) {
				return texts, false
			}
			texts = append(texts, b.String())
			i = j
			if value[0] != '[' {
				return texts, true
			}
		}
	}
	return texts, false
}
