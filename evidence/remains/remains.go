// Package remains holds what the filesystems share in bringing back deleted
// files: a reader of blocks that belong to no file any more, and which of
// several deleted files had a block last. Both are handed what hostile disks say:
// neither panics, and the work of the second is bounded.
package remains

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sort"
)

// Piece is a stretch of a file's content and where on the disk it lies, in bytes.
type Piece struct {
	At, Disk, Len int64
}

// NewReader reads a file of size bytes that is made of pieces; what none of them
// has reads as zeros.
func NewReader(disk io.ReaderAt, pieces []Piece, size int64) *io.SectionReader {
	sorted := slices.Clone(pieces)
	slices.SortStableFunc(sorted, func(a, b Piece) int { return cmp.Compare(a.At, b.At) })
	return io.NewSectionReader(&reader{disk, sorted}, 0, size)
}

type reader struct {
	disk   io.ReaderAt
	pieces []Piece
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at offset %d", off)
	}
	clear(b)
	end := off + int64(len(b))
	i := sort.Search(len(r.pieces), func(i int) bool { return r.pieces[i].At+r.pieces[i].Len > off })
	for ; i < len(r.pieces) && r.pieces[i].At < end; i++ {
		p := r.pieces[i]
		from, to := max(p.At, off), min(p.At+p.Len, end)
		if from >= to {
			continue
		}
		if n, err := r.disk.ReadAt(b[from-off:to-off], p.Disk+from-p.At); n < int(to-from) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return int(from-off) + n, fmt.Errorf("reading at offset %#x: %w", p.Disk+from-p.At, err)
		}
	}
	return len(b), nil
}

// Claim says that a deleted file had the blocks from Start up to End. Age orders
// the files by when they were there last; Overlaid is set where a later one had a block too.
type Claim struct {
	Start, End uint64
	Age        int64
	Overlaid   *bool
}

// maxComparisons bounds the comparisons of claims with each other. Past it, what
// is left of them is taken for overlaid, which promises less and nothing wrong.
const maxComparisons = 1 << 24

// Overlay marks the claims on blocks that a later file had. Claims of one file
// share their Overlaid and don't count against each other.
func Overlay(claims []Claim) {
	slices.SortFunc(claims, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Age, b.Age))
	})
	var open []Claim
	budget := maxComparisons
	for _, c := range claims {
		open = slices.DeleteFunc(open, func(o Claim) bool { return o.End <= c.Start })
		for _, o := range open {
			if budget--; budget < 0 {
				*o.Overlaid, *c.Overlaid = true, true
				continue
			}
			switch {
			case o.Overlaid == c.Overlaid:
			case o.Age < c.Age:
				*o.Overlaid = true
			default:
				*c.Overlaid = true
			}
		}
		open = append(open, c)
	}
}
