package ext4

import (
	"fmt"

	"lagan/evidence"
)

// piece is a part of one group's inode table.
type piece struct {
	first  uint32 // its first inode
	n      int    // inodes
	off    int64  // on the volume
	bitmap []byte // of the group's inodes; nil where it can't be read
}

// losses joins groups in a row that can't be read to one error: an image that
// was cut short has thousands of them.
type losses struct {
	from, to uint32
	err      error
}

func (l *losses) add(from, n uint32, err error) {
	if l.err == nil {
		l.from, l.err = from, err
	}
	l.to = from + n - 1
}

func (l *losses) flush(yield func(piece, error) bool) bool {
	if l.err == nil {
		return true
	}
	err := fmt.Errorf("inodes %d to %d: %w", l.from, l.to, l.err)
	l.err = nil
	return yield(piece{}, err)
}

// pieces yields all inode tables, up to the last inode that was ever used, in
// pieces of at most readSize. Groups in a row that can't be read are one error.
func (fs *FS) pieces(yield func(piece, error) bool) {
	sb := fs.sb
	budget := fs.size // tables don't overlap: together they are no larger than the volume
	var lost losses
	for g := range sb.groups {
		first := g*sb.inodesPerGroup + 1
		d, err := fs.group(g)
		if err != nil {
			lost.add(first, sb.inodesPerGroup, err)
			continue
		}
		var bitmap []byte
		if !d.uninit {
			bitmap = fs.inodeBitmap(g, &d)
		}
		if budget -= int64(d.used) * int64(sb.inodeSize); budget < 0 {
			lost.add(first, sb.inodes-first+1, fmt.Errorf("inode tables larger than the volume: %w", evidence.ErrCorrupt))
			break
		}
		if !fs.groupPieces(first, d, bitmap, &lost, yield) {
			return
		}
	}
	lost.flush(yield)
}

// groupPieces yields the pieces of one group's table, whose first inode is first.
func (fs *FS) groupPieces(first uint32, d group, bitmap []byte, lost *losses, yield func(piece, error) bool) bool {
	size := int64(fs.sb.inodeSize)
	per := uint32(readSize / size)
	for i := uint32(0); i < d.used; i += per {
		n := min(per, d.used-i)
		off := fs.offset(d.inodeTable) + int64(i)*size
		have := min(int64(n), max(0, (fs.size-off)/size))
		if have > 0 && (!lost.flush(yield) || !yield(piece{first + i, int(have), off, bitmap}, nil)) {
			return false
		}
		if n -= uint32(have); n > 0 {
			lost.add(first+i+uint32(have), d.used-i-uint32(have), fmt.Errorf("table at offset %#x is behind the end of the volume: %w", off, evidence.ErrCorrupt))
			break
		}
	}
	return true
}

// inodeBitmap returns a group's bitmap of inodes, nil where it can't be read,
// and corrects how many inodes were used where the bitmap marks more.
func (fs *FS) inodeBitmap(g uint32, d *group) []byte {
	b, err := fs.block(d.inodeBitmap)
	if err != nil {
		fs.warn(object{inBitmap, uint64(g)}, fmt.Errorf("inode bitmap of group %d: %w", g, err))
		return nil
	}
	n := fs.sb.inodesPerGroup
	for i := n; i > d.used; i-- {
		if b[(i-1)/8] == 0 && i%8 == 0 && i-d.used > 8 {
			i -= 7
			continue
		}
		if b[(i-1)/8]>>((i-1)%8)&1 != 0 {
			fs.warn(object{inDesc, uint64(g)}, fmt.Errorf("descriptor of group %d counts %d inodes as used, the bitmap %d: %w", g, d.used, i, evidence.ErrCorrupt))
			d.used = i
			break
		}
	}
	return b
}

// table is some pieces, read at once.
type table struct {
	pieces []piece
	buf    []byte
	start  int64 // of buf on the volume
}

// of returns the bytes of a piece.
func (t *table) of(p piece, inodeSize int) []byte {
	at := p.off - t.start
	return t.buf[at : at+int64(p.n*inodeSize)]
}

// tables reads the inode tables in large reads and calls fn with each, or with
// an error in the place of what can't be read. The table is fn's until it returns.
func (fs *FS) tables(fn func(*table, error) bool) {
	fs.tablesOf(turns{n: 1}, fn, func() bool { return true })
}

// turns says which of the tables one of n goroutines takes: they take turns, so
// that what they make can be put in order again.
type turns struct {
	k, n int // which of them this is
	at   int // the next turn
}

// mine says whether the next turn is this goroutine's.
func (t *turns) mine() bool {
	t.at++
	return (t.at-1)%t.n == t.k
}

// tablesOf is tables for the turns of one goroutine; done is called at the end of each.
func (fs *FS) tablesOf(turn turns, fn func(*table, error) bool, done func() bool) {
	t := &table{}
	buf := make([]byte, min(readSize, fs.size))
	var end int64
	more := true
	read := func() {
		if len(t.pieces) == 0 || !more {
			return
		}
		if turn.mine() {
			t.buf = buf[:end-t.start]
			if readFull(fs.dev, t.buf, t.start) == nil {
				more = fn(t, nil)
			} else {
				more = fs.tableByBlock(t, fn)
			}
			more = more && done()
		}
		t.pieces = t.pieces[:0]
	}
	for p, err := range fs.pieces {
		if err != nil {
			if read(); more && turn.mine() {
				more = fn(nil, err) && done()
			}
		} else {
			to := p.off + int64(p.n*fs.sb.inodeSize)
			if len(t.pieces) > 0 && (p.off < end || p.off > end+readGap || to-t.start > int64(len(buf))) {
				read()
			}
			if len(t.pieces) == 0 {
				t.start = p.off
			}
			end = to
			t.pieces = append(t.pieces, p)
		}
		if !more {
			return
		}
	}
	read()
}

// tableByBlock reads a table whose reading failed, a block at a time, so that
// only what is unreadable is lost.
func (fs *FS) tableByBlock(t *table, fn func(*table, error) bool) bool {
	size, inodeSize := int64(fs.sb.blockSize()), fs.sb.inodeSize
	for _, p := range t.pieces {
		for done := 0; done < p.n; {
			off := p.off + int64(done*inodeSize)
			n := min(p.n-done, int((size-off%size)/int64(inodeSize)))
			part := piece{p.first + uint32(done), n, off, p.bitmap}
			b := make([]byte, n*inodeSize)
			var ok bool
			if err := readFull(fs.dev, b, off); err != nil {
				ok = fn(nil, fmt.Errorf("inodes %d to %d: %w", part.first, part.first+uint32(n)-1, err))
			} else {
				ok = fn(&table{[]piece{part}, b, off}, nil)
			}
			if !ok {
				return false
			}
			done += n
		}
	}
	return true
}
