package xfs

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/evidence/iofstest"
	"lagan/fixtures"
)

// unpack returns the content of a file of testdata.
func unpack(t testing.TB, name string) []byte {
	t.Helper()
	return fixtures.Unpack(t, filepath.Join("testdata", name))
}

func pack(t testing.TB, name string, b []byte) {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", name), z.EncodeAll(b, nil), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestUpdateTestdata makes, with -update, a disk that was copied while it was
// mounted, with a dirty log and a file that was deleted while it was open, and
// what the kernel shows after it has replayed the log of a copy.
func TestUpdateTestdata(t *testing.T) {
	if !*update {
		t.Skip("-update is not set")
	}
	image := filepath.Join(t.TempDir(), "xfs.img")
	makeImage(t, image, 34, "-d", "agcount=2", "-b", "size=1024", "-m", "rmapbt=1", "-L", "shapes")
	dir, umount := mount(t, image, "")
	populate(t, dir)
	umount() // so that the log holds the last changes only
	dir, umount = mount(t, image, "")
	held, err := os.Create(filepath.Join(dir, "held"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(held, "deleted, and open")
	run(t, "sync", "-f", dir)
	if err := os.Remove(held.Name()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "late"), []byte("late"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "sync", filepath.Join(dir, "late"))
	dirty := readFile(t, image)
	held.Close()
	umount()
	if err := os.WriteFile(image, dirty, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, umount = mount(t, image, "") // to be writable, for the log
	want := kernelSays(t, dir)
	umount()
	pack(t, "shapes.img.zst", dirty)
	var text strings.Builder
	for _, p := range slices.Sorted(maps.Keys(want)) {
		fmt.Fprintf(&text, "%q\t%s\n", p, want[p])
	}
	pack(t, "shapes.txt.zst", []byte(text.String()))

	old := filepath.Join(t.TempDir(), "v4.img")
	makeProto(t, old, 16, protoFile(t, 60, 500), "-m", "crc=0", "-b", "size=512", "-i", "size=256", "-n", "ftype=0")
	pack(t, "v4.img.zst", readFile(t, old))
}

// openBytes opens an image in memory, collecting the warnings.
func openBytes(b []byte, o evidence.Options) (*FS, *[]error, error) {
	var warnings []error
	if o.Warn == nil {
		o.Warn = func(err error) { warnings = append(warnings, err) }
	}
	f, err := Open(bytes.NewReader(b), int64(len(b)), o)
	return f, &warnings, err
}

// TestShapes reads the dirty disk of testdata and compares with what the kernel made of it.
func TestShapes(t *testing.T) {
	want := make(map[string]string)
	for l := range strings.Lines(string(unpack(t, "shapes.txt.zst"))) {
		path, rest, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		name, err := strconv.Unquote(path)
		if err != nil {
			t.Fatal(err)
		}
		want[name] = rest
	}
	f, warnings, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, want, readAll(t, f))
	checkScan(t, f)
	if len(*warnings) != 0 {
		t.Errorf("warnings: %v", *warnings)
	}
	d := evidence.Describe(f)
	if d.Journal.State != evidence.JournalReplayed || d.Journal.Transactions == 0 {
		t.Errorf("journal: %+v", d.Journal)
	}
	if d.Type != "xfs" || d.Label != "shapes" || d.Size != 34<<20 || d.BlockSize != 1024 || !slices.Contains(d.Features, "rmapbt") {
		t.Errorf("description: %+v", d)
	}
	checkFormats(t, f)
	late, err := evidence.Lookup(f, f.Root(), "late")
	if err != nil {
		t.Fatal(err)
	}
	if i, err := f.Stat(late.Ino); err != nil || !i.FromJournal {
		t.Errorf("late: %+v, %v: not from the journal", i, err)
	}
}

// checkFormats makes sure that the disk holds every format that this package reads.
func checkFormats(t *testing.T, f *FS) {
	t.Helper()
	seen := make(map[string]int)
	names := [...]string{"device", "local", "extents", "btree"}
	for i := range f.Inodes() {
		d, err := f.inode(uint64(i.Ino))
		if err != nil {
			t.Fatal(err)
		}
		seen[fmt.Sprint(d.typ(), " ", names[d.format&3])]++
		if d.forkoff != 0 {
			seen[fmt.Sprint("attributes ", names[d.aformat&3])]++
		}
	}
	for _, want := range []string{"dir local", "dir extents", "dir btree", "file extents", "file btree", "symlink local", "symlink extents",
		"char device", "attributes local", "attributes extents"} {
		if seen[want] == 0 {
			t.Errorf("no %s among %v", want, seen)
		}
	}
}

// TestDeleted finds the file that was open, with its content, and those that were freed.
func TestDeleted(t *testing.T) {
	f, _, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	held, freed := 0, 0
	for d, err := range f.Deleted() {
		if err != nil {
			t.Fatal(err)
		}
		if !d.Open {
			freed++
			if d.Deleted.Year() < 2020 || d.Info.Btime.After(d.Deleted) {
				t.Errorf("freed: %+v", d)
			}
			continue
		}
		held++
		b, err := evidence.ReadInode(f, d.Ino, 100)
		if err != nil || string(b) != "deleted, and open" || d.Info.Nlink != 0 {
			t.Errorf("held: %+v: %q, %v", d, b, err)
		}
	}
	if held != 1 || freed < 2 {
		t.Errorf("%d held, %d freed", held, freed)
	}
}

// TestNoJournal sees the disk as it was before the last changes.
func TestNoJournal(t *testing.T) {
	f, warnings, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{NoJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	if s := evidence.Describe(f).Journal.State; s != evidence.JournalDirty {
		t.Errorf("journal is %q", s)
	}
	if len(*warnings) != 1 || !strings.Contains((*warnings)[0].Error(), "stale") {
		t.Errorf("warnings: %v", *warnings)
	}
	if _, err := evidence.Lookup(f, f.Root(), "late"); err == nil {
		t.Error("what only the log holds is there")
	}
}

func TestIOFS(t *testing.T) {
	f, _, err := openBytes(unpack(t, "shapes.img.zst"), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	iofstest.Test(t, f)
}
