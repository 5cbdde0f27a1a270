package ewf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"

	"github.com/klauspost/compress/zlib"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// table says where some chunks are.
type table struct {
	f       File
	segment int
	first   int64 // number of its first chunk
	count   int64
	base    int64  // what the entries count from
	entries int64  // offset of the entries
	copy    int64  // offset of the entries in "table2", or 0
	end     int64  // of the section that has the chunks
	found   []byte // the entries where they are not in the file
}

// addTable takes a table section; sectors is where the section of chunks
// before it ends. Where there is none, as in SMART and EnCase 1, the chunks
// follow the entries.
func (im *Image) addTable(f File, s section, segment int, sectors int64) error {
	t, err := im.readTable(f, s)
	if err != nil {
		return err
	}
	if len(im.tables) == maxTables {
		return fmt.Errorf("more than %d tables: %w", maxTables, evidence.ErrUnsupported)
	}
	if n := len(im.tables); n > 0 {
		t.first = im.tables[n-1].first + im.tables[n-1].count
	}
	t.segment, t.end = segment, sectors
	if sectors == 0 {
		t.end = s.end
	}
	im.tables = append(im.tables, t)
	return nil
}

// addCopy takes a table2 section, which repeats the table before it.
func (im *Image) addCopy(f File, s section) {
	if len(im.tables) == 0 {
		return
	}
	last := &im.tables[len(im.tables)-1]
	t, err := im.readTable(f, s)
	if err == nil && t.count == last.count && t.base == last.base && last.f == f {
		last.copy = t.entries
	}
}

func (im *Image) readTable(f File, s section) (table, error) {
	b := make([]byte, tableHeader)
	if err := piece.Full(f, b, s.off); err != nil {
		return table{}, fmt.Errorf("%w: %w", evidence.ErrCorrupt, err)
	}
	im.checkSum(b[:offTableSum], b[offTableSum:], "table", s.off)
	c := bin.LE(b)
	t := table{f: f, count: int64(c.U32()), entries: s.off + tableHeader}
	c.Skip(4)
	t.base = int64(c.U64())
	if t.count > maxEntries || t.entries+4*t.count > f.Size() || t.base < 0 {
		return table{}, fmt.Errorf("%d entries from offset %#x: %w", t.count, t.base, evidence.ErrCorrupt)
	}
	return t, nil
}

// load reads the entries of a table, or of its copy where their checksum is
// wrong. SMART has no checksum: its chunks begin where that would be. Behind
// the entries it puts the number of the first that overflowed.
func (im *Image) load(i int) ([]byte, error) {
	t := &im.tables[i]
	if t.found != nil {
		return binary.LittleEndian.AppendUint32(bytes.Clone(t.found), uint32(t.count)), nil
	}
	var best []byte
	for _, off := range []int64{t.entries, t.copy} {
		if off == 0 {
			continue
		}
		b := make([]byte, 4*t.count)
		if err := piece.Full(t.f, b, off); err != nil {
			return nil, fmt.Errorf("ewf: segment %d: table at offset %#x: %w: %w", t.segment, off, evidence.ErrCorrupt, err)
		}
		var sum [4]byte
		if piece.Full(t.f, sum[:], off+4*t.count) == nil && adler32.Checksum(b) == binary.LittleEndian.Uint32(sum[:]) {
			return binary.LittleEndian.AppendUint32(b, overflow(b)), nil
		}
		if best == nil {
			best = b
		}
	}
	if t.copy != 0 {
		im.opts.warn(fmt.Errorf("ewf: segment %d: table at offset %#x and its copy: wrong checksum: %w", t.segment, t.entries, evidence.ErrCorrupt))
	}
	return binary.LittleEndian.AppendUint32(best, overflow(best)), nil
}

// overflow returns the number of the first entry whose offset ran over into
// the flag, or the number of entries. EnCase 6.7 let that happen when chunks
// went past 2 GiB: offsets go back to the start and all are flagged from there on.
func overflow(entries []byte) uint32 {
	n := uint32(len(entries) / 4)
	for i := uint32(1); i < n; i++ {
		before, entry := binary.LittleEndian.Uint32(entries[4*i-4:]), binary.LittleEndian.Uint32(entries[4*i:])
		if before < flagPacked && entry >= flagPacked && entry-flagPacked < before {
			return i
		}
	}
	return n
}

