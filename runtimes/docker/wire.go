package docker

import (
	"encoding/binary"
	"fmt"
	"time"

	"lagan/evidence"
)

// message is a message of Protocol Buffers, its fields by number, each as often
// as it stands there: protobuf.dev/programming-guides/encoding.
type message map[int][]field

// field is a number, or the bytes of a text or message.
type field struct {
	number uint64
	bytes  []byte
}

// Wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// decodeMessage decodes as far as it goes; the error says where it stopped.
func decodeMessage(b []byte) (message, error) {
	m := message{}
	for off := 0; off < len(b); {
		bad := fmt.Errorf("protobuf message, offset %#x of %#x: %w", off, len(b), evidence.ErrCorrupt)
		tag, n := binary.Uvarint(b[off:])
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return m, bad
		}
		off += n
		var f field
		size := uint64(0)
		switch tag & 7 {
		case wireVarint:
			if f.number, n = binary.Uvarint(b[off:]); n <= 0 {
				return m, bad
			}
			off += n
		case wireFixed64:
			size = 8
		case wireFixed32:
			size = 4
		case wireBytes:
			if size, n = binary.Uvarint(b[off:]); n <= 0 {
				return m, bad
			}
			off += n
		default:
			return m, bad
		}
		if size > uint64(len(b)-off) {
			return m, bad
		}
		if tag&7 == wireBytes {
			f.bytes = b[off : off+int(size)]
		}
		off += int(size)
		m[int(tag>>3)] = append(m[int(tag>>3)], f)
	}
	return m, nil
}

// last returns the last field of a number, which is the one that counts.
func (m message) last(number int) field {
	if all := m[number]; len(all) > 0 {
		return all[len(all)-1]
	}
	return field{}
}

func (m message) num(number int) uint64  { return m.last(number).number }
func (m message) text(number int) string { return string(m.last(number).bytes) }

// sub returns a message in the message, empty where it is missing or damaged.
func (m message) sub(number int) message {
	out, _ := decodeMessage(m.last(number).bytes)
	return out
}

func (m message) texts(number int) []string {
	var out []string
	for _, f := range m[number] {
		out = append(out, string(f.bytes))
	}
	return out
}

// table returns a map of texts.
func (m message) table(number int) map[string]string {
	var out map[string]string
	for _, f := range m[number] {
		kv, _ := decodeMessage(f.bytes)
		if out == nil {
			out = make(map[string]string)
		}
		out[kv.text(1)] = kv.text(2)
	}
	return out
}

// time returns a google.protobuf.Timestamp, the zero time where there is none.
func (m message) time(number int) time.Time {
	t := m.sub(number)
	seconds, nanos := int64(t.num(1)), int64(t.num(2))
	if seconds <= 0 || seconds > 253402300799 || nanos < 0 || nanos >= 1e9 { // year 9999
		return time.Time{}
	}
	return time.Unix(seconds, nanos).UTC()
}
