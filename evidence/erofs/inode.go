package erofs

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"lagan/evidence"
	"lagan/internal/bin"
)

// inode is an on-disk inode, decoded.
type inode struct {
	nid       uint64
	layout    uint8
	mode      uint16
	size      uint64
	uid, gid  uint32
	nlink     uint32
	mtime     int64
	mtimeNsec uint32
	union     uint32 // i_u: first block, blocks, device or chunk format
	high      uint16 // i_nb: the address's or count's upper bits
	xattrs    uint64 // where the inline attributes begin, in meta
	xattrSize uint64
	data      uint64 // behind them: inline data or the block index
	meta      io.ReaderAt
}

// readInode reads an inode: erofs_read_inode (inode.c).
func (f *FS) readInode(nid uint64) (inode, error) {
	in := inode{nid: nid, meta: f.meta}
	pos := nid << slotBits
	if nid&metaboxBit != 0 && f.box != nil {
		in.meta = f.box
	} else {
		if nid >= 1<<(64-slotBits) {
			return in, fmt.Errorf("inode %d: outside of the image: %w", nid, evidence.ErrCorrupt)
		}
		pos += uint64(f.sb.metaBlock) << f.sb.blockBits
	}
	raw := make([]byte, fullSize)
	if err := f.readMeta(in.meta, raw[:compactSize], pos); err != nil {
		return in, fmt.Errorf("inode %d: %w", nid, err)
	}
	format := binary.LittleEndian.Uint16(raw)
	if format&^formatSupported != 0 || format>>layoutShift&layoutMask >= layoutUnsupported {
		return in, fmt.Errorf("inode %d at %#x: format %#x: %w", nid, pos, format, evidence.ErrUnsupported)
	}
	in.layout = uint8(format >> layoutShift & layoutMask)
	size := uint64(compactSize)
	if format&formatExtended != 0 {
		size = fullSize
		if err := f.readMeta(in.meta, raw, pos); err != nil {
			return in, fmt.Errorf("inode %d: %w", nid, err)
		}
	}
	c := bin.LE(raw)
	c.Skip(2)
	icount := c.U16()
	in.mode = c.U16()
	in.decode(c, format, f.sb)
	if icount > 0 {
		in.xattrSize = xattrHeaderSize + 4*uint64(icount-1)
	}
	in.xattrs = pos + size
	in.data = in.xattrs + in.xattrSize
	if in.size > 1<<62 {
		return in, fmt.Errorf("inode %d at %#x: %d bytes: %w", nid, pos, in.size, evidence.ErrCorrupt)
	}
	return in, nil
}

// decode reads what follows i_mode.
func (in *inode) decode(c *bin.Cursor, format uint16, sb super) {
	nb := c.U16()
	if format&formatExtended != 0 {
		in.high = nb
		in.size, in.union = c.U64(), c.U32()
		c.Skip(4) // i_ino
		in.uid, in.gid = c.U32(), c.U32()
		in.mtime, in.mtimeNsec = int64(c.U64()), c.U32()
		in.nlink = c.U32()
		return
	}
	if format&formatNlink1 != 0 && in.typ() != evidence.TypeDir {
		in.nlink, in.high = 1, nb
	} else {
		in.nlink = uint32(nb)
	}
	in.size = uint64(c.U32())
	in.mtime, in.mtimeNsec = int64(sb.epoch)+int64(c.U32()), sb.fixedNsec
	in.union = c.U32()
	c.Skip(4)
	in.uid, in.gid = uint32(c.U16()), uint32(c.U16())
}

func (in *inode) typ() evidence.Type { return evidence.TypeOfMode(in.mode) }

// readMeta reads from where an inode's metadata is; the image itself is read
// within its bounds.
func (f *FS) readMeta(meta io.ReaderAt, b []byte, pos uint64) error {
	if pos > 1<<62 {
		return fmt.Errorf("%d bytes at %#x, outside of the image: %w", len(b), pos, evidence.ErrCorrupt)
	}
	return readFull(meta, b, int64(pos))
}

// Stat implements evidence.FS. Mtime alone is known.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	in, err := f.readInode(uint64(ino))
	if err != nil {
		return evidence.Info{}, err
	}
	info := evidence.Info{
		Inode: f.number(in.nid), Type: in.typ(), Perm: in.mode & 0o7777, UID: in.uid, GID: in.gid, Nlink: in.nlink, Size: int64(in.size),
	}
	if in.mtimeNsec < 1e9 {
		info.Mtime = time.Unix(in.mtime, int64(in.mtimeNsec)).UTC()
	}
	if info.Type == evidence.TypeChar || info.Type == evidence.TypeBlock {
		// new_decode_dev (include/linux/kdev_t.h)
		info.Major = in.union >> 8 & 0xfff
		info.Minor = in.union&0xff | in.union>>12&0xfff00
	}
	return info, nil
}

// number returns st_ino: the inode number, but that the bit of the metabox
// moves to bit 31 where there is one (erofs_nid_to_ino64, internal.h).
func (f *FS) number(nid uint64) uint64 {
	if f.sb.incompat&incompatMetabox == 0 {
		return nid
	}
	return nid<<1&^(1<<32-1) | nid&(1<<31-1) | nid>>63<<31
}

// maxTarget is PATH_MAX, which bounds symbolic links.
const maxTarget = 4096

// ReadLink implements evidence.FS.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	in, err := f.readInode(uint64(ino))
	if err != nil {
		return "", err
	}
	if in.typ() != evidence.TypeSymlink {
		return "", fmt.Errorf("inode %d is a %s, not a symlink: %w", ino, in.typ(), evidence.ErrCorrupt)
	}
	if in.size > maxTarget {
		return "", fmt.Errorf("inode %d: target of %d bytes: %w", ino, in.size, evidence.ErrCorrupt)
	}
	r, err := f.open(in, fileCache)
	if err != nil {
		return "", err
	}
	b := make([]byte, in.size)
	if err := readFull(r, b, 0); err != nil {
		return "", fmt.Errorf("inode %d: %w", ino, err)
	}
	return string(b), nil
}

// Open implements evidence.FS.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	in, err := f.readInode(uint64(ino))
	if err != nil {
		return nil, err
	}
	if in.typ() != evidence.TypeFile {
		return nil, fmt.Errorf("inode %d is a %s, not a file: %w", ino, in.typ(), evidence.ErrCorrupt)
	}
	r, err := f.open(in, fileCache)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(r, 0, int64(in.size)), nil
}

func (f *FS) openNid(nid uint64, cache int) (io.ReaderAt, error) {
	in, err := f.readInode(nid)
	if err != nil {
		return nil, err
	}
	r, err := f.open(in, cache)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(r, 0, int64(in.size)), nil
}

// open returns the content of an inode.
func (f *FS) open(in inode, cache int) (io.ReaderAt, error) {
	switch in.layout {
	case layoutFull, layoutCompact:
		return f.openCompressed(in, cache)
	case layoutChunks:
		return f.openChunks(in)
	}
	return flatFile{f, in}, nil
}
