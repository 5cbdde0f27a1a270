package xfs

import (
	"errors"
	"fmt"
	"slices"

	"lagan/evidence"
)

// The names under which XFS keeps POSIX ACLs, among the root attributes (xfs_acl.h).
const (
	aclFile    = "SGI_ACL_FILE"
	aclDefault = "SGI_ACL_DEFAULT"
)

// attr is one attribute as it lies on the disk.
type attr struct {
	flags uint8
	name  []byte
	value []byte // where local
	block uint64 // where remote: the fork's block that the value begins at
	size  int    // of a remote value
}

func (a *attr) hidden() bool {
	return a.flags&(attrIncomplete|attrParent|attrVerity) != 0
}

// fullName returns the name under which the kernel lists the attribute
// (xfs_xattr_put_listent, fs/xfs/xfs_xattr.c).
func (a *attr) fullName() string {
	switch {
	case a.flags&attrRoot != 0:
		return "trusted." + string(a.name)
	case a.flags&attrSecure != 0:
		return "security." + string(a.name)
	}
	return "user." + string(a.name)
}

// aclName returns the second name of an attribute that holds a POSIX ACL: the
// kernel lists both, and converts the value for this one.
func (a *attr) aclName() string {
	if a.flags&attrRoot == 0 {
		return ""
	}
	switch string(a.name) {
	case aclFile:
		return "system.posix_acl_access"
	case aclDefault:
		return "system.posix_acl_default"
	}
	return ""
}

// attrFunc is told of attributes; their bytes are not to be changed.
type attrFunc func(attr)

// maxAttrs bounds the bytes of an inode's attributes. XFS has no limit; values
// that share their blocks, which no kernel writes, could exhaust memory.
const maxAttrs = 64 << 20

// Xattrs returns all extended attributes. Those that are half written, and the
// filesystem's own (parent pointers), are left out as the kernel leaves them out.
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	d, err := f.inode(uint64(ino))
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte)
	var failed []error
	total := 0
	err = f.eachAttr(&d, func(k *fork, a attr) {
		n := len(a.name) + len(a.value) + min(a.size, attrMaxValue)
		if total += n; total > maxAttrs {
			total -= n
			failed = append(failed[:min(len(failed), maxBadAttrs)], fmt.Errorf("inode %d: attribute %q: more than %d bytes of attributes: %w",
				ino, a.fullName(), maxAttrs, evidence.ErrUnsupported))
			return
		}
		value := a.value
		if a.flags&attrLocal == 0 {
			var err error
			if value, err = f.remoteValue(k, a); err != nil {
				failed = append(failed, err)
				return
			}
		}
		if acl := a.aclName(); acl != "" {
			if v, ok := convertACL(value); ok {
				out[acl] = v
			}
		}
		out[a.fullName()] = append([]byte{}, value...)
	})
	if err != nil {
		failed = append(failed, err)
	}
	return out, errors.Join(failed...)
}

// eachAttr gives fn every attribute that the kernel would show. What can't be
// read is joined into the error.
func (f *FS) eachAttr(d *dinode, fn func(*fork, attr)) error {
	b := d.attrFork()
	if b == nil {
		return nil
	}
	show := func(k *fork) attrFunc {
		return func(a attr) {
			if !a.hidden() {
				fn(k, a)
			}
		}
	}
	if d.aformat == fmtLocal {
		return shortAttrs(d.ino, b, show(nil))
	}
	if d.anextents == 0 && d.aformat == fmtExtents {
		return nil // an attribute fork that was emptied
	}
	k, err := f.attrBlocks(d)
	if err != nil {
		return err
	}
	w := attrWalk{f: f, k: &k, seen: make(map[uint32]bool), fn: show(&k)}
	w.block(0, -1)
	return errors.Join(w.failed...)
}

