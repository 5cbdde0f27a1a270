package remainstest

import "golang.org/x/sys/unix"

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

func syncfs(fd uintptr) error { return unix.Syncfs(int(fd)) }
