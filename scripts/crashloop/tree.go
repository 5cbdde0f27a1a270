//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// record is what a walk tells of one path. Times are nanoseconds; atime is left
// out, for the walk that makes the truth moves it.
type record struct {
	Type   string            `json:"type"`
	Mode   string            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Nlink  uint32            `json:"nlink"`
	Inode  uint64            `json:"inode"`
	Size   int64             `json:"size,omitempty"` // of files
	Mtime  int64             `json:"mtime,omitempty"`
	Ctime  int64             `json:"ctime,omitempty"`
	Btime  int64             `json:"btime,omitempty"`
	Target string            `json:"target,omitempty"`
	Rdev   string            `json:"rdev,omitempty"`
	SHA256 string            `json:"sha256,omitempty"`
	Xattrs map[string]string `json:"xattrs,omitempty"` // hex
}

// kernelTree walks what the kernel has mounted at top.
func kernelTree(top string) (map[string]record, error) {
	out := map[string]record{}
	err := filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		r, err := kernelRecord(path)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		out[strings.TrimPrefix(strings.TrimPrefix(path, top), "/")] = r
		return nil
	})
	return out, err
}

func kernelRecord(path string) (record, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return record{}, err
	}
	typ := evidence.TypeOfMode(st.Mode)
	r := record{Type: typ.String(), Mode: fmt.Sprintf("%04o", st.Mode&0o7777), UID: st.Uid, GID: st.Gid, Nlink: st.Nlink,
		Inode: st.Ino, Mtime: nanos(st.Mtime), Ctime: nanos(st.Ctime)}
	if st.Mask&unix.STATX_BTIME != 0 {
		r.Btime = nanos(st.Btime)
	}
	var err error
	switch typ {
	case evidence.TypeFile:
		r.Size = int64(st.Size)
		f, err := os.Open(path)
		if err != nil {
			return r, err
		}
		defer f.Close()
		if r.SHA256, err = digest(f); err != nil {
			return r, err
		}
	case evidence.TypeSymlink:
		r.Target, err = os.Readlink(path)
	case evidence.TypeChar, evidence.TypeBlock:
		r.Rdev = fmt.Sprintf("%d:%d", st.Rdev_major, st.Rdev_minor)
	}
	if err == nil {
		r.Xattrs, err = kernelXattrs(path)
	}
	return r, err
}

func kernelXattrs(path string) (map[string]string, error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil || n == 0 {
		return nil, err
	}
	out := map[string]string{}
	value := make([]byte, 64<<10)
	for _, name := range strings.Split(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, err
		}
		out[name] = hex.EncodeToString(value[:n])
	}
	return out, nil
}

func nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

func digest(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readerTree walks what a reader shows.
func readerTree(fsys evidence.FS) (map[string]record, error) {
	out := map[string]record{}
	err := evidence.Walk(fsys, fsys.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		r, err := readerRecord(fsys, e.Ino, info)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		out[path] = r
		return nil
	})
	return out, err
}

func readerRecord(fsys evidence.FS, ino evidence.Ino, info evidence.Info) (record, error) {
	r := record{Type: info.Type.String(), Mode: fmt.Sprintf("%04o", info.Perm), UID: info.UID, GID: info.GID, Nlink: info.Nlink,
		Inode: info.Inode, Mtime: unixNanos(info.Mtime), Ctime: unixNanos(info.Ctime), Btime: unixNanos(info.Btime)}
	var err error
	switch info.Type {
	case evidence.TypeFile:
		r.Size = info.Size
		f, err := fsys.Open(ino)
		if err != nil {
			return r, err
		}
		if r.SHA256, err = digest(f); err != nil {
			return r, err
		}
	case evidence.TypeSymlink:
		r.Target, err = fsys.ReadLink(ino)
	case evidence.TypeChar, evidence.TypeBlock:
		r.Rdev = fmt.Sprintf("%d:%d", info.Major, info.Minor)
	}
	if err != nil {
		return r, err
	}
	xattrs, err := fsys.Xattrs(ino)
	for k, v := range xattrs {
		if r.Xattrs == nil {
			r.Xattrs = map[string]string{}
		}
		r.Xattrs[k] = hex.EncodeToString(v)
	}
	return r, err
}

func unixNanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()*1e9 + int64(t.Nanosecond())
}
