//go:build linux

package hostdir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// openRetry opens without an update of the access time where that is allowed.
func openRetry(dir int, name string, flags int) (int, error) {
	flags |= unix.O_CLOEXEC
	quiet := unix.O_NOATIME
	if flags&unix.O_PATH != 0 {
		quiet = 0 // open(2): O_PATH takes no other flags
	}
	for {
		fd, err := unix.Openat(dir, name, flags|quiet, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPERM) && quiet != 0:
			quiet = 0
		default:
			return fd, err
		}
	}
}

// statxAt looks at a name in a folder, or at the descriptor itself where name is empty.
func statxAt(dir int, name string) (*unix.Statx_t, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	st := &unix.Statx_t{}
	for {
		err := unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, st)
		if !errors.Is(err, unix.EINTR) {
			return st, err
		}
	}
}

func infoOf(st *unix.Statx_t) evidence.Info {
	when := func(bit uint32, t unix.StatxTimestamp) time.Time {
		if st.Mask&bit == 0 {
			return time.Time{}
		}
		return time.Unix(t.Sec, int64(t.Nsec)).UTC()
	}
	return evidence.Info{
		Inode: st.Ino,
		Type:  evidence.TypeOfMode(st.Mode),
		Perm:  st.Mode & 0o7777,
		UID:   st.Uid,
		GID:   st.Gid,
		Nlink: st.Nlink,
		Size:  int64(min(st.Size, 1<<63-1)),
		Major: st.Rdev_major,
		Minor: st.Rdev_minor,
		Mtime: when(unix.STATX_MTIME, st.Mtime),
		Atime: when(unix.STATX_ATIME, st.Atime),
		Ctime: when(unix.STATX_CTIME, st.Ctime),
		Btime: when(unix.STATX_BTIME, st.Btime),
	}
}

// dirent is an entry of linux_dirent64 (include/linux/dirent.h).
type dirent struct {
	name string
	typ  evidence.Type
	ino  uint64
}

const (
	offReclen = 16
	offType   = 18
	offName   = 19
)

func dirents(b []byte) iter.Seq[dirent] {
	return func(yield func(dirent) bool) {
		for len(b) > offName {
			n := int(binary.NativeEndian.Uint16(b[offReclen:]))
			if n <= offName || n > len(b) {
				return
			}
			name, _, _ := bytes.Cut(b[offName:n], []byte{0})
			// d_type is what S_IFMT is, 12 bits lower (fs/fs_types.c); DT_UNKNOWN is 0.
			if !yield(dirent{string(name), evidence.TypeOfMode(uint16(b[offType]) << 12), binary.NativeEndian.Uint64(b)}) {
				return
			}
			b = b[n:]
		}
	}
}

func readDirent(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Getdents(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func readlinkAt(dir int, name string) (string, error) {
	// PATH_MAX bounds a target; a filesystem could give more, and the kernel cuts it.
	buf := make([]byte, unix.PathMax)
	for {
		n, err := unix.Readlinkat(dir, name, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", err
		default:
			return string(buf[:n]), nil
		}
	}
}

// Bounds of extended attributes (include/uapi/linux/limits.h).
const (
	maxXattrList = 64 << 10 // XATTR_LIST_MAX
	maxXattrSize = 64 << 10 // XATTR_SIZE_MAX
)

type xattrBuffer struct {
	list  [maxXattrList]byte
	value [maxXattrSize]byte
}

var xattrBuffers = sync.Pool{New: func() any { return new(xattrBuffer) }}

// xattrsAt reads the attributes of a name in a folder. There is no lgetxattrat
// before Linux 6.13: the way leads through the descriptor's entry in /proc.
func xattrsAt(dir int, name string) (map[string][]byte, error) {
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	buf := xattrBuffers.Get().(*xattrBuffer)
	defer xattrBuffers.Put(buf)
	list, value := buf.list[:], buf.value[:]
	n, err := unix.Llistxattr(path, list)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return map[string][]byte{}, nil
	case err != nil:
		return nil, err
	}
	out := map[string][]byte{}
	var failed error
	for _, key := range strings.Split(string(list[:n]), "\x00") {
		if key == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, key, value)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("attribute %q: %w", key, err))
			continue
		}
		out[key] = bytes.Clone(value[:n])
	}
	return out, failed
}

// preadFull reads as io.ReaderAt does.
func preadFull(fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(fd, p[done:], off+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		default:
			done += n
		}
	}
	return done, nil
}

// pseudo names the kernel's own filesystems by f_type (include/uapi/linux/magic.h).
var pseudo = map[int64]string{
	unix.PROC_SUPER_MAGIC:    "proc",
	unix.SYSFS_MAGIC:         "sysfs",
	unix.CGROUP_SUPER_MAGIC:  "cgroup",
	unix.CGROUP2_SUPER_MAGIC: "cgroup2",
	unix.DEVPTS_SUPER_MAGIC:  "devpts",
	unix.DEBUGFS_MAGIC:       "debugfs",
	unix.TRACEFS_MAGIC:       "tracefs",
	unix.SECURITYFS_MAGIC:    "securityfs",
	unix.SELINUX_MAGIC:       "selinuxfs",
	unix.BPF_FS_MAGIC:        "bpf",
	unix.PSTOREFS_MAGIC:      "pstore",
	unix.EFIVARFS_MAGIC:      "efivarfs",
	unix.BINFMTFS_MAGIC:      "binfmt_misc",
	unix.AUTOFS_SUPER_MAGIC:  "autofs",
	unix.NSFS_MAGIC:          "nsfs",
}

// mountKind reports whether a folder lies on another filesystem than the one
// it stands in, and names that if it is the kernel's own.
func mountKind(parent, fd int) (kind string, crossed bool) {
	a, err1 := statxAt(parent, "")
	b, err2 := statxAt(fd, "")
	if err1 != nil || err2 != nil || a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor {
		return "", false
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return "", true
	}
	return pseudo[int64(st.Type)], true
}

// seesTrusted reports whether the kernel shows trusted.* attributes: that takes
// CAP_SYS_ADMIN in the first user namespace (xattr_permission, fs/xattr.c), the
// one that maps all ids to themselves. Where /proc doesn't tell, the answer is no.
func seesTrusted() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295" {
		return false
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
