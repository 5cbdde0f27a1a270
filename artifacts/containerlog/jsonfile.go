package containerlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"unicode/utf16"
	"unicode/utf8"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// pieceSize is the size of a piece of a longer line, before its bytes that are
// no UTF-8 were replaced by longer ones (moby daemon/logger/copier.go,
// defaultBufSize). A shorter text without a line feed was a program's last.
const pieceSize = 16 << 10

// JSONFile reads Docker's json-file log (moby daemon/logger/jsonfilelog): one
// object a line, {"log":"...","stream":"stdout","time":"..."}. A line of output
// longer than 16 KiB is several objects, of which the last has the line feed.
func JSONFile(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var buf []byte
		for l, err := range lines.Read(r) {
			if err == nil && len(bytes.TrimSpace(l.Text)) == 0 {
				continue
			}
			var e Entry
			if err == nil {
				e, buf, err = parseJSON(l, buf[:0])
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// parseJSON reads one object. What Docker's encoder writes is read by hand;
// any other valid JSON by encoding/json. The text is put into buf.
func parseJSON(l lines.Line, buf []byte) (Entry, []byte, error) {
	e := Entry{Offset: l.Offset}
	o := object{rest: l.Text, buf: buf}
	stamp, ok := o.parse(&e)
	if !ok {
		var slow struct{ Log, Stream, Time string }
		if err := json.Unmarshal(l.Text, &slow); err != nil {
			if l.Cut {
				err = fmt.Errorf("it is longer than %d bytes", lines.MaxLine)
			}
			return Entry{}, o.buf, fmt.Errorf("line at %#x: %q: %v: %w", l.Offset, quote(l.Text), err, evidence.ErrCorrupt)
		}
		o.buf = append(o.buf[:0], slow.Log...)
		e.Source, stamp = slow.Stream, []byte(slow.Time)
	}
	if e.Time, ok = parseTime(stamp); !ok {
		return Entry{}, o.buf, fmt.Errorf("line at %#x: %q is no time: %w", l.Offset, quote(stamp), evidence.ErrCorrupt)
	}
	e.Text = bytes.TrimSuffix(o.buf, []byte{'\n'})
	e.Unended = len(e.Text) == len(o.buf)
	e.More = e.Unended && len(e.Text) >= pieceSize
	return e, o.buf, nil
}

// object reads {"log":"...","stream":"...","time":"..."} in this order, with
// other members only if encoding/json reads it.
type object struct {
	rest []byte
	buf  []byte
}

func (o *object) parse(e *Entry) (stamp []byte, ok bool) {
	if !o.take(`{"log":"`) || !o.unescape() {
		return nil, false
	}
	if !o.take(`,"stream":"`) {
		return nil, false
	}
	src, ok := o.plain()
	if !ok || !o.take(`,"time":"`) {
		return nil, false
	}
	e.Source = source(src)
	stamp, ok = o.plain()
	return stamp, ok && o.take("}") && len(o.rest) == 0
}

func (o *object) take(s string) bool {
	if len(o.rest) < len(s) || string(o.rest[:len(s)]) != s {
		return false
	}
	o.rest = o.rest[len(s):]
	return true
}

// plain reads up to the closing quote of a string without escapes.
func (o *object) plain() ([]byte, bool) {
	at := bytes.IndexByte(o.rest, '"')
	if at < 0 || bytes.IndexByte(o.rest[:at], '\\') >= 0 {
		return nil, false
	}
	b := o.rest[:at]
	o.rest = o.rest[at+1:]
	return b, true
}

// unescape appends a string up to its closing quote to buf.
func (o *object) unescape() bool {
	for {
		at := bytes.IndexAny(o.rest, `"\`)
		if at < 0 || at+1 >= len(o.rest) {
			return false
		}
		o.buf = append(o.buf, o.rest[:at]...)
		c := o.rest[at]
		if c == '"' {
			o.rest = o.rest[at+1:]
			return true
		}
		esc := o.rest[at+1]
		o.rest = o.rest[at+2:]
		switch esc {
		case '"', '\\', '/':
			o.buf = append(o.buf, esc)
		case 'n':
			o.buf = append(o.buf, '\n')
		case 'r':
			o.buf = append(o.buf, '\r')
		case 't':
			o.buf = append(o.buf, '\t')
		case 'b':
			o.buf = append(o.buf, '\b')
		case 'f':
			o.buf = append(o.buf, '\f')
		case 'u':
			r, ok := o.hex()
			if !ok {
				return false
			}
			if utf16.IsSurrogate(r) {
				if !o.take(`\u`) {
					return false
				}
				low, ok := o.hex()
				if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
					return false
				}
			}
			o.buf = utf8.AppendRune(o.buf, r)
		default:
			return false
		}
	}
}

func (o *object) hex() (rune, bool) {
	if len(o.rest) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range o.rest[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	o.rest = o.rest[4:]
	return r, true
}
