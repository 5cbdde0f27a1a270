package sqlitefile

import "encoding/binary"

// Row builds a row's values (2.1), and is reused: Reset begins the next.
type Row struct {
	types []byte
	body  []byte
}

// Reset begins the next row.
func (r *Row) Reset() { r.types, r.body = r.types[:0], r.body[:0] }

// Null appends NULL.
func (r *Row) Null() { r.types = append(r.types, 0) }

// Int appends a number.
func (r *Row) Int(v int64) {
	switch {
	case v == 0 || v == 1:
		r.types = append(r.types, byte(8+v))
	case v == int64(int8(v)):
		r.types, r.body = append(r.types, 1), append(r.body, byte(v))
	case v == int64(int16(v)):
		r.types, r.body = append(r.types, 2), binary.BigEndian.AppendUint16(r.body, uint16(v))
	case v == int64(int32(v)):
		r.types, r.body = append(r.types, 4), binary.BigEndian.AppendUint32(r.body, uint32(v))
	default:
		r.types, r.body = append(r.types, 6), binary.BigEndian.AppendUint64(r.body, uint64(v))
	}
}

// Text appends text, which is UTF-8.
func (r *Row) Text(b []byte) {
	r.types = appendVarint(r.types, uint64(len(b))*2+13)
	r.body = append(r.body, b...)
}

// Blob appends bytes.
func (r *Row) Blob(b []byte) {
	r.types = appendVarint(r.types, uint64(len(b))*2+12)
	r.body = append(r.body, b...)
}
