// Package iofstest has tests hold filesystems, seen through evidence.IOFS, against
// what testing/fstest asks of every fs.FS.
package iofstest

import (
	"path"
	"sync"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"lagan/evidence"
)

// The folder that Test takes holds no more than this, so that it is quick.
const (
	mostEntries = 300
	largestFile = 256 << 10
)

// Test holds a folder of a filesystem, seen through evidence.IOFS, against what
// testing/fstest asks of every fs.FS, from two goroutines at a time. It wants each
// name to open, so that the folder is the fullest of those that have files alone.
func Test(t *testing.T, fsys evidence.FS) {
	t.Helper()
	files := map[string][]string{} // of each folder
	inos, other := map[string]evidence.Ino{"": fsys.Root()}, map[string]bool{}
	err := evidence.Walk(fsys, fsys.Root(), func(p string, e evidence.Entry, i evidence.Info, err error) error {
		dir := path.Dir("/" + p)[1:]
		switch {
		case err != nil || p == "":
			return err
		case i.Type == evidence.TypeDir:
			inos[p], other[dir] = e.Ino, true
		case i.Type == evidence.TypeFile && i.Size <= largestFile && utf8.ValidString(p):
			files[dir] = append(files[dir], e.Name)
		default:
			other[dir] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fullest := ""
	for dir, names := range files {
		if n, most := len(names), len(files[fullest]); !other[dir] && n <= mostEntries && (n > most || n == most && dir < fullest || other[fullest]) {
			fullest = dir
		}
	}
	if len(files[fullest]) == 0 || other[fullest] {
		t.Fatal("no folder has files alone")
	}
	folder := evidence.IOFS(evidence.Sub(fsys, inos[fullest]))
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := fstest.TestFS(folder, files[fullest]...); err != nil {
				t.Errorf("%s: %v", fullest, err)
			}
		})
	}
	both.Wait()
	t.Logf("%s: %d files", fullest, len(files[fullest]))
}
