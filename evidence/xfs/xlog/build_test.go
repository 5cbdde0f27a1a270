package xlog

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"
)

// The filesystem of the crafted tests: 4 groups of 1024 blocks of 4096 bytes,
// inodes of 512, a log of 256 blocks at block 8 of group 1.
const (
	testBlock    = 4096
	testAGBlocks = 1024
	testLogStart = (testAGBlocks + 8) * testBlock
	testLogBytes = 256 * testBlock
	testSize     = 4 * testAGBlocks * testBlock
	testInode    = 512
)

var testUUID = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// disk is a sparse device of testSize bytes.
type disk map[int64][]byte

func (d disk) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		if off >= testSize {
			return n, io.EOF
		}
		at := off - off%testBlock
		m := min(len(p)-n, int(at+testBlock-off))
		if b := d[at]; b != nil {
			copy(p[n:n+m], b[off-at:])
		} else {
			clear(p[n : n+m])
		}
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

func (d disk) put(p []byte, off int64) {
	for len(p) > 0 {
		at := off - off%testBlock
		if d[at] == nil {
			d[at] = make([]byte, testBlock)
		}
		n := copy(d[at][off-at:], p)
		p, off = p[n:], off+int64(n)
	}
}

func testSuper(v5 bool) []byte {
	be := binary.BigEndian
	sb := make([]byte, basicBlock)
	be.PutUint32(sb, magicSB)
	be.PutUint32(sb[4:], testBlock)
	be.PutUint64(sb[8:], 4*testAGBlocks)
	copy(sb[32:], testUUID[:])
	be.PutUint64(sb[48:], 1<<10|8) // logstart
	be.PutUint32(sb[84:], testAGBlocks)
	be.PutUint32(sb[88:], 4)
	be.PutUint32(sb[96:], testLogBytes/testBlock)
	be.PutUint16(sb[102:], 512)
	be.PutUint16(sb[104:], testInode)
	sb[120], sb[121], sb[122], sb[123], sb[124] = 12, 9, 9, 3, 10
	be.PutUint16(sb[100:], 4|versionLogV2)
	if v5 {
		be.PutUint16(sb[100:], 5|versionLogV2)
		be.PutUint32(sb[180:], 4) // inoalignmt
	}
	return sb
}

// op is one operation of a record.
type op struct {
	tid   uint32
	flags byte
	data  []byte
}

// logWriter writes records into a log as the kernel does.
type logWriter struct {
	log    []byte
	block  int
	cycle  uint32
	size   uint32 // h_size
	tail   uint64
	format uint32
	uuid   [16]byte
	v1     bool
	badCRC bool
	lastAt int
}

func newLogWriter() *logWriter {
	return &logWriter{log: make([]byte, testLogBytes), cycle: 1, size: 32 << 10, tail: 1 << 32, format: fmtLinuxLE, uuid: testUUID}
}

func (w *logWriter) lsn() uint64 { return uint64(w.cycle)<<32 | uint64(w.block) }

