package remainstest

import (
	"testing"

	"lagan/evidence"
)

// Maker makes a filesystem of so many mebibytes, lets fill use it through the
// kernel, and opens it once it is unmounted.
type Maker[F evidence.FS] func(t *testing.T, mib int, fill func(dir string)) F

// TestDeleted goes through CFTT's cases of deleted files.
func TestDeleted[F evidence.FS](t *testing.T, made Maker[F]) {
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			var d *Dir
			fsys := made(t, c.MiB, func(dir string) {
				d = New(t, dir)
				c.Fill(d)
			})
			d.Check(fsys, c.Lossy)
		})
	}
}

// TestListed is DFR-15 to DFR-17: what is there is listed.
func TestListed[F evidence.FS](t *testing.T, made Maker[F]) {
	want := 0
	fsys := made(t, 64, func(dir string) { want = Listed(New(t, dir)) })
	CheckListed(t, fsys, want)
}
