package xlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
)

// replay runs Replay over what w wrote, with blocks put on the disk before.
func replay(t *testing.T, w *logWriter, v5 bool, before func(d disk)) (*Result, []string) {
	t.Helper()
	d, g := w.setup(t, v5)
	if before != nil {
		before(d)
	}
	var warnings []string
	r, err := Replay(d, testSize, g, func(err error) {
		if !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
			t.Errorf("warning of an unknown kind: %v", err)
		}
		warnings = append(warnings, err.Error())
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, warnings
}

func readAt(t *testing.T, r *Result, off int64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := r.Image.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return b
}

// dirty begins a log with something before the tail.
func dirty() *logWriter {
	w := newLogWriter()
	w.unmount()
	w.tail = w.lsn()
	return w
}

const (
	target = 3 * testBlock // block 3 of group 0
	daddr  = target / basicBlock
)

func fill(n int, c byte) []byte { return bytes.Repeat([]byte{c}, n) }

// dirBlock makes a version 5 directory block with the given sequence number.
func dirBlock(lsn uint64, c byte) []byte {
	b := fill(testBlock, c)
	binary.BigEndian.PutUint32(b, 0x58444233)
	binary.BigEndian.PutUint64(b[16:], lsn)
	copy(b[24:], testUUID[:])
	return b
}

func TestBuffers(t *testing.T) {
	t.Run("chunks", func(t *testing.T) {
		w := dirty()
		// Chunks 0 and 1 are one run of bits in two regions.
		it := w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'a'), 1: fill(128, 'b'), 10: fill(384, 'c')})
		w.record(w.trans(7, it...)...)
		r, warnings := replay(t, w, false, func(d disk) { d.put(fill(testBlock, '.'), target) })
		want := append(append(append(append(fill(128, 'a'), fill(128, 'b')...), fill(1024, '.')...), fill(384, 'c')...), fill(testBlock-1664, '.')...)
		if got := readAt(t, r, target, testBlock); !bytes.Equal(got, want) {
			t.Error("content differs")
		}
		if r.State != evidence.JournalReplayed || r.Transactions != 1 || r.Objects != 1 || len(warnings) > 0 {
			t.Errorf("%+v, %v", r, warnings)
		}
		if !r.Changed(target, 256) || r.Changed(target+256, 1024) || !r.Changed(target+1280, 1) || r.Changed(target-512, 512) || r.Changed(target+testBlock, 9999) {
			t.Error("Changed is wrong")
		}
	})
	t.Run("sequence numbers", func(t *testing.T) {
		for _, tt := range []struct {
			name  string
			delta int64
			uuid  byte
			want  byte
		}{{"older", -1, 0, 'n'}, {"same", 0, 0, 'o'}, {"newer", 1, 0, 'o'}, {"another filesystem's", 1, 1, 'n'}} {
			w := dirty()
			lsn := w.lsn()
			it := w.bufItem(blftDirBlock<<blftShift, daddr, 8, map[int][]byte{0: dirBlock(5, 'n')[:128], 8: fill(128, 'n')})
			w.record(w.trans(7, it...)...)
			r, _ := replay(t, w, true, func(d disk) {
				b := dirBlock(uint64(int64(lsn)+tt.delta), 'o')
				b[24] += tt.uuid
				d.put(b, target)
			})
			b := readAt(t, r, target, testBlock)
			if b[8*128] != tt.want {
				t.Errorf("%s: got %c", tt.name, b[8*128])
			}
			if tt.want != 'n' {
				continue
			}
			if got := binary.BigEndian.Uint64(b[16:]); got != lsn {
				t.Errorf("%s: stamped %#x, want %#x", tt.name, got, lsn)
			}
			sum := binary.LittleEndian.Uint32(b[4:])
			clear(b[4:8])
			if crc32.Checksum(b, castagnoli) != sum {
				t.Errorf("%s: checksum", tt.name)
			}
		}
	})
	t.Run("two checkpoints of one record", func(t *testing.T) {
		w := dirty()
		a := w.trans(7, w.bufItem(blftDirBlock<<blftShift, daddr, 8, map[int][]byte{0: dirBlock(5, 'a')[:128]})...)
		b := w.trans(8, w.bufItem(blftDirBlock<<blftShift, daddr, 8, map[int][]byte{0: dirBlock(5, 'b')[:128]})...)
		w.record(append(a, b...)...)
		r, _ := replay(t, w, true, nil)
		if got := readAt(t, r, target+100, 1); got[0] != 'b' || r.Transactions != 2 {
			t.Errorf("got %c, %d transactions", got[0], r.Transactions)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		w := dirty()
		w.record(w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'a')})...)...)
		w.record(w.trans(8, w.bufItem(blfCancel, daddr, 8, nil)...)...)
		w.record(w.trans(9, w.bufItem(0, daddr, 8, map[int][]byte{1: fill(128, 'c')})...)...)
		r, _ := replay(t, w, false, nil)
		if got := readAt(t, r, target, 256); got[0] != 0 || got[128] != 'c' {
			t.Errorf("got %q", got[:1])
		}
	})
	t.Run("bad", func(t *testing.T) {
		w := dirty()
		w.record(w.trans(1, w.bufItem(0, testSize/basicBlock, 8, map[int][]byte{0: fill(128, 'a')})...)...)
		w.record(w.trans(2, w.bufItem(0, -8, 8, map[int][]byte{0: fill(128, 'a')})...)...)
		w.record(w.trans(3, w.bufItem(0, daddr, 1, map[int][]byte{4: fill(128, 'a')})...)...)
		short := w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'a')})
		short[1] = short[1][:60]
		w.record(w.trans(4, short...)...)
		w.record(w.trans(5, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'z')})...)...)
		r, warnings := replay(t, w, false, nil)
		if len(warnings) != 4 || readAt(t, r, target, 1)[0] != 'z' {
			t.Errorf("%q", warnings)
		}
	})
}

