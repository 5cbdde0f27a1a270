package ext4

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"lagan/evidence"
)

// Entry is one name of a directory.
type Entry struct {
	Name   string
	Number uint32
	Type   evidence.Type
}

var dirTypes = map[evidence.Type]byte{
	evidence.TypeFile: dirFile, evidence.TypeDir: dirDir, evidence.TypeSymlink: dirLink, evidence.TypeChar: dirChar,
	evidence.TypeBlock: dirBlock, evidence.TypeFIFO: dirFIFO, evidence.TypeSocket: dirSocket,
}

// Dir writes a directory with its entries, whose names differ. parent is the
// number of the one above, the root's own for the root.
func (w *Writer) Dir(number uint32, i Inode, parent uint32, list []Entry) error {
	i.Type = evidence.TypeDir
	subs := 0
	for _, e := range list {
		if err := CheckName(e.Name); err != nil {
			return err
		}
		if e.Type == evidence.TypeDir {
			subs++
		}
	}
	if i.Links = uint32(subs + 2); i.Links > MaxLinks {
		i.Links = 1 // dir_nlink: too many to be counted
	}
	blocks := linear(number, parent, list)
	flags := uint32(flagExtents)
	if len(blocks) > linearBlocks {
		if indexed := w.indexed(number, parent, list); indexed != nil {
			blocks, flags = indexed, flags|flagIndex
		}
	}
	var mapped extents
	for k, b := range blocks {
		at, err := w.alloc()
		if err != nil {
			return err
		}
		if err := w.write(b, at); err != nil {
			return err
		}
		mapped.add(int64(k), at)
	}
	return w.inode(number, i, int64(len(blocks))*blockSize, mapped, flags)
}

// CheckName says whether a directory can have such a name.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name of %d bytes: %w", len(name), ErrNoPlace)
	}
	return nil
}

// entrySize is rec_len without what is left over: a multiple of four.
func entrySize(name string) int { return (dirEntryHead + len(name) + 3) &^ 3 }

func putEntry(b []byte, e Entry, length int) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], e.Number)
	le.PutUint16(b[4:], uint16(length))
	b[6] = byte(len(e.Name))
	b[7] = dirTypes[e.Type]
	copy(b[dirEntryHead:], e.Name)
}

// filler puts entries into blocks, the last of each reaching to its end.
type filler struct {
	blocks [][]byte
	at     int // in the last block
	last   int // where its last entry begins
}

func (f *filler) room(e Entry) bool { return len(f.blocks) > 0 && f.at+entrySize(e.Name) <= blockSize }

func (f *filler) open() {
	f.blocks = append(f.blocks, make([]byte, blockSize))
	f.at, f.last = 0, 0
}

func (f *filler) add(e Entry) {
	if !f.room(e) {
		f.open()
	}
	b := f.blocks[len(f.blocks)-1]
	putEntry(b[f.at:], e, blockSize-f.at)
	if f.at > 0 {
		binary.LittleEndian.PutUint16(b[f.last+4:], uint16(f.at-f.last))
	}
	f.last = f.at
	f.at += entrySize(e.Name)
}

func linear(number, parent uint32, list []Entry) [][]byte {
	var f filler
	f.add(Entry{".", number, evidence.TypeDir})
	f.add(Entry{"..", parent, evidence.TypeDir})
	for _, e := range list {
		f.add(e)
	}
	return f.blocks
}

