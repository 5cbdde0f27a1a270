package squashfs_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/evidence/iofstest"
	"lagan/evidence/packtest"
	"lagan/evidence/squashfs"
)

func TestOpenErrors(t *testing.T) {
	good := format.Unpack(t, "gzip")
	for _, c := range []struct {
		name  string
		spoil func(b []byte) []byte
		want  error
	}{
		{"empty", func([]byte) []byte { return nil }, evidence.ErrFormat},
		{"another magic", func(b []byte) []byte { b[0] ^= 1; return b }, evidence.ErrFormat},
		{"big-endian", func(b []byte) []byte { copy(b, "sqsh"); return b }, evidence.ErrUnsupported},
		{"cut in the superblock", func(b []byte) []byte { return b[:90] }, evidence.ErrFormat},
		{"version 3", func(b []byte) []byte { b[28] = 3; return b }, evidence.ErrUnsupported},
		{"unknown compressor", func(b []byte) []byte { b[20] = 9; return b }, evidence.ErrUnsupported},
		{"block size 2^31", func(b []byte) []byte { b[22] = 31; return b }, evidence.ErrCorrupt},
		{"block size other than its logarithm", func(b []byte) []byte { b[13] = 1; return b }, evidence.ErrCorrupt},
		{"tables behind the end", func(b []byte) []byte { b[70] = 1; return b }, evidence.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.spoil(slices.Clone(good))
			f, err := squashfs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
			if f != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, %v", f, err)
			}
		})
	}
}

func TestTruncated(t *testing.T)  { format.TestTruncated(t, "gzip-4k") }
func TestMutants(t *testing.T)    { format.TestMutants(t) }
func TestReadErrors(t *testing.T) { format.TestReadErrors(t, "lz4", 60, 3) }

func FuzzOpen(f *testing.F) {
	format.Fuzz(f, func(size int) []packtest.Patches {
		return []packtest.Patches{
			{At1: 16, Bytes1: []byte{0xff, 0xff, 1}, At2: 32, Bytes2: []byte{0x24}},
			{At1: uint32(size - 300), Bytes1: []byte{0x03, 0x00}, At2: 0x80, Bytes2: []byte{0xff, 0xff, 0xff, 0x7f}},
		}
	})
}

func TestIOFS(t *testing.T) {
	b := format.Unpack(t, "gzip")
	f, err := squashfs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	iofstest.Test(t, f)
}
