package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

const diskSize = 5<<20 + 3*512

func openFile(t testing.TB, path string, o Options) (*Image, error) {
	f, size := imagetest.File(t, path)
	return Open(f, size, o)
}

// TestAgainstQemu packs a disk in each way that qemu-img knows.
func TestAgainstQemu(t *testing.T) {
	disk := imagetest.Disk(diskSize)
	raw := imagetest.Write(t, "disk.raw", disk)
	for name, args := range map[string][]string{
		"standard":         {},
		"version 2":        {"-o", "compat=0.10"},
		"deflate":          {"-c"},
		"deflate 2 MiB":    {"-c", "-o", "cluster_size=2M"},
		"zstd":             {"-c", "-o", "compression_type=zstd"},
		"zstd 4 KiB":       {"-c", "-o", "compression_type=zstd,cluster_size=4k"},
		"extended L2":      {"-o", "extended_l2=on,cluster_size=128k"},
		"extended packed":  {"-c", "-o", "extended_l2=on,cluster_size=16k"},
		"512-byte cluster": {"-o", "cluster_size=512"},
		"allocated zeros":  {"-S", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.qcow2")
			imagetest.Run(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, args...), raw, path)...)
			im, err := openFile(t, path, Options{Warn: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			imagetest.Compare(t, im, disk)
		})
	}
}

func TestVersion1(t *testing.T) {
	disk := imagetest.Disk(5 << 20)
	path := filepath.Join(t.TempDir(), "disk.qcow")
	imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow", imagetest.Write(t, "disk.raw", disk), path)
	im, err := openFile(t, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, disk)
}

// version1 is an image of 2 clusters of 512 bytes, the first one packed.
func version1() []byte {
	b := make([]byte, 0x600)
	be := binary.BigEndian
	copy(b, magic)
	be.PutUint32(b[4:], 1)
	be.PutUint64(b[24:], 1024)
	b[32], b[33] = 9, 6
	be.PutUint64(b[40:], 0x200)
	be.PutUint64(b[0x200:], 0x400)
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, 9)
	w.Write(bytes.Repeat([]byte{5}, 512))
	w.Close()
	be.PutUint64(b[0x400:], flagCompressed1|uint64(packed.Len())<<(63-9)|0x600)
	return append(b, packed.Bytes()...)
}

func TestVersion1Packed(t *testing.T) {
	im, err := openBytes(version1())
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, append(bytes.Repeat([]byte{5}, 512), make([]byte, 512)...))
}

// TestBackingAndSnapshot writes over an image with a backing file, a snapshot
// taken in between.
func TestBackingAndSnapshot(t *testing.T) {
	disk := imagetest.Disk(1 << 20)
	raw := imagetest.Write(t, "disk.raw", disk)
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	imagetest.Run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, path, "3M")
	imagetest.Run(t, "qemu-io", "-c", "write -P 7 100k 9k", "-c", "write -z 256k 128k", path)
	first := append(bytes.Clone(disk), make([]byte, 2<<20)...)
	copy(first[100<<10:], bytes.Repeat([]byte{7}, 9<<10))
	clear(first[256<<10 : 384<<10])
	imagetest.Run(t, "qemu-img", "snapshot", "-c", "before", path)
	imagetest.Run(t, "qemu-io", "-c", "write -P 9 2000k 1M", path)
	second := bytes.Clone(first)
	copy(second[2000<<10:], bytes.Repeat([]byte{9}, 1<<20))

	if _, err := openFile(t, path, Options{}); !errors.Is(err, evidence.ErrUnsupported) || !strings.Contains(err.Error(), raw) {
		t.Errorf("without its backing file: %v", err)
	}
	o := Options{Backing: func(name string) (Backing, error) {
		if name != raw {
			t.Errorf("backing file %q", name)
		}
		return bytes.NewReader(disk), nil
	}}
	im, err := openFile(t, path, o)
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, second)
	if s := im.Snapshots(); len(s) != 1 || s[0].Name != "before" || s[0].ID != "1" || s[0].Time.Year() < 2020 || s[0].Size != 3<<20 {
		t.Errorf("snapshots %+v", s)
	}
	o.Snapshot = "before"
	if im, err = openFile(t, path, o); err != nil {
		t.Fatal(err)
	}
	imagetest.Compare(t, im, first)
	o.Snapshot = "after"
	if _, err = openFile(t, path, o); err == nil {
		t.Error("a snapshot that isn't there was opened")
	}
}

