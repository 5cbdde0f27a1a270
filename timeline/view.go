package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"lagan/internal/text"
)

// A record in memory and in run files:
//
//	uvarint  length of display_name << 1 | 1 if JSON escapes it
//	bytes    display_name
//	uvarint  offset + 1, or 0
//	byte     kind
//	uvarint  message template + 1, or 0
//	uvarint  common fields + 1, or 0
//	fields   a byte for the id, then
//	           text     uvarint length << 2 | form, bytes (see the forms)
//	           number   zigzag varint
//	           boolean  byte
//	           list     uvarint count, then text values without id
//
// It begins with what records of one time are ordered by.

// appendRecord appends r with the given number of its common fields.
func appendRecord(dst []byte, r *Record, common uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(r.name))<<1|uint64(r.nameForm))
	dst = append(dst, r.name...)
	dst = binary.AppendUvarint(dst, r.offset)
	dst = append(dst, byte(r.kind))
	dst = binary.AppendUvarint(dst, r.template.number())
	dst = binary.AppendUvarint(dst, common)
	return append(dst, r.body...)
}

// view gives access to a record's parts. Its slices point into the record.
type view struct {
	name     []byte
	nameForm byte
	ownName  bool // not its common fields'
	offset   uint64
	kind     DataType
	template *Template
	common   *Common
	commonID uint64
	body     []byte
	// mask and pos are valid after index.
	mask fieldSet
	pos  [numFields]uint32
}

// parse reads a record's head.
func (v *view) parse(rec []byte, commons []*Common) error {
	head, n := binary.Uvarint(rec)
	if n <= 0 || head>>1 > uint64(len(rec)-n) {
		return errRecord("name")
	}
	size := int(head >> 1)
	v.name, v.nameForm, v.ownName = rec[n:n+size], byte(head&1), size > 0
	rec = rec[n+size:]
	if v.offset, n = binary.Uvarint(rec); n <= 0 || n >= len(rec) {
		return errRecord("offset")
	}
	v.kind = DataType(rec[n])
	rec = rec[n+1:]
	t, n := binary.Uvarint(rec)
	if n <= 0 {
		return errRecord("template")
	}
	v.template = templateOf(t)
	rec = rec[n:]
	if v.commonID, n = binary.Uvarint(rec); n <= 0 || v.commonID > uint64(len(commons)) {
		return errRecord("common fields")
	}
	v.body, v.common = rec[n:], nil
	if v.commonID > 0 {
		v.common = commons[v.commonID-1]
		if !v.ownName {
			v.name, v.nameForm = v.common.name, v.common.form
		}
	}
	return nil
}

// errCorrupt says that a temporary file doesn't hold what was written to it.
var errCorrupt = errors.New("temporary file is corrupt")

func errRecord(part string) error {
	return fmt.Errorf("sorted record: %s: %w", part, errCorrupt)
}

// index notes where each field of the record's own begins.
func (v *view) index() error {
	v.mask = fieldSet{}
	if v.ownName {
		v.mask.add(uint8(FieldDisplayName))
	}
	if v.offset != 0 {
		v.mask.add(uint8(FieldOffset))
	}
	for at := 0; at < len(v.body); {
		f, next := v.field(at)
		if next < 0 {
			return errRecord("field")
		}
		v.mask.add(f.id)
		v.pos[f.id] = uint32(at)
		at = next
	}
	return nil
}

// field is one field of a record.
type field struct {
	id   uint8
	typ  fieldType
	form byte
	at   int
	num  int64  // a number, a boolean, a text's formNumber, the count of a list
	b    []byte // a text's bytes, the values of a list
}

// field decodes the field at an offset of the body, and returns the offset of
// the next one, -1 where the bytes are none.
func (v *view) field(at int) (field, int) {
	f := field{id: v.body[at], at: at}
	f.typ = fieldTypes[f.id]
	rest := v.body[at+1:]
	at++
	switch f.typ {
	case typeString:
		n := v.text(&f, rest)
		if n < 0 {
			return f, -1
		}
		return f, at + n
	case typeInt:
		x, n := binary.Varint(rest)
		if n <= 0 {
			return f, -1
		}
		f.num = x
		return f, at + n
	case typeBool:
		if len(rest) == 0 {
			return f, -1
		}
		f.num = int64(rest[0] & 1)
		return f, at + 1
	case typeList:
		count, n := binary.Uvarint(rest)
		if n <= 0 || count > uint64(len(rest)) {
			return f, -1
		}
		f.num = int64(count)
		values := rest[n:]
		size := 0
		for range count {
			var item field
			m := v.text(&item, values[size:])
			if m < 0 {
				return f, -1
			}
			size += m
		}
		f.b = values[:size]
		return f, at + n + size
	}
	return f, -1
}

