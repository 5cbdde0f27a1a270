package xfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"lagan/evidence"
	"lagan/evidence/remains/remainstest"
	"lagan/internal/needs"
)

// TestDeletedCases goes through CFTT's cases of deleted files.
func TestDeletedCases(t *testing.T) {
	for _, c := range remainstest.Cases {
		t.Run(c.Name, func(t *testing.T) {
			var d *remainstest.Dir
			f := casesImage(t, c.MiB, func(dir string) {
				d = remainstest.New(t, dir)
				c.Fill(d)
			})
			d.Check(f, c.Lossy)
		})
	}
}

// TestListedCases is DFR-15 to DFR-17: what is there is listed.
func TestListedCases(t *testing.T) {
	want := 0
	f := casesImage(t, 64, func(dir string) { want = remainstest.Listed(remainstest.New(t, dir)) })
	remainstest.CheckListed(t, f, want)
}

// casesImage makes a filesystem, lets fill use it and opens it once it is unmounted.
func casesImage(t *testing.T, mib int, fill func(dir string)) *FS {
	t.Helper()
	needs.Tool(t, "mkfs.xfs", "mount")
	image := filepath.Join(t.TempDir(), "image")
	makeImage(t, image, mib)
	dir, umount := mount(t, image, "")
	fill(dir)
	umount()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}
