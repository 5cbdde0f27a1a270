package erofs

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"lagan/evidence"
)

// zfile is a compressed file: where each piece of it lies. It follows
// fs/erofs/zmap.c: the file is cut into logical clusters, a compressed
// (physical) cluster begins in a HEAD and goes on through NONHEADs.
type zfile struct {
	fs        *FS
	in        inode
	header    uint64 // struct z_erofs_map_header, in in.meta
	advise    uint16
	bits      uint8 // of a logical cluster
	algs      [2]uint8
	extents   uint64 // of an extent list
	inline    uint64 // bytes of the tail cluster behind the index
	fragment  uint64 // of the tail, or of all, in the packed inode
	tailHead  uint64 // the logical cluster that the tail begins in
	hasTail   bool
	tailStart uint64 // of the inline tail, in in.meta
	cache     extentCache
}

// extent is a piece of a file that is decompressed at once.
type extent struct {
	start, length uint64 // in the file
	pos, size     uint64 // compressed; in in.meta where it is inline
	alg           uint8
	hole          bool
	inline        bool
	fragment      bool
}

func (f *FS) openCompressed(in inode, cache int) (io.ReaderAt, error) {
	z := &zfile{fs: f, in: in, header: alignUp(in.data, 8)}
	z.cache.max = cache
	if in.size == 0 {
		return z, nil
	}
	if err := z.readHeader(); err != nil {
		return nil, fmt.Errorf("inode %d: compression header at %#x: %w", in.nid, z.header, err)
	}
	return z, nil
}

// readHeader is z_erofs_fill_inode.
func (z *zfile) readHeader() error {
	var h [mapHeaderSize]byte
	if err := z.fs.readMeta(z.in.meta, h[:], z.header); err != nil {
		return err
	}
	all := binary.LittleEndian.Uint64(h[:])
	if all&headerAllFragment != 0 {
		z.advise, z.fragment, z.hasTail = adviseFragment, all&^headerAllFragment, true
		return nil
	}
	z.advise = binary.LittleEndian.Uint16(h[4:])
	z.bits = z.fs.sb.blockBits + h[7]&15
	if z.in.layout == layoutFull && z.advise&adviseExtents != 0 {
		z.extents = uint64(binary.LittleEndian.Uint32(h[:])) | uint64(binary.LittleEndian.Uint16(h[6:]))<<32
		return nil
	}
	z.algs = [2]uint8{h[6] & 15, h[6] >> 4}
	if z.in.layout == layoutCompact && z.advise&adviseBig1 == 0 != (z.advise&adviseBig2 == 0) {
		return fmt.Errorf("big clusters of one head alone: %w", evidence.ErrCorrupt)
	}
	switch {
	case z.advise&adviseFragment != 0:
		z.fragment = uint64(binary.LittleEndian.Uint32(h[:]))
	case z.advise&adviseInline != 0:
		z.inline = uint64(binary.LittleEndian.Uint16(h[2:]))
	}
	if z.advise&adviseFragment != 0 || z.inline > 0 {
		return z.findTail()
	}
	return nil
}

// findTail finds where the last extent begins, which is elsewhere than the others.
func (z *zfile) findTail() error {
	first, head, err := z.headOf(z.in.size - 1)
	if err != nil {
		return err
	}
	z.tailHead, z.hasTail, z.tailStart = head.lcn, true, first.next
	if z.advise&adviseFragment != 0 && z.in.layout == layoutFull {
		z.fragment |= uint64(uint32(head.block)) << 32
	}
	return nil
}

// lcluster is one logical cluster's index entry.
type lcluster struct {
	lcn     uint64
	typ     uint8
	offset  uint64    // where in a head the new extent begins
	delta   [2]uint64 // of a NONHEAD: to its head, to the next one
	block   uint64
	blocks  int    // of the physical cluster; -1 unknown
	next    uint64 // where the index goes on behind this entry
	partial bool
}

func (z *zfile) load(lcn uint64, ahead bool) (lcluster, error) {
	var c lcluster
	var err error
	if z.in.layout == layoutCompact {
		c, err = z.loadCompact(lcn, ahead)
	} else {
		c, err = z.loadFull(lcn)
	}
	if err == nil && c.typ != clusterNonhead && c.offset >= 1<<z.bits {
		err = fmt.Errorf("begins at %#x of a cluster of %#x bytes: %w", c.offset, uint64(1)<<z.bits, evidence.ErrCorrupt)
	}
	if err != nil {
		return c, fmt.Errorf("logical cluster %d: %w", lcn, err)
	}
	return c, nil
}

