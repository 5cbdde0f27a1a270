package sqlite

import (
	"iter"
	"strings"
)

// columnsOf returns the names of the columns that a CREATE TABLE defines, and
// which one stands for the row id: lang_createtable.html.
func columnsOf(sql string) (columns []string, rowID int) {
	rowID = -1
	for name, rest := range definitions(sql) {
		words := strings.Fields(rest)
		if len(words) >= 3 && strings.EqualFold(strings.Join(words[:3], " "), "INTEGER PRIMARY KEY") {
			rowID = len(columns)
		}
		columns = append(columns, name)
	}
	return columns, rowID
}

// kind is what a column's values are.
type kind uint8

const (
	kindAny     kind = iota
	kindText         // a text or NULL
	kindInteger      // a whole number or NULL
)

// kindsOf returns what the columns of a table hold: section 3.1 of datatype3.html,
// for rows that keep to what was declared.
func kindsOf(sql string) []kind {
	var out []kind
	for _, rest := range definitions(sql) {
		declared, _ := firstWord(strings.TrimSpace(rest))
		switch declared = strings.ToUpper(declared); {
		case strings.Contains(declared, "INT"):
			out = append(out, kindInteger)
		case strings.Contains(declared, "CHAR"), strings.Contains(declared, "CLOB"), strings.Contains(declared, "TEXT"):
			out = append(out, kindText)
		default:
			out = append(out, kindAny)
		}
	}
	return out
}

// holds says whether a value of the given serial type may stand in the column: section 2.1 of fileformat2.html.
func (k kind) holds(typ int64) bool {
	switch k {
	case kindText:
		return typ == 0 || typ >= 13 && typ%2 == 1
	case kindInteger:
		return typ >= 0 && typ <= 6 || typ == 8 || typ == 9
	}
	return true
}

// definitions yields the columns of a CREATE TABLE: the name of each and what stands
// behind it. It knows quotes, parentheses and comments, and no more of SQL than that.
func definitions(sql string) iter.Seq2[string, string] {
	return func(yield func(name, rest string) bool) {
		sql := uncommented(sql)
		open := strings.IndexByte(sql, '(')
		if open < 0 {
			return
		}
		for _, def := range split(sql[open+1:]) {
			name, rest := firstWord(strings.TrimSpace(def))
			switch strings.ToUpper(name) {
			case "", "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN":
				continue
			}
			if !yield(name, rest) {
				return
			}
		}
	}
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
