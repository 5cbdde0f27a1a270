package hostdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"lagan/evidence"
)

// portable is the tree below a folder by what Go offers on every system.
type portable struct {
	names *nameTable
	top   *os.Root
}

// openPortable opens the folder at path.
func openPortable(path string, o evidence.Options) (*portable, error) {
	top, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	o.Warning(fmt.Errorf("folder %q: only names, types, permissions, sizes and times of change are read on this system: "+
		"give the device or image instead of the folder, or use Linux: %w", path, evidence.ErrUnsupported))
	return &portable{newNames(), top}, nil
}

// Close closes the folder.
func (f *portable) Close() error { return f.top.Close() }

// Root returns the handle of the folder.
func (f *portable) Root() evidence.Ino { return root }

// Boundaries returns nothing: what is mounted isn't known.
func (f *portable) Boundaries() []string { return nil }

// Describe says that this is a folder.
func (f *portable) Describe() evidence.Description {
	return evidence.Description{Type: "directory", Journal: evidence.Journal{State: evidence.JournalNone}}
}

// local returns a handle's path as this system writes it.
func (f *portable) local(ino evidence.Ino) (string, error) {
	if ino != root {
		if _, err := f.names.node(ino); err != nil {
			return "", err
		}
	}
	// Not Localize, which takes UTF-8 alone: os.Root refuses what leads out.
	return filepath.FromSlash(f.names.path(ino)), nil
}

func (f *portable) lstat(ino evidence.Ino) (string, fs.FileInfo, error) {
	p, err := f.local(ino)
	if err != nil {
		return "", nil, err
	}
	fi, err := f.top.Lstat(p)
	return p, fi, err
}

// Stat returns what lstat says as far as Go has it in common for all systems.
func (f *portable) Stat(ino evidence.Ino) (evidence.Info, error) {
	_, fi, err := f.lstat(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	return evidence.Info{Type: typeOf(fi.Mode()), Perm: permOf(fi.Mode()), Nlink: 1, Size: fi.Size(), Mtime: fi.ModTime().UTC()}, nil
}

func typeOf(m fs.FileMode) evidence.Type {
	switch m.Type() {
	case 0:
		return evidence.TypeFile
	case fs.ModeDir:
		return evidence.TypeDir
	case fs.ModeSymlink:
		return evidence.TypeSymlink
	case fs.ModeDevice:
		return evidence.TypeBlock
	case fs.ModeDevice | fs.ModeCharDevice:
		return evidence.TypeChar
	case fs.ModeNamedPipe:
		return evidence.TypeFIFO
	case fs.ModeSocket:
		return evidence.TypeSocket
	}
	return evidence.TypeUnknown
}

func permOf(m fs.FileMode) uint16 {
	p := uint16(m.Perm())
	for bit, unix := range map[fs.FileMode]uint16{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			p |= unix
		}
	}
	return p
}

// Lookup returns the entry called name, or fs.ErrNotExist.
func (f *portable) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	if !validName(name) {
		return evidence.Entry{}, fs.ErrNotExist
	}
	ino := f.names.handle(dir, name)
	_, fi, err := f.lstat(ino)
	if errors.Is(err, fs.ErrNotExist) {
		return evidence.Entry{}, fs.ErrNotExist
	}
	if err != nil {
		return evidence.Entry{}, err
	}
	return evidence.Entry{Name: name, Ino: ino, Type: typeOf(fi.Mode())}, nil
}

// ReadDir yields the entries in the order of the system.
func (f *portable) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		p, fi, err := f.lstat(dir)
		if err == nil && !fi.IsDir() {
			err = &fs.PathError{Op: "readdir", Path: p, Err: errors.New("not a directory")}
		}
		var d *os.File
		if err == nil {
			d, err = f.top.Open(p)
		}
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		defer d.Close()
		for {
			entries, err := d.ReadDir(1024)
			for _, e := range entries {
				if !yield(evidence.Entry{Name: e.Name(), Ino: f.names.handle(dir, e.Name()), Type: typeOf(e.Type())}, nil) {
					return
				}
			}
			if err != nil {
				if err != io.EOF {
					yield(evidence.Entry{}, err)
				}
				return
			}
		}
	}
}

// ReadLink returns the target of a symbolic link.
func (f *portable) ReadLink(ino evidence.Ino) (string, error) {
	p, err := f.local(ino)
	if err != nil {
		return "", err
	}
	return f.top.Readlink(p)
}

// Xattrs returns none: systems differ in what they keep of another's.
func (f *portable) Xattrs(evidence.Ino) (map[string][]byte, error) {
	return map[string][]byte{}, nil
}

// Open returns a reader of a regular file, which is opened for each read.
func (f *portable) Open(ino evidence.Ino) (*io.SectionReader, error) {
	p, fi, err := f.lstat(ino)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: p, Err: fmt.Errorf("a %v, not a regular file", typeOf(fi.Mode()))}
	}
	return io.NewSectionReader(&portableFile{f, ino}, 0, fi.Size()), nil
}

type portableFile struct {
	fs  *portable
	ino evidence.Ino
}

func (r *portableFile) ReadAt(b []byte, off int64) (int, error) {
	p, fi, err := r.fs.lstat(r.ino)
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: p, Err: errors.New("no longer a regular file")}
	}
	if err != nil {
		return 0, err
	}
	file, err := r.fs.top.Open(p)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.ReadAt(b, off)
}

var (
	_ evidence.FS        = (*portable)(nil)
	_ evidence.Lookuper  = (*portable)(nil)
	_ evidence.Describer = (*portable)(nil)
)
