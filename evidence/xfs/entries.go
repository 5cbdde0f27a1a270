package xfs

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"lagan/evidence"
)

// maxDirCache bounds the bytes kept of folders' inodes between a pass over all
// inodes and the one over all folders.
const maxDirCache = 24 << 20

// dirCache holds the data forks of the folders that a pass over the inodes met,
// so that the pass over their blocks need not read all inodes again.
type dirCache struct {
	arena  []byte
	refs   map[uint64]dirRef
	blocks passedBlocks
}

type dirRef struct {
	off, n         uint32
	format         uint8
	size, nextents uint64
}

func (c *dirCache) add(d *dinode) {
	b := d.dataFork()
	switch {
	case d.format == fmtLocal:
		b = shortFormBytes(d)
	case d.format == fmtExtents && d.nextents < uint64(len(b)/bmbtRec):
		b = b[:d.nextents*bmbtRec]
	}
	if len(c.arena)+len(b) > maxDirCache {
		return
	}
	if c.refs == nil {
		c.refs = make(map[uint64]dirRef)
	}
	c.refs[d.ino] = dirRef{uint32(len(c.arena)), uint32(len(b)), d.format, d.size, d.nextents}
	c.arena = append(c.arena, b...)
}

// get returns what dirBlocks and shortForm need of a folder's inode.
func (c *dirCache) get(ino uint64) (dirFork, bool) {
	if c == nil {
		return dirFork{}, false
	}
	r, ok := c.refs[ino]
	if !ok {
		return dirFork{}, false
	}
	return dirFork{ino, r.format, c.arena[r.off:][:r.n:r.n], r.size, r.nextents}, true
}

// dirFork is the data fork of a folder.
type dirFork struct {
	ino      uint64
	format   uint8
	data     []byte
	size     uint64
	nextents uint64
}

func forkOf(d *dinode) dirFork {
	if d.format == fmtLocal {
		return dirFork{d.ino, d.format, shortFormBytes(d), d.size, 0}
	}
	return dirFork{d.ino, d.format, d.dataFork(), d.size, d.nextents}
}

// wanted is a block of a folder that is to be read.
type wanted struct {
	dir uint64
	dirPos
}

// maxWanted bounds the folder blocks that are sorted together.
const maxWanted = 1 << 20

// entriesScan is one pass over folders.
type entriesScan struct {
	f       *FS
	yield   func(evidence.DirEntry, error) bool
	batch   batch
	claimed blockSet
	bad     map[uint64]int // blocks of a folder that are none of its own
	want    []wanted
	passed  passedBlocks
	stopped bool
}

// Entries yields the entries of folders: first those that are kept in inodes,
// in the order of their numbers, then those in blocks, in the order of the blocks.
func (f *FS) Entries(dirs []evidence.Ino) iter.Seq2[evidence.DirEntry, error] {
	return func(yield func(evidence.DirEntry, error) bool) {
		s := entriesScan{f: f, yield: yield, bad: make(map[uint64]int)}
		cached := f.dirs.Swap(nil)
		if cached != nil {
			s.passed, cached.blocks = cached.blocks, passedBlocks{}
		}
		sorted := slices.Clone(dirs)
		slices.Sort(sorted)
		for _, ino := range slices.Compact(sorted) {
			d, ok := cached.get(uint64(ino))
			if !ok {
				inode, err := f.folder(ino)
				if err != nil {
					if s.fail(err); s.stopped {
						return
					}
					continue
				}
				d = forkOf(&inode)
			}
			if s.folder(d); s.stopped {
				return
			}
		}
		s.readWanted()
	}
}

func (s *entriesScan) fail(err error) {
	if err != nil && !s.stopped {
		s.stopped = !s.yield(evidence.DirEntry{}, err)
	}
}

// give yields the entries that were collected of a folder.
func (s *entriesScan) give(dir uint64, err error) {
	for _, e := range s.batch.take() {
		if s.stopped = s.stopped || !s.yield(evidence.DirEntry{Dir: evidence.Ino(dir), Entry: e}, nil); s.stopped {
			return
		}
	}
	s.fail(err)
}

// folder gives the entries of a short-form folder, and notes the blocks of others.
func (s *entriesScan) folder(d dirFork) {
	if d.format == fmtLocal {
		_, err := s.f.shortForm(d.ino, d.data, s.batch.add)
		s.give(d.ino, err)
		return
	}
	k, err := s.f.fork(d.ino, "data", d.format, d.data, d.nextents)
	if err != nil {
		s.fail(err)
		return
	}
	for pos, err := range s.f.dirBlocks(&k) {
		if err != nil {
			s.fail(err)
			continue
		}
		if pos.off < 0 {
			s.inParts(&k, pos)
		} else if s.claimed.add(uint64(pos.off) >> s.f.sb.blockLog) {
			s.want = append(s.want, wanted{d.ino, pos})
		} else {
			s.fail(k.corrupt("block %#x at offset %#x belongs to several directories", pos.db, pos.off))
			return
		}
		if len(s.want) >= maxWanted {
			s.readWanted()
		}
		if s.stopped {
			return
		}
	}
}

// inParts reads a folder block that lies in several extents.
func (s *entriesScan) inParts(k *fork, pos dirPos) {
	b, off, err := s.f.dirData(k, pos)
	if err == nil {
		_, err = s.f.dirBlock(k.ino, b, off, s.batch.add)
	}
	s.give(k.ino, err)
}

// readWanted reads the blocks that were noted, in the order of the disk.
func (s *entriesScan) readWanted() {
	slices.SortFunc(s.want, func(a, b wanted) int { return cmp.Compare(a.off, b.off) })
	pieces := make([]piece, len(s.want))
	for i, w := range s.want {
		n := int(s.f.sb.blockSize) << s.f.sb.dirBlkLog
		pieces[i] = piece{off: w.off, n: n, id: i, have: s.passed.find(w.off, n)}
	}
	if len(s.want) < maxWanted { // the last that is wanted: the pieces alone hold the bytes now
		s.passed = passedBlocks{}
	}
	readAhead(s.f.dev, s.f.size, pieces, nil, func(p piece, b []byte, err error) bool {
		dir := s.want[p.id].dir
		if s.bad[dir] > maxBadBlocks {
			return true
		}
		if err == nil {
			_, err = s.f.dirBlock(dir, b, p.off, s.batch.add)
		}
		if err != nil {
			if s.bad[dir]++; s.bad[dir] > maxBadBlocks {
				err = fmt.Errorf("directory inode %d: more than %d bad blocks, the rest is left out: %w", dir, maxBadBlocks, evidence.ErrCorrupt)
			}
		}
		s.give(dir, err)
		return !s.stopped
	})
	s.want = s.want[:0]
}

// maxClaims is how many folders may claim a block. One is right; in a view
// without the log, an older folder may still point to it too.
const maxClaims = 3

// blockSet counts the claims to blocks in two bits each, in pages that exist where needed.
type blockSet map[uint64]*[512]uint64

// add claims the block n, and tells whether that is still allowed.
func (s *blockSet) add(n uint64) bool {
	if *s == nil {
		*s = make(blockSet)
	}
	const perPage = 512 * 32
	p := (*s)[n/perPage]
	if p == nil {
		p = new([512]uint64)
		(*s)[n/perPage] = p
	}
	w, shift := &p[n%perPage/32], n%32*2
	if *w>>shift&3 == maxClaims {
		return false
	}
	*w += 1 << shift
	return true
}
