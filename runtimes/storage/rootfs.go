package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// rootfs names the folders of a container's root filesystem, whose own layer is
// top. The second error is of what is contradictory and was read past.
func (s *Store) rootfs(d *driver, top string) (runtimes.Rootfs, error) {
	chain, err := d.chain(top)
	if len(chain) == 0 {
		return runtimes.Rootfs{Problem: err}, nil
	}
	r := s.stack(d, chain[1:], err)
	r.Upper = s.layerOf(d, chain[0])
	r.UIDs, r.GIDs = chain[0].UIDMap, chain[0].GIDMap
	if d.name != driverOverlay || r.Problem != nil {
		return r, nil
	}
	return r, s.compareLower(d, chain)
}

// stack names the folders of layers, uppermost first. The driver overlay mounts
// an overlay even of a single layer, over an empty folder: overlay.go, get.
func (s *Store) stack(d *driver, chain []*layer, problem error) runtimes.Rootfs {
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, UserXattr: s.userMark, Problem: problem}
	switch d.name {
	case driverOverlay:
		if s.mountProgram(d) {
			r.Marks = runtimes.MarksFuse
		}
	case driverVFS, driverBtrfs: // each is a whole tree
		r.Kind = runtimes.RootfsBind
		chain = chain[:min(1, len(chain))]
	default:
		return runtimes.Rootfs{Problem: fmt.Errorf("storage driver %q: %w", d.name, evidence.ErrUnsupported)}
	}
	for _, l := range chain {
		own := s.layerOf(d, l)
		if d.name != driverOverlay {
			r.Lower = append(r.Lower, own)
			continue
		}
		if blob := join(l.store, d.name+"/"+l.ID+"/"+composefsBlob); s.exists(blob) {
			// The tree is an EROFS image whose files lead to their contents, which
			// diff has under their digests: drivers/overlay/composefs.go.
			r.Data = append(r.Data, own)
			own.Dir, own.Image = blob, true
			r.Lower = append(r.Lower, own)
			continue
		}
		r.Lower = append(r.Lower, own)
		// diff1, diff2, ... are further lower folders behind a layer's own: drivers/overlay/overlay.go, Get.
		for n := 1; n <= maxExtra; n++ {
			extra := s.layerOf(d, l)
			extra.Dir += fmt.Sprint(n)
			if !s.exists(extra.Dir) {
				break
			}
			r.Lower = append(r.Lower, extra)
		}
	}
	return r
}

// mountProgram says whether the driver mounts with a program, as it notes when it
// starts (drivers/overlay/overlay.go, getMountProgramFlagFile). Older versions
// left the file only where there was one.
func (s *Store) mountProgram(d *driver) bool {
	raw, err := evidence.ReadFile(s.fsys, s.node, join(s.root, d.name+"/.has-mount-program"), maxLower)
	return err == nil && strings.TrimSpace(string(raw)) != "false"
}

func (s *Store) exists(name string) bool {
	_, err := evidence.Resolve(s.fsys, s.node, name, true)
	return err == nil
}

// layerOf names a layer's folder.
func (s *Store) layerOf(d *driver, l *layer) runtimes.Layer {
	out := runtimes.Layer{Key: l.ID, ID: l.ID, DiffID: l.DiffDigest, Blob: l.Compressed, ChainID: l.chain, Size: -1,
		TarSplit: join(l.store, d.name+layersDir+"/"+l.ID+tarSplit)}
	if l.DiffSize != nil {
		out.Size = *l.DiffSize
	}
	if slices.Contains(l.DataNames, tableKey) {
		out.Table = join(l.store, d.name+layersDir+"/"+l.ID+"/"+dataName(tableKey))
		out.TableLost = l.TOCDigest == ""
		out.Created = oci.Time(l.Created) // of others, when its folder was begun
	}
	out.Dir = d.dirOf(l.store, l.ID)
	return out
}

// folders is where a driver has a folder for each layer, in a graph root.
func (d *driver) folders() string {
	switch d.name {
	case driverVFS:
		return "vfs/dir"
	case driverBtrfs:
		return "btrfs/subvolumes"
	}
	return d.name
}

// dirOf is where a layer's files lie.
func (d *driver) dirOf(store, id string) string {
	at := join(store, d.folders()+"/"+id)
	if d.name == driverVFS || d.name == driverBtrfs {
		return at
	}
	return at + "/diff"
}

// compareLower compares the chain of parents with what the driver mounted.
func (s *Store) compareLower(d *driver, chain []*layer) error {
	at := join(chain[0].store, d.name+"/"+chain[0].ID+"/lower")
	raw, err := evidence.ReadFile(s.fsys, s.node, at, maxLower)
	if errors.Is(err, fs.ErrNotExist) && len(chain) == 1 {
		return nil
	}
	if err != nil {
		return err
	}
	var mounted, known []string
	for _, n := range strings.Split(strings.TrimSpace(string(raw)), ":") {
		short, ok := strings.CutPrefix(n, "l/")
		if !ok || !shortName(short) {
			return fmt.Errorf("%s: %q is no short name of a layer: %w", at, n, evidence.ErrCorrupt)
		}
		mounted = append(mounted, s.byShort(d, chain, short))
	}
	for _, l := range chain[1:] {
		known = append(known, l.ID)
	}
	if !slices.Equal(mounted, known) {
		return fmt.Errorf("%s names other layers (%s) than %s (%s): %w", at, strings.Join(mounted, " "), layersFile, strings.Join(known, " "), evidence.ErrCorrupt)
	}
	return nil
}

// shortName says whether s is a short name: 26 characters of base 32 (idLength, overlay.go).
func shortName(s string) bool {
	return len(s) == 26 && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
}

// byShort returns the layer that a short name stands for: by the link in l/ of
// one of the stores or, where that is missing, by the link files of the chain.
func (s *Store) byShort(d *driver, chain []*layer, short string) string {
	met := make(map[string]bool)
	for _, l := range chain {
		if met[l.store] {
			continue
		}
		met[l.store] = true
		if ino, err := evidence.Resolve(s.fsys, s.node, join(l.store, d.name+"/l/"+short), false); err == nil {
			if target, err := s.fsys.ReadLink(ino); err == nil {
				if folder := path.Base(path.Dir(target)); path.Base(target) == "diff" && folderName(folder) {
					return folder
				}
			}
		}
	}
	for _, l := range chain {
		own, err := evidence.ReadFile(s.fsys, s.node, join(l.store, d.name+"/"+l.ID+"/link"), maxLower)
		if err == nil && strings.TrimSpace(string(own)) == short {
			return l.ID
		}
	}
	return short
}