// tiny is a version 3 image of 4 clusters of 512 bytes: plain, zero,
// unallocated, packed (and broken).
func tiny() []byte {
	b := make([]byte, 4*512+100)
	be := binary.BigEndian
	copy(b, magic)
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 9)
	be.PutUint64(b[24:], 4*512)
	be.PutUint32(b[36:], 1)
	be.PutUint64(b[40:], 512)
	be.PutUint32(b[100:], headerV3)
	be.PutUint64(b[512:], 1024)
	be.PutUint64(b[1024:], 1536)
	be.PutUint64(b[1032:], flagZero)
	be.PutUint64(b[1048:], flagCompressed|2048)
	copy(b[1536:], bytes.Repeat([]byte{5}, 512))
	return b
}

func openBytes(b []byte) (*Image, error) { return Open(bytes.NewReader(b), int64(len(b)), Options{}) }

func TestTiny(t *testing.T) {
	im, err := openBytes(tiny())
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4*512)
	n, err := im.ReadAt(p, 0)
	if n != 3*512 || !errors.Is(err, evidence.ErrCorrupt) || !strings.Contains(err.Error(), "0x800") {
		t.Errorf("%d bytes, %v", n, err)
	}
	if p[0] != 5 || p[511] != 5 || p[512] != 0 {
		t.Error("wrong bytes")
	}
}

func TestRefused(t *testing.T) {
	put := func(off int, b ...byte) func([]byte) []byte {
		return func(d []byte) []byte { copy(d[off:], b); return d }
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
		text   string
	}{
		"other magic":    {put(0, 'X'), evidence.ErrFormat, ""},
		"cut":            {func(b []byte) []byte { return b[:50] }, evidence.ErrCorrupt, "header"},
		"version 4":      {put(7, 4), evidence.ErrUnsupported, "version 4"},
		"encrypted":      {put(35, 2), evidence.ErrUnsupported, "encrypted"},
		"external data":  {put(79, 4), evidence.ErrUnsupported, "another file"},
		"future feature": {put(72, 1), evidence.ErrUnsupported, "features 0x1"},
		"clusters":       {put(23, 60), evidence.ErrCorrupt, "2^60"},
		"size":           {put(24, 0xff), evidence.ErrCorrupt, "disk of"},
		"L1":             {put(36, 0xff), evidence.ErrCorrupt, "L1"},
		"backing name":   {put(15, 1), evidence.ErrUnsupported, "backing"},
	} {
		if _, err := openBytes(c.change(tiny())); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	disk := imagetest.Disk(1 << 20)
	raw := imagetest.Write(t, "disk.raw", disk)
	path := filepath.Join(t.TempDir(), "disk.qcow2")
	imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-S", "0", raw, path)
	if err := os.Truncate(path, 700_000); err != nil {
		t.Fatal(err)
	}
	im, err := openFile(t, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, len(disk))
	n, err := im.ReadAt(p, 0)
	if !errors.Is(err, evidence.ErrCorrupt) || n < 100_000 || n > 700_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
	// What the cut cluster lost is zeros, as of one that wasn't written to its end.
	if whole := n / 65536 * 65536; !bytes.Equal(p[:whole-65536], disk[:whole-65536]) {
		t.Error("wrong bytes")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(tiny())
	ext := tiny()
	ext[79] = incompatExtendedL2
	f.Add(ext)
	zstd := tiny()
	zstd[79], zstd[103], zstd[104] = incompatCompression, 112, compressionZstd
	f.Add(zstd)
	snap := tiny()
	snap[63], snap[70] = 1, 2 // one, at offset 0x200
	f.Add(snap)
	f.Add(version1())
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := openBytes(b)
		imagetest.Fuzz(t, im, err)
	})
}
