package xfs

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"lagan/evidence"
)

const (
	// scanBatch is the number of inodes that are decoded together, whose
	// attributes and targets outside the inode are then read in disk order.
	scanBatch = 4096
	// scanBatches is the number of batches under way: one being filled, one being yielded.
	scanBatches = 2
)

// scanned is an inode, or what could not be read.
type scanned struct {
	inode evidence.Inode
	err   error
}

// outside is an inode of a batch of which a part lies outside of it.
type outside struct {
	at  int // in the batch
	off int64
	d   dinode
}

// scan is one pass over all inodes.
type scan struct {
	f       *FS
	out     chan []scanned
	free    chan []scanned
	done    chan struct{}
	batch   []scanned
	outside []outside
	names   names
	dirs    *dirCache

	panicked any
}

// Inodes yields every allocated inode, in the order of their numbers. It reads
// the chunks that the inode B+trees list in large reads, ahead of the caller.
func (f *FS) Inodes() iter.Seq2[evidence.Inode, error] {
	return func(yield func(evidence.Inode, error) bool) {
		s := scan{
			f:    f,
			out:  make(chan []scanned),
			free: make(chan []scanned, scanBatches),
			done: make(chan struct{}),
			dirs: new(dirCache),
		}
		for range scanBatches {
			s.free <- nil
		}
		var decoder sync.WaitGroup
		decoder.Go(func() {
			defer close(s.out)
			// A panic is passed on to whoever called, where it can be recovered from.
			defer func() { s.panicked = recover() }()
			s.run()
		})
		defer decoder.Wait()
		defer close(s.done)
		for batch := range s.out {
			for i := range batch {
				if !yield(batch[i].inode, batch[i].err) {
					return
				}
			}
			s.free <- batch
		}
		if s.panicked != nil {
			panic(s.panicked)
		}
		f.dirs.Store(s.dirs)
	}
}

func (s *scan) run() {
	s.batch = <-s.free
	for agno := range s.f.groups() {
		if !s.group(agno) {
			return
		}
	}
	s.flush()
}

// group scans one allocation group; false means that nobody wants more.
func (s *scan) group(agno uint32) bool {
	chunks, err := s.f.chunks(agno)
	s.fail(err)
	unlinked := make(map[uint64]bool)
	for ino, err := range s.f.unlinked(agno) {
		if err == nil { // an error is told by Deleted: here, nothing is lost
			unlinked[ino] = true
		}
	}
	more := true
	s.f.eachInode(agno, chunks, func(off int64, b []byte) { s.dirs.blocks.keep(s.f, off, b) }, func(ino uint64, off int64, raw []byte, free bool, err error) bool {
		switch {
		case unlinked[ino] || s.f.hidden[ino]:
		case err != nil:
			s.fail(err)
		default:
			s.inode(ino, off, raw, free)
		}
		if len(s.batch) >= scanBatch {
			more = s.flush()
		}
		return more
	})
	return more
}

// eachInode reads the inodes of a group's chunks in disk order, free ones too.
// passed, where it is not nil, is given what was read between them.
func (f *FS) eachInode(agno uint32, chunks []chunk, passed func(off int64, b []byte), fn func(ino uint64, off int64, raw []byte, free bool, err error) bool) {
	pieces := make([]piece, len(chunks))
	end := f.agOffset(agno) + int64(f.sb.agLength(agno))<<f.sb.blockLog
	for i, c := range chunks {
		off := f.agOffset(agno) + int64(c.start)<<f.sb.inodeLog
		// A sparse chunk may reach over the end of a group.
		pieces[i] = piece{off: off, n: int(min(int64(inodesChunk)<<f.sb.inodeLog, end-off)), id: i}
	}
	size := int(f.sb.inodeSize)
	readAhead(f.dev, f.size, pieces, passed, func(p piece, b []byte, err error) bool {
		c := chunks[p.id]
		for n := range inodesChunk {
			if !c.made(n) || (n+1)*size > p.n {
				continue
			}
			ino, at := f.inoOf(agno, c.start+uint32(n)), p.off+int64(n*size)
			if err == nil {
				if !fn(ino, at, b[n*size:][:size], c.isFree(n), nil) {
					return false
				}
				continue
			}
			// Of a chunk that can't be read whole, each inode is tried by itself.
			raw, err := f.cache.read(at, size)
			if err != nil {
				err = fmt.Errorf("inode %d: %w", ino, err)
			}
			if !fn(ino, at, raw, c.isFree(n), err) {
				return false
			}
		}
		return true
	})
}

