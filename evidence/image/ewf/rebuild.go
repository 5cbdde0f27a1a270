package ewf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"io"

	"github.com/klauspost/compress/zlib"

	"lagan/evidence"
	"lagan/internal/piece"
)

// rebuild makes the table that a section of chunks has lost, as where a segment
// file was cut: it reads one chunk after another. Each has a checksum, so that where
// one is right it is known where the next begins.
func (im *Image) rebuild(f File, s section, segment int) {
	if im.chunkSize == 0 || len(im.tables) == maxTables {
		return
	}
	t := table{f: f, segment: segment, base: s.off, found: []byte{}}
	if n := len(im.tables); n > 0 {
		t.first = im.tables[n-1].first + im.tables[n-1].count
	}
	off := s.off
	for off < s.end && t.count < maxEntries && t.first+t.count < im.chunks && off-s.off < flagPacked {
		length, packed := im.chunkAt(f, off, s.end, t.first+t.count)
		if length == 0 {
			break
		}
		entry := uint32(off - s.off)
		if packed {
			entry |= flagPacked
		}
		t.found = binary.LittleEndian.AppendUint32(t.found, entry)
		t.count++
		off += length
	}
	if t.count == 0 {
		return
	}
	t.end = off
	im.tables = append(im.tables, t)
	im.opts.warn(fmt.Errorf("ewf: segment %d: the table of the chunks from offset %#x on is missing; %d chunks, up to offset %#x, were found by their checksums: %w",
		segment, s.off, t.count, off, evidence.ErrCorrupt))
}

// chunkAt measures the chunk at an offset: 0 for what is none.
func (im *Image) chunkAt(f File, off, end, number int64) (length int64, packed bool) {
	need := min(im.chunkSize, im.size-number*im.chunkSize)
	b := make([]byte, min(2*im.chunkSize, end-off))
	if piece.Full(f, b, off) != nil {
		return 0, false
	}
	in := bytes.NewReader(b)
	if z, err := zlib.NewReader(in); err == nil {
		n, err := io.Copy(io.Discard, io.LimitReader(z, im.chunkSize+1))
		if err == nil && n >= need && n <= im.chunkSize {
			return int64(len(b) - in.Len()), true
		}
	}
	for _, size := range []int64{im.chunkSize, need} {
		if size+chunkSum <= int64(len(b)) && adler32.Checksum(b[:size]) == binary.LittleEndian.Uint32(b[size:]) {
			return size + chunkSum, false
		}
	}
	return 0, false
}
