package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	device     = "/dev/fuse"
	helper     = "fusermount3"
	kind       = "lagan" // what the list of mounts calls the filesystem: fuse.lagan
	mountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
)

// helperDirs are looked through beside PATH, which services often lack.
var helperDirs = []string{"/usr/local/bin", "/usr/bin", "/bin"}

// point is a folder that something is mounted at.
type point struct{ folder string }

// mountable says why nothing can be mounted at a folder, as far as that shows
// before anything was tried.
func mountable(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "mount", Path: folder, Err: unix.ENOTDIR}
	}
	if _, err := os.Stat(device); err != nil {
		return fmt.Errorf("%w (%s is missing): load the module with `modprobe fuse`; a container needs --device %s --cap-add SYS_ADMIN; "+
			"or write the files into a folder with `lagan export --format dir`", ErrNoFUSE, device, device)
	}
	return nil
}

// attach mounts: by itself, where this process may, else through fusermount3,
// which does it for ordinary users. It returns the descriptor of the device by
// which the kernel asks of this mount.
func attach(folder string, o Options) (*point, int, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, -1, err
	}
	p := &point{folder: folder}
	fd, direct := p.attachDirectly(o)
	if direct == nil {
		return p, fd, nil
	}
	if findHelper() == "" {
		return nil, -1, fmt.Errorf("%w: %w; as an ordinary user it takes %s, of the package fuse3; a container needs --device %s --cap-add SYS_ADMIN",
			ErrPermission, direct, helper, device)
	}
	fd, err = p.attachHelped(o)
	if err == nil {
		return p, fd, nil
	}
	hint := "the folder must be yours, and " + device + " readable and writable by you; a container needs --cap-add SYS_ADMIN"
	if o.AllowOther {
		hint = "for other users /etc/fuse.conf must say user_allow_other"
	}
	return nil, -1, fmt.Errorf("%w: %s; %s", ErrPermission, strings.TrimSpace(err.Error()), hint)
}

// attachDirectly is mount(2), with the options of Documentation/filesystems/fuse/fuse.rst.
func (p *point) attachDirectly(o Options) (int, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: device, Err: err}
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,max_read=%d", fd, unix.S_IFDIR, os.Geteuid(), os.Getegid(), readSize)
	if o.AllowOther {
		options += ",allow_other"
	}
	if err := unix.Mount(o.Source, p.folder, "fuse."+kind, mountFlags, options); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// attachHelped has fusermount3 mount, which passes the device by a socket that
// it is told of.
func (p *point) attachHelped(o Options) (int, error) {
	escape := strings.NewReplacer(`\`, `\\`, ",", `\,`)
	options := []string{"ro", "nosuid", "nodev", "noexec", "subtype=" + kind, fmt.Sprintf("max_read=%d", readSize)}
	if o.Source != "" {
		options = append(options, "fsname="+escape.Replace(o.Source))
	}
	if o.AllowOther {
		options = append(options, "allow_other")
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return -1, err
	}
	defer ours.Close()
	err = runHelper([]string{"_FUSE_COMMFD=3"}, []*os.File{nil, nil, os.Stderr, theirs}, "-o", strings.Join(options, ","), "--", p.folder)
	theirs.Close()
	if err != nil {
		return -1, err
	}
	_, fd, err := receive(ours)
	if err == nil && fd < 0 {
		err = fmt.Errorf("%s handed over no device", helper)
	}
	return fd, err
}

// unmount takes the mount away; with lazy, out of the tree for now, where it is in use.
func (p *point) unmount(lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(p.folder, flags)
	if err != unix.EPERM || findHelper() == "" {
		return err
	}
	if lazy {
		return runHelper(nil, []*os.File{nil, nil, os.Stderr}, "-u", "-z", "--", p.folder)
	}
	return runHelper(nil, []*os.File{nil, nil, nil}, "-u", "--", p.folder)
}

const (
	unmountTries = 5 // a program that has just ended may hold the mount a moment longer
	// goneWithin is how long the kernel may take to tell a server that its mount is gone.
	goneWithin = 500 * time.Millisecond
)

// detach unmounts, and returns when ended says that the server has noticed, or
// at once where the mount is in use: those who use it get errors when its server ends.
func (p *point) detach(ended <-chan struct{}, busy func()) error {
	wait := 5 * time.Millisecond
	for range unmountTries {
		if p.unmount(false) == nil {
			<-ended
			return nil
		}
		time.Sleep(wait)
		wait *= 2
	}
	select {
	case <-ended: // someone else was faster
		return nil
	case <-time.After(goneWithin):
	}
	if busy != nil {
		busy()
	}
	return p.unmount(true)
}

// dead says whether the mount is there and nobody serves it any more.
func (p *point) dead() bool {
	f, err := os.Open(p.folder)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, unix.ENOTCONN)
}

// runHelper runs fusermount3.
func runHelper(env []string, files []*os.File, args ...string) error {
	path := findHelper()
	process, err := os.StartProcess(path, append([]string{helper}, args...), &os.ProcAttr{Env: append(os.Environ(), env...), Files: files})
	if err != nil {
		return err
	}
	state, err := process.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s: %s", helper, state)
	}
	return err
}

// findHelper returns the path of the program that mounts for ordinary users, "" without one.
func findHelper() string {
	for _, dir := range append(strings.Split(os.Getenv("PATH"), ":"), helperDirs...) {
		for _, name := range []string{helper, "fusermount"} {
			path := dir + "/" + name
			if info, err := os.Stat(path); strings.HasPrefix(dir, "/") && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path
			}
		}
	}
	return ""
}
