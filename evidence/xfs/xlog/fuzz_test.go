package xlog

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"

	"lagan/evidence"
)

// crashes returns the logs in testdata: each is the first sector of a
// filesystem that the kernel was made to drop while it was written to, and the
// written part of its log.
func crashes(tb testing.TB) map[string][]byte {
	tb.Helper()
	names, err := filepath.Glob("testdata/*.gz")
	if err != nil || len(names) == 0 {
		tb.Fatalf("no testdata: %v", err)
	}
	out := make(map[string][]byte)
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			tb.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			tb.Fatal(err)
		}
		f.Close()
		out[filepath.Base(name)] = b
	}
	return out
}

// crashDisk is a disk of nothing but superblock, log, and free inodes.
type crashDisk struct {
	super, log  []byte
	start, size int64
	geo         Geometry
}

func newCrashDisk(b []byte) (*crashDisk, Geometry, error) {
	if len(b) < basicBlock {
		return nil, Geometry{}, evidence.ErrFormat
	}
	g, err := GeometryOf(b)
	if err != nil {
		return nil, g, err
	}
	start, _ := g.offset(g.LogStart)
	return &crashDisk{b[:basicBlock], b[basicBlock:], start, g.bytes(), g}, g, nil
}

func (d *crashDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= d.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), d.size-off))
	clear(p[:n])
	in := func(b []byte, at int64) {
		if off < at+int64(len(b)) && off+int64(n) > at {
			if off >= at {
				copy(p[:n], b[off-at:])
			} else {
				copy(p[at-off:n], b)
			}
		}
	}
	if off < d.start || off >= d.start+maxLogBytes {
		d.inodes(p[:n], off)
	}
	in(d.super, 0)
	in(d.log, d.start)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// inodes fills p with empty files, each with its number.
func (d *crashDisk) inodes(p []byte, off int64) {
	size, be := int64(d.geo.InodeSize), binary.BigEndian
	for at := (off + size - 1) / size * size; at+inodeCoreV3 <= off+int64(len(p)); at += size {
		b := p[at-off:]
		copy(b, []byte{'I', 'N', 0x81, 0, 3, formatExtents})
		block := uint64(at / int64(d.geo.BlockSize))
		fsb := block/uint64(d.geo.AGBlocks)<<d.geo.AgBlkLog | block%uint64(d.geo.AGBlocks)
		be.PutUint64(b[inodeInumber:], fsb<<d.geo.InopBlog|uint64(at%int64(d.geo.BlockSize)/size))
	}
}

// reseal makes the checksums of the records right again, so that mutations
// reach the items behind them.
func reseal(log []byte) {
	be := binary.BigEndian
	for at := 0; at+basicBlock <= len(log); {
		h := log[at:]
		if be.Uint32(h) != headerMagic {
			at += basicBlock
			continue
		}
		length, heads := int(min(be.Uint32(h[12:]), maxRecord)), int(max(1, (min(be.Uint32(h[320:]), maxRecord)+headerCycles-1)/headerCycles))
		if heads*basicBlock+length > len(h) || be.Uint32(h[32:]) == 0 {
			at += basicBlock
			continue
		}
		clear(h[32:36])
		sum := crc32.Checksum(h[:recHeaderSize], castagnoli)
		for i := 1; i < (length+headerCycles-1)/headerCycles && i < heads; i++ {
			sum = crc32.Update(sum, castagnoli, h[i*basicBlock:][:extHeaderSize])
		}
		binary.LittleEndian.PutUint32(h[32:], crc32.Update(sum, castagnoli, h[heads*basicBlock:][:length]))
		at += heads*basicBlock + (length+basicBlock-1)/basicBlock*basicBlock
	}
}

// TestCrashes replays the logs in testdata.
func TestCrashes(t *testing.T) {
	for name, b := range crashes(t) {
		d, g, err := newCrashDisk(b)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Replay(d, d.size, g, func(err error) { t.Errorf("%s: %v", name, err) })
		if err != nil {
			t.Fatal(err)
		}
		if r.State != evidence.JournalReplayed || r.Transactions < 3 || r.Objects < 50 || r.Note != "" || r.Last.IsZero() {
			t.Errorf("%s: %+v", name, r)
		}
		// The reseal of fuzzing must agree with the kernel's checksums.
		again := bytes.Clone(b)
		reseal(again[basicBlock:])
		if !bytes.Equal(again, b) {
			t.Errorf("%s: checksums differ", name)
		}
	}
}

func FuzzReplay(f *testing.F) {
	for _, b := range crashes(f) {
		f.Add(b, true)
	}
	w := dirty()
	w.record(w.trans(7, w.bufItem(0, daddr, 8, map[int][]byte{0: fill(128, 'a')})...)...)
	w.record(w.trans(8, w.bui(1, 5, 105, 3, bmapMap), w.bui(2, 6, 106, 1, bmapUnmap), w.xmi(0, 10, 12, exchangeSizes, 0))...)
	f.Add(append(testSuper(true), w.log[:w.block*basicBlock]...), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if len(b) > 1<<20 {
			return
		}
		b = bytes.Clone(b)
		d, g, err := newCrashDisk(b)
		if err != nil {
			known(t, err)
			return
		}
		if uint64(g.LogBlocks)*uint64(g.BlockSize) > 32<<20 {
			return // nothing but a longer search
		}
		if seal {
			reseal(d.log)
		}
		if _, _, err := Check(d, d.size, g); err != nil {
			known(t, err)
		}
		r, err := Replay(d, d.size, g, func(err error) { known(t, err) })
		if err != nil {
			if r != nil {
				t.Error("a result beside an error")
			}
			known(t, err)
			return
		}
		page := make([]byte, 3*pageSize)
		if r.im == nil {
			return
		}
		for _, pg := range r.im.pages {
			n, err := r.Image.ReadAt(page, max(pg.off-100, 0))
			if n < pageSize && err == nil {
				t.Errorf("read %d bytes at %#x without an error", n, pg.off)
			}
		}
	})
}

// known fails the test unless err is of a kind that callers can tell.
func known(t *testing.T, err error) {
	t.Helper()
	for _, k := range []error{evidence.ErrCorrupt, evidence.ErrUnsupported, evidence.ErrFormat} {
		if errors.Is(err, k) {
			return
		}
	}
	t.Errorf("error of an unknown kind: %v", err)
}
