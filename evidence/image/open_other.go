//go:build !linux

package image

import (
	"errors"
	"os"
	"syscall"
)

// errNoSpace is what a write to a full filesystem says.
var errNoSpace error = syscall.ENOSPC

// openQuiet opens path read-only.
func openQuiet(path string) (*os.File, error) { return os.Open(path) }

// openUnnamed returns nil: only Linux makes files without a name.
func openUnnamed(string) *os.File { return nil }

// freeSpace says that the free space isn't known: a full disk then shows in the write.
func freeSpace(*os.File) (int64, bool) { return 0, false }

// keep can't name a file afterwards on this system.
func keep(*os.File, string) error { return errors.ErrUnsupported }
