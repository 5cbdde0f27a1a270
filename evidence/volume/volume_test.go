package volume

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"lagan/internal/needs"
)

// part is a partition of a crafted table, in sectors.
type part struct {
	typ         string // GPT: as in a GUID's text without dashes; MBR: one byte in hex
	first, last uint64
	name        string
}

const linuxType = "0fc63daf84834772 8e793d69d8477de4"

// craftGPT makes a disk of n sectors with both headers.
func craftGPT(sector int, n uint64, parts ...part) []byte {
	d := make([]byte, int(n)*sector)
	d[450] = typeProtective
	binary.LittleEndian.PutUint32(d[454:], 1)
	binary.LittleEndian.PutUint32(d[458:], uint32(n-1))
	d[510], d[511] = 0x55, 0xaa
	entries := make([]byte, 128*gptEntryMin)
	for i, p := range parts {
		e := entries[i*gptEntryMin:]
		copy(e, rawGUID(p.typ))
		e[16] = byte(i + 1) // UniquePartitionGUID
		binary.LittleEndian.PutUint64(e[32:], p.first)
		binary.LittleEndian.PutUint64(e[40:], p.last)
		for j, c := range utf16.Encode([]rune(p.name)) {
			binary.LittleEndian.PutUint16(e[56+2*j:], c)
		}
	}
	array := uint64(len(entries)/sector + 1)
	copy(d[2*sector:], entries)
	copy(d[(n-array)*uint64(sector):], entries)
	header(d, sector, 1, n-1, 2, entries)
	header(d, sector, n-1, 1, n-array, entries)
	return d
}

func header(d []byte, sector int, my, alternate, array uint64, entries []byte) {
	h := d[my*uint64(sector):]
	copy(h, "EFI PART\x00\x00\x01\x00")
	le := binary.LittleEndian
	le.PutUint32(h[12:], gptHeaderMin)
	le.PutUint64(h[24:], my)
	le.PutUint64(h[32:], alternate)
	le.PutUint64(h[72:], array)
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], gptEntryMin)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:gptHeaderMin]))
}

func rawGUID(s string) []byte {
	var b []byte
	fmt.Sscanf(strings.ReplaceAll(s, " ", ""), "%x", &b)
	for _, f := range [][]byte{b[:4], b[4:6], b[6:8]} {
		for i, j := 0, len(f)-1; i < j; i, j = i+1, j-1 {
			f[i], f[j] = f[j], f[i]
		}
	}
	return b
}

// putMBR writes an MBR or EBR at a sector.
func putMBR(d []byte, sector int, at uint64, recs ...record) {
	b := d[at*uint64(sector):]
	for i, r := range recs {
		e := b[offMBRPartitions+i*mbrRecord:]
		e[0], e[4] = r.status, r.typ
		binary.LittleEndian.PutUint32(e[8:], r.start)
		binary.LittleEndian.PutUint32(e[12:], r.length)
	}
	b[510], b[511] = 0x55, 0xaa
}

func putExt(d []byte, off int) { copy(d[off+0x438:], "\x53\xef") }

