package analyzer

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/buildkit"
	"lagan/runtimes/containerd"
	"lagan/runtimes/docker"
	"lagan/runtimes/nspawn"
	"lagan/runtimes/storage"
)

// Store is one runtime's data root, with the tree that it was found in.
type Store struct {
	runtimes.Store
	Tree evidence.FS
	// Volume is the volume's index where the store lies on one that is not
	// joined to the node's tree, else 0.
	Volume int
	// Found is how the data root was found.
	Found Found
}

// runtimeReader is what a runtime's package offers: where its data roots may
// be, and how one is opened.
type runtimeReader struct {
	name runtimes.Name
	// roots is also told Docker's data roots, which were found before: dockerd
	// may keep a containerd of its own in them.
	roots func(f evidence.FS, node evidence.Ino, docker ...string) ([]string, error)
	open  func(f evidence.FS, node evidence.Ino, root string) (runtimes.Store, error)
	// usual says whether a data root is one that needs no configuration.
	usual func(root string) bool
}

// runtimeReaders are asked in turn, Docker first.
var runtimeReaders = []runtimeReader{
	reader(runtimes.Docker, alone(docker.Roots), docker.Open, docker.Usual),
	reader(runtimes.Containerd, containerd.Roots, containerd.Open, containerd.Usual),
	reader(runtimes.Podman, alone(storage.Roots), storage.Open, storage.Usual), // and CRI-O's, in the same stores
	reader(runtimes.BuildKit, buildkit.Roots, buildkit.Open, buildkit.Usual),
	reader(nspawn.Name, alone(nspawn.Roots), nspawn.Open, nspawn.Usual),
}

// rooter finds a runtime's data roots.
type rooter = func(f evidence.FS, node evidence.Ino, docker ...string) ([]string, error)

// alone is for runtimes whose data roots don't lie in Docker's.
func alone(roots func(evidence.FS, evidence.Ino) ([]string, error)) rooter {
	return func(f evidence.FS, node evidence.Ino, _ ...string) ([]string, error) { return roots(f, node) }
}

func reader[S runtimes.Store](name runtimes.Name, roots rooter, open func(evidence.FS, evidence.Ino, string) (S, error), usual func(string) bool) runtimeReader {
	return runtimeReader{name, roots, func(f evidence.FS, node evidence.Ino, root string) (runtimes.Store, error) {
		s, err := open(f, node, root)
		if err != nil {
			return nil, err // not a nil *Store in an interface that isn't nil
		}
		return s, nil
	}, usual}
}

// RuntimeNamed returns the runtime whose data roots a user calls so.
func RuntimeNamed(name string) (runtimes.Name, error) {
	if name == string(runtimes.CRIO) {
		return runtimes.Podman, nil // one kind of store for both
	}
	known := []string{string(runtimes.CRIO)}
	for _, r := range runtimeReaders {
		if string(r.name) == name {
			return r.name, nil
		}
		known = append(known, string(r.name))
	}
	slices.Sort(known)
	return "", fmt.Errorf("no runtime is called %q; there are %s", name, strings.Join(known, ", "))
}

// trees returns the node's tree and those volumes that are not joined to it:
// each may hold data roots.
func (n *Node) trees() []Store {
	var out []Store
	if n.Tree != nil {
		out = append(out, Store{Tree: n.Tree})
	}
	for _, v := range n.Volumes {
		if v.FS != nil && v.MountPoint == "" {
			out = append(out, Store{Tree: v.FS, Volume: v.Index})
		}
	}
	return out
}

// findStores opens every data root of every runtime, in each tree.
func (n *Node) findStores() {
	for _, at := range n.trees() {
		var docker []string
		for _, r := range runtimeReaders {
			n.guard(at.Volume, string(r.name), func() error {
				roots, err := r.roots(at.Tree, at.Tree.Root(), docker...)
				for _, named := range n.options.DataRoots {
					if named.Kind == r.name && !slices.Contains(roots, named.Path) && at.Volume == 0 {
						roots = append(roots, named.Path)
					}
				}
				if r.name == runtimes.Docker {
					docker = roots
				}
				for _, root := range roots {
					at.Found = n.found(r, root)
					n.openStore(r, at, root)
				}
				return err
			})
		}
	}
	if !n.options.NoScan {
		n.searchStores()
	}
}

// found says which of the first two steps names a data root.
func (n *Node) found(r runtimeReader, root string) Found {
	switch {
	case n.named(r.name, root):
		return FoundNamed
	case r.usual(root):
		return FoundUsual
	}
	return FoundConfigured
}

func (n *Node) openStore(r runtimeReader, at Store, root string) {
	n.guard(at.Volume, fmt.Sprintf("%s store %s", r.name, root), func() error {
		s, err := r.open(at.Tree, at.Tree.Root(), root)
		if errors.Is(err, fs.ErrNotExist) && !n.named(r.name, root) {
			return nil
		}
		if err != nil {
			return err
		}
		at.Store = s
		n.Stores = append(n.Stores, at)
		return nil
	})
}

func (n *Node) named(kind runtimes.Name, root string) bool {
	return slices.Contains(n.options.DataRoots, DataRoot{Kind: kind, Path: root})
}