// ReadAt implements io.ReaderAt.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAtOnAllCores(p, off, im.size, im.chunkSize, func(p []byte, off int64) (int, error) {
		n := off / im.chunkSize
		b, err := im.unpacked.Get(n, func() ([]byte, error) { return im.chunk(n) })
		if err != nil {
			return 0, err
		}
		return copy(p, b[off%im.chunkSize:]), nil
	})
}

// chunk reads and unpacks a chunk.
func (im *Image) chunk(n int64) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("ewf: chunk %d, offset %#x of the disk: %w", n, n*im.chunkSize, err)
	}
	i := im.tableOf(n)
	if i < 0 {
		return fail(fmt.Errorf("in no segment that is there: %w", evidence.ErrCorrupt))
	}
	t := &im.tables[i]
	entries, err := im.entries.Get(i, func() ([]byte, error) { return im.load(i) })
	if err != nil {
		return fail(err)
	}
	at, length, packed := t.place(entries, n-t.first, 2*im.chunkSize)
	if length <= 0 {
		return fail(fmt.Errorf("segment %d has it at offset %#x, where no chunks are: %w", t.segment, at, evidence.ErrCorrupt))
	}
	// The disk's last chunk may be short, and may be filled up.
	need := min(im.chunkSize, im.size-n*im.chunkSize)
	var b []byte
	if packed {
		b, err = im.unpack(t, at, length, need)
	} else {
		b, err = im.plain(t, at, length, need)
	}
	if err != nil {
		return fail(fmt.Errorf("segment %d, offset %#x: %w: %w", t.segment, at, evidence.ErrCorrupt, err))
	}
	return b, nil
}

// place finds a chunk by a table's entries: where it is, the most bytes that
// it may take, and whether it is packed.
func (t *table) place(entries []byte, i, most int64) (at, length int64, packed bool) {
	count := int64(len(entries)/4 - 1)
	overflown := int64(binary.LittleEndian.Uint32(entries[4*count:]))
	offset := func(i int64) int64 {
		entry := binary.LittleEndian.Uint32(entries[4*i:])
		if i < overflown {
			entry &^= flagPacked
		}
		return t.base + int64(entry)
	}
	at = offset(i)
	packed = i < overflown && binary.LittleEndian.Uint32(entries[4*i:])&flagPacked != 0
	length = min(t.end-at, most)
	if i+1 < count && offset(i+1) > at {
		length = min(length, offset(i+1)-at)
	}
	if at < fileHeader {
		length = 0
	}
	return at, length, packed
}

// plain reads a chunk that isn't packed, behind which stands its checksum.
func (im *Image) plain(t *table, at, length, need int64) ([]byte, error) {
	b := make([]byte, length)
	n, err := t.f.ReadAt(b, at)
	if err != nil && err != io.EOF {
		return nil, err
	}
	b = b[:n]
	if int64(n) < need {
		return nil, fmt.Errorf("%d of %d bytes are there", n, need)
	}
	size := min(int64(n)-chunkSum, im.chunkSize)
	if size >= need {
		im.checkSum(b[:size], b[size:size+chunkSum], fmt.Sprintf("segment %d: chunk", t.segment), at)
	}
	return b[:min(int64(n), im.chunkSize)], nil
}

// unpack reads a packed chunk. One whose checksum alone is wrong is used, with a warning.
func (im *Image) unpack(t *table, at, length, need int64) ([]byte, error) {
	packed := make([]byte, length)
	n, err := t.f.ReadAt(packed, at)
	if err != nil && err != io.EOF {
		return nil, err
	}
	in := bytes.NewReader(packed[:n])
	z, ok := im.inflate.Get().(io.ReadCloser)
	if ok {
		err = z.(zlib.Resetter).Reset(in, nil)
	} else {
		z, err = zlib.NewReader(in)
	}
	if err != nil {
		return nil, err
	}
	defer im.inflate.Put(z)
	b := make([]byte, im.chunkSize)
	m, err := io.ReadFull(z, b)
	if err == nil {
		// The checksum is compared at the stream's end, which is yet to be read.
		_, err = z.Read(make([]byte, 1))
	}
	switch {
	case errors.Is(err, zlib.ErrChecksum) && int64(m) >= need:
		im.opts.warn(fmt.Errorf("ewf: segment %d: chunk at offset %#x: wrong checksum: %w", t.segment, at, evidence.ErrCorrupt))
	case int64(m) < need:
		return nil, err
	}
	return b[:m], nil
}
