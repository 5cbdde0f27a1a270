package btrfs

import (
	"maps"
	"slices"

	"lagan/evidence"
)

// changes is what the log tree does to a subvolume: the items of each inode
// that it touches, whole.
type changes struct {
	objects map[uint64]*objectItems
}

type objectItems struct {
	list []item // ascending
}

func (c *changes) touched(object uint64) bool {
	return c != nil && c.objects[object] != nil
}

func (f *FS) replay() evidence.Journal { return evidence.Journal{State: evidence.JournalClean} }

// sorted returns the inodes that are touched, ascending.
func (c *changes) sorted() []uint64 {
	return slices.Sorted(maps.Keys(c.objects))
}
