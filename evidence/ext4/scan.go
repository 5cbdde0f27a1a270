package ext4

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"

	"lagan/evidence"
)

// allocated says whether the inode bitmap marks an inode of the piece.
func (p *piece) allocated(sb *super, i int) (marked, known bool) {
	at := (p.first - 1 + uint32(i)) % sb.inodesPerGroup
	if int(at/8) >= len(p.bitmap) {
		return false, false
	}
	return p.bitmap[at/8]>>(at%8)&1 != 0, true
}

// hidden says whether an inode is the filesystem's own, which no path leads to.
func (sb *super) hidden(ino uint32) bool {
	return ino < sb.firstIno && ino != rootIno ||
		ino == sb.orphanFile && sb.compat&compatOrphanFile != 0 || ino == sb.projQuota
}

// found is one result of Inodes: an inode, what of it can't be read, or both.
type found struct {
	evidence.Inode
	err error
}

// Inodes yields the inodes in use in the order of the inode tables.
func (fs *FS) Inodes() iter.Seq2[evidence.Inode, error] {
	return func(yield func(evidence.Inode, error) bool) {
		n := min(scanners, runtime.GOMAXPROCS(0))
		produce := func(k int, send func([]found) ([]found, bool)) {
			s := &inodeScan{fs: fs, names: nameSet{}}
			s.run(turns{k: k, n: n}, send)
		}
		for batch := range aheadOf(n, produce, func(err error) found { return found{err: err} }) {
			for i := range batch {
				f := &batch[i]
				if f.Ino != 0 && !yield(f.Inode, nil) {
					return
				}
				if f.err != nil && !yield(evidence.Inode{Ino: f.Ino}, f.err) {
					return
				}
			}
		}
	}
}

// inodeScan decodes tables of inodes.
type inodeScan struct {
	fs    *FS
	names nameSet
	batch []found
	needs []need
	buf   []byte
}

// need is a block that completes an inode of the batch.
type need struct {
	blk    uint64
	index  int32
	size   int32 // of a link's target
	target bool  // else attributes
}

// scanners is how many goroutines read and decode inode tables. Who takes the
// inodes keeps about half as busy as they are.
const scanners = 2

// run decodes the tables of its turns, and sends one batch for each.
func (s *inodeScan) run(turn turns, send func([]found) ([]found, bool)) {
	s.fs.tablesOf(turn, func(t *table, err error) bool {
		if err != nil {
			s.batch = append(s.batch, found{err: err})
		} else {
			s.decode(t)
		}
		return true
	}, func() (ok bool) {
		s.batch, ok = send(s.batch)
		return ok
	})
}

// decode adds the table's inodes in use to the batch.
func (s *inodeScan) decode(t *table) {
	fs := s.fs
	old := fs.before(t)
	size := fs.sb.inodeSize
	s.needs = s.needs[:0]
	s.batch = slices.Grow(s.batch, len(t.buf)/size) // a read's worth
	var in inode
	for _, p := range t.pieces {
		raw := t.of(p, size)
		for i := range p.n {
			b := raw[i*size : (i+1)*size : (i+1)*size]
			if le.Uint16(b) == 0 || le.Uint16(b[0x1a:]) == 0 { // i_mode, i_links_count
				continue
			}
			ino := p.first + uint32(i)
			if fs.sb.hidden(ino) || !fs.believed(&p, i, ino, b) {
				continue
			}
			fs.decodeInode(&in, ino, b)
			if in.flags&flagEAInode != 0 {
				continue
			}
			s.batch = append(s.batch, found{})
			f := &s.batch[len(s.batch)-1]
			f.Ino = evidence.Ino(ino)
			fs.fill(&f.Info, &in)
			if old != nil {
				at := p.off - t.start + int64(i*size)
				f.Info.FromJournal = !bytes.Equal(b, old[at:at+int64(size)])
			}
			s.complete(f, &in)
			if f.Info.Type == evidence.TypeDir {
				s.remember(&in)
			}
		}
	}
	s.fetch()
}

// maxDirs bounds the directories that are kept in memory between Inodes and
// Entries: about 50 MiB. The others are read again.
const maxDirs = 1 << 18

// remember keeps a directory's inode for Entries, which is usually next.
func (s *inodeScan) remember(in *inode) {
	if in.flags&flagInlineData != 0 { // needs all of its bytes
		return
	}
	kept := *in
	kept.raw = nil
	s.fs.mu.Lock()
	if s.fs.dirs == nil {
		s.fs.dirs = map[uint32]*inode{}
	}
	if len(s.fs.dirs) < maxDirs {
		s.fs.dirs[in.ino] = &kept
	}
	s.fs.mu.Unlock()
}

// before returns what the volume itself has in the place of a table, where the
// journal changed it.
func (fs *FS) before(t *table) []byte {
	if fs.raw == nil || !fs.overlaid(t.start, int64(len(t.buf))) {
		return nil
	}
	b := make([]byte, len(t.buf))
	if readFull(fs.raw, b, t.start) != nil {
		return nil
	}
	return b
}

