package layers_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// sparseTar has GNU tar keep files with holes in each of its forms.
func sparseTar(tb testing.TB) []byte {
	tb.Helper()
	tool := needs.Tool(tb, "tar")
	dir := tb.TempDir()
	for _, name := range []string{"a", "b"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			tb.Fatal(err)
		}
		for _, at := range []int64{0, 1 << 20, 3<<20 + 17} {
			if _, err := f.WriteAt([]byte("data of "+name), at); err != nil {
				tb.Fatal(err)
			}
		}
		if err := f.Truncate(5 << 20); err != nil {
			tb.Fatal(err)
		}
		f.Close()
	}
	var out bytes.Buffer
	for _, format := range []string{"--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"} {
		cmd := exec.Command(tool, "-C", dir, "-S", "-c", "-b1", "--transform=s,^,"+filepath.Base(format)+"/,", format, "a", "b")
		if format != "--format=gnu" {
			cmd.Args = append(cmd.Args, "--format=posix")
		}
		b, err := cmd.Output()
		if err != nil {
			tb.Fatal(err)
		}
		out.Write(b[:len(b)-1024]) // without the end, so that one tar has all
	}
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

// TestSparse reads files with holes that GNU tar packed, out of order too.
func TestSparse(t *testing.T) {
	f := openTar(t, sparseTar(t))
	files := 0
	err := evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if err != nil || i.Type != evidence.TypeFile {
			return err
		}
		files++
		r, err := f.Open(e.Ino)
		if err != nil {
			return err
		}
		want := make([]byte, 5<<20)
		for _, at := range []int{0, 1 << 20, 3<<20 + 17} {
			copy(want[at:], "data of "+filepath.Base(path))
		}
		have, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s: %d bytes, %v", path, len(have), err)
		}
		b := make([]byte, 9)
		for _, at := range []int64{3<<20 + 17, 1 << 20, 4 << 20, 0} {
			if _, err := r.ReadAt(b, at); err != nil || !bytes.Equal(b, want[at:at+9]) {
				t.Errorf("%s at %#x: %q, %v", path, at, b, err)
			}
		}
		return nil
	})
	if err != nil || files != 8 {
		t.Errorf("%d files, %v", files, err)
	}
}
