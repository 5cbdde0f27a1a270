//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// churn keeps a mounted filesystem busy. Errors of single calls don't matter:
// the names are picked blindly, and after the cut every call fails.
type churn struct {
	top   string
	seed  uint64
	ops   []func(*writer)
	names int // file names a folder
	long  int // and how long some are
	stop  atomic.Bool
	group sync.WaitGroup
}

// newChurn prepares writers that do ops; small makes do with few files.
func newChurn(top string, seed uint64, ops []func(*writer), small bool) *churn {
	c := &churn{top: top, seed: seed, ops: ops, names: 120, long: 40}
	if small {
		c.names = 20
	}
	return c
}

// prepare lays down the tree that is there before the last flush.
func (c *churn) prepare() {
	w := c.writer(0)
	for i := range folders {
		os.MkdirAll(w.folder(i), 0o755)
	}
	for range 5 * c.names {
		w.create()
	}
	for range 2 * c.names {
		w.step()
	}
	w.close()
}

// start sets n writers to work; wait returns when they have noticed that the filesystem is dead.
func (c *churn) start(n int) {
	for i := range n {
		c.group.Add(1)
		go func() {
			defer c.group.Done()
			w := c.writer(uint64(i) + 1)
			defer w.close()
			for !c.stop.Load() {
				w.step()
			}
		}()
	}
}

func (c *churn) wait() {
	c.stop.Store(true)
	c.group.Wait()
}

const folders = 6

type writer struct {
	id   uint64
	top  string
	ops  []func(*writer)
	n    int // names
	long int // and how long some are
	rng  *rand.Rand
	open []*os.File // deleted or not, held open
}

func (c *churn) writer(i uint64) *writer {
	return &writer{id: i, top: c.top, ops: c.ops, n: c.names, long: c.long, rng: rand.New(rand.NewPCG(c.seed, i))}
}

func (w *writer) close() {
	for _, f := range w.open {
		f.Close()
	}
	w.open = nil
}

func (w *writer) folder(i int) string {
	p := w.top
	for j := range i {
		p = filepath.Join(p, fmt.Sprintf("folder%d", j))
	}
	return filepath.Join(p, "d"+strings.Repeat("d", i))
}

func (w *writer) path() string {
	name := fmt.Sprintf("f%d", w.rng.IntN(w.n))
	if w.rng.IntN(8) == 0 {
		name += strings.Repeat("-long", w.rng.IntN(w.long))
	}
	return filepath.Join(w.folder(w.rng.IntN(folders)), name)
}

func (w *writer) bytes(n int) []byte {
	return bytes.Repeat([]byte{byte(w.rng.IntN(255) + 1)}, w.rng.IntN(n+1))
}

// plainOps are what all filesystems take, each as often as it stands here, and
// what a fast commit of ext4 can hold.
var plainOps = []func(*writer){
	(*writer).create, (*writer).create, (*writer).create, (*writer).create, (*writer).create,
	(*writer).overwrite, (*writer).overwrite, (*writer).grow, (*writer).truncate, (*writer).truncate, (*writer).mapped,
	(*writer).sparse, (*writer).allocate, (*writer).punch,
	(*writer).rename, (*writer).rename, (*writer).rename, (*writer).link, (*writer).link,
	(*writer).unlink, (*writer).unlink, (*writer).unlink,
	(*writer).mkdir, (*writer).mkdir, (*writer).rmdir,
	(*writer).attributes, (*writer).attributes,
	(*writer).fsync, (*writer).fsync, (*writer).fsync, (*writer).fsyncFolder, (*writer).release, (*writer).many,
}

// otherOps make a fast commit a full one (EXT4_FC_REASON_XATTR and others; to
// ext4_should_journal_data, whatever is no regular file is journalled data), or, the
// deleted and held open, one that the kernel then refuses to replay.
var otherOps = []func(*writer){
	(*writer).symlink, (*writer).mknod, (*writer).renameFolder, (*writer).renameFolder, (*writer).swap, (*writer).whiteout,
	(*writer).unlinkOpen, (*writer).unnamed, (*writer).shift,
	(*writer).setxattr, (*writer).setxattr, (*writer).setxattr, (*writer).largeXattr, (*writer).manyXattrs, (*writer).removexattr,
}

// sharingOps want a filesystem whose files can share blocks.
var sharingOps = []func(*writer){(*writer).reflink, (*writer).reflink, (*writer).copyFile, (*writer).exchangeRange}

