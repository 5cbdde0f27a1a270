package xfs

import (
	"fmt"
	"time"

	"lagan/evidence"
)

// dinode is a decoded inode core and its literal area, which holds both forks.
type dinode struct {
	ino          uint64
	raw          []byte // the whole inode, never changed
	mode         uint16
	version      uint8
	format       uint8
	aformat      uint8
	forkoff      int // of the attribute fork in the literal area, 0 = there is none
	flags        uint16
	flags2       uint64
	size         uint64
	nextents     uint64
	anextents    uint64
	nextUnlinked uint32
}

// inodeOffset returns where the inode lies on the device. The number is made of
// the group's number, the block's in the group and the inode's in the block
// (XFS_INO_TO_AGNO and its like), and inodes fill their blocks without a gap.
func (f *FS) inodeOffset(ino uint64) (int64, error) {
	aginoLog := f.sb.agblkLog + f.sb.inopbLog
	agno := ino >> aginoLog
	agino := ino & (1<<aginoLog - 1)
	if ino > maxInode || agno >= uint64(f.sb.agCount) || agino>>f.sb.inopbLog >= uint64(f.sb.agLength(uint32(agno))) {
		return 0, fmt.Errorf("inode %d is outside the filesystem: %w", ino, evidence.ErrCorrupt)
	}
	return f.agOffset(uint32(agno)) + int64(agino)<<f.sb.inodeLog, nil
}

// inode reads an allocated inode.
func (f *FS) inode(ino uint64) (dinode, error) {
	off, err := f.inodeOffset(ino)
	if err != nil {
		return dinode{}, err
	}
	raw, err := f.cache.read(off, int(f.sb.inodeSize))
	if err != nil {
		return dinode{}, fmt.Errorf("inode %d: %w", ino, err)
	}
	d, err := f.decodeInode(ino, off, raw)
	if err != nil {
		return dinode{}, err
	}
	if d.mode == 0 {
		return dinode{}, fmt.Errorf("inode %d is not allocated: %w", ino, evidence.ErrCorrupt)
	}
	return d, nil
}

// decodeInode decodes the core of an inode, allocated or free (xfs_dinode_verify, xfs_inode_buf.c).
func (f *FS) decodeInode(ino uint64, off int64, raw []byte) (dinode, error) {
	if be.Uint16(raw) != magicInode {
		return dinode{}, fmt.Errorf("inode %d at offset %#x: bad magic number: %w", ino, off, evidence.ErrCorrupt)
	}
	d := dinode{
		ino:          ino,
		raw:          raw,
		mode:         be.Uint16(raw[diMode:]),
		version:      raw[diVersion],
		format:       raw[diFormat],
		aformat:      raw[diAformat],
		forkoff:      int(raw[diForkoff]) << 3,
		flags:        be.Uint16(raw[diFlags:]),
		size:         be.Uint64(raw[diSize:]),
		nextents:     uint64(be.Uint32(raw[diNextents:])),
		anextents:    uint64(be.Uint16(raw[diAnextents:])),
		nextUnlinked: be.Uint32(raw[diNextUnlinked:]),
	}
	if f.sb.v5() != (d.version == 3) || d.version == 0 || d.version > 3 {
		return dinode{}, fmt.Errorf("inode %d at offset %#x: inode version %d: %w", ino, off, d.version, evidence.ErrCorrupt)
	}
	if d.version == 3 {
		if err := f.verifyInode(ino, off, raw); err != nil {
			return dinode{}, err
		}
		d.flags2 = be.Uint64(raw[diFlags2:])
		if d.flags2&flag2Nrext64 != 0 {
			d.nextents = be.Uint64(raw[diBigNextents:])
			d.anextents = uint64(be.Uint32(raw[diBigAnextents:]))
		}
	}
	if d.forkoff >= len(raw)-d.literal() {
		f.warnOnce("forkoff", ino, fmt.Errorf("inode %d: attribute fork at %#x is outside the inode: %w", ino, d.forkoff, evidence.ErrCorrupt))
		d.forkoff = 0
	}
	return d, nil
}

