package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/tarfs"
	"lagan/fixtures"
)

// kernelDisks returns the disks in testdata that Linux wrote, by name, and the
// SHA-256 of what it read of each array and logical volume on them.
func kernelDisks(tb testing.TB) (disks map[string]device, sums map[string]string) {
	tb.Helper()
	b := fixtures.Unpack(tb, "testdata/linux-6.1.tar.zst")
	tree, err := tarfs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(err error) { tb.Error(err) }})
	if err != nil {
		tb.Fatal(err)
	}
	disks, sums = map[string]device{}, map[string]string{}
	text, err := evidence.ReadFile(tree, tree.Root(), "SUMS", 1<<20)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		sums[f[2]] = f[0] + " " + f[1]
	}
	entries, err := evidence.List(tree, tree.Root())
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if r, err := tree.Open(e.Ino); err == nil && e.Name != "SUMS" {
			disks[e.Name] = device{r, r.Size()}
		}
	}
	return disks, sums
}

// assemble scans disks and puts together what is on them.
func assemble(tb testing.TB, disks map[string]device, names ...string) (made []Volume, warned []string) {
	tb.Helper()
	var vols []Volume
	for _, name := range names {
		d, ok := disks[name]
		if !ok {
			tb.Fatalf("no disk %q", name)
		}
		v, err := Scan(d, d.size, func(err error) { tb.Error(err) })
		if err != nil {
			tb.Fatal(err)
		}
		vols = append(vols, v...)
	}
	made = Assemble(vols, func(err error) { warned = append(warned, err.Error()) }).Made
	return made, warned
}

// sum hashes a volume as SUMS has it.
func sum(v Volume) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(v, 0, v.Size))
	return fmt.Sprintf("%s %d", hex.EncodeToString(h.Sum(nil)), v.Size), err
}

var (
	lvmDisks  = []string{"a-lvm", "b-lvm", "c-lvm"}
	raidDisks = []string{"d-r0", "e-r0", "f-r0", "g-lin", "h-lin", "i-r1", "j-r1", "k-r10", "l-r10", "m-r10", "n-r10"}
)

// TestAgainstKernel compares arrays and logical volumes with what Linux 6.1 read
// of them: RAID 0 of members of three sizes, linear, RAID 1 and 10; linear,
// striped, mirrored and RAID logical volumes, thin ones and a snapshot of one.
func TestAgainstKernel(t *testing.T) {
	disks, sums := kernelDisks(t)
	made, warned := assemble(t, disks, append(raidDisks, lvmDisks...)...)
	for _, v := range made {
		if v.Name == "vg-0/empty" { // nothing was ever written to it
			b := make([]byte, 4<<20)
			if n, err := v.ReadAt(b, 1<<29); n != len(b) || err != nil || !allZero(b) || v.Size != 1<<30 {
				t.Errorf("%s: %d bytes, %v", v.Name, n, err)
			}
			continue
		}
		got, err := sum(v)
		want := sums[v.Name]
		if err != nil || got != want {
			t.Errorf("%s (%s): have %s, %v; want %s", v.Name, v.TypeName, got, err, want)
		}
		delete(sums, v.Name)
	}
	for _, name := range []string{"vg-0/raid5", "vg-0/cached"} { // are said to be what isn't read
		delete(sums, name)
		if all := strings.Join(warned, "\n"); !strings.Contains(all, name) {
			t.Errorf("nothing was said of %s: %s", name, all)
		}
	}
	if len(warned) != 2 || len(sums) != 0 {
		t.Errorf("warned of %q; not found: %v", warned, sums)
	}
}

// TestMissingDisk takes one disk after another away: what stands on it is told
// of, and the rest read as before.
func TestMissingDisk(t *testing.T) {
	disks, sums := kernelDisks(t)
	for _, c := range []struct {
		without string
		whole   []string // of the volumes, those that have another copy or don't lie on it
		said    string
	}{
		{"c-lvm", []string{"vg-0/linear", "vg-0/mirror", "vg-0/raid1", "vg-0/raid0"}, "is not among the disks given"},
		{"b-lvm", []string{"vg-0/linear", "vg-0/mirror", "vg-0/raid1"}, "is not among the disks given"},
		{"i-r1", []string{"node-1:one"}, ""},
		{"l-r10", []string{"node-1:ten"}, ""},
		{"e-r0", []string{"node-1:one", "node-1:lin", "node-1:ten"}, "md: array node-1:zero"},
		{"h-lin", []string{"node-1:one", "node-1:zero", "node-1:ten"}, "md: array node-1:lin"},
	} {
		t.Run(c.without, func(t *testing.T) {
			var names []string
			for _, name := range append(append([]string{}, raidDisks...), lvmDisks...) {
				if name != c.without && strings.HasSuffix(name, "lvm") == strings.HasSuffix(c.without, "lvm") {
					names = append(names, name)
				}
			}
			made, warned := assemble(t, disks, names...)
			for _, name := range c.whole {
				got := ""
				for _, v := range made {
					if v.Name == name {
						got, _ = sum(v)
					}
				}
				if got != sums[name] {
					t.Errorf("%s: have %q, want %q", name, got, sums[name])
				}
			}
			if all := strings.Join(warned, "\n"); !strings.Contains(all, c.said) {
				t.Errorf("warned of %s", all)
			}
		})
	}
}
