package treetest

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"lagan/evidence"
	"lagan/evidence/ext4"
	"lagan/evidence/xfs"
	"lagan/fixtures"
)

// sector is the unit of the offsets below.
const sector = 512

// Disk opens the root filesystem of one of the fixtures' disks, its journal replayed.
func Disk(tb testing.TB, name string) evidence.FS {
	tb.Helper()
	f, err := os.Open(fixtures.Disk(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	volume := func(at int64) *io.SectionReader { return io.NewSectionReader(f, at, info.Size()-at) }
	var fsys evidence.FS
	switch name {
	case "docker-ext4":
		r := volume(2048 * sector)
		fsys, err = ext4.Open(r, r.Size(), evidence.Options{})
	case "eks-xfs":
		r := volume(24576 * sector)
		fsys, err = xfs.Open(r, r.Size(), evidence.Options{})
	default:
		r := volume(0)
		fsys, err = ext4.Open(r, r.Size(), evidence.Options{})
	}
	if err != nil {
		tb.Fatal(err)
	}
	return fsys
}

// Store opens the one store of a runtime on a fixture's disk, which must be at root,
// and decodes the disk's truth into truth.
func Store[S any](tb testing.TB, disk, root string, truth any, roots func(evidence.FS, evidence.Ino) ([]string, error), open func(evidence.FS, evidence.Ino, string) (S, error)) S {
	tb.Helper()
	fsys := Disk(tb, disk)
	found, err := roots(fsys, fsys.Root())
	if err != nil || !slices.Equal(found, []string{root}) {
		tb.Fatalf("roots %q, %v", found, err)
	}
	s, err := open(fsys, fsys.Root(), root)
	if err != nil {
		tb.Fatal(err)
	}
	fixtures.Truth(tb, disk, truth)
	return s
}

// maxLoad is the size of the files that Load takes: documents and databases, not logs and programs.
const maxLoad = 2 << 20

// Load copies the documents below the given folders of a tree into memory, so
// that a test can damage them. The content of layers (folders called diff, fs
// and work) is left out.
func Load(tb testing.TB, fsys evidence.FS, dirs ...string) fstest.MapFS {
	tb.Helper()
	out := fstest.MapFS{}
	for _, dir := range dirs {
		start, err := evidence.Resolve(fsys, fsys.Root(), dir, true)
		if err != nil {
			tb.Fatal(err)
		}
		base := strings.Trim(dir, "/")
		err = evidence.Walk(fsys, start, func(p string, e evidence.Entry, info evidence.Info, err error) error {
			if err != nil {
				return err
			}
			name := strings.Trim(base+"/"+p, "/")
			switch info.Type {
			case evidence.TypeDir:
				out[name] = &fstest.MapFile{Mode: fs.ModeDir | fs.FileMode(info.Perm)}
				if e.Name == "diff" || e.Name == "fs" || e.Name == "work" {
					return evidence.SkipDir
				}
			case evidence.TypeSymlink:
				target, err := fsys.ReadLink(e.Ino)
				if err != nil {
					return err
				}
				out[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			case evidence.TypeFile:
				if info.Size > maxLoad {
					return nil
				}
				b, err := evidence.ReadInode(fsys, e.Ino, maxLoad)
				if err != nil {
					return err
				}
				out[name] = &fstest.MapFile{Data: b, Mode: fs.FileMode(info.Perm)}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out
}
