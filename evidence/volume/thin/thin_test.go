package thin_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/volume/thin"
	"lagan/evidence/volume/thin/thintest"
)

// content has n blocks, each filled with its letter; a space is a hole.
func content(letters string) []byte {
	var out []byte
	for _, c := range letters {
		b := bytes.Repeat([]byte{byte(c)}, thintest.Chunk)
		if c == ' ' {
			clear(b)
		}
		out = append(out, b...)
	}
	return out
}

func TestVolume(t *testing.T) {
	devices := map[uint64][]byte{1: content("ab  c"), 3: content("ab d"), 9: content("   ")}
	meta, data := thintest.Pool(devices)
	if len(data) != 4*thintest.Chunk {
		t.Fatalf("the pool has %d bytes: snapshots share nothing", len(data))
	}
	p, err := thin.Open("pool", bytes.NewReader(meta), bytes.NewReader(data), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range devices {
		size := int64(len(want)) + 1000 // behind what was ever written
		v, err := p.Volume(id, size)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size()))
		if err != nil || !bytes.Equal(got, append(want, make([]byte, 1000)...)) {
			t.Errorf("device %d reads otherwise than it was written: %v", id, err)
		}
		one := make([]byte, 3)
		if n, err := v.ReadAt(one, size-1); n != 1 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
	}
	if _, err := p.Volume(2, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a device that isn't there: %v", err)
	}
}

func TestBroken(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(meta []byte) []byte
		warned string // of the metadata
		failed error  // of reading
	}{
		{"checksum of the superblock", func(b []byte) []byte { b[200] ^= 1; return b }, "metadata block 0: wrong checksum", nil},
		{"checksum of a node", func(b []byte) []byte { b[2*4096+4000] ^= 1; return b }, "metadata block 2: wrong checksum", nil},
		{"no magic", func(b []byte) []byte { b[32] = 0; return b }, "", evidence.ErrFormat},
		{"blocks of no size", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[336:], 0); return b }, "", evidence.ErrCorrupt},
		{"more entries than room", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[4096+16:], 9999); return b }, "", evidence.ErrCorrupt},
		{"a root far away", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[320:], 1<<60); return b }, "", evidence.ErrCorrupt},
		{"a tree that is its own child", func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[4096+4:], 1)
			binary.LittleEndian.PutUint64(b[4096+32+8*252:], 1)
			return b
		}, "wrong checksum", evidence.ErrCorrupt},
		{"a block behind the pool", func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[2*4096+32+8*252:], 1<<40)
			return b
		}, "wrong checksum", evidence.ErrCorrupt},
		{"cut off", func(b []byte) []byte { return b[:2*4096] }, "", evidence.ErrCorrupt},
	} {
		meta, data := thintest.Pool(map[uint64][]byte{1: content("ab")})
		var warned []string
		failed := read(c.change(meta), data, 1, func(err error) { warned = append(warned, err.Error()) })
		if !errors.Is(failed, c.failed) || !strings.Contains(strings.Join(warned, " "), c.warned) {
			t.Errorf("%s: %v, warned %q", c.name, failed, warned)
		}
	}
}

func read(meta, data []byte, id uint64, warn func(error)) error {
	p, err := thin.Open("pool", bytes.NewReader(meta), bytes.NewReader(data), warn)
	if err != nil {
		return err
	}
	v, err := p.Volume(id, 2*thintest.Chunk)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.NewSectionReader(v, 0, v.Size()))
	return err
}

func FuzzOpen(f *testing.F) {
	meta, data := thintest.Pool(map[uint64][]byte{1: content("ab"), 2: content("a b")})
	f.Add(meta)
	f.Fuzz(func(t *testing.T, meta []byte) {
		ours := func(err error) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrFormat) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(fmt.Errorf("an error that isn't ours: %w", err))
			}
		}
		ours(read(meta, data, 1, ours))
	})
}