// subvolumeOps are btrfs's own.
var subvolumeOps = []func(*writer){(*writer).subvolume, (*writer).snapshot, (*writer).removeSubvolume}

func (w *writer) step() {
	w.ops[w.rng.IntN(len(w.ops))](w)
	if w.rng.IntN(2000) == 0 {
		flush(w.top)
	}
}

func (w *writer) edit(flags int, fn func(*os.File)) {
	// A FIFO that nobody reads would hold the writer up.
	f, err := os.OpenFile(w.path(), flags|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return
	}
	fn(f)
	if w.rng.IntN(6) == 0 {
		f.Sync()
	}
	f.Close()
}

func (w *writer) create() {
	w.edit(os.O_CREATE|os.O_WRONLY|os.O_TRUNC, func(f *os.File) {
		size := []int{0, 60, 150, 2000, 9000, 60000}[w.rng.IntN(6)]
		f.Write(w.bytes(size))
	})
}

func (w *writer) overwrite() {
	w.edit(os.O_WRONLY, func(f *os.File) { f.WriteAt(w.bytes(9000), w.rng.Int64N(30000)) })
}

func (w *writer) grow() {
	w.edit(os.O_WRONLY|os.O_APPEND, func(f *os.File) { f.Write(w.bytes(20000)) })
}

func (w *writer) truncate() {
	w.edit(os.O_WRONLY, func(f *os.File) { f.Truncate(w.rng.Int64N(50000)) })
}

// sparse makes many extents, so that trees get levels.
func (w *writer) sparse() {
	w.edit(os.O_CREATE|os.O_WRONLY, func(f *os.File) {
		for i := range w.rng.Int64N(12) {
			f.WriteAt(w.bytes(3000), (i*2+w.rng.Int64N(2))*12288)
		}
	})
}

func (w *writer) allocate() {
	w.edit(os.O_CREATE|os.O_WRONLY, func(f *os.File) {
		unix.Fallocate(int(f.Fd()), uint32(w.rng.IntN(2)), w.rng.Int64N(20000), 1+w.rng.Int64N(60000))
	})
}

func (w *writer) punch() {
	w.edit(os.O_WRONLY, func(f *os.File) {
		mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
		if w.rng.IntN(3) == 0 {
			mode = unix.FALLOC_FL_ZERO_RANGE
		}
		unix.Fallocate(int(f.Fd()), mode, w.rng.Int64N(30000), 1+w.rng.Int64N(20000))
	})
}

// shift takes a piece out of a file, or puts a hole between.
func (w *writer) shift() {
	w.edit(os.O_WRONLY, func(f *os.File) {
		mode := uint32(unix.FALLOC_FL_COLLAPSE_RANGE)
		if w.rng.IntN(2) == 0 {
			mode = unix.FALLOC_FL_INSERT_RANGE
		}
		unix.Fallocate(int(f.Fd()), mode, w.rng.Int64N(4)*4096, (1+w.rng.Int64N(3))*4096)
	})
}

// mapped writes through memory, over holes or not.
func (w *writer) mapped() {
	w.edit(os.O_RDWR, func(f *os.File) {
		st, err := f.Stat()
		if err != nil || st.Size() == 0 || !st.Mode().IsRegular() {
			return
		}
		m, err := unix.Mmap(int(f.Fd()), 0, int(min(st.Size(), 100_000)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return
		}
		defer unix.Munmap(m)
		// Another writer may cut the file off below the mapping, and a dead
		// filesystem gives no pages: both are faults, which end the writing.
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() { recover() }()
		at := w.rng.IntN(len(m))
		copy(m[at:], w.bytes(9000))
		if w.rng.IntN(2) == 0 {
			unix.Msync(m, unix.MS_SYNC)
		}
	})
}

func (w *writer) rename()  { os.Rename(w.path(), w.path()) }
func (w *writer) link()    { os.Link(w.path(), w.path()) }
func (w *writer) unlink()  { os.Remove(w.path()) }
func (w *writer) symlink() { os.Symlink("/"+strings.Repeat("t", w.rng.IntN(200)), w.path()) }

// unlinkOpen deletes a file and holds it open: it is an orphan at the crash.
func (w *writer) unlinkOpen() {
	p := w.path()
	if f, err := os.OpenFile(p, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
		f.Write(w.bytes(5000))
		os.Remove(p)
		w.hold(f)
	}
}

// unnamed makes a file without a name, which sometimes gets one.
func (w *writer) unnamed() {
	p := w.path()
	fd, err := unix.Open(filepath.Dir(p), unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), p)
	f.Write(w.bytes(9000))
	if w.rng.IntN(2) == 0 {
		unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, p, unix.AT_SYMLINK_FOLLOW)
	}
	w.hold(f)
}

