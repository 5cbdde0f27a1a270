package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"lagan/internal/durable"
	"lagan/internal/text"
)

// outFolder is a new folder of results, with a manifest of their hashes. It
// appears whole or not at all. Names in it are ours: see safeName.
type outFolder struct {
	path, tmp string
	root      *os.Root
	manifest  []folderRecord
}

// folderManifest is the manifest's name in the folder.
const folderManifest = "MANIFEST.jsonl"

// folderRecord is one file of the folder.
type folderRecord struct {
	File      string `json:"file"`
	SHA256    string `json:"sha256,omitempty"`
	Size      int64  `json:"size"`
	Container string `json:"container,omitempty"` // id
	Name      string `json:"name,omitempty"`
	Runtime   string `json:"runtime,omitempty"`
	Image     string `json:"image,omitempty"`
	Format    string `json:"format,omitempty"`
}

func newOutFolder(path string) (*outFolder, error) {
	path = filepath.Clean(path)
	list, err := os.ReadDir(path)
	switch {
	case err == nil && len(list) > 0:
		return nil, fmt.Errorf("%s is not empty; name a new folder", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	return &outFolder{path: path, tmp: tmp, root: root}, nil
}

// free returns a name that no file has yet: ids that the evidence chose may be alike.
func (f *outFolder) free(name, ending string) string {
	try := name + ending
	for n := 2; ; n++ {
		if _, err := f.root.Lstat(try); errors.Is(err, fs.ErrNotExist) || n > maxAlike {
			return try
		}
		try = fmt.Sprintf("%s-%d%s", name, n, ending)
	}
}

// maxAlike bounds the names that are tried for one.
const maxAlike = 1000

// file makes a file, has write fill it, and notes its hash.
func (f *outFolder) file(r folderRecord, write func(*os.File) error) error {
	file, err := f.root.OpenFile(r.File, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := write(file); err != nil {
		return err
	}
	st, err := file.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(file, 0, st.Size())); err != nil {
		return err
	}
	r.SHA256, r.Size = hex.EncodeToString(h.Sum(nil)), st.Size()
	f.manifest = append(f.manifest, r)
	return file.Close()
}

// stream is file for what is written from its beginning to its end.
func (f *outFolder) stream(r folderRecord, write func(io.Writer) error) error {
	return f.file(r, func(file *os.File) error {
		w := bufio.NewWriterSize(file, 1<<20)
		return errors.Join(write(w), w.Flush())
	})
}

// json writes a document, as inspect prints it.
func (f *outFolder) json(r folderRecord, v any) error {
	return f.stream(r, func(w io.Writer) error {
		e := json.NewEncoder(text.JSON{W: w})
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// drop takes away a file that could not be written whole.
func (f *outFolder) drop(name string) error {
	err := f.root.RemoveAll(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// finish writes the manifest and gives the folder its name.
func (f *outFolder) finish() error {
	err := f.file(folderRecord{File: folderManifest}, func(file *os.File) error {
		e := json.NewEncoder(text.JSON{W: file})
		e.SetEscapeHTML(false)
		for i := range f.manifest {
			r := f.manifest[i]
			r.Name, _ = text.ForJSON(r.Name)
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, f.root.Close()); err != nil {
		return errors.Join(err, os.RemoveAll(f.tmp))
	}
	if err := durable.Folder(f.tmp, f.path); err != nil {
		return errors.Join(err, os.RemoveAll(f.tmp))
	}
	return nil
}

// discard takes all away again.
func (f *outFolder) discard() error {
	return errors.Join(f.root.Close(), os.RemoveAll(f.tmp))
}

var unsafeInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// maxSafeName leaves room for an id and an ending below the 143 bytes of the narrowest host.
const maxSafeName = 80

// safeName makes a file's name of parts that the evidence chose: letters, digits
// and ._- stay, it never begins with a dot, and is not long.
func safeName(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p = strings.TrimLeft(unsafeInName.ReplaceAllString(p, "_"), "."); p != "" {
			out = append(out, p)
		}
	}
	s := strings.Join(out, "-")
	return s[:min(len(s), maxSafeName)]
}
