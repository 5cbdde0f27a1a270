package timeline

import "lagan/internal/text"

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
	kindJSON = func() (out [numDataTypes]string) {
		for k, t := range dataTypes {
			out[k] = `,"data_type":"` + t.name + `","source_short":"` + t.short + `","source_long":"` + t.long + `"`
		}
		return out
	}()
)

// jsonl writes one JSON object a line, as Timesketch imports it.
type jsonl struct {
	commons []*Common
	clock   clock
	v       view
	scratch []byte
}

func (*jsonl) header(dst []byte) []byte { return dst }

func (j *jsonl) append(dst []byte, items []item) ([]byte, error) {
	for i := range items {
		var err error
		if dst, err = j.event(dst, &items[i]); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (j *jsonl) event(dst []byte, it *item) ([]byte, error) {
	v := &j.v
	if err := v.parse(it.rec, j.commons); err != nil {
		return dst, err
	}
	if err := v.index(); err != nil {
		return dst, err
	}
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
	dst, truncated := j.message(dst, len(it.rec))
	kind := v.kind
	if kind >= numDataTypes {
		kind = Unknown
	}
	dst = append(dst, kindJSON[kind]...)
	dst = j.fields(dst)
	if _, said := v.find(uint8(FieldTruncated)); truncated && !said {
		dst = append(dst, `,"truncated":true`...)
	}
	return append(dst, '}', '\n'), nil
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
