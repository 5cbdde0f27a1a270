package btrfs

import (
	"fmt"
	"io/fs"
	"iter"
	"time"

	"lagan/evidence"
	"lagan/internal/bin"
)

// Inode handles: 16 bits for the subvolume's place in FS.volumes, 48 for the
// number of the inode in it. Numbers are given out one by one: 2^47 are never
// reached but by a hostile image. The upper half stands for the empty folders
// in the place of subvolumes that aren't there, with those's ids.
const (
	inodeBits = 48
	nowhere   = 1 << (inodeBits - 1)
	maxInode  = nowhere - 1
)

// maxVolumes bounds the subvolumes that are opened: their place must fit the handle.
const maxVolumes = 1 << (64 - inodeBits)

// subvolume is a tree of files.
type subvolume struct {
	tree
	place   uint64 // in FS.volumes
	item    rootItem
	changes *changes // what the log tree says, nil without
}

func (v *subvolume) ino(object uint64) evidence.Ino {
	return evidence.Ino(v.place<<inodeBits | object&(1<<inodeBits-1))
}

// loadSubvolumes opens the trees of all subvolumes, deleted ones that are not
// cleaned up yet among them, in the order of their ids.
func (f *FS) loadSubvolumes() {
	f.byID = map[uint64]*subvolume{}
	for it, err := range f.roots.items(key{fsTreeObject, itemRoot, 0}, key{lastFreeObject, itemRoot, ^uint64(0)}) {
		if err != nil {
			f.warn(fmt.Errorf("subvolumes: %w", err))
			continue
		}
		id := it.key.object
		if it.key.typ != itemRoot || !isSubvolume(id) || f.byID[id] != nil {
			continue
		}
		if len(f.volumes) >= maxVolumes {
			f.warn(fmt.Errorf("subvolume %d: more than %d subvolumes: %w", id, maxVolumes, evidence.ErrUnsupported))
			return
		}
		r, err := decodeRootItem(it.data)
		if err == nil && r.level >= maxLevel {
			err = fmt.Errorf("tree of level %d: %w", r.level, evidence.ErrCorrupt)
		}
		if err != nil {
			f.warn(fmt.Errorf("subvolume %d: %w", id, err))
			continue
		}
		v := &subvolume{tree: tree{fs: f, root: block{r.address, r.level, r.generation}, id: id}, place: uint64(len(f.volumes)), item: r}
		f.volumes = append(f.volumes, v)
		f.byID[id] = v
	}
}

// subvolume returns the tree of a subvolume.
func (f *FS) subvolume(id uint64) (*subvolume, error) {
	if v := f.byID[id]; v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("subvolume %d: no such tree, or one that can't be read: %w", int64(id), evidence.ErrCorrupt)
}

// isSubvolume says whether a root id is one of a tree of files.
func isSubvolume(id uint64) bool {
	return id == fsTreeObject || firstFreeObject <= id && id <= lastFreeObject
}

// volume returns the subvolume and inode number of a handle.
func (f *FS) volume(ino evidence.Ino) (*subvolume, uint64, error) {
	place := uint64(ino) >> inodeBits
	if place >= uint64(len(f.volumes)) {
		return nil, 0, fmt.Errorf("inode handle %#x: %w", uint64(ino), fs.ErrNotExist)
	}
	return f.volumes[place], uint64(ino) & (1<<inodeBits - 1), nil
}

// Subvolume is a subvolume or snapshot of the filesystem.
type Subvolume struct {
	ID         uint64
	Parent     uint64 // the subvolume whose folder has it; 0: none
	Path       string // below the top level, "" for the top level itself
	UUID       string // "" where there is none
	ParentUUID string // of what it is a snapshot of
	Generation uint64
	ReadOnly   bool
	Deleted    bool      // and not yet cleaned up: what is left can be read
	Created    time.Time // zero where not recorded
	Changed    time.Time
	Root       evidence.Ino
}

