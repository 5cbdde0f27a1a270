package mount

import (
	"context"
	"errors"
	"os"
)

// ErrServer says that the process that served a mount ended in a way that it doesn't mean to.
var ErrServer = errors.New("the process that serves the mount ended")

// Kept is what a process has that serves a mount and may not mount: the
// connection to the one that does, which runs Keep.
type Kept struct{ conn *os.File }

// NewKept takes the connection that Keep's start was given.
func NewKept(conn *os.File) *Kept { return &Kept{conn} }

// What the two processes say to each other: one of these, and more words after some.
const (
	wantDevice = 'd' // the server: everything is ready, mount it; the answer carries the device
	nowServed  = 's' // the server: the mount can be used
	failed     = 'e' // either: why nothing comes of it
)

// Fail tells why there is no mount, to a keeper that has to say it.
func (k *Kept) Fail(err error) { _ = k.say(failed, err.Error()) } // where nobody hears it, nobody waits

// Keep has another process serve a mount, which reads the evidence and is
// confined: this one mounts for it, as no confined process can, and unmounts
// when ctx ends or when that process is gone. It reads nothing of the evidence,
// and of the other process one word at a time. start starts that process with
// its end of the connection, the descriptor that NewKept wants.
//
// It returns how that process ended. The error of Fail is returned as it was told.
func Keep(ctx context.Context, folder string, o Options, start func(conn *os.File) (*os.Process, error)) (*os.ProcessState, error) {
	return keepMounted(ctx, folder, o, start)
}
