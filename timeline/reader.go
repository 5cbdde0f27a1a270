package timeline

import (
	"fmt"
	"iter"
	"time"
)

// Reader reads the fields of records that are being built, before or instead of
// their being written. One Reader serves for many records, one after the other.
type Reader struct {
	v view
	r *Record
}

// Kind returns the record's kind.
func (r *Record) Kind() DataType { return r.kind }

// Read turns to a record. What is asked for then is that record's, until it changes.
func (x *Reader) Read(r *Record) error {
	x.r = r
	x.v.name, x.v.nameForm, x.v.ownName = r.name, r.nameForm, len(r.name) > 0
	x.v.offset, x.v.kind, x.v.template, x.v.common, x.v.body = r.offset, r.kind, r.template, r.common, r.body
	if !x.v.ownName && r.common != nil {
		x.v.name, x.v.nameForm = r.common.name, r.common.form
	}
	return x.v.index()
}

// Text returns a field as text, "" where the record has none.
func (x *Reader) Text(f StringField) string { return x.text(uint8(f)) }

// Number returns a number field as text, "" where the record has none.
func (x *Reader) Number(f IntField) string { return x.text(uint8(f)) }

func (x *Reader) text(id uint8) string {
	v, ok := x.v.find(id)
	if !ok {
		return ""
	}
	return string(v.appendText(nil))
}

// Bytes returns a field's text without copying it: it is valid as long as the record.
func (x *Reader) Bytes(f StringField) []byte {
	v, ok := x.v.find(uint8(f))
	if !ok || v.form == formNumber {
		return nil
	}
	return v.b
}

// Message returns the record's text.
func (x *Reader) Message() string {
	b, _ := x.v.message(nil)
	return string(b)
}

// Times yields what happened when.
func (x *Reader) Times() iter.Seq2[fmt.Stringer, time.Time] {
	return func(yield func(fmt.Stringer, time.Time) bool) {
		for _, s := range x.r.stamps {
			if s.desc == NotATime {
				continue
			}
			if !yield(s.desc, time.Unix(s.sec, int64(s.nsec)).UTC()) {
				return
			}
		}
	}
}

// List returns the values of a list field.
func (x *Reader) List(f ListField) []string {
	v, ok := x.v.find(uint8(f))
	if !ok {
		return nil
	}
	var out []string
	for item := range v.list() {
		out = append(out, string(item.b))
	}
	return out
}
