package hostdir

import (
	"cmp"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
)

const root evidence.Ino = 1

// maxDepth bounds the names of one path, as evidence.Walk does.
const maxDepth = 4096

// node is a name in a folder.
type node struct {
	parent evidence.Ino
	name   string
}

// inode is what tells a file from all others on the machine.
type inode struct {
	major, minor uint32
	number       uint64
}

// nameTable gives a handle to each name that is met.
type nameTable struct {
	mu     sync.Mutex
	nodes  []node // by Ino; 0 and root are placeholders
	byName map[node]evidence.Ino
	first  map[inode]evidence.Ino // of the names of what isn't a folder, the one met first
}

func newNames() *nameTable {
	return &nameTable{nodes: make([]node, root+1), byName: map[node]evidence.Ino{}, first: map[inode]evidence.Ino{}}
}

// handle returns the handle of a name in a folder, a new one where it is met first.
func (t *nameTable) handle(dir evidence.Ino, name string) evidence.Ino {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := node{dir, name}
	if ino, ok := t.byName[n]; ok {
		return ino
	}
	ino := evidence.Ino(len(t.nodes))
	t.nodes = append(t.nodes, n)
	t.byName[n] = ino
	return ino
}

// other returns the handle under which an inode was met before by another name
// than that of ino, or ino itself.
func (t *nameTable) other(i inode, ino evidence.Ino) evidence.Ino {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, ok := t.first[i]
	if !ok {
		t.first[i] = ino
		return ino
	}
	return first
}

func (t *nameTable) node(ino evidence.Ino) (node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ino <= root || ino >= evidence.Ino(len(t.nodes)) {
		return node{}, fs.ErrNotExist
	}
	return t.nodes[ino], nil
}

// path returns a handle's path below the folder.
func (t *nameTable) path(ino evidence.Ino) string {
	var out []string
	for range maxDepth {
		n, err := t.node(ino)
		if err != nil {
			break
		}
		out = append(out, n.name)
		ino = n.parent
	}
	slices.Reverse(out)
	return cmp.Or(strings.Join(out, "/"), ".")
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}
