package ext4

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lagan/internal/needs"
)

// TestCorpora reads what other projects broke on purpose: no panic, no error
// of no kind, within seconds. LAGAN_CORPORA names the folder.
func TestCorpora(t *testing.T) {
	root := needs.Corpora(t)
	n := 0
	for _, folder := range []string{"e2fsprogs", "libfsext", "go-ext4"} {
		filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			image := corpus(path)
			if len(image) < superOffset+superSize {
				return nil
			}
			start := time.Now()
			exercise(t, bytes.NewReader(image), int64(len(image)), ours)
			if took := time.Since(start); took > 10*time.Second || t.Failed() {
				t.Fatalf("%s: %v", path, took)
			}
			n++
			return nil
		})
	}
	if n < 100 {
		t.Errorf("%d images", n)
	}
}

// corpus returns a file's bytes, unpacked where its name says so, up to 256 MiB.
func corpus(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".gz":
		if r, err = gzip.NewReader(f); err != nil {
			return nil
		}
	case ".bz2":
		r = bzip2.NewReader(f)
	}
	b, _ := io.ReadAll(io.LimitReader(r, 256<<20))
	return b
}

var dxHashLine = regexp.MustCompile(`(0x[0-9a-f]+) \(minor (0x[0-9a-f]+)\)`)

// TestDirHash compares the hashes of names with debugfs.
func TestDirHash(t *testing.T) {
	needs.Tool(t, "debugfs")
	const seed = "00112233-4455-6677-8899-aabbccddeeff"
	seeds := [4]uint32{0x33221100, 0x77665544, 0xbbaa9988, 0xffeeddcc}
	algorithms := []string{"legacy", "half_md4", "tea"}
	var commands strings.Builder
	type want struct {
		version uint8
		name    string
		seeds   [4]uint32
	}
	var wants []want
	for v, algorithm := range algorithms {
		for _, name := range []string{"a", "hello", strings.Repeat("x", 16), strings.Repeat("y", 31), strings.Repeat("z", 32), strings.Repeat("long-name", 20)} {
			fmt.Fprintf(&commands, "dx_hash -h %s %s\n", algorithm, name)
			wants = append(wants, want{uint8(v), name, [4]uint32{}})
			fmt.Fprintf(&commands, "dx_hash -h %s -s %s %s\n", algorithm, seed, name)
			wants = append(wants, want{uint8(v), name, seeds})
		}
	}
	cmd := exec.Command("debugfs", "-f", "-")
	cmd.Stdin = strings.NewReader(commands.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := dxHashLine.FindAllStringSubmatch(string(out), -1)
	if len(got) != len(wants) {
		t.Fatalf("%d hashes of %d: %s", len(got), len(wants), out)
	}
	for i, w := range wants {
		hash, minor := dirHash(w.version, w.seeds, []byte(w.name))
		if h, m := fmt.Sprintf("%#x", hash), fmt.Sprintf("%#x", minor); h != got[i][1] || m != got[i][2] {
			t.Errorf("%s of %q: %s and %s, debugfs says %s and %s", algorithms[w.version], w.name, h, m, got[i][1], got[i][2])
		}
	}
}
