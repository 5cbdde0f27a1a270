package treetest

import (
	"errors"
	"io/fs"
	"maps"
	"testing"
	"testing/fstest"

	"lagan/evidence"
	"lagan/runtimes"
)

// Leaver is a store that tells what was removed from it.
type Leaver interface {
	runtimes.Store
	runtimes.RemnantStore
}

// FuzzRemnants fuzzes what a store tells of what was removed: one file of its tree
// is what the fuzzer makes of it, the others stay as they are. The seeds are the
// tree's own files and those of real nodes, by the file in whose place they stand.
// Where the store understands documents, it is asked what the content says as one, too.
func FuzzRemnants(f *testing.F, tree fstest.MapFS, files []string, real map[string][][]byte, open func(*Tree) (Leaver, error)) {
	for i, name := range files {
		if tree[name] == nil {
			f.Fatalf("the tree has no %s", name)
		}
		f.Add(uint8(i), tree[name].Data)
		for _, b := range real[name] {
			f.Add(uint8(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, content []byte) {
		name, now := files[int(which)%len(files)], maps.Clone(tree)
		now[name] = &fstest.MapFile{Data: content, Mode: 0o644}
		s, err := open(New(now))
		if err != nil {
			checkError(t, err)
			return
		}
		for r, err := range s.Remnants() {
			checkRemnant(t, r, err)
		}
		if d, ok := s.(runtimes.DocumentStore); ok {
			for _, r := range d.Document("/"+name, content) {
				checkRemnant(t, r, nil)
			}
		}
	})
}

// checkRemnant: a trace says of what it is, and where it was found.
func checkRemnant(t *testing.T, r runtimes.Remnant, err error) {
	t.Helper()
	if err != nil {
		checkError(t, err)
		return
	}
	if r.Object == "" || r.Source == "" || r.Sure == "" {
		t.Errorf("a trace of nothing: %+v", r)
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{evidence.ErrCorrupt, evidence.ErrUnsupported, evidence.ErrFormat, fs.ErrNotExist} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Errorf("an error of no kind: %v", err)
}

// File reads a file of one of the fixtures' disks.
func File(tb testing.TB, disk, path string) []byte {
	tb.Helper()
	fsys := Disk(tb, disk)
	b, err := evidence.ReadFile(fsys, fsys.Root(), path, maxLoad)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
