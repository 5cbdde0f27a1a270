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
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

// deletedCases are made, and deleted, after the cases of NIST's CFTT for the
// recovery of deleted files (DFR): contiguous, fragmented and braided files, names
// that are long or not ASCII, folders, times, holes, empty files.
func deletedCases(t *testing.T, dir string) map[string]string {
	t.Helper()
	rnd := rand.New(rand.NewPCG(8, 9))
	want := map[string]string{}
	appendTo := func(name string, n int) {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil { // so that each piece has its place
			t.Fatal(err)
		}
		f.Close()
		want[name] = ""
	}
	appendTo("contiguous", 100<<10)
	appendTo("two-fragments", 64<<10)
	appendTo("between", 64<<10)
	appendTo("two-fragments", 64<<10)
	for range 12 {
		appendTo("braided-a", 8<<10)
		appendTo("braided-b", 8<<10)
	}
	appendTo("na\u00efve-\u0444\u0430\u0439\u043b-\u6587\u4ef6", 5000)
	appendTo(strings.Repeat("n", 255), 5000)
	for i := range 5 {
		appendTo(fmt.Sprintf("folder/inner/file-%d", i), 3000+i)
	}
	appendTo("empty", 0)
	f, err := os.Create(filepath.Join(dir, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if _, err := f.WriteAt([]byte(fmt.Sprint("piece ", i)), int64(i)*70_000); err != nil {
			t.Fatal(err)
		}
	}
	f.Sync()
	f.Close()
	want["holes"] = ""
	appendTo("times", 700)
	stamp := time.Date(2021, 3, 4, 5, 6, 7, 891011000, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "times"), stamp, stamp); err != nil {
		t.Fatal(err)
	}
	appendTo("linked", 9000)
	if err := os.Link(filepath.Join(dir, "linked"), filepath.Join(dir, "kept-link")); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		want[name] = hex.EncodeToString(sum[:])
	}
	syncDir(t, dir)
	for name := range want {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	syncDir(t, dir)
	delete(want, "linked") // its other name is there: it was not deleted
	return want
}

// TestDeletedCases finds every one of them whole, under its name, with its times.
func TestDeletedCases(t *testing.T) {
	fs := casesImage(t, func(dir string) map[string]string { return deletedCases(t, dir) }, 96)
	paths := map[evidence.Ino]string{fs.fs.Root(): ""}
	var all []evidence.Recovered
	for r, err := range fs.fs.Recovered() {
		if err != nil {
			t.Fatal(err)
		}
		if r.Info.Type == evidence.TypeDir && len(r.Names) > 0 {
			paths[r.Ino] = r.Names[0].Name + "/"
			if r.Names[0].Name == "inner" {
				paths[r.Ino] = "folder/inner/"
			}
		}
		all = append(all, r)
	}
	for _, r := range all {
		if r.Content == nil || len(r.Names) == 0 {
			continue
		}
		path := paths[r.Names[0].Dir] + r.Names[0].Name
		if path == "linked" || path == "kept-link" {
			t.Errorf("inode %d: %q still has a name, and is told as deleted", r.Ino, path)
		}
		h := sha256.New()
		if _, err := io.Copy(h, r.Content); err != nil {
			t.Fatal(err)
		}
		got := hex.EncodeToString(h.Sum(nil))
		switch sum, ok := fs.want[path]; {
		case !ok:
		case r.State != evidence.ContentWhole:
			t.Logf("%q: %s, %s", path, r.State, r.Note)
		case got != sum:
			t.Errorf("%q is marked whole and has %s, want %s", path, got, sum)
		default:
			if path == "times" && !r.Info.Mtime.Equal(time.Date(2021, 3, 4, 5, 6, 7, 891011000, time.UTC)) {
				t.Errorf("times: modified %v", r.Info.Mtime)
			}
			delete(fs.want, path)
		}
	}
	for path := range fs.want {
		t.Errorf("%q is not found whole", path)
	}
}

// TestOverwrittenCases deletes files and fills the filesystem: what lost blocks is
// not called whole, and what is has its content.
func TestOverwrittenCases(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	fs := casesImage(t, func(dir string) map[string]string {
		want := map[string]string{}
		block := make([]byte, 1<<20)
		for i := range 6 {
			for k := range block {
				block[k] = byte(rnd.Uint32())
			}
			name := fmt.Sprint("victim-", i)
			if err := os.WriteFile(filepath.Join(dir, name), block, 0o600); err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(block)
			want[name] = hex.EncodeToString(sum[:])
		}
		syncDir(t, dir)
		for name := range want {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		syncDir(t, dir)
		for i := 0; ; i++ { // every second one is deleted again
			path := filepath.Join(dir, fmt.Sprint("filler-", i))
			if err := os.WriteFile(path, block, 0o600); err != nil {
				break
			}
		}
		syncDir(t, dir)
		for i := 0; i < 200; i += 2 {
			os.Remove(filepath.Join(dir, fmt.Sprint("filler-", i)))
		}
		syncDir(t, dir)
		return want
	}, 64)
	for r, err := range fs.fs.Recovered() {
		if err != nil {
			t.Fatal(err)
		}
		if r.Content == nil || len(r.Names) == 0 || fs.want[r.Names[0].Name] == "" || r.State != evidence.ContentWhole {
			continue
		}
		h := sha256.New()
		if _, err := io.Copy(h, r.Content); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != fs.want[r.Names[0].Name] {
			t.Errorf("%q is marked whole, and other files had its blocks", r.Names[0].Name)
		}
	}
}

type cases struct {
	fs   *FS
	want map[string]string
}

// casesImage makes a filesystem of some MiB, lets fill use it and opens a copy.
func casesImage(t *testing.T, fill func(dir string) map[string]string, mib int) cases {
	t.Helper()
	needs.Tool(t, "mkfs.xfs", "mount")
	image := filepath.Join(t.TempDir(), "image")
	makeImage(t, image, mib)
	dir, umount := mount(t, image, "")
	want := fill(dir)
	umount()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cases{f, want}
}
