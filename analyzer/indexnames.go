package analyzer

import (
	"encoding/binary"
	"errors"
	"math"
)

// names are the entries of all directories of an index, in the order in which
// they were read: for each the node that it leads to in four bytes, the length
// of its name in one, and the name. What follows each other of one directory is a
// run, and a directory is a list of runs.
type names struct {
	blocks [][]byte // of nameBlock bytes each
	runs   []nameRun
	head   []int32 // one more than the first run of each node; 0: none
	tail   []int32 // and the last
}

// nameRun is a stretch of entries in one block.
type nameRun struct {
	at   uint32 // the block's number << nameShift | where in it
	n    uint32 // entries
	next int32  // one more than the next run of the directory; 0: the last
}

const (
	nameShift = 20
	nameBlock = 1 << nameShift
	nameHead  = 5 // bytes before a name
)

// errNames says that a filesystem has more than fits.
var errNames = errors.New("more names than can be indexed")

// add appends an entry to a directory.
func (s *names) add(dir, child int32, name string) error {
	if len(name) > math.MaxUint8 {
		return errNames
	}
	last := len(s.blocks) - 1
	full := last < 0 || len(s.blocks[last])+nameHead+len(name) > nameBlock
	if full {
		s.blocks = append(s.blocks, make([]byte, 0, nameBlock))
		last++
	}
	r := s.tail[dir]
	if full || r == 0 || int(r) != len(s.runs) {
		if len(s.blocks) > math.MaxUint32>>nameShift || len(s.runs) >= math.MaxInt32 {
			return errNames
		}
		s.runs = append(s.runs, nameRun{at: uint32(last<<nameShift | len(s.blocks[last]))})
		n := int32(len(s.runs))
		if r == 0 {
			s.head[dir] = n
		} else {
			s.runs[r-1].next = n
		}
		s.tail[dir], r = n, n
	}
	s.runs[r-1].n++
	b := binary.LittleEndian.AppendUint32(s.blocks[last], uint32(child))
	s.blocks[last] = append(append(b, byte(len(name))), name...)
	return nil
}

// bytes is about how much memory they take.
func (s *names) bytes() int64 {
	return int64(len(s.blocks))<<nameShift + int64(cap(s.runs))*12 + int64(len(s.head))*4
}

// entries is a place in the list of a directory's entries.
type entries struct {
	at   uint32
	left uint32
	next int32
}

// of returns the beginning of a directory's entries.
func (s *names) of(dir int32) entries { return entries{next: s.head[dir]} }

// next returns the entry at a place and moves on; false at the end. The name is
// valid as long as the index is.
func (s *names) next(e *entries) (child int32, name []byte, ok bool) {
	if e.left == 0 {
		if e.next == 0 {
			return 0, nil, false
		}
		r := &s.runs[e.next-1]
		*e = entries{r.at, r.n, r.next}
	}
	b := s.blocks[e.at>>nameShift][e.at&(nameBlock-1):]
	n := nameHead + uint32(b[4])
	e.at += n
	e.left--
	return int32(binary.LittleEndian.Uint32(b)), b[nameHead:n:n], true
}
