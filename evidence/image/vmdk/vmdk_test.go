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

const diskSize = 5<<20 + 3*512

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

// openPath opens a disk whose other files lie beside it.
func openPath(t testing.TB, path string, o Options) (*Image, error) {
	f, size := imagetest.File(t, path)
	o.Extent = func(name string) (File, error) {
		f, size := imagetest.File(t, filepath.Join(filepath.Dir(path), name))
		return file{f, size}, nil
	}
	return Open(f, size, o)
}

func convert(t testing.TB, disk []byte, args ...string) string {
	path := filepath.Join(t.TempDir(), "disk.vmdk")
	args = append([]string{"convert", "-f", "raw", "-O", "vmdk"}, args...)
	imagetest.Run(t, "qemu-img", append(args, imagetest.Write(t, "disk.raw", disk), path)...)
	return path
}

func TestAgainstQemu(t *testing.T) {
	disk := imagetest.Disk(diskSize)
	for _, kind := range []string{"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"} {
		t.Run(kind, func(t *testing.T) {
			im, err := openPath(t, convert(t, disk, "-o", "subformat="+kind), Options{Warn: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			imagetest.Compare(t, im, disk)
			if im.Kind() != kind {
				t.Errorf("kind %q", im.Kind())
			}
		})
	}
	t.Run("zeroed grains", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "disk.vmdk")
		imagetest.Run(t, "qemu-img", "create", "-q", "-f", "vmdk", "-o", "zeroed_grain=on", path, "1M")
		imagetest.Run(t, "qemu-io", "-c", "write -P 7 0 1M", "-c", "write -z 128k 64k", path)
		want := bytes.Repeat([]byte{7}, 1<<20)
		clear(want[128<<10 : 192<<10])
		im, err := openPath(t, path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		imagetest.Compare(t, im, want)
	})
}

// TestSeveralFiles has a disk in three files of at most 2 GiB, of which only bits are written.
func TestSeveralFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.vmdk")
	imagetest.Run(t, "qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path, "5G")
	imagetest.Run(t, "qemu-io", "-c", "write -P 7 2147400k 200k", "-c", "write -P 9 5242879k 1k", path)
	im, err := openPath(t, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off  int64
		want byte
	}{{0, 0}, {2147400<<10 - 1, 0}, {2147400 << 10, 7}, {2147600<<10 - 1, 7}, {2147600 << 10, 0}, {5<<30 - 1, 9}} {
		p := make([]byte, 1)
		if _, err := im.ReadAt(p, c.off); err != nil || p[0] != c.want {
			t.Errorf("offset %#x is %d, want %d, %v", c.off, p[0], c.want, err)
		}
	}
}

func TestParent(t *testing.T) {
	disk := imagetest.Disk(1 << 20)
	parent := convert(t, disk)
	path := filepath.Join(t.TempDir(), "delta.vmdk")
	imagetest.Run(t, "qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, path)
	imagetest.Run(t, "qemu-io", "-c", "write -P 7 100k 9k", path)
	want := bytes.Clone(disk)
	copy(want[100<<10:], bytes.Repeat([]byte{7}, 9<<10))
	if _, err := openPath(t, path, Options{}); !errors.Is(err, evidence.ErrUnsupported) || !strings.Contains(err.Error(), "parent") {
		t.Errorf("without its parent: %v", err)
	}
	im, err := openPath(t, path, Options{Parent: func(string, string) (File, error) { return bytes.NewReader(disk), nil }})
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, want)
}

// TestCutStream reads a stream whose tables are lost by its markers.
func TestCutStream(t *testing.T) {
	disk := imagetest.Disk(diskSize)
	path := convert(t, disk, "-o", "subformat=streamOptimized")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// QEMU writes the tables first; other tools name the place in a footer.
	binary.LittleEndian.PutUint64(b[56:], gdAtEnd)
	b = b[:len(b)*2/3]
	var warned []error
	im, err := Open(bytes.NewReader(b), int64(len(b)), Options{Warn: func(err error) { warned = append(warned, err) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(warned) != 1 {
		t.Errorf("warned %v", warned)
	}
	p := make([]byte, len(disk))
	n, err := im.ReadAt(p, 0)
	if n < len(disk)/4 || !bytes.Equal(p[:n], disk[:n]) || !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("%d bytes are read, %v", n, err)
	}
}

// tiny is a sparse extent of 4 grains of one sector: plain, not there, zero, past the end.
func tiny() []byte {
	b := make([]byte, 5*512)
	le := binary.LittleEndian
	copy(b, magicSparse)
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[8:], flagZeroGTE)
	le.PutUint64(b[12:], 4)
	le.PutUint64(b[20:], 1)
	le.PutUint32(b[44:], 512)
	le.PutUint64(b[56:], 1)
	le.PutUint64(b[64:], 4)
	le.PutUint32(b[512:], 2)
	le.PutUint32(b[1024:], 4)
	le.PutUint32(b[1032:], gteZero)
	le.PutUint32(b[1036:], 77)
	b[4*512] = 5
	return b
}

// cow is an ESX extent of one grain.
func cow() []byte {
	b := make([]byte, 4*512)
	copy(b, magicCOW)
	for i, v := range []uint32{1, 3, 1, 1, 1} {
		binary.LittleEndian.PutUint32(b[4+4*i:], v)
	}
	binary.LittleEndian.PutUint32(b[512:], 2)
	binary.LittleEndian.PutUint32(b[1024:], 3)
	b[3*512] = 6
	return b
}

func openBytes(b []byte, o Options) (*Image, error) {
	return Open(bytes.NewReader(b), int64(len(b)), o)
}

func TestTiny(t *testing.T) {
	im, err := openBytes(tiny(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4*512)
	n, err := im.ReadAt(p, 0)
	if n != 3*512 || p[0] != 5 || !errors.Is(err, evidence.ErrCorrupt) || !strings.Contains(err.Error(), "0x9a00") {
		t.Errorf("%d bytes, %v", n, err)
	}
	if im, err = openBytes(cow(), Options{}); err != nil {
		t.Fatal(err)
	}
	if n, err := im.ReadAt(p, 0); n != 512 || p[0] != 6 {
		t.Errorf("ESX: %d bytes, %v", n, err)
	}
}

func TestRefused(t *testing.T) {
	put := func(off int, b ...byte) []byte {
		d := tiny()
		copy(d[off:], b)
		return d
	}
	text := func(lines ...string) []byte { return []byte(magicDescriptor + "\n" + strings.Join(lines, "\n")) }
	for name, c := range map[string]struct {
		b    []byte
		want error
		text string
	}{
		"other magic":   {put(0, 'X'), evidence.ErrFormat, ""},
		"cut":           {tiny()[:50], evidence.ErrCorrupt, "header"},
		"version":       {put(4, 9), evidence.ErrUnsupported, "version 9"},
		"compression":   {put(77, 9), evidence.ErrUnsupported, "compression 9"},
		"grain":         {put(20, 3), evidence.ErrCorrupt, "grains of 3"},
		"grain of 1T":   {put(24, 1), evidence.ErrCorrupt, "grains"},
		"capacity":      {put(19, 0xff), evidence.ErrCorrupt, "capacity"},
		"SESparse":      {[]byte(magicSESparse + strings.Repeat("x", 300)), evidence.ErrUnsupported, "SESparse of version"},
		"SESparse, cut": {[]byte(magicSESparse + strings.Repeat("x", 30)), evidence.ErrCorrupt, "SESparse"},
		"no extents":    {text("version=1"), evidence.ErrCorrupt, "no extents"},
		"device":        {text(`RW 100 VMFSRDM "x"`), evidence.ErrUnsupported, "VMFSRDM"},
		"other file":    {text(`RW 100 FLAT "x-flat.vmdk" 0`), evidence.ErrUnsupported, "x-flat.vmdk"},
		"needs parent":  {text(`parentCID=12345678`, `parentFileNameHint="p.vmdk"`), evidence.ErrUnsupported, "p.vmdk"},
		"negative size": {text(`RW -100 ZERO`), evidence.ErrCorrupt, "no extents"},
	} {
		if _, err := openBytes(c.b, Options{}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(tiny())
	f.Add(cow())
	f.Add(seFile(make([]byte, 3*4096)))
	stream := tiny()
	binary.LittleEndian.PutUint32(stream[8:], flagCompressed|flagMarkers)
	binary.LittleEndian.PutUint64(stream[56:], gdAtEnd)
	f.Add(stream)
	f.Add(fmt.Appendf(nil, "%s\nRW 9 ZERO\nRW 4 SPARSE \"a\"\nRW 1 VMFSSPARSE \"b\"\nRW 2 FLAT \"c\" 1\n", magicDescriptor))
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := openBytes(b, Options{Extent: func(name string) (File, error) {
			switch name {
			case "a":
				return bytes.NewReader(tiny()), nil
			case "b":
				return bytes.NewReader(cow()), nil
			}
			return bytes.NewReader(b), nil
		}})
		if err == nil {
			imagetest.Fuzz(t, im, nil)
			return
		}
		imagetest.Fuzz(t, nil, err)
	})
}
