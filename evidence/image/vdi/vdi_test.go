package vdi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

func TestAgainstQemu(t *testing.T) {
	disk := imagetest.Disk(5<<20 + 3*512)
	raw := imagetest.Write(t, "disk.raw", disk)
	for name, args := range map[string][]string{"dynamic": nil, "fixed": {"-o", "static=on"}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.vdi")
			imagetest.Run(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", "vdi"}, args...), raw, path)...)
			f, _ := imagetest.File(t, path)
			im, err := Open(f)
			if err != nil {
				t.Fatal(err)
			}
			imagetest.Compare(t, im, disk)
		})
	}
}

// tiny has 3 blocks of 512 bytes: plain, never written, past the end of the file.
func tiny() []byte {
	b := make([]byte, 1024)
	le := binary.LittleEndian
	le.PutUint32(b[offSignature:], signature)
	le.PutUint32(b[0x44:], 0x10001)
	le.PutUint32(b[offType:], typeDynamic)
	le.PutUint32(b[0x154:], 400)
	le.PutUint32(b[0x158:], 512)
	le.PutUint64(b[offDiskSize:], 3*512)
	le.PutUint32(b[0x178:], 512)
	le.PutUint32(b[0x180:], 3)
	le.PutUint32(b[404:], blockFree)
	le.PutUint32(b[408:], 9)
	b[512] = 5
	return b
}

func TestTiny(t *testing.T) {
	im, err := Open(bytes.NewReader(tiny()))
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3*512)
	if n, err := im.ReadAt(p, 0); n != 1024 || p[0] != 5 || !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		off  int
		b    byte
		want error
		text string
	}{
		"other magic":  {offSignature, 0, evidence.ErrFormat, ""},
		"version":      {0x46, 2, evidence.ErrUnsupported, "version"},
		"differencing": {offType, 4, evidence.ErrUnsupported, "differs"},
		"block size":   {0x179, 0, evidence.ErrCorrupt, "blocks of"},
		"size":         {offDiskSize + 7, 0xff, evidence.ErrCorrupt, "disk of"},
	} {
		b := tiny()
		b[c.off] = c.b
		if _, err := Open(bytes.NewReader(b)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Open(bytes.NewReader(tiny()[:300])); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("cut: got %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(tiny())
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := Open(bytes.NewReader(b))
		if err != nil {
			imagetest.Fuzz(t, nil, err)
			return
		}
		imagetest.Fuzz(t, im, nil)
	})
}
