package remainstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// deletedFiles is how many files DeleteMany deletes.
const deletedFiles = 200

// Copied says when the copy of a disk is taken, and when its files were deleted.
type Copied struct {
	Mounted bool // while it was mounted
	Again   bool // mounted a second time for the deletion
}

// DeleteMany makes files in the filesystem of an image, deletes 200 of them and
// returns a copy of the image from a moment later, and the SHA-256 of the deleted
// ones by path. mount mounts the image; sizes are those at which its filesystem
// changes how it keeps a file.
func DeleteMany(t *testing.T, image string, mount func() (dir string, umount func()), sizes []int, when Copied) ([]byte, map[string]string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	dir, umount := mount()
	write := func(name string, n int) []byte {
		content := make([]byte, n)
		for i := range content {
			content[i] = byte(rnd.Uint32())
		}
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, content, 0o640))
		return content
	}
	written := func() {
		d, err := os.Open(dir)
		must(err)
		defer d.Close()
		must(syncfs(d.Fd()))
	}
	want := map[string]string{}
	for i := range deletedFiles {
		name := fmt.Sprintf("d%d/sub/file-%d.txt", i%7, i)
		sum := sha256.Sum256(write(name, sizes[i%len(sizes)]+i))
		want[name] = hex.EncodeToString(sum[:])
		write(fmt.Sprintf("kept/file-%d", i), 1000+i)
	}
	written()
	if when.Again {
		umount()
		dir, umount = mount()
	}
	for name := range want {
		must(os.Remove(filepath.Join(dir, name)))
	}
	written()
	if !when.Mounted {
		umount()
	}
	b, err := os.ReadFile(image)
	must(err)
	if when.Mounted {
		umount()
	}
	return b, want
}
