package ext4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/internal/needs"
)

// TestOrphans deletes files that are open, copies the mounted image and finds
// them with their content: on the list in the superblock, in the orphan file
// and, without a journal, in neither.
func TestOrphans(t *testing.T) {
	needs.Root(t, "a loop mount")
	needs.Tool(t, "mkfs.ext4")
	for _, feature := range []string{"^orphan_file", "orphan_file", "^has_journal"} {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, bytes.Repeat([]byte{0xaa}, 24<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		sh(t, "mkfs.ext4", "-q", "-F", "-E", "nodiscard", "-O", feature, image)
		dir, umount := mounted(t, image, ",nodiscard")
		want, release := openDeleted(t, dir)
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		release()
		umount()
		fs, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range fs.Deleted() {
			if err != nil {
				t.Errorf("%s: %v", feature, err)
			}
			if !d.Open {
				continue
			}
			got, err := sum(fs, d.Ino)
			if err != nil || got != want[d.Ino] || !d.Deleted.IsZero() {
				t.Errorf("%s: inode %d: content %s, %v, deleted %v; want %s", feature, d.Ino, got, err, d.Deleted, want[d.Ino])
			}
			delete(want, d.Ino)
		}
		if len(want) > 0 {
			t.Errorf("%s: %d not found", feature, len(want))
		}
	}
}

// openDeleted returns the hashes of files that are deleted and open.
func openDeleted(t *testing.T, dir string) (map[evidence.Ino]string, func()) {
	t.Helper()
	want := map[evidence.Ino]string{}
	var files []*os.File
	for i := range 30 {
		content := bytes.Repeat([]byte{byte(i), 1, 2}, 1+i*3000)
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		want[evidence.Ino(st.Ino)] = hex.EncodeToString(sum[:])
		files = append(files, f)
	}
	for i := range 30 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		t.Fatal(err)
	}
	return want, func() {
		for _, f := range files {
			f.Close()
		}
	}
}
