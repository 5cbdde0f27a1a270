package xfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"lagan/evidence"
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
			b, want := deleteFiles(t, image, d.mounted, d.again)
			whole := checkRecovered(t, b, want)
			t.Logf("whole: %d of %d", whole, len(want))
			if whole < d.least {
				t.Errorf("%d of %d deleted files are whole, want %d", whole, len(want), d.least)
			}
		})
	}
}

// deleteFiles makes files, deletes 200 of them and returns a copy of the disk,
// and the hashes of the deleted ones by path.
func deleteFiles(t *testing.T, image string, copyMounted, again bool) ([]byte, map[string]string) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(3, 4))
	dir, umount := mount(t, image, "")
	want := map[string]string{}
	write := func(name string, n int) []byte {
		content := make([]byte, n)
		for i := range content {
			content[i] = byte(rnd.Uint32())
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o640); err != nil {
			t.Fatal(err)
		}
		return content
	}
	sizes := []int{0, 1, 100, 4095, 4096, 4097, 12 << 10, 49 << 10, 64<<10 + 3, 300 << 10}
	for i := range 200 {
		name := fmt.Sprintf("d%d/sub/file-%d.txt", i%7, i)
		sum := sha256.Sum256(write(name, sizes[i%len(sizes)]+i))
		want[name] = hex.EncodeToString(sum[:])
		write(fmt.Sprintf("kept/file-%d", i), 1000+i)
	}
	syncDir(t, dir)
	if again {
		umount()
		dir, umount = mount(t, image, "")
	}
	for name := range want {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	syncDir(t, dir)
	if !copyMounted {
		umount()
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	umount()
	return b, want
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		t.Fatal(err)
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
