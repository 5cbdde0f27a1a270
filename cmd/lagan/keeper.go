package main

import (
	"context"
	"fmt"
	"os"

	"lagan/mount"
)

// keptBy, in the environment, tells a process that another one mounts for it.
// Its value is the descriptor of the connection to that one.
const keptBy = "LAGAN_MOUNT_KEPT"

// keeperFD is that descriptor: what follows standard error.
const keeperFD = 3

// keeperOf returns the connection to the process that mounts for this one, nil
// where this one was not started so.
func keeperOf() *mount.Kept {
	if os.Getenv(keptBy) == "" {
		return nil
	}
	os.Unsetenv(keptBy)
	return mount.NewKept(os.NewFile(keeperFD, "keeper"))
}

// elsewhere has a mount served by a process of its own, which reads the evidence
// and is confined; this one mounts and unmounts for it, which no confined process
// can, and reads none. Without an error this process does it all.
func (u *ui) elsewhere(folder string, o mount.Options) error {
	if !u.sandbox || u.noSandbox || u.kept != nil {
		return nil
	}
	o.Mounted, o.Busy = u.sayMounted(folder), u.sayBusy(folder)
	state, err := keep(u.ctx, folder, o, os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	return ended(state.ExitCode())
}

// keep starts this program again, with the same arguments, and mounts for it.
func keep(ctx context.Context, folder string, o mount.Options, in, out, errs *os.File) (*os.ProcessState, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	state, err := mount.Keep(ctx, folder, o, func(conn *os.File) (*os.Process, error) {
		return os.StartProcess(program, os.Args, &os.ProcAttr{
			Env: append(os.Environ(), fmt.Sprintf("%s=%d", keptBy, keeperFD)), Files: []*os.File{in, out, errs, conn},
		})
	})
	if err == nil && !state.Exited() {
		err = fmt.Errorf("%w: %s", mount.ErrServer, state)
	}
	return state, err
}

func (u *ui) sayMounted(folder string) func() {
	return func() { u.say("mounted at %s; Ctrl-C unmounts it", folder) }
}

func (u *ui) sayBusy(folder string) func() {
	return func() { u.say("%s is in use: it is unmounted all the same", folder) }
}
