package analyzer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/hostdir"
	"lagan/fixtures"
	"lagan/internal/needs"
)

// testFilesystem is a kind that a test adds: its magic is a name.
func testFilesystem(name string, open func(r io.ReaderAt) error) Opener {
	return Opener{Name: name, Open: func(r io.ReaderAt, _ int64, _ evidence.Options) (evidence.FS, error) {
		magic := make([]byte, len(name))
		if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != name {
			return nil, evidence.ErrFormat
		}
		return nil, open(r)
	}}
}

// hungry keeps all that it reads, without end.
func hungry(r io.ReaderAt) error {
	var kept [][]byte
	for {
		b := make([]byte, 1<<20)
		if _, err := r.ReadAt(b[:512], 0); err != nil {
			return fmt.Errorf("with %d MiB: %w", len(kept), err)
		}
		kept = append(kept, b)
	}
}

// endless goes deeper with each read, without end.
func endless(r io.ReaderAt) error {
	var b [512]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return err
	}
	if err := endless(r); err != nil {
		return err
	}
	b[0]++ // keeps the frame: this is no tail call
	return nil
}

// TestMaxMemory has readers that would take all memory: they are gaps, and the
// other volume is read.
func TestMaxMemory(t *testing.T) {
	needs.Time(t) // and hundreds of mebibytes
	for name, read := range map[string]func(io.ReaderAt) error{"hungry": hungry, "endless": endless} {
		t.Run(name, func(t *testing.T) {
			bad := make([]byte, 1<<20)
			copy(bad, name)
			n := newNode(t.Context(), Options{MaxMemory: 300 << 20, Filesystems: []Opener{testFilesystem(name, read)}})
			good := fixtures.Unpack(t, "../evidence/btrfs/testdata/plain.img.zst")
			for _, disk := range [][]byte{bad, good} {
				if err := n.addImage(&Evidence{Name: "disk"}, &faulty{data: disk, at: -1}); err != nil {
					t.Fatal(err)
				}
			}
			n, err := n.read("disk")
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			said := false
			for _, g := range n.Gaps() {
				said = said || g.Volume == 1 && strings.Contains(g.Message, "--max-memory")
			}
			if !said {
				t.Errorf("no gap says that it was given up: %v", n.Gaps())
			}
			if len(n.Volumes) != 2 || n.Volumes[1].FS == nil {
				t.Errorf("the other volume was not read: %v", n.Gaps())
			}
		})
	}
}

// TestFolderIsGivenUp takes each way to read a folder of this machine to fail while
// too much memory is in use, or past the deadline, and to work before and after.
func TestFolderIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600), os.Symlink("file", filepath.Join(dir, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fsys, err := hostdir.Open(dir, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	p, m := &patience{limit: time.Hour}, &memory{limit: 1 << 40}
	folder := patientFolder{fsys, p, m}
	file, err := evidence.Lookup(folder, folder.Root(), "file")
	if err != nil {
		t.Fatal(err)
	}
	link, err := evidence.Lookup(folder, folder.Root(), "link")
	if err != nil {
		t.Fatal(err)
	}
	r, err := folder.Open(file.Ino)
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func() error{
		"stat":     func() error { _, err := folder.Stat(file.Ino); return err },
		"lookup":   func() error { _, err := evidence.Lookup(folder, folder.Root(), "file"); return err },
		"readlink": func() error { _, err := folder.ReadLink(link.Ino); return err },
		"xattrs":   func() error { _, err := folder.Xattrs(file.Ino); return err },
		"read":     func() error { _, err := r.ReadAt(make([]byte, 7), 0); return err },
		"readdir": func() error {
			for _, err := range folder.ReadDir(folder.Root()) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	for _, c := range []struct {
		name, says string
		set        func()
	}{
		{"before", "", func() {}},
		{"too much memory", "--max-memory", func() { m.over.Store(true) }},
		{"enough again", "", func() { m.over.Store(false) }},
		{"too long", "--timeout", func() { p.deadline.Store(1) }},
		{"the next object", "", func() { p.deadline.Store(0) }},
	} {
		c.set()
		for way, read := range ways {
			if err := read(); (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %s: %v", c.name, way, err)
			}
		}
	}
}
