package layers_test

import (
	"archive/tar"
	"bytes"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/layers"
)

// TestLinkTime takes the time of the last entry of a file, its own or a hard
// link's, and the file's own where a link's entry has none.
func TestLinkTime(t *testing.T) {
	first, later := time.Unix(1_600_000_000, 0), time.Unix(1_700_000_000, 0)
	for _, c := range []struct{ link, want time.Time }{{later, later}, {time.Time{}, first}} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []*tar.Header{
			{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: first},
			{Name: "b", Typeflag: tar.TypeLink, Linkname: "a", ModTime: c.link},
		} {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := layers.ReadTar(&b, layers.TarOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ino, err := evidence.Resolve(l, l.Root(), "a", false)
		if err != nil {
			t.Fatal(err)
		}
		info, err := l.Stat(ino)
		if err != nil || !info.Mtime.Equal(c.want) || info.Perm != 0o644 {
			t.Errorf("%v %o, %v: want %v", info.Mtime, info.Perm, err, c.want)
		}
	}
}
