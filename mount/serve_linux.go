package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// readSize is how much the kernel asks for at once; it takes no more (FUSE_MAX_MAX_PAGES, fs/fuse/fuse_i.h).
	readSize = 1 << 20
	// background is how many of its own requests, read-ahead above all, the kernel keeps waiting.
	background = 64
)

func serve(ctx context.Context, folder string, trees []Tree, o Options) error {
	if o.Kept != nil {
		return serveKept(trees, o)
	}
	if err := mountable(folder); err != nil {
		return err
	}
	f, err := newFilesystem(trees, o)
	if err != nil {
		return err
	}
	p, fd, err := attach(folder, o)
	if err != nil {
		return err
	}
	ended, err := answerKernel(f, fd)
	if err != nil {
		return errors.Join(err, p.unmount(true))
	}
	keepFromPolling(p.folder)
	if o.Mounted != nil {
		o.Mounted()
	}
	select {
	case <-ended: // someone unmounted it
		return nil
	case <-ctx.Done():
		return p.detach(ended, o.Busy)
	}
}

// serveKept serves what another process mounts when everything is ready, until
// that one unmounts it or is gone itself.
func serveKept(trees []Tree, o Options) error {
	f, err := newFilesystem(trees, o)
	if err != nil {
		return err
	}
	fd, err := o.Kept.device()
	if err != nil {
		return err
	}
	ended, err := answerKernel(f, fd)
	if err != nil {
		return err
	}
	if err := o.Kept.say(nowServed, ""); err != nil {
		return err
	}
	select {
	case <-ended:
	case <-o.Kept.gone():
	}
	return nil
}

// answerKernel begins to answer what the kernel asks by the device, which it
// closes in the end; ended is closed when the mount is gone.
func answerKernel(f *filesystem, fd int) (ended <-chan struct{}, err error) {
	server, err := fuse.NewServer(f, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		Name: kind, MaxWrite: readSize, MaxReadAhead: readSize, MaxBackground: background,
		EnableSymlinkCaching: true, ExplicitDataCacheControl: true, DisableSplice: true,
		Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		server.Serve()
		close(done)
	}()
	return done, nil
}

// keepFromPolling has the kernel learn that no file of the mount can be polled:
// Go's runtime polls what it opens, and in the process that serves it, with
// every thread busy, nobody would answer. The name is one that go-fuse answers itself.
func keepFromPolling(folder string) {
	fd, err := unix.Open(folder+"/.go-fuse-epoll-hack", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) // the answer doesn't matter
	unix.Close(fd)
}

// forever is how long the kernel may keep what it was told: evidence doesn't change.
const forever = 10 * 365 * 24 * time.Hour