// verifyInode is verify for inodes.
func (f *FS) verifyInode(ino uint64, off int64, raw []byte) error {
	if !checksumOK(raw, diCRC) {
		f.warnOnce("inode", ino, fmt.Errorf("inode %d at offset %#x: bad checksum: %w", ino, off, evidence.ErrCorrupt))
		return nil
	}
	if got := be.Uint64(raw[diIno:]); got != ino {
		return fmt.Errorf("inode %d at offset %#x calls itself %d: %w", ino, off, got, evidence.ErrCorrupt)
	}
	if [16]byte(raw[diUUID:]) != f.sb.metaUUID {
		return fmt.Errorf("inode %d at offset %#x is of another filesystem: %w", ino, off, evidence.ErrCorrupt)
	}
	return nil
}

// literal is the offset of the literal area.
func (d *dinode) literal() int {
	if d.version == 3 {
		return dinodeV3Size
	}
	return dinodeV2Size
}

// dataFork returns the bytes of the data fork.
func (d *dinode) dataFork() []byte {
	b := d.raw[d.literal():]
	if d.forkoff != 0 {
		return b[:d.forkoff]
	}
	return b
}

// attrFork returns the bytes of the attribute fork; nil where there is none.
func (d *dinode) attrFork() []byte {
	if d.forkoff == 0 {
		return nil
	}
	return d.raw[d.literal()+d.forkoff:]
}

func (d *dinode) typ() evidence.Type { return evidence.TypeOfMode(d.mode) }

// nlink returns the number of names. Version 1 inodes count in 16 bits (xfs_inode_from_disk).
func (d *dinode) nlink() uint32 {
	if d.version == 1 {
		return uint32(be.Uint16(d.raw[diOnlink:]))
	}
	return be.Uint32(d.raw[diNlink:])
}

func (d *dinode) time(off int) time.Time {
	return decodeTime(d.raw[off:], d.flags2&flag2Bigtime != 0)
}

// info says of the inode what stat would.
func (f *FS) info(d *dinode) evidence.Info {
	i := evidence.Info{
		Inode: d.ino,
		Type:  d.typ(),
		Perm:  d.mode & 0o7777,
		UID:   be.Uint32(d.raw[diUID:]),
		GID:   be.Uint32(d.raw[diGID:]),
		Nlink: d.nlink(),
		Size:  int64(d.size),
		Mtime: d.time(diMtime),
		Atime: d.time(diAtime),
		Ctime: d.time(diCtime),
	}
	if i.Size < 0 {
		f.warnOnce("size", d.ino, fmt.Errorf("inode %d: size %#x: %w", d.ino, d.size, evidence.ErrCorrupt))
		i.Size = 0
	}
	if d.version == 3 {
		i.Btime = d.time(diCrtime)
	}
	if i.Type == evidence.TypeChar || i.Type == evidence.TypeBlock {
		i.Size = 0
		i.Major, i.Minor = d.device()
	}
	return i
}

// device decodes the 32-bit device number at the start of the data fork, 14
// bits of major and 18 of minor (sysv_major and sysv_minor, include/linux/kdev_t.h).
func (d *dinode) device() (major, minor uint32) {
	b := d.raw[d.literal():]
	if len(b) < 4 {
		return 0, 0
	}
	dev := be.Uint32(b)
	return dev >> 18 & 0x3fff, dev & 0x3ffff
}

// Stat says of an allocated inode what stat(2) and statx(2) would.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	d, err := f.inode(uint64(ino))
	if err != nil {
		return evidence.Info{}, err
	}
	i := f.info(&d)
	i.FromJournal = f.changed(&d)
	return i, nil
}

// changed tells whether the inode differs from what the disk holds.
func (f *FS) changed(d *dinode) bool {
	if f.log == nil {
		return false
	}
	off, err := f.inodeOffset(d.ino)
	return err == nil && f.log.Changed(off, int64(len(d.raw)))
}

// guessRoot returns the first inode of the first group, which is what mkfs
// makes the root, for superblocks that don't say.
func (f *FS) guessRoot() uint64 {
	chunks, _ := f.chunks(0)
	if len(chunks) == 0 {
		return nullIno
	}
	return uint64(chunks[0].start)
}
