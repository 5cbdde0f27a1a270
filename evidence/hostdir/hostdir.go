//go:build linux

package hostdir

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// The number of folders and files that are open at a time; 1024 is the usual limit of a process.
const (
	openDirs  = 128
	openFiles = 64
)

// FS is the tree below a folder. It has to be closed.
type FS struct {
	top   int // descriptor of the folder
	opts  evidence.Options
	names *nameTable

	mu         sync.Mutex
	boundaries map[evidence.Ino]string // mount points below the folder: path

	dirs, files fdCache
}

// Open opens the folder at path, links in path itself being followed.
func Open(path string, o evidence.Options) (*FS, error) {
	fd, err := openRetry(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := &FS{
		top:        fd,
		opts:       o,
		names:      newNames(),
		boundaries: map[evidence.Ino]string{},
		dirs:       newCache(openDirs),
		files:      newCache(openFiles),
	}
	if !seesTrusted() {
		o.Warning(fmt.Errorf("folder %q: without CAP_SYS_ADMIN the kernel hides trusted.* attributes: what a container deleted or replaced as a whole folder may show as if it were there; "+
			"run as root, or give the device or image instead of the folder: %w", path, evidence.ErrUnsupported))
	}
	return f, nil
}

// Close closes all descriptors. Readers of files fail from then on.
func (f *FS) Close() error {
	f.dirs.close()
	f.files.close()
	return unix.Close(f.top)
}

// Root returns the handle of the folder.
func (f *FS) Root() evidence.Ino { return root }

// Describe says that this is a folder, which has neither label nor journal of its own.
func (f *FS) Describe() evidence.Description {
	return evidence.Description{Type: "directory", Journal: evidence.Journal{State: evidence.JournalNone}}
}

// SeesTrusted says whether trusted.* attributes are among those that Xattrs gives.
func (f *FS) SeesTrusted() bool { return seesTrusted() }

// Boundaries returns the paths, below the folder, of the folders that were met
// and lie on another filesystem than the one above them, in order.
func (f *FS) Boundaries() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, p := range f.boundaries {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// Stat returns what statx(2) says, links not followed.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	st, err := f.statx(ino)
	if err != nil {
		return evidence.Info{}, f.fail("stat", ino, err)
	}
	return infoOf(st), nil
}

// Lookup returns the entry called name, or fs.ErrNotExist.
func (f *FS) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	if !validName(name) {
		return evidence.Entry{}, fs.ErrNotExist
	}
	fd, done, err := f.dir(dir)
	if err != nil {
		return evidence.Entry{}, f.fail("open", dir, err)
	}
	defer done()
	st, err := statxAt(fd, name)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENAMETOOLONG):
		return evidence.Entry{}, fs.ErrNotExist
	case err != nil:
		return evidence.Entry{}, f.fail("stat", dir, err)
	}
	ino, typ := f.names.handle(dir, name), evidence.TypeOfMode(st.Mode)
	if typ != evidence.TypeDir && st.Nlink > 1 {
		ino = f.shared(inode{st.Dev_major, st.Dev_minor, st.Ino}, ino)
	}
	return evidence.Entry{Name: name, Ino: ino, Type: typ}, nil
}

// shared returns the handle that the other names of an inode have, so that hard
// links show as one inode. The number alone may be that of another file, as on
// an overlay of several filesystems: what the kernel says of both is compared.
func (f *FS) shared(i inode, ino evidence.Ino) evidence.Ino {
	first := f.names.other(i, ino)
	if first == ino {
		return ino
	}
	a, err1 := f.statx(first)
	b, err2 := f.statx(ino)
	if err1 != nil || err2 != nil || b.Nlink < 2 || a.Ino != b.Ino || a.Dev_major != b.Dev_major || a.Dev_minor != b.Dev_minor ||
		a.Mode != b.Mode || a.Size != b.Size || a.Mtime != b.Mtime || a.Ctime != b.Ctime {
		return ino
	}
	return first
}

// ReadDir yields the entries in the order in which the kernel gives them.
func (f *FS) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		fd, err := f.list(dir)
		if err != nil {
			yield(evidence.Entry{}, f.fail("readdir", dir, err))
			return
		}
		if fd < 0 {
			return
		}
		defer unix.Close(fd)
		at, err := statxAt(fd, "")
		if err != nil {
			yield(evidence.Entry{}, f.fail("readdir", dir, err))
			return
		}
		buf := make([]byte, 64<<10)
		for {
			n, err := readDirent(fd, buf)
			if err != nil {
				yield(evidence.Entry{}, f.fail("readdir", dir, err))
				return
			}
			if n == 0 {
				return
			}
			for d := range dirents(buf[:n]) {
				if !validName(d.name) {
					continue // . and ..
				}
				ino := f.names.handle(dir, d.name)
				if d.typ != evidence.TypeDir && d.typ != evidence.TypeUnknown {
					ino = f.shared(inode{at.Dev_major, at.Dev_minor, d.ino}, ino)
				}
				if !yield(evidence.Entry{Name: d.name, Ino: ino, Type: d.typ}, nil) {
					return
				}
			}
		}
	}
}

// ReadLink returns the target of a symbolic link.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	fd, name, done, err := f.place(ino)
	if err != nil {
		return "", f.fail("readlink", ino, err)
	}
	defer done()
	target, err := readlinkAt(fd, name)
	if err != nil {
		return "", f.fail("readlink", ino, err)
	}
	return target, nil
}

