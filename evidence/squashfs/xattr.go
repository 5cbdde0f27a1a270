package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"lagan/evidence"
)

// Xattrs implements evidence.FS: squashfs_listxattr and squashfs_xattr_get (xattr.c).
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	in, err := f.readInode(ino)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	if in.kind == typeLSymlink {
		// The index follows the target.
		var b [4]byte
		if _, err := in.target(); err != nil {
			return nil, err
		}
		if err := in.rest.read(b[:]); err != nil {
			return nil, fmt.Errorf("inode %d: %w", in.number, err)
		}
		in.xattr = binary.LittleEndian.Uint32(b[:])
	}
	if in.xattr == invalidXattr || f.sb.xattrTable == invalidBlock {
		return out, nil
	}
	if err := f.readXattrs(in.xattr, out); err != nil {
		return out, fmt.Errorf("inode %d: extended attributes %d: %w", in.number, in.xattr, err)
	}
	return out, nil
}

func (f *FS) readXattrs(id uint32, out map[string][]byte) error {
	if id >= f.xattrIDs {
		return fmt.Errorf("of %d: %w", f.xattrIDs, evidence.ErrCorrupt)
	}
	var e [xattrIDSize]byte
	if err := f.entry(e[:], f.sb.xattrTable+16, uint64(id)); err != nil {
		return err
	}
	count := binary.LittleEndian.Uint32(e[8:])
	if count > maxXattrs {
		return fmt.Errorf("%d of one inode: %w", count, evidence.ErrCorrupt)
	}
	c, err := f.xattrAt(binary.LittleEndian.Uint64(e[:]))
	if err != nil {
		return err
	}
	var failed error
	for range count {
		name, value, err := f.xattr(c)
		if name == "" {
			return errors.Join(failed, err)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%q: %w", name, err))
			continue
		}
		out[name] = value
	}
	return failed
}

func (f *FS) xattrAt(ref uint64) (*cursor, error) {
	return f.at(f.xattrTable+ref>>16, int(ref&0xffff))
}

// xattr reads one attribute. With an error and a name, what follows can be read.
func (f *FS) xattr(c *cursor) (name string, value []byte, err error) {
	var head [4]byte
	if err := c.read(head[:]); err != nil {
		return "", nil, err
	}
	kind, size := binary.LittleEndian.Uint16(head[:]), binary.LittleEndian.Uint16(head[2:])
	b := make([]byte, size)
	if err := c.read(b); err != nil {
		return "", nil, err
	}
	value, err = readValue(c)
	if err != nil {
		return "", nil, err
	}
	if int(kind&xattrPrefixMask) >= len(xattrPrefixes) {
		return fmt.Sprintf("%d:%s", kind, b), nil, fmt.Errorf("name of kind %d: %w", kind, evidence.ErrUnsupported)
	}
	name = xattrPrefixes[kind&xattrPrefixMask] + string(b)
	if kind&xattrElsewhere == 0 {
		return name, value, nil
	}
	// The value is the place of one that several inodes share.
	if len(value) != 8 {
		return name, nil, fmt.Errorf("a place of %d bytes: %w", len(value), evidence.ErrCorrupt)
	}
	at, err := f.xattrAt(binary.LittleEndian.Uint64(value))
	if err != nil {
		return name, nil, err
	}
	value, err = readValue(at)
	return name, value, err
}

func readValue(c *cursor) ([]byte, error) {
	var head [4]byte
	if err := c.read(head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxXattrValue {
		return nil, fmt.Errorf("value of %d bytes: %w", size, evidence.ErrCorrupt)
	}
	b := make([]byte, size)
	return b, c.read(b)
}
