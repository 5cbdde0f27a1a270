package mount

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// filesystem answers the kernel.
type filesystem struct {
	fuse.RawFileSystem // ENOSYS for all that a read-only filesystem never sees

	o       Options
	folders folders
	trees   []func() (View, error) // each opened once
	table   *table
	began   time.Time // of the folders above the trees

	mu      sync.Mutex
	handles map[uint64]any // of open files and directories: *io.SectionReader, *listing
	last    uint64
}

func newFilesystem(trees []Tree, o Options) (*filesystem, error) {
	root := key{tree: folder}
	if len(trees) == 1 && len(trees[0].Path) == 0 {
		root = key{tree: 0}
	}
	laid, err := newFolders(trees)
	if err != nil {
		return nil, err
	}
	f := &filesystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), o: o, folders: laid,
		began: time.Now(), handles: make(map[uint64]any),
	}
	for _, t := range trees {
		f.trees = append(f.trees, sync.OnceValues(func() (v View, err error) {
			defer func() {
				if r := recover(); r != nil { // told by Guard; later calls find the error
					err = fmt.Errorf("internal error: %v", r)
				}
			}()
			return t.Open()
		}))
	}
	if root.tree == 0 {
		v, err := f.trees[0]()
		if err != nil {
			return nil, err
		}
		root.ino = v.FS.Root()
	}
	f.table = newTable(root)
	return f, nil
}

// String implements fuse.RawFileSystem.
func (f *filesystem) String() string { return "lagan" }

// do runs what reads an entry, or a name in it, and returns what the kernel is
// told of its error. A name that isn't there, or an attribute, is no gap.
func (f *filesystem) do(id uint64, name string, read func(*entry) error) fuse.Status {
	e := f.table.get(id)
	if e == nil {
		return fuse.ENOENT
	}
	status := fuse.EIO // unless read returns
	f.o.Guard(func() string { return f.table.path(e, name) }, func() error {
		err := read(e)
		var known answer
		switch {
		case err == nil:
			status = fuse.OK
		case errors.As(err, &known):
			status, err = fuse.Status(known), nil
		case errors.Is(err, fs.ErrNotExist):
			status, err = fuse.ENOENT, nil
		}
		return err
	})
	return status
}

// answer is an error of the call, and no gap of the evidence.
type answer fuse.Status

func (a answer) Error() string { return fuse.Status(a).String() }

// view returns the tree of an entry, with the root's handle in place.
func (f *filesystem) view(k key) (View, evidence.Ino, error) {
	v, err := f.trees[k.tree]()
	return v, k.ino, err
}

// stat returns what is known of an inode.
func (f *filesystem) stat(k key) (evidence.Info, error) {
	if k.tree == folder {
		return evidence.Info{Type: evidence.TypeDir, Perm: 0o555, Nlink: 2, Mtime: f.began, Ctime: f.began, Atime: f.began}, nil
	}
	v, ino, err := f.view(k)
	if err != nil {
		return evidence.Info{}, err
	}
	info, err := v.FS.Stat(ino)
	switch {
	case err != nil:
		return info, err
	case info.Type == evidence.TypeUnknown:
		return info, fmt.Errorf("inode %d is of no known type: %w", info.Inode, evidence.ErrCorrupt)
	case info.Size < 0:
		return info, fmt.Errorf("inode %d: size %#x: %w", info.Inode, uint64(info.Size), evidence.ErrCorrupt)
	}
	return info, nil
}

// folderNumbers is where the inode numbers of the folders above trees begin: no
// filesystem has inodes there.
const folderNumbers = 0xffff_ffff_0000_0000

// number returns the inode number that is shown.
func (f *filesystem) number(k key) uint64 {
	if k.tree == folder {
		return folderNumbers + uint64(k.ino)
	}
	v, ino, err := f.view(k)
	if err != nil {
		return fuse.FUSE_UNKNOWN_INO
	}
	if v.Number == nil {
		return uint64(ino)
	}
	return v.Number(ino)
}

