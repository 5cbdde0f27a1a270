package xlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"lagan/evidence"
)

// bufFormat is struct xfs_buf_log_format.
type bufFormat struct {
	location
	flags uint16
	bits  []byte // blf_data_map, words in host order
}

func parseBufFormat(order binary.ByteOrder, b []byte) (bufFormat, error) {
	if len(b) < blfHeaderSize {
		return bufFormat{}, fmt.Errorf("buffer format of %d bytes: %w", len(b), evidence.ErrCorrupt)
	}
	f := bufFormat{
		location: location{int64(order.Uint64(b[8:])), int32(order.Uint16(b[6:]))},
		flags:    order.Uint16(b[4:]),
	}
	// xfs_buf_log_check_iovec
	words := order.Uint32(b[16:])
	if uint64(words)*4 > uint64(len(b)-blfHeaderSize) {
		return bufFormat{}, fmt.Errorf("buffer format: bitmap of %d words: %w", words, evidence.ErrCorrupt)
	}
	f.bits = b[blfHeaderSize:][:words*4]
	return f, nil
}

func (f *bufFormat) blft() uint16 { return f.flags >> blftShift }

// nextRun returns the first run of set bits from bit on (xfs_next_bit, xfs_contig_bits).
func (f *bufFormat) nextRun(order binary.ByteOrder, bit int) (start, n int) {
	set := func(i int) bool { return order.Uint32(f.bits[i/32*4:])>>(i%32)&1 != 0 }
	end := len(f.bits) * 8
	for bit < end && !set(bit) {
		if w := order.Uint32(f.bits[bit/32*4:]) >> (bit % 32); w == 0 {
			bit += 32 - bit%32
		} else {
			bit += bits.TrailingZeros32(w)
		}
	}
	for start = bit; bit < end && set(bit); bit++ {
	}
	return start, bit - start
}

// chunks calls fn with each piece of the buffer that the item holds. A run of
// bits may be spread over several regions, since a region ends with a page.
func (rp *replayer) chunks(f *bufFormat, it *item, fn func(off int, data []byte) error) error {
	region := 1
	for bit := 0; ; {
		start, n := f.nextRun(rp.order, bit)
		if n == 0 {
			return nil
		}
		if region >= len(it.regions) {
			return fmt.Errorf("buffer at block %#x: %d regions for its bitmap: %w", f.block, len(it.regions)-1, evidence.ErrCorrupt)
		}
		data := it.regions[region]
		n = min(n, len(data)/blfChunk)
		if n == 0 || (start+n)*blfChunk > int(f.len)*basicBlock {
			return fmt.Errorf("buffer at block %#x: region of %#x bytes at %#x: %w", f.block, len(data), start*blfChunk, evidence.ErrCorrupt)
		}
		if err := fn(start*blfChunk, data[:n*blfChunk]); err != nil {
			return err
		}
		region++
		bit = start + n
	}
}

// cancelled says whether a buffer is freed later in the log.
func (rp *replayer) cancelled(at location) bool { return rp.cancels[at] > 0 }

// buffer replays a buffer item (xlog_recover_buf_commit_pass2).
func (rp *replayer) buffer(it *item, lsn uint64) error {
	f, err := parseBufFormat(rp.order, it.regions[0])
	if err != nil {
		return err
	}
	if f.flags&blfCancel != 0 {
		if rp.cancels[f.location]--; rp.cancels[f.location] <= 0 {
			delete(rp.cancels, f.location)
		}
		return nil
	}
	if rp.cancelled(f.location) {
		return nil
	}
	b, off, err := rp.read(f.location)
	if err != nil {
		return err
	}
	if have, ok := rp.bufferLSN(b, f.blft()); ok && have != 0 && have >= lsn {
		return nil // what is there is newer
	}
	if f.flags&blfInodeBuf != 0 {
		return rp.inodeBuffer(&f, it, off)
	}
	if f.flags&(blfUserDquot|blfProjDquot|blfGroupDquot)&rp.quotaOff != 0 {
		return nil
	}
	rp.changed(object{uint64(f.block), f.len})
	if err := rp.chunks(&f, it, func(at int, data []byte) error { return rp.ov.write(data, off+int64(at)) }); err != nil {
		return err
	}
	if rp.geo.V5 {
		if _, ok := rp.unstamped[off]; !ok {
			rp.stampOrder = append(rp.stampOrder, off)
		}
		rp.unstamped[off] = stamped{len(b), f.blft(), lsn}
	}
	if off == 0 && f.blft() == blftSB {
		return rp.superblock()
	}
	return nil
}

