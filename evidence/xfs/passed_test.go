package xfs

import (
	"bytes"
	"testing"

	"lagan/evidence"
)

// TestPassedBlocks checks that blocks of folders which a pass over the inodes
// met are kept, are what the device holds, and lead to the same entries.
func TestPassedBlocks(t *testing.T) {
	device := unpack(t, "shapes.img.zst")
	f, _, err := openBytes(device, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var dirs []evidence.Ino
	for i, err := range f.Inodes() {
		if err == nil && i.Info.Type == evidence.TypeDir {
			dirs = append(dirs, i.Ino)
		}
	}
	kept := &f.dirs.Load().blocks
	kept.keep(f, 512, device[512:]) // as if all of it lay between inodes
	if len(kept.at) < 10 {
		t.Fatalf("%d blocks were kept", len(kept.at))
	}
	for _, at := range kept.at {
		n := int(f.sb.blockSize) << f.sb.dirBlkLog
		want := make([]byte, n)
		if _, err := f.dev.ReadAt(want, at.off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kept.find(at.off, n), want) {
			t.Errorf("the block at %#x is not what the device holds", at.off)
		}
	}
	if kept.find(1, 4096) != nil {
		t.Error("a block was found that was not kept")
	}
	var got [2][]evidence.DirEntry
	for i := range got { // with what was kept, and without
		for e, err := range f.Entries(dirs) {
			if err != nil {
				t.Fatal(err)
			}
			got[i] = append(got[i], e)
		}
	}
	if len(got[0]) == 0 || len(got[0]) != len(got[1]) {
		t.Fatalf("%d and %d entries", len(got[0]), len(got[1]))
	}
	for i, e := range got[0] {
		if e != got[1][i] {
			t.Fatalf("entry %d: %v and %v", i, e, got[1][i])
		}
	}
}
