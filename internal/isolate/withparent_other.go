//go:build !linux

package isolate

import "syscall"

// withParent is nothing: a child notices by the end of its standard input.
func withParent() *syscall.SysProcAttr { return nil }