func (w *writer) hold(f *os.File) {
	w.open = append(w.open, f)
	if len(w.open) > 20 {
		w.release()
	}
}

func (w *writer) release() {
	if len(w.open) > 0 {
		w.open[0].Close()
		w.open = w.open[1:]
	}
}

func (w *writer) mkdir() {
	p := w.path() + ".d"
	os.Mkdir(p, 0o755)
	for i := range w.rng.IntN(4) {
		os.WriteFile(filepath.Join(p, fmt.Sprintf("in%d", i)), w.bytes(300), 0o600)
	}
}

func (w *writer) rmdir() {
	p := w.path() + ".d"
	if w.rng.IntN(2) == 0 {
		os.RemoveAll(p)
	} else {
		os.Remove(p)
	}
}

// swap exchanges two names, of files or folders.
func (w *writer) swap() {
	from, to := w.path(), w.path()
	if w.rng.IntN(3) == 0 {
		to += ".d"
	}
	unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
}

// whiteout renames as overlayfs does, leaving the mark of a deletion behind.
func (w *writer) whiteout() {
	unix.Renameat2(unix.AT_FDCWD, w.path(), unix.AT_FDCWD, w.path(), unix.RENAME_WHITEOUT)
}

func (w *writer) renameFolder() { os.Rename(w.path()+".d", w.path()+".d") }

// mknod makes devices, too; the mount is nodev, so that no writer reaches one.
func (w *writer) mknod() {
	kinds := []uint32{unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFSOCK}
	unix.Mknod(w.path(), kinds[w.rng.IntN(4)]|0o600, int(unix.Mkdev(uint32(w.rng.IntN(300)), uint32(w.rng.IntN(70000)))))
}

func (w *writer) attributes() {
	p := w.path()
	os.Chmod(p, os.FileMode(w.rng.IntN(0o777)))
	os.Lchown(p, w.rng.IntN(200000), w.rng.IntN(200000))
	if w.rng.IntN(2) == 0 {
		t := unix.NsecToTimespec(w.rng.Int64N(4e18) - 1e18)
		unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
	}
}

func (w *writer) setxattr() {
	name := fmt.Sprintf("user.k%d", w.rng.IntN(5))
	if w.rng.IntN(3) == 0 {
		name = "trusted.overlay.opaque"
	}
	size := []int{1, 30, 500, 3000}[w.rng.IntN(4)]
	unix.Lsetxattr(w.path(), name, w.bytes(size), 0)
}

// largeXattr sets one that needs blocks of its own.
func (w *writer) largeXattr() {
	unix.Lsetxattr(w.path(), fmt.Sprintf("user.k%d", w.rng.IntN(5)), w.bytes(60000), 0)
}

// manyXattrs fills an attribute fork until it is a tree.
func (w *writer) manyXattrs() {
	p := w.path()
	for i := range w.rng.IntN(60) {
		unix.Lsetxattr(p, fmt.Sprintf("user.number-%d", i), w.bytes(200), 0)
	}
}

func (w *writer) removexattr() {
	unix.Lremovexattr(w.path(), fmt.Sprintf("user.k%d", w.rng.IntN(5)))
}

func (w *writer) fsync() {
	w.edit(os.O_RDWR, func(f *os.File) { f.Sync() })
}

func (w *writer) fsyncFolder() {
	if f, err := os.Open(w.folder(w.rng.IntN(folders))); err == nil {
		f.Sync()
		f.Close()
	}
}

// many fills a folder until it has an index, or empties it.
func (w *writer) many() {
	if w.rng.IntN(6) > 0 {
		return
	}
	dir := filepath.Join(w.top, fmt.Sprintf("many%d", w.rng.IntN(2)))
	os.Mkdir(dir, 0o755)
	remove := w.rng.IntN(3) == 0
	for i := range w.rng.IntN(150) {
		p := filepath.Join(dir, fmt.Sprintf("entry-with-a-rather-long-name-%d", i*7%400))
		if remove {
			os.Remove(p)
		} else if f, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
			f.Close()
		}
	}
}
