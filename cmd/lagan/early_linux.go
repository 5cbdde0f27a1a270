package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginStoring has the kernel begin to write a part of a file to its disk.
func beginStoring(f *os.File, e extent) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) {
		_ = unix.SyncFileRange(int(fd), e.off, e.n, unix.SYNC_FILE_RANGE_WRITE) // only a wish
	})
}
