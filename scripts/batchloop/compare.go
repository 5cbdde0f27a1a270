//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// files returns the files below a folder with their content; of run.json, which
// has times, only that it is there.
func files(dir string) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || d.Name() == "run.json" {
			all[rel] = "times"
			return err
		}
		b, err := os.ReadFile(path)
		all[rel] = string(b)
		return err
	})
	return all, err
}

// stored is what the files below a folder take on a disk: some have holes.
func stored(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			size += st.Blocks * 512
		}
		return err
	})
	return size, err
}

// wholeOrAbsent checks what is there. clean: nothing half-written is hidden either.
func (l *loop) wholeOrAbsent(out string, clean bool) error {
	list, err := os.ReadDir(out)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		switch {
		case strings.HasPrefix(e.Name(), "."):
			if clean {
				return fmt.Errorf("left behind: %s", e.Name())
			}
		case strings.HasSuffix(e.Name(), ".failed.json"):
		default:
			got, err := files(filepath.Join(out, e.Name()))
			if err != nil {
				return err
			}
			for path, content := range l.want {
				if path == e.Name() && got["."] != content {
					return fmt.Errorf("%s is not whole", path)
				}
				if rest, ok := strings.CutPrefix(path, e.Name()+"/"); ok && got[rest] != content {
					return fmt.Errorf("%s is not whole", path)
				}
			}
		}
	}
	return nil
}

// again runs it to its end, and compares with the undisturbed run.
func (l *loop) again(out string) error {
	if list, err := os.ReadDir(filepath.Join(out, "result")); err == nil && len(list) > 0 {
		return nil // a whole folder, which no command writes over
	}
	if b, err := l.command(out).CombinedOutput(); err != nil {
		return fmt.Errorf("the next run: %w: %s", err, b)
	}
	got, err := files(out)
	if err != nil {
		return err
	}
	var differ []string
	for path, content := range l.want {
		if got[path] != content {
			differ = append(differ, path)
		}
	}
	for path := range got {
		if strings.HasPrefix(path, ".") && l.what != "batch" {
			continue // half of a file under another name: kill -9 leaves it
		}
		if _, ok := l.want[path]; !ok {
			differ = append(differ, path)
		}
	}
	if slices.Sort(differ); len(differ) > 0 {
		return fmt.Errorf("the next run differs in %q", differ)
	}
	return nil
}
