package jbd2

import (
	"bytes"
	"encoding/binary"
	"testing"

	"lagan/evidence"
)

// builder makes logs: a superblock, then whatever blocks a test appends.
type builder struct {
	sb   Superblock
	next uint32 // block that the next one goes to
	sum  uint32 // of checksum v1
	b    []byte
}

const (
	testBlock = 1024
	testFirst = 1
)

// newBuilder starts a log of n blocks whose tail is transaction seq at block start.
func newBuilder(n, start, seq uint32, compat, incompat uint32) *builder {
	l := &builder{next: start, sum: ^uint32(0), b: make([]byte, int(n)*testBlock)}
	l.sb = Superblock{Version: 2, BlockSize: testBlock, Length: n, First: testFirst, Start: start,
		Sequence: seq, Compat: compat, Incompat: incompat, ChecksumType: crc32cType, FastBlocks: 4}
	copy(l.sb.UUID[:], "0123456789abcdef")
	if l.sb.Incompat&IncompatFastCommit != 0 && n < minBlocks+4 {
		panic("a log with fast commits needs more blocks")
	}
	b := l.b
	be := binary.BigEndian
	be.PutUint32(b[0:], magic)
	be.PutUint32(b[4:], superblockV2)
	for i, v := range []uint32{testBlock, n, testFirst, seq, start, 0, compat, incompat, 0} {
		be.PutUint32(b[12+4*i:], v)
	}
	copy(b[48:], l.sb.UUID[:])
	b[80] = crc32cType
	be.PutUint32(b[84:], 4)
	be.PutUint32(b[checksumOffset:], crc32cWithout(^uint32(0), b[:superblockSize], checksumOffset))
	return l
}

// at returns the next block of the log and moves on.
func (l *builder) at() []byte {
	b := l.b[int(l.next)*testBlock:][:testBlock]
	clear(b)
	if l.next++; l.next >= l.sb.end() {
		l.next = testFirst
	}
	return b
}

func (l *builder) header(b []byte, typ, seq uint32) {
	binary.BigEndian.PutUint32(b[0:], magic)
	binary.BigEndian.PutUint32(b[4:], typ)
	binary.BigEndian.PutUint32(b[8:], seq)
}

func (l *builder) tail(b []byte) {
	if l.sb.checksummed() {
		binary.BigEndian.PutUint32(b[testBlock-4:], crc32cWithout(l.sb.seed(), b, testBlock-4))
	}
}

type write struct {
	block uint64
	data  []byte
}

// fill returns a block full of c.
func fill(c byte) []byte { return bytes.Repeat([]byte{c}, testBlock) }

// write appends a descriptor and its copies.
func (l *builder) write(seq uint32, ws ...write) {
	d := l.at()
	l.header(d, descriptorBlock, seq)
	off := headerSize
	var copies [][]byte
	for i, w := range ws {
		data := append([]byte(nil), w.data...)
		flags := uint16(0)
		if binary.BigEndian.Uint32(data) == magic {
			clear(data[:4])
			flags |= flagEscape
		}
		if i > 0 {
			flags |= flagSameUUID
		}
		if i == len(ws)-1 {
			flags |= flagLast
		}
		binary.BigEndian.PutUint32(d[off:], uint32(w.block))
		binary.BigEndian.PutUint16(d[off+6:], flags)
		if l.sb.Incompat&Incompat64Bit != 0 || l.sb.Incompat&IncompatCsumV3 != 0 {
			binary.BigEndian.PutUint32(d[off+8:], uint32(w.block>>32))
		}
		var s [4]byte
		binary.BigEndian.PutUint32(s[:], seq)
		sum := crc32c(crc32c(l.sb.seed(), s[:]), data)
		switch {
		case l.sb.Incompat&IncompatCsumV3 != 0:
			binary.BigEndian.PutUint32(d[off+12:], sum)
		case l.sb.Incompat&IncompatCsumV2 != 0:
			binary.BigEndian.PutUint16(d[off+4:], uint16(sum))
		}
		off += l.sb.tagSize()
		if i == 0 {
			off += copy(d[off:], l.sb.UUID[:])
		}
		copies = append(copies, data)
	}
	l.tail(d)
	l.sum = crc32be(l.sum, d)
	for _, c := range copies {
		copy(l.at(), c)
		l.sum = crc32be(l.sum, c)
	}
}

func (l *builder) revoke(seq uint32, blocks ...uint64) {
	b := l.at()
	l.header(b, revokeBlock, seq)
	off := revokeHeader
	for _, r := range blocks {
		if l.sb.Incompat&Incompat64Bit != 0 {
			binary.BigEndian.PutUint64(b[off:], r)
			off += 8
		} else {
			binary.BigEndian.PutUint32(b[off:], uint32(r))
			off += 4
		}
	}
	binary.BigEndian.PutUint32(b[12:], uint32(off))
	l.tail(b)
}

func (l *builder) commit(seq uint32, sec int64) {
	b := l.at()
	l.header(b, commitBlock, seq)
	if l.sb.Compat&CompatChecksum != 0 {
		b[12], b[13] = crc32Type, crc32Size
		binary.BigEndian.PutUint32(b[commitChecksum:], l.sum)
		l.sum = ^uint32(0)
	}
	binary.BigEndian.PutUint64(b[48:], uint64(sec))
	binary.BigEndian.PutUint32(b[56:], 7)
	if l.sb.checksummed() {
		binary.BigEndian.PutUint32(b[commitChecksum:], crc32cWithout(l.sb.seed(), b, commitChecksum))
	}
}

// read reads the log and returns the blocks of a device of eight blocks, each
// full of its number, as they are after the replay.
func (l *builder) read(t *testing.T) (*Log, []byte, []error) {
	t.Helper()
	var warnings []error
	log, err := Read(bytes.NewReader(l.b), int64(len(l.b)), evidence.Options{Warn: func(err error) { warnings = append(warnings, err) }})
	if err != nil {
		t.Fatal(err)
	}
	dev := device(8)
	out := make([]byte, len(dev))
	if _, err := log.Overlay(bytes.NewReader(dev)).ReadAt(out, 0); err != nil {
		t.Fatal(err)
	}
	return log, out, warnings
}

func device(n int) []byte {
	var dev []byte
	for i := range n {
		dev = append(dev, fill(byte('0'+i))...)
	}
	return dev
}

// letters names each block of a device by its last byte.
func letters(dev []byte) string {
	var s []byte
	for i := testBlock - 1; i < len(dev); i += testBlock {
		s = append(s, dev[i])
	}
	return string(s)
}
