package xfs

import (
	"errors"
	"io/fs"
	"math/bits"
	"sort"

	"lagan/evidence"
)

// errIndex says that a folder's index can't be relied on; its entries are then read one by one.
var errIndex = errors.New("no usable directory index")

// Lookup returns the entry called name, or fs.ErrNotExist. In folders of many
// blocks it is found by the hash of its name.
func (f *FS) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	d, err := f.folder(dir)
	if err != nil {
		return evidence.Entry{}, err
	}
	// Names are hashed another way where case is ignored; and in a view without
	// the log, index and entries may be of different times.
	plain := f.sb.version&versionBorg == 0 && f.journal.State != evidence.JournalDirty
	if plain && d.format != fmtLocal && d.size > uint64(f.sb.blockSize)<<f.sb.dirBlkLog {
		if e, err := f.lookupHash(&d, name); !errors.Is(err, errIndex) {
			return e, err
		}
	}
	return f.lookupScan(&d, name)
}

// lookupScan reads a folder's entries until it meets name.
func (f *FS) lookupScan(d *dinode, name string) (evidence.Entry, error) {
	var found evidence.Entry
	var failed error
	f.eachEntry(d, func(n []byte, ino uint64, ft uint8) bool {
		if string(n) == name {
			found = evidence.Entry{Name: name, Ino: evidence.Ino(ino), Type: entryType(ft)}
			return false
		}
		return true
	}, func(err error) bool {
		if failed == nil {
			failed = err
		}
		return true
	})
	switch {
	case found.Name != "":
		return found, nil
	case failed != nil:
		return evidence.Entry{}, failed
	}
	return evidence.Entry{}, fs.ErrNotExist
}

// hashName is xfs_da_hashname (fs/xfs/libxfs/xfs_da_btree.c).
func hashName(name string) uint32 {
	h := uint32(0)
	for ; len(name) >= 4; name = name[4:] {
		h = uint32(name[0])<<21 ^ uint32(name[1])<<14 ^ uint32(name[2])<<7 ^ uint32(name[3]) ^ bits.RotateLeft32(h, 28)
	}
	switch len(name) {
	case 3:
		return uint32(name[0])<<14 ^ uint32(name[1])<<7 ^ uint32(name[2]) ^ bits.RotateLeft32(h, 21)
	case 2:
		return uint32(name[0])<<7 ^ uint32(name[1]) ^ bits.RotateLeft32(h, 14)
	case 1:
		return uint32(name[0]) ^ bits.RotateLeft32(h, 7)
	}
	return h
}

// indexBlock is a decoded block of a folder's index, whose entries are pairs of
// a hash and a number: an inner block's next block, or where a leaf's entry is.
type indexBlock struct {
	leaf  bool
	forw  uint32
	count int
	ents  []byte
}

func (b *indexBlock) hash(i int) uint32  { return be.Uint32(b.ents[8*i:]) }
func (b *indexBlock) value(i int) uint32 { return be.Uint32(b.ents[8*i+4:]) }

// from returns the first entry whose hash is not below h.
func (b *indexBlock) from(h uint32) int {
	return sort.Search(b.count, func(i int) bool { return b.hash(i) >= h })
}

// indexBlock reads the block of a folder's index at the fork's block n.
func (f *FS) indexBlock(k *fork, n uint32) (indexBlock, error) {
	raw, off, err := k.readBlocks(uint64(n), 1<<f.sb.dirBlkLog)
	if err != nil {
		return indexBlock{}, errIndex
	}
	hdr, at := daNodeHdr, 12
	if f.sb.v5() {
		hdr, at = da3NodeHdr, 56
		if !checksumOK(raw, da3CRC) || f.verify(raw, off, daLayout, k.ino, "directory index block") != nil {
			return indexBlock{}, errIndex
		}
	}
	b := indexBlock{forw: be.Uint32(raw), count: int(be.Uint16(raw[at:])), ents: raw[hdr:]}
	switch be.Uint16(raw[8:]) {
	case magicDirLeaf1, magicDirLeafN, magicDir3Leaf1, magicDir3LeafN:
		b.leaf = true
	case magicDANode, magicDA3Node:
	default:
		return indexBlock{}, errIndex
	}
	if b.count > len(b.ents)/8 {
		return indexBlock{}, errIndex
	}
	return b, nil
}

// maxIndexLeaves bounds the leaves that names of one hash may fill.
const maxIndexLeaves = 100

// lookupHash finds name by the folder's index, or returns errIndex where that is damaged.
func (f *FS) lookupHash(d *dinode, name string) (evidence.Entry, error) {
	k, err := f.dataBlocks(d)
	if err != nil {
		return evidence.Entry{}, errIndex
	}
	h := hashName(name)
	b, err := f.indexBlock(&k, uint32(uint64(dirLeafOffset)>>f.sb.blockLog))
	for depth := 0; err == nil && !b.leaf; depth++ {
		i := b.from(h)
		if i == b.count {
			return evidence.Entry{}, fs.ErrNotExist // above the last name's hash
		}
		if depth == daMaxDepth {
			return evidence.Entry{}, errIndex
		}
		b, err = f.indexBlock(&k, b.value(i))
	}
	for range maxIndexLeaves {
		if err != nil || !b.leaf {
			break
		}
		for i := b.from(h); i < b.count; i++ {
			if b.hash(i) != h {
				return evidence.Entry{}, fs.ErrNotExist
			}
			if e, err := f.entryAt(&k, b.value(i)); err != nil || e.Name == name {
				return e, err
			}
		}
		if b.forw == 0 {
			return evidence.Entry{}, fs.ErrNotExist
		}
		b, err = f.indexBlock(&k, b.forw)
	}
	return evidence.Entry{}, errIndex
}

// entryAt reads the entry at an address of the index: its place in the folder's
// data in units of 8 bytes. 0 is a removed entry, which matches no name.
func (f *FS) entryAt(k *fork, address uint32) (evidence.Entry, error) {
	if address == 0 {
		return evidence.Entry{}, nil
	}
	byteOff := uint64(address) * dirDataAlign
	log := f.sb.blockLog + f.sb.dirBlkLog
	b, off, err := k.readBlocks(byteOff>>log<<f.sb.dirBlkLog, 1<<f.sb.dirBlkLog)
	if err != nil {
		return evidence.Entry{}, errIndex
	}
	if _, _, err := f.dirBlockBounds(k.ino, b, off); err != nil {
		return evidence.Entry{}, errIndex
	}
	at := int(byteOff & (1<<log - 1))
	if at+12 > len(b) || at+9+int(b[at+8])+1 > len(b) || be.Uint16(b[at:]) == dirFreeTag {
		return evidence.Entry{}, errIndex
	}
	n := int(b[at+8])
	e := evidence.Entry{Name: string(b[at+9 : at+9+n]), Ino: evidence.Ino(be.Uint64(b[at:]))}
	if f.sb.ftype() {
		e.Type = entryType(b[at+9+n])
	}
	return e, nil
}