// loadFull reads struct z_erofs_lcluster_index (z_erofs_load_full_lcluster).
func (z *zfile) loadFull(lcn uint64) (lcluster, error) {
	// Z_EROFS_FULL_INDEX_START: eight bytes behind the header are reserved.
	pos := z.header + mapHeaderSize + 8 + lcn*lclusterIndexSize
	var b [lclusterIndexSize]byte
	if err := z.fs.readMeta(z.in.meta, b[:], pos); err != nil {
		return lcluster{}, err
	}
	advise := binary.LittleEndian.Uint16(b[:])
	c := lcluster{lcn: lcn, typ: uint8(advise & clusterTypeMask), next: pos + lclusterIndexSize, blocks: -1}
	if c.typ == clusterNonhead {
		c.offset = 1 << z.bits
		c.delta = [2]uint64{uint64(binary.LittleEndian.Uint16(b[4:])), uint64(binary.LittleEndian.Uint16(b[6:]))}
		return c, z.countBlocks(&c, z.advise&(adviseBig1|adviseBig2) != 0)
	}
	c.partial = advise&clusterPartial != 0
	c.offset = uint64(binary.LittleEndian.Uint16(b[2:]))
	c.block = uint64(binary.LittleEndian.Uint32(b[4:]))
	if advise&clusterHole != 0 {
		c.blocks = 0
	}
	return c, nil
}

// countBlocks takes the number of blocks out of the first NONHEAD's delta, where
// it stands in place of the distance, which is one.
func (z *zfile) countBlocks(c *lcluster, allowed bool) error {
	if c.delta[0]&clusterBlocks == 0 {
		return nil
	}
	if !allowed {
		return fmt.Errorf("a count of blocks without big clusters: %w", evidence.ErrCorrupt)
	}
	c.blocks, c.delta[0] = int(c.delta[0]&^clusterBlocks), 1
	return nil
}

// pack is some index entries that share a block number, bit-packed in front of it.
type pack struct {
	b      []byte
	lobits uint // of the offset or distance in an entry, the type above it
	bits   uint // of an entry
	count  int
}

func (p pack) entry(i int) (lo uint64, typ uint8) {
	at := p.bits * uint(i)
	v := binary.LittleEndian.Uint32(p.b[at/8:]) >> (at & 7)
	return uint64(v & (1<<p.lobits - 1)), uint8(v >> p.lobits & 3)
}

// pack finds the entries that lcn's is packed with: two of four bytes, or sixteen
// of two, which begin where 32 bytes do.
func (z *zfile) pack(lcn uint64) (p pack, i int, next uint64, err error) {
	total := z.fs.blockCount(z.in.size)
	if lcn >= total || z.bits > 14 {
		return p, 0, 0, fmt.Errorf("of %d, of 2^%d bytes each: %w", total, z.bits, evidence.ErrCorrupt)
	}
	base := z.header + mapHeaderSize
	initial := (32 - base%32) / 4 & 7
	twos := uint64(0)
	if z.advise&adviseCompact2B != 0 && initial < total {
		twos = (total - initial) &^ 15
	}
	pos, size, count := base, uint64(4), 2
	if lcn >= initial {
		pos += initial * 4
		lcn -= initial
		if lcn < twos {
			size, count = 2, 16
		} else {
			pos += twos * 2
			lcn -= twos
		}
	}
	if size == 2 && z.bits > 12 {
		return p, 0, 0, fmt.Errorf("2-byte entries of clusters of 2^%d bytes: %w", z.bits, evidence.ErrUnsupported)
	}
	pos += lcn * size
	length := size * uint64(count)
	begin := pos &^ (length - 1)
	p = pack{b: make([]byte, length), lobits: uint(max(z.bits, 12)), bits: uint((length - 4) * 8 / uint64(count)), count: count}
	if err := z.fs.readMeta(z.in.meta, p.b, begin); err != nil {
		return p, 0, 0, err
	}
	return p, int((pos - begin) / size), begin + length, nil
}

