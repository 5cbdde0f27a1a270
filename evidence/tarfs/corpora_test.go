package tarfs

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"encoding/base64"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// TestAgainstArchiveTar reads the archives of Go's own tests, and those of dfvfs
// where they are, and compares each with what archive/tar reads of it, as far as
// that goes: it gives up where an archive is wrong.
func TestAgainstArchiveTar(t *testing.T) {
	root, err := exec.Command(needs.Tool(t, "go"), "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src/archive/tar/testdata/*.tar*"))
	if corpora := os.Getenv("LAGAN_CORPORA"); corpora != "" {
		more, _ := filepath.Glob(filepath.Join(corpora, "dfvfs/tar/*.tar"))
		paths = append(paths, more...)
	}
	if len(paths) == 0 {
		t.Skip("this Go has no sources of its tests")
	}
	compared := 0
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		switch filepath.Ext(p) {
		case ".bz2":
			b, err = io.ReadAll(io.LimitReader(bzip2.NewReader(bytes.NewReader(b)), 64<<20))
		case ".base64":
			b, err = base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(b))
		}
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		var warned []string
		f, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(err error) { warned = append(warned, err.Error()) }})
		compared += compareTar(t, filepath.Base(p), b, f, err, warned)
	}
	if t.Logf("%d members of %d archives", compared, len(paths)); compared < 40 {
		t.Errorf("only %d members were compared", compared)
	}
}

// compareTar compares the members that archive/tar reads before it gives up.
func compareTar(t *testing.T, name string, b []byte, f *FS, opened error, warned []string) (compared int) {
	last := map[string]*tar.Header{} // of several with one name the last counts
	content := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(b))
	var failed error
	for {
		h, err := r.Next()
		if err != nil {
			failed = err
			break
		}
		clean := path.Clean("/" + h.Name)
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		last[clean] = h
		content[clean], _ = io.ReadAll(io.LimitReader(r, 1<<20)) // headers alone are some of the archives
	}
	if opened != nil {
		if len(last) > 0 && failed == io.EOF {
			t.Errorf("%s: %v, archive/tar reads it", name, opened)
		}
		return 0
	}
	if failed != io.EOF && len(warned) == 0 {
		t.Logf("%s: nothing was said, archive/tar says %v", name, failed)
	}
	for clean, h := range last {
		ino, err := evidence.Resolve(f, f.Root(), clean, false)
		if err != nil {
			if len(warned) == 0 {
				t.Errorf("%s: %q: %v", name, clean, err)
			}
			continue
		}
		compared++
		i, err := f.Stat(ino)
		if err != nil {
			t.Errorf("%s: %q: %v", name, clean, err)
			continue
		}
		if h.Typeflag == tar.TypeLink || i.Type == evidence.TypeDir || i.Type == evidence.TypeSymlink {
			continue
		}
		if strings.Contains(name, "global") {
			i.Mtime = h.ModTime.UTC() // archive/tar leaves it to its user to apply records that hold for all
		}
		if i.Mtime != h.ModTime.UTC() || i.UID != uint32(h.Uid) || i.Size != h.Size && i.Type == evidence.TypeFile {
			t.Errorf("%s: %q: %+v, want %+v", name, clean, i, h)
		}
		for k, v := range h.PAXRecords {
			if key, ok := strings.CutPrefix(k, xattrStar); ok {
				if x, err := f.Xattrs(ino); err != nil || string(x[key]) != v {
					t.Errorf("%s: %q: attribute %q is %q, %v; want %q", name, clean, key, x[key], err, v)
				}
			}
		}
		if i.Type != evidence.TypeFile {
			continue
		}
		s, err := f.Open(ino)
		if err != nil {
			t.Errorf("%s: %q: %v", name, clean, err)
			continue
		}
		got, _ := io.ReadAll(io.LimitReader(s, 1<<20))
		if want := content[clean]; !bytes.HasPrefix(got, want) {
			t.Errorf("%s: %q: other content: %d bytes, %d", name, clean, len(got), len(want))
		}
	}
	return compared
}
