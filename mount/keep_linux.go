package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// keeper is the side that mounts.
type keeper struct {
	folder string
	o      Options
	conn   *os.File
	point  *point        // once it is mounted
	told   error         // by the other side
	heard  chan struct{} // closed when nothing more is heard of it
}

func keepMounted(ctx context.Context, folder string, o Options, start func(*os.File) (*os.Process, error)) (*os.ProcessState, error) {
	if err := mountable(folder); err != nil {
		return nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	process, err := start(theirs)
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("starting a process to read the evidence in: %w", err)
	}
	k := &keeper{folder: folder, o: o, conn: ours, heard: make(chan struct{})}
	ended := make(chan struct{})
	var state *os.ProcessState
	var waited error
	go func() {
		state, waited = process.Wait()
		close(ended)
	}()
	err = k.follow(ctx, process, ended)
	_ = unix.Shutdown(int(ours.Fd()), unix.SHUT_RDWR) // ends a server whose mount is in use, or that waits for one
	<-ended
	<-k.heard
	ours.Close()
	if k.point != nil && k.point.dead() {
		err = errors.Join(err, k.point.unmount(true))
	}
	return state, errors.Join(k.told, err, waited)
}

// follow does what the server asks, until it has ended or the mount is to end.
func (k *keeper) follow(ctx context.Context, process *os.Process, ended <-chan struct{}) error {
	said := make(chan []byte)
	over := make(chan struct{})
	defer close(over)
	go func() {
		defer close(k.heard)
		defer close(said)
		for {
			message, fd, err := receive(k.conn)
			if err != nil {
				return
			}
			if fd >= 0 { // nothing is wanted from there
				unix.Close(fd)
			}
			select {
			case said <- message:
			case <-over:
				return
			}
		}
	}()
	for {
		select {
		case message, ok := <-said:
			if !ok { // it has closed its end: it is about to be gone
				<-ended
				return nil
			}
			if err := k.answer(message); err != nil {
				return err
			}
		case <-ended:
			return nil
		case <-ctx.Done():
			if k.point != nil {
				return k.point.detach(ended, k.o.Busy)
			}
			_ = process.Signal(syscall.SIGTERM) // it has ended where that fails
			return nil
		}
	}
}

// answer does what one message asks for.
func (k *keeper) answer(message []byte) error {
	switch {
	case len(message) == 0:
	case message[0] == failed:
		k.told = errors.New(string(message[1:]))
	case message[0] == nowServed && k.point != nil && k.o.Mounted != nil:
		k.o.Mounted()
	case message[0] == wantDevice && k.point == nil:
		p, fd, err := attach(k.folder, k.o)
		if err != nil {
			return send(k.conn, append([]byte{failed}, err.Error()...), -1)
		}
		k.point = p
		defer unix.Close(fd) // the mount is to end with its server
		return send(k.conn, []byte{wantDevice}, fd)
	}
	return nil
}

// device has the keeper mount, and returns the device's descriptor.
func (k *Kept) device() (int, error) {
	if err := k.say(wantDevice, ""); err != nil {
		return -1, err
	}
	message, fd, err := receive(k.conn)
	switch {
	case err != nil:
		return -1, fmt.Errorf("mounting: %w", err)
	case len(message) > 0 && message[0] == failed:
		return -1, errors.New(string(message[1:]))
	case fd < 0:
		return -1, fmt.Errorf("mounting: %w", io.ErrUnexpectedEOF)
	}
	return fd, nil
}

func (k *Kept) say(what byte, more string) error {
	return send(k.conn, append([]byte{what}, more...), -1)
}

// gone is closed when the keeper is.
func (k *Kept) gone() <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			if _, _, err := receive(k.conn); err != nil {
				return
			}
		}
	}()
	return gone
}
