package btrfs

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"lagan/evidence"
)

// reachable returns the subvolumes that paths from the root lead to, the
// default one first. What can't be read of them is told to failed, which
// returns false to end it.
func (f *FS) reachable(failed func(error) bool) []*subvolume {
	first, _, err := f.volume(f.root)
	if err != nil {
		return nil
	}
	out := []*subvolume{first}
	known := map[*subvolume]bool{first: true}
	for i := 0; i < len(out); i++ {
		id := out[i].id
		for it, err := range f.roots.items(key{id, itemRootRef, 0}, key{id, itemRootRef, ^uint64(0)}) {
			var sub *subvolume
			if err == nil {
				sub, err = f.subvolume(it.key.offset)
			}
			if err != nil {
				if !failed(err) {
					return nil
				}
			} else if !known[sub] {
				known[sub] = true
				out = append(out, sub)
			}
		}
	}
	return out
}

// Inodes yields the inodes of all subvolumes that the root leads to, each
// subvolume in the order of its inode numbers, which is that of their making;
// leaves are read ahead in the order of the disk.
func (f *FS) Inodes() iter.Seq2[evidence.Inode, error] {
	return func(yield func(evidence.Inode, error) bool) {
		on := true
		var seen seenDirs
		volumes := f.reachable(func(err error) bool {
			on = yield(evidence.Inode{}, err)
			return on
		})
		for _, v := range volumes {
			if !on || !v.scan(&seen, yield) {
				return
			}
		}
		f.seen.Store(&seen)
	}
}

// scanned is an inode whose items are being collected.
type scanned struct {
	object uint64
	inode  inodeItem
	known  bool
	target string
	xattrs []string
	failed error
}

// scan yields the inodes of a subvolume that have a name, and keeps what it sees of folders.
func (v *subvolume) scan(seen *seenDirs, yield func(evidence.Inode, error) bool) bool {
	var s scanned
	whole := true
	var empty []evidence.Ino // where entries lead to subvolumes that aren't there
	for it, err := range v.merged() {
		if err != nil {
			whole = false
			if !yield(evidence.Inode{}, err) {
				return false
			}
			continue
		}
		if it.key.object != s.object {
			if !v.emit(&s, yield) {
				return false
			}
			s = scanned{object: it.key.object}
		}
		if s.object >= firstFreeObject && s.object <= maxInode {
			s.add(it)
			if it.key.typ == itemDirIndex {
				empty = v.leadsNowhere(empty, it)
				seen.add(v, it)
			}
		}
	}
	if !whole {
		delete(seen.of, v) // Entries says again what can't be read
	}
	if !v.emit(&s, yield) {
		return false
	}
	slices.Sort(empty)
	for _, ino := range slices.Compact(empty) {
		if !yield(evidence.Inode{Ino: ino, Info: emptySubvolume()}, nil) {
			return false
		}
	}
	return true
}

// leadsNowhere appends what an entry leads to, if that is shown as an empty folder.
func (v *subvolume) leadsNowhere(empty []evidence.Ino, it item) []evidence.Ino {
	d, _, err := nextDirItem(it.data)
	if err != nil || d.location.typ != itemRoot {
		return empty
	}
	if e, err := v.fs.entry(v, it.key.object, d); err == nil && uint64(e.Ino)&nowhere != 0 {
		return append(empty, e.Ino)
	}
	return empty
}

// add takes what an item says of the inode.
func (s *scanned) add(it item) {
	var err error
	switch it.key.typ {
	case itemInode:
		if s.inode, err = decodeInode(it.data); err == nil {
			s.known = true
		}
	case itemXattr:
		for data := it.data; err == nil && len(data) > 0; {
			var d dirItem
			if d, data, err = nextDirItem(data); err == nil {
				s.xattrs = append(s.xattrs, string(d.name))
			}
		}
	case itemExtentData:
		if !s.known || evidence.TypeOfMode(uint16(s.inode.mode)) != evidence.TypeSymlink || it.key.offset != 0 {
			return
		}
		var e fileExtent
		if e, err = decodeExtent(0, it.data); err == nil && e.typ == extentInline && e.compression == compressNone {
			s.target = string(e.inline[:min(uint64(len(e.inline)), s.inode.size)])
		}
	}
	s.failed = errors.Join(s.failed, err)
}

func (v *subvolume) emit(s *scanned, yield func(evidence.Inode, error) bool) bool {
	if s.failed != nil && !yield(evidence.Inode{}, fmt.Errorf("subvolume %d, inode %d: %w", v.id, s.object, s.failed)) {
		return false
	}
	if !s.known || s.inode.nlink == 0 {
		return true
	}
	info, err := s.inode.info(s.object)
	if err != nil {
		return yield(evidence.Inode{}, fmt.Errorf("subvolume %d: %w", v.id, err))
	}
	info.FromJournal = v.changes.touched(s.object)
	slices.Sort(s.xattrs)
	n := evidence.Inode{Ino: v.ino(s.object), Info: info, Target: s.target, Xattrs: s.xattrs}
	if info.Type == evidence.TypeSymlink && n.Target == "" {
		if n.Target, err = v.fs.ReadLink(n.Ino); err != nil && !yield(evidence.Inode{}, err) {
			return false
		}
	}
	return yield(n, nil)
}

// fewDirs is how many directories of a subvolume are looked up one by one
// rather than met by going through the whole tree.
const fewDirs = 32

// Entries yields the entries of directories, subvolume by subvolume, in the
// order of their inode numbers.
func (f *FS) Entries(dirs []evidence.Ino) iter.Seq2[evidence.DirEntry, error] {
	return func(yield func(evidence.DirEntry, error) bool) {
		seen := f.seen.Swap(nil)
		sorted := slices.Clone(dirs)
		slices.Sort(sorted)
		sorted = slices.Compact(sorted)
		for len(sorted) > 0 {
			place := uint64(sorted[0]) >> inodeBits
			n := 1
			for n < len(sorted) && uint64(sorted[n])>>inodeBits == place {
				n++
			}
			if !f.entriesOf(seen, sorted[:n], yield) {
				return
			}
			sorted = sorted[n:]
		}
	}
}

// entriesOf yields the entries of directories of one subvolume.
func (f *FS) entriesOf(seen *seenDirs, dirs []evidence.Ino, yield func(evidence.DirEntry, error) bool) bool {
	v, _, err := f.volume(dirs[0])
	if err != nil {
		return yield(evidence.DirEntry{}, err)
	}
	if len(dirs) < fewDirs {
		for _, dir := range dirs {
			for e, err := range f.ReadDir(dir) {
				if !yield(evidence.DirEntry{Dir: dir, Entry: e}, err) {
					return false
				}
			}
		}
		return true
	}
	items, ok := seen.items(v)
	if !ok {
		items = v.merged()
	}
	for it, err := range items {
		if err != nil {
			if !yield(evidence.DirEntry{}, err) {
				return false
			}
			continue
		}
		if it.key.typ != itemDirIndex || it.key.object > maxInode {
			continue
		}
		dir := v.ino(it.key.object)
		for len(dirs) > 0 && dirs[0] < dir {
			dirs = dirs[1:]
		}
		if len(dirs) == 0 {
			return true
		}
		if dirs[0] != dir {
			continue
		}
		ok := f.entries(v, it.key.object, it.data, func(e evidence.Entry, err error) bool {
			return yield(evidence.DirEntry{Dir: dir, Entry: e}, err)
		})
		if !ok {
			return false
		}
	}
	return true
}
