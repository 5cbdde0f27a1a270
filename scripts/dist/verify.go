package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// verify builds the release again, from a clone elsewhere, with a cache of its
// own, under another umask, time zone, language and temporary folder, and
// compares every file with those of dir. args are the flags of the first build.
func verify(dir string, args []string) error {
	if changes, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changes != "" {
		return fmt.Errorf("a clone lacks what is not committed: %s %w", changes, err)
	}
	tmp, err := os.MkdirTemp("", "dist-verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	clone, again := filepath.Join(tmp, "another folder", "clone"), filepath.Join(tmp, "again")
	if _, err := git("clone", "--quiet", "--no-hardlinks", ".", clone); err != nil {
		return err
	}
	for _, name := range []string{"temp", "cache"} {
		if err := os.Mkdir(filepath.Join(tmp, name), 0o700); err != nil {
			return err
		}
	}
	cmd := exec.Command("sh", append([]string{"-c", `umask 077; exec go run ./scripts/dist "$@"`, "dist", "-o", again}, args...)...)
	cmd.Dir, cmd.Stderr = clone, os.Stderr
	cmd.Env = append(os.Environ(), "TZ=Pacific/Kiritimati", "LANG=C", "LC_ALL=C", "COLUMNS=40", "TMPDIR="+filepath.Join(tmp, "temp"), "GOCACHE="+filepath.Join(tmp, "cache"))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building it again: %w", err)
	}
	return same(dir, again)
}

// same compares two releases, file by file.
func same(dir, again string) error {
	names := map[string]bool{}
	for _, d := range []string{dir, again} {
		list, err := os.ReadDir(d)
		if err != nil {
			return err
		}
		for _, e := range list {
			names[e.Name()] = true
		}
	}
	var differ []string
	for name := range names {
		a, errA := os.ReadFile(filepath.Join(dir, name))
		b, errB := os.ReadFile(filepath.Join(again, name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			differ = append(differ, name)
		}
	}
	if slices.Sort(differ); len(differ) > 0 {
		return fmt.Errorf("of %d files these differ: %s", len(names), strings.Join(differ, ", "))
	}
	fmt.Printf("%d files, built twice: the same bytes\n", len(names))
	return nil
}
