package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"lagan/evidence"
)

// The log tree has what was fsynced since the last commit. When the kernel
// mounts, it copies that into the subvolumes (btrfs_recover_log_trees,
// fs/btrfs/tree-log.c): first the inodes, then the entries of directories,
// then names by the inodes' references, attributes and extents. Here the same
// is done to items in memory. The kernel stamps directories that it removes
// names from with the time of the mount; here they keep the logged times.

// replay applies the log trees, and says what it did.
func (f *FS) replay() evidence.Journal {
	j := evidence.Journal{State: evidence.JournalClean}
	if f.super.logRoot == 0 {
		return j
	}
	j.State = evidence.JournalDirty
	// The log is of the transaction after the last that was committed.
	logs := tree{fs: f, root: block{f.super.logRoot, f.super.logLevel, f.super.generation + 1}, id: treeLogObject}
	var failed error
	for it, err := range logs.items(key{treeLogObject, itemRoot, 0}, key{treeLogObject, itemRoot, ^uint64(0)}) {
		if err == nil {
			err = f.replayTree(it, &j)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("log tree: %w", err))
		}
	}
	if f.opt.NoJournal {
		f.warn(fmt.Errorf("log tree of %d subvolumes is not replayed: what was fsynced last is not shown", j.Transactions))
		return j
	}
	if failed != nil {
		f.warn(failed)
		j.Note = "not all of the log tree could be replayed: " + failed.Error()
	}
	return j
}

// replayTree applies the log tree that an item names to its subvolume.
func (f *FS) replayTree(it item, j *evidence.Journal) error {
	r, err := decodeRootItem(it.data)
	if err == nil && r.level >= maxLevel {
		err = fmt.Errorf("level %d: %w", r.level, evidence.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	j.Transactions++
	v := f.byID[it.key.offset]
	if f.opt.NoJournal || v == nil { // a subvolume that was deleted since
		return nil
	}
	p := replayer{f: f, v: v, log: tree{fs: f, root: block{r.address, r.level, r.generation}, id: treeLogObject}, fixup: map[uint64]bool{}}
	v.changes = newChanges()
	p.run()
	v.changes.settle()
	if !p.first.IsZero() && (j.First.IsZero() || p.first.Before(j.First)) {
		j.First = p.first
	}
	if p.last.After(j.Last) {
		j.Last = p.last
	}
	for _, o := range v.changes.objects {
		j.Blocks += len(o.items)
	}
	j.State = evidence.JournalReplayed
	return p.failed
}

// replayer replays the log tree of one subvolume.
type replayer struct {
	f      *FS
	v      *subvolume
	log    tree
	fixup  map[uint64]bool // inodes whose names are to be counted
	file   fileExtents
	failed error
	// When the inodes were changed that were logged whole: the log has no
	// other dates.
	first, last time.Time
}

// note remembers what could not be replayed. The kernel would refuse to mount.
func (p *replayer) note(err error) {
	if err != nil && len(errorText(p.failed)) < 4096 {
		p.failed = errors.Join(p.failed, fmt.Errorf("log tree of subvolume %d: %w", p.v.id, err))
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (p *replayer) put(k key, data []byte) { p.v.changes.set(k, change{data: data}) }
func (p *replayer) remove(k key)           { p.v.changes.set(k, change{gone: true}) }

// get returns an item of the subvolume, nil where there is none.
func (p *replayer) get(k key) []byte {
	data, ok, err := p.v.get(k)
	if p.note(err); err != nil || !ok {
		return nil
	}
	return data
}

// logged returns an item of the log.
func (p *replayer) logged(k key) []byte {
	data, ok, err := p.log.find(k)
	if p.note(err); err != nil || !ok {
		return nil
	}
	return data
}

// The stages of the replay (LOG_WALK_REPLAY_*).
const (
	stageInodes = iota
	stageDirIndex
	stageAll
)

func (p *replayer) run() {
	for stage := stageInodes; stage <= stageAll; stage++ {
		ignore := false
		for it, err := range p.log.items(key{}, lastKey) {
			if err != nil {
				p.note(err)
				continue
			}
			if it.key.object > maxInode {
				continue // checksums of extents
			}
			if it.key.typ == itemInode {
				i, err := decodeInode(it.data)
				if err != nil {
					p.note(err)
				}
				// A file without a name that was fsynced would be deleted again.
				if ignore = err != nil || i.nlink == 0; !ignore && stage == stageInodes {
					p.inode(it, i)
				}
			}
			if !ignore {
				p.item(stage, it)
			}
		}
	}
	p.flushExtents()
	p.countLinks()
}

func (p *replayer) item(stage int, it item) {
	switch {
	case stage == stageDirIndex && it.key.typ == itemDirIndex:
		p.name(it)
	case stage != stageAll:
	case it.key.typ == itemXattr:
		p.put(it.key, it.data)
	case it.key.typ == itemInodeRef || it.key.typ == itemInodeExtra:
		p.refs(it)
	case it.key.typ == itemExtentData:
		p.extent(it)
	}
}

// Where fields that change lie in an inode item.
const (
	inodeGenerationAt = 0
	inodeSizeAt       = 16
	inodeNlinkAt      = 40
)

// inode replays an inode item (replay_one_buffer, overwrite_item).
func (p *replayer) inode(it item, i inodeItem) {
	p.xattrDeletes(it.key.object)
	if i.generation != 0 {
		if p.first.IsZero() || i.ctime.Before(p.first) {
			p.first = i.ctime
		}
		if i.ctime.After(p.last) {
			p.last = i.ctime
		}
	}
	typ := evidence.TypeOfMode(uint16(i.mode))
	if typ == evidence.TypeDir {
		p.dirDeletes(it.key.object)
	}
	data := append([]byte(nil), it.data...)
	le := binary.LittleEndian
	if old := p.get(it.key); len(old) >= inodeItemSize {
		was, _ := decodeInode(old)
		oldType := evidence.TypeOfMode(uint16(was.mode))
		switch {
		case i.generation == 0:
			// Logged only so that it exists: all but the size of a file stays.
			data = append([]byte(nil), old...)
			if typ == evidence.TypeFile && oldType == evidence.TypeFile && i.size != 0 {
				le.PutUint64(data[inodeSizeAt:], i.size)
			}
		case typ == evidence.TypeDir && oldType == evidence.TypeDir:
			// The size follows the entries that are replayed.
			le.PutUint64(data[inodeSizeAt:], was.size)
		}
	} else {
		if typ == evidence.TypeDir {
			le.PutUint64(data[inodeSizeAt:], 0)
		}
		if i.generation == 0 {
			le.PutUint64(data[inodeGenerationAt:], p.f.super.generation+1)
		}
	}
	p.put(it.key, data)
	if typ == evidence.TypeFile {
		if now, err := decodeInode(data); err == nil && now.size <= 1<<62 {
			p.truncate(it.key.object, now.size)
		}
	}
	p.fixup[it.key.object] = true
}

// xattrDeletes removes the attributes that the log doesn't have.
func (p *replayer) xattrDeletes(object uint64) {
	var gone []item
	for it, err := range p.v.object(object, itemXattr, itemXattr) {
		if err != nil {
			p.note(err)
			continue
		}
		gone = append(gone, it)
	}
	for _, it := range gone {
		log := p.logged(it.key)
		for data := it.data; len(data) > 0; {
			d, rest, err := nextDirItem(data)
			if err != nil {
				p.note(err)
				break
			}
			if _, ok := findName(log, string(d.name)); !ok {
				p.removeName(it.key, string(d.name))
			}
			data = rest
		}
	}
}

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
