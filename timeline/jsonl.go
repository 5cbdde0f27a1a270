package timeline

import (
	"sync"

	"lagan/internal/text"
)

// The fixed parts of a line of JSON.
var (
	descJSON = func() (out [numDescs]string) {
		for d, name := range descNames {
			out[d] = `,"timestamp_desc":"` + name + `","timestamp_nanoseconds":"`
		}
		return out
	}()
	macbJSON = func() (out [16]string) {
		for set, name := range macbNames {
			if set != 0 {
				out[set] = `,"macb":"` + name + `"`
			}
		}
		return out
	}()
	// Once all kinds are there.
	kindJSON = sync.OnceValue(func() *[maxDataTypes]string {
		var out [maxDataTypes]string
		for k, t := range dataTypes {
			out[k] = `,"data_type":"` + t.name + `","source_short":"` + t.short + `","source_long":"` + t.long + `"`
		}
		return &out
	})
)

// jsonl writes one JSON object a line, as Timesketch imports it.
type jsonl struct {
	commons []*Common
	clock   clock
	v       view
	scratch []byte
	tails   tailCache
}

func (*jsonl) header(dst []byte) []byte { return dst }

func (j *jsonl) append(dst []byte, items []item) ([]byte, error) {
	j.tails[0].rec = nil // of an earlier batch, whose memory may be in use again
	for i := range items {
		var err error
		if dst, err = j.event(dst, &items[i]); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (j *jsonl) event(dst []byte, it *item) ([]byte, error) {
	sec, nsec := it.k.sec(), it.k.nsec()
	rsec, us := micros(sec, nsec)
	dst = append(dst, `{"datetime":"`...)
	dst = j.clock.appendDate(dst, rsec, us)
	dst = append(dst, `","timestamp":`...)
	dst = j.clock.appendScaled(dst, rsec, us, 6)
	dst = append(dst, descJSON[it.k.desc()]...)
	dst = j.clock.appendScaled(dst, sec, nsec, 9)
	dst = append(dst, '"')
	dst = append(dst, macbJSON[it.k.macb()]...)
	tail := j.tails.entry(it)
	if len(*tail) == 0 {
		var err error
		if *tail, err = j.record(*tail, it.rec); err != nil {
			return dst, err
		}
	}
	return append(dst, *tail...), nil
}

// record appends what all lines of a record have in common, to the line's end.
func (j *jsonl) record(dst, rec []byte) ([]byte, error) {
	v := &j.v
	if err := v.parse(rec, j.commons); err != nil {
		return dst[:0], err
	}
	if err := v.index(); err != nil {
		return dst[:0], err
	}
	dst, truncated := j.message(dst, len(rec))
	dst = append(dst, kindJSON()[v.kind.known()]...)
	dst = j.fields(dst)
	if _, said := v.find(uint8(FieldTruncated)); truncated && !said {
		dst = append(dst, `,"truncated":true`...)
	}
	return append(dst, '}', '\n'), nil
}

// tailCache keeps how the records of late events were rendered: the times of
// one file are often the same or near each other.
type tailCache [256]struct {
	rec  []byte
	text []byte
}

// entry returns the rendered text of an event's record, empty where it is to
// be rendered.
func (t *tailCache) entry(it *item) *[]byte {
	place := it.k.place()
	e := &t[(place^place>>8)%uint64(len(t))]
	// Records in memory stay where they are. Those that were read back, whose
	// place is 0, are moved: only the same slice is the same record.
	if len(e.rec) != len(it.rec) || &e.rec[0] != &it.rec[0] {
		e.rec, e.text = it.rec, e.text[:0]
	}
	return &e.text
}

// message appends the message, of a template without a detour where it can't be too long.
func (j *jsonl) message(dst []byte, size int) ([]byte, bool) {
	v := &j.v
	dst = append(dst, fieldKeys[FieldMessage]...)
	if v.template != nil && size < maxText/2 && (v.common == nil || len(v.common.json) < maxText/4) && len(v.name) > 0 && !v.mask.has(uint8(FieldMessage)) {
		dst = append(dst, '"')
		dst = v.template.appendJSON(dst, v)
		return append(dst, '"'), false
	}
	msg, truncated := v.message(j.scratch[:0])
	j.scratch = msg
	return text.AppendJSON(dst, string(msg)), truncated
}

// appendJSON appends the line's text as the inside of a JSON string.
func (t *Template) appendJSON(dst []byte, v *view) []byte {
	for i := range t.parts {
		p := &t.parts[i]
		f, ok := v.find(p.field)
		if !ok {
			continue
		}
		dst = append(dst, p.before...)
		switch {
		case p.octal:
			dst = appendOctal(dst, f.num)
		case f.typ == typeString && f.form == formPlain:
			dst = append(dst, f.b...)
		case f.typ == typeInt:
			dst = appendInt(dst, f.num)
		default:
			quoted := text.AppendJSON(nil, string(f.appendText(nil)))
			dst = append(dst, quoted[1:len(quoted)-1]...)
		}
	}
	return append(dst, t.tail...)
}

// fields appends all fields but the message.
func (j *jsonl) fields(dst []byte) []byte {
	v := &j.v
	if v.ownName {
		dst = append(dst, fieldKeys[FieldDisplayName]...)
		dst = appendJSONText(dst, v.name, v.nameForm)
	}
	if v.offset != 0 {
		dst = append(dst, fieldKeys[FieldOffset]...)
		dst = appendInt(dst, int64(v.offset-1))
	}
	for at := 0; at < len(v.body); {
		f, next := v.field(at)
		if next < 0 {
			break // index went through all
		}
		at = next
		if f.id != uint8(FieldMessage) {
			dst = f.appendJSON(dst)
		}
	}
	if v.common == nil {
		return dst
	}
	c := v.common
	if !c.mask.intersects(&v.mask) && !c.mask.has(uint8(FieldMessage)) {
		return append(dst, c.json...)
	}
	if !v.ownName && len(c.name) > 0 {
		dst = append(dst, fieldKeys[FieldDisplayName]...)
		dst = appendJSONText(dst, c.name, c.form)
	}
	cv := view{name: c.name, nameForm: c.form, body: c.body}
	for f := range cv.fields() {
		if f.id != uint8(FieldMessage) && !v.mask.has(f.id) {
			dst = f.appendJSON(dst)
		}
	}
	return dst
}
