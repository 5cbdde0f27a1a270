package durable

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// all has the system keep the whole filesystem that dir is on. Since Linux 5.8 what
// could not be written is an error here too.
func all(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		err := unix.Syncfs(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return fmt.Errorf("keeping what was written to %q: %w", dir, err)
		}
	}
}
