package lvm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
	"lagan/internal/needs"
)

const (
	extentSize = 64 << 10
	peStart    = 1 << 20
)

// physical makes a physical volume with this text in its metadata area, which
// begins near the area's end so that it goes on at its start.
func physical(id, text string, extents []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, peStart)
	l := b[sector : 2*sector]
	copy(l, labelID)
	le.PutUint64(l[8:], 1)
	le.PutUint32(l[20:], labelHeader)
	copy(l[24:], labelType)
	h := l[labelHeader:]
	copy(h, id)
	le.PutUint64(h[40:], peStart)
	le.PutUint64(h[72:], 4096)
	le.PutUint64(h[80:], peStart-4096)
	le.PutUint32(l[16:], crc(l[20:]))
	m := b[4096:]
	copy(m[4:], mdaMagic)
	le.PutUint32(m[20:], 1)
	le.PutUint64(m[24:], 4096)
	le.PutUint64(m[32:], peStart-4096)
	off := len(m) - 100
	le.PutUint64(m[40:], uint64(off))
	le.PutUint64(m[48:], uint64(len(text)))
	le.PutUint32(m[56:], crc([]byte(text)))
	le.PutUint32(m, crc(m[4:mdaHeaderSize]))
	n := copy(m[off:], text)
	copy(m[mdaHeaderSize:], text[n:])
	return append(b, extents...)
}

func pvID(n int) string { return fmt.Sprintf("PhysicalVolumeNumber%012d", n) }

// groupText is the text of a group of n physical volumes with these logical ones.
func groupText(n, sequence int, lvs string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "vg0 {\nid = \"Group0-0000-0000-0000-0000-0000-000000\"\nseqno = %d\nextent_size = %d # 64 KiB\nphysical_volumes {\n", sequence, extentSize/sector)
	for i := range n {
		fmt.Fprintf(&b, "pv%d {\nid = \"%s\"\ndevice = \"/dev/sd%c\"\npe_start = %d\npe_count = 64\n}\n", i, dashed(pvID(i)), 'a'+i, peStart/sector)
	}
	fmt.Fprintf(&b, "}\nlogical_volumes {\n%s}\n}\ncontents = \"Text Format Volume Group\"\nversion = 1\ncreation_host = \"no\\\"de\"\n", lvs)
	return b.String()
}

// lvText is the text of a logical volume of segments.
func lvText(name, status string, segments ...string) string {
	s := fmt.Sprintf("%s {\nid = \"%s-id\"\nstatus = [\"READ\", %q]\nsegment_count = %d\n", name, name, status, len(segments))
	start := 0
	for i, seg := range segments {
		var n int
		fmt.Sscanf(seg, "extent_count = %d", &n)
		s += fmt.Sprintf("segment%d {\nstart_extent = %d\n%s\n}\n", i+1, start, seg)
		start += n
	}
	return s + "}\n"
}

// extents is n extents of which each byte tells the volume and the extent.
func extents(volume byte, n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, bytes.Repeat([]byte{volume<<6 | byte(i)}, extentSize)...)
	}
	return b
}

// open opens crafted volumes; the warnings are returned as text.
func open(images ...[]byte) (map[string]*LV, string) {
	var warned []string
	var devices []Device
	for _, b := range images {
		devices = append(devices, bytes.NewReader(b))
	}
	lvs := map[string]*LV{}
	opened, _ := Open(devices, func(err error) { warned = append(warned, err.Error()) })
	for _, lv := range opened {
		lvs[lv.Name] = lv
	}
	return lvs, strings.Join(warned, "\n")
}

// first returns the first byte of each piece of a volume.
func first(t *testing.T, lv *LV, size int64) string {
	t.Helper()
	if lv == nil {
		return "none"
	}
	var out []string
	for off := int64(0); off < lv.Size(); off += size {
		p := make([]byte, size)
		if _, err := lv.ReadAt(p, off); err != nil {
			out = append(out, "!")
			continue
		}
		if !bytes.Equal(p, bytes.Repeat(p[:1], len(p))) {
			t.Errorf("%s: bytes at %#x are mixed", lv.Name, off)
		}
		out = append(out, fmt.Sprintf("%d.%d", p[0]>>6, p[0]&0x3f))
	}
	return strings.Join(out, " ")
}

