package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// The layout of Docker before 1.10, whose images are chains of layers that have
// ids of their own: graph/graph.go and graph/tags.go of docker 1.9.
//
//	graph/<id>/json            an image, which is one layer above its parent
//	graph/<id>/layersize       bytes of the layer
//	repositories-<driver>      names of images
//	containers/<id>/config.json
//	aufs/diff/<id>, vfs/dir/<id> ...   the files of both, by the same ids; "<id>-init" below a container's
//
// A daemon of 1.10 to 23 copies all that to image/ when it starts first and
// notes in migrated which image became which: migrate/v1/migratev1.go.
const (
	graphDir   = "graph"
	graphImage = "json"
	graphSize  = "layersize"
	graphNames = "repositories-"
	migrated   = ".migration-v1-images.json"
)

// graphJSON is image/image.go, type Image, of docker 1.9.
type graphJSON struct {
	Parent          string `json:"parent"`
	Created         string `json:"created"`
	Comment         string `json:"comment"`
	Author          string `json:"author"`
	Architecture    string `json:"architecture"`
	OS              string `json:"os"`
	ContainerConfig struct {
		Cmd []string
	} `json:"container_config"`
	Config *struct {
		Labels map[string]string
	} `json:"config"`
}

// graphLayer is one folder of graph/.
type graphLayer struct {
	graphJSON
	size int64 // -1 unknown
	kept json.RawMessage
	err  error
}

// graph is what is left of the layout, nil where there is nothing of it.
type graph struct {
	layers   map[string]*graphLayer
	migrated map[string]string // what became of an image
}

// hasGraph says whether something of that layout is there.
func hasGraph(fsys evidence.FS, node evidence.Ino, root string) bool {
	for _, e := range list(fsys, node, root) {
		if driver, ok := strings.CutPrefix(e.Name, graphNames); ok && exists(fsys, node, join(root, driver)) && exists(fsys, node, join(root, graphDir)) {
			return true
		}
	}
	return false
}

// readGraph reads all images' documents and names the drivers that have any.
func (s *Store) readGraph() {
	g := &graph{layers: make(map[string]*graphLayer)}
	if raw, err := evidence.ReadFile(s.fsys, s.node, join(s.root, migrated), maxRepositories); err == nil {
		if err := oci.Decode(raw, &g.migrated); err != nil {
			s.problem(fmt.Errorf("%s: %w", join(s.root, migrated), err))
		}
	}
	for _, e := range s.folder(join(s.root, graphDir)) {
		if oci.IsHex64(e.Name) {
			g.layers[e.Name] = s.graphLayer(e.Name)
		}
	}
	for _, e := range s.folder(s.root) {
		if name, ok := strings.CutPrefix(e.Name, graphNames); ok && folderName(strings.ReplaceAll(name, "-", "")) {
			s.driver(name).graph = true
		}
	}
	s.graph = g
}

func (s *Store) graphLayer(id string) *graphLayer {
	l := &graphLayer{size: -1}
	at := s.files(join(s.root, graphDir+"/"+id))
	var raw []byte
	if raw, l.err = at.read(graphImage, maxImage); l.err == nil {
		if l.kept, l.err = oci.Document(raw, &l.graphJSON); l.err != nil {
			l.err = fmt.Errorf("%s: %w", join(at.path, graphImage), l.err)
		}
	}
	if text, err := at.short(graphSize); err == nil {
		l.size = count(text)
	}
	return l
}

// chain returns an image's layers, uppermost first.
func (g *graph) chain(top string) ([]string, error) {
	var out []string
	for id := top; id != ""; id = g.layers[id].Parent {
		switch {
		case g.layers[id] == nil:
			return out, fmt.Errorf("image %s is not in %s: %w", id, graphDir, fs.ErrNotExist)
		case len(out) >= maxDepth || slices.Contains(out, id):
			return out, fmt.Errorf("image %s: chain of parents has no end: %w", top, evidence.ErrCorrupt)
		}
		out = append(out, id)
	}
	return out, nil
}

