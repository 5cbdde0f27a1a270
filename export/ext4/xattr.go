package ext4

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"lagan/evidence"
)

// xattr is one attribute as ext4 keeps it.
type xattr struct {
	index byte
	name  string // behind the prefix that index stands for
	value []byte
	hash  uint32 // e_hash
	inum  uint32 // of the inode that has the value; 0: it stands beside the name
}

func (x *xattr) entrySize() int { return xattrEntryHead + (len(x.name)+3)&^3 }

func (x *xattr) valueSize() int {
	if x.inum != 0 {
		return 0
	}
	return (len(x.value) + 3) &^ 3
}

// CheckXattr says whether ext4 has a place for an attribute.
func CheckXattr(name string, value []byte) error {
	_, err := newXattr(name, value)
	return err
}

// CheckXattrs says whether ext4 has a place for so many attributes, each of which
// it has one for.
func CheckXattrs(all map[string][]byte) error {
	size := xattrHead + 4
	for name := range all {
		size += xattrEntryHead + len(name) + 3
	}
	if size > blockSize {
		return fmt.Errorf("%d attributes: %w", len(all), ErrNoPlace)
	}
	return nil
}

func newXattr(name string, value []byte) (xattr, error) {
	for _, p := range xattrPrefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if !ok || p.whole != (rest == "") || len(rest) > maxName || len(value) > maxXattrValue || strings.ContainsRune(rest, 0) {
			continue
		}
		x := xattr{index: p.index, name: rest, value: value}
		if p.whole {
			var err error
			if x.value, err = diskACL(value); err != nil {
				return xattr{}, fmt.Errorf("attribute %q: %w", name, err)
			}
		}
		return x, nil
	}
	return xattr{}, fmt.Errorf("attribute %q of %d bytes: %w", name, len(value), ErrNoPlace)
}

// diskACL gives a POSIX ACL of the form that system calls have
// (include/uapi/linux/posix_acl_xattr.h) that of the disk (fs/ext4/acl.h), where
// only entries of named users and groups have an id.
func diskACL(b []byte) ([]byte, error) {
	const version, diskVersion, tagUser, tagGroup = 2, 1, 0x02, 0x08
	le := binary.LittleEndian
	if len(b) < 4 || len(b)%8 != 4 || le.Uint32(b) != version {
		return nil, fmt.Errorf("a list of %d bytes that is no POSIX ACL: %w", len(b), ErrNoPlace)
	}
	out := le.AppendUint32(nil, diskVersion)
	for b = b[4:]; len(b) > 0; b = b[8:] {
		out = append(out, b[:4]...)
		if tag := le.Uint16(b); tag == tagUser || tag == tagGroup {
			out = append(out, b[4:8]...)
		}
	}
	return out, nil
}

// xattrs writes an inode's attributes: into the inode itself where they have room
// in body, else into a block of their own, whose number is returned. blocks is
// what they take that is the inode's, values in inodes of their own among it.
func (w *Writer) xattrs(all map[string][]byte, body []byte) (at, blocks int64, err error) {
	if len(all) == 0 {
		return 0, 0, nil
	}
	var list []*xattr
	for name, value := range all {
		x, err := newXattr(name, value)
		if err != nil {
			return 0, 0, err
		}
		x.hash = entryHash(x.name, words(x.value))
		list = append(list, &x)
	}
	slices.SortFunc(list, func(a, b *xattr) int {
		if a.index != b.index {
			return int(a.index) - int(b.index)
		}
		if len(a.name) != len(b.name) {
			return len(a.name) - len(b.name)
		}
		return strings.Compare(a.name, b.name)
	})
	if xattrsSize(list) <= xattrInInode {
		binary.LittleEndian.PutUint32(body, xattrMagic)
		putXattrs(body[4:4+xattrInInode], 0, list)
		return 0, 0, nil
	}
	if err := w.shrink(list); err != nil {
		return 0, 0, err
	}
	for _, x := range list {
		if x.inum != 0 {
			blocks += int64(len(x.value)+blockSize-1) / blockSize
		}
	}
	if at, err = w.alloc(); err != nil {
		return 0, 0, err
	}
	b := make([]byte, blockSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], xattrMagic)
	le.PutUint32(b[4:], 1) // h_refcount
	le.PutUint32(b[8:], 1) // h_blocks
	le.PutUint32(b[12:], blockHash(list))
	putXattrs(b, xattrHead, list)
	return at, blocks + 1, w.write(b, at)
}

