package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lagan/evidence"
)

// findName finds a directory item or attribute by its name.
func findName(data []byte, name string) (dirItem, bool) {
	for len(data) > 0 {
		d, rest, err := nextDirItem(data)
		if err != nil {
			break
		}
		if string(d.name) == name {
			return d, true
		}
		data = rest
	}
	return dirItem{}, false
}

// removeName takes a name out of an item that may have several.
func (p *replayer) removeName(k key, name string) {
	data := p.get(k)
	var kept []byte
	for len(data) > 0 {
		d, rest, err := nextDirItem(data)
		if err != nil {
			break
		}
		if string(d.name) != name {
			kept = append(kept, data[:len(data)-len(rest)]...)
		}
		data = rest
	}
	if len(kept) == 0 {
		p.remove(k)
	} else {
		p.put(k, kept)
	}
}

// dirDeletes unlinks the entries that lie in a range that the log has all of,
// and that it doesn't have (replay_dir_deletes).
func (p *replayer) dirDeletes(dir uint64) {
	if p.get(key{dir, itemInode, 0}) == nil {
		return
	}
	type span struct{ first, last uint64 }
	var spans []span // ascending, apart
	next := uint64(0)
	for r, err := range p.log.items(key{dir, itemDirLogIdx, 0}, key{dir, itemDirLogIdx, ^uint64(0)}) {
		if err != nil || len(r.data) < 8 {
			p.note(errors.Join(err, evidence.ErrCorrupt))
			continue
		}
		s := span{max(r.key.offset, next), binary.LittleEndian.Uint64(r.data)}
		if s.first > s.last {
			continue
		}
		spans = append(spans, s)
		if next = s.last + 1; next == 0 {
			break
		}
	}
	if len(spans) == 0 {
		return
	}
	p.unlinkAll(dir, func(it item, d dirItem) bool {
		for len(spans) > 0 && spans[0].last < it.key.offset {
			spans = spans[1:]
		}
		if len(spans) == 0 || it.key.offset < spans[0].first {
			return false
		}
		_, logged := findName(p.logged(it.key), string(d.name))
		return !logged
	})
}

// unlinkAll unlinks the entries of a directory that are chosen, of which it
// asks in the order of their indices.
func (p *replayer) unlinkAll(dir uint64, chosen func(item, dirItem) bool) {
	var victims []dirItem
	for it, err := range p.v.object(dir, itemDirIndex, itemDirIndex) {
		var d dirItem
		if err == nil {
			d, _, err = nextDirItem(it.data)
		}
		if err != nil {
			p.note(err)
			continue
		}
		if chosen(it, d) {
			victims = append(victims, d)
		}
	}
	for _, d := range victims {
		p.drop(dir, d)
	}
}

// drop unlinks an entry and has its inode's names counted (drop_one_dir_item).
func (p *replayer) drop(dir uint64, d dirItem) {
	if d.location.typ != itemInode {
		return // a subvolume's removal commits: it is not logged
	}
	p.fixup[d.location.object] = true
	p.unlink(dir, d.location.object, string(d.name))
}

// unlink removes a name of an inode from a directory (__btrfs_unlink_inode).
func (p *replayer) unlink(dir, object uint64, name string) {
	p.removeName(key{dir, itemDir, nameHash(name)}, name)
	index, ok := p.removeRef(key{object, itemInodeRef, dir}, dir, name)
	if !ok {
		index, ok = p.removeRef(key{object, itemInodeExtra, extrefHash(dir, name)}, dir, name)
	}
	if ok {
		p.remove(key{dir, itemDirIndex, index})
	} else {
		p.note(fmt.Errorf("inode %d has no reference to %q in directory %d: %w", object, name, dir, evidence.ErrCorrupt))
	}
	p.resize(dir, -2*int64(len(name)))
}

// resize adds to a directory's size: twice the length of each name.
func (p *replayer) resize(dir uint64, by int64) {
	k := key{dir, itemInode, 0}
	old := p.get(k)
	if len(old) < inodeItemSize {
		return
	}
	data := append([]byte(nil), old...)
	size := int64(binary.LittleEndian.Uint64(data[inodeSizeAt:])) + by
	binary.LittleEndian.PutUint64(data[inodeSizeAt:], uint64(max(size, 0)))
	p.put(k, data)
}

