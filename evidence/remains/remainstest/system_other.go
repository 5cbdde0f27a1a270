//go:build !linux

package remainstest

import "errors"

// The filesystems of these tests are mounted by Linux alone.

func mkfifo(string) error { return errors.ErrUnsupported }

func syncfs(uintptr) error { return errors.ErrUnsupported }
