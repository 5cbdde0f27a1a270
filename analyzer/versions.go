package analyzer

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"lagan/evidence"
	"lagan/overlay"
)

// VersionState says what a layer's file is to the merged view.
type VersionState string

// The states of versions.
const (
	VersionShown    VersionState = "shown"    // the view has it, or a folder's part of what it has
	VersionHidden   VersionState = "hidden"   // a layer above has it too, or hides it
	VersionWhiteout VersionState = "whiteout" // a mark that deletes the path
)

// Version is what one layer has at a path.
type Version struct {
	File
	State VersionState
}

// errOneFolder says that a tree has no layers of its own.
var errOneFolder = errors.New("is one folder, not several layers")

// Versions calls fn for each layer that has, or had, something at a path of a
// merged view, the uppermost first: what is shown, what it hides, and the marks
// that delete it. Links are not followed.
func (n *Node) Versions(t *Tree, path string, o ListOptions, fn func(Version) error) error {
	view, ok := t.FS.(*overlay.FS)
	if !ok {
		return fmt.Errorf("%s %w", t.Name, errOneFolder)
	}
	full := "/" + strings.Join(evidence.Split(path), "/")
	hidden, found := false, false
	for k, l := range view.Layers() {
		ino, info, opaque, err := n.inLayer(l, full)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				n.gap(0, t.Name, fmt.Errorf("layer %s: %q: %w", t.layers[k].name, full, err))
			}
			hidden = hidden || opaque
			continue
		}
		found = true
		v := Version{State: VersionShown}
		switch {
		case info.Type == evidence.TypeChar && info.Major == 0 && info.Minor == 0:
			v.State = VersionWhiteout
		case hidden:
			v.State = VersionHidden
		}
		hidden = hidden || info.Type != evidence.TypeDir || opaque
		one := lister{n: n, t: &Tree{FS: l.FS, Name: t.Name}, o: o, fn: func(f File) error { v.File = f; return nil }}
		if err := one.file(full, ino, info); err != nil {
			return err
		}
		v.Layer = t.layers[k].name
		if err := fn(v); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s: no layer has %q: %w", t.Name, full, fs.ErrNotExist)
	}
	return nil
}

// inLayer looks for a path in one layer. opaque says that the layer hides what
// those below have there, whether it has the path itself or not.
func (n *Node) inLayer(l overlay.Layer, path string) (ino evidence.Ino, info evidence.Info, opaque bool, err error) {
	ino = l.Root
	info, err = l.FS.Stat(ino)
	for _, name := range evidence.Split(path) {
		if err != nil {
			return 0, info, opaque, err
		}
		if info.Type != evidence.TypeDir {
			return 0, info, true, fs.ErrNotExist // a file or a mark where the layers below have a folder
		}
		opaque = opaque || isOpaque(l.FS, ino)
		e, err := evidence.Lookup(l.FS, ino, name)
		if err != nil {
			return 0, info, opaque, err
		}
		ino = e.Ino
		if info, err = l.FS.Stat(ino); err != nil {
			return 0, info, opaque, err
		}
	}
	return ino, info, opaque || info.Type == evidence.TypeDir && isOpaque(l.FS, ino), err
}

func isOpaque(fsys evidence.FS, dir evidence.Ino) bool {
	x, _ := fsys.Xattrs(dir)
	return string(x["trusted.overlay.opaque"]) == "y" || string(x["user.overlay.opaque"]) == "y"
}

// LayerTree returns one layer of a merged view as it is: spec is "upper", a diff
// id or the store's name of it, or an unambiguous prefix of either.
func (n *Node) LayerTree(t *Tree, spec string) (*Tree, error) {
	view, ok := t.FS.(*overlay.FS)
	if !ok {
		return nil, fmt.Errorf("%s %w", t.Name, errOneFolder)
	}
	var found []int
	bare := strings.TrimPrefix(spec, "sha256:")
	for k, l := range t.layers {
		for _, name := range [...]string{l.name, l.diffID, l.key} {
			name = strings.TrimPrefix(name, "sha256:")
			if name != "" && (name == bare || len(bare) >= minPrefix && strings.HasPrefix(name, bare)) {
				found = append(found, k)
				break
			}
		}
	}
	var names []string
	for _, l := range t.layers {
		names = append(names, l.name)
	}
	switch len(found) {
	case 1:
		l := view.Layers()[found[0]]
		return &Tree{FS: evidence.Sub(l.FS, l.Root), Name: "layer " + t.layers[found[0]].name + " of " + t.Name, layers: t.layers[found[0] : found[0]+1]}, nil
	case 0:
		return nil, fmt.Errorf("%s has no layer %q, only\n  %s", t.Name, spec, strings.Join(names, "\n  "))
	}
	return nil, fmt.Errorf("%s has %d layers that begin with %q", t.Name, len(found), spec)
}
