package xfs

import (
	"bytes"
	"fmt"
	"iter"

	"lagan/evidence"
)

// maxBadBlocks ends the reading of a folder after so many blocks that are none
// of its own: such a folder's map is wrong, and may claim the whole device.
const maxBadBlocks = 100

// entryTypes maps the file types of folder entries (XFS_DIR3_FT_*). A whiteout
// is a character device.
var entryTypes = [ftMax]evidence.Type{
	evidence.TypeUnknown, evidence.TypeFile, evidence.TypeDir, evidence.TypeChar, evidence.TypeBlock,
	evidence.TypeFIFO, evidence.TypeSocket, evidence.TypeSymlink, evidence.TypeChar,
}

func entryType(ft uint8) evidence.Type {
	if ft < ftMax {
		return entryTypes[ft]
	}
	return evidence.TypeUnknown
}

// entryFunc is told of a folder's entries; name is valid during the call only. False ends the reading.
type entryFunc func(name []byte, ino uint64, ft uint8) bool

// isDot tells of the entries that stand for the folder itself and its parent.
func isDot(name []byte) bool {
	return len(name) == 1 && name[0] == '.' || len(name) == 2 && name[0] == '.' && name[1] == '.'
}

// checkName refuses what no kernel would let be a name (xfs_dir2_namecheck).
func checkName(dir uint64, name []byte) error {
	if len(name) == 0 || bytes.IndexByte(name, 0) >= 0 || bytes.IndexByte(name, '/') >= 0 {
		return fmt.Errorf("directory inode %d: bad name %q: %w", dir, name, evidence.ErrCorrupt)
	}
	return nil
}

// shortForm reads a folder that is kept in its inode (struct xfs_dir2_sf_hdr).
func (f *FS) shortForm(dir uint64, b []byte, fn entryFunc) (more bool, failed error) {
	cut := fmt.Errorf("directory inode %d: entries in the inode are cut short: %w", dir, evidence.ErrCorrupt)
	if len(b) < 6 {
		return true, cut
	}
	// The number of entries with inode numbers over 32 bits; where there is one, all take 64.
	count, wide := int(b[0]), b[1] != 0
	inoLen := 4
	if wide {
		inoLen = 8
	}
	at := 2 + inoLen // the parent's number
	ftLen := 0
	if f.sb.ftype() {
		ftLen = 1
	}
	for range count {
		if at+3 > len(b) {
			return true, cut
		}
		n := int(b[at])
		at += 3 // the name's length and its offset in a block
		if at+n+ftLen+inoLen > len(b) {
			return true, cut
		}
		name := b[at : at+n]
		at += n
		ft := uint8(0)
		if ftLen == 1 {
			ft = b[at]
		}
		at += ftLen
		ino := uint64(0)
		if wide {
			ino = be.Uint64(b[at:]) & maxInode
		} else {
			ino = uint64(be.Uint32(b[at:]))
		}
		at += inoLen
		if err := checkName(dir, name); err != nil {
			failed = err
			continue
		}
		if !fn(name, ino, ft) {
			return false, nil
		}
	}
	return true, failed
}

// shortFormBytes returns the used part of a short-form folder's fork.
func shortFormBytes(d *dinode) []byte {
	b := d.dataFork()
	if d.size < uint64(len(b)) {
		b = b[:d.size]
	}
	return b
}

// dirBlock reads the entries of one folder block that lies at off. A block that
// contradicts itself gives the entries before the place, and an error.
func (f *FS) dirBlock(dir uint64, b []byte, off int64, fn entryFunc) (more bool, failed error) {
	at, end, err := f.dirBlockBounds(dir, b, off)
	if err != nil {
		return true, err
	}
	ftLen := 0
	if f.sb.ftype() {
		ftLen = 1
	}
	for at < end {
		if at+dirDataAlign > end {
			break
		}
		if be.Uint16(b[at:]) == dirFreeTag {
			n := int(be.Uint16(b[at+2:]))
			if n == 0 || n%dirDataAlign != 0 || at+n > end {
				return true, fmt.Errorf("directory inode %d: free space of %#x bytes at offset %#x: %w", dir, n, off+int64(at), evidence.ErrCorrupt)
			}
			at += n
			continue
		}
		// inumber, namelen, name, filetype, padding, tag (struct xfs_dir2_data_entry)
		if at+12 > end {
			return true, fmt.Errorf("directory inode %d: entry at offset %#x is cut short: %w", dir, off+int64(at), evidence.ErrCorrupt)
		}
		n := int(b[at+8])
		size := (8 + 1 + n + ftLen + 2 + dirDataAlign - 1) &^ (dirDataAlign - 1)
		if n == 0 || at+size > end {
			return true, fmt.Errorf("directory inode %d: entry at offset %#x has a name of %d bytes: %w", dir, off+int64(at), n, evidence.ErrCorrupt)
		}
		name := b[at+9 : at+9+n]
		ft := uint8(0)
		if ftLen == 1 {
			ft = b[at+9+n]
		}
		ino := be.Uint64(b[at:])
		at += size
		if isDot(name) {
			continue
		}
		if err := checkName(dir, name); err != nil {
			failed = err
			continue
		}
		if !fn(name, ino, ft) {
			return false, nil
		}
	}
	return true, failed
}