// loadCompact is z_erofs_load_compact_lcluster.
func (z *zfile) loadCompact(lcn uint64, ahead bool) (lcluster, error) {
	p, i, next, err := z.pack(lcn)
	if err != nil {
		return lcluster{}, err
	}
	big := z.advise&adviseBig1 != 0
	c := lcluster{lcn: lcn, next: next, blocks: -1}
	var lo uint64
	lo, c.typ = p.entry(i)
	if c.typ != clusterNonhead {
		c.offset = lo
		c.block, err = p.block(i, big)
		return c, err
	}
	c.offset = 1 << z.bits
	if ahead {
		c.delta[1] = p.distance(i)
	}
	c.delta[0] = lo
	if lo&clusterBlocks != 0 || i+1 != p.count {
		return c, z.countBlocks(&c, big)
	}
	// The last entry of a pack has the distance ahead; the one back follows
	// from the entry before.
	lo, typ := p.entry(i - 1)
	switch {
	case typ != clusterNonhead:
		lo = 0
	case lo&clusterBlocks != 0:
		lo = 1
	}
	c.delta[0] = lo + 1
	return c, nil
}

// distance returns how far the next head is (get_compacted_la_distance).
func (p pack) distance(i int) uint64 {
	d := uint64(0)
	for ; i < p.count; i++ {
		lo, typ := p.entry(i)
		if typ != clusterNonhead {
			return d
		}
		d++
		if i == p.count-1 && lo&clusterBlocks == 0 {
			return d + lo - 1
		}
	}
	return d
}

// block returns the block of the head at i: the pack's own, and as many on as
// the heads before i take.
func (p pack) block(i int, big bool) (uint64, error) {
	n := 1
	if big {
		n = 0
	}
	for i > 0 {
		i--
		lo, typ := p.entry(i)
		if !big {
			if typ == clusterNonhead {
				i -= int(lo)
			}
			if i >= 0 {
				n++
			}
			continue
		}
		switch {
		case typ != clusterNonhead:
			n++
		case lo&clusterBlocks != 0:
			i--
			n += int(lo &^ clusterBlocks)
		case lo <= 1:
			return 0, fmt.Errorf("a distance of %d with big clusters: %w", lo, evidence.ErrCorrupt)
		default:
			i -= int(lo) - 2
		}
	}
	return uint64(binary.LittleEndian.Uint32(p.b[len(p.b)-4:])) + uint64(n), nil
}

// headOf finds the head of the extent that has the byte at pos. first is the
// cluster that was looked at first.
func (z *zfile) headOf(pos uint64) (first, head lcluster, err error) {
	first, err = z.load(pos>>z.bits, false)
	if err != nil {
		return
	}
	head = first
	back := first.delta[0]
	if first.typ != clusterNonhead {
		if pos&(1<<z.bits-1) >= first.offset {
			return
		}
		back = 1
	}
	// z_erofs_extent_lookback. No extent is longer than maxExtent.
	for steps := uint64(0); back > 0 && back <= head.lcn; steps++ {
		if steps > maxExtent>>z.bits+1 {
			break
		}
		blocks := -1
		if head.typ == clusterNonhead {
			blocks = head.blocks // what the first NONHEAD says of its head
		}
		head, err = z.load(head.lcn-back, false)
		if err != nil {
			return
		}
		if head.blocks < 0 {
			head.blocks = blocks
		}
		if head.typ != clusterNonhead {
			return
		}
		back = head.delta[0]
	}
	return first, head, fmt.Errorf("logical cluster %d: %d clusters back to its head: %w", head.lcn, back, evidence.ErrCorrupt)
}

// extentAt maps a position: z_erofs_map_blocks_iter.
func (z *zfile) extentAt(pos uint64) (extent, error) {
	var e extent
	var err error
	switch {
	case z.hasTail && z.tailHead == 0 && z.advise&adviseFragment != 0:
		e = extent{length: z.in.size, fragment: true}
	case z.in.layout == layoutFull && z.advise&adviseExtents != 0:
		e, err = z.listed(pos)
	default:
		e, err = z.indexed(pos)
	}
	if err == nil {
		err = z.check(e, pos)
	}
	if err != nil {
		return e, fmt.Errorf("inode %d: at %#x: %w", z.in.nid, pos, err)
	}
	return e, nil
}

