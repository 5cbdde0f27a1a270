// Package ewf reads disks in the Expert Witness Compression Format, version 1:
// E01 of EnCase, FTK Imager and linen, s01 of SMART, in one or more segment files.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// image; fuzzed. A wrong checksum is a warning, a chunk that can't be unpacked
// an error of the reads that ask for it, a missing segment both. Not read, and
// said: version 2 (Ex01), logical evidence (L01).
package ewf

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"io/fs"
	"sort"
	"strings"
	"sync"
	"unicode/utf16"

	"github.com/klauspost/compress/zlib"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// What is kept in memory: tables, and unpacked chunks.
const (
	tableCache = 16 << 20
	chunkCache = 32 << 20
)

// File is a segment file.
type File interface {
	io.ReaderAt
	Size() int64
}

// Options apply to the opening of an image.
type Options struct {
	// Segment returns the segment file of a number from 2 on, or
	// fs.ErrNotExist. Nil is for an image of one file.
	Segment func(n int) (File, error)
	// Warn, if set, is told of what was read past, also while the disk is read.
	Warn func(error)
}

func (o Options) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

// Image is a disk in EWF. ReadAt may be called from several goroutines.
type Image struct {
	size      int64
	chunkSize int64
	chunks    int64 // that the disk has
	tables    []table
	// Of tables, those up to before and from after on are the ones before the
	// first gap and after the last, where broken says that there are gaps.
	broken        bool
	before, after int
	segments      int
	md5, sha1     string
	header        map[string]string

	opts     Options
	entries  *piece.Cache[int]   // the entries of a table, by its place in tables
	unpacked *piece.Cache[int64] // chunks, by number
	inflate  sync.Pool
}

// Is reports whether a file that begins with head is of the format, in any version.
func Is(head []byte) bool {
	for _, m := range []string{magicEWF, magicLEF, magicEWF2, magicLEF2} {
		if bytes.HasPrefix(head, []byte(m)) {
			return true
		}
	}
	return false
}

// Open reads the sections of all segments; f is the first. It returns
// evidence.ErrFormat for another format.
func Open(f File, o Options) (*Image, error) {
	im := &Image{opts: o, entries: piece.NewCache[int](tableCache), unpacked: piece.NewCache[int64](chunkCache)}
	if err := im.readSegments(f); err != nil {
		return nil, fmt.Errorf("ewf: %w", err)
	}
	if im.chunkSize == 0 {
		return nil, fmt.Errorf("ewf: no section says how large the disk is: %w", evidence.ErrCorrupt)
	}
	im.warnOfMissing()
	return im, nil
}

// warnOfMissing tells which chunks no table has.
func (im *Image) warnOfMissing() {
	next := int64(0)
	tell := func(to int64) {
		if next < to {
			im.opts.warn(fmt.Errorf("ewf: %d of the disk's %d chunks are missing, from offset %#x to %#x: %w",
				to-next, im.chunks, next*im.chunkSize, min(to*im.chunkSize, im.size), evidence.ErrCorrupt))
		}
	}
	for _, t := range im.tables {
		tell(min(t.first, im.chunks))
		next = t.first + t.count
	}
	tell(im.chunks)
}

// Size returns the number of bytes of the disk.
func (im *Image) Size() int64 { return im.size }

// Segments returns the number of segment files.
func (im *Image) Segments() int { return im.segments }

// Hashes returns the MD5 and SHA-1 that were stored when the disk was acquired, in hex, or "".
func (im *Image) Hashes() (md5, sha1 string) { return im.md5, im.sha1 }

// Header returns what the acquiring program noted, by the format's one- and
// two-letter names: c case number, n evidence number, a description, e
// examiner, t notes, m and u times of acquisition and of its system's clock.
func (im *Image) Header() map[string]string { return im.header }

// lookAhead is how many segments may be missing in a row. Without a bound, the
// names that there could be would all be tried after the last one.
const lookAhead = 20

// readSegments reads one segment after another, until one says that it is the last.
func (im *Image) readSegments(f File) error {
	for n := 1; n <= maxSegments; n++ {
		if n > 1 {
			if f, n = im.nextSegment(n); f == nil {
				break
			}
		}
		if err := checkSegment(f, n); err != nil {
			if n == 1 {
				return err
			}
			im.opts.warn(fmt.Errorf("ewf: %w", err))
			im.gap()
			continue
		}
		im.segments++
		last, err := im.readSections(f, n)
		if err != nil {
			if im.chunkSize == 0 {
				return err
			}
			im.opts.warn(fmt.Errorf("ewf: segment %d: %w", n, err))
			im.gap()
		}
		if last {
			im.number()
			return nil
		}
	}
	if im.broken { // and without the end there is nothing to count from
		im.tables = im.tables[:im.before]
	}
	return nil
}

