// Package storage reads the state of Podman, Buildah and CRI-O, which keep
// images and containers in one kind of store, containers/storage:
//
//	<graph root>/
//	  <driver>-layers/layers.json, volatile-layers.json            id parent created diff-digest diff-size
//	  <driver>-images/images.json, <id>/manifest, <id>/=<base64>   id digest names names-history layer; configuration
//	  <driver>-containers/containers.json, volatile-containers.json   id names image layer metadata
//	  <driver>-containers/<id>/userdata/config.json, state.json    OCI specification; CRI-O's state
//	  overlay/<layer>/{diff,link,lower,diff1...}, overlay/l/<short id>
//	  libpod/bolt_state.db                                         Podman's state up to 4.x
//	    ctr/<id>/{config,state}  pod/<id>/{config,state}           JSON
//	  db.sql                                                       Podman's state since 4.8, SQLite
//	  volumes/<name>/_data
//
// It follows containers/storage (store.go, layers.go, drivers/overlay),
// libpod/boltdb_state_internal.go and libpod/container_config.go of Podman, and
// internal/storage/runtime.go and internal/annotations of CRI-O.
//
// Evidence is hostile: ids and short names that lead to folders are checked for
// their shape, documents have size limits, chains a depth limit. One broken
// document is one error; everything else is read.
package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

// Store is one graph root.
type Store struct {
	fsys evidence.FS
	node evidence.Ino
	root string

	once     sync.Once
	drivers  []*driver
	libpod   *libpod
	problems []error
	userMark bool // the store of a user: overlays are mounted with userxattr
}

// driver is what one storage driver keeps.
type driver struct {
	name       string
	layers     map[string]*layer
	order      []string
	images     []imageJSON
	byImage    map[string]*imageJSON
	containers []containerJSON
	holders    map[string]string // layer to container
}

// layer is one layer, in this store or in one that this one draws on.
type layer struct {
	layerJSON
	store string // root of the store that has it
	chain string // chain id, where every diff id below is known
}

// Open looks at the graph root as the node named it
// ("/var/lib/containers/storage"). It fails where there is no such store.
func Open(fsys evidence.FS, top evidence.Ino, root string) (*Store, error) {
	if !isRoot(fsys, top, root) {
		return nil, fmt.Errorf("opening the container store %s: no layers, images or containers: %w", root, fs.ErrNotExist)
	}
	return &Store{fsys: node.Cached(fsys), node: top, root: root, userMark: node.Rootless(fsys, top, root)}, nil
}

// isRoot says whether root is a graph root.
func isRoot(fsys evidence.FS, node evidence.Ino, root string) bool {
	for _, name := range []string{boltState, sqliteState} {
		if _, err := evidence.Resolve(fsys, node, join(root, name), true); err == nil {
			return true
		}
	}
	for _, d := range driverNames(fsys, node, root) {
		for _, name := range []string{layersDir + "/" + layersFile, containersDir + "/" + containersFile} {
			if _, err := evidence.Resolve(fsys, node, join(root, d+name), true); err == nil {
				return true
			}
		}
	}
	return false
}

// driverNames returns the drivers that have a folder <driver>-layers.
func driverNames(fsys evidence.FS, node evidence.Ino, root string) []string {
	ino, err := evidence.Resolve(fsys, node, root, true)
	if err != nil {
		return nil
	}
	entries, _ := evidence.List(fsys, ino)
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name, layersDir); ok && name != "" {
			out = append(out, name)
		}
	}
	return out
}

// Runtime returns runtimes.CRIO for a store whose containers are CRI-O's, else
// runtimes.Podman. Each container names its own.
func (s *Store) Runtime() runtimes.Name {
	s.once.Do(s.load)
	if s.libpod != nil {
		return runtimes.Podman
	}
	for _, d := range s.drivers {
		for i := range d.containers {
			if metadataOf(&d.containers[i]).PodID != "" {
				return runtimes.CRIO
			}
		}
	}
	return runtimes.Podman
}

