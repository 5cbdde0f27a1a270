package find

import "strings"

// Glob says whether a name matches a pattern as fnmatch(3) without flags: * any
// text, / among it, ? one byte, [...] one of several, \ the next byte itself.
// fold takes ASCII letters of either case for the same.
func Glob(pattern, name string, fold bool) bool {
	if fold {
		pattern, name = lower(pattern), lower(name)
	}
	p, n := 0, 0
	star, retry := -1, 0 // the last *, and where what it stands for ends
	for n < len(name) || p < len(pattern) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, retry = p, n
				p++
				continue
			}
			if n < len(name) {
				if next, ok := one(pattern, p, name[n]); ok {
					p, n = next, n+1
					continue
				}
			}
		}
		if star < 0 || retry >= len(name) {
			return false
		}
		retry++
		p, n = star+1, retry
	}
	return true
}

func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// one matches one byte, and returns where the pattern goes on.
func one(p string, at int, c byte) (next int, ok bool) {
	switch p[at] {
	case '?':
		return at + 1, true
	case '\\':
		if at+1 < len(p) {
			return at + 2, p[at+1] == c
		}
	case '[':
		if end, ok := class(p, at+1, c); end > 0 {
			return end, ok
		}
	}
	return at + 1, p[at] == c
}

// class matches a bracket expression, and returns where it ends; 0 where it
// doesn't, and the bracket stands for itself.
func class(p string, at int, c byte) (end int, ok bool) {
	not := at < len(p) && (p[at] == '!' || p[at] == '^')
	if not {
		at++
	}
	for first := true; at < len(p); first = false {
		switch {
		case p[at] == ']' && !first:
			return at + 1, ok != not
		case strings.HasPrefix(p[at:], "[:"):
			if k := strings.Index(p[at:], ":]"); k > 0 {
				ok = ok || inClass(p[at+2:at+k], c)
				at += k + 2
				continue
			}
		case p[at] == '\\' && at+1 < len(p):
			at++
		}
		from, to := p[at], p[at]
		at++
		if at+1 < len(p) && p[at] == '-' && p[at+1] != ']' {
			to = p[at+1]
			at += 2
		}
		ok = ok || from <= c && c <= to
	}
	return 0, false
}

func inClass(name string, c byte) bool {
	isUpper, isLower, isDigit := c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9'
	switch name {
	case "upper":
		return isUpper
	case "lower":
		return isLower
	case "alpha":
		return isUpper || isLower
	case "digit":
		return isDigit
	case "alnum":
		return isUpper || isLower || isDigit
	case "xdigit":
		return isDigit || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
	case "space":
		return c == ' ' || c >= '\t' && c <= '\r'
	case "blank":
		return c == ' ' || c == '\t'
	case "punct":
		return c > ' ' && c < 0x7f && !isUpper && !isLower && !isDigit
	case "cntrl":
		return c < ' ' || c == 0x7f
	case "print":
		return c >= ' ' && c < 0x7f
	case "graph":
		return c > ' ' && c < 0x7f
	}
	return false
}

// HasMeta says whether a path is a pattern.
func HasMeta(path string) bool { return strings.ContainsAny(path, `*?[`) }