// inode decodes one inode of a chunk into the batch.
func (s *scan) inode(ino uint64, off int64, raw []byte, free bool) {
	stale := s.f.journal.State == evidence.JournalDirty
	if free && !stale {
		return
	}
	d, err := s.f.decodeInode(ino, off, raw)
	switch {
	case err != nil && free:
		return
	case err != nil:
		s.fail(err)
		return
	case d.mode == 0 && (free || stale):
		return // with a log that was not replayed, the tree and the inodes may be of different times
	case d.mode == 0:
		s.fail(fmt.Errorf("inode %d at offset %#x is listed as allocated, and is not: %w", ino, off, evidence.ErrCorrupt))
		return
	case s.f.sb.incompat&incompatMetadir != 0 && d.flags2&flag2Metadata != 0:
		return
	}
	s.allocated(&d)
}

// allocated adds an inode to the batch, and notes where the rest of it lies.
func (s *scan) allocated(d *dinode) {
	at := len(s.batch)
	s.batch = append(s.batch, scanned{})
	i := &s.batch[at].inode // valid until something more is appended
	i.Ino, i.Info = evidence.Ino(d.ino), s.f.info(d)
	i.Info.FromJournal = s.f.changed(d)
	if d.typ() == evidence.TypeDir {
		s.dirs.add(d)
	}
	off := int64(-1)
	var failed [2]error
	if d.remoteTarget() {
		off = s.f.forkOffset(s.f.dataBlocks(d))
	} else if d.typ() == evidence.TypeSymlink {
		i.Target, failed[0] = s.f.target(d)
	}
	if d.remoteAttrs() {
		off = s.f.forkOffset(s.f.attrBlocks(d))
	} else if d.forkoff != 0 {
		i.Xattrs, failed[1] = s.xattrs(d)
	}
	if off >= 0 {
		o := outside{at: at, off: off, d: *d}
		o.d.raw = slices.Clone(d.raw)
		s.outside = append(s.outside, o)
	}
	s.fail(failed[0])
	s.fail(failed[1])
}

func (s *scan) fail(err error) {
	if err != nil {
		s.batch = append(s.batch, scanned{err: err})
	}
}

// remoteTarget tells of a link whose target is outside of the inode.
func (d *dinode) remoteTarget() bool { return d.typ() == evidence.TypeSymlink && d.format != fmtLocal }

// remoteAttrs tells of attributes outside of the inode.
func (d *dinode) remoteAttrs() bool {
	return d.forkoff != 0 && d.aformat != fmtLocal && (d.aformat != fmtExtents || d.anextents != 0)
}

// forkOffset returns where the first block of a fork lies, 0 where that can't be said.
func (f *FS) forkOffset(k fork, err error) int64 {
	if err != nil {
		return 0
	}
	sp, err := k.find(0)
	if err != nil || len(sp.exts) == 0 {
		return 0
	}
	off, err := f.blockOffset(sp.exts[0].start, 1)
	if err != nil {
		return 0
	}
	return off
}

// xattrs returns the names of an inode's attributes.
func (s *scan) xattrs(d *dinode) ([]string, error) {
	s.names.begin()
	err := s.f.eachAttr(d, func(_ *fork, a attr) { s.names.add(&a) })
	if s.names.size > maxList {
		err = errors.Join(err, fmt.Errorf("inode %d: more than %d bytes of attribute names: %w", d.ino, maxList, evidence.ErrUnsupported))
	}
	return s.names.end(), err
}

