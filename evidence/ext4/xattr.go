package ext4

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"lagan/evidence"
)

const (
	// maxXattrValue is what getxattr(2) returns at most (XATTR_SIZE_MAX).
	maxXattrValue = 64 << 10
	// maxXattrTotal bounds all values of one inode: more than 200 of the largest.
	maxXattrTotal = 16 << 20
)

// xattrEntry is a struct ext4_xattr_entry; name is not copied.
type xattrEntry struct {
	index uint8
	offs  uint16 // from the beginning of the region that values count from
	inum  uint32 // the inode that holds the value (ea_inode), or 0
	size  uint32
	name  []byte
}

// fullName returns the name as listxattr(2) gives it, or "" where it gives none.
func (e xattrEntry) fullName() string {
	if int(e.index) >= len(xattrPrefix) || xattrPrefix[e.index] == "" {
		return ""
	}
	return xattrPrefix[e.index] + string(e.name)
}

// value returns the bytes of a value that lies in the region, not copied.
func (e xattrEntry) value(region []byte) ([]byte, error) {
	if e.size == 0 {
		return nil, nil
	}
	if uint64(e.offs)+uint64(e.size) > uint64(len(region)) {
		return nil, fmt.Errorf("attribute %q: value of %d bytes at offset %#x of %#x: %w", e.fullName(), e.size, e.offs, len(region), evidence.ErrCorrupt)
	}
	return region[e.offs : int(e.offs)+int(e.size)], nil
}

// xattrEntries calls fn with each entry of a list, which four zero bytes end.
func xattrEntries(b []byte, fn func(xattrEntry) error) error {
	for at := 0; at+4 <= len(b) && le.Uint32(b[at:]) != 0; {
		if at+xattrEntrySize > len(b) {
			return fmt.Errorf("attribute entry at offset %#x is cut short: %w", at, evidence.ErrCorrupt)
		}
		e := xattrEntry{index: b[at+1], offs: le.Uint16(b[at+2:]), inum: le.Uint32(b[at+4:]), size: le.Uint32(b[at+8:])}
		end := at + xattrEntrySize + int(b[at])
		if end > len(b) {
			return fmt.Errorf("attribute entry at offset %#x: name of %d bytes: %w", at, b[at], evidence.ErrCorrupt)
		}
		e.name = b[at+xattrEntrySize : end]
		if err := fn(e); err != nil {
			return err
		}
		at = (end + 3) &^ 3
	}
	return nil
}

// hasXattrs says whether the inode itself holds attributes.
func (in *inode) hasXattrs() bool {
	at := goodOldInodeSize + in.extra
	return in.extra != 0 && at+4 <= len(in.raw) && le.Uint32(in.raw[at:]) == xattrMagic
}

// inodeXattrs calls fn with each entry in the inode itself, and the region
// that values count from.
func (fs *FS) inodeXattrs(in *inode, fn func(xattrEntry, []byte) error) error {
	if !in.hasXattrs() {
		return nil
	}
	region := in.raw[goodOldInodeSize+in.extra+4:]
	return xattrEntries(region, func(e xattrEntry) error { return fn(e, region) })
}

// checkXattrBlock checks a block of attributes, which several inodes may share.
func (fs *FS) checkXattrBlock(blk uint64, b []byte) error {
	if magic := le.Uint32(b); magic != xattrMagic || le.Uint32(b[8:]) != 1 { // h_blocks
		return fmt.Errorf("attribute block %#x: magic %#x, %d blocks: %w", blk, magic, le.Uint32(b[8:]), evidence.ErrCorrupt)
	}
	if fs.sb.metadataCsum() && !fs.sb.xattrSum(blk, b) {
		fs.warn(object{inXattr, 1<<63 | blk}, fmt.Errorf("attribute block %#x: bad checksum: %w", blk, evidence.ErrCorrupt))
	}
	return nil
}

