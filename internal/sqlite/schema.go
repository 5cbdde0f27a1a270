package sqlite

import "strings"

// columnsOf returns the names of the columns that a CREATE TABLE defines, and
// which one stands for the row id: lang_createtable.html. It knows quotes,
// parentheses and comments, and no more of SQL than that.
func columnsOf(sql string) (columns []string, rowID int) {
	rowID = -1
	sql = uncommented(sql)
	open := strings.IndexByte(sql, '(')
	if open < 0 {
		return nil, -1
	}
	for _, def := range split(sql[open+1:]) {
		name, rest := firstWord(strings.TrimSpace(def))
		switch strings.ToUpper(name) {
		case "", "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN":
			continue
		}
		words := strings.Fields(rest)
		if len(words) >= 3 && strings.EqualFold(strings.Join(words[:3], " "), "INTEGER PRIMARY KEY") {
			rowID = len(columns)
		}
		columns = append(columns, name)
	}
	return columns, rowID
}

// firstWord cuts a definition behind its column's name, which may be quoted.
func firstWord(def string) (name, rest string) {
	if def == "" {
		return "", ""
	}
	if i := strings.IndexByte("\"'`[", def[0]); i >= 0 {
		if name, rest, ok := strings.Cut(def[1:], "\"'`]"[i:i+1]); ok {
			return name, rest
		}
	}
	if i := strings.IndexAny(def, " \t\r\n("); i >= 0 {
		return def[:i], def[i:]
	}
	return def, ""
}

// split cuts the inside of a parenthesis at its commas.
func split(s string) []string {
	var out []string
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return append(out, s[from:i])
			}
		case '\'', '"', '`':
			if end := strings.IndexByte(s[i+1:], s[i]); end >= 0 {
				i += 1 + end
			}
		case ',':
			if depth == 0 {
				out = append(out, s[from:i])
				from = i + 1
			}
		}
	}
	return append(out, s[from:])
}

// uncommented returns sql without its comments.
func uncommented(sql string) string {
	var b strings.Builder
	for i := 0; i < len(sql); i++ {
		end := -1
		switch {
		case strings.HasPrefix(sql[i:], "--"):
			end = strings.IndexByte(sql[i:], '\n')
		case strings.HasPrefix(sql[i:], "/*"):
			if end = strings.Index(sql[i+2:], "*/"); end >= 0 {
				end += 4
			}
		default:
			b.WriteByte(sql[i])
			continue
		}
		if end < 0 {
			break
		}
		b.WriteByte(' ')
		i += end - 1
	}
	return b.String()
}
