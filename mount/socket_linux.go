package mount

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxMessage bounds what one message says; it may carry one descriptor.
const maxMessage = 4096

// socketPair returns both ends of a connection that keeps messages apart.
func socketPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// send sends a message, with a descriptor unless it is negative.
func send(conn *os.File, message []byte, descriptor int) error {
	if descriptor < 0 { // a confined process may write, and call sendmsg not
		_, err := conn.Write(message[:min(len(message), maxMessage)])
		return err
	}
	err := retry(func() error {
		return unix.Sendmsg(int(conn.Fd()), message, unix.UnixRights(descriptor), nil, unix.MSG_NOSIGNAL)
	})
	return os.NewSyscallError("sendmsg", err)
}

// receive returns the next message and the descriptor that came with it, -1
// without one. The other end's going away is io.EOF.
func receive(conn *os.File) (message []byte, descriptor int, err error) {
	data, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	var n, controls int
	err = retry(func() (err error) {
		n, controls, _, _, err = unix.Recvmsg(int(conn.Fd()), data, control, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, -1, os.NewSyscallError("recvmsg", err)
	}
	descriptor = -1
	if all, err := unix.ParseSocketControlMessage(control[:controls]); err == nil && len(all) > 0 {
		if fds, err := unix.ParseUnixRights(&all[0]); err == nil && len(fds) > 0 {
			descriptor = fds[0]
		}
	}
	if n == 0 && descriptor < 0 {
		return nil, -1, io.EOF
	}
	return data[:n], descriptor, nil
}

// retry calls again what a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
