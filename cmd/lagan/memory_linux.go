package main

import "syscall"

// machineMemory is how many bytes of memory the machine has. It is asked of the
// kernel: no file is opened for it.
func machineMemory() uint64 {
	var s syscall.Sysinfo_t
	if syscall.Sysinfo(&s) != nil {
		return 0
	}
	return uint64(s.Totalram) * uint64(s.Unit)
}