// allXattrs calls fn with each entry of an inode, wherever it is stored.
func (fs *FS) allXattrs(in *inode, fn func(xattrEntry, []byte) error) error {
	err := fs.inodeXattrs(in, fn)
	if in.xattrBlock == 0 {
		return err
	}
	b, failed := fs.block(in.xattrBlock)
	if failed == nil {
		failed = fs.checkXattrBlock(in.xattrBlock, b)
	}
	if failed == nil {
		failed = xattrEntries(b[xattrBlockHeader:], func(e xattrEntry) error { return fn(e, b) })
	}
	return errors.Join(err, failed)
}

// Xattrs returns the extended attributes as getxattr(2) would.
func (fs *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	in, err := fs.get(ino)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	var failed error
	total := 0
	err = fs.allXattrs(in, func(e xattrEntry, region []byte) error {
		name := e.fullName()
		if _, known := out[name]; known || name == "" {
			return nil
		}
		v, err := fs.xattrValue(e, region)
		if total += len(v); total > maxXattrTotal {
			return fmt.Errorf("more than %d bytes of attributes: %w", maxXattrTotal, evidence.ErrCorrupt)
		}
		if err != nil {
			failed = errors.Join(failed, err)
			return nil
		}
		if e.index == xattrACLAccess || e.index == xattrACLDefault {
			v = aclFromDisk(v)
		}
		out[name] = v
		return nil
	})
	if err = errors.Join(err, failed); err != nil {
		err = fmt.Errorf("inode %d: %w", ino, err)
	}
	return out, err
}

// xattrValue returns a copy of a value, from the region or from an inode of its own.
func (fs *FS) xattrValue(e xattrEntry, region []byte) ([]byte, error) {
	if e.size > maxXattrValue {
		return nil, fmt.Errorf("attribute %q: value of %d bytes: %w", e.fullName(), e.size, evidence.ErrCorrupt)
	}
	if e.inum == 0 || e.size == 0 {
		v, err := e.value(region)
		return append([]byte{}, v...), err
	}
	in, err := fs.inode(e.inum)
	if err != nil {
		return nil, fmt.Errorf("attribute %q: value: %w", e.fullName(), err)
	}
	if in.flags&flagEAInode == 0 || in.size != int64(e.size) {
		return nil, fmt.Errorf("attribute %q: inode %d of %d bytes doesn't hold its value of %d: %w", e.fullName(), e.inum, in.size, e.size, evidence.ErrCorrupt)
	}
	v := make([]byte, e.size)
	if _, err := io.ReadFull(fs.content(in), v); err != nil {
		return nil, fmt.Errorf("attribute %q: value: %w", e.fullName(), err)
	}
	return v, nil
}

// aclFromDisk turns a POSIX ACL as stored, which leaves ids out where they
// mean nothing, into what getxattr(2) returns (ext4_acl_from_disk in acl.c and
// posix_acl_to_xattr). Bytes of another form are returned as they are.
func aclFromDisk(v []byte) []byte {
	const user, group, noID = 0x02, 0x08, 1<<32 - 1
	if len(v) < 4 || le.Uint32(v) != 1 { // EXT4_ACL_VERSION
		return v
	}
	out := le.AppendUint32(make([]byte, 0, 2*len(v)), 2) // POSIX_ACL_XATTR_VERSION
	for b := v[4:]; len(b) > 0; {
		if len(b) < 4 {
			return v
		}
		id, n := uint32(noID), 4
		if tag := le.Uint16(b); tag == user || tag == group {
			if len(b) < 8 {
				return v
			}
			id, n = le.Uint32(b[4:]), 8
		}
		out = le.AppendUint32(append(out, b[:4]...), id)
		b = b[n:]
	}
	return out
}

// nameSet collects names of attributes, each string once.
type nameSet map[string]string

// intern returns the full name of e without making a string of it twice.
func (s nameSet) intern(e xattrEntry) string {
	if int(e.index) >= len(xattrPrefix) || xattrPrefix[e.index] == "" {
		return ""
	}
	var buf [300]byte
	full := append(append(buf[:0], xattrPrefix[e.index]...), e.name...)
	if known, ok := s[string(full)]; ok {
		return known
	}
	if len(s) > 4096 { // names are the attacker's
		clear(s)
	}
	name := string(full)
	s[name] = name
	return name
}

// addName adds a name to a list, unless it is there.
func addName(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
