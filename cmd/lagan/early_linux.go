package main

import (
	"os"
	"syscall"
)

// syncFileRangeWrite is SYNC_FILE_RANGE_WRITE: to begin writing and not to wait (sync_file_range(2)).
const syncFileRangeWrite = 2

// beginStoring has the kernel begin to write a part of a file to its disk.
func beginStoring(f *os.File, e extent) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) {
		_ = syscall.SyncFileRange(int(fd), e.off, e.n, syncFileRangeWrite) // only a wish
	})
}
