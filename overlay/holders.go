package overlay

import (
	"path"
	"strings"

	"lagan/evidence"
)

// Holders finds the layers of a view that have a path, whether the view shows
// it or not. What is asked for one after the other in one directory is found
// fast. It must not be used by several goroutines at once.
type Holders struct {
	f    *FS
	dir  string
	dirs []Location // the layers' own directories of that path
}

// NewHolders begins to look for the holders of paths.
func NewHolders(f *FS) *Holders { return &Holders{f: f, dir: "\x00"} }

// Of returns the layers that have something at a path, the uppermost first, as
// indexes into Layers; whiteouts of the kernel's own kind left out.
func (h *Holders) Of(name string) []int {
	name = "/" + strings.Join(evidence.Split(name), "/")
	if name == "/" {
		out := make([]int, len(h.f.layers))
		for k := range out {
			out[k] = k
		}
		return out
	}
	dir, base := path.Split(name)
	if dir != h.dir {
		h.dir, h.dirs = dir, h.folders(dir)
	}
	var out []int
	for _, at := range h.dirs {
		e, typ, ok := h.find(at, base)
		if !ok {
			continue
		}
		if typ == evidence.TypeChar {
			info, err := h.f.layers[at.Layer].FS.Stat(e.Ino)
			if err != nil || info.Major == 0 && info.Minor == 0 {
				continue
			}
		}
		out = append(out, at.Layer)
	}
	return out
}

// folders returns a directory of each layer that has it.
func (h *Holders) folders(dir string) []Location {
	elements := evidence.Split(dir)
	var out []Location
	for k, l := range h.f.layers {
		at, ok := Location{k, l.Root}, true
		for _, name := range elements {
			var e evidence.Entry
			var typ evidence.Type
			if e, typ, ok = h.find(at, name); !ok || typ != evidence.TypeDir {
				ok = false
				break
			}
			at.Ino = e.Ino
		}
		if ok {
			out = append(out, at)
		}
	}
	return out
}

// find looks for a name in a layer's directory.
func (h *Holders) find(dir Location, name string) (evidence.Entry, evidence.Type, bool) {
	e, ok, _ := h.f.find(dir, name)
	if !ok || e.Type != evidence.TypeUnknown {
		return e, e.Type, ok
	}
	info, err := h.f.layers[dir.Layer].FS.Stat(e.Ino)
	return e, info.Type, err == nil
}
