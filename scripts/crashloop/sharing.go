//go:build linux

package main

import (
	"encoding/binary"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// pair opens two files of the writer's picking.
func (w *writer) pair(fn func(from, to *os.File)) {
	from, err := os.OpenFile(w.path(), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer from.Close()
	to, err := os.OpenFile(w.path(), os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return
	}
	defer to.Close()
	fn(from, to)
	if w.rng.IntN(3) == 0 {
		to.Sync()
	}
}

// reflink lets a part of one file share the blocks of another.
func (w *writer) reflink() {
	w.pair(func(from, to *os.File) {
		unix.IoctlFileCloneRange(int(to.Fd()), &unix.FileCloneRange{
			Src_fd: int64(from.Fd()), Src_offset: uint64(w.rng.IntN(4)) * 4096, Src_length: uint64(w.rng.IntN(4)) * 4096,
			Dest_offset: uint64(w.rng.IntN(4)) * 4096,
		})
	})
}

// copyFile clones a whole file and then writes to one of the two.
func (w *writer) copyFile() {
	w.pair(func(from, to *os.File) {
		if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
			to.WriteAt(w.bytes(9000), w.rng.Int64N(20000))
		}
	})
}

// ioctl hands a structure's bytes to the kernel.
func ioctl(f *os.File, request uint, b []byte) error {
	return unix.IoctlSetString(int(f.Fd()), request, string(b))
}

// exchangeRange swaps the blocks of two files (XFS_IOC_EXCHANGE_RANGE, fs/xfs/libxfs/xfs_fs.h).
func (w *writer) exchangeRange() {
	const request, toEOF = 0x40285881, 1
	w.pair(func(from, to *os.File) {
		le := binary.LittleEndian
		b := le.AppendUint64(nil, uint64(from.Fd()))
		if w.rng.IntN(2) == 0 {
			at := uint64(w.rng.IntN(3)) * 4096
			b = le.AppendUint64(le.AppendUint64(le.AppendUint64(le.AppendUint64(b, at), at), 4096), 0)
		} else {
			b = le.AppendUint64(append(b, make([]byte, 24)...), toEOF)
		}
		ioctl(to, request, b)
	})
}

// Requests of include/uapi/linux/btrfs.h that take a struct btrfs_ioctl_vol_args.
const (
	ioctlSnapCreate   = 0x50009401
	ioctlSubvolCreate = 0x5000940e
	ioctlSnapDestroy  = 0x5000940f
)

// volume asks something of a subvolume's name in a folder.
func (w *writer) volume(request uint, source *os.File) {
	p := w.path() + ".sub"
	dir, err := os.Open(filepath.Dir(p))
	if err != nil {
		return
	}
	defer dir.Close()
	args := make([]byte, 4096)
	if source != nil {
		binary.LittleEndian.PutUint64(args, uint64(source.Fd()))
	}
	copy(args[8:4095], filepath.Base(p))
	if ioctl(dir, request, args) == nil && request == ioctlSubvolCreate {
		os.WriteFile(filepath.Join(p, "in"), w.bytes(9000), 0o600)
	}
}

func (w *writer) subvolume()       { w.volume(ioctlSubvolCreate, nil) }
func (w *writer) removeSubvolume() { w.volume(ioctlSnapDestroy, nil) }

// snapshot copies a subvolume, or the top of all.
func (w *writer) snapshot() {
	from := w.path() + ".sub"
	if w.rng.IntN(4) == 0 {
		from = w.top
	}
	if f, err := os.Open(from); err == nil {
		w.volume(ioctlSnapCreate, f)
		f.Close()
	}
}
