package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
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
	for name, options := range map[string]string{"dynamic": "force_size=on", "fixed": "subformat=fixed,force_size=on"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.vhd")
			imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", options, raw, path)
			im, err := openPath(t, path, Options{Warn: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			imagetest.Compare(t, im, disk)
		})
	}
	t.Run("footer cut off", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "disk.vhd")
		imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", raw, path)
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, st.Size()-footerSize); err != nil {
			t.Fatal(err)
		}
		im, err := openPath(t, path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		imagetest.Compare(t, im, disk)
	})
}

// craft makes a disk of 3 blocks of 1024 bytes: plain, not there, past the end
// of the file. A differencing one has the second sector of the first block only.
func craft(kind byte) []byte {
	b := make([]byte, 4096+512)
	footer := make([]byte, footerSize)
	be := binary.BigEndian
	copy(footer, footerCookie)
	be.PutUint64(footer[16:], 512)
	be.PutUint64(footer[48:], 3*1024)
	footer[63] = kind
	copy(footer[68:], "this disk's uuid")
	be.PutUint32(footer[offFooterSum:], checksum(footer, offFooterSum))
	copy(b, footer)
	copy(b[4096:], footer)
	d := b[512 : 512+dynamicSize]
	copy(d, dynamicCookie)
	be.PutUint64(d[16:], 1536)
	be.PutUint32(d[28:], 3)
	be.PutUint32(d[32:], 1024)
	copy(d[40:], "its parent's id.")
	copy(d[64:], "\x00p\x00.\x00v")
	be.PutUint32(d[offDynamicSum:], checksum(d, offDynamicSum))
	be.PutUint32(b[1536:], 2048/512)
	be.PutUint32(b[1540:], unusedBlock)
	be.PutUint32(b[1544:], 777)
	b[2048] = 0x40
	copy(b[2560:], bytes.Repeat([]byte{5}, 1024))
	return b
}

func openBytes(b []byte, o Options) (*Image, error) {
	return Open(bytes.NewReader(b), int64(len(b)), o)
}

func TestCrafted(t *testing.T) {
	im, err := openBytes(craft(typeDynamic), Options{Warn: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3*1024)
	if n, err := im.ReadAt(p, 0); n != 2048 || p[0] != 5 || p[1024] != 0 || !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("%d bytes, %v", n, err)
	}
	_, err = openBytes(craft(typeDifferencing), Options{})
	if !errors.Is(err, evidence.ErrUnsupported) || !strings.Contains(err.Error(), `"p.v"`) {
		t.Errorf("without its parent: %v", err)
	}
	parent := bytes.Repeat([]byte{9}, 1500)
	im, err = openBytes(craft(typeDifferencing), Options{Parent: func(name, id string) (Parent, error) {
		if name != "p.v" || id != "69747320706172656e7427732069642e" {
			t.Errorf("parent %q, %s", name, id)
		}
		return bytes.NewReader(parent), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := append(append(bytes.Repeat([]byte{9}, 512), bytes.Repeat([]byte{5}, 512)...), append(parent[1024:], make([]byte, 548)...)...)
	if n, _ := im.ReadAt(p, 0); n != 2048 || !bytes.Equal(p[:n], want) {
		t.Errorf("differencing: %d bytes, or other ones", n)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		off  int
		b    byte
		want error
		text string
	}{
		"type":       {63, 9, evidence.ErrUnsupported, "type 9"},
		"size":       {48, 0xff, evidence.ErrCorrupt, "disk of"},
		"no header":  {17, 1, evidence.ErrCorrupt, "no dynamic header"},
		"block size": {512 + 35, 1, evidence.ErrCorrupt, "blocks of"},
	} {
		b := craft(typeDynamic)
		b[c.off] = c.b
		copy(b[4096:], b[:512])
		if _, err := openBytes(b, Options{}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := openBytes(make([]byte, 5000), Options{}); !errors.Is(err, evidence.ErrFormat) {
		t.Errorf("zeros: got %v", err)
	}
	b := craft(typeDynamic)
	b[100], b[4196] = 1, 1
	warned := 0
	if _, err := openBytes(b, Options{Warn: func(error) { warned++ }}); err != nil || warned != 1 {
		t.Errorf("wrong checksum: %v, %d warnings", err, warned)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(craft(typeDynamic))
	f.Add(craft(typeDifferencing))
	f.Add(craft(typeFixed))
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := openBytes(b, Options{Parent: func(string, string) (Parent, error) { return bytes.NewReader(b), nil }})
		if err != nil {
			imagetest.Fuzz(t, nil, err)
			return
		}
		imagetest.Fuzz(t, im, nil)
	})
}
