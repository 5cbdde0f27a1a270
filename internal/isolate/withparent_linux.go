package isolate

import "syscall"

// withParent has the kernel end a child when the thread ends that started it
// (prctl(2), PR_SET_PDEATHSIG): after kill -9 of the parent the child would
// notice by itself only when it is next scheduled.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