// Path returns the graph root as the node named it.
func (s *Store) Path() string { return s.root }

func (s *Store) problem(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.problems = append(s.problems, err)
	}
}

// load reads the JSON stores of every driver, and Podman's database.
func (s *Store) load() {
	more := s.otherStores()
	for _, name := range driverNames(s.fsys, s.node, s.root) {
		d := &driver{name: name, layers: make(map[string]*layer), byImage: make(map[string]*imageJSON), holders: make(map[string]string)}
		s.readLayers(d, s.root)
		for _, other := range more {
			s.readLayers(d, other)
		}
		d.chainIDs()
		for _, store := range append([]string{s.root}, more...) {
			var images []imageJSON
			s.problem(s.document(join(store, name+imagesDir+"/"+imagesFile), &images))
			if store == s.root {
				d.images = images
			}
			for i := range images {
				if d.byImage[images[i].ID] == nil {
					d.byImage[images[i].ID] = &images[i]
				}
			}
		}
		for _, file := range []string{containersFile, volatileContainersFile} {
			var list []containerJSON
			s.problem(s.document(join(s.root, name+containersDir+"/"+file), &list))
			d.containers = append(d.containers, list...)
		}
		for i := range d.containers {
			d.holders[d.containers[i].Layer] = d.containers[i].ID
		}
		s.drivers = append(s.drivers, d)
	}
	s.libpod = s.openLibpod()
}

// readLayers reads the layers of one store; this store's own come first and stand.
func (s *Store) readLayers(d *driver, store string) {
	for _, file := range []string{layersFile, volatileLayersFile} {
		var list []layerJSON
		s.problem(s.document(join(store, d.name+layersDir+"/"+file), &list))
		for _, l := range list {
			if !folderName(l.ID) {
				s.problem(fmt.Errorf("%s: layer %q names no folder: %w", join(store, d.name+layersDir+"/"+file), l.ID, evidence.ErrCorrupt))
				continue
			}
			l.partlyPulled()
			if d.layers[l.ID] == nil {
				d.layers[l.ID] = &layer{layerJSON: l, store: store}
				d.order = append(d.order, l.ID)
			}
		}
	}
}

// chainIDs computes the chain ids of all layers from their diff ids. A layer's
// own id is one where no uid mapping or random id was used, which isn't told.
func (d *driver) chainIDs() {
	for _, id := range d.order {
		chain, err := d.chain(id)
		if err != nil {
			continue
		}
		var diffs []string
		for _, l := range slices.Backward(chain) {
			if l.DiffDigest == "" {
				break
			}
			diffs = append(diffs, l.DiffDigest)
		}
		if len(diffs) == len(chain) {
			d.layers[id].chain = oci.ChainIDs(diffs)[len(diffs)-1]
		}
	}
}

// chain returns a layer and its parents, uppermost first.
func (d *driver) chain(id string) ([]*layer, error) {
	var out []*layer
	for next := id; next != ""; {
		l := d.layers[next]
		if l == nil {
			return out, fmt.Errorf("layer %q is in no %s: %w", next, layersFile, fs.ErrNotExist)
		}
		if len(out) >= maxDepth || slices.Contains(out, l) {
			return out, fmt.Errorf("layer %q: chain of parents has no end: %w", id, evidence.ErrCorrupt)
		}
		out = append(out, l)
		next = l.Parent
	}
	return out, nil
}

// document decodes a JSON file. One that was never synced may be empty or NUL.
func (s *Store) document(path string, v any) error {
	raw, err := evidence.ReadFile(s.fsys, s.node, path, maxStore)
	if err != nil {
		return err
	}
	if len(strings.Trim(string(raw), "\x00 \n")) == 0 {
		return fmt.Errorf("%s is empty: it was not yet written when the copy was taken: %w", path, evidence.ErrCorrupt)
	}
	if err := oci.Decode(raw, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// folderName says whether an id may name a folder of a driver.
func folderName(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
}