// believed says whether an inode that looks alive is. The bitmap decides, but
// where it doesn't mark the inode (it may be damaged, or older), the checksum
// does, or that there can be no remains of an earlier filesystem: mke2fs
// leaves tables unwritten only where descriptors count the inodes in use.
func (fs *FS) believed(p *piece, i int, ino uint32, raw []byte) bool {
	if marked, known := p.allocated(fs.sb, i); marked || !known {
		return true
	}
	if le.Uint32(raw[0x14:]) != 0 { // i_dtime
		return false
	}
	alive := !fs.sb.groupsCounted() && evidence.TypeOfMode(le.Uint16(raw)) != evidence.TypeUnknown
	if fs.sb.metadataCsum() {
		alive = fs.sb.inodeSum(fs.sb.inodeSeed(ino, le.Uint32(raw[0x64:])), raw)
	}
	if alive {
		fs.warn(object{inBitmap, 1<<32 | uint64(ino)}, fmt.Errorf("inode %d is in use, the bitmap says that it isn't: %w", ino, evidence.ErrCorrupt))
	}
	return alive
}

// complete adds what the inode itself says of its target and attributes, and
// notes the blocks that say the rest.
func (s *inodeScan) complete(f *found, in *inode) {
	fs := s.fs
	if f.Info.Type == evidence.TypeSymlink {
		f.err = s.link(f, in)
	}
	if in.hasXattrs() {
		err := fs.inodeXattrs(in, func(e xattrEntry, _ []byte) error {
			f.Xattrs = addName(f.Xattrs, s.names.intern(e))
			return nil
		})
		if err != nil {
			f.err = errors.Join(f.err, fmt.Errorf("inode %d: %w", in.ino, err))
		}
		slices.Sort(f.Xattrs)
	}
	if in.xattrBlock == 0 {
		return
	}
	if !fs.validBlocks(in.xattrBlock, 1) {
		f.err = errors.Join(f.err, fmt.Errorf("inode %d: attribute block %#x is not in the filesystem: %w", in.ino, in.xattrBlock, evidence.ErrCorrupt))
		return
	}
	s.needs = append(s.needs, need{blk: in.xattrBlock, index: int32(len(s.batch) - 1)})
}

// link adds a symbolic link's target, or notes the block that holds it.
func (s *inodeScan) link(f *found, in *inode) error {
	fs := s.fs
	if err := fs.checkTarget(in); err != nil {
		return err
	}
	b := fs.fastTarget(in)
	switch {
	case b != nil:
	case in.flags&flagInlineData != 0:
		b = make([]byte, in.size)
		if _, err := io.ReadFull(fs.content(in), b); err != nil {
			return fmt.Errorf("inode %d: reading link: %w", in.ino, err)
		}
	default:
		r, err := fs.mapping(in).find(0)
		if err == nil && r.pblk == 0 {
			err = fmt.Errorf("inode %d: link of %d bytes without a block: %w", in.ino, in.size, evidence.ErrCorrupt)
		}
		if err == nil {
			s.needs = append(s.needs, need{blk: r.pblk, index: int32(len(s.batch) - 1), size: int32(in.size), target: true})
		}
		return err
	}
	var err error
	f.Target, err = fs.target(in, b)
	return err
}

// fetch reads the blocks that inodes of the batch need, in the order of the
// disk; one that many inodes share is decoded once.
func (s *inodeScan) fetch() {
	if len(s.needs) == 0 {
		return
	}
	fs := s.fs
	slices.SortStableFunc(s.needs, func(a, b need) int { return cmp.Compare(a.blk, b.blk) })
	spans := make([]span, 0, len(s.needs))
	for i, n := range s.needs {
		spans = append(spans, span{blk: n.blk, n: 1, own: int32(i)})
	}
	if s.buf == nil {
		s.buf = make([]byte, readSize)
	}
	last := uint64(0)
	var names []string
	var failed error
	fs.readSpans(spans, s.buf, func(sp span, _ uint32, b []byte, err error) bool {
		n := s.needs[sp.own]
		f := &s.batch[n.index]
		if n.target {
			s.fetched(f, n, b, err)
			return true
		}
		if n.blk != last {
			last, names, failed = n.blk, nil, err
			if failed == nil {
				names, failed = s.blockNames(n.blk, b)
			}
		}
		for _, name := range names {
			f.Xattrs = addName(f.Xattrs, name)
		}
		slices.Sort(f.Xattrs)
		if failed != nil {
			f.err = errors.Join(f.err, fmt.Errorf("inode %d: %w", f.Ino, failed))
		}
		return true
	})
}

// fetched completes a link from the block that holds its target.
func (s *inodeScan) fetched(f *found, n need, b []byte, err error) {
	if err == nil {
		// Only the flags of the inode matter to what target makes of the bytes.
		var in *inode
		if in, err = s.fs.inode(uint32(f.Ino)); err == nil {
			f.Target, err = s.fs.target(in, b[:n.size])
		}
	}
	if err != nil {
		f.err = errors.Join(f.err, fmt.Errorf("inode %d: reading link: %w", f.Ino, err))
	}
}

func (s *inodeScan) blockNames(blk uint64, b []byte) (names []string, err error) {
	if err := s.fs.checkXattrBlock(blk, b); err != nil {
		return nil, err
	}
	err = xattrEntries(b[xattrBlockHeader:], func(e xattrEntry) error {
		names = addName(names, s.names.intern(e))
		return nil
	})
	return names, err
}
