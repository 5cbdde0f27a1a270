package main

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// through names the format that a decoder is reached by which is not called here itself.
var through = map[string]string{
	"lagan/artifacts/stamp": "syslog", "lagan/evidence/jbd2": "jbd2", "lagan/evidence/xfs/xlog": "xfs-log", "lagan/overlay": "node",
	"lagan/evidence/volume/lvm": "lvm", "lagan/evidence/volume/md": "md", "lagan/evidence/volume/thin": "lvm",
	"lagan/internal/jsonscan": "docker", "lagan/runtimes/internal/node": "kubernetes", "lagan/runtimes/oci": "containerd",
}

// others have fuzz targets and decode no evidence.
var others = []string{
	"lagan/evidence/image/ebs", // answers of AWS, over TLS
	"lagan/find", "lagan/internal/text", "lagan/timeline",
}

// TestEveryDecoder checks that each package with a fuzz target, which is each
// decoder, has mutants.
func TestEveryDecoder(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	called := strings.Fields(string(out))
	named := map[string]bool{}
	for _, f := range formats() {
		if named[f.name] {
			t.Errorf("two formats are called %s", f.name)
		}
		named[f.name] = true
	}
	fuzzed := map[string]bool{}
	root := filepath.Join("..", "..")
	target := regexp.MustCompile(`(?m)^func Fuzz`)
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		b, err := os.ReadFile(p)
		if target.Match(b) {
			rel, _ := filepath.Rel(root, filepath.Dir(p))
			fuzzed["lagan/"+filepath.ToSlash(rel)] = true
		}
		return err
	})
	if err != nil || len(fuzzed) < 40 {
		t.Fatalf("%d packages with fuzz targets: %v", len(fuzzed), err)
	}
	for _, pkg := range slices.Sorted(maps.Keys(fuzzed)) {
		if !slices.Contains(called, pkg) && !named[through[pkg]] && !slices.Contains(others, pkg) {
			t.Errorf("%s has no mutants: add a format that reads it", pkg)
		}
	}
}
