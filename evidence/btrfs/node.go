package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"lagan/evidence"
)

// block names a tree block as its parent does.
type block struct {
	address    uint64
	level      uint8
	generation uint64
}

// node is a tree block that was read and found to be in order: its keys
// ascend, its items lie in it.
type node struct {
	b     []byte
	level uint8
	count int
}

func (n *node) key(i int) key {
	if n.level > 0 {
		return decodeKey(n.b[headerSize+i*keyPtrSize:])
	}
	return decodeKey(n.b[headerSize+i*itemSize:])
}

// child returns the i-th pointer of an inner node.
func (n *node) child(i int) block {
	p := n.b[headerSize+i*keyPtrSize+keySize:]
	return block{binary.LittleEndian.Uint64(p), n.level - 1, binary.LittleEndian.Uint64(p[8:])}
}

// data returns the i-th item of a leaf.
func (n *node) data(i int) []byte {
	p := n.b[headerSize+i*itemSize+keySize:]
	at := headerSize + binary.LittleEndian.Uint32(p)
	end := at + binary.LittleEndian.Uint32(p[4:])
	return n.b[at:end:end]
}

// search returns the first entry whose key is not less than k.
func (n *node) search(k key) int {
	lo, hi := 0, n.count
	for lo < hi {
		if mid := (lo + hi) / 2; n.key(mid).less(k) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// newNode checks a tree block, its checksum apart (btrfs_check_leaf and
// btrfs_check_node, fs/btrfs/tree-checker.c). What is wrong with the last of
// its items costs those, not the node: the first error is returned beside it.
func (f *FS) newNode(b []byte, at block) (*node, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("tree block %#x: %s: %w", at.address, fmt.Sprintf(format, args...), evidence.ErrCorrupt)
	}
	if got := binary.LittleEndian.Uint64(b[headerAddr:]); got != at.address {
		return nil, bad("says it is block %#x", got)
	}
	n := &node{b: b, level: b[headerLevel]}
	if n.level != at.level {
		return nil, bad("level %d, not %d", n.level, at.level)
	}
	size, count := itemSize, uint64(binary.LittleEndian.Uint32(b[headerCount:]))
	if n.level > 0 {
		size = keyPtrSize
	}
	if most := uint64((len(b) - headerSize) / size); count > most {
		return nil, bad("%d entries, room for %d", count, most)
	}
	n.count = int(count)
	for i := range n.count {
		if i > 0 && !n.key(i-1).less(n.key(i)) {
			n.count = i
			return n, bad("key %d, %v, is not after the one before", i, n.key(i))
		}
		if n.level > 0 {
			continue
		}
		p := b[headerSize+i*itemSize+keySize:]
		off, length := uint64(binary.LittleEndian.Uint32(p)), uint64(binary.LittleEndian.Uint32(p[4:]))
		if off+length > uint64(len(b)-headerSize) {
			n.count = i
			return n, bad("item %d, %v, lies outside", i, n.key(i))
		}
	}
	return n, nil
}

// grade says how good a copy of a tree block is.
const (
	gradeOld    = 1 // of another generation than the parent expects
	gradeBadSum = 2
	gradeWhole  = 3
)

// node reads a tree block, from the best of its copies. The node may be there
// beside an error, which says what of it is lost.
func (f *FS) node(at block) (*node, error) {
	if n := f.cache.get(at); n != nil {
		return n, nil
	}
	return f.readNode(at, nil)
}

// readNode is node for a block that isn't in the cache. first, if not nil, is
// what the first copy was read as already, as a part of a larger read: the
// cache would keep all of that.
func (f *FS) readNode(at block, first []byte) (*node, error) {
	n, problem, err := f.bestCopy(at, first)
	if n == nil {
		return nil, err
	}
	// That devices are missing was said once.
	if problem != nil && !errors.Is(problem, errMissingDevice) {
		f.warn(problem)
	}
	if first == nil {
		f.cache.put(at, n)
	}
	return n, nil
}

// bestCopy reads a tree block from the first copy that is whole, or else from
// the best that makes sense, and says what is wrong with the others. A block
// of another generation is none: what it has may be shown elsewhere too, or be
// gone; btrfs itself refuses it.
func (f *FS) bestCopy(at block, first []byte) (best *node, problem, failed error) {
	for copy := range maxCopies {
		b := first
		if b == nil || copy > 0 {
			b = make([]byte, f.super.nodeSize)
			if err := f.readCopy(b, at.address, copy); errors.Is(err, errNoCopy) {
				break
			} else if err != nil {
				failed = errors.Join(failed, fmt.Errorf("tree block %#x: %w", at.address, err))
				continue
			}
		}
		n, err := f.newNode(b, at)
		grade, why := f.grade(b, at)
		switch {
		case n == nil:
			failed = errors.Join(failed, err)
		case grade == gradeWhole && err == nil:
			if failed != nil {
				failed = errors.Join(failed, fmt.Errorf("tree block %#x: copy %d is used", at.address, copy+1))
			}
			return n, failed, nil
		default:
			failed = errors.Join(failed, why, err)
			if grade > gradeOld && best == nil {
				best = n
			}
		}
	}
	if failed == nil {
		failed = fmt.Errorf("tree block %#x: %w", at.address, evidence.ErrCorrupt)
	}
	return best, failed, failed
}

// grade judges what the structure of a block doesn't tell.
func (f *FS) grade(b []byte, at block) (int, error) {
	if got := binary.LittleEndian.Uint64(b[headerGen:]); at.generation != 0 && got != at.generation {
		return gradeOld, fmt.Errorf("tree block %#x: of generation %d, not %d: %w", at.address, got, at.generation, evidence.ErrCorrupt)
	}
	if [16]byte(b[headerFSID:headerFSID+16]) != f.super.metadataUUID {
		return gradeOld, fmt.Errorf("tree block %#x: of another filesystem: %w", at.address, evidence.ErrCorrupt)
	}
	if !checks(f.super.csumType, b) {
		return gradeBadSum, fmt.Errorf("tree block %#x: bad checksum: %w", at.address, evidence.ErrCorrupt)
	}
	return gradeWhole, nil
}
