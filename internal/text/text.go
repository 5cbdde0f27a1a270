// Package text makes names and messages that an attacker chose safe to print.
//
// Names in evidence are bytes. JSON carries them as valid UTF-8 (ForJSON), a
// terminal gets no control, bidirectional or zero-width character (ForTerminal).
//
// Names are hostile, of any bytes and length; nothing here panics.
package text

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// ForJSON returns s as valid UTF-8, each bad byte written as \xNN, and whether
// s was valid already. Where it was not, a record also carries the bytes
// themselves, base64, under the field's name with _raw.
func ForJSON(s string) (string, bool) {
	if utf8.ValidString(s) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			escapeByte(&b, s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String(), false
}

// ForTerminal returns s with every byte escaped that could move the cursor,
// hide text, change its direction or break a line.
func ForTerminal(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			escapeByte(&b, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x20 || r == 0x7f:
			escapeByte(&b, byte(r))
		case r > 0x7f && !Printable(r):
			for j := i; j < i+n; j++ {
				escapeByte(&b, s[j])
			}
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Printable says whether a terminal shows r as a character. It leaves out control (Cc), format (Cf: bidirectional, zero-width),
// private and unassigned characters, all spaces but U+0020, and what else is
// drawn as nothing (Default_Ignorable_Code_Point: fillers, variation selectors).
func Printable(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func escapeByte(b *strings.Builder, c byte) {
	b.WriteString(`\x`)
	b.WriteByte(hexDigits[c>>4])
	b.WriteByte(hexDigits[c&15])
}

// AppendJSON appends s to dst as a quoted JSON string. s must be valid UTF-8;
// see ForJSON. What RFC 8259 section 7 demands is escaped, and what a terminal
// would act on or hide.
func AppendJSON(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if !Printable(r) {
				dst = appendEscape(append(dst, s[start:i]...), r)
				start = i + n
			}
			i += n
			continue
		}
		i++
		if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		dst = append(dst, s[start:i-1]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = appendEscape(dst, rune(c))
		}
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendEscape appends r as \uXXXX, beyond U+FFFF as two of them.
func appendEscape(dst []byte, r rune) []byte {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return appendEscape(appendEscape(dst, high), low)
	}
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// JSON is a writer of finished JSON texts that escapes in their strings what a
// terminal would act on or hide. Each Write must end between characters, as
// those of json.Encoder do.
type JSON struct{ W io.Writer }

// Write implements io.Writer.
func (j JSON) Write(p []byte) (int, error) {
	if plainJSON(p) {
		return j.W.Write(p)
	}
	safe := make([]byte, 0, len(p)+64)
	for i := 0; i < len(p); {
		r, n := utf8.DecodeRune(p[i:])
		if r == 0x7f || r >= utf8.RuneSelf && !Printable(r) {
			safe = appendEscape(safe, r)
		} else {
			safe = append(safe, p[i:i+n]...)
		}
		i += n
	}
	if _, err := j.W.Write(safe); err != nil {
		return 0, err
	}
	return len(p), nil
}

// plainJSON says that there is nothing to escape: control characters are
// escaped in JSON already, and line breaks stand between its parts.
func plainJSON(p []byte) bool {
	for _, c := range p {
		if c >= 0x7f {
			return false
		}
	}
	return true
}
