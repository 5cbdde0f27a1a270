package main

import (
	"archive/tar"
	"bytes"
	"path"
	"slices"
	"strings"
	"time"
)

// tree is what goes into a tar: files by path, each with its mode. A path with a
// target is a symbolic link.
type tree map[string]entry

type entry struct {
	mode    int64
	content []byte
	target  string
}

// tar writes the tree, folders before what is in them, all of root and of one time.
func (t tree) tar(prefix string, at time.Time) ([]byte, error) {
	var names []string
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{".": true}
	header := func(h *tar.Header) error {
		h.Name, h.ModTime, h.Format = prefix+h.Name, at, tar.FormatUSTAR
		return w.WriteHeader(h)
	}
	if prefix != "" {
		if err := header(&tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		for _, dir := range above(name) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := header(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
				return nil, err
			}
		}
		e := t[name]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: e.mode, Size: int64(len(e.content))}
		if e.target != "" {
			h = &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: e.target, Mode: 0o777}
		}
		if err := header(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// above returns the folders that a path lies in, the outermost first.
func above(name string) []string {
	var out []string
	parts := strings.Split(path.Dir(name), "/")
	for i := range parts {
		out = append(out, strings.Join(parts[:i+1], "/"))
	}
	return out
}
