package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lagan/internal/needs"
)

// impossibleNames are names that no kernel makes, as an attacker with an editor of
// disks leaves them: each stands in a folder's slack in place of one as long.
var impossibleNames = map[string]string{
	"patched-up-the-tree": "../../../../../pwn1", "patched-absolute1": "/tmp/h/absolute1/",
	"patched-nul-inside": "nul\x00inside\x00\x00\x00\x00name", "patched-dots-only1": ".." + strings.Repeat("\x00", 16),
}

// TestHostileRemoved deletes a container with all that is hostile of it, and more,
// from a disk: what recover, and what prints the removed, tell of it is inert, names
// come back as they were, and nothing is written but in the folder that was given.
func TestHostileRemoved(t *testing.T) {
	disk := hostileRemoved(t)
	for _, args := range [][]string{
		{"recover", disk}, {"recover", disk, "-O", "csv"}, {"recover", disk, "-O", "jsonl"}, {"recover", disk, "-O", "json"},
		{"recover", disk, "--files"}, {"recover", disk, "--files", "-O", "jsonl"}, {"recover", disk, "--files", "-O", "csv"}, {"recover", disk, "--files", "@node"},
		{"containers", disk, "--removed"}, {"containers", disk, "--removed", "--wide"}, {"volumes", disk, "--removed"}, {"inspect", disk, hostileID}, {"ls", disk, hostileID, "-R"},
		{"recover", disk, hostileID, "--files"}, {"timeline", disk, "--removed"}, {"timeline", disk, "--removed", "--format", "bodyfile"}, {"findings", disk},
	} {
		out := lagan(t, args...)
		if i := unsafeAt(out); i >= 0 && !slices.Contains(args, "csv") { // whose cells keep what stands in them
			t.Errorf("lagan %q prints %q", args, around(out, i))
		}
		if slices.Contains(args, "csv") {
			checkGuarded(t, out)
		}
	}
	t.Run("names", func(t *testing.T) { hostileNamesBack(t, disk) })
	t.Run("extract", func(t *testing.T) { hostileExtract(t, disk) })
}

// hostileRemoved is such a disk.
func hostileRemoved(t *testing.T) string {
	needs.Root(t, "deleting files of a disk")
	dir := t.TempDir()
	disk, mnt := filepath.Join(dir, "disk.img"), filepath.Join(dir, "mnt")
	// Checksums would tell that folders were edited.
	for _, err := range []error{os.Mkdir(mnt, 0o700), os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 64<<20)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tool(t, "mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^metadata_csum", "-E", "lazy_itable_init=0", disk)
	tool(t, "mount", "-o", "loop", disk, mnt)
	mounted := true
	unmount := func() {
		if mounted {
			tool(t, "umount", mnt)
			mounted = false
		}
	}
	t.Cleanup(unmount)
	hostileIn(t, mnt)
	upper := filepath.Join(mnt, "var/lib/docker/overlay2", hostileID, "diff")
	deep := upper
	for range 16 { // 4,000 bytes, as long as the kernel takes
		deep = filepath.Join(deep, strings.Repeat("p", 230))
	}
	for _, err := range []error{
		os.MkdirAll(filepath.Join(mnt, "etc"), 0o755), os.WriteFile(filepath.Join(mnt, "etc/os-release"), []byte("ID=test\n"), 0o644),
		os.MkdirAll(deep, 0o755), os.WriteFile(filepath.Join(deep, "deepest"), []byte("deep"), 0o644),
		os.Symlink("/"+strings.Repeat("t/", 1990)+"\x1b[2J", filepath.Join(upper, "long-link")), os.Symlink("/etc/shadow", filepath.Join(upper, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range impossibleNames {
		if err := os.WriteFile(filepath.Join(upper, name), []byte("content of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	top, err := os.Open(mnt)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Syncfs(int(top.Fd())), top.Close()); err != nil { // what is deleted was on the disk
		t.Fatal(err)
	}
	for _, gone := range []string{"containers/" + hostileID, "overlay2/" + hostileID, "image/overlay2/layerdb/mounts/" + hostileID} {
		if err := os.RemoveAll(filepath.Join(mnt, "var/lib/docker", gone)); err != nil {
			t.Fatal(err)
		}
	}
	unmount()
	b, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range impossibleNames {
		if len(name) != len(other) || !bytes.Contains(b, []byte(name)) {
			t.Fatalf("%q can't take the place of %q", other, name)
		}
		b = bytes.ReplaceAll(b, []byte(name), []byte(other))
	}
	if err := os.WriteFile(disk, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return disk
}

// hostileNamesBack reads the names of the deleted files back from JSON.
func hostileNamesBack(t *testing.T, disk string) {
	found := map[string]bool{}
	for line := range strings.Lines(lagan(t, "recover", disk, "--files", "-O", "jsonl")) {
		var r struct {
			Path string
			Raw  []byte `json:"path_raw"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.Raw != nil {
			r.Path = string(r.Raw)
		}
		found[path.Base(r.Path)] = true
	}
	for _, n := range append([]string{"long-link", "link", "deepest"}, hostileNames...) {
		if !found[n] {
			t.Errorf("%q is not among the names of %d deleted files", n, len(found))
		}
	}
}

// hostileExtract writes the deleted files, and looks for what is elsewhere or isn't
// a plain file of its own.
func hostileExtract(t *testing.T, disk string) {
	around := t.TempDir()
	into := filepath.Join(around, "in/to")
	if err := os.Mkdir(filepath.Dir(into), 0o700); err != nil {
		t.Fatal(err)
	}
	for n, args := range [][]string{
		{"recover", disk, "--extract"}, {"recover", disk, "@node", "--extract"}, {"recover", disk, hostileID, "--extract"}, {"export", disk, hostileID, "--format", "dir", "-o"},
	} {
		folder := fmt.Sprint(into, n)
		lagan(t, append(args, folder)...)
		files := 0
		err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files++
			}
			if err == nil && !d.IsDir() && !d.Type().IsRegular() {
				t.Errorf("%q: %q is %s", args, p, d.Type())
			}
			return err
		})
		if err != nil || files < 2 {
			t.Errorf("%q: %d files, %v", args, files, err)
		}
		manifest, err := os.ReadFile(filepath.Join(folder, "MANIFEST.jsonl"))
		if i := unsafeAt(string(manifest)); err != nil || i >= 0 {
			t.Errorf("%q: the manifest: %v, %d", args, err, i)
		}
		list, err := os.ReadDir(filepath.Dir(into))
		if err != nil || len(list) != n+1 {
			t.Errorf("%q: in the folder around: %v, %v", args, list, err)
		}
	}
	if list, err := os.ReadDir(around); err != nil || len(list) != 1 {
		t.Errorf("outside: %v, %v", list, err)
	}
	for _, p := range []string{"/tmp/h/absolute1", "/pwn1", filepath.Join(around, "pwn1")} {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("%s was made", p)
		}
	}
}