// shortAttrs reads attributes that are kept in the inode (struct xfs_attr_sf_hdr).
func shortAttrs(ino uint64, b []byte, fn attrFunc) error {
	cut := fmt.Errorf("inode %d: attributes in the inode are cut short: %w", ino, evidence.ErrCorrupt)
	if len(b) < 4 {
		return cut
	}
	if total := int(be.Uint16(b)); total < len(b) {
		b = b[:max(total, 4)]
	}
	count, at := int(b[2]), 4
	for range count {
		if at+3 > len(b) {
			return cut
		}
		n, v, flags := int(b[at]), int(b[at+1]), b[at+2]
		at += 3
		if n == 0 || at+n+v > len(b) {
			return cut
		}
		fn(attr{flags: flags | attrLocal, name: b[at : at+n], value: b[at+n : at+n+v]})
		at += n + v
	}
	return nil
}

// maxBadAttrs ends the reading of an attribute tree that is ruined.
const maxBadAttrs = 100

// attrWalk descends an attribute fork's hash tree. The leaves are reached by
// the pointers above them, not by their links to each other, so that one bad leaf costs itself only.
type attrWalk struct {
	f      *FS
	k      *fork
	seen   map[uint32]bool
	failed []error
	fn     attrFunc
}

func (w *attrWalk) fail(err error) {
	if len(w.failed) < maxBadAttrs {
		w.failed = append(w.failed, err)
	}
}

// block reads the fork's block n, which must be at the given level of the
// tree: 0 for leaves, -1 where it is not known yet.
func (w *attrWalk) block(n uint32, level int) {
	if w.seen[n] || len(w.failed) >= maxBadAttrs {
		w.fail(w.k.corrupt("tree block %#x is met twice", n))
		return
	}
	w.seen[n] = true
	b, off, err := w.k.readBlocks(uint64(n), 1)
	if err != nil {
		w.fail(err)
		return
	}
	magic := be.Uint16(b[8:])
	v5 := magic == magicAttr3Leaf || magic == magicDA3Node
	if v5 != w.f.sb.v5() {
		w.fail(w.k.corrupt("tree block at offset %#x: bad magic number %#x", off, magic))
		return
	}
	if v5 {
		if err := w.f.verify(b, off, daLayout, w.k.ino, "attribute block"); err != nil {
			w.fail(err)
			return
		}
	}
	switch {
	case (magic == magicAttrLeaf || magic == magicAttr3Leaf) && level <= 0:
		w.leaf(b, off)
	case (magic == magicDANode || magic == magicDA3Node) && level != 0:
		w.node(b, off, level)
	default:
		w.fail(w.k.corrupt("tree block at offset %#x: bad magic number %#x", off, magic))
	}
}

// node descends from an inner block (struct xfs_da_intnode).
func (w *attrWalk) node(b []byte, off int64, level int) {
	hdr, at := daNodeHdr, 12
	if w.f.sb.v5() {
		hdr, at = da3NodeHdr, 56
	}
	count, own := int(be.Uint16(b[at:])), int(be.Uint16(b[at+2:]))
	if count > (len(b)-hdr)/8 || own == 0 || own > daMaxDepth || level > 0 && own != level {
		w.fail(w.k.corrupt("tree block at offset %#x: level %d, %d entries", off, own, count))
		return
	}
	for i := range count {
		w.block(be.Uint32(b[hdr+8*i+4:]), own-1)
	}
}

// leaf reads the attributes of a leaf (struct xfs_attr_leafblock).
func (w *attrWalk) leaf(b []byte, off int64) {
	hdr, at := attrLeafHdr, 12
	if w.f.sb.v5() {
		hdr, at = attr3LeafHdr, 56
	}
	count := int(be.Uint16(b[at:]))
	if count > (len(b)-hdr)/8 {
		w.fail(w.k.corrupt("attribute leaf at offset %#x: %d entries", off, count))
		return
	}
	for i := range count {
		e := b[hdr+8*i:]
		a, ok := leafAttr(b, int(be.Uint16(e[4:])), e[6])
		if !ok {
			w.fail(w.k.corrupt("attribute leaf at offset %#x: entry %d is outside the block", off, i))
			continue
		}
		w.fn(a)
	}
}