// TestTransactions covers what becomes of transactions that records cut in pieces.
func TestTransactions(t *testing.T) {
	t.Run("split", func(t *testing.T) {
		w := dirty()
		ops := w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(256, 'a'), 9: fill(128, 'b')})...)
		head, region := ops[1].data, ops[3].data
		w.record(ops[0], op{7, opContinue, head[:4]})
		w.record(op{7, opWasCont | opEnd, head[4:]}, ops[2], op{7, opContinue, region[:100]})
		w.record(op{7, opWasCont | opContinue, region[100:104]})
		w.record(append([]op{{7, opWasCont | opEnd, region[104:]}}, ops[4:]...)...)
		r, warnings := replay(t, w, false, nil)
		b := readAt(t, r, target, testBlock)
		if b[255] != 'a' || b[9*128] != 'b' || len(warnings) > 0 {
			t.Errorf("not replayed, %v", warnings)
		}
	})
	t.Run("interleaved, one without an end", func(t *testing.T) {
		w := dirty()
		a := w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'a')})...)
		b := w.trans(8, w.bufItem(0, daddr, 8, map[int][]byte{1: fill(128, 'b')})...)
		w.record(a[0], b[0], b[1], a[1], a[2], b[2], b[3], a[3], b[4])
		r, _ := replay(t, w, false, nil)
		if got := readAt(t, r, target, 256); got[0] != 0 || got[128] != 'b' || r.Transactions != 1 {
			t.Errorf("%c %c", got[0], got[128])
		}
	})
	t.Run("begun before the tail", func(t *testing.T) {
		w := dirty()
		a := w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'a')})...)
		w.record(a[2:]...)
		r, warnings := replay(t, w, false, nil)
		if r.Transactions != 0 || len(warnings) > 0 {
			t.Errorf("%+v %v", r, warnings)
		}
	})
	t.Run("a bad record stops", func(t *testing.T) {
		w := dirty()
		w.record(w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'a')})...)...)
		w.badCRC = true
		w.record(w.trans(8, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'b')})...)...)
		w.badCRC = false
		for range 20 { // more than can have been in flight
			w.record(w.trans(9, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'c')})...)...)
		}
		r, warnings := replay(t, w, true, nil)
		if got := readAt(t, r, target, 1); got[0] != 'a' || !strings.Contains(r.Note, "stopped at log block") || len(warnings) != 1 {
			t.Errorf("%c %q %v", got[0], r.Note, warnings)
		}
	})
	t.Run("written by a big-endian machine", func(t *testing.T) {
		w := dirty()
		w.format = fmtLinuxBE
		w.record(w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{3: fill(128, 'a')})...)...)
		r, _ := replay(t, w, false, nil)
		if got := readAt(t, r, target+3*128, 1); got[0] != 'a' {
			t.Errorf("%c", got[0])
		}
	})
	t.Run("log version 1", func(t *testing.T) {
		w := newLogWriter()
		w.v1 = true
		w.unmount()
		w.tail = w.lsn()
		w.record(w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{3: fill(2048, 'a')})...)...)
		w.badCRC = true // without version 5 of the filesystem it only counts at the head
		w.record(w.trans(8, w.bufItem(0, daddr, 8, map[int][]byte{4: fill(128, 'b')})...)...)
		w.badCRC = false
		for i := range 9 {
			w.record(w.trans(9, w.bufItem(0, daddr, 8, map[int][]byte{20 + i: fill(128, 'c')})...)...)
		}
		r, warnings := replay(t, w, false, nil)
		if got := readAt(t, r, target, testBlock); got[3*128] != 'a' || got[4*128] != 'b' || got[28*128] != 'c' || len(warnings) != 1 {
			t.Errorf("%q %q", warnings, r.Note)
		}
	})
	t.Run("long record round the end of the log", func(t *testing.T) {
		w := newLogWriter()
		w.fill(2045, 64)
		w.tail = w.lsn()
		w.size = 256 << 10 // 8 blocks of headers: they go round the end too
		var ops []op
		for i := range uint32(30) {
			ops = append(ops, w.trans(i, w.bufItem(0, daddr+8*int64(i), 8, map[int][]byte{0: fill(4096, byte(i))})...)...)
		}
		w.record(ops...)
		r, warnings := replay(t, w, true, nil)
		for i := range int64(30) {
			if b := readAt(t, r, target+i*testBlock, testBlock); !bytes.Equal(b, fill(testBlock, byte(i))) {
				t.Errorf("buffer %d differs", i)
			}
		}
		if len(warnings) > 0 || r.Transactions != 30 {
			t.Errorf("%q, %d transactions", warnings, r.Transactions)
		}
	})
	t.Run("clean", func(t *testing.T) {
		w := newLogWriter()
		w.unmount()
		r, _ := replay(t, w, true, nil)
		if r.State != evidence.JournalClean || r.Changed(0, testSize) {
			t.Errorf("%+v", r)
		}
	})
}