// Subvolumes yields all subvolumes by their id, the top level (5) first. One
// whose place can't be found is given beside the error, without a path.
func (f *FS) Subvolumes() iter.Seq2[Subvolume, error] {
	return func(yield func(Subvolume, error) bool) {
		for _, v := range f.volumes {
			s := Subvolume{
				ID: v.id, Generation: v.item.generation, ReadOnly: v.item.flags&rootSubvolRO != 0, Deleted: v.item.refs == 0,
				Created: known(v.item.created), Changed: known(v.item.changed), Root: v.ino(firstFreeObject),
			}
			if v.item.uuid != [16]byte{} {
				s.UUID = bin.UUID(v.item.uuid[:])
			}
			if v.item.parentUUID != [16]byte{} {
				s.ParentUUID = bin.UUID(v.item.parentUUID[:])
			}
			var err error
			if v.id != fsTreeObject && !s.Deleted {
				s.Parent, s.Path, err = f.subvolumePath(v.id)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// known returns the zero time for one that was never set.
func known(t time.Time) time.Time {
	if t.Unix() == 0 && t.Nanosecond() == 0 {
		return time.Time{}
	}
	return t
}

// maxNesting bounds the folders above a subvolume.
const maxNesting = 4096

// subvolumePath finds the path below the top level.
func (f *FS) subvolumePath(id uint64) (parent uint64, path string, err error) {
	seen := map[uint64]bool{}
	for at := id; at != fsTreeObject; {
		if seen[at] || len(seen) > maxNesting {
			return parent, path, fmt.Errorf("subvolume %d: it lies in itself: %w", id, evidence.ErrCorrupt)
		}
		seen[at] = true
		ref, err := f.backref(at)
		if err != nil {
			return parent, path, err
		}
		if at == id {
			parent = ref.tree
		}
		above, err := f.directoryPath(ref.tree, ref.dir)
		if err != nil {
			return parent, path, fmt.Errorf("subvolume %d: %w", id, err)
		}
		path = join(above, join(ref.name, path))
		at = ref.tree
	}
	return parent, path, nil
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "/" + b
}

// rootRef is struct btrfs_root_ref with the tree on its other side.
type rootRef struct {
	tree, dir uint64
	name      string
}

func decodeRootRef(tree uint64, b []byte) (rootRef, error) {
	r := rootRef{tree: tree}
	if len(b) < 18 {
		return r, fmt.Errorf("root reference of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	r.dir = le64(b)
	n := int(b[16]) | int(b[17])<<8
	if n > len(b)-18 {
		return r, fmt.Errorf("root reference with a name of %d bytes: %w", n, evidence.ErrCorrupt)
	}
	r.name = string(b[18 : 18+n])
	return r, nil
}

// backref says where a subvolume lies.
func (f *FS) backref(id uint64) (rootRef, error) {
	for it, err := range f.roots.items(key{id, itemRootBack, 0}, key{id, itemRootBack, ^uint64(0)}) {
		if err != nil {
			return rootRef{}, err
		}
		return decodeRootRef(it.key.offset, it.data)
	}
	return rootRef{}, fmt.Errorf("subvolume %d is in no folder: %w", id, evidence.ErrCorrupt)
}

// refers says whether the entry name in a directory leads to a subvolume: the
// tree of trees must say so too (fixup_tree_root_location, fs/btrfs/inode.c).
// The entries that a snapshot has of its origin's subvolumes don't.
func (f *FS) refers(v *subvolume, dir uint64, name string, id uint64) bool {
	data, ok, err := f.roots.find(key{v.id, itemRootRef, id})
	if err != nil || !ok {
		return false
	}
	ref, err := decodeRootRef(id, data)
	return err == nil && ref.dir == dir && ref.name == name
}

// directoryPath finds the path of a directory in its subvolume.
func (f *FS) directoryPath(id, dir uint64) (string, error) {
	v, err := f.subvolume(id)
	if err != nil {
		return "", err
	}
	path := ""
	for range maxNesting {
		if dir == firstFreeObject {
			return path, nil
		}
		found := false
		for it, err := range v.object(dir, itemInodeRef, itemInodeRef) {
			if err != nil {
				return path, err
			}
			if name, _, err := nextRef(it.data); err == nil {
				path, dir, found = join(string(name), path), it.key.offset, true
			}
			break
		}
		if !found {
			return path, fmt.Errorf("directory %d is in no directory: %w", dir, evidence.ErrCorrupt)
		}
	}
	return path, fmt.Errorf("directory %d lies in itself: %w", dir, evidence.ErrCorrupt)
}

// nextRef decodes the first struct btrfs_inode_ref and returns what follows.
func nextRef(b []byte) (name, rest []byte, err error) {
	if len(b) < 10 || len(b) < 10+int(b[8])+int(b[9])<<8 {
		return nil, nil, fmt.Errorf("inode reference of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	n := int(b[8]) | int(b[9])<<8
	return b[10 : 10+n], b[10+n:], nil
}

func le64(b []byte) uint64 {
	var x uint64
	for i := range 8 {
		x |= uint64(b[i]) << (8 * i)
	}
	return x
}
