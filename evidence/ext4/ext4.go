// Package ext4 reads ext2, ext3 and ext4 filesystems: every feature that Linux
// and e2fsprogs write, all times, owners, devices, links and attributes of
// each inode, contents through extents, block maps and inline data, and what
// is left of deleted inodes.
//
// It follows the kernel's fs/ext4 and Documentation/filesystems/ext4. Where
// the kernel refuses to go on, it reads what can be read: a bad checksum is a
// warning (evidence.Options.Warn) beside the content, a damaged directory
// block loses itself only.
//
// Input is hostile: no panic, no allocation sized by the evidence, no endless
// loop; every tree is bounded in depth, every list by what was seen before.
// Not read are the content and the clear names of encrypted files, for which
// the evidence has no key, and compressed (e2compr) files.
package ext4

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"lagan/evidence"
	"lagan/internal/bin"
)

// FS is one filesystem. It is an evidence.FS, Lookuper, Describer, Scanner,
// Deleter and Recoverer, and may be used by several goroutines.
type FS struct {
	// dev is what is read: the volume, or an overlay that replays the journal over it.
	dev  io.ReaderAt
	size int64
	// raw is the volume itself where dev replays a journal over it, else nil.
	raw  io.ReaderAt
	sb   *super
	opts evidence.Options

	journal evidence.Journal
	devices []int // of opts.Devices, what has the journal
	cache   cache // of inode tables and group descriptors
	blocks  cache // of single blocks

	mu     sync.Mutex
	warned map[object]struct{}
	// dirs are the directories that the last Inodes met, for Entries.
	dirs map[uint32]*inode
}

var (
	_ evidence.FS        = (*FS)(nil)
	_ evidence.Lookuper  = (*FS)(nil)
	_ evidence.Describer = (*FS)(nil)
	_ evidence.Scanner   = (*FS)(nil)
	_ evidence.Deleter   = (*FS)(nil)
	_ evidence.Recoverer = (*FS)(nil)
)

// Open reads the superblock of the volume r of size bytes. It returns
// evidence.ErrFormat where there is no ext2, ext3 or ext4,
// evidence.ErrUnsupported for a feature that it doesn't know.
func Open(r io.ReaderAt, size int64, o evidence.Options) (*FS, error) {
	fs, err := open(r, size, o)
	if err != nil {
		return nil, err
	}
	fs = fs.recovered()
	fs.doubts()
	if fs.journal.State == evidence.JournalExternal && fs.sb.incompat&incompatRecover != 0 {
		o.Warning(fmt.Errorf("ext4: journal is dirty and on another device, %s: the view is stale", bin.UUID(fs.sb.journalUUID[:])))
	}
	return fs, nil
}

// open finds the superblock on dev and nothing more, so that the filesystem
// can be opened again over a replayed journal.
func open(dev io.ReaderAt, size int64, o evidence.Options) (*FS, error) {
	fs := &FS{dev: dev, size: size, opts: o, warned: map[object]struct{}{}}
	b := make([]byte, superSize)
	if size < superOffset+superSize {
		return nil, evidence.ErrFormat
	}
	failed := readFull(dev, b, superOffset)
	if failed == nil {
		sb, err := parseSuper(b)
		if err == nil {
			if sb.metadataCsum() && !superSum(b) {
				fs.warn(object{inSuper, 0}, fmt.Errorf("superblock at offset %#x: bad checksum: %w", superOffset, evidence.ErrCorrupt))
			}
			fs.sb = sb
			return fs, nil
		}
		failed = err
	}
	// A primary that names an unknown feature is believed, unless its checksum tells otherwise.
	if errors.Is(failed, evidence.ErrUnsupported) && (le.Uint32(b[0x64:])&roMetadataCsum == 0 || superSum(b)) {
		return nil, fmt.Errorf("ext4: %w", failed)
	}
	if errors.Is(failed, evidence.ErrFormat) && foreign(dev) {
		return nil, evidence.ErrFormat
	}
	sb, at, err := findBackup(dev, size)
	if err != nil {
		if errors.Is(failed, evidence.ErrFormat) {
			return nil, failed
		}
		return nil, fmt.Errorf("ext4: %w", failed)
	}
	if errors.Is(failed, evidence.ErrFormat) {
		failed = evidence.ErrCorrupt
	}
	fs.warn(object{inSuper, 0}, fmt.Errorf("superblock at offset %#x: %w; its copy at %#x is used", superOffset, failed, at))
	fs.sb = sb
	return fs, nil
}

// Root returns the root directory's inode.
func (fs *FS) Root() evidence.Ino { return rootIno }

// Describe returns what the superblock says.
func (fs *FS) Describe() evidence.Description {
	sb := fs.sb
	return evidence.Description{
		Type:      sb.kind(),
		UUID:      bin.UUID(sb.uuid[:]),
		Label:     sb.label,
		Size:      int64(sb.blocks << sb.blockBits),
		BlockSize: sb.blockSize(),
		Features:  sb.features(),
		Created:   sb.created,
		Mounted:   sb.mounted,
		Written:   sb.written,
		MountedOn: sb.mountedOn,
		Journal:   fs.journal,
		Devices:   fs.devices,
	}
}

// journalState tells from the superblock whether there is something to replay.
func (fs *FS) journalState() evidence.Journal {
	sb := fs.sb
	dirty := sb.incompat&incompatRecover != 0
	switch {
	case sb.compat&compatHasJournal == 0:
		return evidence.Journal{State: evidence.JournalNone}
	case sb.journalIno == 0:
		j := evidence.Journal{State: evidence.JournalExternal, Note: "the journal is on device " + bin.UUID(sb.journalUUID[:])}
		if dirty {
			j.Note = "to be replayed, and " + j.Note
		}
		return j
	case dirty:
		return evidence.Journal{State: evidence.JournalDirty}
	}
	return evidence.Journal{State: evidence.JournalClean}
}

// journalInode returns the content of the journal's inode.
func (fs *FS) journalInode() (*io.SectionReader, error) {
	in, err := fs.inode(fs.sb.journalIno)
	if err != nil {
		return nil, err
	}
	return fs.content(in), nil
}

// The kinds of objects that are warned of.
const (
	inSuper = iota
	inDesc
	inBitmap
	inInode
	inFlags
	inExtents
	inTree
	inDir
	inDots
	inHoles
	inXattr
	inName
	inOrphans
)

// object is what a warning is about, so that it is told once.
type object struct {
	kind int
	id   uint64
}

// maxWarned bounds the memory of warnings, and what a caller must listen to.
const maxWarned = 1 << 16

// warn hands up err unless that was done for this object.
func (fs *FS) warn(o object, err error) {
	fs.mu.Lock()
	_, told := fs.warned[o]
	n := len(fs.warned)
	if !told && n <= maxWarned {
		fs.warned[o] = struct{}{}
	}
	fs.mu.Unlock()
	switch {
	case told || n > maxWarned:
	case n == maxWarned:
		fs.opts.Warning(fmt.Errorf("ext4: more than %d objects with warnings: the rest is not told", maxWarned))
	default:
		fs.opts.Warning(fmt.Errorf("ext4: %w", err))
	}
}