// text decodes a text value and returns its length, -1 where it is none.
func (v *view) text(f *field, b []byte) int {
	// One byte tells the length of most texts.
	var x uint64
	n := 1
	if len(b) > 0 && b[0] < 0x80 {
		x = uint64(b[0])
	} else if x, n = binary.Uvarint(b); n <= 0 {
		return -1
	}
	f.form = byte(x & 3)
	x >>= 2
	switch f.form {
	case formNumber:
		f.num = int64(x)
		return n
	case formSuffix:
		if x > uint64(len(v.name)) {
			return -1
		}
		f.b, f.form = v.name[x:], v.nameForm
		return n
	}
	if x > uint64(len(b)-n) {
		return -1
	}
	f.b = b[n : n+int(x)]
	return n + int(x)
}

// fields yields the fields of the body, up to the first that can't be decoded.
func (v *view) fields() iter.Seq[field] {
	return func(yield func(field) bool) {
		for at := 0; at < len(v.body); {
			f, next := v.field(at)
			if next < 0 || !yield(f) {
				return
			}
			at = next
		}
	}
}

// find returns a field of the record or else of its common fields. It needs index.
func (v *view) find(id uint8) (field, bool) {
	switch {
	case id == uint8(FieldDisplayName):
		return field{id: id, typ: typeString, form: v.nameForm, b: v.name}, len(v.name) > 0
	case id == uint8(FieldOffset) && v.offset > 0:
		return field{id: id, typ: typeInt, num: int64(v.offset - 1)}, true
	case v.mask.has(id):
		f, _ := v.field(int(v.pos[id]))
		return f, true
	case v.common != nil && v.common.pos[id] > 0:
		return v.common.field(id)
	}
	return field{}, false
}

// has says whether find finds a field.
func (v *view) has(id uint8) bool {
	_, ok := v.find(id)
	return ok
}

// field returns one of the common fields.
func (c *Common) field(id uint8) (field, bool) {
	if c == nil || c.pos[id] == 0 {
		return field{}, false
	}
	v := view{name: c.name, nameForm: c.form, body: c.body}
	f, _ := v.field(int(c.pos[id] - 1))
	return f, true
}

// list yields the values of a list.
func (f *field) list() iter.Seq[field] {
	return func(yield func(field) bool) {
		var v view
		b := f.b
		for range f.num {
			item := field{typ: typeString}
			n := v.text(&item, b)
			if n < 0 || !yield(item) {
				return
			}
			b = b[n:]
		}
	}
}

// appendText appends a value as bare text: a list as JSON.
func (f *field) appendText(dst []byte) []byte {
	switch {
	case f.typ == typeString && f.form != formNumber:
		return append(dst, f.b...)
	case f.typ == typeList:
		return f.appendValue(dst)
	case f.typ == typeBool:
		return appendBool(dst, f.num)
	}
	return appendInt(dst, f.num)
}

// appendJSON appends ,"key":value.
func (f *field) appendJSON(dst []byte) []byte {
	return f.appendValue(append(dst, fieldKeys[f.id]...))
}

// appendValue appends the value as JSON.
func (f *field) appendValue(dst []byte) []byte {
	switch f.typ {
	case typeString:
		if f.form == formNumber {
			dst = append(dst, '"')
			dst = appendInt(dst, f.num)
			return append(dst, '"')
		}
		return appendJSONText(dst, f.b, f.form)
	case typeInt:
		return appendInt(dst, f.num)
	case typeBool:
		return appendBool(dst, f.num)
	}
	dst = append(dst, '[')
	first := true
	for item := range f.list() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = item.appendValue(dst)
	}
	return append(dst, ']')
}

func appendJSONText(dst, b []byte, form byte) []byte {
	if form == formPlain {
		dst = append(dst, '"')
		dst = append(dst, b...)
		return append(dst, '"')
	}
	return text.AppendJSON(dst, string(b))
}

func appendIntField(dst []byte, id uint8, n int64) []byte {
	return binary.AppendVarint(append(dst, id), n)
}

func appendBool(dst []byte, n int64) []byte {
	if n != 0 {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}
