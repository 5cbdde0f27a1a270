package export_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"lagan/evidence"
	"lagan/evidence/hostdir"
	"lagan/evidence/memfs"
	"lagan/internal/needs"
)

// TestRawKernel has e2fsck check an image and the kernel show it, and compares
// that with what was exported.
func TestRawKernel(t *testing.T) {
	f := rawTree(true)
	var g gaps
	img := rawImage(t, whole(f), g.options())
	run(t, "e2fsck", "-fn", img.Name())
	needs.Root(t, "mounting")
	mnt := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "ro,loop", img.Name(), mnt)
	defer run(t, "umount", mnt)
	seen, err := hostdir.Open(mnt, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	compareLines(t, inodeLines(t, seen), inodeLines(t, f))
	seen.Close()
	if len(g) != 0 {
		t.Errorf("gaps: %q", g)
	}
}

// TestRawHostile has e2fsck check images of trees that mean harm.
func TestRawHostile(t *testing.T) {
	for name, grow := range hostile {
		t.Run(name, func(t *testing.T) {
			m := memfs.New()
			grow(m, "/victim", "../../..")
			m.File("zz/last", "the rest is there")
			var g gaps
			img := rawImage(t, whole(m), g.options())
			fsys := openRaw(t, img)
			if b, err := evidence.ReadFile(fsys, fsys.Root(), "zz/last", 100); string(b) != "the rest is there" {
				t.Errorf("the rest: %q, %v", b, err)
			}
			run(t, "e2fsck", "-fn", img.Name())
		})
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	path := needs.Tool(t, name)
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}
