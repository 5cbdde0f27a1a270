// Package ext4 writes an ext4 filesystem that the kernel mounts and e2fsck
// finds clean, without root: owners, modes, times with nanoseconds (change and
// birth times too), extended attributes, hard links, devices, holes, directories
// of any size with their index.
//
// It follows fs/ext4 of Linux 6.18 and Documentation/filesystems/ext4. There is
// no journal and there are no checksums of metadata: the image is made to be
// read. Blocks are given out one after another, so that the same tree gives the
// same image.
//
// The tree may be hostile: what has no place in ext4 is ErrNoPlace for that
// inode, and nothing of it is written.
package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrNoPlace says that ext4 has no place for something of an inode.
var ErrNoPlace = errors.New("no place in ext4")

// File is what the image is written to. What is never written must read as zeros.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// Options say what the filesystem is to hold.
type Options struct {
	// Bytes is what the files and directories have at most, rounded up to blocks.
	Bytes int64
	// Inodes is the largest number that is given to an inode.
	Inodes uint32
	Label  string
	UUID   [16]byte // must not be zero
}

// Writer writes one filesystem. Its methods are called from one goroutine;
// Finish at last.
type Writer struct {
	f    File
	o    Options
	gdt  int64 // blocks kept for group descriptors
	next int64 // block to be given out
	last int64 // block that was

	inodes  map[int64]*inodeGroup
	largest uint32 // inode number
	values  uint32 // of attributes that have inodes
	hasEA   bool
}

// inodeGroup is what is known of the inodes of a group.
type inodeGroup struct {
	used [inodesPerGroup / 8]byte
	free int
	dirs int
}

// FirstInode is the number of the first inode that the caller may use, beside
// Root; they are given in any order.
const FirstInode = firstInode + 1

// Root is the number of the root directory.
const Root = rootInode

// New begins a filesystem.
func New(f File, o Options) *Writer {
	groups := min((o.Bytes/blockSize)/(blocksPerGroup-tableBlocks-2)+2, maxBlocks/blocksPerGroup)
	groups += groups / 8 // for the blocks of extents and attributes
	w := &Writer{f: f, o: o, gdt: min((groups+descsPerBlock-1)/descsPerBlock+1, maxBlocks/blocksPerGroup/descsPerBlock), inodes: make(map[int64]*inodeGroup)}
	w.next = w.dataStart(0)
	for i := uint32(1); i < firstInode; i++ {
		w.use(i, false)
	}
	return w
}

