package analyzer

import (
	"strings"
	"testing"

	"lagan/evidence/memfs"
	"lagan/overlay"
)

// TestSealedFiles lists a view with a copy whose content holds, and one whose content was changed.
func TestSealedFiles(t *testing.T) {
	const digest = "\x3d\x24\x8c\xa5\x42\xa2\x4f\xc6\x2d\x1c\x43\xb9\x16\xea\xe5\x01\x68\x78\xe2\x53\x3c\x88\x23\x84\x80\xb2\x61\x28\xa1\xf1\xaf\x95" // of no bytes
	up, low := memfs.New(), memfs.New()
	for name, content := range map[string]string{"holds": "", "changed": "x"} {
		up.File(name, "").Set("trusted.overlay.metacopy", "\x00\x24\x00\x01"+digest)
		low.File(name, content)
	}
	view, err := overlay.Merge([]overlay.Layer{{FS: up, Root: up.Root(), Name: "up"}, {FS: low, Root: low.Root(), Name: "low"}}, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := nodeOf(t, Options{}, memfs.New())
	got := make(map[string]string)
	err = n.List(t.Context(), &Tree{FS: view, Name: "view"}, "/", ListOptions{Recursive: true, Hash: true}, func(f File) error {
		got[f.Path] = f.Verity
		return nil
	})
	if err != nil || got["/holds"] != got["/changed"] || !strings.HasPrefix(got["/holds"], "sha256:3d248ca5") {
		t.Errorf("%v, %v", got, err)
	}
	if g := n.Gaps(); len(g) != 1 || !strings.Contains(g[0].String(), "fs-verity") {
		t.Errorf("gaps %v", g)
	}
}
