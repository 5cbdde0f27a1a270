package docker

import (
	"fmt"
	"io/fs"
	"strings"

	"lagan/evidence"
)

// folder is a small folder of documents, which is listed once however many of
// them are read: a node has thousands of such.
type folder struct {
	s       *Store
	path    string
	entries []evidence.Entry
	err     error // what kept it from being listed, or from being listed whole
}

// files lists the folder at path, which may be missing.
func (s *Store) files(path string) *folder {
	f := &folder{s: s, path: path}
	ino, err := evidence.Resolve(s.fsys, s.node, path, true)
	if err != nil {
		f.err = err
		return f
	}
	for e, err := range s.fsys.ReadDir(ino) {
		if err != nil {
			f.err = fmt.Errorf("listing %s: %w", path, err)
			continue
		}
		f.entries = append(f.entries, e)
	}
	return f
}

// read returns the content of one of its files, fs.ErrNotExist where there is none.
func (f *folder) read(name string, limit int64) ([]byte, error) {
	for _, e := range f.entries {
		if e.Name != name {
			continue
		}
		if e.Type != evidence.TypeFile { // a link, or a filesystem whose folders don't tell
			return evidence.ReadFile(f.s.fsys, f.s.node, join(f.path, name), limit)
		}
		b, err := evidence.ReadInode(f.s.fsys, e.Ino, limit)
		if err != nil {
			err = &fs.PathError{Op: "read", Path: join(f.path, name), Err: err}
		}
		return b, err
	}
	if f.err != nil {
		return nil, f.err
	}
	return nil, &fs.PathError{Op: "read", Path: join(f.path, name), Err: fs.ErrNotExist}
}

// short returns the text of a file that holds one id, digest or number; "" where there is none.
func (f *folder) short(name string) (string, error) {
	return text(f.read(name, maxShort))
}

// text returns what a short file holds; "" where there is no file.
func text(b []byte, err error) (string, error) {
	if isMissing(err) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}
