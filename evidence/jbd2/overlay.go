package jbd2

import (
	"encoding/binary"
	"fmt"
	"io"
	"sort"
)

// Overlay is the device of a filesystem as it would be after the replay.
type Overlay struct {
	log *Log
	dev io.ReaderAt
}

// Overlay returns dev, the device of the filesystem, as it would be after the
// replay: blocks that the log replaces are read from the log, all others from
// dev. Reads are split at replaced blocks only.
func (l *Log) Overlay(dev io.ReaderAt) *Overlay { return &Overlay{log: l, dev: dev} }

// Overlaid says whether any of the n bytes at off are replaced.
func (o *Overlay) Overlaid(off, n int64) bool {
	bs := int64(o.log.BlockSize)
	if off < 0 || n <= 0 {
		return false
	}
	i := o.log.search(uint64(off / bs))
	return i < len(o.log.replaced) && o.log.replaced[i].block <= uint64((off+n-1)/bs)
}

// Replaces says whether the replay replaces a block of the filesystem.
func (l *Log) Replaces(block uint64) bool {
	i := l.search(block)
	return i < len(l.replaced) && l.replaced[i].block == block
}

// search returns the index of the first replaced block at or after block.
func (l *Log) search(block uint64) int {
	return sort.Search(len(l.replaced), func(i int) bool { return l.replaced[i].block >= block })
}

// ReadAt reads as the device would.
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at %d: negative offset", off)
	}
	bs := int64(o.log.BlockSize)
	next := o.log.search(uint64(off / bs))
	for done := 0; done < len(p); {
		at := off + int64(done)
		rest := p[done:]
		var n int
		var err error
		if next < len(o.log.replaced) && o.log.replaced[next].block == uint64(at/bs) {
			run := o.run(next, at, len(rest))
			n, err = o.fromLog(rest, at, next, run)
			next += run
		} else {
			if next < len(o.log.replaced) {
				// Block numbers come from the log: compare blocks, a product may overflow.
				if gap := o.log.replaced[next].block - uint64(at/bs); gap <= uint64(int64(len(rest))/bs)+1 {
					rest = rest[:min(int64(len(rest)), (at/bs+int64(gap))*bs-at)]
				}
			}
			n, err = o.dev.ReadAt(rest, at)
			if n == len(rest) {
				err = nil
			}
		}
		done += n
		if err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// run counts the replaced blocks from index i on that follow each other both
// on the disk and in the log, as far as a read of n bytes at off needs them.
func (o *Overlay) run(i int, off int64, n int) int {
	bs := int64(o.log.BlockSize)
	want := int((off%bs + int64(n) + bs - 1) / bs)
	r := o.log.replaced
	k := 1
	for k < want && i+k < len(r) && r[i+k].block == r[i].block+uint64(k) && r[i+k].pos == r[i].pos+uint32(k) {
		k++
	}
	return k
}

// fromLog reads the run of k replaced blocks that begins at index i, and restores
// the first word of those that the log holds escaped.
func (o *Overlay) fromLog(p []byte, off int64, i, k int) (int, error) {
	bs := int64(o.log.BlockSize)
	skip := off % bs
	p = p[:min(int64(len(p)), int64(k)*bs-skip)]
	n, err := o.log.r.ReadAt(p, int64(o.log.replaced[i].pos)*bs+skip)
	if n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, fmt.Errorf("reading block %d from the journal: %w", o.log.replaced[i].block, err)
	}
	var word [4]byte
	binary.BigEndian.PutUint32(word[:], magic)
	for j := range k {
		if o.log.replaced[i+j].flags&flagEscape == 0 {
			continue
		}
		for w := range int64(len(word)) {
			if at := int64(j)*bs + w - skip; at >= 0 && at < int64(len(p)) {
				p[at] = word[w]
			}
		}
	}
	return n, nil
}