// record writes one record and returns its sequence number.
func (w *logWriter) record(ops ...op) uint64 {
	be := binary.BigEndian
	var data []byte
	for _, o := range ops {
		h := make([]byte, opHeaderSize)
		be.PutUint32(h, o.tid)
		be.PutUint32(h[4:], uint32(len(o.data)))
		h[8], h[9] = clientTransaction, o.flags
		data = append(append(data, h...), o.data...)
	}
	for len(data)%basicBlock != 0 {
		data = append(data, 0)
	}
	lsn, hb := w.lsn(), 1
	if !w.v1 && w.size > headerCycles {
		hb = int(w.size+headerCycles-1) / headerCycles
	}
	all := make([]byte, hb*basicBlock+len(data))
	heads, body := all[:hb*basicBlock], all[hb*basicBlock:]
	copy(body, data)
	be.PutUint32(heads, headerMagic)
	be.PutUint32(heads[4:], w.cycle)
	be.PutUint32(heads[8:], 2)
	if w.v1 {
		be.PutUint32(heads[8:], 1)
	}
	be.PutUint32(heads[12:], uint32(len(data)))
	be.PutUint64(heads[16:], lsn)
	be.PutUint64(heads[24:], w.tail)
	be.PutUint32(heads[40:], uint32(len(ops)))
	be.PutUint32(heads[300:], w.format)
	copy(heads[304:], w.uuid[:])
	be.PutUint32(heads[320:], w.size)
	blocks := len(w.log) / basicBlock
	stamp := func(i int) uint32 { // the cycle goes up where the record goes round
		if w.block+i >= blocks {
			return w.cycle + 1
		}
		return w.cycle
	}
	for i := 1; i < hb; i++ {
		be.PutUint32(heads[i*basicBlock:], stamp(i))
	}
	for i := 0; i < len(body)/basicBlock; i++ {
		at := 44 + i%cycleDataSize*4
		if i >= cycleDataSize {
			at = i/cycleDataSize*basicBlock + 4 + i%cycleDataSize*4
		}
		copy(heads[at:at+4], body[i*basicBlock:])
		be.PutUint32(body[i*basicBlock:], stamp(hb+i))
	}
	sum := crc32.Checksum(heads[:recHeaderSize], castagnoli)
	for i := 1; i < (len(body)+headerCycles-1)/headerCycles && i < hb; i++ {
		sum = crc32.Update(sum, castagnoli, heads[i*basicBlock:][:extHeaderSize])
	}
	sum = crc32.Update(sum, castagnoli, body)
	if w.badCRC {
		sum++
	}
	binary.LittleEndian.PutUint32(heads[32:], sum)
	w.lastAt = w.block
	for i := 0; i < len(all)/basicBlock; i++ {
		copy(w.log[(w.block+i)%blocks*basicBlock:], all[i*basicBlock:(i+1)*basicBlock])
	}
	if w.block += len(all) / basicBlock; w.block >= blocks {
		w.block -= blocks
		w.cycle++
	}
	return lsn
}

// unmount writes the record that makes a log clean.
func (w *logWriter) unmount() {
	w.tail = w.lsn()
	w.record(op{1, opUnmount, []byte{0x6e, 0x55, 0, 0, 0, 0, 0, 0}})
}

// fill writes records of at most n blocks each, without meaning, up to block end.
func (w *logWriter) fill(end, n int) {
	for left := end - w.block; left > 0; {
		m := min(n, left)
		if left-m == 1 {
			m--
		}
		w.record(op{99, 0, make([]byte, (m-1)*basicBlock-opHeaderSize)})
		left -= m
	}
}

// order returns the byte order of items.
func (w *logWriter) order() binary.ByteOrder {
	if w.format == fmtLinuxBE {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// trans returns the operations of a whole transaction.
func (w *logWriter) trans(tid uint32, regions ...[]byte) []op {
	head := make([]byte, transHeaderSize)
	w.order().PutUint32(head, transMagic)
	ops := []op{{tid, opStart, nil}, {tid, 0, head}}
	for _, r := range regions {
		ops = append(ops, op{tid, 0, r})
	}
	return append(ops, op{tid, opCommit, nil})
}

// bufItem returns the regions of a buffer item: data at each of the given chunks.
func (w *logWriter) bufItem(flags uint16, daddr int64, blocks int, chunks map[int][]byte) [][]byte {
	o := w.order()
	f := make([]byte, blfHeaderSize+8)
	o.PutUint16(f, itemBuf)
	o.PutUint16(f[4:], flags)
	o.PutUint16(f[6:], uint16(blocks))
	o.PutUint64(f[8:], uint64(daddr))
	o.PutUint32(f[16:], 2)
	regions := [][]byte{f}
	for i := 0; i < 64; i++ {
		d, ok := chunks[i]
		if !ok {
			continue
		}
		for j := 0; j < len(d)/blfChunk; j++ {
			bit := i + j
			word := f[blfHeaderSize+bit/32*4:]
			o.PutUint32(word, o.Uint32(word)|1<<(bit%32))
		}
		regions = append(regions, d)
	}
	o.PutUint16(f[2:], uint16(len(regions)))
	return regions
}

// setup puts superblock and log on a disk.
func (w *logWriter) setup(tb testing.TB, v5 bool) (disk, Geometry) {
	tb.Helper()
	d := disk{}
	sb := testSuper(v5)
	if w.v1 {
		binary.BigEndian.PutUint16(sb[100:], 4)
	}
	d.put(sb, 0)
	for at := 0; at < len(w.log); at += testBlock {
		d.put(w.log[at:at+testBlock], int64(testLogStart+at))
	}
	g, err := GeometryOf(sb)
	if err != nil {
		tb.Fatal(err)
	}
	return d, g
}
