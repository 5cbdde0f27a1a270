//go:build linux

package overlay_test

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// hostFS reads directories of this machine as they lie on the disk, with the
// trusted attributes that only root sees: the layers that the kernel mounts.
type hostFS struct {
	mu    sync.Mutex
	paths map[evidence.Ino]string
}

func newHostFS() *hostFS { return &hostFS{paths: map[evidence.Ino]string{}} }

func (f *hostFS) add(path string) (evidence.Ino, *unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.paths[evidence.Ino(st.Ino)]; !ok {
		f.paths[evidence.Ino(st.Ino)] = path
	}
	return evidence.Ino(st.Ino), &st, nil
}

func (f *hostFS) path(ino evidence.Ino) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.paths[ino]
}

func (f *hostFS) Root() evidence.Ino { panic("a hostFS has no root of its own") }

func (f *hostFS) Stat(ino evidence.Ino) (evidence.Info, error) {
	_, st, err := f.add(f.path(ino))
	if err != nil {
		return evidence.Info{}, err
	}
	at := func(t unix.Timespec) time.Time { return time.Unix(t.Sec, t.Nsec).UTC() }
	return evidence.Info{
		Inode: st.Ino, Type: evidence.TypeOfMode(uint16(st.Mode)), Perm: uint16(st.Mode) & 0o7777, UID: st.Uid, GID: st.Gid,
		Nlink: uint32(st.Nlink), Size: st.Size, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
		Mtime: at(st.Mtim), Atime: at(st.Atim), Ctime: at(st.Ctim),
	}, nil
}

func (f *hostFS) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		dir := f.path(ino)
		d, err := os.Open(dir)
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		names, err := d.Readdirnames(-1)
		d.Close()
		if err != nil && !yield(evidence.Entry{}, err) {
			return
		}
		for _, name := range names {
			child, st, err := f.add(filepath.Join(dir, name))
			e := evidence.Entry{Name: name, Ino: child}
			if err == nil {
				e.Type = evidence.TypeOfMode(uint16(st.Mode))
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (f *hostFS) ReadLink(ino evidence.Ino) (string, error) { return os.Readlink(f.path(ino)) }

func (f *hostFS) Xattrs(ino evidence.Ino) (map[string][]byte, error) { return hostXattrs(f.path(ino)) }

func hostXattrs(path string) (map[string][]byte, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		return nil, &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	out := map[string][]byte{}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, v)
		if err != nil {
			return out, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		out[name] = v[:n]
	}
	return out, nil
}

func (f *hostFS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	h, err := os.Open(f.path(ino))
	if err != nil {
		return nil, err
	}
	info, err := h.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(h, 0, info.Size()), nil
}
