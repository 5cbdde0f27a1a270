package ext4

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
	needs.Root(t, "a loop mount")
	needs.Tool(t, "mkfs.ext4")
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	sh(t, "mkfs.ext4", "-q", "-F", "-E", "nodiscard", image)
	dir, umount := mounted(t, image, ",nodiscard")
	fill(dir)
	umount()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	fs, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}
