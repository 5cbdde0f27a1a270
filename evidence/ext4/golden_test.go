package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/iofstest"
	"lagan/internal/needs"
)

// images are those of testdata, made and listed by the kernel (TestUpdate).
var images = []string{"inline", "ext2", "fscrypt"}

func TestGolden(t *testing.T) {
	for _, name := range images {
		t.Run(name, func(t *testing.T) {
			fs := opened(t, unpacked(t, name))
			compare(t, golden(t, name), list(t, fs))
			crossCheck(t, fs)
		})
	}
}

func TestLookup(t *testing.T) {
	for _, name := range images {
		fs := opened(t, unpacked(t, name))
		n := 0
		for e, err := range fs.ReadDir(fs.Root()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if got, err := fs.Lookup(fs.Root(), e.Name); err != nil || got != e {
				t.Errorf("%s: Lookup(%q) = %+v, %v; ReadDir says %+v", name, e.Name, got, err, e)
			}
		}
		if _, err := fs.Lookup(fs.Root(), "no such name"); n == 0 || err == nil {
			t.Errorf("%s: %d entries, and one that isn't there: %v", name, n, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	want := map[string]struct{ typ, features string }{
		"inline": {"ext4", "ext_attr resize_inode dir_index filetype extent 64bit flex_bg ea_inode inline_data sparse_super large_file huge_file dir_nlink extra_isize metadata_csum"},
		"ext2":   {"ext2", "ext_attr resize_inode dir_index filetype sparse_super large_file"},
	}
	for name, w := range want {
		d := evidence.Describe(opened(t, unpacked(t, name)))
		if got := strings.Join(d.Features, " "); d.Type != w.typ || got != w.features {
			t.Errorf("%s: %s with %q, want %s with %q", name, d.Type, got, w.typ, w.features)
		}
		if d.BlockSize != 1024 || d.Size != 12<<20 || d.Created.IsZero() || d.Mounted.IsZero() || len(d.UUID) != 36 || d.Journal.State != evidence.JournalNone {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestDeleted(t *testing.T) {
	for _, name := range images[:2] {
		fs := opened(t, unpacked(t, name))
		n := 0
		for d, err := range fs.Deleted() {
			if err != nil {
				t.Fatal(err)
			}
			if d.Open || d.Deleted.IsZero() || d.Info.Nlink != 0 || d.Info.Mtime.IsZero() {
				t.Errorf("%s: %+v", name, d)
			}
			n++
		}
		if n < 20 { // the files called gone, and of those in huge the ones not used again
			t.Errorf("%s: %d deleted inodes", name, n)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	fs := opened(t, unpacked(t, "inline"))
	if _, err := fs.Open(fs.Root()); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := fs.Stat(1 << 40); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("Stat of an inode that can't be: %v", err)
	}
	if _, err := fs.ReadLink(fs.Root()); err == nil {
		t.Error("a directory was read as a link")
	}
	enc := opened(t, unpacked(t, "fscrypt"))
	var files []evidence.Ino
	for in := range enc.Inodes() {
		if in.Info.Type == evidence.TypeFile {
			files = append(files, in.Ino)
		}
	}
	if !slices.ContainsFunc(files, func(i evidence.Ino) bool { _, err := enc.Open(i); return errors.Is(err, evidence.ErrUnsupported) }) {
		t.Error("encrypted files were opened")
	}
}

// TestBlockSizes reads what mke2fs itself copied into filesystems of the block
// sizes that not every kernel mounts.
func TestBlockSizes(t *testing.T) {
	needs.Tool(t, "mkfs.ext4")
	top := t.TempDir()
	for i := range 900 {
		name := filepath.Join(top, "d", fmt.Sprintf("%0200d", i))
		if i == 0 {
			os.Mkdir(filepath.Dir(name), 0o755)
		}
		if err := os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, i*7), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{}
	for i := range 900 {
		want[fmt.Sprintf("d/%0200d", i)] = i
	}
	for _, size := range []string{"1024", "16384", "65536"} {
		image := filepath.Join(t.TempDir(), "image")
		sh(t, "mkfs.ext4", "-q", "-F", "-b", size, "-N", "2048", "-d", top, image, "128M")
		f, err := os.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		fs, err := Open(f, 128<<20, evidence.Options{Warn: func(err error) { t.Errorf("%s: warning: %v", size, err) }})
		if err != nil {
			t.Fatal(err)
		}
		crossCheck(t, fs)
		n := 0
		for path, i := range want {
			b, err := evidence.ReadFile(fs, fs.Root(), path, 1<<20)
			if err != nil || len(b) != i*7 || len(b) > 0 && b[len(b)-1] != byte(i) {
				t.Fatalf("%s: %s: %d bytes, %v", size, path, len(b), err)
			}
			if n++; n > 100 {
				break
			}
		}
		f.Close()
	}
}

// TestFolded looks names up in a casefolded directory, whatever their case.
func TestFolded(t *testing.T) {
	image := unpacked(t, "ext2") // which has no checksums
	at, err := opened(t, image).inodeAt(rootIno)
	if err != nil {
		t.Fatal(err)
	}
	le.PutUint32(image[at+0x20:], flagCasefold)
	fs := opened(t, image)
	for name, want := range map[string]string{"size60": "size60", "SIZE60": "size60", "НАÏVE-文件-🐳": "наïve-文件-🐳", "size": ""} {
		e, err := fs.Lookup(rootIno, name)
		if e.Name != want && want != "" || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", name, e.Name, err, want)
		}
	}
}

func TestIOFS(t *testing.T) { iofstest.Test(t, opened(t, unpacked(t, "ext2"))) }