func TestKinds(t *testing.T) {
	const image = "type = \"striped\"\nstripe_count = 1\nstripes = [\"pv%d\", %d]"
	text := groupText(2, 5,
		lvText("linear", "VISIBLE", "extent_count = 2\n"+fmt.Sprintf(image, 0, 3), "extent_count = 1\n"+fmt.Sprintf(image, 1, 1))+
			lvText("stripes", "VISIBLE", "extent_count = 4\ntype = \"striped\"\nstripe_count = 2\nstripe_size = 64\nstripes = [\n\"pv0\", 5,\n\"pv1\", 7\n]")+
			lvText("mirror", "VISIBLE", "extent_count = 2\ntype = \"mirror\"\nmirror_count = 2\nmirrors = [\"leg0\", 0, \"leg1\", 0]")+
			lvText("leg0", "", "extent_count = 2\n"+fmt.Sprintf(image, 1, 10))+
			lvText("leg1", "", "extent_count = 2\n"+fmt.Sprintf(image, 0, 10))+
			lvText("r1", "VISIBLE", "extent_count = 2\ntype = \"raid1\"\ndevice_count = 2\nraids = [\"meta0\", \"leg0\", \"meta1\", \"leg1\"]")+
			lvText("r0", "VISIBLE", "extent_count = 4\ntype = \"raid0\"\nstripe_size = 128\nraid0_lvs = [\"leg0\", \"leg1\"]")+
			lvText("r5", "VISIBLE", "extent_count = 4\ntype = \"raid5\"\n")+
			lvText("zero", "VISIBLE", "extent_count = 1\ntype = \"zero\"\n")+
			lvText("loop", "VISIBLE", "extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"loop\", 0]")+
			lvText("hidden", "", "extent_count = 1\n"+fmt.Sprintf(image, 0, 0)))
	a, b := physical(pvID(0), text, extents(1, 20)), physical(pvID(1), text, extents(2, 20))
	lvs, warned := open(b, a)
	for name, want := range map[string]string{
		"linear":  "1.3 1.4 2.1",
		"stripes": "1.5 1.6 2.7 2.8",
		"mirror":  "2.10 2.11",
		"r1":      "2.10 2.11",
		"r0":      "2.10 1.10 2.11 1.11",
		"zero":    "0.0",
		"r5":      "none",
		"loop":    "none",
		"hidden":  "none",
	} {
		got := ""
		if name == "stripes" { // of half an extent each
			halves := strings.Fields(first(t, lvs[name], extentSize/2))
			if strings.Join(halves, " ") != "1.5 2.7 1.5 2.7 1.6 2.8 1.6 2.8" {
				t.Errorf("stripes: %v", halves)
			}
			continue
		}
		if got = first(t, lvs[name], extentSize); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(warned, "vg0/r5: segment1: type raid5") || !strings.Contains(warned, "stands on itself") || strings.Count(warned, "\n") != 1 {
		t.Errorf("warned %s", warned)
	}
	if lv := lvs["linear"]; lv.Group != "vg0" || lv.Kind != "linear" || lv.UUID != "linear-id" || lv.Size() != 3*extentSize {
		t.Errorf("%+v", lv)
	}
	// Without the first physical volume: legs stand in for each other, the rest is told.
	lvs, warned = open(b)
	for name, want := range map[string]string{"linear": "! ! 2.1", "mirror": "2.10 2.11", "r1": "2.10 2.11", "r0": "2.10 ! 2.11 !"} {
		if got := first(t, lvs[name], extentSize); got != want {
			t.Errorf("without pv0: %s: got %s, want %s", name, got, want)
		}
	}
	if strings.Count(warned, "is not among the disks") != 1 {
		t.Errorf("warned %s", warned)
	}
	lvs, _ = open(a)
	if got := first(t, lvs["mirror"], extentSize); got != "1.10 1.11" {
		t.Errorf("without pv1: the mirror is %s", got)
	}
}

// TestNewestText takes the text of the higher number, and of another area's disk.
func TestNewestText(t *testing.T) {
	older := groupText(2, 4, lvText("old", "VISIBLE", "extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 0]"))
	newer := groupText(2, 5, lvText("new", "VISIBLE", "extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 1]"))
	lvs, warned := open(physical(pvID(0), older, extents(1, 4)), physical(pvID(1), newer, extents(2, 4)))
	if lvs["old"] != nil || first(t, lvs["new"], extentSize) != "1.1" || warned != "" {
		t.Errorf("got %v, warned %s", lvs, warned)
	}
}

func TestDamage(t *testing.T) {
	text := groupText(1, 5, lvText("lv", "VISIBLE", "extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 0]"))
	for name, c := range map[string]struct {
		change func(b []byte)
		warned string
		opens  bool
	}{
		"label":   {func(b []byte) { b[sector+60] = 1 }, "label at offset 0x200: wrong checksum", true},
		"area":    {func(b []byte) { b[4096+100] = 1 }, "area at offset 0x1000: wrong checksum", true},
		"text":    {func(b []byte) { b[bytes.Index(b, []byte("64 KiB"))] = '9' }, "wrong checksum", true},
		"brace":   {func(b []byte) { copy(b[len(b)-4*extentSize-100:], "}}}}") }, "metadata text", false},
		"magic":   {func(b []byte) { b[4096+4] = 'x' }, "no magic", false},
		"no text": {func(b []byte) { clear(b[4096+48 : 4096+56]) }, "checksum", false},
		"length":  {func(b []byte) { b[4096+55] = 0x7f }, "text of", false},
		"zeros":   {func(b []byte) { clear(b) }, "no label", false},
	} {
		b := physical(pvID(0), text, extents(1, 4))
		c.change(b)
		lvs, warned := open(b)
		if (lvs["lv"] != nil) != c.opens || !strings.Contains(warned, c.warned) {
			t.Errorf("%s: opened %v, warned %s", name, lvs, warned)
		}
	}
}

// TestThin has a pool whose metadata thin_restore wrote.
func TestThin(t *testing.T) {
	dir := t.TempDir()
	xml := `<superblock uuid="" time="1" transaction="2" data_block_size="128" nr_data_blocks="32">
<device dev_id="1" mapped_blocks="3" transaction="0" creation_time="0" snap_time="1">
<range_mapping origin_begin="1" data_begin="4" length="2" time="0"/>
<single_mapping origin_block="5" data_block="9" time="1"/>
</device>
<device dev_id="7" mapped_blocks="0" transaction="1" creation_time="1" snap_time="1"></device>
</superblock>`
	in := imagetest.Write(t, "pool.xml", []byte(xml))
	out := filepath.Join(dir, "meta")
	if err := os.WriteFile(out, make([]byte, 20*extentSize), 0o600); err != nil {
		t.Fatal(err)
	}
	imagetest.Run(t, "thin_restore", "-i", in, "-o", out)
	meta, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text := groupText(1, 9,
		lvText("t1", "VISIBLE", "extent_count = 7\ntype = \"thin\"\nthin_pool = \"pool\"\ntransaction_id = 0\ndevice_id = 1")+
			lvText("t7", "VISIBLE", "extent_count = 2\ntype = \"thin\"\nthin_pool = \"pool\"\ndevice_id = 7")+
			lvText("t8", "VISIBLE", "extent_count = 2\ntype = \"thin\"\nthin_pool = \"pool\"\ndevice_id = 8")+
			lvText("pool", "VISIBLE", "extent_count = 12\ntype = \"thin-pool\"\nmetadata = \"pool_tmeta\"\npool = \"pool_tdata\"\nchunk_size = 128")+
			lvText("pool_tmeta", "", "extent_count = 20\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 12]")+
			lvText("pool_tdata", "", "extent_count = 12\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 0]"))
	b := physical(pvID(0), text, append(extents(1, 12), meta...))
	lvs, warned := open(b)
	if warned != "" {
		t.Errorf("warned %s", warned)
	}
	for name, want := range map[string]string{"t1": "0.0 1.4 1.5 0.0 0.0 1.9 0.0", "t7": "0.0 0.0", "t8": "0.0 0.0", "pool": "none"} {
		if got := first(t, lvs[name], extentSize); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	b[peStart+12*extentSize+200] ^= 1
	if _, warned = open(b); !strings.Contains(warned, "metadata block 0: wrong checksum") {
		t.Errorf("superblock broken: warned %s", warned)
	}
	b[peStart+12*extentSize+32] ^= 1
	if lvs, warned = open(b); lvs["t1"] != nil || !strings.Contains(warned, "magic") {
		t.Errorf("magic broken: warned %s", warned)
	}
}

// TestAgainstLVM has a group that LVM itself made. The kernel need not be able
// to activate it: the logical volume is put into the group's text.
func TestAgainstLVM(t *testing.T) {
	needs.Root(t, "a loop device")
	needs.Tool(t, "losetup", "pvcreate", "vgcreate", "vgcfgbackup", "vgcfgrestore")
	t.Setenv("LVM_SUPPRESS_FD_WARNINGS", "1")
	dir := t.TempDir()
	var loops, files []string
	for i := range 2 {
		f := filepath.Join(dir, fmt.Sprintf("pv%d", i))
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(f, 16<<20); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("losetup", "-f", "--show", f).Output()
		if err != nil {
			t.Skipf("losetup: %v", err)
		}
		dev := strings.TrimSpace(string(out))
		t.Cleanup(func() { exec.Command("losetup", "-d", dev).Run() })
		loops, files = append(loops, dev), append(files, f)
	}
	name := fmt.Sprintf("lagantest%d", os.Getpid())
	imagetest.Run(t, "pvcreate", append([]string{"-q"}, loops...)...)
	imagetest.Run(t, "vgcreate", append([]string{"-q", "-s", "64k", name}, loops...)...)
	backup := filepath.Join(dir, "vg.txt")
	imagetest.Run(t, "vgcfgbackup", "-q", "-f", backup, name)
	b, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	lv := `logical_volumes { root { id = "abcdef-ghij-klmn-opqr-stuv-wxyz-ABCDEF" status = ["READ", "WRITE", "VISIBLE"] flags = []
 creation_time = 1 creation_host = "h" segment_count = 2
 segment1 { start_extent = 0 extent_count = 3 type = "striped" stripe_count = 1 stripes = ["pv1", 10] }
 segment2 { start_extent = 3 extent_count = 2 type = "striped" stripe_count = 2 stripe_size = 128 stripes = ["pv0", 0, "pv1", 40] } } }
`
	end := bytes.LastIndexByte(b, '}')
	b = append(append(bytes.Clone(b[:end]), lv...), b[end:]...)
	if err := os.WriteFile(backup, b, 0o600); err != nil {
		t.Fatal(err)
	}
	imagetest.Run(t, "vgcfgrestore", "-q", "--force", "-f", backup, name)
	for i, dev := range loops {
		f, err := os.OpenFile(dev, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(extents(byte(i+1), 60), peStart); err != nil {
			t.Fatal(err)
		}
		f.Sync()
		f.Close()
	}
	var images [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, b)
	}
	lvs, warned := open(images...)
	// Which loop device is pv0 is LVM's choice: by the order of their ids.
	got := first(t, lvs["root"], extentSize)
	if got != "2.10 2.11 2.12 1.0 2.40" && got != "1.10 1.11 1.12 2.0 1.40" || warned != "" {
		t.Errorf("got %s, warned %s", got, warned)
	}
}

func FuzzText(f *testing.F) {
	f.Add(groupText(1, 5, lvText("lv", "VISIBLE", "extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 0]")+
		lvText("m", "VISIBLE", "extent_count = 1\ntype = \"mirror\"\nmirrors = [\"lv\", 0, \"m\", 0]")+
		lvText("t", "VISIBLE", "extent_count = 1\ntype = \"thin\"\nthin_pool = \"p\"\ndevice_id = 1")+
		lvText("p", "", "extent_count = 1\ntype = \"thin-pool\"\nmetadata = \"lv\"\npool = \"lv\"")))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 100_000 {
			return
		}
		lvs, _ := Open([]Device{bytes.NewReader(physical(pvID(0), text, extents(1, 2)))}, func(err error) { ours(t, err) })
		for _, lv := range lvs {
			if lv.Size() < 0 {
				t.Fatalf("size %d", lv.Size())
			}
			_, err := lv.ReadAt(make([]byte, 1000), lv.Size()/2)
			ours(t, err)
		}
	})
}

func FuzzVolume(f *testing.F) {
	text := groupText(1, 5, lvText("lv", "VISIBLE", "extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 0]"))
	f.Add(physical(pvID(0), text, nil)[:9000])
	f.Fuzz(func(t *testing.T, b []byte) {
		lvs, _ := Open([]Device{bytes.NewReader(b)}, func(err error) { ours(t, err) })
		for _, lv := range lvs {
			_, err := lv.ReadAt(make([]byte, 1000), 0)
			ours(t, err)
		}
	})
}

func ours(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) || errors.Is(err, evidence.ErrFormat) {
		return
	}
	imagetest.Fuzz(t, nil, err)
}
