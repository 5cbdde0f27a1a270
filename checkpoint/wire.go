package checkpoint

import (
	"encoding/binary"
	"fmt"
	"iter"

	"lagan/evidence"
)

// field is one field of a message in protobuf's wire format
// (protobuf.dev/programming-guides/encoding).
type field struct {
	number int
	num    uint64 // of a varint or fixed field
	bytes  []byte // of a field with a length
}

// fields yields the fields of a message. An error ends it: what follows can't be told apart.
func fields(b []byte) iter.Seq2[field, error] {
	return func(yield func(field, error) bool) {
		for at := 0; at < len(b); {
			f, n := next(b[at:])
			if n <= 0 {
				yield(field{}, fmt.Errorf("message at offset %#x: %w", at, evidence.ErrCorrupt))
				return
			}
			at += n
			if !yield(f, nil) {
				return
			}
		}
	}
}

// next decodes one field and returns its length, 0 where it is none.
func next(b []byte) (field, int) {
	key, n := binary.Uvarint(b)
	if n <= 0 || key>>3 == 0 || key>>3 > 1<<29 {
		return field{}, 0
	}
	f := field{number: int(key >> 3)}
	rest := b[n:]
	switch key & 7 {
	case 0:
		x, m := binary.Uvarint(rest)
		if m <= 0 {
			return f, 0
		}
		f.num = x
		return f, n + m
	case 1:
		if len(rest) < 8 {
			return f, 0
		}
		f.num = binary.LittleEndian.Uint64(rest)
		return f, n + 8
	case 2:
		size, m := binary.Uvarint(rest)
		if m <= 0 || size > uint64(len(rest)-m) {
			return f, 0
		}
		f.bytes = rest[m : m+int(size)]
		return f, n + m + int(size)
	case 5:
		if len(rest) < 4 {
			return f, 0
		}
		f.num = uint64(binary.LittleEndian.Uint32(rest))
		return f, n + 4
	}
	return f, 0
}

// message is the fields of a message by their numbers; of one that occurs
// several times, all.
type message map[int][]field

func decode(b []byte) (message, error) {
	m := make(message)
	for f, err := range fields(b) {
		if err != nil {
			return m, err
		}
		m[f.number] = append(m[f.number], f)
	}
	return m, nil
}

// num returns a number, 0 where there is none.
func (m message) num(number int) uint64 {
	if f := m[number]; len(f) > 0 {
		return f[len(f)-1].num
	}
	return 0
}

func (m message) has(number int) bool { return len(m[number]) > 0 }

func (m message) text(number int) string {
	if f := m[number]; len(f) > 0 {
		return string(f[len(f)-1].bytes)
	}
	return ""
}

// sub decodes a message in a message.
func (m message) sub(number int) (message, error) {
	if f := m[number]; len(f) > 0 {
		return decode(f[len(f)-1].bytes)
	}
	return message{}, nil
}

// nums returns the values of a repeated number, packed or not.
func (m message) nums(number int) []uint64 {
	var out []uint64
	for _, f := range m[number] {
		if f.bytes == nil {
			out = append(out, f.num)
			continue
		}
		for b := f.bytes; len(b) > 0; {
			x, n := binary.Uvarint(b)
			if n <= 0 {
				break
			}
			out = append(out, x)
			b = b[n:]
		}
	}
	return out
}

// maxEntry bounds one entry of an image; those of processes with many mappings have some megabytes.
const maxEntry = 64 << 20

// entries yields the messages of an image after its magic numbers, each with its length before it.
func entries(b []byte, magic uint32) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		at, err := skipMagic(b, magic)
		if err != nil {
			yield(nil, err)
			return
		}
		for at < len(b) {
			if len(b)-at < 4 {
				yield(nil, fmt.Errorf("entry at offset %#x: it ends early: %w", at, evidence.ErrCorrupt))
				return
			}
			size := binary.LittleEndian.Uint32(b[at:])
			if size > maxEntry || int(size) > len(b)-at-4 {
				yield(nil, fmt.Errorf("entry at offset %#x: a length of %d: %w", at, size, evidence.ErrCorrupt))
				return
			}
			m, err := decode(b[at+4 : at+4+int(size)])
			if err != nil {
				err = fmt.Errorf("entry at offset %#x: %w", at, err)
			}
			if !yield(m, err) {
				return
			}
			at += 4 + int(size)
		}
	}
}

func skipMagic(b []byte, magic uint32) (int, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("an image of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	first := binary.LittleEndian.Uint32(b)
	at := 4
	if (first == magicCommon || first == magicService) && len(b) >= 8 {
		first = binary.LittleEndian.Uint32(b[4:])
		at = 8
	}
	if first != magic {
		return 0, fmt.Errorf("the magic number %#x instead of %#x: %w", first, magic, evidence.ErrCorrupt)
	}
	return at, nil
}
