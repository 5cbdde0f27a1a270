package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

// Places in a file of seFile, in sectors.
const (
	seTestVolatile = 1
	seTestGD       = 16
	seTestGTs      = 32
	seTestGrain    = 8
	seTestTable    = 64
)

// seFile writes a disk as ESXi does: grains of 4 KiB, in the order in which they
// were written, here the reverse; zeros as unmapped, zero or missing grains.
func seFile(disk []byte) []byte {
	const grain, entries = seTestGrain * sector, seTestTable * sector / 8
	grains := (len(disk) + grain - 1) / grain
	tables := (grains + entries - 1) / entries
	data := seTestGTs + tables*seTestTable
	b := make([]byte, data*sector)
	le := binary.LittleEndian
	for i, v := range []uint64{0xcafebabe, seVersion, uint64(len(disk) / sector), seTestGrain, seTestTable, 0, 0, 0, 0, 0,
		seTestVolatile, 1, 2, 2, 4, 8, seTestGD, uint64((tables*8 + sector - 1) / sector), seTestGTs, uint64(tables * seTestTable), 12, 1, 13, 1,
		uint64(data), uint64(grains * seTestGrain)} {
		le.PutUint64(b[8*i:], v)
	}
	le.PutUint64(b[seTestVolatile*sector:], seVolatileMagic)
	for i := range tables {
		le.PutUint64(b[seTestGD*sector+8*i:], seTable|uint64(i))
	}
	for n := grains - 1; n >= 0; n-- {
		part := make([]byte, grain)
		copy(part, disk[n*grain:])
		entry := []uint64{0, seStateUnmapped, seStateZero}[n%3]
		if len(bytes.Trim(part, "\x00")) > 0 {
			at := uint64(len(b)/sector-data) / seTestGrain
			entry = seStateAllocated | at>>12 | at<<48&0x0fff000000000000
			b = append(b, part...)
		}
		le.PutUint64(b[seTestGTs*sector+8*n:], entry)
	}
	return b
}

// TestSESparse reads an SESparse disk, which nothing but ESXi writes, and takes
// QEMU, which reads it, to read the same.
func TestSESparse(t *testing.T) {
	disk := imagetest.Disk(40 << 20)
	dir := t.TempDir()
	path, extent := filepath.Join(dir, "disk.vmdk"), filepath.Join(dir, "disk-sesparse.vmdk")
	text := fmt.Sprintf("%s\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"seSparse\"\nRW %d SESPARSE \"disk-sesparse.vmdk\"\n", magicDescriptor, len(disk)/sector)
	for name, b := range map[string][]byte{path: []byte(text), extent: seFile(disk)} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	im, err := openPath(t, path, Options{Warn: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, disk)
	imagetest.Run(t, "qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, filepath.Join(dir, "raw"))
	if b, err := os.ReadFile(filepath.Join(dir, "raw")); err != nil || !bytes.Equal(b, disk) {
		t.Errorf("QEMU reads other bytes, %v", err)
	}

	below := bytes.Repeat([]byte{9}, len(disk))
	child := strings.Replace(text, "parentCID=ffffffff", "parentCID=12345678\nparentFileNameHint=\"p.vmdk\"", 1)
	if err := os.WriteFile(path, []byte(child), 0o600); err != nil {
		t.Fatal(err)
	}
	im, err = openPath(t, path, Options{Parent: func(name, cid string) (File, error) {
		if name != "p.vmdk" || cid != "12345678" {
			t.Errorf("parent %q %q", name, cid)
		}
		return bytes.NewReader(below), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(disk)
	for n := 0; n < len(want)/4096; n += 3 { // missing grains are the parent's
		if g := want[n*4096 : (n+1)*4096]; len(bytes.Trim(g, "\x00")) == 0 {
			copy(g, below)
		}
	}
	imagetest.Compare(t, im, want)
}

func TestSESparseDamage(t *testing.T) {
	disk := bytes.Repeat([]byte{7}, 1<<20)
	put := func(off int, v uint64) []byte {
		b := seFile(disk)
		binary.LittleEndian.PutUint64(b[off:], v)
		return b
	}
	p := make([]byte, 4096)
	for name, c := range map[string]struct {
		b      []byte
		warned string // beside that the descriptor is missing
		err    error
	}{
		"journal":      {put(seTestVolatile*sector+24, 1), "journal", nil},
		"volatile":     {put(seTestVolatile*sector, 1), "volatile", nil},
		"directory":    {put(seTestGD*sector, 5), "", evidence.ErrCorrupt},
		"entry":        {put(seTestGTs*sector, 5<<60), "", evidence.ErrCorrupt},
		"stray entry":  {put(seTestGTs*sector, 5), "", evidence.ErrCorrupt},
		"far entry":    {put(seTestGTs*sector, seStateAllocated|0xffffffffffff), "", evidence.ErrCorrupt},
		"far away too": {put(seTestGTs*sector, seStateAllocated|0xffffff), "", evidence.ErrCorrupt},
	} {
		var warned []string
		im, err := openBytes(c.b, Options{Warn: func(err error) { warned = append(warned, err.Error()) }})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err = im.ReadAt(p, 0); !errors.Is(err, c.err) || !strings.Contains(strings.Join(warned, "\n"), c.warned) {
			t.Errorf("%s: %v, warned of %q", name, err, warned)
		}
		if n, err := im.ReadAt(p, 8192); name != "directory" && (n != len(p) || err != nil) {
			t.Errorf("%s: behind it: %d bytes, %v", name, n, err)
		}
	}
}
