package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errNoSpace is what a write to a full filesystem says.
var errNoSpace error = unix.ENOSPC

// openQuiet opens path read-only, without an update of its access time where
// the process owns the file or may act as if (open(2), O_NOATIME).
func openQuiet(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOATIME|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.EPERM) {
		return os.OpenFile(path, os.O_RDONLY|unix.O_NOCTTY, 0)
	}
	return f, err
}

// openUnnamed makes a file in dir that never has a name, or nil where the
// filesystem can't (O_TMPFILE).
func openUnnamed(dir string) *os.File {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return nil
	}
	return f
}

// freeSpace returns the bytes that may still be written on f's filesystem.
func freeSpace(f *os.File) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}

// keep gives a file of openUnnamed a name, at once and with all that is in it.
func keep(f *os.File, path string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}
