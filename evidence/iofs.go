package evidence

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"
	"unicode/utf8"
)

// IOFS returns the tree as an io/fs.FS, for code that takes one. It follows
// symbolic links inside the tree, as Resolve does. Names that io/fs doesn't
// allow, such as those that are not UTF-8, are left out of its directories:
// where every name matters, use fsys itself. FileInfo.Sys returns the Info.
func IOFS(fsys FS) fs.FS { return ioFS{fsys} }

type ioFS struct{ fsys FS }

var (
	_ fs.StatFS     = ioFS{}
	_ fs.ReadLinkFS = ioFS{}
	_ fs.ReadDirFS  = ioFS{}
)

// resolve finds the inode of a path of io/fs.
func (f ioFS) resolve(op, name string, follow bool) (Ino, Info, error) {
	if !fs.ValidPath(name) {
		return 0, Info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	ino, err := Resolve(f.fsys, f.fsys.Root(), name, follow)
	var info Info
	if err == nil {
		info, err = f.fsys.Stat(ino)
	}
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return 0, Info{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return ino, info, nil
}

func (f ioFS) Open(name string) (fs.File, error) {
	ino, info, err := f.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	file := ioFile{ioInfo: ioInfo{base(name), info}}
	switch info.Type {
	case TypeDir:
		return &ioDir{ioFile: file, fsys: f.fsys, ino: ino}, nil
	case TypeFile:
		r, err := f.fsys.Open(ino)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &ioRegular{ioFile: file, SectionReader: r}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("is a " + info.Type.String())}
}

func (f ioFS) Stat(name string) (fs.FileInfo, error) {
	_, info, err := f.resolve("stat", name, true)
	if err != nil {
		return nil, err
	}
	return ioInfo{base(name), info}, nil
}

func (f ioFS) Lstat(name string) (fs.FileInfo, error) {
	_, info, err := f.resolve("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return ioInfo{base(name), info}, nil
}

func (f ioFS) ReadLink(name string) (string, error) {
	ino, info, err := f.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	if info.Type != TypeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return f.fsys.ReadLink(ino)
}

func (f ioFS) ReadDir(name string) ([]fs.DirEntry, error) {
	ino, info, err := f.resolve("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if info.Type != TypeDir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return entries(f.fsys, ino)
}

// entries returns what io/fs can name of a directory, by name.
func entries(fsys FS, dir Ino) ([]fs.DirEntry, error) {
	list, err := List(fsys, dir)
	out := make([]fs.DirEntry, 0, len(list))
	for _, e := range list {
		if !utf8.ValidString(e.Name) {
			continue
		}
		info, statErr := fsys.Stat(e.Ino)
		if statErr != nil {
			err = cmp.Or(err, statErr)
			continue
		}
		out = append(out, fs.FileInfoToDirEntry(ioInfo{e.Name, info}))
	}
	return out, err
}

func base(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}

// ioInfo is an Info as an fs.FileInfo.
type ioInfo struct {
	name string
	info Info
}

func (i ioInfo) Name() string       { return i.name }
func (i ioInfo) Size() int64        { return i.info.Size }
func (i ioInfo) ModTime() time.Time { return i.info.Mtime }
func (i ioInfo) IsDir() bool        { return i.info.Type == TypeDir }
func (i ioInfo) Sys() any           { return i.info }

var ioModes = map[Type]fs.FileMode{
	TypeDir: fs.ModeDir, TypeSymlink: fs.ModeSymlink, TypeChar: fs.ModeDevice | fs.ModeCharDevice, TypeBlock: fs.ModeDevice,
	TypeFIFO: fs.ModeNamedPipe, TypeSocket: fs.ModeSocket, TypeUnknown: fs.ModeIrregular,
}

func (i ioInfo) Mode() fs.FileMode {
	m := fs.FileMode(i.info.Perm&0o777) | ioModes[i.info.Type]
	for _, b := range [...]struct {
		bit  uint16
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if i.info.Perm&b.bit != 0 {
			m |= b.mode
		}
	}
	return m
}

type ioFile struct{ ioInfo ioInfo }

func (f ioFile) Stat() (fs.FileInfo, error) { return f.ioInfo, nil }
func (f ioFile) Close() error               { return nil }

type ioRegular struct {
	ioFile
	*io.SectionReader
}

type ioDir struct {
	ioFile
	fsys FS
	ino  Ino
	rest []fs.DirEntry
	read bool
}

func (d *ioDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.ioInfo.name, Err: errors.New("is a directory")}
}

func (d *ioDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		var err error
		if d.rest, err = entries(d.fsys, d.ino); err != nil {
			return d.rest, err
		}
		d.read = true
	}
	if n <= 0 {
		out := d.rest
		d.rest = nil
		return out, nil
	}
	if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	out := slices.Clone(d.rest[:n])
	d.rest = d.rest[n:]
	return out, nil
}
