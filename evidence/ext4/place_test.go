package ext4

import (
	"bytes"
	"io"
	"testing"

	"lagan/evidence"
)

// TestPlace finds the beginnings of files' contents on the disk itself.
func TestPlace(t *testing.T) {
	fs := fixture(t, "podman-ext4")
	found := 0
	for in, err := range fs.Inodes() {
		if err != nil || in.Info.Type != evidence.TypeFile || in.Info.Size == 0 {
			continue
		}
		off, ok := fs.Place(in.Ino)
		if !ok {
			continue
		}
		r, err := fs.Open(in.Ino)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, min(512, in.Info.Size))
		got := make([]byte, len(want))
		if _, err := r.ReadAt(want, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if err := readFull(fs.dev, got, off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) && !bytes.Equal(want, make([]byte, len(want))) { // that begins with a hole
			t.Fatalf("inode %d: at %#x stands something else", in.Ino, off)
		}
		found++
	}
	if found < 100 {
		t.Errorf("the places of %d files are known", found)
	}
}
