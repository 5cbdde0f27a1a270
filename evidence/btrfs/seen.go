package btrfs

import "iter"

const (
	// maxSeen bounds the bytes that are kept of folders' entries between a pass over
	// all inodes and the one over all folders.
	maxSeen = 64 << 20
	// seenChunk is how many bytes are allocated at a time.
	seenChunk = 1 << 20
	seenCost  = 32 // of one item, beside its bytes
)

// seenDirs are the items of folders' entries that a pass over all inodes met: both
// lie in the same leaves, which the pass over the folders would read again.
type seenDirs struct {
	of    map[*subvolume][]seenItem
	chunk []byte // the last one
	size  int
	full  bool // there was more than is kept
}

type seenItem struct {
	object uint64
	data   []byte
}

// add keeps an item of a subvolume.
func (s *seenDirs) add(v *subvolume, it item) {
	if s.full {
		return
	}
	if s.size += len(it.data) + seenCost; s.size > maxSeen {
		*s = seenDirs{full: true}
		return
	}
	if len(s.chunk)+len(it.data) > cap(s.chunk) {
		s.chunk = make([]byte, 0, max(seenChunk, len(it.data)))
	}
	at := len(s.chunk)
	s.chunk = append(s.chunk, it.data...)
	if s.of == nil {
		s.of = make(map[*subvolume][]seenItem)
	}
	s.of[v] = append(s.of[v], seenItem{it.key.object, s.chunk[at:len(s.chunk):len(s.chunk)]})
}

// items yields those of a subvolume, or false where its tree has to be read: what can't
// be read of it is told by whoever reads it.
func (s *seenDirs) items(v *subvolume) (iter.Seq2[item, error], bool) {
	if s == nil || s.full {
		return nil, false
	}
	all, ok := s.of[v]
	return func(yield func(item, error) bool) {
		for _, one := range all {
			if !yield(item{key: key{one.object, itemDirIndex, 0}, data: one.data}, nil) {
				return
			}
		}
	}, ok
}
