package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"lagan/evidence"
)

// longPrefix is struct erofs_xattr_long_prefix.
type longPrefix struct {
	base  uint8
	infix string
}

// readPrefixes reads the long name prefixes (erofs_xattr_prefixes_init). What
// can't be read of them makes attributes that use them errors.
func (f *FS) readPrefixes() {
	if f.sb.incompat&incompatXattrPrefixes == 0 {
		return
	}
	meta := f.meta
	if f.sb.compat&compatPlainXattrPrefix == 0 {
		if f.box != nil {
			meta = f.box
		} else if f.packed != nil {
			meta = f.packed
		}
	}
	pos := uint64(f.sb.prefixStart) << 2
	for range f.sb.prefixCount {
		b, err := f.readSized(meta, &pos, maxNameLen+1)
		if err == nil && len(b) == 0 {
			err = evidence.ErrCorrupt
		}
		if err != nil {
			f.o.Warning(fmt.Errorf("extended attribute prefixes at %#x: %w", pos, err))
			return
		}
		f.prefixes = append(f.prefixes, longPrefix{b[0], string(b[1:])})
	}
}

// readSized reads bytes with their length before them, aligned to 4
// (erofs_read_metadata, super.c), and moves pos behind them.
func (f *FS) readSized(meta io.ReaderAt, pos *uint64, most int) ([]byte, error) {
	*pos = alignUp(*pos, 4)
	var length [2]byte
	if err := f.readMeta(meta, length[:], *pos); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint16(length[:]))
	if n > most {
		return nil, fmt.Errorf("%d bytes: %w", n, evidence.ErrCorrupt)
	}
	b := make([]byte, n)
	err := f.readMeta(meta, b, *pos+2)
	*pos += 2 + uint64(n)
	return b, err
}

// Xattrs implements evidence.FS.
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	in, err := f.readInode(uint64(ino))
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	if in.xattrSize == 0 {
		return out, nil
	}
	b := make([]byte, in.xattrSize) // at most 256 KiB: i_xattr_icount has 16 bits
	if err := f.readMeta(in.meta, b, in.xattrs); err != nil {
		return nil, fmt.Errorf("inode %d: extended attributes: %w", ino, err)
	}
	shared := int(b[4])
	inline := xattrHeaderSize + 4*shared
	if inline > len(b) {
		return nil, fmt.Errorf("inode %d: %d shared extended attributes in %d bytes: %w", ino, shared, len(b), evidence.ErrCorrupt)
	}
	var failed error
	for i := range shared {
		id := binary.LittleEndian.Uint32(b[xattrHeaderSize+4*i:])
		if err := f.sharedXattr(id, out); err != nil {
			failed = errors.Join(failed, fmt.Errorf("inode %d: shared extended attribute %d: %w", ino, id, err))
		}
	}
	for rest := b[inline:]; len(rest) >= xattrEntrySize; {
		n, err := f.xattr(rest, out)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("inode %d: extended attribute at %#x: %w", ino, in.xattrs+uint64(len(b)-len(rest)), err))
		}
		if n == 0 {
			break
		}
		rest = rest[min(n, len(rest)):]
	}
	return out, failed
}

// sharedXattr reads one of the attributes that several inodes share.
func (f *FS) sharedXattr(id uint32, out map[string][]byte) error {
	meta := f.meta
	if f.sb.compat&compatSharedInMetabox != 0 && f.box != nil {
		meta = f.box
	}
	pos := uint64(f.sb.xattrBlock)<<f.sb.blockBits + 4*uint64(id)
	var head [xattrEntrySize]byte
	if err := f.readMeta(meta, head[:], pos); err != nil {
		return err
	}
	b := make([]byte, xattrEntrySize+int(head[0])+int(binary.LittleEndian.Uint16(head[2:])))
	if err := f.readMeta(meta, b, pos); err != nil {
		return err
	}
	_, err := f.xattr(b, out)
	return err
}

// xattr decodes struct erofs_xattr_entry and returns its length, 0 where
// nothing can follow it. All zeros is the padding behind the last.
func (f *FS) xattr(b []byte, out map[string][]byte) (int, error) {
	nameLen, index, valueLen := int(b[0]), b[1], int(binary.LittleEndian.Uint16(b[2:]))
	if nameLen == 0 && index == 0 && valueLen == 0 {
		return 0, nil
	}
	end := xattrEntrySize + nameLen + valueLen
	if end > len(b) {
		return 0, fmt.Errorf("%d bytes of %d: %w", end, len(b), evidence.ErrCorrupt)
	}
	prefix, infix := index, ""
	if index&xattrLongPrefix != 0 {
		i := int(index &^ xattrLongPrefix)
		if i >= len(f.prefixes) {
			return int(alignUp(uint64(end), 4)), fmt.Errorf("name prefix %d of %d: %w", i, len(f.prefixes), evidence.ErrCorrupt)
		}
		prefix, infix = f.prefixes[i].base, f.prefixes[i].infix
	}
	name, ok := xattrPrefixes[prefix]
	if !ok {
		return int(alignUp(uint64(end), 4)), fmt.Errorf("name index %d: %w", prefix, evidence.ErrUnsupported)
	}
	name += infix + string(b[xattrEntrySize:xattrEntrySize+nameLen])
	if _, twice := out[name]; !twice { // the kernel finds the first
		out[name] = append([]byte{}, b[xattrEntrySize+nameLen:end]...)
	}
	return int(alignUp(uint64(end), 4)), nil
}
