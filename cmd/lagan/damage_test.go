package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/fixtures"
)

// extract copies a runtime's documents out of a fixture's disk, without the layers' files.
func extract(t *testing.T, disk, root string) string {
	n, err := analyzer.Open(t.Context(), fixtures.Disk(t, disk), analyzer.Options{NoScan: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	dir := t.TempDir()
	start, err := evidence.Resolve(n.Tree, n.Tree.Root(), root, true)
	if err != nil {
		t.Fatal(err)
	}
	err = evidence.Walk(n.Tree, start, func(p string, e evidence.Entry, info evidence.Info, err error) error {
		to := filepath.Join(dir, root, p)
		switch {
		case err != nil:
			return err
		case info.Type == evidence.TypeDir:
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			if e.Name == "diff" || e.Name == "fs" || e.Name == "work" || e.Name == "blobs" {
				return evidence.SkipDir
			}
		case info.Type == evidence.TypeSymlink:
			target, err := n.Tree.ReadLink(e.Ino)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		case info.Type == evidence.TypeFile:
			b, err := evidence.ReadInode(n.Tree, e.Ino, 64<<20)
			if err != nil {
				return err
			}
			return os.WriteFile(to, b, 0o644)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// listed returns the containers that are listed of a damaged copy, by id, and the warnings.
func listed(t *testing.T, dir string, want int) (map[string]map[string]any, string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"containers", dir, "--output", "jsonl"}, &out, &errs); code != want {
		t.Errorf("exit %d, want %d: %s", code, want, errs.String())
	}
	got := make(map[string]map[string]any)
	for line := range strings.Lines(out.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if id, ok := r["id"].(string); ok {
			got[id] = r
		}
	}
	return got, errs.String()
}

// TestBrokenConfig breaks one container's configuration: the nine others are
// listed, and the one with what the storage driver knows of it.
func TestBrokenConfig(t *testing.T) {
	dir := extract(t, "docker-ext4", "/var/lib/docker")
	const id = "b631c6c93f3a1485e99e5515072023616fdf8842d1e341c0fa4ea0faa269b27e"
	file := filepath.Join(dir, "var/lib/docker/containers", id, "config.v2.json")
	if err := os.WriteFile(file, []byte(`{"ID":"b631c6`), 0o644); err != nil {
		t.Fatal(err)
	}
	got, warnings := listed(t, dir, exitPartial)
	if len(got) != 10 || got[id] == nil {
		t.Errorf("%d containers", len(got))
	}
	for other, r := range got {
		if other != id && (r["name"] == "" || r["created"] == nil || r["upper_dir"] == nil) {
			t.Errorf("%s: %v", other, r)
		}
	}
	if got[id]["upper_dir"] == nil || !strings.Contains(warnings, id) || !strings.Contains(warnings, "config.v2.json") {
		t.Errorf("%v; %s", got[id], warnings)
	}
}

const metaDB = "var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"

// TestSpecWithoutLinux takes the linux section from every specification: all
// containers are listed, and what is missing is named.
func TestSpecWithoutLinux(t *testing.T) {
	dir := extract(t, "eks-xfs", "/var/lib/containerd")
	file := filepath.Join(dir, metaDB)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(b, []byte(`"linux":{`), []byte(`"linuy":{`))
	if bytes.Equal(b, changed) {
		t.Fatal("no specification was found")
	}
	if err := os.WriteFile(file, changed, 0o644); err != nil {
		t.Fatal(err)
	}
	got, warnings := listed(t, dir, exitPartial)
	if len(got) != 11 {
		t.Errorf("%d containers; %s", len(got), warnings)
	}
	for id, r := range got {
		if r["command"] == nil || r["privileged"] == nil || r["upper_dir"] == nil {
			t.Errorf("%s: %v", id, r)
		}
		if !strings.Contains(warnings, "container "+strconv.Quote(id)) {
			t.Errorf("nothing is said of %s", id)
		}
	}
	if !strings.Contains(warnings, "no linux section") {
		t.Error(warnings)
	}
}

// TestUnknownSpec gives every specification a type that nothing is known of, and
// a value that isn't JSON: all containers are listed, and the type is named.
func TestUnknownSpec(t *testing.T) {
	dir := extract(t, "eks-xfs", "/var/lib/containerd")
	file := filepath.Join(dir, metaDB)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const known, unknown = "types.containerd.io/opencontainers/runtime-spec/1/Spec", "types.example.com/opencontainers/runtime-spec/9/Spec!!"
	changed := bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(`{"ociVersion"`), []byte("\x0a\x0bociVersion\"")), []byte(known), []byte(unknown)[:len(known)])
	if bytes.Equal(b, changed) {
		t.Fatal("no specification was found")
	}
	if err := os.WriteFile(file, changed, 0o644); err != nil {
		t.Fatal(err)
	}
	got, warnings := listed(t, dir, exitPartial)
	if len(got) != 11 || !strings.Contains(warnings, strconv.Quote(unknown[:len(known)])) {
		t.Errorf("%d containers; %s", len(got), warnings)
	}
	for id, r := range got {
		if r["upper_dir"] == nil || r["image"] == nil || r["created"] == nil {
			t.Errorf("%s: %v", id, r)
		}
	}
}

// TestDamagedPage spoils the page of the database that a container's record
// lies on: the others are listed, and the page is named.
func TestDamagedPage(t *testing.T) {
	dir := extract(t, "eks-xfs", "/var/lib/containerd")
	file := filepath.Join(dir, metaDB)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	spoiled := 0
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("/root/ops.txt"))
		if i < 0 {
			break
		}
		at += i
		for start := at / page * page; start > 0; start -= page {
			if binary.LittleEndian.Uint64(b[start:]) == uint64(start/page) {
				binary.LittleEndian.PutUint16(b[start+8:], 0xffff) // the page's kind
				spoiled++
				break
			}
		}
		at++
	}
	if spoiled == 0 {
		t.Fatal("the record was not found")
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	got, warnings := listed(t, dir, exitPartial)
	whole := 0
	for _, r := range got {
		if r["command"] != nil {
			whole++
		}
	}
	if whole < 10 || !strings.Contains(warnings, "page") || !strings.Contains(warnings, "meta.db") {
		t.Errorf("%d of %d containers whole; %s", whole, len(got), warnings)
	}
}
