package xlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"lagan/evidence"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// scanBlocks is how many basic blocks are read at once when the log is searched.
const scanBlocks = 256

// disklog reads the log area of a filesystem, addressed by basic blocks.
type disklog struct {
	dev    io.ReaderAt
	geo    Geometry
	start  int64 // where the log begins, in bytes
	blocks int64 // its length, in basic blocks
	warn   func(error)

	scan   []byte // the blocks from scanAt on
	scanAt int64
	body   []byte // scratch of record
}

// openLog checks where the superblock says the log is.
func openLog(dev io.ReaderAt, size int64, g Geometry, warn func(error)) (*disklog, error) {
	n := int64(g.LogBlocks) * int64(g.BlockSize)
	if g.External != nil {
		if n <= 2*maxRecordV1 || n > maxLogBytes || n > g.External.Size {
			return nil, fmt.Errorf("log of %d blocks on a device of %#x bytes: %w", g.LogBlocks, g.External.Size, evidence.ErrCorrupt)
		}
		return &disklog{dev: g.External, geo: g, blocks: n / basicBlock, warn: warn, scanAt: -1}, nil
	}
	start, ok := g.offset(g.LogStart)
	// A record with its headers must fit; mkfs makes no log below 512 blocks.
	if !ok || n <= 2*maxRecordV1 || n > maxLogBytes || start > g.bytes()-n {
		return nil, fmt.Errorf("log of %d blocks at block %d: %w", g.LogBlocks, g.LogStart, evidence.ErrCorrupt)
	}
	if start > size-n {
		return nil, fmt.Errorf("log of %#x bytes at %#x goes beyond the end of the image (%#x): %w", n, start, size, evidence.ErrCorrupt)
	}
	return &disklog{dev: dev, geo: g, start: start, blocks: n / basicBlock, warn: warn, scanAt: -1}, nil
}

// block returns one basic block, valid until the next call.
func (l *disklog) block(b int64) ([]byte, error) {
	if b < 0 || b >= l.blocks {
		return nil, fmt.Errorf("log block %#x: %w", b, evidence.ErrCorrupt)
	}
	if at := b - b%scanBlocks; at != l.scanAt {
		n := min(scanBlocks, l.blocks-at)
		if l.scan == nil {
			l.scan = make([]byte, scanBlocks*basicBlock)
		}
		l.scanAt = -1
		if err := l.read(l.scan[:n*basicBlock], at); err != nil {
			return nil, err
		}
		l.scanAt = at
	}
	off := (b - l.scanAt) * basicBlock
	return l.scan[off : off+basicBlock], nil
}

// read fills p from basic block b on, going round the end of the log.
func (l *disklog) read(p []byte, b int64) error {
	for len(p) > 0 {
		b %= l.blocks
		n := min(int64(len(p)), (l.blocks-b)*basicBlock)
		if got, err := l.dev.ReadAt(p[:n], l.start+b*basicBlock); int64(got) < n {
			return fmt.Errorf("reading log block %#x: %w", b, err)
		}
		p, b = p[n:], b+n/basicBlock
	}
	return nil
}

// cycle returns the number of the round in which a block was last written
// (xlog_get_cycle): its first word, which a record header has in its second.
func (l *disklog) cycle(b int64) (uint32, error) {
	p, err := l.block(b)
	if err != nil {
		return 0, err
	}
	return blockCycle(p), nil
}

func blockCycle(p []byte) uint32 {
	if c := binary.BigEndian.Uint32(p); c != headerMagic {
		return c
	}
	return binary.BigEndian.Uint32(p[4:])
}

// header is struct xlog_rec_header, without its cycle words.
type header struct {
	cycle, version, length uint32
	lsn, tailLSN           uint64
	crc, ops, format, size uint32
	uuid                   [16]byte
}

func parseHeader(p []byte) header {
	be := binary.BigEndian
	h := header{
		cycle: be.Uint32(p[4:]), version: be.Uint32(p[8:]), length: be.Uint32(p[12:]),
		lsn: be.Uint64(p[16:]), tailLSN: be.Uint64(p[24:]), crc: binary.LittleEndian.Uint32(p[32:]),
		ops: be.Uint32(p[40:]), format: be.Uint32(p[300:]), size: be.Uint32(p[320:]),
	}
	copy(h.uuid[:], p[304:])
	return h
}

func isHeader(p []byte) bool { return binary.BigEndian.Uint32(p) == headerMagic }

// headerBlocks returns how many blocks a record's headers take (xlog_logrec_hblks).
func (l *disklog) headerBlocks(h header) int64 {
	if !l.geo.LogV2 || h.version&2 == 0 || h.size <= headerCycles {
		return 1
	}
	return (min(int64(h.size), maxRecord) + headerCycles - 1) / headerCycles
}

