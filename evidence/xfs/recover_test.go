package xfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"testing"

	"lagan/evidence"
	"lagan/evidence/remains/remainstest"
	"lagan/internal/needs"
)

// TestRecovered deletes 200 files a moment before the copy: they come back whole
// under their names, and nothing that is marked whole has another content.
func TestRecovered(t *testing.T) {
	needs.Tool(t, "mkfs.xfs", "mount")
	for _, d := range []struct {
		name           string
		options        []string
		mounted, again bool
		least          int
	}{
		{"unmounted", nil, false, false, 195},
		{"mounted", nil, true, false, 195},
		{"remounted", nil, false, true, 195},
		{"v4", []string{"-m", "crc=0"}, false, false, 150},
	} {
		t.Run(d.name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			makeImage(t, image, 64, d.options...)
			b, want := remainstest.DeleteMany(t, image, func() (string, func()) { return mount(t, image, "") },
				[]int{0, 1, 100, 4095, 4096, 4097, 12 << 10, 49 << 10, 64<<10 + 3, 300 << 10}, remainstest.Copied{Mounted: d.mounted, Again: d.again})
			whole := checkRecovered(t, b, want)
			t.Logf("whole: %d of %d", whole, len(want))
			if whole < d.least {
				t.Errorf("%d of %d deleted files are whole, want %d", whole, len(want), d.least)
			}
		})
	}
}

func checkRecovered(t *testing.T, b []byte, want map[string]string) int {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	paths := map[evidence.Ino]string{f.Root(): ""}
	err = evidence.Walk(f, f.Root(), func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err == nil && info.Type == evidence.TypeDir && rel != "" {
			paths[e.Ino] = rel + "/"
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	whole, told := 0, 0
	for r, err := range f.Recovered() {
		if err != nil {
			t.Fatal(err)
		}
		path := ""
		if len(r.Names) > 0 {
			path = paths[r.Names[0].Dir] + r.Names[0].Name
		}
		if r.Content == nil || r.State != evidence.ContentWhole || want[path] == "" {
			if told++; told < 30 && (r.State != evidence.ContentTimes || path != "") {
				t.Logf("inode %d %q %d bytes: %s, %s %s", r.Ino, path, r.Info.Size, r.State, r.Source, r.Note)
			}
			continue
		}
		h := sha256.New()
		if _, err := io.Copy(h, r.Content); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want[path] {
			t.Errorf("inode %d %q is marked whole and has %s, want %s (%s)", r.Ino, path, got, want[path], r.Source)
			continue
		}
		whole++
	}
	return whole
}
