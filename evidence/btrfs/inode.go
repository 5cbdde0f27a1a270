package btrfs

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"time"

	"lagan/evidence"
)

// Stat returns what the inode says of itself.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	v, object, err := f.volume(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	if object&nowhere != 0 {
		return emptySubvolume(), nil
	}
	i, err := v.inode(object)
	if err != nil {
		return evidence.Info{}, err
	}
	info, err := i.info(object)
	info.FromJournal = v.changes.touched(object)
	return info, err
}

// emptySubvolume is the folder that the kernel shows where an entry leads to a
// subvolume that isn't there: in a snapshot, those of its origin. Its times
// are those of the look at it (new_simple_dir, fs/btrfs/inode.c): none.
func emptySubvolume() evidence.Info {
	return evidence.Info{Inode: emptySubvolObject, Type: evidence.TypeDir, Perm: 0o755, Nlink: 1}
}

// inode reads an inode item.
func (v *subvolume) inode(object uint64) (inodeItem, error) {
	data, ok, err := v.get(key{object, itemInode, 0})
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	if err != nil {
		return inodeItem{}, fmt.Errorf("subvolume %d, inode %d: %w", v.id, object, err)
	}
	i, err := decodeInode(data)
	if err != nil {
		return i, fmt.Errorf("subvolume %d, inode %d: %w", v.id, object, err)
	}
	return i, nil
}

func (i *inodeItem) info(object uint64) (evidence.Info, error) {
	info := evidence.Info{
		Inode: object, Type: evidence.TypeOfMode(uint16(i.mode)), Perm: uint16(i.mode & 0o7777), UID: i.uid, GID: i.gid, Nlink: i.nlink,
		Mtime: i.mtime, Atime: i.atime, Ctime: i.ctime, Btime: known(i.otime),
	}
	if info.Type == evidence.TypeChar || info.Type == evidence.TypeBlock {
		// The kernel's own dev_t: 12 bits for the major number, 20 for the minor.
		info.Major, info.Minor = uint32(i.rdev>>20), uint32(i.rdev&(1<<20-1))
	}
	if i.size > math.MaxInt64 {
		return info, fmt.Errorf("inode %d: size %#x: %w", object, i.size, evidence.ErrCorrupt)
	}
	info.Size = int64(i.size)
	return info, nil
}

// ReadDir yields the entries of a directory in the order of their making.
func (f *FS) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		v, object, err := f.volume(ino)
		if err == nil && object&nowhere == 0 {
			err = v.mustBe(object, evidence.TypeDir)
		}
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		for it, err := range v.object(object, itemDirIndex, itemDirIndex) {
			if err != nil {
				if !yield(evidence.Entry{}, fmt.Errorf("directory %d: %w", object, err)) {
					return
				}
				continue
			}
			if !f.entries(v, object, it.data, yield) {
				return
			}
		}
	}
}

// mustBe says whether an inode is of a type, and fs.ErrNotExist where it isn't there.
func (v *subvolume) mustBe(object uint64, want evidence.Type) error {
	i, err := v.inode(object)
	if err != nil {
		return err
	}
	if got := evidence.TypeOfMode(uint16(i.mode)); got != want {
		return fmt.Errorf("subvolume %d, inode %d is no %s but a %s: %w", v.id, object, want, got, fs.ErrInvalid)
	}
	return nil
}

// entries yields the entries that one item holds.
func (f *FS) entries(v *subvolume, dir uint64, data []byte, yield func(evidence.Entry, error) bool) bool {
	for len(data) > 0 {
		d, rest, err := nextDirItem(data)
		var e evidence.Entry
		if err == nil {
			e, err = f.entry(v, dir, d)
		}
		if err != nil {
			err = fmt.Errorf("subvolume %d, directory %d: %w", v.id, dir, err)
		}
		if !yield(e, err) {
			return false
		}
		data = rest
	}
	return true
}