// dataBlocks returns how many blocks a record's data takes.
func (h header) dataBlocks() int64 { return (int64(h.length) + basicBlock - 1) / basicBlock }

// valid is xlog_valid_rec_header. mkfs.xfs writes an unmount record that is as
// long as the stripe unit and yet says h_size 32 KiB; it is let through, as the
// kernel does (xlog_do_recovery_pass).
func (l *disklog) valid(h header, b int64) error {
	limit := uint32(maxRecordV1)
	if l.geo.LogV2 {
		limit = min(h.size, maxRecord)
		if h.ops == 1 {
			limit = maxRecord
		}
	}
	if h.version == 0 || h.version&^3 != 0 {
		return fmt.Errorf("log record at block %#x: version %#x: %w", b, h.version, evidence.ErrCorrupt)
	}
	if h.length == 0 || h.length > limit || l.headerBlocks(h)+h.dataBlocks() > l.blocks {
		return fmt.Errorf("log record at block %#x: length %#x: %w", b, h.length, evidence.ErrCorrupt)
	}
	return nil
}

// record is one log record; data is its content with the cycle words taken out.
type record struct {
	header
	at     int64 // its first block
	span   int64 // blocks, headers and all
	badCRC bool
	data   []byte
}

// record reads the record at block b, which may go round the end of the log.
// Its data is valid until the next call.
func (l *disklog) record(b int64) (*record, error) {
	p, err := l.block(b)
	if err != nil {
		return nil, err
	}
	if !isHeader(p) {
		return nil, fmt.Errorf("log block %#x: record magic %#x: %w", b, binary.BigEndian.Uint32(p), evidence.ErrCorrupt)
	}
	h := parseHeader(p)
	if err := l.valid(h, b); err != nil {
		return nil, err
	}
	hb, db := l.headerBlocks(h), h.dataBlocks()
	if l.body == nil {
		l.body = make([]byte, maxRecord+maxRecord/headerCycles*basicBlock)
	}
	all := l.body[:(hb+db)*basicBlock]
	if err := l.read(all, b); err != nil {
		return nil, err
	}
	heads, data := all[:hb*basicBlock], all[hb*basicBlock:][:h.length]
	r := &record{header: h, at: b, span: hb + db, data: data}
	// mkfs.xfs and kernels before 3.8 leave h_crc zero (xlog_recover_process).
	r.badCRC = h.crc != 0 && !checkRecord(heads, data, h.crc, l.geo.LogV2)
	unpack(heads, all[hb*basicBlock:])
	return r, nil
}

// checkRecord is xlog_cksum: the header with h_crc zero, the extended headers
// that the data needs, the data as it lies on the disk. A 32-bit x86 kernel
// counts four bytes less of the header.
func checkRecord(heads, data []byte, want uint32, v2 bool) bool {
	for _, size := range [...]int{recHeaderSize, recHeaderSizeX} {
		var zero [4]byte
		c := crc32.Update(0, castagnoli, heads[:32])
		c = crc32.Update(c, castagnoli, zero[:])
		c = crc32.Update(c, castagnoli, heads[36:size])
		if v2 {
			for i := 1; i < (len(data)+headerCycles-1)/headerCycles && (i+1)*basicBlock <= len(heads); i++ {
				c = crc32.Update(c, castagnoli, heads[i*basicBlock:][:extHeaderSize])
			}
		}
		if crc32.Update(c, castagnoli, data) == want {
			return true
		}
	}
	return false
}

// unpack puts back the words that the cycle numbers displaced (xlog_unpack_data).
func unpack(heads, blocks []byte) {
	for i := 0; i*basicBlock < len(blocks); i++ {
		head, word := i/cycleDataSize, i%cycleDataSize
		at := 44 + word*4 // h_cycle_data
		if head > 0 {
			at = head*basicBlock + 4 + word*4 // xh_cycle_data
		}
		if (head+1)*basicBlock > len(heads) {
			return
		}
		copy(blocks[i*basicBlock:][:4], heads[at:at+4])
	}
}

// walk calls fn with each record from block tail up to block head, round the
// end of the log if head is before tail (xlog_do_recovery_pass). Where a record
// is unreadable or fn fails, it returns that record's block with the error.
func (l *disklog) walk(tail, head int64, fn func(*record) error) (int64, error) {
	lastRound := tail <= head
	for b := tail; ; {
		if !lastRound && b >= l.blocks {
			b, lastRound = b-l.blocks, true
		}
		if lastRound && b >= head {
			return -1, nil
		}
		r, err := l.record(b)
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			return b, err
		}
		b += r.span
	}
}
