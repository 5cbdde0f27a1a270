package ext4

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"lagan/evidence"
)

// Inode is what is written of an inode beside its content.
type Inode struct {
	evidence.Info        // Type, Perm, owner, device, times; a zero time is written as 1970
	Links         uint32 // names that lead to it; Dir counts its own
	Target        string // of a symbolic link
	Xattrs        map[string][]byte
}

var modes = map[evidence.Type]uint16{
	evidence.TypeFile: modeFile, evidence.TypeDir: modeDir, evidence.TypeSymlink: modeLink, evidence.TypeChar: modeChar,
	evidence.TypeBlock: modeBlock, evidence.TypeFIFO: modeFIFO, evidence.TypeSocket: modeSocket,
}

// Check says whether ext4 has a place for an inode of this kind.
func (i *Inode) Check() error {
	switch i.Type {
	case evidence.TypeUnknown:
		return fmt.Errorf("inode of no known type: %w", ErrNoPlace)
	case evidence.TypeSymlink:
		if n := len(i.Target); n == 0 || n > maxTarget {
			return fmt.Errorf("link target of %d bytes: %w", n, ErrNoPlace)
		}
	case evidence.TypeChar, evidence.TypeBlock:
		if i.Major >= 1<<12 || i.Minor >= 1<<20 {
			return fmt.Errorf("device %d:%d: %w", i.Major, i.Minor, ErrNoPlace)
		}
	case evidence.TypeFile:
		if i.Size < 0 || i.Size > maxFile {
			return fmt.Errorf("%d bytes: %w", i.Size, ErrNoPlace)
		}
	}
	return nil
}

// fileBuffer is how much of a file is read at once.
const fileBuffer = 1 << 20

var zeroBlock [blockSize]byte

// File writes a regular file with what comes from r. Blocks of zeros become holes.
func (w *Writer) File(number uint32, i Inode, r io.Reader, buf *[]byte) error {
	if *buf == nil {
		*buf = make([]byte, fileBuffer)
	}
	var mapped extents
	var size int64
	for {
		n, err := io.ReadFull(r, *buf)
		if n > 0 {
			if writeErr := w.data((*buf)[:n], size/blockSize, &mapped); writeErr != nil {
				return writeErr
			}
			size += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	i.Type = evidence.TypeFile
	return w.inode(number, i, size, mapped, flagExtents)
}

// data writes a piece of a file, runs of neighbouring blocks at once.
func (w *Writer) data(b []byte, logical int64, mapped *extents) error {
	run, at := []byte(nil), int64(0) // what waits to be written
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		err := w.write(run, at)
		run = nil
		return err
	}
	for off := 0; off < len(b); off, logical = off+blockSize, logical+1 {
		piece := b[off:min(len(b), off+blockSize)]
		if bytes.Equal(piece, zeroBlock[:len(piece)]) {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		block, err := w.alloc()
		if err != nil {
			return err
		}
		mapped.add(logical, block)
		if run != nil && at+int64(len(run))/blockSize == block {
			run = run[:len(run)+len(piece)]
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		run, at = piece, block
	}
	return flush()
}

// Other writes an inode that is neither a directory nor a regular file.
func (w *Writer) Other(number uint32, i Inode) error {
	if err := i.Check(); err != nil {
		return err
	}
	if i.Type == evidence.TypeSymlink && len(i.Target) >= inlineBlock {
		at, err := w.alloc()
		if err != nil {
			return err
		}
		b := make([]byte, blockSize)
		copy(b, i.Target)
		if err := w.write(b, at); err != nil {
			return err
		}
		return w.inode(number, i, int64(len(i.Target)), extents{{0, 1, at}}, flagExtents)
	}
	return w.inode(number, i, int64(len(i.Target)), nil, 0)
}

// inode writes the inode itself.
func (w *Writer) inode(number uint32, i Inode, size int64, mapped extents, flags uint32) error {
	le := binary.LittleEndian
	b := make([]byte, inodeSize)
	var used int64
	for _, e := range mapped {
		used += int64(e.length)
	}
	acl, more, err := w.xattrs(i.Xattrs, b[128+extraSize:])
	if err != nil {
		return err
	}
	used += more
	le.PutUint16(b[0:], modes[i.Type]|i.Perm&0o7777)
	le.PutUint16(b[2:], uint16(i.UID))
	le.PutUint32(b[4:], uint32(size))
	le.PutUint16(b[24:], uint16(i.GID))
	le.PutUint16(b[26:], uint16(i.Links))
	le.PutUint32(b[32:], flags)
	if flags&flagExtents != 0 {
		root, blocks, err := w.tree(mapped)
		if err != nil {
			return err
		}
		copy(b[40:], root[:])
		used += blocks
	} else {
		putInline(b[40:100], &i)
	}
	le.PutUint32(b[28:], uint32(used*sectorsPerBlock))
	le.PutUint16(b[116:], uint16(used*sectorsPerBlock>>32))
	le.PutUint32(b[104:], uint32(acl))
	le.PutUint16(b[118:], uint16(acl>>32))
	le.PutUint32(b[108:], uint32(size>>32))
	le.PutUint16(b[120:], uint16(i.UID>>16))
	le.PutUint16(b[122:], uint16(i.GID>>16))
	le.PutUint16(b[128:], extraSize)
	putTime(b[12:], b[132:], i.Ctime)
	putTime(b[16:], b[136:], i.Mtime)
	putTime(b[8:], b[140:], i.Atime)
	putTime(b[144:], b[148:], i.Btime)
	return w.putInode(number, b, i.Type == evidence.TypeDir)
}

// putInline writes what stands in i_block in place of extents: a short target, or
// a device's number in one of two forms (include/linux/kdev_t.h).
func putInline(b []byte, i *Inode) {
	le := binary.LittleEndian
	switch i.Type {
	case evidence.TypeSymlink:
		copy(b, i.Target)
	case evidence.TypeChar, evidence.TypeBlock:
		if i.Major < 256 && i.Minor < 256 {
			le.PutUint32(b[0:], i.Major<<8|i.Minor)
		} else {
			le.PutUint32(b[4:], i.Minor&0xff|i.Major<<8|i.Minor&^0xff<<12)
		}
	}
}

// putTime writes a time: the low 32 bits of the seconds, and in extra two more
// with the nanoseconds (ext4_encode_extra_time). One that ext4 can't hold is the
// nearest that it can: TimeFits says so.
func putTime(b, extra []byte, t time.Time) {
	if t.IsZero() {
		return
	}
	sec := min(max(t.Unix(), minTime), maxTime)
	binary.LittleEndian.PutUint32(b, uint32(sec))
	binary.LittleEndian.PutUint32(extra, uint32(t.Nanosecond())<<2|uint32((sec-int64(int32(sec)))>>32)&3)
}

// TimeFits says whether ext4 holds a time as it is.
func TimeFits(t time.Time) bool {
	return t.IsZero() || t.Unix() >= minTime && t.Unix() <= maxTime
}