// xattrsSize is what a list takes, with the four bytes that end it.
func xattrsSize(list []*xattr) int {
	n := 4
	for _, x := range list {
		n += x.entrySize() + x.valueSize()
	}
	return n
}

// shrink gives the largest values inodes of their own until the rest has room in
// one block.
func (w *Writer) shrink(list []*xattr) error {
	for xattrsSize(list) > blockSize-xattrHead {
		largest := list[0]
		for _, x := range list {
			if x.valueSize() > largest.valueSize() {
				largest = x
			}
		}
		if largest.valueSize() == 0 {
			return fmt.Errorf("%d attributes: %w", len(list), ErrNoPlace)
		}
		if err := w.valueInode(largest); err != nil {
			return err
		}
	}
	return nil
}

// valueInode writes a value into an inode of its own, which keeps the value's
// hash in place of its access time and counts who refers to it in its version:
// fs/ext4/xattr.c, ext4_xattr_inode_create and ext4_xattr_inode_set_ref.
func (w *Writer) valueInode(x *xattr) error {
	w.values++
	w.hasEA = true
	number := w.o.Inodes + w.values
	var mapped extents
	for off := 0; off < len(x.value); off += blockSize {
		at, err := w.alloc()
		if err != nil {
			return err
		}
		if err := w.write(x.value[off:min(len(x.value), off+blockSize)], at); err != nil {
			return err
		}
		mapped.add(int64(off/blockSize), at)
	}
	hash := checksum(checksum(^uint32(0), w.o.UUID[:]), x.value)
	root, blocks, err := w.tree(mapped)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	b := make([]byte, inodeSize)
	le.PutUint16(b[0:], modes[evidence.TypeFile]|0o600)
	le.PutUint32(b[4:], uint32(len(x.value)))
	le.PutUint32(b[8:], hash)
	le.PutUint16(b[26:], 1)
	le.PutUint32(b[28:], uint32((int64((len(x.value)+blockSize-1)/blockSize)+blocks)*sectorsPerBlock))
	le.PutUint32(b[32:], flagExtents|flagEAInode)
	le.PutUint32(b[36:], 1) // l_i_version: one refers to it
	copy(b[40:], root[:])
	le.PutUint16(b[128:], extraSize)
	x.inum = number
	x.hash = entryHash(x.name, []uint32{hash})
	return w.putInode(number, b, false)
}

// checksum is the kernel's crc32c: without the inversions of the usual one.
func checksum(seed uint32, b []byte) uint32 {
	return ^crc32.Update(^seed, crc32.MakeTable(crc32.Castagnoli), b)
}

// putXattrs writes entries from first on and values from the end of b.
func putXattrs(b []byte, first int, list []*xattr) {
	le := binary.LittleEndian
	at, end := first, len(b)
	for _, x := range list {
		e := b[at:]
		e[0], e[1] = byte(len(x.name)), x.index
		if x.valueSize() > 0 {
			end -= x.valueSize()
			copy(b[end:], x.value)
			le.PutUint16(e[2:], uint16(end))
		}
		le.PutUint32(e[4:], x.inum)
		le.PutUint32(e[8:], uint32(len(x.value)))
		le.PutUint32(e[12:], x.hash)
		copy(e[xattrEntryHead:], x.name)
		at += x.entrySize()
	}
}

// words are a value's as ext4_xattr_hash_entry takes them, padded with zeros.
func words(value []byte) []uint32 {
	out := make([]uint32, 0, (len(value)+3)/4)
	for len(value) > 0 {
		var word [4]byte
		n := copy(word[:], value)
		value = value[n:]
		out = append(out, binary.LittleEndian.Uint32(word[:]))
	}
	return out
}

// entryHash is ext4_xattr_hash_entry.
func entryHash(name string, value []uint32) uint32 {
	var h uint32
	for i := range len(name) {
		h = h<<5 ^ h>>27 ^ uint32(name[i])
	}
	for _, v := range value {
		h = h<<16 ^ h>>16 ^ v
	}
	return h
}

// blockHash is ext4_xattr_rehash.
func blockHash(list []*xattr) uint32 {
	var h uint32
	for _, x := range list {
		if x.hash == 0 {
			return 0
		}
		h = h<<16 ^ h>>16 ^ x.hash
	}
	return h
}