// inodeItem returns the regions of an inode item for inode ino, at its place.
func (w *logWriter) inodeItem(ino uint64, fields uint32, size32 bool, core []byte, forks ...[]byte) [][]byte {
	o := w.order()
	f := make([]byte, 56)
	o.PutUint16(f, itemInode)
	o.PutUint16(f[2:], uint16(2+len(forks)))
	o.PutUint32(f[4:], fields|1)
	pad := 4
	if size32 {
		pad, f = 0, f[:52]
	}
	o.PutUint64(f[12+pad:], ino)
	o.PutUint32(f[20+pad:], 0x12345678)
	o.PutUint64(f[36+pad:], ino/8*8)
	o.PutUint32(f[44+pad:], 8)
	o.PutUint32(f[48+pad:], uint32(ino%8)*testInode)
	return append([][]byte{f, core}, forks...)
}

// logCore makes a logged inode core in host order.
func (w *logWriter) logCore(version byte, flags2 uint64) []byte {
	o := w.order()
	c := make([]byte, inodeCoreV3)
	if version < 3 {
		c = c[:inodeCoreV2]
	}
	o.PutUint16(c, magicInode)
	o.PutUint16(c[2:], 0o100644)
	c[4], c[5], c[82] = version, formatExtents, 0
	o.PutUint32(c[8:], 1000)
	o.PutUint32(c[16:], 2)
	o.PutUint64(c[inodeSize:], 0x123456789)
	put := func(off int, sec int64, nsec uint32) {
		if flags2&flag2BigTime != 0 {
			o.PutUint64(c[off:], uint64(sec+1<<31)*1e9+uint64(nsec))
			return
		}
		o.PutUint32(c[off:], uint32(int32(sec)))
		o.PutUint32(c[off+4:], nsec)
	}
	put(32, 100, 1)
	put(40, -5, 2)
	put(inodeCtime, 1700000000, 3)
	if flags2&flag2NREXT64 != 0 {
		o.PutUint64(c[inodeNREXT64:], 7)
		o.PutUint32(c[inodeNExtents:], 9)
	} else {
		o.PutUint32(c[inodeNExtents:], 7)
		o.PutUint16(c[80:], 9)
	}
	if version >= 3 {
		put(144, 50, 4)
		o.PutUint64(c[inodeFlags2:], flags2)
		o.PutUint64(c[inodeInumber:], 24)
		copy(c[inodeUUID:], testUUID[:])
	} else {
		o.PutUint16(c[inodeFlushIter:], 5)
	}
	return c
}

