package vhdx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

func openPath(t testing.TB, path string, o Options) (*Image, error) {
	f, size := imagetest.File(t, path)
	return Open(f, size, o)
}

func TestAgainstQemu(t *testing.T) {
	disk := imagetest.Disk(5<<20 + 3*512)
	raw := imagetest.Write(t, "disk.raw", disk)
	for name, options := range map[string]string{
		"dynamic": "subformat=dynamic", "fixed": "subformat=fixed", "1 MiB": "block_size=1M", "zero blocks": "block_state_zero=off",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.vhdx")
			imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", options, raw, path)
			im, err := openPath(t, path, Options{Warn: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			imagetest.Compare(t, im, disk)
		})
	}
}

// TestLog makes of a disk what a crash leaves between the log and the file:
// QEMU writes both before it returns, so the header is set back to before.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.vhdx")
	imagetest.Run(t, "qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, "20M")
	exec.Command("qemu-io", "-c", "write -P 7 3M 1M", "-c", "write -P 9 17M 64k", "-c", "flush", "-c", "sigraise 9", path).Run()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 20<<20)
	copy(want[3<<20:], bytes.Repeat([]byte{7}, 1<<20))
	copy(want[17<<20:], bytes.Repeat([]byte{9}, 64<<10))
	im, err := openBytes(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, want)
	clear(b[im.bat : im.bat+logSector])
	h, err := readHeader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range headerOffs {
		head := b[off : off+headerSize]
		if binary.LittleEndian.Uint64(head[8:]) == h.sequence {
			// The second write's entry; QEMU begins a log of a new id with each.
			copy(head[48:64], b[h.logOff+2*logSector+32:])
			binary.LittleEndian.PutUint32(head[4:], 0)
			binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(head, castagnoli))
		}
	}
	im, err = openBytes(b, Options{Warn: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, want)
	if im.Replayed() == 0 {
		t.Error("no log entry was replayed")
	}
}

// craft makes a disk of 3 blocks of 1 MiB: present, zero, past the end of the file.
func craft() []byte {
	b := make([]byte, 4*mib)
	copy(b, magicFile)
	le := binary.LittleEndian
	put := func(off int64, size int, parts ...[]byte) {
		s := b[off : off+int64(size)]
		at := 0
		for _, p := range parts {
			at += copy(s[at:], p)
		}
		le.PutUint32(s[4:], 0)
		le.PutUint32(s[4:], crc32.Checksum(s, castagnoli))
	}
	u32 := func(v ...uint32) []byte {
		var o []byte
		for _, x := range v {
			o = le.AppendUint32(o, x)
		}
		return o
	}
	u64 := func(v uint64) []byte { return le.AppendUint64(nil, v) }
	put(headerOffs[0], headerSize, []byte(magicHeader), u32(0), u64(7), make([]byte, 48), []byte{0, 0, 1, 0})
	put(regionOffs[0], regionSize, []byte(magicRegion), u32(0, 2, 0),
		regionBAT[:], u64(2*mib), u32(mib, 1), regionMetadata[:], u64(mib), u32(mib, 1))
	m := b[mib:]
	copy(m, magicMetadata)
	m[10] = 3
	items := append(u32(mib, 0), u64(3*mib)...)
	items = append(items, u32(512)...)
	copy(m[64*kib:], items)
	for i, it := range []struct {
		id       guidBytes
		off, len uint32
	}{{itemFileParameters, 64 * kib, 8}, {itemDiskSize, 64*kib + 8, 8}, {itemSectorSize, 64*kib + 16, 4}} {
		copy(m[32+32*i:], append(it.id[:], u32(it.off, it.len, metaRequired)...))
	}
	copy(b[2*mib:], u64(3*mib|blockPresent))
	copy(b[2*mib+8:], u64(blockZero))
	copy(b[2*mib+16:], u64(9*mib|blockPresent))
	copy(b[3*mib:], bytes.Repeat([]byte{5}, mib))
	return b
}

func openBytes(b []byte, o Options) (*Image, error) {
	return Open(bytes.NewReader(b), int64(len(b)), o)
}

