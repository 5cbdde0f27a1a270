package tarfs

import (
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"lagan/evidence"
)

// sparseForm says where the map of a file that is stored without its holes is.
type sparseForm byte

const (
	notSparse       sparseForm = iota
	sparseInHeader             // GNU's old form, and its forms 0.0 and 0.1 in extended headers
	sparseInContent            // 1.0: lines of digits before the content
)

// segment is a part of a sparse file that isn't a hole.
type segment struct {
	off, size int64 // in the file
	data      int64 // in the archive
}

func (h *header) addSegment(off, size int64) error {
	if off < 0 || size < 0 || off > 1<<62 || size > 1<<62 {
		return fmt.Errorf("sparse map: %d bytes at %d: %w", size, off, evidence.ErrCorrupt)
	}
	if len(h.more) == maxSegments {
		return fmt.Errorf("sparse map of more than %d parts: %w", maxSegments, evidence.ErrUnsupported)
	}
	h.more = append(h.more, segment{off: off, size: size})
	return nil
}

// sparseRecord takes one of the records whose keys begin with GNU.sparse.
func (x *extended) sparseRecord(h *header, key, value string, keep bool) error {
	v := int64(0)
	var err error
	switch key {
	case "major":
		x.sparseMajor = value
		return nil
	case "minor", "numblocks":
		return nil
	case "name":
		x.sparseName = value
		return nil
	case "map":
		h.sparse = sparseInHeader
		if !keep {
			return nil
		}
		return h.mapRecord(value)
	default:
		if v, err = strconv.ParseInt(value, 10, 64); err != nil {
			return fmt.Errorf("record GNU.sparse.%s=%.40q: %w", key, value, evidence.ErrCorrupt)
		}
	}
	switch key {
	case "size", "realsize":
		x.realSize = &v
		h.sparse = sparseInHeader
	case "offset":
		x.offset = v
	case "numbytes":
		if keep {
			return h.addSegment(x.offset, v)
		}
	}
	return nil
}

// mapRecord decodes "offset,length,offset,length".
func (h *header) mapRecord(value string) error {
	off, isOff := int64(0), true
	for s := range strings.SplitSeq(value, ",") {
		if s == "" {
			continue
		}
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("sparse map: %.40q: %w", s, evidence.ErrCorrupt)
		}
		if isOff {
			off = v
		} else if err := h.addSegment(off, v); err != nil {
			return err
		}
		isOff = !isOff
	}
	return nil
}

// gnuSparse decodes the map of GNU's old form, from the header and the blocks behind it.
func (r *reader) gnuSparse(h *header, b []byte) error {
	var err error
	if h.size, err = number(b[offGNURealSize : offGNURealSize+12]); err != nil {
		return fmt.Errorf("size of a sparse file: %w: %w", evidence.ErrCorrupt, err)
	}
	h.sparse = sparseInHeader
	pairs, more := b[offGNUSparse:], b[offGNUIsExtended] != 0
	for n, count := gnuSparsePairs, 0; ; n = gnuExtendedPairs {
		for i := range n {
			p := pairs[24*i : 24*i+24]
			if p[0] == 0 {
				break
			}
			off, err := number(p[:12])
			size, err2 := number(p[12:])
			if err != nil || err2 != nil {
				return fmt.Errorf("sparse map at offset %#x: %w", h.data, evidence.ErrCorrupt)
			}
			if count++; count > maxSegments {
				return fmt.Errorf("sparse map of more than %d parts: %w", maxSegments, evidence.ErrUnsupported)
			}
			if !r.xattrs {
				continue
			}
			if err := h.addSegment(off, size); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		if pairs, err = r.bytes(h.data, block); err != nil {
			return fmt.Errorf("sparse map at offset %#x: %w: %w", h.data, evidence.ErrCorrupt, err)
		}
		more = pairs[offExtendedMore] != 0
		h.data += block
	}
}

// segments gives a sparse file's parts their places in the archive, in the order of the file.
func (h *header) segments(r *reader) ([]segment, error) {
	data := h.data
	if h.sparse == sparseInContent {
		h.more = nil
		end, err := h.contentMap(r)
		if err != nil {
			return nil, err
		}
		data = end
	}
	end := int64(0)
	for i := range h.more {
		s := &h.more[i]
		if s.off < end || s.off+s.size > h.size {
			return nil, fmt.Errorf("sparse map: %d bytes at %d of %d: %w", s.size, s.off, h.size, evidence.ErrCorrupt)
		}
		s.data = data
		data += s.size
		end = s.off + s.size
	}
	if data > h.data+h.stored {
		return nil, fmt.Errorf("sparse map of %d bytes, %d are stored: %w", data-h.data, h.stored, evidence.ErrCorrupt)
	}
	return h.more, nil
}

// contentMap decodes a map of form 1.0: the count, then offset and length of
// each part, each a line, padded to a block.
func (h *header) contentMap(r *reader) (end int64, err error) {
	at := h.data
	line := func() (int64, error) {
		b, err := r.bytes(at, int(min(24, h.data+h.stored-at, r.size-at)))
		if err != nil {
			return 0, err
		}
		digits, _, ok := strings.Cut(string(b), "\n")
		v, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("sparse map at offset %#x: %q: %w", at, b, evidence.ErrCorrupt)
		}
		at += int64(len(digits)) + 1
		return v, nil
	}
	count, err := line()
	for i := int64(0); i < count && err == nil; i++ {
		var off, size int64
		if off, err = line(); err != nil {
			break
		}
		if size, err = line(); err == nil {
			err = h.addSegment(off, size)
		}
	}
	return h.data + padded(at-h.data), err
}

// sparseFile reads a file that is stored without its holes.
type sparseFile struct {
	r    io.ReaderAt
	size int64
	segs []segment
}

// ReadAt implements io.ReaderAt.
func (s *sparseFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at >= s.size {
			return done, io.EOF
		}
		i := sort.Search(len(s.segs), func(i int) bool { return s.segs[i].off+s.segs[i].size > at })
		if i == len(s.segs) || at < s.segs[i].off { // in a hole
			end := s.size
			if i < len(s.segs) {
				end = s.segs[i].off
			}
			n := int(min(int64(len(p)-done), end-at))
			clear(p[done : done+n])
			done += n
			continue
		}
		seg := s.segs[i]
		n := int(min(int64(len(p)-done), seg.off+seg.size-at))
		m, err := s.r.ReadAt(p[done:done+n], seg.data+at-seg.off)
		done += m
		if m < n {
			return done, err
		}
	}
	return done, nil
}
