package analyzer

import (
	"errors"
	"fmt"
	"io/fs"

	"lagan/evidence"
	"lagan/overlay"
	"lagan/runtimes"
)

// layerKey is a layer's folder as its store names it. Containers of one image
// share layers: each is resolved once.
type layerKey struct {
	volume int
	dir    string
}

type layerRoot struct {
	ino evidence.Ino
	err error
}

// layerName says which layer a place in a stack is, for records.
type layerName struct {
	name   string // "upper", else the diff id, else the store's own name of it
	diffID string
	key    string
}

func nameLayer(l runtimes.Layer, upper bool) layerName {
	ln := layerName{name: firstOf(l.DiffID, firstOf(l.Key, l.ID)), diffID: l.DiffID, key: firstOf(l.Key, l.ID)}
	if upper {
		ln.name = "upper"
	}
	return ln
}

// layerRoot finds a layer's folder in the store's tree. A layer that has none
// must not be taken for the tree's root.
func (n *Node) layerRoot(s Store, dir string) (evidence.Ino, error) {
	if dir == "" {
		return 0, errNoFolder
	}
	n.layerMu.Lock()
	defer n.layerMu.Unlock()
	key := layerKey{s.Volume, dir}
	if r, ok := n.layerRoots[key]; ok {
		return r.ino, r.err
	}
	var r layerRoot
	r.ino, r.err = evidence.Resolve(s.Tree, s.Tree.Root(), dir, true)
	if r.err == nil {
		var info evidence.Info
		info, r.err = s.Tree.Stat(r.ino)
		if r.err == nil && info.Type != evidence.TypeDir {
			r.err = fmt.Errorf("%q is a %s, not a directory", dir, info.Type)
		}
	}
	n.layerRoots[key] = r
	return r.ino, r.err
}

// View returns the container's merged root filesystem, as its processes saw
// it. A lower layer that is not on the disk is a gap, and what the others hold
// is shown.
func (n *Node) View(c *Container) (*Tree, error) {
	if c.Removed {
		if t, err := n.removedView(c); t != nil || err != nil {
			if err != nil {
				err = fmt.Errorf("root filesystem of %s, which was removed: %w; `lagan recover --files` lists what was deleted", c.DisplayName(), err)
			}
			return t, err
		}
	}
	all := c.Rootfs.Lower
	upper := c.Rootfs.Upper.Dir != ""
	if upper {
		all = append([]runtimes.Layer{c.Rootfs.Upper}, all...)
	}
	fsys, names, err := n.stack(c.store, "container "+c.DisplayName(), c.Rootfs, all, upper)
	if err != nil {
		return nil, fmt.Errorf("root filesystem of %s: %w", c.DisplayName(), err)
	}
	return &Tree{FS: fsys, Name: c.DisplayName(), Container: c, layers: names}, nil
}

// Base returns what the container began with: its image, and for Docker the
// init layer over it. It is nil for a root filesystem of one folder, which has
// nothing below it.
func (n *Node) Base(c *Container) (evidence.FS, error) {
	if len(c.Rootfs.Lower) == 0 || c.Rootfs.Upper.Dir == "" {
		return nil, nil
	}
	fsys, _, err := n.stack(c.store, "container "+c.DisplayName(), c.Rootfs, c.Rootfs.Lower, false)
	if err != nil {
		return nil, fmt.Errorf("image of %s: %w", c.DisplayName(), err)
	}
	return fsys, nil
}

// ImageView returns the merged view of an image's layers, of the blobs where they aren't unpacked.
func (n *Node) ImageView(i *Image) (*Tree, error) {
	r := i.Rootfs
	if r.Problem != nil || len(r.Lower) == 0 {
		r = i.ofBlobs()
		if i.Rootfs.Problem != nil && r.Problem == nil {
			n.gap(i.store.Volume, "image "+i.DisplayName(), fmt.Errorf("its blobs stand for its folders: %w", i.Rootfs.Problem))
		}
	}
	fsys, names, err := n.stack(i.store, "image "+i.DisplayName(), r, r.Lower, false)
	if errors.Is(err, fs.ErrNotExist) && r.Kind == runtimes.RootfsBind && len(i.Blobs) > 0 {
		n.gap(i.store.Volume, "image "+i.DisplayName(), fmt.Errorf("its blobs stand for its tree: %w", err))
		r = i.ofBlobs()
		fsys, names, err = n.stack(i.store, "image "+i.DisplayName(), r, r.Lower, false)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.DisplayName(), err)
	}
	return &Tree{FS: fsys, Name: "@image:" + i.DisplayName(), Image: i, layers: names}, nil
}

// stack puts folders together, the uppermost first.
func (n *Node) stack(s Store, object string, r runtimes.Rootfs, all []runtimes.Layer, upper bool) (evidence.FS, []layerName, error) {
	if r.Problem != nil {
		return nil, nil, r.Problem
	}
	if len(all) == 0 {
		return nil, nil, errors.New("its record names no folder that it is made of")
	}
	if r.Kind == runtimes.RootfsBind {
		all = all[:1] // what is below it is another tree
	}
	layers := len(all)
	all = append(all[:layers:layers], r.Data...)
	var found []overlay.Layer
	var names []layerName
	var first error
	contents := 0
	for i, l := range all {
		fsys, ino, err := n.layerPlace(s, l, r)
		if err != nil {
			if len(all) == 1 {
				return nil, nil, err
			}
			n.gap(s.Volume, object, fmt.Errorf("layer %s is left out: %w", nameLayer(l, false).name, err))
			if first == nil {
				first = err
			}
			continue
		}
		if i >= layers {
			contents++
		}
		found = append(found, overlay.Layer{FS: fsys, Root: ino, Name: l.Dir})
		names = append(names, nameLayer(l, upper && i == 0))
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("none of its layers is on this disk: %w", first)
	}
	if r.Kind == runtimes.RootfsBind {
		return evidence.Sub(found[0].FS, found[0].Root), names[:1], nil
	}
	merged, err := overlay.Merge(found, overlay.Options{
		UserXattr: r.UserXattr,
		DataOnly:  contents,
		Cache:     n.directories,
		Warn:      func(err error) { n.gap(s.Volume, object, err) },
	})
	return merged, names, err
}

// stacked is a tree that is made of layers, as overlay.FS is.
type stacked interface {
	// Origin returns which layer has what an inode shows, and where in it.
	Origin(evidence.Ino) (layer int, ino evidence.Ino, err error)
}

// LayerOf returns where a file of the tree comes from: "upper", else a diff id
// or the store's name of the layer; "" for a tree without layers.
func (t *Tree) LayerOf(ino evidence.Ino) string { return t.layerOf(ino).name }

func (t *Tree) layerOf(ino evidence.Ino) layerName {
	if len(t.layers) == 0 {
		return layerName{}
	}
	o, ok := t.FS.(stacked)
	if !ok {
		return t.layers[0]
	}
	i, _, err := o.Origin(ino)
	if errors.Is(err, errMounted) {
		return layerName{name: "mount"}
	}
	if err != nil || i < 0 || i >= len(t.layers) {
		return layerName{}
	}
	return t.layers[i]
}