// indexed is z_erofs_map_blocks_fo, with the whole length of the extent.
func (z *zfile) indexed(pos uint64) (extent, error) {
	_, head, err := z.headOf(pos)
	if err != nil {
		return extent{}, err
	}
	e := extent{start: head.lcn<<z.bits | head.offset, alg: z.algs[0]}
	if err := z.measure(&e, head); err != nil {
		return e, err
	}
	switch {
	case z.hasTail && head.lcn == z.tailHead && z.inline > 0:
		e.inline, e.pos, e.size = true, z.tailStart, z.inline
	case z.hasTail && head.lcn == z.tailHead:
		e.fragment = true
	default:
		blocks, err := z.blocksOf(head)
		if err != nil {
			return e, err
		}
		e.pos, e.size, e.hole = head.block<<z.fs.sb.blockBits, blocks<<z.fs.sb.blockBits, blocks == 0
	}
	switch {
	case head.typ == clusterPlain && z.advise&adviseInterlaced != 0:
		e.alg = algInterlaced
	case head.typ == clusterPlain:
		e.alg = algShifted
	case head.typ == clusterHead2:
		e.alg = z.algs[1]
	}
	return e, nil
}

// measure finds where the extent ends: at the next head, or with the file
// (z_erofs_get_extent_decompressedlen).
func (z *zfile) measure(e *extent, head lcluster) error {
	lcn := head.lcn + 1
	for {
		if lcn<<z.bits >= z.in.size {
			e.length = z.in.size - e.start
			return nil
		}
		if lcn<<z.bits-e.start > maxExtent {
			return fmt.Errorf("extent from %#x without end: %w", e.start, evidence.ErrCorrupt)
		}
		c, err := z.load(lcn, true)
		if err != nil {
			return err
		}
		if c.typ != clusterNonhead {
			end := lcn<<z.bits + c.offset
			if end > z.in.size {
				end = z.in.size
			}
			e.length = end - e.start
			return nil
		}
		lcn += max(c.delta[1], 1) // mkfs before 1.0 left it zero
	}
}

// blocksOf is z_erofs_get_extent_compressedlen: how many blocks the physical
// cluster has, which the cluster behind the head says where it can be more than one.
func (z *zfile) blocksOf(head lcluster) (uint64, error) {
	if head.blocks >= 0 {
		return uint64(head.blocks), nil
	}
	big := z.advise&adviseBig2 != 0
	if head.typ == clusterHead1 {
		big = z.advise&adviseBig1 != 0
	}
	if !big || (head.lcn+1)<<z.bits >= z.in.size {
		return 1, nil
	}
	c, err := z.load(head.lcn+1, false)
	switch {
	case err != nil:
		return 0, err
	case c.typ != clusterNonhead:
		return 1, nil
	case c.delta[0] != 1 || c.blocks < 0:
		return 0, fmt.Errorf("logical cluster %d has no count of blocks: %w", c.lcn, evidence.ErrCorrupt)
	}
	return uint64(c.blocks), nil
}

// check is z_erofs_map_sanity_check.
func (z *zfile) check(e extent, pos uint64) error {
	switch {
	case pos < e.start || pos-e.start >= e.length:
		return fmt.Errorf("extent of %d bytes from %#x: %w", e.length, e.start, evidence.ErrCorrupt)
	case e.hole || e.fragment:
		return nil
	case int(e.alg) >= len(algNames) || e.alg < algShifted && z.fs.sb.algs&(1<<e.alg) == 0:
		return fmt.Errorf("compression algorithm %d: %w", e.alg, evidence.ErrCorrupt)
	case e.size > maxPcluster || e.length > maxExtent:
		return fmt.Errorf("extent of %d bytes, %d compressed: %w", e.length, e.size, evidence.ErrUnsupported)
	case e.alg >= algShifted && e.length > e.size:
		return fmt.Errorf("%d bytes of %d that are not compressed: %w", e.length, e.size, evidence.ErrCorrupt)
	case e.pos > math.MaxInt64-maxPcluster:
		return fmt.Errorf("compressed data at %#x: %w", e.pos, evidence.ErrCorrupt)
	}
	return nil
}