// lines scans a disk and writes volumes and warnings as text.
func lines(t *testing.T, d []byte) string {
	t.Helper()
	var warned []string
	vols, err := Scan(bytes.NewReader(d), int64(len(d)), func(err error) { warned = append(warned, "! "+err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range vols {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s%d %d+%d %s %s", v.Scheme, v.Number, v.Start, v.Size, v.TypeName, v.Name)))
	}
	return strings.Join(append(out, warned...), "\n")
}

func TestScanGPT(t *testing.T) {
	two := func() []byte {
		return craftGPT(512, 400, part{linuxType, 40, 99, "root"}, part{linuxType, 100, 199, "dätá"})
	}
	const want = "gpt1 20480+30720 Linux filesystem root\ngpt2 51200+51200 Linux filesystem dätá"
	for _, c := range []struct {
		name string
		disk func() []byte
		want string
	}{
		{"both headers", two, want},
		{"sectors of 4096", func() []byte { return craftGPT(4096, 60, part{linuxType, 6, 9, "root"}) }, "gpt1 24576+16384 Linux filesystem root"},
		{"backup header gone", func() []byte { return two()[:200*512] }, want},
		{"first header gone", func() []byte { d := two(); clear(d[512:1024]); return d }, want + "\n! the first partition table is damaged, its copy at offset 0x31e00 is used: no GPT header at its place: corrupt"},
		{"protective MBR gone too", func() []byte { d := two(); clear(d[:1024]); return d }, want + "\n! the first partition table is damaged, its copy at offset 0x31e00 is used: no GPT header at its place: corrupt"},
		{"first header's checksum wrong", func() []byte { d := two(); d[600]++; return d }, want + "\n! the first partition table is damaged, its copy at offset 0x31e00 is used: GPT header at offset 0x200: wrong checksum: corrupt"},
		{"first array's checksum wrong", func() []byte { d := two(); d[1024+56]++; return d }, want + "\n! the first partition table is damaged, its copy at offset 0x31e00 is used: GPT partition array of the header at offset 0x200: wrong checksum: corrupt"},
		{"checksum wrong and no copy", func() []byte { d := two()[:200*512]; d[1024+56] = 'R'; return d }, strings.Replace(want, "root", "Root", 1) + "\n! the partition table is damaged and has no good copy; it is used as it is: GPT partition array of the header at offset 0x200: wrong checksum: corrupt"},
		{"cut short", func() []byte { return two()[:150*512] }, "gpt1 20480+30720 Linux filesystem root\ngpt2 51200+25600 Linux filesystem dätá\n! partition 2 ends at offset 0x19000, the image at 0x12c00: is it cut short? corrupt"},
		{"cut before a partition", func() []byte { return two()[:90*512] }, "gpt1 20480+25600 Linux filesystem root\ngpt2 51200+0 Linux filesystem dätá\n! partition 1 ends at offset 0xc800, the image at 0xb400: is it cut short? corrupt\n! partition 2 begins at offset 0xc800, the image ends at 0xb400: is it cut short? corrupt"},
		{"both gone", func() []byte { d := two(); clear(d[512:1024]); clear(d[399*512:]); return d }, "none0 0+204800\n! the disk had a GPT, neither it nor its copy is there: corrupt"},
		{"backwards", func() []byte { return craftGPT(512, 400, part{linuxType, 99, 40, ""}) }, "! GPT partition 1 goes from sector 99 to 40; it is left out: corrupt"},
		{"end of the world", func() []byte { return craftGPT(512, 400, part{linuxType, 40, 1<<64 - 1, ""}) }, "! GPT partition 1 goes from sector 40 to 18446744073709551615; it is left out: corrupt"},
		{"old copy behind a new filesystem", func() []byte { d := two(); clear(d[:20000]); putExt(d, 0); return d }, "none0 0+204800"},
		{"remainder of a filesystem at 64 KiB", func() []byte { d := two(); copy(d[0x10040:], "_BHRfS_M"); return d }, want},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lines(t, c.disk()); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestScanMBR(t *testing.T) {
	disk := func(sector, n int, recs ...record) []byte {
		d := make([]byte, sector*n)
		putMBR(d, sector, 0, recs...)
		return d
	}
	linux := record{0x80, 0x83, 40, 100}
	logical := func() []byte {
		d := disk(512, 400, linux, record{}, record{0, 5, 150, 200}, record{0, 0x82, 360, 10})
		putMBR(d, 512, 150, record{0, 0x83, 10, 20}, record{0, 5, 50, 60})
		putMBR(d, 512, 200, record{0, 0x83, 5, 25}, record{0, 0x0f, 100, 60})
		putMBR(d, 512, 250, record{0, 0x83, 1, 2})
		return d
	}
	const four = "mbr1 20480+51200 Linux\nmbr4 184320+5120 Linux swap\nmbr5 81920+10240 Linux\nmbr6 104960+12800 Linux\nmbr7 128512+1024 Linux"
	for _, c := range []struct {
		name string
		disk func() []byte
		want string
	}{
		{"one", func() []byte { return disk(512, 400, linux) }, "mbr1 20480+51200 Linux"},
		{"logical", logical, four},
		{"logical loop", func() []byte {
			d := logical()
			putMBR(d, 512, 250, record{0, 0x83, 1, 2}, record{0, 5, 50, 60})
			return d
		}, four + "\n! the chain of logical partitions comes back to, or doesn't end before, offset 0x19000: corrupt"},
		{"logical chain broken", func() []byte { d := logical(); d[250*512+511] = 0; return d },
			strings.TrimSuffix(four, "\nmbr7 128512+1024 Linux") + "\n! no record of a logical partition at offset 0x1f400: corrupt"},
		{"empty extended", func() []byte { return disk(512, 400, linux, record{0, 5, 150, 200}) }, "mbr1 20480+51200 Linux"},
		{"sectors of 4096", func() []byte { d := disk(4096, 60, record{0, 0x83, 10, 40}); putExt(d, 40960); return d }, "mbr1 40960+163840 Linux"},
		{"filesystem with a boot sector's signature", func() []byte { d := make([]byte, 1<<18); d[510], d[511] = 0x55, 0xaa; putExt(d, 0); return d }, "none0 0+262144"},
		{"filesystem with a table's remainder", func() []byte { d := disk(512, 512, linux); putExt(d, 0); return d }, "none0 0+262144"},
		{"table over a filesystem's remainder", func() []byte { d := disk(512, 512, linux); putExt(d, 0); putExt(d, 40*512); return d }, "mbr1 20480+51200 Linux"},
		{"xfs in sector 0", func() []byte { d := disk(512, 512, linux); copy(d, "XFSB"); d[0x78] = 12; return d }, "none0 0+262144"},
		{"boot code of a FAT", func() []byte {
			d := make([]byte, 1<<18)
			copy(d, "\xeb\x58\x90mkfs.fat\x00\x02")
			copy(d[0x52:], "FAT32   ")
			copy(d[446:], "This is not a bootable disk.")
			d[510], d[511] = 0x55, 0xaa
			return d
		}, "none0 0+262144"},
		{"nothing", func() []byte { return make([]byte, 5000) }, "none0 0+5000"},
		{"tiny", func() []byte { return []byte{1} }, "none0 0+1"},
		{"past the end", func() []byte { return disk(512, 100, linux) }, "mbr1 20480+30720 Linux\n! partition 1 ends at offset 0x11800, the image at 0xc800: is it cut short? corrupt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lines(t, c.disk()); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestVolumeIds(t *testing.T) {
	d := craftGPT(512, 400, part{linuxType, 40, 99, ""})
	vols, err := Scan(bytes.NewReader(d), int64(len(d)), nil)
	if err != nil || len(vols) != 1 {
		t.Fatal(vols, err)
	}
	v := vols[0]
	if v.Type != "0fc63daf-8483-4772-8e79-3d69d8477de4" || v.UUID != "00000001-0000-0000-0000-000000000000" || v.Index != 1 || v.SectorSize != 512 {
		t.Errorf("%+v", v)
	}
	m := make([]byte, 1<<18)
	binary.LittleEndian.PutUint32(m[offMBRDiskID:], 0xdeadbeef)
	putMBR(m, 512, 0, record{}, record{0, 0x83, 40, 100})
	vols, _ = Scan(bytes.NewReader(m), int64(len(m)), nil)
	if len(vols) != 1 || vols[0].UUID != "deadbeef-02" || vols[0].Type != "0x83" {
		t.Errorf("%+v", vols)
	}
}

// TestAgainstSfdisk compares with tables that sfdisk wrote and reads.
func TestAgainstSfdisk(t *testing.T) {
	sfdisk := needs.Tool(t, "sfdisk")
	for _, c := range []struct{ name, script string }{
		{"gpt", "label: gpt\nsize=1M, type=uefi, name=boot\nsize=2M, type=linux, name=\"root fs\"\nstart=20480, size=3M\n"},
		{"mbr", "label: dos\nsize=1M, type=83\nsize=2M, type=82\n"},
		{"mbr logical", "label: dos\nsize=1M, type=83\nsize=20M, type=5\nsize=2M, type=83\nsize=3M, type=82\nsize=4M, type=8e\n"},
		{"mbr six logical", "label: dos\nsize=50M, type=f\n" + strings.Repeat("size=1M, type=83\n", 6)},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(img, make([]byte, 64<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(sfdisk, "-q", img)
			cmd.Stdin = strings.NewReader(c.script)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("sfdisk: %v\n%s", err, out)
			}
			dump, err := exec.Command(sfdisk, "--dump", img).Output()
			if err != nil {
				t.Fatal(err)
			}
			d, err := os.ReadFile(img)
			if err != nil {
				t.Fatal(err)
			}
			vols, err := Scan(bytes.NewReader(d), int64(len(d)), func(err error) { t.Error(err) })
			if err != nil {
				t.Fatal(err)
			}
			compareDump(t, string(dump), img, vols)
		})
	}
}

// compareDump reads lines such as "disk1 : start= 2048, size= 2048, type=83, uuid=..., name="root fs"".
func compareDump(t *testing.T, dump, img string, vols []Volume) {
	t.Helper()
	for _, line := range strings.Split(dump, "\n") {
		var number int
		var start, size int64
		if n, _ := fmt.Sscanf(line, img+"%d : start= %d, size= %d,", &number, &start, &size); n != 3 {
			continue
		}
		_, typ, _ := strings.Cut(line, "type=")
		typ, _, _ = strings.Cut(typ, ",")
		if typ == "5" || typ == "f" {
			continue
		}
		found := false
		for _, v := range vols {
			if v.Number != number {
				continue
			}
			found = true
			if v.Start != start*512 || v.Size != size*512 || !strings.HasSuffix(v.Type, strings.ToLower(typ)) ||
				v.Name != "" && !strings.Contains(line, v.Name) {
				t.Errorf("got %+v for %s", v, line)
			}
		}
		if !found {
			t.Errorf("not found: %s", line)
		}
	}
}

func TestIdentify(t *testing.T) {
	at := func(off int, text string) []byte { b := make([]byte, 1<<20); copy(b[off:], text); return b }
	for want, b := range map[string][]byte{
		"crypto_LUKS":       at(0, "LUKS\xba\xbe\x00\x02"),
		"BitLocker":         at(3, "-FVE-FS-"),
		"swap":              at(4086, "SWAPSPACE2"),
		"LVM2_member":       append(append(at(512, "LABELONE")[:536], "LVM2 001"...), make([]byte, 1000)...),
		"iso9660":           at(0x8001, "CD001"),
		"erofs":             at(1024, "\xe2\xe1\xf5\xe0"),
		"linux_raid_member": at(1<<20-8192, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00"),
		"ext2":              at(0x438, "\x53\xef"),
		"tar":               at(257, "ustar"),
		"":                  at(0, ""),
	} {
		if got := Identify(bytes.NewReader(b)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(craftGPT(512, 100, part{linuxType, 40, 50, "root"}))
	f.Add(craftGPT(512, 100, part{linuxType, 40, 50, "root"})[:1500])
	d := make([]byte, 20*512)
	putMBR(d, 512, 0, record{0x80, 0x83, 1, 3}, record{0, 5, 5, 20})
	putMBR(d, 512, 5, record{0, 0x83, 1, 1}, record{0, 5, 3, 2})
	f.Add(d)
	f.Fuzz(func(t *testing.T, d []byte) {
		vols, err := Scan(bytes.NewReader(d), int64(len(d)), nil)
		if err != nil {
			t.Fatal(err) // reading from memory doesn't fail
		}
		for _, v := range vols {
			if v.Start < 0 || v.Size < 0 || v.Size > 0 && v.Start+v.Size > int64(len(d)) {
				t.Fatalf("%+v lies outside a disk of %d bytes", v, len(d))
			}
			Identify(v)
		}
	})
}