func TestCrafted(t *testing.T) {
	im, err := openBytes(craft(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3*mib)
	if n, err := im.ReadAt(p, 0); n != 2*mib || p[0] != 5 || p[mib] != 0 || !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestParent has a block with every second sector of its own.
func TestParent(t *testing.T) {
	b := craft()
	b[mib+64*kib+4] = flagHasParent
	if _, err := openBytes(b, Options{}); !errors.Is(err, evidence.ErrUnsupported) {
		t.Errorf("without its parent: %v", err)
	}
	const perBitmap = sectorsPerBitmap * 512 / mib
	binary.LittleEndian.PutUint64(b[2*mib:], 3*mib|blockPartly)
	binary.LittleEndian.PutUint64(b[2*mib+8:], blockNotPresent)
	b = append(b, bytes.Repeat([]byte{0xaa}, mib)...)
	binary.LittleEndian.PutUint64(b[2*mib+perBitmap*8:], 4*mib|blockPresent)
	im, err := openBytes(b, Options{Parent: func([]string, []string) (Parent, error) {
		return bytes.NewReader(bytes.Repeat([]byte{9}, 2*mib-100)), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2*mib)
	if _, err := im.ReadAt(p, 0); err != nil || p[0] != 9 || p[511] != 9 || p[512] != 5 || p[1023] != 5 || p[1024] != 9 || p[mib] != 9 || p[2*mib-1] != 0 {
		t.Errorf("other bytes, %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		off  int64
		b    byte
		want error
		text string
	}{
		"other magic": {0, 'X', evidence.ErrFormat, ""},
		"header":      {headerOffs[0] + 9, 1, evidence.ErrCorrupt, "neither header"},
		"regions":     {regionOffs[0] + 100, 1, evidence.ErrCorrupt, "neither region"},
		"metadata":    {mib, 1, evidence.ErrCorrupt, "no table"},
		"unknown":     {mib + 32, 1, evidence.ErrUnsupported, "item"},
		"block size":  {mib + 64*kib, 1, evidence.ErrCorrupt, "blocks"},
		"size":        {mib + 64*kib + 15, 1, evidence.ErrCorrupt, "disk of"},
		"sector size": {mib + 64*kib + 16, 1, evidence.ErrCorrupt, "sectors"},
	} {
		b := craft()
		b[c.off] = c.b
		if _, err := openBytes(b, Options{}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := openBytes(craft()[:mib+100], Options{}); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("cut: got %v", err)
	}
}

// FuzzLog and FuzzMetadata fuzz what stands in whole files of MiB piecemeal.
func FuzzLog(f *testing.F) {
	id := guidBytes{1}
	e := make([]byte, 2*logSector)
	le := binary.LittleEndian
	copy(e, magicLog)
	le.PutUint32(e[8:], uint32(len(e)))
	le.PutUint64(e[16:], 1)
	le.PutUint32(e[24:], 2)
	copy(e[32:], id[:])
	copy(e[64:], magicData)
	le.PutUint64(e[80:], 4096)
	le.PutUint64(e[88:], 1)
	copy(e[96:], magicZero)
	le.PutUint64(e[104:], 8192)
	le.PutUint64(e[112:], 8192)
	le.PutUint64(e[120:], 1)
	copy(e[logSector:], magicSector)
	e[2*logSector-4] = 1
	f.Add(e)
	f.Fuzz(func(t *testing.T, log []byte) {
		if len(log) > 1<<20 {
			return
		}
		log = append(log, make([]byte, (logSector-len(log)%logSector)%logSector)...)
		// The checksum is not what is to be guessed.
		if len(log) > 0 && bytes.HasPrefix(log, []byte(magicLog)) {
			if n := le.Uint32(log[8:]); n >= logSector && int(n) <= len(log) {
				le.PutUint32(log[4:], 0)
				le.PutUint32(log[4:], crc32.Checksum(log[:n], castagnoli))
			}
		}
		file := append(make([]byte, mib), log...)
		v, err := replay(bytes.NewReader(file), int64(len(file)), header{logID: id, logOff: mib, logLength: int64(len(log))}, Options{})
		if err == nil {
			_, err = v.ReadAt(make([]byte, 20_000), 100)
		}
		imagetest.Fuzz(t, nil, err)
	})
}

func FuzzMetadata(f *testing.F) {
	seed := craft()
	f.Add(seed[mib:mib+300], seed[mib+64*kib:mib+64*kib+200], seed[2*mib:2*mib+24])
	f.Fuzz(func(t *testing.T, table, items, bat []byte) {
		b := bytes.Clone(seed)
		copy(b[mib:mib+64*kib], table)
		copy(b[mib+64*kib:2*mib], items)
		copy(b[2*mib:3*mib], bat)
		im, err := openBytes(b, Options{Parent: func([]string, []string) (Parent, error) { return bytes.NewReader(items), nil }})
		if err != nil {
			imagetest.Fuzz(t, nil, err)
			return
		}
		imagetest.Fuzz(t, im, nil)
	})
}