// leafAttr decodes a name and its local value, or where its remote value is
// (struct xfs_attr_leaf_name_local, _remote).
func leafAttr(b []byte, at int, flags uint8) (attr, bool) {
	if flags&attrLocal != 0 {
		if at+3 > len(b) {
			return attr{}, false
		}
		v, n := int(be.Uint16(b[at:])), int(b[at+2])
		at += 3
		if n == 0 || at+n+v > len(b) {
			return attr{}, false
		}
		return attr{flags: flags, name: b[at : at+n], value: b[at+n : at+n+v]}, true
	}
	if at+9 > len(b) {
		return attr{}, false
	}
	size, n := be.Uint32(b[at+4:]), int(b[at+8])
	if n == 0 || at+9+n > len(b) {
		return attr{}, false
	}
	return attr{flags: flags, name: b[at+9 : at+9+n], block: uint64(be.Uint32(b[at:])), size: int(min(size, 1<<30))}, true
}

// remoteValue reads a value that stands in blocks of its own. On v5 each block
// begins with a header (struct xfs_attr3_rmt_hdr).
func (f *FS) remoteValue(k *fork, a attr) ([]byte, error) {
	if a.size > attrMaxValue {
		return nil, k.corrupt("attribute %q: a value of %d bytes", a.fullName(), a.size)
	}
	var out []byte
	for n := a.block; len(out) < a.size; n++ {
		b, off, err := k.readBlocks(n, 1)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", a.fullName(), err)
		}
		if f.sb.v5() {
			if b, err = f.remoteBlock(k, b, off, len(out)); err != nil {
				return nil, fmt.Errorf("attribute %q: %w", a.fullName(), err)
			}
		}
		out = append(out, b[:min(len(b), a.size-len(out))]...)
	}
	return out, nil
}

// remoteBlock checks the header of a block of a remote value and returns what follows it.
func (f *FS) remoteBlock(k *fork, b []byte, off int64, done int) ([]byte, error) {
	if be.Uint32(b) != magicAttrRemote {
		return nil, k.corrupt("value at offset %#x: bad magic number", off)
	}
	if err := f.verify(b, off, remoteLayout, k.ino, "attribute value"); err != nil {
		return nil, err
	}
	at, n := be.Uint32(b[remoteOffset:]), be.Uint32(b[remoteBytes:])
	if at != uint32(done) || n == 0 || n > uint32(len(b)-attrRemoteHdr) {
		return nil, k.corrupt("value at offset %#x: %d bytes at %d", off, n, at)
	}
	return b[attrRemoteHdr:][:n], nil
}

// convertACL turns a POSIX ACL of the disk (struct xfs_acl: a count; tag,
// identity and permissions, big-endian) into what the kernel hands out
// (struct posix_acl_xattr_header and _entry: version 2; tag, permissions, identity, little-endian).
func convertACL(b []byte) ([]byte, bool) {
	const (
		aclVersion = 2
		aclEntry   = 12
		aclUser    = 0x02 // ACL_USER
		aclGroup   = 0x08 // ACL_GROUP
	)
	if len(b) < 4 || uint64(be.Uint32(b)) != uint64((len(b)-4)/aclEntry) || (len(b)-4)%aclEntry != 0 {
		return nil, false
	}
	out := slices.Grow([]byte{aclVersion, 0, 0, 0}, len(b))
	for e := b[4:]; len(e) >= aclEntry; e = e[aclEntry:] {
		tag, id, perm := be.Uint32(e), be.Uint32(e[4:]), be.Uint16(e[8:])
		if tag != aclUser && tag != aclGroup {
			id = ^uint32(0) // ACL_UNDEFINED_ID
		}
		out = append(out, byte(tag), byte(tag>>8), byte(perm), byte(perm>>8))
		out = append(out, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	return out, true
}
