package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lagan/internal/needs"
)

// small makes a release of a program that is one line, twice the same.
func small(t *testing.T) *releaseOf {
	t.Helper()
	t.Chdir("../..") // where the documents are
	dir := t.TempDir()
	r := &releaseOf{version: "1.2.3-rc1", commit: strings.Repeat("a", 40), at: time.Unix(1.7e9, 0).UTC(), out: filepath.Join(dir, "out")}
	program, manual := filepath.Join(dir, "program"), filepath.Join(dir, "manual")
	for path, content := range map[string]string{program: "#!/bin/sh\n", manual + "/man1/lagan.1": ".TH\n", manual + "/lagan.bash": "b", manual + "/_lagan": "z", manual + "/lagan.fish": "f"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(r.out, 0o755); err != nil {
		t.Fatal(err)
	}
	binaries := map[platform]string{}
	for _, p := range platforms {
		binaries[p] = program
	}
	for _, err := range []error{r.debian(platforms[0], program, manual, []byte("terms\n")), r.manualArchive(manual), r.image(binaries, []byte("terms\n")), r.checksums()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestSameBytes(t *testing.T) {
	a, err := os.ReadFile(filepath.Join(small(t).out, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	os.Chdir("scripts/dist")
	b, err := os.ReadFile(filepath.Join(small(t).out, "SHA256SUMS"))
	if err != nil || !bytes.Equal(a, b) || !bytes.Contains(a, []byte("lagan_1.2.3~rc1_amd64.deb\n")) {
		t.Errorf("%s and %s, %v", a, b, err)
	}
}

// TestSame tells which files of two releases differ.
func TestSame(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, f := range []struct{ dir, name, content string }{{a, "x", "1"}, {b, "x", "1"}, {a, "y", "1"}, {b, "y", "2"}, {b, "z", ""}} {
		if err := os.WriteFile(filepath.Join(f.dir, f.name), []byte(f.content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := same(a, b); err == nil || err.Error() != "of 3 files these differ: y, z" {
		t.Error(err)
	}
	if err := same(a, a); err != nil {
		t.Error(err)
	}
}

// TestLicences collects those of a program whose modules are known, Go's among them.
func TestLicences(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&releaseOf{}).licences(map[platform]string{platforms[0]: program, platforms[1]: program, platforms[2]: program, platforms[3]: program, platforms[4]: program})
	if err != nil || !bytes.Contains(got, []byte("\nGo, LICENSE\n\nCopyright 2009 The Go Authors.")) {
		t.Errorf("%s, %v", got, err)
	}
	if err := appendLicences(&bytes.Buffer{}, "nothing", t.TempDir()); err == nil {
		t.Error("a module without a licence was taken")
	}
}

// TestDebian has dpkg read and unpack the package.
func TestDebian(t *testing.T) {
	needs.Tool(t, "dpkg-deb")
	r := small(t)
	deb := filepath.Join(r.out, "lagan_1.2.3~rc1_amd64.deb")
	out, err := exec.Command("dpkg-deb", "--field", deb).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Version: 1.2.3~rc1\nArchitecture: amd64\n") {
		t.Errorf("%s, %v", out, err)
	}
	root := t.TempDir()
	if out, err := exec.Command("dpkg-deb", "--extract", deb, root).CombinedOutput(); err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	for _, path := range []string{"usr/bin/lagan", "usr/lib/lagan/ce", "usr/share/man/man1/lagan.1.gz", "usr/share/bash-completion/completions/lagan",
		"usr/share/zsh/vendor-completions/_lagan", "usr/share/fish/vendor_completions.d/lagan.fish", "usr/share/doc/lagan/changelog.gz", "usr/share/doc/lagan/copyright", "usr/share/doc/lagan/licences.gz"} {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Error(err)
		}
	}
}

// TestImage has skopeo read the image.
func TestImage(t *testing.T) {
	needs.Tool(t, "skopeo")
	r := small(t)
	out, err := exec.Command("skopeo", "inspect", "--override-os", "linux", "--override-arch", "arm64", "oci-archive:"+filepath.Join(r.out, "lagan_1.2.3-rc1_oci.tar")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"Architecture": "arm64"`) || !strings.Contains(string(out), `"Created": "2023-11-14T22:13:20Z"`) {
		t.Errorf("%s, %v", out, err)
	}
}
