package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"lagan/analyzer"
	"lagan/mount"
)

// reportTo is the environment's name for the descriptor by which a mount in the
// background says how it began.
const reportTo = "LAGAN_MOUNT_REPORT"

// mounted is what is said when the mount can be used.
const mounted = "mounted"

// inBackground returns when a mount can be used, and leaves processes behind
// that serve it until it is unmounted: callers of container-explorer and
// docker-explorer expect mounts of the kernel's, which need no process. They are
// this program again, with the same arguments: one that mounts, and one that
// reads the evidence and calls serve.
func (u *ui) inBackground(folder string, serve func(analyzer.ServeOptions) error) error {
	switch {
	case u.kept != nil:
		err := serve(analyzer.ServeOptions{Kept: u.kept})
		if err != nil {
			u.kept.Fail(err)
		}
		return err
	case os.Getenv(reportTo) != "":
		w := os.NewFile(3, "report")
		os.Unsetenv(reportTo)
		_, err := keep(u.ctx, folder, mount.Options{Source: "lagan", Mounted: func() {
			fmt.Fprint(w, mounted)
			w.Close()
		}}, os.Stdin, os.Stdout, os.Stderr)
		if err != nil {
			fmt.Fprint(w, err.Error()) // where it is open still, the mount did not begin
		}
		return err
	}
	return startBackground()
}

// startBackground starts the process that mounts, and waits until it has.
func startBackground() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(program, os.Args, &os.ProcAttr{
		Env: append(os.Environ(), reportTo+"=3"), Files: []*os.File{null, null, null, w}, Sys: ownSession(),
	})
	w.Close()
	if err != nil {
		return err
	}
	said, err := io.ReadAll(r)
	if err == nil && string(said) == mounted {
		return p.Release()
	}
	if _, failed := p.Wait(); err == nil {
		err = failed
	}
	if err == nil {
		err = errors.New(strings.TrimSpace(firstNonEmpty(string(said), "the process that serves the mount ended")))
	}
	return err
}