// name replays an entry of a directory (replay_one_name). Only the names of
// inodes that exist are added; a name that the inode's own reference in the
// log has too is added with that.
func (p *replayer) name(it item) {
	d, _, err := nextDirItem(it.data)
	if err != nil {
		p.note(err)
		return
	}
	dir, name := it.key.object, string(d.name)
	exists := d.location.typ == itemInode && p.get(key{d.location.object, itemInode, 0}) != nil
	same := func(old dirItem) bool { return old.location == d.location && old.typ == d.typ }
	byName, ok1 := findName(p.get(key{dir, itemDir, nameHash(name)}), name)
	if ok1 && !same(byName) && exists {
		p.drop(dir, byName)
	}
	byIndex, ok2 := findName(p.get(it.key), name)
	if ok2 && !same(byIndex) && exists {
		p.drop(dir, byIndex)
	}
	if ok1 && ok2 && same(byName) && same(byIndex) || !exists {
		return
	}
	target := d.location.object
	if hasRef(p.logged(key{target, itemInodeRef, dir}), itemInodeRef, dir, name) ||
		hasRef(p.logged(key{target, itemInodeExtra, extrefHash(dir, name)}), itemInodeExtra, dir, name) {
		return
	}
	if p.link(dir, target, name, it.key.offset) {
		p.addRef(target, dir, it.key.offset, name)
		if d.typ != dirTypeDir {
			p.fixup[target] = true
		}
	}
}

// dirTypeDir is BTRFS_FT_DIR.
const dirTypeDir = 2

// link adds a name to a directory, if there is none such (btrfs_add_link).
func (p *replayer) link(dir, object uint64, name string, index uint64) bool {
	i, err := decodeInode(p.get(key{object, itemInode, 0}))
	if err != nil || p.get(key{dir, itemInode, 0}) == nil {
		return false
	}
	k := key{dir, itemDir, nameHash(name)}
	old := p.get(k)
	if _, ok := findName(old, name); ok {
		return false
	}
	entry := make([]byte, dirItemSize, dirItemSize+len(name))
	binary.LittleEndian.PutUint64(entry, object)
	entry[8] = itemInode
	binary.LittleEndian.PutUint16(entry[27:], uint16(len(name)))
	entry[29] = entryType(evidence.TypeOfMode(uint16(i.mode)))
	entry = append(entry, name...)
	p.put(k, append(append([]byte(nil), old...), entry...))
	p.put(key{dir, itemDirIndex, index}, entry)
	p.resize(dir, 2*int64(len(name)))
	return true
}

func entryType(t evidence.Type) byte {
	for i, have := range entryTypes {
		if have == t {
			return byte(i)
		}
	}
	return 0
}

// countLinks sets the link counts of the inodes that were met, and gives those
// without a name to the orphans, their own entries unlinked
// (fixup_inode_link_counts).
func (p *replayer) countLinks() {
	orphans := map[uint64]bool{}
	for len(p.fixup) > 0 {
		round := slices.Sorted(maps.Keys(p.fixup))
		clear(p.fixup)
		for _, object := range slices.Backward(round) { // as the kernel does
			p.countLinksOf(object, orphans)
		}
	}
}

func (p *replayer) countLinksOf(object uint64, orphans map[uint64]bool) {
	k := key{object, itemInode, 0}
	old := p.get(k)
	i, err := decodeInode(old)
	if err != nil {
		return
	}
	links := p.names(object)
	if links != i.nlink {
		data := append([]byte(nil), old...)
		binary.LittleEndian.PutUint32(data[inodeNlinkAt:], links)
		p.put(k, data)
	}
	if links > 0 || orphans[object] {
		return
	}
	orphans[object] = true
	if evidence.TypeOfMode(uint16(i.mode)) == evidence.TypeDir {
		p.unlinkAll(object, func(item, dirItem) bool { return true })
	}
	p.put(key{orphanObject, itemOrphan, object}, nil)
}

// names counts the names that an inode says it has.
func (p *replayer) names(object uint64) uint32 {
	n := uint32(0)
	for it, err := range p.v.object(object, itemInodeRef, itemInodeExtra) {
		if err != nil {
			p.note(err)
			continue
		}
		for range refsOf(it) {
			n++
		}
	}
	return n
}
