package ext4

import (
	"bytes"
	"fmt"
	"time"

	"lagan/evidence"
)

// inode is a struct ext4_inode: what is needed to read its content, and the
// bytes for the rest.
type inode struct {
	ino        uint32
	mode       uint16
	links      uint16
	flags      uint32
	generation uint32
	dtime      uint32
	sectors    uint64 // i_blocks, in its own unit
	size       int64
	xattrBlock uint64 // i_file_acl
	extra      int    // i_extra_isize
	block      [iBlockSize]byte
	raw        []byte // all of it; must not be changed
}

func (in *inode) typ() evidence.Type { return evidence.TypeOfMode(in.mode) }

// inUse says whether anything was ever written of it.
func (in *inode) inUse() bool { return in.mode != 0 || in.links != 0 }

// inode reads one inode.
func (fs *FS) inode(ino uint32) (*inode, error) {
	raw, err := fs.rawInode(ino)
	if err != nil {
		return nil, err
	}
	in := new(inode)
	fs.decodeInode(in, ino, raw)
	return in, nil
}

// inodeAt returns where an inode lies on the volume.
func (fs *FS) inodeAt(ino uint32) (int64, error) {
	if ino == 0 || ino > fs.sb.inodes {
		return 0, fmt.Errorf("inode %d of %d: %w", ino, fs.sb.inodes, evidence.ErrCorrupt)
	}
	d, err := fs.group((ino - 1) / fs.sb.inodesPerGroup)
	if err != nil {
		return 0, fmt.Errorf("inode %d: %w", ino, err)
	}
	return fs.offset(d.inodeTable) + int64((ino-1)%fs.sb.inodesPerGroup)*int64(fs.sb.inodeSize), nil
}

func (fs *FS) rawInode(ino uint32) ([]byte, error) {
	at, err := fs.inodeAt(ino)
	if err != nil {
		return nil, err
	}
	raw, err := fs.bytes(at, fs.sb.inodeSize)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	return raw, nil
}

// decodeInode decodes raw, which is sb.inodeSize bytes long, as __ext4_iget in
// inode.c does, and warns of a bad checksum.
func (fs *FS) decodeInode(in *inode, ino uint32, raw []byte) {
	sb := fs.sb
	*in = inode{
		ino:        ino,
		mode:       le.Uint16(raw),
		links:      le.Uint16(raw[0x1a:]),
		flags:      le.Uint32(raw[0x20:]),
		generation: le.Uint32(raw[0x64:]),
		dtime:      le.Uint32(raw[0x14:]),
		sectors:    uint64(le.Uint32(raw[0x1c:])) | uint64(le.Uint16(raw[0x74:]))<<32,
		size:       int64(le.Uint32(raw[0x04:])),
		xattrBlock: uint64(le.Uint32(raw[0x68:])),
		raw:        raw,
	}
	copy(in.block[:], raw[0x28:])
	if sb.incompat&incompat64Bit != 0 {
		in.xattrBlock |= uint64(le.Uint16(raw[0x76:])) << 32
	}
	// i_size_high was i_dir_acl once (ext4_isize).
	if in.mode&0o170000 == 0o100000 || sb.incompat&incompatLargeDir != 0 {
		in.size |= int64(le.Uint32(raw[0x6c:])) << 32
	}
	if len(raw) > goodOldInodeSize {
		in.extra = int(le.Uint16(raw[0x80:]))
		if in.extra > len(raw)-goodOldInodeSize || in.extra&3 != 0 {
			if in.inUse() {
				fs.warn(object{inInode, uint64(ino)}, fmt.Errorf("inode %d: extra size %d of %d: %w", ino, in.extra, len(raw)-goodOldInodeSize, evidence.ErrCorrupt))
			}
			in.extra = 0
		}
	}
	if in.links != 0 {
		fs.checkFlags(in)
	}
	if sb.metadataCsum() && !sb.inodeSum(in.seed(sb), raw) && in.inUse() {
		fs.warn(object{inInode, uint64(ino)}, fmt.Errorf("inode %d: bad checksum: %w", ino, evidence.ErrCorrupt))
	}
}

// checkFlags warns of an inode whose content is not in the form that its flags
// say. What can be read of it is read.
func (fs *FS) checkFlags(in *inode) {
	var what string
	switch {
	case in.flags&flagInlineData != 0 && fs.sb.incompat&incompatInlineData == 0:
		what = "inline data in a filesystem without inline_data"
	case in.flags&(flagExtents|flagInlineData) == flagExtents && le.Uint16(in.block[:]) != extMagic:
		what = "extents without their header"
	case in.size < 0:
		what = "a negative size"
	default:
		return
	}
	fs.warn(object{inFlags, uint64(in.ino)}, fmt.Errorf("inode %d: %s: %w", in.ino, what, evidence.ErrCorrupt))
}

