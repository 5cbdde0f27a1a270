package mount

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
)

// key tells inodes of the mount apart. A directory is another one under each
// parent that names it: Linux has no directories of two names, and a corrupt
// filesystem or a crafted redirect does.
type key struct {
	tree   int // index of the tree; folder for the folders above trees
	ino    evidence.Ino
	parent uint64 // of directories
}

// folder is the tree of the folders that lead to trees.
const folder = -1

// rootID is the kernel's number of the mount's root: FUSE_ROOT_ID.
const rootID = 1

// entry is one inode that the kernel knows.
type entry struct {
	key
	id      uint64
	name    string // the first that it was found by
	parent  uint64 // where that stands
	lookups uint64 // how often the kernel was told of it, and has not forgotten
}

// table is what the kernel knows of the mount. Entries go when it forgets them.
type table struct {
	mu      sync.Mutex
	entries map[uint64]*entry
	ids     map[key]uint64
	last    uint64
}

func newTable(root key) *table {
	return &table{
		entries: map[uint64]*entry{rootID: {key: root, id: rootID, lookups: 1}},
		ids:     map[key]uint64{root: rootID},
		last:    rootID,
	}
}

// get returns a known entry, or nil.
func (t *table) get(id uint64) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entries[id]
}

// found counts one more name that the kernel learns of an inode.
func (t *table) found(k key, parent uint64, name string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.ids[k]; ok {
		t.entries[id].lookups++
		return id
	}
	t.last++ // never used again: 2^64 lookups take longer than the mount
	t.ids[k] = t.last
	t.entries[t.last] = &entry{key: k, id: t.last, name: strings.Clone(name), parent: parent, lookups: 1}
	return t.last
}

func (t *table) forget(id, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entries[id]
	if e == nil || id == rootID {
		return
	}
	if e.lookups -= min(n, e.lookups); e.lookups == 0 {
		delete(t.entries, id)
		delete(t.ids, e.key)
	}
}

// maxPath bounds the elements of a path in messages.
const maxPath = 4096

// path returns an entry's place in the mount, as far as it is still known.
func (t *table) path(e *entry, name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var elements []string
	if name != "" {
		elements = append(elements, name)
	}
	for e.id != rootID && len(elements) < maxPath {
		elements = append(elements, e.name)
		above := t.entries[e.parent]
		if above == nil {
			break
		}
		e = above
	}
	slices.Reverse(elements)
	return "/" + strings.Join(elements, "/")
}

// folders are the folders that lead to trees, the mount's root first. Their
// place here is their inode.
type folders []*folderNode

type folderNode struct {
	names  []string // sorted
	inside map[string]key
}

// newFolders lays out where trees stand.
func newFolders(trees []Tree) (folders, error) {
	f := folders{{inside: map[string]key{}}}
	for i, t := range trees {
		at := 0
		for depth, name := range t.Path {
			if !validName(name) {
				return nil, fmt.Errorf("a folder can't be called %q", name)
			}
			next, ok := f[at].inside[name]
			last := depth == len(t.Path)-1
			switch {
			case last && ok, ok && next.tree != folder:
				return nil, fmt.Errorf("two trees at %q", strings.Join(t.Path, "/"))
			case last:
				next = key{tree: i}
			case !ok:
				next = key{tree: folder, ino: evidence.Ino(len(f))}
				f = append(f, &folderNode{inside: map[string]key{}})
			}
			if !ok {
				f[at].inside[name] = next
				f[at].names = append(f[at].names, name)
			}
			at = int(next.ino)
		}
	}
	for _, n := range f {
		slices.Sort(n.names)
	}
	return f, nil
}

// maxName is FUSE_NAME_MAX of Linux before 6.16 (fs/fuse/fuse_i.h): a folder
// with a longer name can't be listed at all.
const maxName = 1024

// validName says whether a directory entry's name can be shown where it stands.
func validName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxName && !strings.ContainsAny(s, "/\x00")
}
