package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	device     = "/dev/fuse"
	helper     = "fusermount3"
	mountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	// readSize is how much the kernel asks for at once; it takes no more (FUSE_MAX_MAX_PAGES, fs/fuse/fuse_i.h).
	readSize = 1 << 20
	// background is how many of its own requests, read-ahead above all, the kernel keeps waiting.
	background = 64
)

// helperDirs are looked through beside PATH, which services often lack.
var helperDirs = []string{"/usr/local/bin", "/usr/bin", "/bin"}

func serve(ctx context.Context, folder string, trees []Tree, o Options) error {
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
	f, err := newFilesystem(trees, o)
	if err != nil {
		return err
	}
	server, err := attach(folder, f, o)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		server.Serve()
		close(ended)
	}()
	if err := server.WaitMount(); err != nil {
		return errors.Join(err, detach(folder, server))
	}
	if o.Mounted != nil {
		o.Mounted()
	}
	select {
	case <-ended: // someone unmounted it
		return nil
	case <-ctx.Done():
	}
	if err := server.Unmount(); err == nil {
		<-ended
		return nil
	}
	// The library takes any word of the helper for a failure, a warning of the
	// dynamic linker too. Where the mount is gone the kernel ends the server.
	select {
	case <-ended:
		return nil
	case <-time.After(goneWithin):
	}
	if o.Busy != nil {
		o.Busy()
	}
	return detach(folder, server)
}

// goneWithin is how long the kernel may take to tell the server that its mount is gone.
const goneWithin = 500 * time.Millisecond

// attach mounts: by itself, where this process may, else through fusermount3,
// which does it for ordinary users.
func attach(folder string, f *filesystem, o Options) (*fuse.Server, error) {
	options := &fuse.MountOptions{
		AllowOther: o.AllowOther, FsName: o.Source, Name: "lagan",
		MaxWrite: readSize, MaxReadAhead: readSize, MaxBackground: background,
		EnableSymlinkCaching: true, ExplicitDataCacheControl: true, DisableSplice: true,
		DirectMountStrict: true, DirectMountFlags: mountFlags,
		Logger: log.New(io.Discard, "", 0),
	}
	server, direct := fuse.NewServer(f, folder, options)
	if direct == nil {
		return server, nil
	}
	if findHelper() == "" {
		return nil, fmt.Errorf("%w: %w; as an ordinary user it takes %s, of the package fuse3; a container needs --device %s --cap-add SYS_ADMIN",
			ErrPermission, direct, helper, device)
	}
	options.DirectMountStrict, options.DirectMountFlags = false, 0
	options.Options = []string{"ro", "nosuid", "nodev", "noexec"}
	server, err := fuse.NewServer(f, folder, options)
	if err == nil {
		return server, nil
	}
	hint := "the folder must be yours, and " + device + " readable and writable by you; a container needs --cap-add SYS_ADMIN"
	if o.AllowOther {
		hint = "for other users /etc/fuse.conf must say user_allow_other"
	}
	return nil, fmt.Errorf("%w: %s; %s", ErrPermission, strings.TrimSpace(err.Error()), hint)
}

// detach takes a mount that is in use out of the tree. Those who use it get
// errors when this process ends.
func detach(folder string, server *fuse.Server) error {
	if unix.Unmount(folder, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		return nil
	}
	path := findHelper()
	if path == "" {
		return server.Unmount()
	}
	p, err := os.StartProcess(path, []string{helper, "-u", "-z", folder}, &os.ProcAttr{Files: []*os.File{nil, nil, os.Stderr}})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("unmounting %s: %s: %s", folder, helper, state)
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

// forever is how long the kernel may keep what it was told: evidence doesn't change.
const forever = 10 * 365 * 24 * time.Hour