// blocks is how many logical blocks the inode's size covers.
func (in *inode) blocks(sb *super) uint64 {
	return (uint64(max(in.size, 0)) + uint64(sb.blockSize()) - 1) >> sb.blockBits
}

// seed starts the checksums of the inode and of its blocks.
func (in *inode) seed(sb *super) uint32 { return sb.inodeSeed(in.ino, in.generation) }

// info is what stat(2) says of the inode.
func (fs *FS) info(in *inode) (info evidence.Info) {
	fs.fill(&info, in)
	return info
}

// fill is info, into what is empty.
func (fs *FS) fill(info *evidence.Info, in *inode) {
	raw := in.raw
	info.Inode = uint64(in.ino)
	info.Type = in.typ()
	info.Perm = in.mode & 0o7777
	info.UID = uint32(le.Uint16(raw[0x02:])) | uint32(le.Uint16(raw[0x78:]))<<16
	info.GID = uint32(le.Uint16(raw[0x18:])) | uint32(le.Uint16(raw[0x7a:]))<<16
	info.Nlink = uint32(in.links)
	info.Size = in.size
	info.Ctime = in.time(0x0c, 0x84)
	info.Mtime = in.time(0x10, 0x88)
	info.Atime = in.time(0x08, 0x8c)
	if in.covers(0x90) { // i_crtime
		info.Btime = in.time(0x90, 0x94)
	}
	if info.Type == evidence.TypeSymlink && in.flags&flagEncrypt != 0 {
		info.Size = nokeySize(in.size - 2) // of what is shown (fscrypt_symlink_getattr)
	}
	if info.Type == evidence.TypeChar || info.Type == evidence.TypeBlock {
		info.Major, info.Minor = in.device()
	}
}

// covers says whether i_extra_isize reaches over the 32 bits at an offset (EXT4_FITS_IN_INODE).
func (in *inode) covers(at int) bool { return at+4 <= goodOldInodeSize+in.extra }

// time decodes seconds, whose sign is kept, and beside them two more bits of
// seconds and the nanoseconds (ext4_decode_extra_time): 1901 to 2446.
func (in *inode) time(lo, extra int) time.Time {
	sec := int64(int32(le.Uint32(in.raw[lo:])))
	var ns int64
	if in.covers(extra) {
		x := le.Uint32(in.raw[extra:])
		sec += int64(x&3) << 32
		ns = int64(x >> 2)
	}
	return time.Unix(sec, ns).UTC()
}

// device decodes the old 16-bit form or, where that is 0, the new one
// (old_decode_dev and new_decode_dev in include/linux/kdev_t.h).
func (in *inode) device() (major, minor uint32) {
	if old := le.Uint32(in.block[0:]); old != 0 {
		return old >> 8 & 0xff, old & 0xff
	}
	v := le.Uint32(in.block[4:])
	return v >> 8 & 0xfff, v&0xff | v>>12&0xfff00
}

// Stat returns what is known of an inode. Deleted inodes that left something
// can be read too: their Nlink is 0.
func (fs *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	in, err := fs.get(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	if !in.inUse() {
		return evidence.Info{}, fmt.Errorf("inode %d is not in use: %w", ino, evidence.ErrCorrupt)
	}
	info := fs.info(in)
	if fs.raw != nil {
		info.FromJournal = fs.replayed(in)
	}
	return info, nil
}

// get reads an inode by its handle.
func (fs *FS) get(ino evidence.Ino) (*inode, error) {
	if ino > 1<<32-1 {
		return nil, fmt.Errorf("inode %d of %d: %w", ino, fs.sb.inodes, evidence.ErrCorrupt)
	}
	return fs.inode(uint32(ino))
}

// replayed says whether the volume itself holds another state of the inode.
func (fs *FS) replayed(in *inode) bool {
	at, err := fs.inodeAt(in.ino)
	if err != nil || !fs.overlaid(at, int64(len(in.raw))) {
		return false
	}
	b := make([]byte, len(in.raw))
	return readFull(fs.raw, b, at) != nil || !bytes.Equal(b, in.raw)
}

// overlaid says whether the replay may have changed n bytes at off.
func (fs *FS) overlaid(off, n int64) bool {
	if o, ok := fs.dev.(interface{ Overlaid(off, n int64) bool }); ok {
		return o.Overlaid(off, n)
	}
	return true
}
