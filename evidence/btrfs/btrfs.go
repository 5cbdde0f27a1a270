// Package btrfs reads a btrfs filesystem as Linux shows it, without mounting
// it: the default subvolume, in it the other subvolumes and snapshots as
// folders, and what the log tree holds replayed in memory.
//
// It follows the kernel (fs/btrfs, include/uapi/linux/btrfs_tree.h) and reads
// single, DUP, RAID0, RAID1, RAID1C3, RAID1C4 and RAID10 chunks over the devices
// given, the data of RAID5 and RAID6 where all devices are there; all
// checksum kinds; extents that are inline, regular, preallocated, compressed with
// zlib, lzo or zstd, and holes, written out or not; mixed block groups.
//
// A tree block whose checksum is wrong is read from another copy; where there
// is none, it is used as far as it makes sense, with a warning. File contents
// are checked when they are read, and a mismatch that no copy settles is a
// warning too.
//
// Not read: the raid-stripe-tree of data, extent-tree-v2, encryption, and the
// superblock log of zoned devices. They are said, as is a missing device.
//
// Input is hostile: no panic, no allocation sized by the evidence, no endless
// loop. A tree's blocks must keep within the keys that their parents give
// them, so that no block is met twice however a tree points to itself.
package btrfs

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"lagan/evidence"
	"lagan/internal/bin"
)

// FS is a btrfs filesystem on one or several devices.
type FS struct {
	super   super
	devices []device
	chunks  []chunk // by logical address
	opt     evidence.Options
	cache   nodeCache
	roots   tree
	csums   tree
	journal evidence.Journal
	places  []int // of the other devices in opt.Devices
	root    evidence.Ino

	volumes []*subvolume          // by their place in inode handles
	byID    map[uint64]*subvolume // by root id

	mu     sync.Mutex
	warned map[string]bool

	seen atomic.Pointer[seenDirs] // by the last pass over all inodes, until the one over all folders
}

// Open opens the filesystem on a device and on those of o.Devices that belong
// to it. Where some of its devices aren't there, it is read as far as the others have it.
func Open(r io.ReaderAt, size int64, o evidence.Options) (*FS, error) {
	devices := []Device{{r, size}}
	var places []int
	if first, err := readSuper(devices[0], func(error) {}); err == nil && first.devices > 1 {
		have := map[uint64]bool{first.devID: true} // two copies of one disk are not two devices
		for i, d := range o.Devices {
			s, err := readSuper(Device{d, d.Size}, func(error) {})
			if err == nil && s.fsid == first.fsid && !have[s.devID] {
				have[s.devID] = true
				devices, places = append(devices, Device{d, d.Size}), append(places, i)
			}
		}
	}
	f, err := OpenDevices(devices, o)
	if err != nil {
		return nil, err
	}
	f.places = places
	return f, nil
}

// OpenDevices opens the filesystem that lies on all of the given devices.
// ErrFormat says that the first has no btrfs; the others must be of its
// filesystem.
func OpenDevices(devices []Device, o evidence.Options) (*FS, error) {
	f := &FS{opt: o, warned: map[string]bool{}}
	for i, d := range devices {
		s, err := readSuper(d, f.warn)
		if err != nil {
			return nil, err
		}
		if i > 0 && s.fsid != f.super.fsid {
			return nil, fmt.Errorf("device %d of %d has another filesystem than the first: %w", i+1, len(devices), evidence.ErrFormat)
		}
		if i == 0 || s.generation > f.super.generation {
			f.super = s
		}
		f.devices = append(f.devices, device{d, s.devID})
	}
	if len(devices) == 0 {
		return nil, evidence.ErrFormat
	}
	f.features()
	if err := f.loadChunks(); err != nil {
		if len(f.chunks) == 0 {
			return nil, err
		}
		f.warn(err)
	}
	if err := f.openRoots(); err != nil {
		return nil, err
	}
	f.openSums()
	f.loadSubvolumes()
	f.journal = f.replay()
	return f, f.openDefault()
}

// features warns of what is not read.
func (f *FS) features() {
	for _, x := range incompatFeatures {
		if f.super.incompat&x.bit != 0 && x.bit&supportedIncompat == 0 {
			f.warn(fmt.Errorf("feature %s: %w", x.name, evidence.ErrUnsupported))
		}
	}
	known := uint64(0)
	for _, x := range incompatFeatures {
		known |= x.bit
	}
	if rest := f.super.incompat &^ known; rest != 0 {
		f.warn(fmt.Errorf("unknown features %#x: %w", rest, evidence.ErrUnsupported))
	}
	if n := f.super.devices; n != uint64(len(f.devices)) {
		f.warn(fmt.Errorf("the filesystem has %d devices, and %d are given: what the others hold alone can't be read: %w", n, len(f.devices), evidence.ErrUnsupported))
	}
}

