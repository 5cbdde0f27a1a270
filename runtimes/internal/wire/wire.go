// Package wire decodes messages of Protocol Buffers without their descriptions,
// as BuildKit and swarmkit keep them: fields by number, after
// protobuf.dev/programming-guides/encoding. Groups and unknown wire types end a
// message. Input is hostile: lengths are checked against what is left, a message
// is decoded once a level, and what stands before the damage is returned.
package wire

import (
	"encoding/binary"
	"fmt"
	"time"

	"lagan/evidence"
)

// Message is a message's fields by number, each as often as it stands there.
type Message map[int][]field

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

// Decode decodes a message as far as it goes; the error says where it stopped.
func Decode(b []byte) (Message, error) {
	m := Message{}
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
func (m Message) last(number int) field {
	if all := m[number]; len(all) > 0 {
		return all[len(all)-1]
	}
	return field{}
}

// Num returns a number, 0 where there is none.
func (m Message) Num(number int) uint64 { return m.last(number).number }

// Text returns a text, "" where there is none.
func (m Message) Text(number int) string { return string(m.last(number).bytes) }

// Bytes returns the bytes of a field, nil where there is none.
func (m Message) Bytes(number int) []byte { return m.last(number).bytes }

// Sub returns a message in the message, empty where it is missing or damaged.
func (m Message) Sub(number int) Message {
	out, _ := Decode(m.last(number).bytes)
	return out
}

// Texts returns each text of a number.
func (m Message) Texts(number int) []string {
	var out []string
	for _, f := range m[number] {
		out = append(out, string(f.bytes))
	}
	return out
}

// Table returns a map of texts.
func (m Message) Table(number int) map[string]string {
	var out map[string]string
	for _, f := range m[number] {
		kv, _ := Decode(f.bytes)
		if out == nil {
			out = make(map[string]string)
		}
		out[kv.Text(1)] = kv.Text(2)
	}
	return out
}

// Time returns a google.protobuf.Timestamp, the zero time where there is none.
func (m Message) Time(number int) time.Time {
	t := m.Sub(number)
	seconds, nanos := int64(t.Num(1)), int64(t.Num(2))
	if seconds <= 0 || seconds > 253402300799 || nanos < 0 || nanos >= 1e9 { // year 9999
		return time.Time{}
	}
	return time.Unix(seconds, nanos).UTC()
}
