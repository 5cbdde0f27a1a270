package timeline

import "bytes"

// csv writes the fields of jsonl as comma-separated values (RFC 4180), for
// Timesketch and spreadsheets. The header has every field that any record has.
//
// A cell of text that begins with = + - @, a tab or a carriage return, which a
// spreadsheet would take for a formula, gets an apostrophe in front; one that
// begins with apostrophes and then such a character gets another, so that the
// text can be had back. NUL, which readers of CSV fail at, becomes \x00. Lists
// are JSON.
type csv struct {
	commons []*Common
	columns []uint8 // fields after the fixed ones
	clock   clock
	v       view
	scratch []byte
	tails   tailCache
}

// csvFixed are the columns that every line has.
const csvFixed = "datetime,timestamp,timestamp_desc,timestamp_nanoseconds,macb,message,data_type,source_short,source_long"

func newCSV(s *Sorter) *csv {
	c := &csv{commons: s.commons}
	for id := 1; id < numFields; id++ {
		if id != int(FieldMessage) && s.fields.has(uint8(id)) {
			c.columns = append(c.columns, uint8(id))
		}
	}
	return c
}

func (c *csv) header(dst []byte) []byte {
	dst = append(dst, csvFixed...)
	for _, id := range c.columns {
		dst = append(append(dst, ','), fieldNames[id]...)
	}
	return append(dst, '\n')
}

func (c *csv) append(dst []byte, items []item) ([]byte, error) {
	c.tails[0].rec = nil
	for i := range items {
		it := &items[i]
		sec, nsec := it.k.sec(), it.k.nsec()
		rsec, us := micros(sec, nsec)
		dst = c.clock.appendDate(dst, rsec, us)
		dst = c.clock.appendScaled(append(dst, ','), rsec, us, 6)
		dst = append(append(dst, ','), it.k.desc().String()...)
		dst = c.clock.appendScaled(append(dst, ','), sec, nsec, 9)
		dst = append(dst, ',')
		if m := it.k.macb(); m != 0 {
			dst = append(dst, macbNames[m]...)
		}
		tail := c.tails.entry(it)
		if len(*tail) == 0 {
			var err error
			if *tail, err = c.record(*tail, it.rec); err != nil {
				return dst, err
			}
		}
		dst = append(dst, *tail...)
	}
	return dst, nil
}

// record appends the cells that all lines of a record have in common.
func (c *csv) record(dst, rec []byte) ([]byte, error) {
	v := &c.v
	if err := v.parse(rec, c.commons); err != nil {
		return dst[:0], err
	}
	if err := v.index(); err != nil {
		return dst[:0], err
	}
	msg, truncated := v.message(c.scratch[:0])
	c.scratch = msg
	dst = appendCell(append(dst, ','), msg)
	kind := dataTypes[v.kind.known()]
	for _, s := range [...]string{kind.name, kind.short, kind.long} {
		dst = append(append(dst, ','), s...)
	}
	for _, id := range c.columns {
		dst = append(dst, ',')
		f, ok := v.find(id)
		switch {
		case !ok && truncated && id == uint8(FieldTruncated):
			dst = append(dst, "true"...)
		case !ok:
		case f.typ == typeString && f.form != formNumber:
			dst = appendCell(dst, f.b)
		default:
			c.scratch = f.appendText(c.scratch[:0])
			dst = appendQuoted(dst, c.scratch, false)
		}
	}
	return append(dst, '\n'), nil
}

// appendCell appends text that may come from an attacker.
func appendCell(dst, b []byte) []byte {
	rest := bytes.TrimLeft(b, "'")
	return appendQuoted(dst, b, len(rest) > 0 && bytes.IndexByte([]byte("=+-@\t\r"), rest[0]) >= 0)
}

func appendQuoted(dst, b []byte, guard bool) []byte {
	quote := bytes.ContainsAny(b, ",\"\r\n") || len(b) > 0 && (b[0] == ' ' || b[len(b)-1] == ' ')
	if quote {
		dst = append(dst, '"')
	}
	if guard {
		dst = append(dst, '\'')
	}
	for _, c := range b {
		switch c {
		case '"':
			dst = append(dst, '"', '"')
		case 0:
			dst = append(dst, `\x00`...)
		default:
			dst = append(dst, c)
		}
	}
	if quote {
		dst = append(dst, '"')
	}
	return dst
}
