package timeline

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"lagan/internal/text"
)

// l2tcsv writes log2timeline's 17 columns, as plaso's l2tcsv output does
// (plaso/output/l2t_csv.py). Values are not quoted: a comma or a line break in
// one becomes a space, other control characters are written as \xNN, and a
// value that a spreadsheet would take for a formula gets an apostrophe. The
// times of one file that are equal are one line.
type l2tcsv struct {
	commons []*Common
	clock   clock
	v       view
	scratch []byte
}

func (*l2tcsv) header(dst []byte) []byte {
	return append(dst, "date,time,timezone,MACB,source,sourcetype,type,user,host,short,desc,version,filename,inode,notes,format,extra\n"...)
}

func (l *l2tcsv) append(dst []byte, items []item) ([]byte, error) {
	for i := 0; i < len(items); {
		n := 1
		for items[i].k.macb() != 0 && i+n < len(items) && items[i+n].k.macb() != 0 && sameTime(items[i].k, items[i+n].k) && bytes.Equal(items[i].rec, items[i+n].rec) {
			n++
		}
		var err error
		if dst, err = l.line(dst, items[i:i+n]); err != nil {
			return dst, err
		}
		i += n
	}
	return dst, nil
}

// line appends the line of events of one record and time.
func (l *l2tcsv) line(dst []byte, items []item) ([]byte, error) {
	v := &l.v
	if err := v.parse(items[0].rec, l.commons); err != nil {
		return dst, err
	}
	if err := v.index(); err != nil {
		return dst, err
	}
	k := items[0].k
	sec, _ := micros(k.sec(), k.nsec())
	l.clock.set(sec)
	d := &l.clock.date // 2006-01-02T15:04:05
	dst = append(dst, d[5], d[6], '/', d[8], d[9], '/')
	dst = append(append(dst, d[:4]...), ',')
	dst = append(append(dst, d[11:19]...), ",UTC,"...)
	dst = append(append(dst, strings.ToUpper(macbNames[k.macb()])...), ',')
	kind := dataTypes[v.kind.known()]
	dst = append(append(append(append(dst, kind.short...), ','), kind.long...), ',')
	for i := range items {
		if i > 0 {
			dst = append(dst, "; "...)
		}
		dst = append(dst, items[i].k.desc().String()...)
	}
	dst = l.field(dst, FieldUsername)
	dst = l.field(dst, FieldHostname)
	msg, _ := v.message(l.scratch[:0])
	l.scratch = msg
	const short = 80 // as plaso's formatters cut it
	if len(msg) > short {
		dst = appendValue(append(dst, ','), append(bytes.Clone(msg[:cut(msg, short-3)]), "..."...))
	} else {
		dst = appendValue(append(dst, ','), msg)
	}
	dst = appendValue(append(dst, ','), msg)
	dst = append(dst, ",2"...)
	if v.has(uint8(FieldFilename)) {
		dst = l.field(dst, FieldFilename)
	} else {
		dst = l.field(dst, FieldDisplayName)
	}
	dst = l.field(dst, FieldInode)
	dst = l.field(dst, FieldTimeAssumption)
	dst = l.field(dst, FieldParser)
	return append(l.extra(append(dst, ',')), '\n'), nil
}

// shown are the fields that have a column of their own.
var shown = func() (s fieldSet) {
	for _, f := range []StringField{FieldMessage, FieldUsername, FieldHostname, FieldFilename, FieldInode, FieldTimeAssumption, FieldParser} {
		s.add(uint8(f))
	}
	return s
}()

// extra appends all other fields, as name: value; name: value.
func (l *l2tcsv) extra(dst []byte) []byte {
	start := len(dst)
	for id := 1; id < numFields; id++ {
		if shown.has(uint8(id)) {
			continue
		}
		f, ok := l.v.find(uint8(id))
		if !ok {
			continue
		}
		if len(dst) > start {
			dst = append(dst, "; "...)
		}
		dst = append(append(dst, fieldNames[id]...), ": "...)
		l.scratch = f.appendText(l.scratch[:0])
		dst = appendClean(dst, l.scratch, ',')
	}
	if len(dst) == start {
		dst = append(dst, '-')
	}
	return dst
}

func (l *l2tcsv) field(dst []byte, f StringField) []byte {
	v, ok := l.v.find(uint8(f))
	if !ok {
		return append(dst, ",-"...)
	}
	l.scratch = v.appendText(l.scratch[:0])
	return appendValue(append(dst, ','), l.scratch)
}

// appendValue appends one column.
func appendValue(dst, b []byte) []byte {
	if len(b) == 0 || len(b) == 1 && b[0] == '-' {
		return append(dst, '-')
	}
	if bytes.IndexByte([]byte("=+-@\t\r"), b[0]) >= 0 {
		dst = append(dst, '\'')
	}
	return appendClean(dst, b, ',')
}

// appendClean appends a value as one that holds neither the separator nor a line
// break: they become spaces, other control characters \xNN.
func appendClean(dst, b []byte, separator rune) []byte {
	const hex = "0123456789abcdef"
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == separator || r == '\n' || r == '\r' || r == '\t':
			dst = append(dst, ' ')
		case r == utf8.RuneError && n == 1, !text.Printable(r):
			for _, c := range b[:n] {
				dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			}
		default:
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return dst
}