// nextSegment returns segment n, or the first after it that is there, or nil.
func (im *Image) nextSegment(n int) (File, int) {
	for m := n; m < n+lookAhead && im.opts.Segment != nil; m++ {
		f, err := im.opts.Segment(m)
		switch {
		case err == nil && m == n:
			return f, m
		case err == nil:
			im.opts.warn(fmt.Errorf("ewf: the files of segment %d to %d are missing: %w", n, m-1, fs.ErrNotExist))
			im.gap()
			return f, m
		case !errors.Is(err, fs.ErrNotExist):
			im.opts.warn(fmt.Errorf("ewf: segment %d: %w", m, err))
		}
	}
	im.opts.warn(fmt.Errorf("ewf: the file of segment %d is missing: %w", n, fs.ErrNotExist))
	return nil, n
}

// gap notes that tables are lost here, so that the numbers of the chunks that follow aren't known yet.
func (im *Image) gap() {
	if !im.broken {
		im.broken, im.before = true, len(im.tables)
	}
	im.after = len(im.tables)
}

// number gives the chunks that follow the last gap their numbers, counted from
// the end of the disk. What lies between two gaps is lost.
func (im *Image) number() {
	if !im.broken {
		return
	}
	tail := im.tables[im.after:]
	im.tables = im.tables[:im.before:im.before]
	next := im.chunks
	for _, t := range tail {
		next -= t.count
	}
	if n := len(im.tables); next < 0 || n > 0 && next < im.tables[n-1].first+im.tables[n-1].count {
		return // more of them than there is room for
	}
	for _, t := range tail {
		t.first = next
		next += t.count
		im.tables = append(im.tables, t)
	}
}

// checkSegment looks at the file header.
func checkSegment(f File, n int) error {
	b := make([]byte, fileHeader)
	if m, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return fmt.Errorf("segment %d: %w", n, err)
	} else if b = b[:m]; !Is(b) {
		return fmt.Errorf("segment %d: %w", n, evidence.ErrFormat)
	}
	if !bytes.HasPrefix(b, []byte(magicEWF)) {
		return fmt.Errorf("%s files: %w", map[byte]string{'E': "Ex01", 'L': "L01 and Lx01 (logical evidence)"}[b[0]], evidence.ErrUnsupported)
	}
	if len(b) < fileHeader {
		return fmt.Errorf("segment %d: header: %w", n, evidence.ErrCorrupt)
	}
	if got := int(binary.LittleEndian.Uint16(b[offSegmentNumber:])); got != n {
		err := fmt.Errorf("the file is segment %d where %d is expected: give the first one: %w", got, n, evidence.ErrCorrupt)
		if n > 1 {
			err = fmt.Errorf("the file of segment %d says that it is segment %d: %w", n, got, evidence.ErrCorrupt)
		}
		return err
	}
	return nil
}

// section is a section's descriptor.
type section struct {
	name      string
	off       int64 // of its data
	next, end int64
}

// readSections follows the chain of sections of a segment. It reports whether the
// segment is the last one.
func (im *Image) readSections(f File, segment int) (last bool, err error) {
	sectors := int64(0) // end of the last sectors section
	var without section // the last one as long as it has no table
	defer func() {
		if err != nil && without.end > 0 {
			im.rebuild(f, without, segment)
		}
	}()
	for off, n := int64(fileHeader), 0; ; n++ {
		s, err := im.readSection(f, off)
		if err != nil {
			return false, err
		}
		switch s.name {
		case "volume", "disk":
			err = im.readVolume(f, s)
		case "data":
			if im.chunkSize == 0 {
				err = im.readVolume(f, s)
			}
		case "sectors":
			sectors, without = s.end, s
		case "table":
			without = section{}
			err = im.addTable(f, s, segment, sectors)
		case "table2":
			im.addCopy(f, s)
		case "header", "header2":
			im.readHeader(f, s)
		case "digest", "hash":
			im.readHash(f, s)
		case "error2":
			im.readErrors(f, s)
		case "done":
			return true, nil
		case "next":
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("section %q at offset %#x: %w", s.name, off, err)
		}
		// A chain goes forward only; a section that points to itself ends it.
		if s.next <= off || n == maxSections {
			return false, fmt.Errorf("the sections end at offset %#x without a \"done\" or \"next\": %w", off, evidence.ErrCorrupt)
		}
		off = s.next
	}
}

func (im *Image) readSection(f File, off int64) (section, error) {
	b := make([]byte, sectionHeader)
	if err := piece.Full(f, b, off); err != nil {
		return section{}, fmt.Errorf("section at offset %#x: the file ends before: %w: %w", off, evidence.ErrCorrupt, err)
	}
	im.checkSum(b[:offSectionSum], b[offSectionSum:], "section", off)
	c := bin.LE(b)
	name, _, _ := bytes.Cut(c.Bytes(16), []byte{0})
	s := section{name: string(name), off: off + sectionHeader, next: int64(c.U64())}
	s.end = off + int64(c.U64())
	if s.end <= s.off || s.end > f.Size() { // Expert Witness 1.35 leaves the size out
		s.end = min(max(s.next, s.off), f.Size())
	}
	return s, nil
}

// checkSum warns of an Adler-32 that is wrong, and reports whether it is right.
func (im *Image) checkSum(b, sum []byte, what string, off int64) bool {
	if adler32.Checksum(b) == binary.LittleEndian.Uint32(sum) {
		return true
	}
	im.opts.warn(fmt.Errorf("ewf: %s at offset %#x: wrong checksum: %w", what, off, evidence.ErrCorrupt))
	return false
}

// readVolume takes the shape of the disk.
func (im *Image) readVolume(f File, s section) error {
	b := make([]byte, min(s.end-s.off, volumeSize))
	if len(b) < volumeSizeSMART {
		return fmt.Errorf("%d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	if err := piece.Full(f, b, s.off); err != nil {
		return fmt.Errorf("%w: %w", evidence.ErrCorrupt, err)
	}
	im.checkSum(b[:len(b)-4], b[len(b)-4:], "volume", s.off)
	c := bin.LE(b)
	c.Skip(4)
	chunks, perChunk, sectorSize := c.U32(), c.U32(), c.U32()
	sectors := uint64(c.U32())
	if len(b) == volumeSize {
		sectors |= uint64(c.U32()) << 32
	}
	chunk := uint64(perChunk) * uint64(sectorSize)
	if perChunk == 0 || sectorSize == 0 || chunk > maxChunk || sectors > 1<<62/uint64(sectorSize) {
		return fmt.Errorf("a disk of %d sectors of %d bytes, %d a chunk: %w", sectors, sectorSize, perChunk, evidence.ErrCorrupt)
	}
	im.chunkSize, im.size = int64(chunk), int64(sectors)*int64(sectorSize)
	im.chunks = (im.size + im.chunkSize - 1) / im.chunkSize
	if im.chunks != int64(chunks) {
		im.opts.warn(fmt.Errorf("ewf: the disk of %d sectors has %d chunks, the image says %d: %w", sectors, im.chunks, chunks, evidence.ErrCorrupt))
	}
	return nil
}

// readHash takes a stored hash; "digest" has both, "hash" MD5 alone.
func (im *Image) readHash(f File, s section) {
	b := make([]byte, min(s.end-s.off, 36))
	if piece.Full(f, b, s.off) != nil {
		return
	}
	if len(b) >= 16 && !allZero(b[:16]) {
		im.md5 = hex.EncodeToString(b[:16])
	}
	if s.name == "digest" && len(b) == 36 && !allZero(b[16:]) {
		im.sha1 = hex.EncodeToString(b[16:])
	}
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// readErrors tells of the sectors that couldn't be read when the disk was acquired.
func (im *Image) readErrors(f File, s section) {
	b := make([]byte, error2Header)
	if piece.Full(f, b, s.off) != nil {
		return
	}
	n := int64(binary.LittleEndian.Uint32(b))
	e := make([]byte, 8)
	for i := range min(n, 100) { // a disk that is falling apart is told of well enough
		if off := s.off + error2Header + 8*i; off+8 > s.end || piece.Full(f, e, off) != nil {
			return
		}
		im.opts.warn(fmt.Errorf("ewf: %d sectors from sector %d on couldn't be read when the disk was acquired; they are zeros: %w",
			binary.LittleEndian.Uint32(e[4:]), binary.LittleEndian.Uint32(e), evidence.ErrCorrupt))
	}
}

// readHeader takes the notes of the acquiring program: a packed text whose third
// line has the names and whose fourth the values, between tabs.
func (im *Image) readHeader(f File, s section) {
	z, err := zlib.NewReader(io.NewSectionReader(f, s.off, s.end-s.off))
	if err != nil {
		return
	}
	b, _ := io.ReadAll(io.LimitReader(z, maxHeader)) // what could be read is good enough for notes
	text := string(b)
	if s.name == "header2" {
		text = fromUTF16(b)
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if len(lines) < 4 || im.header != nil && s.name == "header" {
		return // header2 has the same in Unicode, and comes first
	}
	im.header = map[string]string{}
	values := strings.Split(lines[3], "\t")
	for i, name := range strings.Split(lines[2], "\t") {
		if i < len(values) && values[i] != "" {
			im.header[name] = values[i]
		}
	}
}

// fromUTF16 decodes UTF-16, little-endian unless a byte order mark says otherwise.
func fromUTF16(b []byte) string {
	var order binary.ByteOrder = binary.LittleEndian
	if bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		order = binary.BigEndian
	}
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = order.Uint16(b[2*i:])
	}
	return strings.TrimPrefix(string(utf16.Decode(u)), "\ufeff")
}

// tableOf returns the place in tables of the one that has a chunk, or -1.
func (im *Image) tableOf(chunk int64) int {
	i := sort.Search(len(im.tables), func(i int) bool { return im.tables[i].first > chunk }) - 1
	if i >= 0 && chunk >= im.tables[i].first+im.tables[i].count {
		return -1
	}
	return i
}
