package btrfs

import (
	"encoding/binary"
	"slices"

	"lagan/evidence"
)

// fileExtents are the extents of the file that is being replayed: a log has
// those of one file after the other, and a file may have very many.
type fileExtents struct {
	object uint64
	items  []item // ascending
	gone   []key  // that are in the subvolume, and not in items
}

// open makes file the extents of an object.
func (p *replayer) openExtents(object uint64) {
	if p.file.object == object {
		return
	}
	p.flushExtents()
	p.file = fileExtents{object: object, items: p.file.items[:0], gone: p.file.gone[:0]}
	for it, err := range p.v.object(object, itemExtentData, itemExtentData) {
		if err != nil {
			p.note(err)
			continue
		}
		p.file.items = append(p.file.items, it)
	}
}

// flushExtents puts what became of a file's extents into the changes.
func (p *replayer) flushExtents() {
	f := &p.file
	for _, k := range f.gone {
		p.remove(k)
	}
	for _, it := range f.items {
		if old, ok, err := p.v.get(it.key); err != nil || !ok || !slices.Equal(old, it.data) {
			p.put(it.key, it.data)
		}
	}
	*f = fileExtents{items: f.items[:0], gone: f.gone[:0]}
}

// find returns the place of a key among the extents.
func (f *fileExtents) find(k key) (int, bool) {
	return slices.BinarySearchFunc(f.items, k, func(it item, k key) int { return compareKeys(it.key, k) })
}

func (f *fileExtents) put(it item) {
	i, found := f.find(it.key)
	if found {
		f.items[i] = it
		return
	}
	f.items = slices.Insert(f.items, i, it)
}

// Where an extent item's fields that change lie.
const (
	extentOffsetAt = 37
	extentLengthAt = 45
)

// drop takes a range out of the extents (btrfs_drop_extents).
func (f *fileExtents) drop(start, end uint64) error {
	// The extent before start may reach into the range; those before that end
	// where it begins.
	i, found := f.find(key{f.object, itemExtentData, start})
	if !found && i > 0 {
		i--
	}
	first := i
	var left, right []item
	for ; i < len(f.items) && f.items[i].key.offset < end; i++ {
		it := f.items[i]
		e, err := decodeExtent(it.key.offset, it.data)
		if err != nil {
			return err
		}
		last := e.fileOffset + e.length
		if last <= start {
			first++
			continue
		}
		f.gone = append(f.gone, it.key)
		if e.typ == extentInline {
			continue
		}
		if e.fileOffset < start {
			data := slices.Clone(it.data)
			binary.LittleEndian.PutUint64(data[extentLengthAt:], start-e.fileOffset)
			left = append(left, item{it.key, data})
		}
		if last > end {
			data := slices.Clone(it.data)
			binary.LittleEndian.PutUint64(data[extentOffsetAt:], e.offset+end-e.fileOffset)
			binary.LittleEndian.PutUint64(data[extentLengthAt:], last-end)
			right = append(right, item{key{f.object, itemExtentData, end}, data})
		}
	}
	f.items = slices.Replace(f.items, first, max(i, first), append(left, right...)...)
	return nil
}

// truncate takes what is past a file's size out of its extents.
func (p *replayer) truncate(object, size uint64) {
	sector := uint64(p.f.super.sectorSize)
	p.openExtents(object)
	p.note(p.file.drop((size+sector-1)/sector*sector, ^uint64(0)))
}

// extent replays an extent of a file (replay_one_extent).
func (p *replayer) extent(it item) {
	e, err := decodeExtent(it.key.offset, it.data)
	if err == nil && p.get(key{it.key.object, itemInode, 0}) == nil {
		err = evidence.ErrCorrupt
	}
	if err != nil {
		p.note(err)
		return
	}
	p.openExtents(it.key.object)
	sector := uint64(p.f.super.sectorSize)
	end := e.fileOffset + e.length
	if e.typ == extentInline {
		end = (end + sector - 1) / sector * sector
	} else if i, found := p.file.find(it.key); found && slices.Equal(p.file.items[i].data, it.data) {
		return
	}
	if err := p.file.drop(e.fileOffset, end); err != nil {
		p.note(err)
		return
	}
	if e.typ != extentInline && e.disk == 0 && p.f.super.incompat&featureNoHoles != 0 {
		return
	}
	p.file.put(it)
}
