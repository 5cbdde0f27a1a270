package btrfs

import (
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
)

// TestSeen has the entries of all folders from what a pass over the inodes kept, and from the trees again.
func TestSeen(t *testing.T) {
	for _, name := range []string{"plain", "log"} {
		f := openBytes(t, fixtures.Unpack(t, "testdata/"+name+".img.zst"), evidence.Options{})
		var dirs []evidence.Ino
		for i, err := range f.Inodes() {
			if err == nil && i.Info.Type == evidence.TypeDir {
				dirs = append(dirs, i.Ino)
			}
		}
		if seen := f.seen.Load(); seen == nil || seen.full || len(seen.of) == 0 || len(dirs) < 2 {
			t.Fatalf("%s: nothing was kept of %d folders", name, len(dirs))
		}
		for _, dir := range dirs[:len(dirs):len(dirs)] { // with others that aren't there, they are not looked up one by one
			for i := range evidence.Ino(fewDirs) {
				dirs = append(dirs, dir+1<<20+i)
			}
		}
		var got [2][]evidence.DirEntry
		for i := range got {
			for e, err := range f.Entries(dirs) {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got[i] = append(got[i], e)
			}
			if f.seen.Load() != nil {
				t.Errorf("%s: what was kept is kept for longer than it is needed", name)
			}
		}
		if len(got[0]) == 0 || len(got[0]) != len(got[1]) {
			t.Fatalf("%s: %d and %d entries", name, len(got[0]), len(got[1]))
		}
		for i, e := range got[0] {
			if e != got[1][i] {
				t.Errorf("%s: entry %d: %v and %v", name, i, e, got[1][i])
			}
		}
	}
}

// TestSeenBounded keeps nothing of trees that have more than may be kept.
func TestSeenBounded(t *testing.T) {
	var s seenDirs
	v := &subvolume{}
	for range maxSeen/(4096+seenCost) + 1 {
		s.add(v, item{key: key{300, itemDirIndex, 2}, data: make([]byte, 4096)})
	}
	if _, ok := s.items(v); ok || !s.full || s.chunk != nil {
		t.Error("it is kept")
	}
}
