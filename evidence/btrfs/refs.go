package btrfs

import (
	"encoding/binary"
	"iter"
	"slices"

	"lagan/evidence"
)

// ref is one struct btrfs_inode_ref or btrfs_inode_extref: a name that an
// inode has in a directory.
type ref struct {
	dir, index uint64
	name       string
	raw        []byte
}

// Sizes of the two without the name.
const (
	inodeRefSize   = 8 + 2
	inodeExtraSize = 8 + 8 + 2
)

// extrefHash is the offset of the item of an extended reference (btrfs_extref_hash).
func extrefHash(dir uint64, name string) uint64 { return uint64(rawCRC(uint32(dir), name)) }

// refsOf yields the references in an item, as far as they make sense.
func refsOf(it item) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		b := it.data
		for len(b) > 0 {
			r := ref{dir: it.key.offset}
			head := inodeRefSize
			if it.key.typ == itemInodeExtra {
				head = inodeExtraSize
			}
			if len(b) < head {
				return
			}
			if it.key.typ == itemInodeExtra {
				r.dir, r.index = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
			} else {
				r.index = binary.LittleEndian.Uint64(b)
			}
			n := head + int(binary.LittleEndian.Uint16(b[head-2:]))
			if n > len(b) {
				return
			}
			r.name, r.raw = string(b[head:n]), b[:n]
			b = b[n:]
			if !yield(r) {
				return
			}
		}
	}
}

// hasRef says whether an item's data has a name in a directory.
func hasRef(data []byte, typ uint8, dir uint64, name string) bool {
	for r := range refsOf(item{key{0, typ, dir}, data}) {
		if r.dir == dir && r.name == name {
			return true
		}
	}
	return false
}

// removeRef takes a reference out of an item and returns its index.
func (p *replayer) removeRef(k key, dir uint64, name string) (index uint64, ok bool) {
	var kept []byte
	for r := range refsOf(item{k, p.get(k)}) {
		if !ok && r.dir == dir && r.name == name {
			index, ok = r.index, true
			continue
		}
		kept = append(kept, r.raw...)
	}
	switch {
	case !ok:
	case len(kept) == 0:
		p.remove(k)
	default:
		p.put(k, kept)
	}
	return index, ok
}

// addRef gives an inode a reference.
func (p *replayer) addRef(object, dir, index uint64, name string) {
	k := key{object, itemInodeRef, dir}
	b := binary.LittleEndian.AppendUint64(slices.Clone(p.get(k)), index)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	p.put(k, append(b, name...))
}

// refs replays the references of an inode, and with them its names
// (add_inode_ref).
func (p *replayer) refs(it item) {
	object := it.key.object
	if p.get(key{object, itemInode, 0}) == nil {
		p.note(evidence.ErrCorrupt)
		return
	}
	for r := range refsOf(it) {
		// A directory that isn't there was not logged: the names in it go.
		if p.get(key{r.dir, itemInode, 0}) == nil {
			return
		}
		if p.inDir(r, object) {
			continue
		}
		if !p.resolve(r, object) {
			return
		}
		own := key{object, it.key.typ, r.dir}
		if it.key.typ == itemInodeExtra {
			own.offset = extrefHash(r.dir, r.name)
		}
		if hasRef(p.get(own), it.key.typ, r.dir, r.name) {
			p.unlink(r.dir, object, r.name) // it has another index
		}
		p.link(r.dir, object, r.name, r.index)
	}
	// The names that the subvolume's item has beside those of the log go.
	for old := range refsOf(item{it.key, p.get(it.key)}) {
		if !hasRef(it.data, it.key.typ, old.dir, old.name) {
			p.unlink(old.dir, object, old.name)
		}
	}
	p.put(it.key, it.data)
}

// inDir says whether a directory has a name already as a reference says
// (inode_in_dir).
func (p *replayer) inDir(r ref, object uint64) bool {
	byIndex, ok := findName(p.get(key{r.dir, itemDirIndex, r.index}), r.name)
	if !ok || byIndex.location.object != object {
		return false
	}
	byName, ok := findName(p.get(key{r.dir, itemDir, nameHash(r.name)}), r.name)
	return ok && byName.location.object == object
}

// resolve unlinks what stands in the way of a reference: names of the inode
// that the log doesn't have, and entries with its index or name
// (__add_inode_ref). It returns false for the root directory's own reference.
func (p *replayer) resolve(r ref, object uint64) bool {
	plain := key{object, itemInodeRef, r.dir}
	if old := p.get(plain); old != nil {
		if object == r.dir {
			return false
		}
		for victim := range refsOf(item{plain, old}) {
			if !hasRef(p.logged(plain), itemInodeRef, r.dir, victim.name) {
				p.unlink(r.dir, object, victim.name)
			}
		}
	}
	extra := key{object, itemInodeExtra, extrefHash(r.dir, r.name)}
	for victim := range refsOf(item{extra, p.get(extra)}) {
		if victim.dir == r.dir && !hasRef(p.logged(extra), itemInodeExtra, r.dir, victim.name) {
			p.unlink(r.dir, object, victim.name)
		}
	}
	if d, ok := findName(p.get(key{r.dir, itemDirIndex, r.index}), r.name); ok {
		p.drop(r.dir, d)
	}
	if d, ok := findName(p.get(key{r.dir, itemDir, nameHash(r.name)}), r.name); ok {
		p.drop(r.dir, d)
	}
	return true
}
