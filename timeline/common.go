package timeline

import "slices"

// Common is a set of fields that many records share: those of a container, of
// a filesystem, of a log. It is kept and rendered once, however many records
// refer to it. It doesn't change, and may be used by several goroutines.
type Common struct {
	mask fieldSet
	name []byte
	form byte
	body []byte
	json []byte // the fields as JSON, each with a comma before it
	pos  [numFields]uint32
	// bodyPrefix is what stands before names in a bodyfile.
	bodyPrefix string
}

// Common returns the record's fields, without kind, message template and
// times, to be shared. The record may be reused.
func (r *Record) Common() *Common {
	if r.offset != 0 { // among the other fields: only a record's own offset orders it
		r.body = appendIntField(r.body, uint8(FieldOffset), int64(r.offset-1))
	}
	c := &Common{mask: r.mask, name: slices.Clone(r.name), form: r.nameForm, body: slices.Clone(r.body)}
	v := view{name: c.name, nameForm: c.form, body: c.body}
	if len(c.name) > 0 {
		c.json = append(c.json, fieldKeys[FieldDisplayName]...)
		c.json = appendJSONText(c.json, c.name, c.form)
	}
	for f := range v.fields() {
		c.pos[f.id] = uint32(f.at) + 1
		c.json = f.appendJSON(c.json)
	}
	c.bodyPrefix = bodyPrefix(c)
	return c
}
