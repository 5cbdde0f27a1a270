//go:build !linux

package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// all has every file and folder kept that can be opened.
func all(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			err = content(path)
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return err
	})
}
