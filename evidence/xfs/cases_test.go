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

func TestDeletedCases(t *testing.T) { remainstest.TestDeleted(t, casesImage) }
func TestListedCases(t *testing.T)  { remainstest.TestListed(t, casesImage) }

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
