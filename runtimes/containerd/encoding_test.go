package containerd

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"lagan/evidence"
)

func TestDecodeTime(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 23, 57, 549921918, time.UTC)
	utc, _ := at.MarshalBinary()
	zoned, _ := at.In(time.FixedZone("", 2*3600)).MarshalBinary()
	seconds, _ := at.In(time.FixedZone("", 3601)).MarshalBinary() // version 2, 16 bytes
	zero, _ := time.Time{}.MarshalBinary()
	for _, c := range []struct {
		name string
		b    []byte
		want time.Time
		bad  bool
	}{
		{"UTC", utc, at, false},
		{"a zone", zoned, at, false},
		{"a zone in seconds", seconds, at, false},
		{"none", zero, time.Time{}, false},
		{"short", utc[:14], time.Time{}, true},
		{"long", append(utc, 0), time.Time{}, true},
		{"version 3", append([]byte{3}, utc[1:]...), time.Time{}, true},
		{"nothing", nil, time.Time{}, true},
	} {
		got, err := decodeTime(c.b)
		if !got.Equal(c.want) || (err != nil) != c.bad || err != nil && !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func TestDecodeNumbers(t *testing.T) {
	for _, n := range []int64{0, 1, -1, 4096, 1 << 40, -1 << 62} {
		if got, err := decodeVarint(binary.AppendVarint(nil, n)); got != n || err != nil {
			t.Errorf("signed %d: %d, %v", n, got, err)
		}
	}
	for _, n := range []uint64{0, 1, 127, 128, 1 << 63} {
		if got, err := decodeUvarint(binary.AppendUvarint(nil, n)); got != n || err != nil {
			t.Errorf("unsigned %d: %d, %v", n, got, err)
		}
	}
	for _, b := range [][]byte{nil, {0x80}, {1, 1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if _, err := decodeUvarint(b); !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("% x: %v", b, err)
		}
		if _, err := decodeVarint(b); !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("% x: %v", b, err)
		}
	}
}

func TestDecodeAny(t *testing.T) {
	good := []byte("\x0a\x03url\x12\x05value")
	for _, c := range []struct {
		name       string
		b          []byte
		url, value string
		bad        bool
	}{
		{"both fields", good, "url", "value", false},
		{"fields of other numbers and types", []byte("\x18\x96\x01\x21........\x2d....\x0a\x01u\x32\x02xx\x12\x01v"), "u", "v", false},
		{"empty", nil, "", "", false},
		{"cut", good[:9], "url", "", true},
		{"a length past the end", []byte("\x0a\xff\xff\xff\xff\x0f"), "", "", true},
		{"a group", []byte("\x0b"), "", "", true},
		{"an endless varint", []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, "", "", true},
	} {
		got, err := decodeAny(c.b)
		if got.url != c.url || string(got.value) != c.value || (err != nil) != c.bad || err != nil && !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("%s: %q %q, %v", c.name, got.url, got.value, err)
		}
	}
}

func FuzzValues(f *testing.F) {
	at, _ := time.Now().MarshalBinary()
	f.Add(at)
	f.Add([]byte("\x0a\x03url\x12\x05value"))
	f.Add([]byte{0x80, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := decodeTime(b); err != nil && (!errors.Is(err, evidence.ErrCorrupt) || !v.IsZero()) {
			t.Errorf("time: %v, %v", v, err)
		}
		for _, err := range []error{second(decodeVarint(b)), second(decodeUvarint(b)), second(decodeAny(b))} {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Error(err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }
