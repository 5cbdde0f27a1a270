package tarfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"lagan/evidence"
)

// The times of a header.
const (
	mtime = iota
	atime
	ctime
	btime
	timeKinds
)

// stamp is a time in seconds and nanoseconds; one that the archive doesn't have is absent.
type stamp struct {
	sec  int64
	nsec uint32
}

// absent stands in nsec of a time that isn't known.
const absent = 1 << 31

// header is what the archive says of one member, extended headers applied.
type header struct {
	start  int64 // of the first block that belongs to it
	data   int64 // of its content
	stored int64 // bytes of its content in the archive
	size   int64 // bytes of the file
	kind   byte
	name   string
	link   string
	mode   int64
	uid    int64
	gid    int64
	major  int64
	minor  int64
	times  [timeKinds]stamp
	socket bool // SCHILY.filetype says so
	xattrs map[string][]byte
	hasX   bool
	sparse sparseForm
	more   []segment // of a map that headers have
}

// reader reads an archive through a window.
type reader struct {
	r      io.ReaderAt
	size   int64
	window []byte
	at     int64 // of the window
	have   int
	xattrs bool // keep extended attributes and sparse maps
	global map[string]string
}

// windowSize is what is read at once while headers follow each other closely.
const windowSize = 64 << 10

func newReader(r io.ReaderAt, size int64, window int) *reader {
	return &reader{r: r, size: size, window: make([]byte, window)}
}

// bytes returns n bytes at off, which are valid until the next call. n is no
// more than a window.
func (r *reader) bytes(off int64, n int) ([]byte, error) {
	if off < r.at || off+int64(n) > r.at+int64(r.have) {
		r.at = off
		var err error
		if r.have, err = r.r.ReadAt(r.window, off); r.have < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return r.window[off-r.at:][:n], nil
}

// content returns a whole extended header.
func (r *reader) content(off, n int64) ([]byte, error) {
	if n > maxExtended {
		return nil, fmt.Errorf("an extended header of %d bytes: %w", n, evidence.ErrUnsupported)
	}
	b := make([]byte, min(n, max(r.size-off, 0)))
	if m, err := r.r.ReadAt(b, off); m < len(b) {
		return nil, err
	}
	if int64(len(b)) < n {
		return nil, io.ErrUnexpectedEOF
	}
	return b, nil
}

var (
	errEnd    = errors.New("two blocks of zeros: the end of the archive")
	errNoMark = errors.New("the archive ends without its mark")
	errHeader = fmt.Errorf("no header: %w", evidence.ErrCorrupt)
)

// next reads the member whose first header is at off.
func (r *reader) next(off int64) (*header, error) {
	h := &header{start: off}
	records := extended{}
	for k, v := range r.global {
		if err := records.take(h, k, v, false); err != nil {
			return nil, fmt.Errorf("global header: %w", err)
		}
	}
	for {
		b, err := r.bytes(off, block)
		if err != nil {
			if off >= r.size {
				err = errNoMark
			}
			return nil, err
		}
		if allZero(b) {
			return nil, r.endAt(off)
		}
		if !sumOK(b) {
			return nil, errHeader
		}
		size, err := number(b[offSize : offSize+12])
		if err != nil || size < 0 {
			return nil, fmt.Errorf("size %q: %w", b[offSize:offSize+12], evidence.ErrCorrupt)
		}
		kind := b[offType]
		off += block
		switch kind {
		case kindPax, kindPaxSun, kindPaxGlobal, kindGNUName, kindGNULink:
			text, err := r.content(off, size)
			if err != nil {
				return nil, fmt.Errorf("extended header at offset %#x: %w", off-block, err)
			}
			if err := r.extend(h, &records, kind, text); err != nil {
				return nil, fmt.Errorf("extended header at offset %#x: %w", off-block, err)
			}
			off += padded(size)
		case kindGNULabel, kindGNUNames:
			off += padded(size)
		default:
			h.kind, h.data = kind, off
			h.stored = size
			return h, r.finish(h, b, &records)
		}
	}
}

// endAt tells a mark from a lone block of zeros.
func (r *reader) endAt(off int64) error {
	if b, err := r.bytes(off+block, block); err != nil || allZero(b) {
		return errEnd
	}
	return errHeader
}

// extend applies an extended header.
func (r *reader) extend(h *header, x *extended, kind byte, text []byte) error {
	switch kind {
	case kindGNUName:
		x.gnuName = cString(text)
	case kindGNULink:
		x.gnuLink = cString(text)
	case kindPaxGlobal:
		if r.global == nil {
			r.global = map[string]string{}
		}
		return paxRecords(text, func(k, v string) error {
			if len(r.global) >= maxGlobals || !holdsForAll(k) {
				return nil
			}
			r.global[k] = v
			return x.take(h, k, v, false)
		})
	default:
		return paxRecords(text, func(k, v string) error { return x.take(h, k, v, r.xattrs) })
	}
	return nil
}

// holdsForAll says whether a record makes sense for more than one member: not
// one that names or measures it.
func holdsForAll(key string) bool {
	return key != "path" && key != "linkpath" && key != "size" && !strings.Contains(key, "xattr") && !strings.HasPrefix(key, "GNU.sparse.")
}

// maxGlobals bounds the records that hold for all members: POSIX names a dozen.
const maxGlobals = 1000

// finish decodes the member's own block, behind which its content lies.
func (r *reader) finish(h *header, b []byte, x *extended) error {
	var failed error
	num := func(off, n int) int64 {
		v, err := number(b[off : off+n])
		failed = errors.Join(failed, err)
		return v
	}
	h.mode = num(offMode, 8)
	h.uid, h.gid = num(offUID, 8), num(offGID, 8)
	h.times[mtime] = stamp{sec: num(offMtime, 12)}
	for k := atime; k < timeKinds; k++ {
		h.times[k].nsec = absent
	}
	h.name, h.link = cString(b[:nameSize]), cString(b[offLink:offLink+linkSize])
	magic := string(b[offMagic : offMagic+8])
	isStar := string(b[offStarMagic:offStarMagic+4]) == magicStar
	if strings.HasPrefix(magic, magicUstar) && (h.kind == kindChar || h.kind == kindBlock) {
		h.major, h.minor = num(offDevmajor, 8), num(offDevminor, 8)
	}
	switch {
	case magic == magicGNU && hasPrefixOfPOSIX(b):
		h.name = cString(b[offPrefix:offPrefix+prefixSize]) + "/" + h.name
	case magic == magicGNU:
		h.optionalTime(atime, b[offGNUAtime:offGNUAtime+12])
		h.optionalTime(ctime, b[offGNUCtime:offGNUCtime+12])
	case strings.HasPrefix(magic, magicUstar):
		size := prefixSize
		if isStar {
			size = starPrefixSize
			h.optionalTime(atime, b[offStarAtime:offStarAtime+12])
			h.optionalTime(ctime, b[offStarCtime:offStarCtime+12])
		}
		if prefix := cString(b[offPrefix : offPrefix+size]); prefix != "" {
			h.name = prefix + "/" + h.name
		}
	}
	if failed != nil {
		return fmt.Errorf("%w: %w", evidence.ErrCorrupt, failed)
	}
	h.size = h.stored
	if h.kind == kindGNUSparse {
		if err := r.gnuSparse(h, b); err != nil {
			return err
		}
	}
	x.apply(h)
	if h.size < 0 || h.stored < 0 || h.stored > 1<<60 {
		return fmt.Errorf("a size of %d, %d stored: %w", h.size, h.stored, evidence.ErrCorrupt)
	}
	return nil
}

// hasPrefixOfPOSIX says whether a header of GNU has a name's prefix where its
// times should be, as Go wrote it before 1.8 (archive/tar, readHeader).
func hasPrefixOfPOSIX(b []byte) bool {
	_, err := number(b[offGNUAtime : offGNUAtime+12])
	return err != nil
}

// optionalTime takes a time that only some writers fill in.
func (h *header) optionalTime(kind int, b []byte) {
	if len(bytes.Trim(b, " \x00")) == 0 {
		return
	}
	if v, err := number(b); err == nil && v != 0 {
		h.times[kind] = stamp{sec: v}
	}
}

// hasContent says whether the stored bytes of a member follow it. What only has
// a name has none, whatever its size says; of hard links some writers store the
// content again, others the size alone: the next header tells.
func (r *reader) hasContent(h *header) bool {
	switch h.kind {
	case kindSymlink, kindChar, kindBlock, kindDir, kindFIFO:
		return false
	case kindLink:
		if h.stored == 0 {
			return false
		}
		b, err := r.bytes(h.data, block)
		return err == nil && !allZero(b) && !sumOK(b)
	}
	return true
}

// sumOK compares a header's checksum: of unsigned bytes, or of signed ones as
// some old writers had it.
func sumOK(b []byte) bool {
	want, err := number(b[offSum : offSum+8])
	if err != nil {
		return false
	}
	var unsigned, signed int64
	for i, c := range b[:block] {
		if i >= offSum && i < offSum+8 {
			c = ' '
		}
		unsigned, signed = unsigned+int64(c), signed+int64(int8(c))
	}
	return want == unsigned || want == signed
}

// number decodes a field: octal digits, or GNU's base-256 where the first bit is set.
func number(b []byte) (int64, error) {
	if b[0]&0x80 != 0 {
		var v uint64
		if b[0]&0x40 != 0 { // negative
			v = ^uint64(0)
		}
		v = v<<6 | uint64(b[0]&0x3f)
		for _, c := range b[1:] {
			if hi := int64(v) >> 55; hi != 0 && hi != -1 {
				return 0, fmt.Errorf("number %x is too large", b)
			}
			v = v<<8 | uint64(c)
		}
		return int64(v), nil
	}
	s := strings.Trim(string(b), " \x00")
	if i := strings.IndexAny(s, " \x00"); i >= 0 {
		s = s[:i]
	}
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseInt(s, 8, 64)
	if err != nil {
		return 0, fmt.Errorf("number %q", b)
	}
	return v, nil
}

// padded is a size in whole blocks.
func padded(n int64) int64 { return (n + block - 1) &^ (block - 1) }

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

var zeroBlock [block]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeroBlock[:len(b)]) }