// freeInode is what the disk has at an inode's place.
func freeInode(version byte) []byte {
	d := make([]byte, testInode)
	binary.BigEndian.PutUint16(d, magicInode)
	d[4] = version
	binary.BigEndian.PutUint32(d[inodeNextUnl:], 0xabcd)
	return d
}

func TestInodes(t *testing.T) {
	const at = 24 / 8 * testBlock
	be := binary.BigEndian
	for _, tt := range []struct {
		name     string
		version  byte
		flags2   uint64
		format   uint32
		size32   bool
		nextents int
	}{
		{"version 3", 3, 0, fmtLinuxLE, false, 76},
		{"bigtime", 3, flag2BigTime, fmtLinuxLE, false, 76},
		{"nrext64", 3, flag2BigTime | flag2NREXT64, fmtLinuxLE, false, 28},
		{"version 2", 2, 0, fmtLinuxLE, false, 76},
		{"version 2 of a 32-bit machine", 2, 0, fmtLinuxLE, true, 76},
		{"big-endian", 3, flag2BigTime, fmtLinuxBE, false, 76},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := dirty()
			w.format = tt.format
			core := w.logCore(tt.version, tt.flags2)
			core[inodeForkOff] = 4
			lsn := w.record(w.trans(7, w.inodeItem(24, ilogExt|ilogAData, tt.size32, core, fill(16, 'e'), fill(4, 'x'))...)...)
			v5 := tt.version == 3
			r, warnings := replay(t, w, v5, func(d disk) { d.put(freeInode(tt.version), at) })
			if len(warnings) > 0 {
				t.Fatal(warnings)
			}
			d := readAt(t, r, at, testInode)
			if be.Uint16(d[2:]) != 0o100644 || be.Uint32(d[8:]) != 1000 || be.Uint64(d[inodeSize:]) != 0x123456789 || be.Uint32(d[tt.nextents:]) != 7 || be.Uint32(d[inodeNextUnl:]) != 0xabcd {
				t.Errorf("core % x", d[:176])
			}
			if got, want := inodeTime(d, inodeCtime), time.Unix(1700000000, 3).UTC(); !got.Equal(want) || !r.Last.Equal(want) || !r.First.Equal(want) {
				t.Errorf("ctime %v, %v, %v", got, r.First, r.Last)
			}
			if got := inodeTime(d, 40); !got.Equal(time.Unix(-5, 2)) {
				t.Errorf("mtime %v", got)
			}
			fork := d[inodeForkV2:]
			if v5 {
				fork = d[inodeCoreV3:]
				if be.Uint64(d[inodeLSN:]) != lsn || be.Uint64(d[inodeInumber:]) != 24 || be.Uint16(d[80:]) != 9 && tt.nextents == 76 {
					t.Errorf("lsn %#x, want %#x", be.Uint64(d[inodeLSN:]), lsn)
				}
				sum := binary.LittleEndian.Uint32(d[inodeCRC:])
				clear(d[inodeCRC:][:4])
				if crc32.Checksum(d, castagnoli) != sum {
					t.Error("checksum")
				}
			} else if be.Uint16(d[inodeFlushIter:]) != 0 {
				t.Error("flush count not reset")
			}
			want := append(append(fill(16, 'e'), fill(16, 0)...), fill(4, 'x')...)
			if !bytes.Equal(fork[:36], want) {
				t.Errorf("forks %q", fork[:36])
			}
		})
	}
	t.Run("newer on the disk", func(t *testing.T) {
		for _, v5 := range []bool{true, false} {
			version := byte(2)
			if v5 {
				version = 3
			}
			w := dirty()
			w.record(w.trans(7, w.inodeItem(24, 0, false, w.logCore(version, 0))...)...)
			r, _ := replay(t, w, v5, func(d disk) {
				b := freeInode(version)
				be.PutUint16(b[inodeFlushIter:], 6)
				be.PutUint64(b[inodeLSN:], 99<<32)
				d.put(b, at)
			})
			if got := be.Uint16(readAt(t, r, at, 4)[2:]); got != 0 || r.Objects != 0 {
				t.Errorf("v5 %v: mode %o", v5, got)
			}
		}
	})
	t.Run("device, attribute fork, root of a btree", func(t *testing.T) {
		w := dirty()
		core := w.logCore(3, 0)
		core[82] = 10 // the data fork has 80 bytes
		core[5] = formatBtree
		root := make([]byte, longBlockV5+3*16)
		be.PutUint16(root[4:], 2)
		be.PutUint16(root[6:], 3)
		for i := range 3 {
			be.PutUint64(root[longBlockV5+i*8:], uint64(10+i))
			be.PutUint64(root[longBlockV5+24+i*8:], uint64(100+i))
		}
		dev := w.inodeItem(25, ilogDev, false, w.logCore(3, 0))
		w.record(w.trans(7, append(w.inodeItem(24, ilogBroot|ilogAData, false, core, root, fill(8, 'x')), dev...)...)...)
		r, warnings := replay(t, w, true, func(d disk) { d.put(freeInode(3), at); d.put(freeInode(3), at+testInode) })
		d := readAt(t, r, at, testInode)[inodeCoreV3:]
		// 80 bytes have room for 4 records: pointers begin after 4 keys.
		want := append([]byte{0, 2, 0, 3}, root[longBlockV5:longBlockV5+24]...)
		if !bytes.Equal(d[:28], want) || !bytes.Equal(d[4+32:4+32+24], root[longBlockV5+24:]) || !bytes.Equal(d[80:89], append(fill(8, 'x'), 0)) {
			t.Errorf("% x %v", d[:96], warnings)
		}
		if got := be.Uint32(readAt(t, r, at+testInode+inodeCoreV3, 4)); got != 0x12345678 {
			t.Errorf("device %#x", got)
		}
	})
	t.Run("created, then used, then unlinked", func(t *testing.T) {
		w := dirty()
		ic := make([]byte, 28)
		binary.LittleEndian.PutUint16(ic, itemICreate)
		binary.LittleEndian.PutUint16(ic[2:], 1)
		for i, v := range []uint32{0, 3, 64, testInode, 8, 0x777} {
			be.PutUint32(ic[4+i*4:], v)
		}
		next := fill(testBlock, 0)
		for i := range 8 {
			be.PutUint32(next[i*testInode+inodeNextUnl:], uint32(0x100+i))
		}
		unlinked := w.bufItem(blfInodeBuf, at/basicBlock, 8, map[int][]byte{4: next[512:640], 12: next[1536:1664]})
		// In the log the inode item and the unlinked list come first.
		regions := append(append(unlinked, w.inodeItem(25, 0, false, w.logCore(3, 0))...), ic)
		w.record(w.trans(7, regions...)...)
		r, warnings := replay(t, w, true, nil)
		b := readAt(t, r, at, 8*testBlock)
		ino := func(i int) []byte { return b[i*testInode:][:testInode] }
		if len(warnings) > 0 || be.Uint64(ino(63)[inodeInumber:]) != 24+63 || be.Uint32(ino(63)[inodeGen:]) != 0x777 || be.Uint32(ino(0)[inodeNextUnl:]) != ^uint32(0) {
			t.Errorf("chunk: %v", warnings)
		}
		if be.Uint16(ino(1)[2:]) != 0o100644 || be.Uint32(ino(1)[inodeNextUnl:]) != 0x101 || be.Uint32(ino(3)[inodeNextUnl:]) != 0x103 || be.Uint32(ino(2)[inodeNextUnl:]) != ^uint32(0) {
			t.Error("unlinked pointers")
		}
	})
}
