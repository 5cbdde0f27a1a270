package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sort"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/internal/piece"
)

// The seek table of a seekable zstd file, a skippable frame at its end:
// contrib/seekable_format/zstd_seekable_compression_format.md of zstd.
const (
	seekTableMagic  = 0x184d2a5e // Skippable_Magic_Number of its frame
	seekFooterMagic = 0x8f92eab1
	seekFooter      = 9 // Number_Of_Frames, Seek_Table_Descriptor, Seekable_Magic_Number
	seekChecksums   = 1 << 7
	seekReserved    = 0x7c

	// maxSeekFrames bounds the memory of the table; 4 TiB in frames of 1 MiB.
	maxSeekFrames = 4 << 20
	// maxSeekFrame bounds the memory of one frame, and of a read within it. A
	// file of larger ones is unpacked as a whole.
	maxSeekFrame = 32 << 20
	seekCache    = 4 * maxSeekFrame
)

// seekable is a zstd file of frames that can be unpacked one by one.
type seekable struct {
	r       blob
	packed  []int64 // where each frame begins in the file; at the end, where the last ends
	starts  []int64 // the same on the disk
	largest int64
	frames  *piece.Cache[int]
	decoder *zstd.Decoder
}

// openAnyZstd opens a seekable file for random access, and unpacks any other.
func openAnyZstd(ctx context.Context, b blob, o Options) (blob, error) {
	s, err := readSeekTable(b)
	if err != nil {
		return nil, err
	}
	if s == nil || s.Size() > o.MaxSize {
		return spooler(openZstd)(ctx, b, o)
	}
	return s, nil
}

// readSeekTable returns nil for a file without a table, or with one that the
// file doesn't agree with.
func readSeekTable(b blob) (*seekable, error) {
	size := b.Size()
	foot := make([]byte, seekFooter)
	if size < 8+seekFooter {
		return nil, nil
	}
	if err := piece.Full(b, foot, size-seekFooter); err != nil {
		return nil, err
	}
	count, descriptor := int64(le32(foot)), foot[4]
	if le32(foot[5:]) != seekFooterMagic || descriptor&seekReserved != 0 || count == 0 || count > maxSeekFrames {
		return nil, nil
	}
	entry := int64(8)
	if descriptor&seekChecksums != 0 {
		entry = 12
	}
	length := count*entry + seekFooter
	if length+8 > size {
		return nil, nil
	}
	table := make([]byte, 8+length)
	if err := piece.Full(b, table, size-int64(len(table))); err != nil {
		return nil, err
	}
	if le32(table) != seekTableMagic || int64(le32(table[4:])) != length {
		return nil, nil
	}
	s := &seekable{r: b, packed: []int64{0}, starts: []int64{0}, frames: piece.NewCache[int](seekCache)}
	var at, start int64
	for e := table[8 : 8+count*entry]; len(e) > 0; e = e[entry:] {
		unpacked := int64(le32(e[4:]))
		at, start = at+int64(le32(e)), start+unpacked
		s.packed, s.starts = append(s.packed, at), append(s.starts, start)
		s.largest = max(s.largest, unpacked)
	}
	if at != size-int64(len(table)) || s.largest > maxSeekFrame || start == 0 {
		return nil, nil
	}
	var err error
	s.decoder, err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxSeekFrame), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)))
	return s, err
}

func (s *seekable) Size() int64 { return s.starts[len(s.starts)-1] }

// Close frees the decoder; the file is the opener's.
func (s *seekable) Close() error {
	s.decoder.Close()
	return nil
}

// ReadAt implements io.ReaderAt.
func (s *seekable) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAtOnAllCores(p, off, s.Size(), s.largest, func(p []byte, off int64) (int, error) {
		// The last frame that begins at or before off: empty ones before it are passed over.
		i := sort.Search(len(s.starts), func(i int) bool { return s.starts[i] > off }) - 1
		b, err := s.frames.Get(i, func() ([]byte, error) { return s.unpack(i) })
		if err != nil {
			return 0, err
		}
		return copy(p, b[off-s.starts[i]:]), nil
	})
}

func (s *seekable) unpack(i int) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("zstd frame %d at offset %#x: %w: %w", i, s.packed[i], evidence.ErrCorrupt, err)
	}
	length, want := s.packed[i+1]-s.packed[i], s.starts[i+1]-s.starts[i]
	// What doesn't pack is stored, with a few bytes for each block of 128 KiB.
	if length > want+want/1024+1024 {
		return fail(errors.New("longer than what is in it"))
	}
	packed := make([]byte, length)
	if err := piece.Full(s.r, packed, s.packed[i]); err != nil {
		return fail(err)
	}
	b, err := s.decoder.DecodeAll(packed, make([]byte, 0, want))
	if err != nil {
		return fail(err)
	}
	if int64(len(b)) != want {
		return fail(fmt.Errorf("%d bytes come out, the seek table says %d", len(b), want))
	}
	return b, nil
}

// afterSkippable returns the magic number of the first frame that isn't
// skippable: LZ4 and zstd share those that are.
func afterSkippable(r io.ReaderAt) uint32 {
	b := make([]byte, 8)
	off := int64(0)
	for range 64 {
		if piece.Full(r, b, off) != nil {
			return 0
		}
		magic := binary.LittleEndian.Uint32(b)
		if magic&skippableMask != skippableMagic {
			return magic
		}
		off += 8 + int64(le32(b[4:]))
	}
	return 0
}
