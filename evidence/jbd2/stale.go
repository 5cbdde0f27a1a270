package jbd2

import (
	"iter"
	"time"
)

// Copy is an older state of one block of the filesystem, which the log still holds.
type Copy struct {
	Block    uint64    // of the filesystem
	Sequence uint32    // of the transaction that logged it
	Commit   time.Time // of that transaction; zero where its commit is gone or not dated
	Offset   int64     // of the copy in the journal
	Escaped  bool      // its first four bytes were the magic number, and are zero in the log
	Damaged  bool      // its checksum is wrong
	pos      uint32
}

// Copies yields every copy of a block that any descriptor left in the log names,
// in the order of the log, replayed long ago or not: what a block held
// before. A transaction that later ones overwrote in part is yielded as far
// as it lasts.
func (l *Log) Copies() iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		commits := l.commitTimes()
		w := newWindow(l.r, l.BlockSize)
		tags := []tag{}
		for i := l.First; i < l.end(); i++ {
			b, err := w.block(i)
			if err != nil {
				yield(Copy{}, err)
				return
			}
			if beUint32(b) != magic || beUint32(b[4:]) != descriptorBlock || !l.tailOK(b) {
				continue
			}
			seq := beUint32(b[8:])
			tags = tags[:0]
			l.tags(b, func(t tag) { tags = append(tags, t) })
			for k, t := range tags {
				c := Copy{Block: t.block, Sequence: seq, Commit: commits[seq], Escaped: t.flags&flagEscape != 0}
				c.pos = l.wrap(i - l.First + 1 + uint32(k))
				c.Offset = int64(c.pos) * int64(l.BlockSize)
				data, err := w.block(c.pos)
				if err != nil {
					yield(Copy{}, err)
					return
				}
				if beUint32(data) == magic {
					break // a later transaction begins here
				}
				c.Damaged = !l.tagOK(t, seq, data)
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// wrap returns the block of the log that lies i blocks behind its beginning, around its end if need be.
func (l *Log) wrap(i uint32) uint32 {
	n := l.end() - l.First
	return l.First + i%n
}

// commitTimes returns the times of all commits left in the log, by sequence.
func (l *Log) commitTimes() map[uint32]time.Time {
	times := map[uint32]time.Time{}
	w := newWindow(l.r, l.BlockSize)
	for i := l.First; i < l.end() && len(times) < maxRevokes; i++ {
		b, err := w.block(i)
		if err != nil {
			break // Copies meets it as well, and says so
		}
		if beUint32(b) == magic && beUint32(b[4:]) == commitBlock {
			times[beUint32(b[8:])] = commitTime(b)
		}
	}
	return times
}

// copiesAhead is how much of the log is read for one copy: neighbours are often
// asked for next, but not all of them.
const copiesAhead = 64 << 10

// Read returns the content of a copy as the block held it.
func (l *Log) Read(c Copy) ([]byte, error) {
	l.copyMu.Lock()
	defer l.copyMu.Unlock()
	if l.copies == nil {
		l.copies = &window{r: l.r, bs: l.BlockSize, ahead: copiesAhead}
	}
	b, err := l.copies.block(c.pos)
	if err != nil {
		return nil, err
	}
	b = append([]byte(nil), b[:l.BlockSize]...)
	if c.Escaped {
		copy(b, []byte{magic >> 24, magic >> 16 & 0xff, magic >> 8 & 0xff, magic & 0xff})
	}
	return b, nil
}
