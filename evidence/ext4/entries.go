package ext4

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"lagan/evidence"
)

// named is one result of Entries.
type named struct {
	evidence.DirEntry
	err error
}

// Entries yields the entries of directories in the order in which their blocks
// lie on the disk; those of inline directories, which lie in inodes, first.
func (fs *FS) Entries(dirs []evidence.Ino) iter.Seq2[evidence.DirEntry, error] {
	return func(yield func(evidence.DirEntry, error) bool) {
		s := &entryScan{fs: fs}
		produce := func(send func([]named) ([]named, bool)) { s.run(dirs, send) }
		for batch := range ahead(produce, func(err error) named { return named{err: err} }) {
			for i := range batch {
				if !yield(batch[i].DirEntry, batch[i].err) {
					return
				}
			}
		}
	}
}

// entryBatch is how many entries are handed over at once.
const entryBatch = 4096

type entryScan struct {
	fs    *FS
	known map[uint32]*inode // what Inodes remembered
	dirs  []*dir
	spans []span
	batch []named
	send  func([]named) ([]named, bool)
	stop  bool

	names   []byte  // of one block
	lengths []uint8 // of each of them
}

func (s *entryScan) run(dirs []evidence.Ino, send func([]named) ([]named, bool)) {
	s.send = send
	dirs = slices.Clone(dirs)
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	s.fs.mu.Lock()
	s.known, s.fs.dirs = s.fs.dirs, nil
	s.fs.mu.Unlock()
	budget := s.fs.sb.blocks // a block is part of one directory
	for _, ino := range dirs {
		if err := s.collect(ino, &budget); err != nil {
			s.fail(ino, err)
		}
		if s.stop {
			return
		}
	}
	s.known = nil
	slices.SortFunc(s.spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.blk, b.blk), cmp.Compare(a.own, b.own), cmp.Compare(a.at, b.at))
	})
	s.dropTwice()
	s.fs.readSpans(s.spans, make([]byte, readSize), func(sp span, i uint32, b []byte, err error) bool {
		d := s.dirs[sp.own]
		lblk := sp.at + uint64(i)
		if err == nil {
			d.verify(lblk, sp.blk+uint64(i), b)
			err = s.block(d, b)
		}
		if err != nil {
			s.fail(evidence.Ino(d.ino), fmt.Errorf("directory inode %d: block %d: %w", d.ino, lblk, err))
		}
		return !s.stop
	})
	s.flush(1)
}

// collect notes where a directory's blocks lie.
func (s *entryScan) collect(ino evidence.Ino, budget *uint64) error {
	fs := s.fs
	in, err := s.inode(ino)
	if err != nil {
		return err
	}
	if in.typ() != evidence.TypeDir {
		return fmt.Errorf("inode %d is no directory but a %s", ino, in.typ())
	}
	d := fs.newDir(in)
	if in.flags&flagInlineData != 0 {
		for i, part := range fs.inlineDir(in) {
			if err := s.block(d, part); err != nil {
				s.fail(ino, fmt.Errorf("directory inode %d: inline part %d: %w", ino, i, err))
			}
		}
		return nil
	}
	own := int32(len(s.dirs))
	s.dirs = append(s.dirs, d)
	failures := 0
	for r, err := range fs.mapping(in).runs(in.blocks(fs.sb)) {
		switch {
		case err != nil:
			s.fail(ino, err)
			if failures++; failures >= maxDirErrors || s.stop {
				return nil
			}
		case r.pblk == 0:
			d.hole(r)
		case r.n > *budget:
			return fmt.Errorf("directory inode %d: directories of more blocks than the filesystem has: %w", ino, evidence.ErrCorrupt)
		default:
			*budget -= r.n
			s.add(r, own)
		}
	}
	return nil
}

// add notes a run of a directory, in spans of at most one read.
func (s *entryScan) add(r run, own int32) {
	per := uint64(readSize >> s.fs.sb.blockBits)
	for i := uint64(0); i < r.n; i += per {
		s.spans = append(s.spans, span{blk: r.pblk + i, n: uint32(min(per, r.n-i)), own: own, at: r.lblk + i})
	}
}

// inode returns what Inodes remembered of a directory, or reads it.
func (s *entryScan) inode(ino evidence.Ino) (*inode, error) {
	if in, ok := s.known[uint32(min(ino, 1<<32-1))]; ok {
		return in, nil
	}
	return s.fs.get(ino)
}

// dropTwice leaves out, with an error, what one directory claims twice.
func (s *entryScan) dropTwice() {
	kept := s.spans[:0]
	for _, sp := range s.spans {
		if n := len(kept); n > 0 && kept[n-1].own == sp.own && sp.blk < kept[n-1].blk+uint64(kept[n-1].n) {
			ino := s.dirs[sp.own].ino
			s.fail(evidence.Ino(ino), fmt.Errorf("directory inode %d: block %#x is in the directory twice: %w", ino, sp.blk, evidence.ErrCorrupt))
			continue
		}
		kept = append(kept, sp)
	}
	s.spans = kept
}

// block adds the entries of one block to the batch. Their names share one string.
func (s *entryScan) block(d *dir, b []byte) error {
	start := len(s.batch)
	s.names, s.lengths = s.names[:0], s.lengths[:0]
	err := d.each(b, func(e dirent) bool {
		out := named{DirEntry: evidence.DirEntry{Dir: evidence.Ino(d.ino)}}
		length := 0
		if out.err = d.check(e); out.err == nil {
			out.Ino, out.Type = evidence.Ino(e.ino), e.typ
			if d.encrypted {
				out.Name = d.shown(e)
			} else {
				length = len(e.name)
				s.names = append(s.names, e.name...)
			}
		}
		s.batch = append(s.batch, out)
		s.lengths = append(s.lengths, uint8(length))
		return true
	})
	names := string(s.names)
	for i, n := range s.lengths {
		if n > 0 {
			s.batch[start+i].Name, names = names[:n], names[n:]
		}
	}
	s.flush(entryBatch)
	return err
}

// fail adds an error to the batch.
func (s *entryScan) fail(ino evidence.Ino, err error) {
	s.batch = append(s.batch, named{evidence.DirEntry{Dir: ino}, err})
	s.flush(entryBatch)
}

// flush hands the batch over once it has n entries.
func (s *entryScan) flush(n int) {
	if len(s.batch) >= n && !s.stop {
		var ok bool
		s.batch, ok = s.send(s.batch)
		s.stop = !ok
	}
}
