package node

import (
	"io/fs"
	"sync"

	"lagan/evidence"
)

// cacheAfter is how often a folder is searched before its names are kept: a
// runtime's folder of containers is searched once a container, and filesystems
// search a folder from its beginning.
const cacheAfter = 4

// maxNames bounds the names that are kept, some 150 bytes each.
const maxNames = 200_000

// Cached returns fsys with the names of its most searched folders kept in
// memory. Use it for folders of documents: names that differ from what is
// looked for only in case are not found.
func Cached(fsys evidence.FS) evidence.FS {
	if _, ok := fsys.(*cached); ok {
		return fsys
	}
	return &cached{FS: fsys, folders: make(map[evidence.Ino]*folder)}
}

type cached struct {
	evidence.FS
	mu      sync.Mutex
	folders map[evidence.Ino]*folder
	kept    int
}

type folder struct {
	searched int
	names    map[string]evidence.Entry // nil: not kept
}

// Lookup implements evidence.Lookuper.
func (c *cached) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	c.mu.Lock()
	f := c.folders[dir]
	if f == nil {
		if len(c.folders) > maxNames {
			clear(c.folders)
			c.kept = 0
		}
		f = &folder{}
		c.folders[dir] = f
	}
	f.searched++
	if f.searched == cacheAfter {
		f.names = c.list(dir)
		c.kept += len(f.names)
	}
	names := f.names
	c.mu.Unlock()
	if names == nil {
		return evidence.Lookup(c.FS, dir, name)
	}
	if e, ok := names[name]; ok {
		return e, nil
	}
	return evidence.Entry{}, fs.ErrNotExist
}

// list returns a folder's names, nil where not all can be read or kept.
func (c *cached) list(dir evidence.Ino) map[string]evidence.Entry {
	names := make(map[string]evidence.Entry)
	for e, err := range c.FS.ReadDir(dir) {
		if err != nil || c.kept+len(names) >= maxNames {
			return nil
		}
		if _, twice := names[e.Name]; !twice { // the first one is what a search would find
			names[e.Name] = e
		}
	}
	return names
}
