package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"lagan/evidence"
)

// maxFields bounds the fields of one entry; journald writes no more than
// ENTRY_FIELD_COUNT_MAX, 1024.
const maxFields = 4096

// maxEntryBytes bounds the values of one entry together.
const maxEntryBytes = 8 << 20

// entry reads the entry at off, appending its fields to fields. problem is
// what kept a field from being read.
func (j *Journal) entry(off uint64, fields []Field) (e Entry, problem, err error) {
	o, err := j.r.object(off)
	if err != nil {
		return e, nil, err
	}
	item := uint64(16)
	if j.Compact() {
		item = 4
	}
	if o.typ != objEntry || o.size == entryItems || (o.size-entryItems)%item != 0 {
		return e, nil, fmt.Errorf("object at offset %#x of type %d and %d bytes is no entry: %w", off, o.typ, o.size, evidence.ErrCorrupt)
	}
	var head [entryItems]byte
	b, err := j.r.bytes(off, entryItems, head[:])
	if err != nil {
		return e, nil, err
	}
	e.Offset = int64(off)
	e.Seqnum = binary.LittleEndian.Uint64(b[16:])
	if t := binary.LittleEndian.Uint64(b[24:]); t > 0 && t < maxTime {
		e.Realtime = time.UnixMicro(int64(t)).UTC()
	}
	if m := binary.LittleEndian.Uint64(b[32:]); m < maxTime/1000 {
		e.Monotonic = time.Duration(m) * time.Microsecond
	}
	copy(e.BootID[:], b[40:])
	if e.Seqnum == 0 { // journal_file_check_object: an entry has a number
		return e, nil, fmt.Errorf("entry at offset %#x has no sequence number: %w", off, evidence.ErrCorrupt)
	}
	e.Fields, problem = j.fields(o, item, fields)
	if len(e.Fields) == 0 && problem == nil {
		problem = fmt.Errorf("entry at offset %#x has no fields: %w", off, evidence.ErrCorrupt)
	}
	return e, problem, nil
}

// fields reads what an entry's items refer to.
func (j *Journal) fields(o object, item uint64, fields []Field) ([]Field, error) {
	count := (o.size - entryItems) / item
	var problem error
	if count > maxFields {
		problem = fmt.Errorf("entry at offset %#x with %d fields: %w", o.off, count, evidence.ErrCorrupt)
		count = maxFields
	}
	total := 0
	var buf [8]byte
	for i := range count {
		at := o.off + entryItems + i*item
		n := int(min(item, 8))
		b, err := j.r.bytes(at, n, buf[:])
		if err != nil {
			return fields, err
		}
		var off uint64
		if n == 4 {
			off = uint64(binary.LittleEndian.Uint32(b))
		} else {
			off = binary.LittleEndian.Uint64(b)
		}
		f, err := j.field(off)
		if err != nil {
			if problem == nil {
				problem = fmt.Errorf("entry at offset %#x: %w", o.off, err)
			}
			continue
		}
		if total += len(f.Value); total > maxEntryBytes {
			return fields, fmt.Errorf("entry at offset %#x with over %d bytes: %w", o.off, maxEntryBytes, evidence.ErrCorrupt)
		}
		fields = append(fields, f)
	}
	return fields, problem
}

// The cache of fields: most of an entry's are those of the entries before it.
const (
	maxCached      = 1 << 14
	maxCachedBytes = 512 // of one value
	maxNames       = 1 << 12
)

type itemCache struct {
	fields map[uint64]Field
	names  map[string]string
	buf    []byte
	unpack unpacker
}

// field returns the field in the data object at off.
func (j *Journal) field(off uint64) (Field, error) {
	c := &j.items
	if f, ok := c.fields[off]; ok {
		return f, nil
	}
	payload, cut, err := j.payload(off)
	if err != nil {
		return Field{}, err
	}
	eq := bytes.IndexByte(payload, '=')
	if eq <= 0 || !validName(payload[:eq]) {
		return Field{}, fmt.Errorf("data at offset %#x is no field: %w", off, evidence.ErrCorrupt)
	}
	f := Field{Name: c.name(payload[:eq]), Value: bytes.Clone(payload[eq+1:]), Cut: cut}
	if len(f.Value) > MaxValue {
		f.Value, f.Cut = f.Value[:MaxValue], true
	}
	if len(f.Value) <= maxCachedBytes {
		if c.fields == nil || len(c.fields) >= maxCached {
			c.fields = make(map[uint64]Field)
		}
		c.fields[off] = f
	}
	return f, nil
}

// maxName is the most bytes of a field's name (journal_field_valid).
const maxName = 64

// validName says whether a name is of A-Z, 0-9 and the underscore.
func validName(b []byte) bool {
	if len(b) > maxName {
		return false
	}
	for _, c := range b {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func (c *itemCache) name(b []byte) string {
	if s, ok := c.names[string(b)]; ok {
		return s
	}
	if c.names == nil || len(c.names) >= maxNames {
		c.names = make(map[string]string)
	}
	s := string(b)
	c.names[s] = s
	return s
}