// read reads a buffer into scratch space and returns where it lies.
func (rp *replayer) read(at location) ([]byte, int64, error) {
	n := int(at.len) * basicBlock
	if n == 0 || n > maxBuffer || at.block < 0 || at.block > maxDaddr {
		return nil, 0, fmt.Errorf("buffer of %d blocks at block %#x: %w", at.len, at.block, evidence.ErrCorrupt)
	}
	off := at.block * basicBlock
	if err := rp.within(off, n); err != nil {
		return nil, 0, err
	}
	b := rp.buf(n)
	return b, off, rp.ov.read(b, off)
}

// kindOf recognises a metadata block by its magic.
func kindOf(b []byte) (kind, bool) {
	be := binary.BigEndian
	if k, ok := kinds32[be.Uint32(b)]; ok {
		return k, true
	}
	k, ok := kinds16[be.Uint16(b[8:])]
	return k, ok
}

// bufferLSN returns when, in terms of the log, the block was last written, if it
// says so and belongs to this filesystem (xlog_recover_get_buf_lsn).
func (rp *replayer) bufferLSN(b []byte, blft uint16) (uint64, bool) {
	if !rp.geo.V5 || binary.BigEndian.Uint32(b) == magicRemote {
		return 0, false
	}
	k, ok := kindOf(b)
	if !ok || (blft == blftRTBitmap || blft == blftRTSumm) && k.blft != blft {
		return 0, false
	}
	uuid := k.uuid
	if k.blft == blftSB && rp.geo.Incompat&incompatMeta != 0 {
		uuid = superMetaUUID
	}
	lsn := binary.BigEndian.Uint64(b[k.lsn:])
	if lsn == ^uint64(0) || [16]byte(b[uuid:]) != rp.geo.MetaUUID {
		return 0, false
	}
	return lsn, true
}

// stamped is a replayed buffer that still needs its sequence number and checksum.
type stamped struct {
	len  int
	blft uint16
	lsn  uint64
}

// stamp does what the write verifiers do when the kernel writes the replayed buffers back.
func (rp *replayer) stamp() error {
	for _, off := range rp.stampOrder {
		s := rp.unstamped[off]
		b := rp.buf(s.len)
		if err := rp.ov.read(b, off); err != nil {
			return err
		}
		k, ok := kindOf(b)
		// A magic that contradicts the buffer's type is left as it was logged
		// (xlog_recover_validate_buf_type).
		if !ok || k.blft != s.blft || k.crc == 0 {
			continue
		}
		binary.BigEndian.PutUint64(b[k.lsn:], s.lsn)
		putCRC(b, k.crc)
		if err := rp.ov.write(b[k.lsn:k.lsn+8], off+int64(k.lsn)); err != nil {
			return err
		}
		if err := rp.ov.write(b[k.crc:k.crc+4], off+int64(k.crc)); err != nil {
			return err
		}
	}
	clear(rp.unstamped)
	rp.stampOrder = rp.stampOrder[:0]
	return nil
}

// putCRC computes the checksum of b and puts it at offset at (xfs_update_cksum).
func putCRC(b []byte, at int) {
	clear(b[at : at+4])
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b, castagnoli))
}

