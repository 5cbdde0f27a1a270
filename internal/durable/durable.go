// Package durable has the system keep what was written before it gets its name,
// so that a machine that loses power leaves results whole or absent too.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fewFiles is how many files and folders are synced each by itself. Each costs
// a commit of the filesystem's journal, about a millisecond; more are kept by one
// call for the whole filesystem, which also waits for what others wrote there:
// at most what the kernel lets stand unwritten, a part of the memory.
const fewFiles = 64

// Folder gives the folder tmp, once all below it is kept, the name path, where
// nothing or an empty folder may be, and has the name kept. Both lie in one folder.
// Where it fails before the name is given, tmp is still there.
func Folder(tmp, path string) error {
	if err := Tree(tmp); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // only ever an empty folder
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return Name(path)
}

// errMany ends the walk of a folder that has more than few files.
var errMany = errors.New("many files")

// Tree has the system keep all files and folders of a folder. Links and what
// else has no content are kept with the folder that they stand in.
func Tree(dir string) error {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if n++; n > fewFiles {
			return errMany
		}
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			return content(path)
		}
		return err
	})
	// Export writes files that are closed to their owner, and deeper than a path is long.
	if errors.Is(err, errMany) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENAMETOOLONG) {
		return all(dir)
	}
	return err
}

// Name has the system keep the name that a file or folder was just given, where
// the folder around it can be read.
func Name(path string) error {
	err := content(filepath.Dir(path))
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// content has the system keep a file, or the names in a folder, as far as it has a
// way to: Windows has none for what is open to be read, nor have some filesystems
// of networks for folders.
func content(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !hasNoWay(err) {
		return err
	}
	return nil
}

// hasNoWay says whether an error of a sync is for want of a way to do it.
func hasNoWay(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission)
}