// flush completes the batch and hands it on; false means that nobody wants more.
func (s *scan) flush() bool {
	slices.SortStableFunc(s.outside, func(a, b outside) int { return cmp.Compare(a.off, b.off) })
	for n := range s.outside {
		if n%prefetchBlocks == 0 {
			s.prefetch(s.outside[n:min(n+prefetchBlocks, len(s.outside))])
		}
		o := &s.outside[n]
		var failed [2]error
		i := &s.batch[o.at].inode
		if o.d.remoteTarget() {
			i.Target, failed[0] = s.f.target(&o.d)
		}
		if o.d.remoteAttrs() {
			i.Xattrs, failed[1] = s.xattrs(&o.d)
		}
		s.fail(failed[0]) // these may move the batch
		s.fail(failed[1])
	}
	clear(s.outside)
	s.outside = s.outside[:0]
	select {
	case s.out <- s.batch:
	case <-s.done:
		return false
	}
	select {
	case s.batch = <-s.free:
		s.batch = s.batch[:0]
	case <-s.done:
		return false
	}
	return true
}

// prefetchBlocks is how many blocks outside of inodes are read ahead together;
// they must fit the cache even where each is in a page of its own.
const prefetchBlocks = cacheShards * shardPages / 4

// prefetch reads the pages in which the first blocks lie.
func (s *scan) prefetch(out []outside) {
	var pieces []piece
	for _, o := range out {
		n := o.off / pageSize
		if len(pieces) == 0 || pieces[len(pieces)-1].off != n*pageSize {
			pieces = append(pieces, piece{off: n * pageSize, n: int(max(0, min(pageSize, s.f.size-n*pageSize)))})
		}
	}
	if len(pieces) < 2 {
		return
	}
	readAhead(s.f.dev, s.f.size, pieces, nil, func(p piece, b []byte, err error) bool {
		if err == nil && p.n > 0 {
			s.f.cache.put(p.off/pageSize, b)
		}
		return true
	})
}

// names collects the attribute names of inodes. Most inodes of a disk have the
// same few, so that strings and slices are kept and shared.
type names struct {
	known map[string]string
	ones  map[string][]string
	list  []string
	size  int // of the list as listxattr would give it
}

const (
	// maxNames bounds the names kept.
	maxNames = 4096
	// maxList bounds the names of one inode: listxattr(2) gives no more (XATTR_LIST_MAX).
	maxList = 65536
)

func (n *names) begin() {
	if n.known == nil {
		n.known = make(map[string]string)
		n.ones = make(map[string][]string)
	}
	n.list, n.size = n.list[:0], 0
}

func (n *names) add(a *attr) {
	if acl := a.aclName(); acl != "" {
		n.list = append(n.list, acl)
	}
	var key [260]byte
	k := append(key[:0], a.flags&(attrRoot|attrSecure))
	k = append(k, a.name...)
	name, ok := n.known[string(k)]
	if !ok {
		name = a.fullName()
		if len(n.known) < maxNames {
			n.known[string(k)] = name
		}
	}
	if n.size += len(name) + 1; n.size <= maxList {
		n.list = append(n.list, name)
	}
}

// end returns the sorted names, which nobody changes.
func (n *names) end() []string {
	switch len(n.list) {
	case 0:
		return nil
	case 1:
		one := n.ones[n.list[0]]
		if one == nil {
			one = []string{n.list[0]}
			if len(n.ones) < maxNames {
				n.ones[one[0]] = one
			}
		}
		return one
	}
	slices.Sort(n.list)
	return slices.Clone(slices.Compact(n.list))
}

// unlinked yields the inodes of a group that were deleted while a process held
// them open: 64 chains that begin in the group's header (xfs_iunlink).
func (f *FS) unlinked(agno uint32) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		b, err := f.agi(agno)
		if err != nil {
			yield(0, err)
			return
		}
		seen := make(map[uint32]bool)
		for bucket := range uint32(agiBuckets) {
			next := be.Uint32(b[agiUnlinked+4*bucket:])
			for next != nullAgino {
				ino := f.inoOf(agno, next)
				d, err := f.inode(ino)
				if err == nil && (seen[next] || next%agiBuckets != bucket) {
					err = fmt.Errorf("inode %d is on the wrong chain of unlinked inodes: %w", ino, evidence.ErrCorrupt)
				}
				if err != nil {
					if !yield(0, errors.Join(fmt.Errorf("unlinked inodes of group %d, chain %d", agno, bucket), err)) {
						return
					}
					break
				}
				seen[next] = true
				if !yield(ino, nil) {
					return
				}
				next = d.nextUnlinked
			}
		}
	}
}