// hasSuper says whether a group has copies of the superblock and the
// descriptors: ext4_bg_has_super with sparse_super.
func hasSuper(group int64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range [...]int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// bitmaps is the block of a group's first bitmap; the other and the inode table follow.
func (w *Writer) bitmaps(group int64) int64 {
	if hasSuper(group) {
		return group*blocksPerGroup + 1 + w.gdt
	}
	return group * blocksPerGroup
}

// dataStart is the first block of a group that may hold data.
func (w *Writer) dataStart(group int64) int64 { return w.bitmaps(group) + 2 + tableBlocks }

// alloc gives out the next block.
func (w *Writer) alloc() (int64, error) {
	b := w.next
	if b >= maxBlocks {
		return 0, fmt.Errorf("more than %d blocks: %w", int64(maxBlocks), ErrNoPlace)
	}
	w.last = b
	if w.next++; w.next%blocksPerGroup == 0 {
		w.next = w.dataStart(w.next / blocksPerGroup)
	}
	return b, nil
}

func (w *Writer) write(b []byte, block int64) error {
	_, err := w.f.WriteAt(b, block*blockSize)
	return err
}

// use marks an inode as used.
func (w *Writer) use(number uint32, dir bool) {
	g := int64(number-1) / inodesPerGroup
	if w.inodes[g] == nil {
		w.inodes[g] = &inodeGroup{free: inodesPerGroup}
	}
	i := w.inodes[g]
	at := (number - 1) % inodesPerGroup
	if i.used[at/8]&(1<<(at%8)) == 0 {
		i.used[at/8] |= 1 << (at % 8)
		i.free--
	}
	if dir {
		i.dirs++
	}
	w.largest = max(w.largest, number)
}

// putInode writes an inode of inodeSize bytes to its place.
func (w *Writer) putInode(number uint32, b []byte, dir bool) error {
	w.use(number, dir)
	g, at := int64(number-1)/inodesPerGroup, int64(number-1)%inodesPerGroup
	_, err := w.f.WriteAt(b, (w.bitmaps(g)+2)*blockSize+at*inodeSize)
	return err
}

// Finish writes what says of everything else where it is, and sets the file's size.
func (w *Writer) Finish() error {
	groups := max(w.last/blocksPerGroup, int64(w.largest-1)/inodesPerGroup) + 1
	if need := (groups + descsPerBlock - 1) / descsPerBlock; need > w.gdt {
		return fmt.Errorf("%d groups, more than the descriptors have place for: %w", groups, ErrNoPlace)
	}
	descs := make([]byte, 0, groups*descSize)
	var freeBlocks, freeInodes int64
	for g := range groups {
		d, err := w.finishGroup(g, groups)
		if err != nil {
			return err
		}
		freeBlocks += int64(binary.LittleEndian.Uint16(d[12:]))
		freeInodes += int64(binary.LittleEndian.Uint16(d[14:]))
		descs = append(descs, d...)
	}
	super := w.super(groups, freeBlocks, freeInodes)
	for g := range groups {
		if !hasSuper(g) {
			continue
		}
		binary.LittleEndian.PutUint16(super[90:], uint16(g))
		off := g * blocksPerGroup * blockSize
		if g == 0 {
			off = superOffset
		}
		if _, err := w.f.WriteAt(super, off); err != nil {
			return err
		}
		if err := w.write(descs, g*blocksPerGroup+1); err != nil {
			return err
		}
	}
	return w.f.Truncate(groups * blocksPerGroup * blockSize)
}

// finishGroup writes a group's bitmaps and returns its descriptor.
func (w *Writer) finishGroup(g, groups int64) ([]byte, error) {
	le := binary.LittleEndian
	blocks := make([]byte, blockSize)
	first := g * blocksPerGroup
	free := 0
	mark := func(from, to int64) {
		for b := max(from, first); b < min(to, first+blocksPerGroup); b++ {
			blocks[(b-first)/8] |= 1 << ((b - first) % 8)
		}
	}
	if hasSuper(g) {
		mark(first, first+1+(groups+descsPerBlock-1)/descsPerBlock)
	}
	mark(w.bitmaps(g), w.dataStart(g))
	mark(w.dataStart(g), w.last+1)
	for _, b := range blocks {
		for k := range 8 {
			if b&(1<<k) == 0 {
				free++
			}
		}
	}
	inodes := slices.Repeat([]byte{0xff}, blockSize) // also what is past the last inode
	i := w.inodes[g]
	if i == nil {
		i = &inodeGroup{free: inodesPerGroup}
	}
	copy(inodes, i.used[:])
	at := w.bitmaps(g)
	if err := errors.Join(w.write(blocks, at), w.write(inodes, at+1)); err != nil {
		return nil, err
	}
	d := make([]byte, descSize)
	le.PutUint32(d[0:], uint32(at))
	le.PutUint32(d[4:], uint32(at+1))
	le.PutUint32(d[8:], uint32(at+2))
	le.PutUint16(d[12:], uint16(free))
	le.PutUint16(d[14:], uint16(i.free))
	le.PutUint16(d[16:], uint16(i.dirs))
	return d, nil
}

// super returns the superblock.
func (w *Writer) super(groups, freeBlocks, freeInodes int64) []byte {
	le := binary.LittleEndian
	s := make([]byte, superSize)
	le.PutUint32(s[0:], uint32(groups*inodesPerGroup))
	le.PutUint32(s[4:], uint32(groups*blocksPerGroup))
	le.PutUint32(s[12:], uint32(freeBlocks))
	le.PutUint32(s[16:], uint32(freeInodes))
	le.PutUint32(s[24:], logBlockSize)
	le.PutUint32(s[28:], logBlockSize)
	le.PutUint32(s[32:], blocksPerGroup)
	le.PutUint32(s[36:], blocksPerGroup)
	le.PutUint32(s[40:], inodesPerGroup)
	le.PutUint16(s[54:], noMaxMounts)
	le.PutUint16(s[56:], superMagic)
	le.PutUint16(s[58:], stateValid)
	le.PutUint16(s[60:], errorsContinue)
	le.PutUint32(s[76:], revDynamic)
	le.PutUint32(s[84:], firstInode)
	le.PutUint16(s[88:], inodeSize)
	le.PutUint32(s[92:], compatExtAttr|compatDirIndex)
	incompat := uint32(incompatFiletype | incompatExtents)
	if w.hasEA {
		incompat |= incompatEAInode
	}
	le.PutUint32(s[96:], incompat)
	le.PutUint32(s[100:], roSparseSuper|roLargeFile|roHugeFile|roDirNlink|roExtraIsize)
	copy(s[104:120], w.o.UUID[:])
	copy(s[120:136], w.o.Label)
	copy(s[236:252], w.o.UUID[:]) // the seed of the names' hashes
	s[252] = hashHalfMD4
	le.PutUint32(s[256:], mountXattrUser|mountACL)
	le.PutUint16(s[348:], extraSize)
	le.PutUint16(s[350:], extraSize)
	le.PutUint32(s[352:], flagsUnsignedHash)
	return s
}
