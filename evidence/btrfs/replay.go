package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
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
