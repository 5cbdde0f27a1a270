package volume

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"lagan/internal/needs"
)

// TestAgainstBlkid names the images of util-linux's own tests and compares
// with what its blkid is expected to say. Where it says more, nothing is said here.
func TestAgainstBlkid(t *testing.T) {
	corpora := needs.Corpora(t)
	images, _ := filepath.Glob(filepath.Join(corpora, "util-linux/ts/blkid/images-fs/*.img.xz"))
	agree := 0
	for _, path := range images {
		name := strings.TrimSuffix(filepath.Base(path), ".img.xz")
		expected, err := os.ReadFile(filepath.Join(corpora, "util-linux/expected/blkid/low-probe-"+name))
		if err != nil {
			continue
		}
		_, want, _ := strings.Cut(string(expected), "ID_FS_TYPE=")
		want, _, _ = strings.Cut(want, "\n")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := xz.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		d, err := io.ReadAll(io.LimitReader(r, 64<<20))
		if err != nil {
			t.Fatal(err)
		}
		switch got := Identify(bytes.NewReader(d)); {
		case got == want:
			agree++
		case got == "iso9660" && want == "udf": // a disc with both
		case got != "":
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	t.Logf("%d agree", agree)
	if agree == 0 {
		t.Error("none was found to compare with")
	}
}
