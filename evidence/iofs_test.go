package evidence_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	"lagan/evidence"
	"lagan/evidence/ext4"
	"lagan/evidence/memfs"
	"lagan/evidence/volume"
	"lagan/fixtures"
)

func TestIOFS(t *testing.T) {
	m := memfs.New()
	m.File("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
	m.File("bin/sh", "#!")
	m.Symlink("etc/mtab", "/etc/passwd")
	m.Symlink("up", "../../etc/passwd")
	m.File("bad\xff", "not for io/fs")
	f := evidence.IOFS(m)
	if err := fstest.TestFS(f, "etc/passwd", "bin/sh", "etc/mtab", "up"); err != nil {
		t.Error(err)
	}
	b, err := fs.ReadFile(f, "up")
	if err != nil || string(b) != "root:x:0:0::/root:/bin/sh\n" {
		t.Errorf("a link that leads out: got %q, %v", b, err)
	}
	if _, err := fs.Stat(f, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that isn't there: got %v", err)
	}
}

// TestIOFSDisk runs the conformance suite over a container's folder on a real disk.
func TestIOFSDisk(t *testing.T) {
	r, err := os.Open(fixtures.Disk(t, "docker-ext4"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	volumes, err := volume.Scan(r, info.Size(), nil)
	if err != nil || len(volumes) == 0 {
		t.Fatalf("%d volumes, %v", len(volumes), err)
	}
	disk, err := ext4.Open(volumes[0].ReaderAt, volumes[0].Size, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	containers, err := evidence.Resolve(disk, disk.Root(), "var/lib/docker/containers", true)
	if err != nil {
		t.Fatal(err)
	}
	const one = "04d85ade3912c1ea72faa336111adc16840188dc2f8fadb9e9f6591f5971500c/config.v2.json"
	if err := fstest.TestFS(evidence.IOFS(evidence.Sub(disk, containers)), one); err != nil {
		t.Error(err)
	}
}
