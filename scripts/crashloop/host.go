//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// host is an XFS filesystem of this program's own, on which a file is cloned in
// an instant (FICLONE), whoever writes to it: the clone of a mounted image is
// what a snapshot of a running node's disk is.
type host struct {
	image, dir string
}

// hostSize is sparse: what is used are the differences of a few images.
const hostSize = 32 << 30

func newHost(work string) (*host, error) {
	h := &host{image: filepath.Join(work, "host.img"), dir: filepath.Join(work, "host")}
	f, err := os.Create(h.image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(hostSize); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, err
	}
	if err := command("mkfs.xfs", "-q", "-f", "-s", "size=512", "-m", "reflink=1", h.image); err != nil {
		return nil, err
	}
	return h, command("mount", "-o", "loop,noatime", h.image, h.dir)
}

func (h *host) close() {
	command("umount", h.dir)
	os.Remove(h.dir)
	os.Remove(h.image)
}

// fresh returns a new image of mib MiB, made by mkfs on 0xAA, so that a read of
// the wrong block shows. mkfs runs once for each name, on a file that shares
// nothing: of one that does, XFS says that its sectors are as large as its blocks.
func (h *host) fresh(name string, mib int64, mkfs string) (string, error) {
	base := filepath.Join(h.dir, name+".base")
	if _, err := os.Stat(base); err != nil {
		if err := fill(base, mib); err != nil {
			return "", err
		}
		if err := command(append(strings.Fields(mkfs), base)...); err != nil {
			os.Remove(base)
			return "", fmt.Errorf("%w: %w", errNotMade, err)
		}
	}
	path := filepath.Join(h.dir, "live.img")
	return path, clone(path, base)
}

func fill(path string, mib int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bytes.Repeat([]byte{0xaa}, 1<<20)
	for range mib {
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return f.Close()
}

// clone makes to what from is at this moment.
func clone(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := unix.IoctlFileClone(int(out.Fd()), int(in.Fd())); err != nil {
		return fmt.Errorf("cloning %s: %w", from, err)
	}
	return out.Close()
}
