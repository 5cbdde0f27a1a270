package overlay_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
	"lagan/overlay"
)

// emptySHA256 is the fs-verity digest of an empty file, as fsverity(1) prints it.
const emptySHA256 = "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"

func sealed(algorithm byte, digest []byte) string {
	return string([]byte{0, byte(4 + len(digest)), 0, algorithm}) + string(digest)
}

func TestSeal(t *testing.T) {
	empty, err := hex.DecodeString(emptySHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, value, content string
		seal                 string
		match                bool
		err                  error
	}{
		{"none", "", "x", "", false, nil},
		{"header alone", "\x00\x04\x00\x00", "x", "", false, nil},
		{"holds", sealed(1, empty), "", "sha256:" + emptySHA256, true, nil},
		{"changed", sealed(1, empty), "x", "sha256:" + emptySHA256, false, nil},
		{"another version", "\x01" + sealed(1, empty)[1:], "", "", false, evidence.ErrUnsupported},
		{"another algorithm", sealed(9, empty), "", "", false, evidence.ErrUnsupported},
		{"cut", sealed(1, empty[:31]), "", "", false, evidence.ErrCorrupt},
		{"length of another", sealed(1, empty) + "x", "", "", false, evidence.ErrCorrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			up, low := layer(), layer()
			up.File("f", "????").Set("trusted.overlay.metacopy", test.value)
			low.File("f", test.content)
			f := merge(t, overlay.Options{}, up, low)
			ino, err := evidence.Resolve(f, f.Root(), "f", false)
			if err != nil {
				t.Fatal(err)
			}
			seal, err := f.Seal(ino)
			if seal.String() != test.seal || seal.IsZero() != (test.seal == "") || !errors.Is(err, test.err) {
				t.Fatalf("%s, %v", seal, err)
			}
			if seal.IsZero() {
				return
			}
			if ok, err := seal.Check(strings.NewReader(test.content), int64(len(test.content))); ok != test.match || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
		})
	}
	// A file without marks has none.
	f := merge(t, overlay.Options{}, layer("file f=x"))
	ino, _ := evidence.Resolve(f, f.Root(), "f", false)
	if seal, err := f.Seal(ino); !seal.IsZero() || err != nil {
		t.Errorf("%s, %v", seal, err)
	}
}

// TestAgainstFsverity compares with the kernel developers' tool: sizes about a
// block, a full block of hashes, and one more; each algorithm and block size.
func TestAgainstFsverity(t *testing.T) {
	tool := needs.Tool(t, "fsverity")
	path := filepath.Join(t.TempDir(), "f")
	for _, size := range []int{0, 1, 4095, 4096, 4097, 8192, 128 * 4096, 128*4096 + 1, 300 * 4096} {
		content := bytes.Repeat([]byte("lagan"), size/5+1)[:size]
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, how := range []struct {
			name   string
			number byte
			block  int
		}{{"sha256", 1, 4096}, {"sha256", 1, 1024}, {"sha512", 2, 4096}, {"sha512", 2, 65536}} {
			out, err := exec.Command(tool, "digest", "--compact", "--hash-alg="+how.name, fmt.Sprintf("--block-size=%d", how.block), path).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			digest, err := hex.DecodeString(strings.TrimSpace(string(out)))
			if err != nil {
				t.Fatal(err)
			}
			up, low := layer(), layer()
			up.File("f", "").Set("trusted.overlay.metacopy", sealed(how.number, digest))
			low.File("f", string(content))
			f := merge(t, overlay.Options{}, up, low)
			ino, _ := evidence.Resolve(f, f.Root(), "f", false)
			seal, err := f.Seal(ino)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := seal.Check(bytes.NewReader(content), int64(size)); !ok || err != nil {
				t.Errorf("%d bytes, %s, blocks of %d: %v, %v", size, how.name, how.block, ok, err)
			}
		}
	}
}