// dirBlockBounds checks a folder block's header and returns where its entries begin and end.
func (f *FS) dirBlockBounds(dir uint64, b []byte, off int64) (start, end int, err error) {
	magic := be.Uint32(b)
	start, end = dirDataHdr, len(b)
	switch magic {
	case magicDir3Block, magicDir3Data:
		start = dir3DataHdr
		if err := f.verify(b, off, dirLayout, dir, "directory block"); err != nil {
			return 0, 0, err
		}
	case magicDirBlock, magicDirData:
	default:
		return 0, 0, fmt.Errorf("directory inode %d: block at offset %#x: bad magic number %#x: %w", dir, off, magic, evidence.ErrCorrupt)
	}
	if f.sb.v5() != (start == dir3DataHdr) {
		return 0, 0, fmt.Errorf("directory inode %d: block at offset %#x is of another version: %w", dir, off, evidence.ErrCorrupt)
	}
	if magic == magicDir3Block || magic == magicDirBlock {
		// Leaf entries, and their number at the very end (struct xfs_dir2_block_tail).
		count := uint64(be.Uint32(b[len(b)-dirBlockTail:]))
		if room := len(b) - start - dirBlockTail; count > uint64(room/dirLeafEntry) {
			f.warnOnce("directory tail", uint64(off), fmt.Errorf("directory inode %d: block at offset %#x: %d leaf entries: %w", dir, off, count, evidence.ErrCorrupt))
			count = 0
		}
		end = len(b) - dirBlockTail - dirLeafEntry*int(count)
	}
	return start, end, nil
}

// dirPos is a block of a folder: its number and where it lies on the device, -1 where it lies in parts.
type dirPos struct {
	db  uint64
	off int64
}

// dirBlocks yields where the data blocks of a folder are, by its map.
func (f *FS) dirBlocks(k *fork) iter.Seq2[dirPos, error] {
	return func(yield func(dirPos, error) bool) {
		log := f.sb.dirBlkLog
		limit := uint64(dirLeafOffset) >> f.sb.blockLog >> log
		next := uint64(0)
		for e, err := range k.all(0) {
			if err != nil {
				if !yield(dirPos{}, err) {
					return
				}
				continue
			}
			if e.count == 0 {
				continue
			}
			first, last := e.off>>log, (e.off+e.count-1)>>log
			if first >= limit {
				return // the index lies there, and above
			}
			if _, err := f.blockOffset(e.start, e.count); err != nil || e.unwritten {
				if !yield(dirPos{}, k.corrupt("extent at block %#x: start %#x, %d blocks", e.off, e.start, e.count)) {
					return
				}
				next = max(next, last+1)
				continue
			}
			for db := max(first, next); db <= last && db < limit; db++ {
				pos := dirPos{db: db, off: -1}
				if b := db << log; b >= e.off && b+1<<log <= e.off+e.count {
					pos.off, _ = f.blockOffset(e.start+b-e.off, 1)
				}
				if !yield(pos, nil) {
					return
				}
			}
			next = max(next, last+1)
		}
	}
}

// dirData reads the block of a folder.
func (f *FS) dirData(k *fork, pos dirPos) ([]byte, int64, error) {
	if pos.off < 0 {
		return k.readBlocks(pos.db<<f.sb.dirBlkLog, 1<<f.sb.dirBlkLog)
	}
	b, err := f.cache.read(pos.off, int(f.sb.blockSize)<<f.sb.dirBlkLog)
	if err != nil {
		err = fmt.Errorf("directory inode %d: %w", k.ino, err)
	}
	return b, pos.off, err
}

// eachEntry gives fn the entries of a folder, block by block, and tells of each block's end.
func (f *FS) eachEntry(d *dinode, fn entryFunc, endOfBlock func(error) bool) {
	if d.format == fmtLocal {
		if more, err := f.shortForm(d.ino, shortFormBytes(d), fn); more {
			endOfBlock(err)
		}
		return
	}
	k, err := f.dataBlocks(d)
	if err != nil {
		endOfBlock(err)
		return
	}
	bad := 0
	for pos, err := range f.dirBlocks(&k) {
		more := true
		if err == nil {
			var b []byte
			var off int64
			if b, off, err = f.dirData(&k, pos); err == nil {
				more, err = f.dirBlock(d.ino, b, off, fn)
			}
		}
		if !more || !endOfBlock(err) {
			return
		}
		if err != nil {
			if bad++; bad == maxBadBlocks {
				endOfBlock(fmt.Errorf("directory inode %d: more than %d bad blocks, the rest is left out: %w", d.ino, bad, evidence.ErrCorrupt))
				return
			}
		}
	}
}

// folder reads an inode that must be a folder.
func (f *FS) folder(ino evidence.Ino) (dinode, error) {
	d, err := f.inode(uint64(ino))
	if err == nil && d.typ() != evidence.TypeDir {
		err = fmt.Errorf("inode %d is a %s, not a directory", ino, d.typ())
	}
	return d, err
}

// ReadDir yields a folder's entries in the order of its blocks.
func (f *FS) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		d, err := f.folder(ino)
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		var batch batch
		f.eachEntry(&d, batch.add, func(err error) bool {
			for _, e := range batch.take() {
				if !yield(e, nil) {
					return false
				}
			}
			return err == nil || yield(evidence.Entry{}, err)
		})
	}
}

// batch collects the entries of one block, so that their names share one allocation.
type batch struct {
	names []byte
	ents  []evidence.Entry // Ino and Type; Name comes last
	ends  []int
}

func (b *batch) add(name []byte, ino uint64, ft uint8) bool {
	b.names = append(b.names, name...)
	b.ents = append(b.ents, evidence.Entry{Ino: evidence.Ino(ino), Type: entryType(ft)})
	b.ends = append(b.ends, len(b.names))
	return true
}

// take returns the entries collected, which stay valid until the next add.
func (b *batch) take() []evidence.Entry {
	names := string(b.names)
	start := 0
	for i, end := range b.ends {
		b.ents[i].Name = names[start:end]
		start = end
	}
	out := b.ents
	b.names, b.ents, b.ends = b.names[:0], b.ents[:0], b.ends[:0]
	return out
}