// openRoots finds the tree of trees, or an older one where that can't be read.
func (f *FS) openRoots() error {
	f.roots = tree{fs: f, root: block{f.super.root, f.super.rootLevel, f.super.generation}, id: rootTreeObject}
	_, err := f.node(f.roots.root)
	if err == nil {
		return nil
	}
	for generation := f.super.generation; ; {
		var next *backup
		for i := range f.super.backups {
			if b := &f.super.backups[i]; b.generation < generation && (next == nil || b.generation > next.generation) {
				next = b
			}
		}
		if next == nil {
			return fmt.Errorf("root tree: %w", err)
		}
		generation = next.generation
		old := block{next.root, next.rootLevel, next.generation}
		if old.level >= maxLevel {
			continue
		}
		if _, e := f.node(old); e == nil {
			f.warn(fmt.Errorf("root tree: %w; that of generation %d is used, %d is the last", err, next.generation, f.super.generation))
			f.roots.root = old
			f.super.logRoot = 0 // of the generation that is lost
			return nil
		}
	}
}

// openSums finds the tree of the checksums of files' contents.
func (f *FS) openSums() {
	data, ok, err := f.roots.find(key{object: csumTreeObject, typ: itemRoot})
	var r rootItem
	if err == nil && ok {
		r, err = decodeRootItem(data)
	}
	if err != nil || !ok || r.level >= maxLevel {
		f.warn(fmt.Errorf("checksum tree: %w: contents are not checked", errors.Join(err, evidence.ErrCorrupt)))
		return
	}
	f.csums = tree{fs: f, root: block{r.address, r.level, r.generation}, id: csumTreeObject}
}

// openDefault finds the subvolume that is mounted where none is named.
func (f *FS) openDefault() error {
	id := f.defaultSubvolume()
	v, err := f.subvolume(id)
	if err != nil && id != fsTreeObject {
		f.warn(fmt.Errorf("default subvolume: %w; the top level is shown", err))
		v, err = f.subvolume(fsTreeObject)
	}
	if err != nil {
		return err
	}
	f.root = v.ino(firstFreeObject)
	return nil
}

// defaultSubvolume is the entry "default" of the root tree's directory
// (get_default_subvol_objectid, fs/btrfs/super.c).
func (f *FS) defaultSubvolume() uint64 {
	data, ok, err := f.roots.find(key{f.super.rootDir, itemDir, nameHash("default")})
	if err != nil {
		f.warn(fmt.Errorf("default subvolume: %w", err))
	}
	for ok && len(data) > 0 {
		var d dirItem
		if d, data, err = nextDirItem(data); err != nil {
			f.warn(fmt.Errorf("default subvolume: %w", err))
			break
		}
		if string(d.name) == "default" && d.location.typ == itemRoot {
			return d.location.object
		}
	}
	return fsTreeObject
}

// maxWarnings bounds the different warnings that are remembered.
const maxWarnings = 10000

// warn hands a warning up, each once.
func (f *FS) warn(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	text := err.Error()
	known := f.warned[text]
	if len(f.warned) < maxWarnings {
		f.warned[text] = true
	}
	f.mu.Unlock()
	if !known {
		f.opt.Warning(err)
	}
}

// Root returns the root of the default subvolume.
func (f *FS) Root() evidence.Ino { return f.root }

// Describe says what the superblock tells.
func (f *FS) Describe() evidence.Description {
	d := evidence.Description{
		Type: "btrfs", UUID: bin.UUID(f.super.fsid[:]), Label: f.super.label, Size: int64(min(f.super.totalBytes, 1<<63-1)), BlockSize: int(f.super.sectorSize),
		Journal: f.journal, Devices: f.places,
	}
	for _, x := range incompatFeatures {
		if f.super.incompat&x.bit != 0 {
			d.Features = append(d.Features, x.name)
		}
	}
	for _, x := range compatROFeatures {
		if f.super.compatRO&x.bit != 0 {
			d.Features = append(d.Features, x.name)
		}
	}
	if v := f.byID[fsTreeObject]; v != nil {
		d.Created = known(v.item.created) // of the top level: mkfs
	}
	return d
}