// graphImages yields the images of a driver that were not moved to image/, in
// the order of their ids, tagged or not; then the names that lead to none.
func (s *Store) graphImages(d *driver) iter.Seq2[runtimes.Image, error] {
	return func(yield func(runtimes.Image, error) bool) {
		names, err := s.graphNames(d)
		if err != nil && !yield(runtimes.Image{}, err) {
			return
		}
		all := slices.Collect(maps.Keys(s.graph.layers))
		for id := range names {
			if s.graph.layers[id] == nil {
				all = append(all, id)
			}
		}
		slices.Sort(all)
		for _, id := range all {
			if s.graph.migrated[id] != "" || s.graph.layers[id] != nil && s.graphDriver(id) != d {
				continue
			}
			img, err := s.graphImage(d, id, names[id])
			if !yield(img, nil) || err != nil && !yield(runtimes.Image{}, fmt.Errorf("image %s: %w", id, err)) {
				return
			}
		}
	}
}

// graphNames returns the references of each image id: name to tag, or digest, to id.
func (s *Store) graphNames(d *driver) (map[string][]string, error) {
	out := make(map[string][]string)
	at := join(s.root, graphNames+d.name)
	raw, err := evidence.ReadFile(s.fsys, s.node, at, maxRepositories)
	if err != nil {
		return out, err
	}
	var doc repositoriesJSON
	if err = oci.Decode(raw, &doc); err != nil {
		err = fmt.Errorf("%s: %w", at, err)
	}
	for name, tags := range doc.Repositories {
		for tag, id := range tags {
			between := ":"
			if strings.Contains(tag, ":") {
				between = "@"
			}
			out[id] = append(out[id], name+between+tag)
		}
	}
	return out, err
}

// graphDriver is the driver that has an image's files, the first where none has:
// all drivers of a daemon share one graph.
func (s *Store) graphDriver(id string) *driver {
	var first *driver
	for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
		d := s.drivers[name]
		if !d.graph {
			continue
		}
		if first == nil {
			first = d
		}
		if exists(s.fsys, s.node, join(d.folders(), id)) {
			return d
		}
	}
	return first
}

func (s *Store) graphImage(d *driver, id string, refs []string) (runtimes.Image, error) {
	img := runtimes.Image{Runtime: runtimes.Docker, StorePath: s.root, ID: id, Size: -1}
	nameImage(&img, refs)
	l := s.graph.layers[id]
	if l == nil {
		return img, fmt.Errorf("called %s: it is not in %s: %w", strings.Join(refs, " "), join(s.root, graphDir), fs.ErrNotExist)
	}
	img.Documents = []runtimes.Blob{{Kind: "config", Size: -1, Path: join(s.root, graphDir+"/"+id+"/"+graphImage)}}
	img.Config, img.Author = l.kept, l.Author
	img.Created, img.Architecture, img.OS = oci.Time(l.Created), l.Architecture, l.OS
	if l.Config != nil {
		img.Labels = l.Config.Labels
	}
	chain, err := s.graph.chain(id)
	img.Rootfs = s.graphRootfs(d, chain, err)
	img.Size = 0
	for _, below := range slices.Backward(chain) {
		b := s.graph.layers[below]
		img.History = append(img.History, runtimes.History{Created: oci.Time(b.Created), CreatedBy: strings.Join(b.ContainerConfig.Cmd, " "),
			Author: b.Author, Comment: b.Comment, Empty: b.size == 0})
		if img.Size >= 0 && b.size >= 0 {
			img.Size += b.size
		} else {
			img.Size = -1
		}
	}
	return img, errors.Join(l.err, err)
}

// graphRootfs names the folders of an image's layers.
func (s *Store) graphRootfs(d *driver, chain []string, problem error) runtimes.Rootfs {
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, Problem: problem}
	for _, id := range chain {
		l := d.layerOf(id)
		l.Size = s.graph.layers[id].size
		r.Lower = append(r.Lower, l)
	}
	s.finish(d, &r)
	return r
}

// graphMount is how a container of that layout is mounted: under its own id.
func graphMount(id, image string) mountOf {
	return mountOf{mount: id, init: id + "-init", parent: image}
}
