package squashfs

import (
	"fmt"
	"io"
	"time"

	"lagan/evidence"
	"lagan/internal/bin"
)

// inode is an on-disk inode, decoded.
type inode struct {
	ref    uint64
	kind   uint16
	typ    evidence.Type
	perm   uint16
	uid    uint16 // index into the table of ids
	gid    uint16
	mtime  uint32
	number uint32
	nlink  uint32
	size   uint64
	rdev   uint32
	xattr  uint32

	start    uint64 // of a file's data; of a directory, in the directory table
	offset   uint16 // of a directory, in that block
	fragment uint32
	tail     uint32 // offset in the fragment
	rest     *cursor
}

var types = map[uint16]evidence.Type{
	typeDir: evidence.TypeDir, typeReg: evidence.TypeFile, typeSymlink: evidence.TypeSymlink, typeBlock: evidence.TypeBlock,
	typeChar: evidence.TypeChar, typeFIFO: evidence.TypeFIFO, typeSocket: evidence.TypeSocket,
}

// baseType maps the l kinds to the others.
func baseType(kind uint16) evidence.Type {
	if kind >= typeLDir {
		kind -= typeLDir - typeDir
	}
	return types[kind]
}

// sizes of the inode kinds, the 16 bytes in common included.
var inodeSizes = map[uint16]int{
	typeDir: 32, typeLDir: 40, typeReg: 32, typeLReg: 56, typeSymlink: 24, typeLSymlink: 24, typeBlock: 24, typeLBlock: 28,
	typeChar: 24, typeLChar: 28, typeFIFO: 20, typeLFIFO: 24, typeSocket: 20, typeLSocket: 24,
}

// readInode reads an inode: squashfs_read_inode (inode.c).
func (f *FS) readInode(ino evidence.Ino) (inode, error) {
	in := inode{ref: uint64(ino), xattr: invalidXattr}
	if ino>>48 != 0 {
		return in, fmt.Errorf("inode at %#x: %w", uint64(ino), evidence.ErrCorrupt)
	}
	c, err := f.at(f.sb.inodeTable+uint64(ino)>>16, int(ino&0xffff))
	if err != nil {
		return in, fmt.Errorf("inode at %#x: %w", uint64(ino), err)
	}
	var raw [56]byte
	if err := c.read(raw[:2]); err != nil {
		return in, fmt.Errorf("inode at %#x: %w", uint64(ino), err)
	}
	in.kind = uint16(raw[0]) | uint16(raw[1])<<8
	size := inodeSizes[in.kind]
	if size == 0 {
		return in, fmt.Errorf("inode at %#x: kind %d: %w", uint64(ino), in.kind, evidence.ErrCorrupt)
	}
	if err := c.read(raw[2:size]); err != nil {
		return in, fmt.Errorf("inode at %#x: %w", uint64(ino), err)
	}
	in.typ, in.rest = baseType(in.kind), c
	in.decode(bin.LE(raw[2:size]))
	if in.size > 1<<62 {
		return in, fmt.Errorf("inode %d: %d bytes: %w", in.number, in.size, evidence.ErrCorrupt)
	}
	return in, nil
}

// decode reads the fields behind the kind: struct squashfs_*_inode.
func (in *inode) decode(c *bin.Cursor) {
	in.perm, in.uid, in.gid = c.U16()&0o7777, c.U16(), c.U16()
	in.mtime, in.number = c.U32(), c.U32()
	in.nlink = 1
	switch in.kind {
	case typeDir:
		in.start, in.nlink = uint64(c.U32()), c.U32()
		in.size, in.offset = uint64(c.U16()), c.U16()
	case typeLDir:
		in.nlink, in.size, in.start = c.U32(), uint64(c.U32()), uint64(c.U32())
		c.Skip(4 + 2) // parent, number of index entries
		in.offset, in.xattr = c.U16(), c.U32()
	case typeReg:
		in.start, in.fragment, in.tail, in.size = uint64(c.U32()), c.U32(), c.U32(), uint64(c.U32())
	case typeLReg:
		in.start, in.size = c.U64(), c.U64()
		c.Skip(8) // sparse
		in.nlink, in.fragment, in.tail, in.xattr = c.U32(), c.U32(), c.U32(), c.U32()
	case typeSymlink, typeLSymlink:
		in.nlink, in.size = c.U32(), uint64(c.U32())
	case typeBlock, typeChar, typeLBlock, typeLChar:
		in.nlink, in.rdev = c.U32(), c.U32()
		if in.kind >= typeLDir {
			in.xattr = c.U32()
		}
	default:
		in.nlink = c.U32()
		if in.kind >= typeLDir {
			in.xattr = c.U32()
		}
	}
}

// id returns a user's or group's number from the table of ids.
func (f *FS) id(i uint16) (uint32, error) {
	if i >= f.sb.ids {
		return 0, fmt.Errorf("id %d of %d: %w", i, f.sb.ids, evidence.ErrCorrupt)
	}
	var b [idSize]byte
	if err := f.entry(b[:], f.sb.idTable, uint64(i)); err != nil {
		return 0, fmt.Errorf("id %d: %w", i, err)
	}
	return bin.LE(b[:]).U32(), nil
}

// Stat implements evidence.FS. Mtime alone is known.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	in, err := f.readInode(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	info := evidence.Info{
		Inode: uint64(in.number), Type: in.typ, Perm: in.perm, Nlink: in.nlink, Size: int64(in.size), Mtime: time.Unix(int64(in.mtime), 0).UTC(),
	}
	if info.UID, err = f.id(in.uid); err != nil {
		return evidence.Info{}, fmt.Errorf("inode %d: %w", in.number, err)
	}
	if info.GID, err = f.id(in.gid); err != nil {
		return evidence.Info{}, fmt.Errorf("inode %d: %w", in.number, err)
	}
	if in.typ == evidence.TypeChar || in.typ == evidence.TypeBlock {
		// new_decode_dev (include/linux/kdev_t.h)
		info.Major = in.rdev >> 8 & 0xfff
		info.Minor = in.rdev&0xff | in.rdev>>12&0xfff00
	}
	return info, nil
}

// ReadLink implements evidence.FS.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	in, err := f.readInode(ino)
	if err != nil {
		return "", err
	}
	if in.typ != evidence.TypeSymlink {
		return "", fmt.Errorf("inode %d is a %s, not a symlink: %w", in.number, in.typ, evidence.ErrCorrupt)
	}
	b, err := in.target()
	return string(b), err
}

func (in *inode) target() ([]byte, error) {
	if in.size > maxLink {
		return nil, fmt.Errorf("inode %d: target of %d bytes: %w", in.number, in.size, evidence.ErrCorrupt)
	}
	b := make([]byte, in.size)
	if err := in.rest.read(b); err != nil {
		return nil, fmt.Errorf("inode %d: target: %w", in.number, err)
	}
	return b, nil
}

// Open implements evidence.FS.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	in, err := f.readInode(ino)
	if err != nil {
		return nil, err
	}
	if in.typ != evidence.TypeFile {
		return nil, fmt.Errorf("inode %d is a %s, not a file: %w", in.number, in.typ, evidence.ErrCorrupt)
	}
	return io.NewSectionReader(newFile(f, in), 0, int64(in.size)), nil
}
