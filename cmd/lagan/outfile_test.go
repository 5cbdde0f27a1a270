//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lagan/internal/needs"
)

// TestOutputKinds: -o takes the place of files alone, not of a link, a pipe, a
// device or a folder.
func TestOutputKinds(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	for _, err := range []error{os.WriteFile(target, []byte("old"), 0o600), os.Symlink("target", link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, says string }{
		{target, ""}, {link, ""}, {filepath.Join(dir, "new"), ""}, {os.DevNull, ""}, {"/dev/full", "no space left"}, {dir, "is a folder"}, {filepath.Join(dir, "no/new"), "no such file"},
	} {
		u := &ui{}
		if err := (outFlag{u}).Set(c.name); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(c.name)
		err := u.writeFiles(u.outFiles, func(files []*os.File) error {
			_, err := files[0].WriteString("new")
			return err
		})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if after, err := os.Lstat(c.name); before != nil && (err != nil || after.Mode().Type() != before.Mode().Type()) {
			t.Errorf("%s was %s and is %s", c.name, before.Mode(), after.Mode())
		}
	}
	for _, name := range []string{target, link, filepath.Join(dir, "new")} {
		if b, err := os.ReadFile(name); err != nil || string(b) != "new" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left over: %s", left)
	}
}

// TestOutputDisk: a disk is never written to.
func TestOutputDisk(t *testing.T) {
	disks, _ := filepath.Glob("/dev/loop[0-9]*")
	disks = append(disks, "/dev/sda", "/dev/vda")
	for _, name := range disks {
		if st, err := os.Stat(name); err != nil || st.Mode().Type() != fs.ModeDevice {
			continue
		}
		if _, err := newOutput(name); err == nil || !strings.Contains(err.Error(), "is a disk") {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	needs.Lack(t, "a block device is missing")
}

// TestOutputErrorNamesTheOutput fails the writing of an output, as a full disk does.
func TestOutputErrorNamesTheOutput(t *testing.T) {
	t.Chdir(t.TempDir())
	u := &ui{ctx: t.Context(), outFile: "out.txt"}
	err := u.writeFiles([]string{"out.txt"}, func(files []*os.File) error {
		return fmt.Errorf("writing jsonl: %w", &fs.PathError{Op: "write", Path: files[0].Name(), Err: syscall.ENOSPC})
	})
	if err == nil || err.Error() != "-o out.txt: no space left on device; nothing of it was kept" || !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if left, _ := os.ReadDir("."); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