// lookup finds a name in a directory.
func (f *filesystem) lookup(dir *entry, name string) (key, error) {
	if dir.tree == folder {
		k, ok := f.folders[dir.ino].inside[name]
		if !ok {
			return k, fs.ErrNotExist
		}
		return f.rooted(k)
	}
	v, ino, err := f.view(dir.key)
	if err != nil {
		return key{}, err
	}
	found, err := evidence.Lookup(v.FS, ino, name)
	return key{tree: dir.tree, ino: found.Ino}, err
}

// rooted completes the key of a tree's root, which is known once it is open.
func (f *filesystem) rooted(k key) (key, error) {
	if k.tree == folder {
		return k, nil
	}
	v, err := f.trees[k.tree]()
	if err == nil {
		k.ino = v.FS.Root()
	}
	return k, err
}

// learn tells the kernel of an inode, which it will keep until it forgets it.
func (f *filesystem) learn(out *fuse.EntryOut, k key, info *evidence.Info, dir *entry, name string) {
	if info.Type == evidence.TypeDir {
		k.parent = dir.id
	}
	out.NodeId = f.table.found(k, dir.id, name)
	out.Generation = 1
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	f.attributes(&out.Attr, k, info)
}

func (f *filesystem) attributes(a *fuse.Attr, k key, info *evidence.Info) {
	a.Ino = f.number(k)
	a.Size, a.Blocks = uint64(info.Size), blocks(info.Size)
	a.Mode, a.Nlink, a.Rdev = mode(info), info.Nlink, rdev(info)
	a.Uid, a.Gid = info.UID, info.GID
	a.Blksize = blockSize
	a.Mtime, a.Mtimensec = seconds(info.Mtime)
	a.Atime, a.Atimensec = seconds(info.Atime)
	a.Ctime, a.Ctimensec = seconds(info.Ctime)
}

// blockSize is what st_blksize and statfs(2) say.
const blockSize = 4096

// blocks returns st_blocks, in units of 512 bytes: the evidence's own count is not known here.
func blocks(size int64) uint64 { return (uint64(size) + 511) / 512 }

var modeOf = map[evidence.Type]uint32{
	evidence.TypeFile: unix.S_IFREG, evidence.TypeDir: unix.S_IFDIR, evidence.TypeSymlink: unix.S_IFLNK, evidence.TypeChar: unix.S_IFCHR,
	evidence.TypeBlock: unix.S_IFBLK, evidence.TypeFIFO: unix.S_IFIFO, evidence.TypeSocket: unix.S_IFSOCK,
}

func mode(info *evidence.Info) uint32 { return modeOf[info.Type] | uint32(info.Perm)&0o7777 }

// rdev encodes a device's numbers as new_encode_dev of include/linux/kdev_t.h.
func rdev(info *evidence.Info) uint32 {
	if info.Type != evidence.TypeChar && info.Type != evidence.TypeBlock {
		return 0
	}
	return info.Minor&0xff | info.Major<<8 | (info.Minor&^0xff)<<12
}

func seconds(t time.Time) (uint64, uint32) {
	if t.IsZero() {
		return 0, 0
	}
	return uint64(t.Unix()), uint32(t.Nanosecond())
}

// open keeps what an open file or directory needs.
func (f *filesystem) open(v any) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.handles[f.last] = v
	return f.last
}

func (f *filesystem) handle(fh uint64) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.handles[fh]
}

func (f *filesystem) close(fh uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.handles, fh)
}

// read fills b from a file, and nothing less: the kernel takes a short answer
// for the end of the file.
func read(r *io.SectionReader, b []byte, off int64) (int, error) {
	if off < 0 || off >= r.Size() {
		return 0, nil
	}
	b = b[:min(int64(len(b)), r.Size()-off)]
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return n, nil
	case err == nil || err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return 0, fmt.Errorf("reading %d bytes at offset %#x: %w", len(b), off, err)
}
