//go:build unix

package main

import "syscall"

// ownSession takes a process away from the terminal.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