// Xattrs returns the extended attributes that the kernel lets this process see.
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	fd, name, done, err := f.place(ino)
	if err != nil {
		return nil, f.fail("listxattr", ino, err)
	}
	defer done()
	out, err := xattrsAt(fd, name)
	if err != nil {
		err = f.fail("getxattr", ino, err)
	}
	return out, err
}

// Open returns a reader of a regular file as long as it is now. The file is
// opened when it is read, and closed again when others need the descriptor.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	st, err := f.statx(ino)
	if err != nil {
		return nil, f.fail("open", ino, err)
	}
	if t := evidence.TypeOfMode(st.Mode); t != evidence.TypeFile {
		return nil, f.fail("open", ino, fmt.Errorf("a %v, not a regular file", t))
	}
	size := int64(min(st.Size, 1<<63-1))
	return io.NewSectionReader(&reader{f, ino}, 0, size), nil
}

// reader reads one file.
type reader struct {
	fs  *FS
	ino evidence.Ino
}

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	fd, done, err := r.fs.files.get(r.ino, func() (int, error) { return r.fs.openFile(r.ino) })
	if err != nil {
		return 0, r.fs.fail("open", r.ino, err)
	}
	defer done()
	n, err := preadFull(fd, p, off)
	if err != nil && err != io.EOF {
		err = r.fs.fail("read", r.ino, err)
	}
	return n, err
}

// openFile opens a file that was regular when it was last looked at. O_NONBLOCK
// keeps a pipe that took its place meanwhile from blocking.
func (f *FS) openFile(ino evidence.Ino) (int, error) {
	dir, name, done, err := f.place(ino)
	if err != nil {
		return 0, err
	}
	defer done()
	st, err := statxAt(dir, name)
	if err != nil {
		return 0, err
	}
	if evidence.TypeOfMode(st.Mode) != evidence.TypeFile {
		return 0, errors.New("no longer a regular file")
	}
	fd, err := openRetry(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return 0, err
	}
	if opened, err := statxAt(fd, ""); err != nil || opened.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return 0, cmp.Or(err, errors.New("no longer a regular file"))
	}
	return fd, nil
}

// place returns the descriptor of the folder that a handle's name stands in, to
// be given back with done; for the root, its own descriptor and no name.
func (f *FS) place(ino evidence.Ino) (fd int, name string, done func(), err error) {
	if ino == root {
		return f.top, "", func() {}, nil
	}
	n, err := f.names.node(ino)
	if err != nil {
		return 0, "", nil, err
	}
	fd, done, err = f.dir(n.parent)
	return fd, n.name, done, err
}

func (f *FS) statx(ino evidence.Ino) (*unix.Statx_t, error) {
	fd, name, done, err := f.place(ino)
	if err != nil {
		return nil, err
	}
	defer done()
	return statxAt(fd, name)
}

// dir returns a descriptor (O_PATH) of a folder, to be given back with done. It
// goes down from the nearest folder above that is open, one name at a time.
func (f *FS) dir(ino evidence.Ino) (fd int, done func(), err error) {
	var below []evidence.Ino
	fd, done = f.top, func() {}
	for at := ino; at != root; {
		if open, release, ok := f.dirs.cached(at); ok {
			fd, done = open, release
			break
		}
		if len(below) == maxDepth {
			return 0, nil, unix.ENAMETOOLONG
		}
		below = append(below, at)
		n, err := f.names.node(at)
		if err != nil {
			return 0, nil, err
		}
		at = n.parent
	}
	for _, at := range slices.Backward(below) {
		n, err := f.names.node(at)
		if err != nil {
			done()
			return 0, nil, err
		}
		next, nextDone, err := f.dirs.get(at, func() (int, error) {
			return openRetry(fd, n.name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		})
		done()
		if err != nil {
			return 0, nil, err
		}
		fd, done = next, nextDone
	}
	return fd, done, nil
}

// list opens a folder to be listed, or returns -1 for one that belongs to the
// kernel and holds no evidence.
func (f *FS) list(ino evidence.Ino) (int, error) {
	dir, name, done, err := f.place(ino)
	if err != nil {
		return -1, err
	}
	defer done()
	if name == "" {
		name = "."
	}
	fd, err := openRetry(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	kind, crossed := mountKind(dir, fd)
	if !crossed {
		return fd, nil
	}
	if f.note(ino) && kind != "" {
		f.opts.Warning(f.fail("readdir", ino, fmt.Errorf("a mounted %s of this machine, not of the evidence, is left out: %w", kind, evidence.ErrUnsupported)))
	}
	if kind != "" {
		unix.Close(fd)
		return -1, nil
	}
	return fd, nil
}

// note records a mount point and reports whether it is a new one.
func (f *FS) note(ino evidence.Ino) bool {
	p := f.names.path(ino)
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.boundaries[ino]
	f.boundaries[ino] = p
	return !known
}

func (f *FS) fail(op string, ino evidence.Ino, err error) error {
	return &fs.PathError{Op: op, Path: f.names.path(ino), Err: err}
}

var (
	_ evidence.FS        = (*FS)(nil)
	_ evidence.Lookuper  = (*FS)(nil)
	_ evidence.Describer = (*FS)(nil)
)