// entry turns a directory item into an entry.
func (f *FS) entry(v *subvolume, dir uint64, d dirItem) (evidence.Entry, error) {
	e := evidence.Entry{Name: string(d.name)}
	if !validName(e.Name) {
		return evidence.Entry{}, fmt.Errorf("name %q: %w", e.Name, evidence.ErrCorrupt)
	}
	if int(d.typ) < len(entryTypes) {
		e.Type = entryTypes[d.typ]
	}
	target := d.location.object
	switch {
	case d.location.typ == itemRoot:
		e.Type = evidence.TypeDir
		e.Ino = v.ino(nowhere | target&maxInode)
		if f.refers(v, dir, e.Name, target) {
			sub, err := f.subvolume(target)
			if err != nil {
				return evidence.Entry{}, fmt.Errorf("%q: %w", e.Name, err)
			}
			e.Ino = sub.ino(firstFreeObject)
		}
	case d.location.typ != itemInode || target > maxInode || target < firstFreeObject:
		return evidence.Entry{}, fmt.Errorf("%q leads to %v: %w", e.Name, d.location, evidence.ErrCorrupt)
	default:
		e.Ino = v.ino(target)
	}
	return e, nil
}

func validName(s string) bool {
	for i := range len(s) {
		if s[i] == 0 || s[i] == '/' {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

// Lookup finds a name by its hash.
func (f *FS) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	v, object, err := f.volume(dir)
	if err != nil {
		return evidence.Entry{}, err
	}
	data, ok, err := v.get(key{object, itemDir, nameHash(name)})
	if err != nil {
		return evidence.Entry{}, fmt.Errorf("subvolume %d, directory %d: %w", v.id, object, err)
	}
	for ok && len(data) > 0 {
		var d dirItem
		if d, data, err = nextDirItem(data); err != nil {
			return evidence.Entry{}, fmt.Errorf("subvolume %d, directory %d: %w", v.id, object, err)
		}
		if string(d.name) == name {
			return f.entry(v, object, d)
		}
	}
	return evidence.Entry{}, fs.ErrNotExist
}

// Xattrs returns the attributes of an inode.
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	v, object, err := f.volume(ino)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	var failed error
	for it, err := range v.object(object, itemXattr, itemXattr) {
		data := it.data
		for err == nil && len(data) > 0 {
			var d dirItem
			if d, data, err = nextDirItem(data); err == nil {
				out[string(d.name)] = append([]byte{}, d.data...)
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("subvolume %d, inode %d: extended attributes: %w", v.id, object, err))
		}
	}
	return out, failed
}

// maxTarget bounds a symbolic link's target: Linux makes none of PATH_MAX bytes.
const maxTarget = 4096

// ReadLink returns the target of a symbolic link.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	v, object, err := f.volume(ino)
	if err != nil {
		return "", err
	}
	i, err := v.inode(object)
	if err != nil {
		return "", err
	}
	if evidence.TypeOfMode(uint16(i.mode)) != evidence.TypeSymlink {
		return "", fmt.Errorf("subvolume %d, inode %d is no symbolic link: %w", v.id, object, fs.ErrInvalid)
	}
	if i.size == 0 || i.size >= maxTarget {
		return "", fmt.Errorf("subvolume %d, inode %d: link target of %d bytes: %w", v.id, object, i.size, evidence.ErrCorrupt)
	}
	r, err := v.reader(object, i)
	if err != nil {
		return "", err
	}
	b := make([]byte, i.size)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return "", fmt.Errorf("subvolume %d, inode %d: link target: %w", v.id, object, err)
	}
	return string(b), nil
}

// Deleted yields the inodes that were deleted while a process had them open:
// the kernel would remove them when it mounts (btrfs_orphan_cleanup).
func (f *FS) Deleted() iter.Seq2[evidence.DeletedInode, error] {
	return func(yield func(evidence.DeletedInode, error) bool) {
		for _, v := range f.reachable(func(err error) bool { return yield(evidence.DeletedInode{}, err) }) {
			for it, err := range v.object(orphanObject, itemOrphan, itemOrphan) {
				d, err := v.deleted(it, err)
				if err == nil && d.Ino == 0 {
					continue
				}
				if !yield(d, err) {
					return
				}
			}
		}
	}
}

// deleted describes the inode of an orphan item, nothing if it still has a name.
func (v *subvolume) deleted(it item, err error) (evidence.DeletedInode, error) {
	var d evidence.DeletedInode
	if err != nil || it.key.offset > maxInode {
		return d, err
	}
	i, err := v.inode(it.key.offset)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil // its removal was under way
	}
	if err != nil || i.nlink > 0 {
		return d, err
	}
	info, err := i.info(it.key.offset)
	return evidence.DeletedInode{Ino: v.ino(it.key.offset), Info: info, Deleted: time.Time{}, Open: true}, err
}
