package containerd

import (
	"encoding/binary"
	"fmt"
	"time"

	"lagan/evidence"
	"lagan/runtimes/internal/wire"
)

// decodeTime decodes the binary form of Go's time.Time, in which all of
// containerd's times are kept: core/metadata/boltutil/helpers.go. A year before
// 1970 means that none was set.
func decodeTime(b []byte) (time.Time, error) {
	// Version 1 has 15 bytes, version 2, with a zone offset in seconds, 16: time.go of Go.
	if !(len(b) == 15 && b[0] == 1) && !(len(b) == 16 && b[0] == 2) {
		return time.Time{}, fmt.Errorf("time of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	var t time.Time
	if err := t.UnmarshalBinary(b); err != nil {
		return time.Time{}, fmt.Errorf("time: %w: %w", err, evidence.ErrCorrupt)
	}
	if t.Unix() <= 0 || t.Nanosecond() >= 1e9 || t.Year() > 9999 {
		return time.Time{}, nil
	}
	return t.UTC(), nil
}

// decodeVarint decodes a signed number (sizes, inodes): encoding/binary.PutVarint.
func decodeVarint(b []byte) (int64, error) {
	v, n := binary.Varint(b)
	if n <= 0 || n != len(b) {
		return 0, fmt.Errorf("number % x: %w", b, evidence.ErrCorrupt)
	}
	return v, nil
}

// decodeUvarint decodes an unsigned number (snapshot ids): encoding/binary.PutUvarint.
func decodeUvarint(b []byte) (uint64, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n != len(b) {
		return 0, fmt.Errorf("number % x: %w", b, evidence.ErrCorrupt)
	}
	return v, nil
}

// typed is a google.protobuf.Any: a value and the URL that names its type.
type typed struct {
	url   string
	value []byte
}

// decodeAny decodes a google.protobuf.Any: field 1 the type, field 2 the value. Other fields are passed over.
func decodeAny(b []byte) (typed, error) {
	m, err := wire.Decode(b)
	return typed{url: m.Text(1), value: m.Bytes(2)}, err
}