// indexed gives a directory's blocks with an index of its names' hashes before
// them; nil where two levels are not enough. Block 0 is the root of the index.
func (w *Writer) indexed(number, parent uint32, list []Entry) [][]byte {
	type hashed struct {
		Entry
		hash, minor uint32
	}
	all := make([]hashed, len(list))
	for i, e := range list {
		all[i].Entry = e
		all[i].hash, all[i].minor = w.hash(e.Name)
	}
	slices.SortStableFunc(all, func(a, b hashed) int {
		if a.hash != b.hash {
			return compare(a.hash, b.hash)
		}
		return compare(a.minor, b.minor)
	})
	var f filler
	var first []uint32 // hash of each leaf's first name
	for i, e := range all {
		if !f.room(e.Entry) {
			f.open()
			h := e.hash
			if i > 0 && all[i-1].hash == h {
				h |= 1 // the leaf before has names of the same hash
			}
			first = append(first, h)
		}
		f.add(e.Entry)
	}
	nodes := 0
	if len(first) > dxInRoot {
		nodes = (len(first) + dxInNode - 1) / dxInNode
	}
	if nodes > dxInRoot {
		return nil
	}
	root := make([]byte, blockSize)
	putEntry(root, Entry{".", number, evidence.TypeDir}, 12)
	putEntry(root[12:], Entry{"..", parent, evidence.TypeDir}, blockSize-12)
	root[28], root[29] = hashHalfMD4, dxInfoLength
	blocks := [][]byte{root}
	if nodes == 0 {
		putIndex(root[dxRootHead:], dxInRoot, first, 1)
		return append(blocks, f.blocks...)
	}
	root[30] = 1 // indirect_levels
	var firsts []uint32
	for k := range nodes {
		part := first[k*dxInNode : min(len(first), (k+1)*dxInNode)]
		b := make([]byte, blockSize)
		binary.LittleEndian.PutUint16(b[4:], blockSize) // an entry without an inode over all of it
		putIndex(b[dxNodeHead:], dxInNode, part, uint32(1+nodes+k*dxInNode))
		blocks = append(blocks, b)
		firsts = append(firsts, part[0])
	}
	putIndex(root[dxRootHead:], dxInRoot, firsts, 1)
	return append(blocks, f.blocks...)
}

func compare(a, b uint32) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// putIndex writes dx_entries for blocks that follow one another: the first has
// limit and count in place of its hash.
func putIndex(b []byte, limit int, hashes []uint32, block uint32) {
	le := binary.LittleEndian
	for i, h := range hashes {
		le.PutUint32(b[i*dxEntry:], h)
		le.PutUint32(b[i*dxEntry+4:], block+uint32(i))
	}
	le.PutUint16(b[0:], uint16(limit))
	le.PutUint16(b[2:], uint16(len(hashes)))
}

// hash is ext4fs_dirhash for half MD4 with unsigned bytes: fs/ext4/hash.c.
func (w *Writer) hash(name string) (major, minor uint32) {
	var buf [4]uint32
	for i := range buf {
		buf[i] = binary.LittleEndian.Uint32(w.o.UUID[4*i:])
	}
	for rest := name; len(rest) > 0; rest = rest[min(len(rest), 32):] {
		in := hashInput(rest)
		halfMD4(&buf, &in)
	}
	major = buf[1] &^ 1
	if major == hashEOF<<1 {
		major = (hashEOF - 1) << 1
	}
	return major, buf[2]
}

// hashInput is str2hashbuf_unsigned.
func hashInput(s string) (out [8]uint32) {
	pad := uint32(len(s)) | uint32(len(s))<<8
	pad |= pad << 16
	for i := range out {
		out[i] = pad
	}
	val := pad
	s = s[:min(len(s), 4*len(out))]
	for i := range len(s) {
		val = uint32(s[i]) + val<<8
		if i%4 == 3 {
			out[i/4] = val
			val = pad
		}
	}
	if len(s) < 4*len(out) {
		out[len(s)/4] = val
	}
	return out
}

// halfMD4 is half_md4_transform.
func halfMD4(buf *[4]uint32, in *[8]uint32) {
	a, b, c, d := buf[0], buf[1], buf[2], buf[3]
	round := func(f func(x, y, z uint32) uint32, k uint32, order [8]int, shift [4]int) {
		for i := 0; i < 8; i += 4 {
			a = bits.RotateLeft32(a+f(b, c, d)+in[order[i]]+k, shift[0])
			d = bits.RotateLeft32(d+f(a, b, c)+in[order[i+1]]+k, shift[1])
			c = bits.RotateLeft32(c+f(d, a, b)+in[order[i+2]]+k, shift[2])
			b = bits.RotateLeft32(b+f(c, d, a)+in[order[i+3]]+k, shift[3])
		}
	}
	round(func(x, y, z uint32) uint32 { return z ^ x&(y^z) }, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19})
	round(func(x, y, z uint32) uint32 { return x&y + (x^y)&z }, 0x5a827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13})
	round(func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ed9eba1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15})
	buf[0] += a
	buf[1] += b
	buf[2] += c
	buf[3] += d
}