// superblock takes over what a growing of the filesystem changed (xlog_recover_do_primary_sb_buffer).
func (rp *replayer) superblock() error {
	b := rp.buf(basicBlock)
	if err := rp.ov.read(b, 0); err != nil {
		return err
	}
	g, err := GeometryOf(b)
	if err != nil {
		return fmt.Errorf("replayed superblock: %v: %w", err, evidence.ErrCorrupt)
	}
	if g.AGCount >= rp.geo.AGCount && g.BlockSize == rp.geo.BlockSize && g.AGBlocks == rp.geo.AGBlocks {
		rp.geo.AGCount, rp.geo.Blocks = g.AGCount, g.Blocks
	}
	return nil
}

// inodeBuffer replays the one thing that is logged of inodes through their
// buffer: the pointers of the unlinked lists (xlog_recover_do_inode_buffer).
func (rp *replayer) inodeBuffer(f *bufFormat, it *item, off int64) error {
	size := rp.geo.InodeSize
	return rp.chunks(f, it, func(at int, data []byte) error {
		// The first inode whose pointer lies in or behind this piece.
		first := max(at-inodeNextUnl+size-1, 0) / size
		for i := first; ; i++ {
			p := i*size + inodeNextUnl - at
			if p+4 > len(data) {
				return nil
			}
			if binary.BigEndian.Uint32(data[p:]) == 0 {
				return fmt.Errorf("inode buffer at block %#x: unlinked pointer 0: %w", f.block, evidence.ErrCorrupt)
			}
			if err := rp.setUnlinked(off+int64(i*size), data[p:p+4]); err != nil {
				return err
			}
		}
	})
}

func (rp *replayer) setUnlinked(at int64, next []byte) error {
	b := make([]byte, rp.geo.InodeSize)
	if err := rp.ov.read(b, at); err != nil {
		return err
	}
	copy(b[inodeNextUnl:], next)
	if rp.geo.V5 {
		putCRC(b, inodeCRC)
	}
	return rp.ov.write(b, at)
}

// quotaOffFlags turns the XFS_*QUOTA_ACCT bits of a quotaoff item into flags of dquot buffers.
func quotaOffFlags(acct uint32) uint16 {
	var f uint16
	if acct&0x01 != 0 {
		f |= blfUserDquot
	}
	if acct&0x08 != 0 {
		f |= blfProjDquot
	}
	if acct&0x40 != 0 {
		f |= blfGroupDquot
	}
	return f
}

// dquot replays a quota record (xlog_recover_dquot_commit_pass2).
func (rp *replayer) dquot(it *item, lsn uint64) error {
	h := it.regions[0]
	if len(h) < 24 || len(it.regions) < 2 || len(it.regions[1]) < 104 || len(it.regions[1]) > dquotCRC {
		return fmt.Errorf("dquot item: %w", evidence.ErrCorrupt)
	}
	kinds := map[byte]uint16{1: blfUserDquot, 2: blfProjDquot, 4: blfGroupDquot} // XFS_DQTYPE_*
	if kinds[it.regions[1][3]&7]&rp.quotaOff != 0 {
		return nil
	}
	block, boff := int64(rp.order.Uint64(h[8:])), int64(rp.order.Uint32(h[20:]))
	if block < 0 || block > maxDaddr || boff > int64(rp.geo.BlockSize)-dquotSize {
		return fmt.Errorf("dquot at %#x of block %#x: %w", boff, block, evidence.ErrCorrupt)
	}
	off := block*basicBlock + boff
	if err := rp.within(off, dquotSize); err != nil {
		return err
	}
	b := rp.buf(dquotSize)
	if err := rp.ov.read(b, off); err != nil {
		return err
	}
	if have := binary.BigEndian.Uint64(b[dquotLSN:]); rp.geo.V5 && have != 0 && have != ^uint64(0) && have >= lsn {
		return nil
	}
	copy(b, it.regions[1])
	if rp.geo.V5 {
		putCRC(b, dquotCRC)
	}
	rp.changed(object{uint64(off), -1})
	return rp.ov.write(b, off)
}
