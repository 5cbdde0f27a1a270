package docker

import (
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

// Images yields every image configuration of every driver's store, in the
// order of their ids, tagged or not; then the names that lead to none.
func (s *Store) Images() iter.Seq2[runtimes.Image, error] {
	return func(yield func(runtimes.Image, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Image{}, err) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
			d := s.drivers[name]
			if !s.imagesOf(d, yield) {
				return
			}
			if !d.graph {
				continue
			}
			for img, err := range s.graphImages(d) {
				if !yield(img, err) {
					return
				}
			}
		}
	}
}

func (s *Store) imagesOf(d *driver, yield func(runtimes.Image, error) bool) bool {
	names, err := s.names(d)
	if err != nil && !yield(runtimes.Image{}, err) {
		return false
	}
	for _, e := range list(s.fsys, s.node, join(d.db, imageContent)) {
		if !oci.IsHex64(e.Name) {
			continue
		}
		img, err := s.image(d, e.Name, names["sha256:"+e.Name])
		delete(names, "sha256:"+e.Name)
		if !yield(img, nil) || err != nil && !yield(runtimes.Image{}, fmt.Errorf("image sha256:%s: %w", e.Name, err)) {
			return false
		}
	}
	for _, id := range slices.Sorted(maps.Keys(names)) {
		img := runtimes.Image{Runtime: runtimes.Docker, StorePath: s.root, ID: id, Size: -1}
		nameImage(&img, names[id])
		err := fmt.Errorf("image %s, called %s: its configuration is not in %s: %w", id, strings.Join(names[id], " "), join(d.db, imageContent), fs.ErrNotExist)
		if !yield(img, nil) || !yield(runtimes.Image{}, err) {
			return false
		}
	}
	return true
}

// names returns the references of each image id, from repositories.json.
func (s *Store) names(d *driver) (map[string][]string, error) {
	out := make(map[string][]string)
	at := join(d.db, repositories)
	raw, err := evidence.ReadFile(s.fsys, s.node, at, maxRepositories)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	var doc repositoriesJSON
	err = oci.Decode(raw, &doc)
	if err != nil {
		err = fmt.Errorf("%s: %w", at, err)
	}
	for _, refs := range doc.Repositories {
		for ref, id := range refs {
			out[id] = append(out[id], ref)
		}
	}
	return out, err
}

// nameImage puts the tags first and takes the digest from the references by digest.
func nameImage(img *runtimes.Image, refs []string) {
	slices.Sort(refs)
	var digests []string
	for _, ref := range refs {
		if _, digest, ok := strings.Cut(ref, "@"); ok {
			digests = append(digests, ref)
			if img.Digest == "" {
				img.Digest = digest
			}
			continue
		}
		img.Names = append(img.Names, ref)
	}
	img.Names = append(img.Names, digests...)
}

func (s *Store) image(d *driver, hexed string, refs []string) (runtimes.Image, error) {
	img := runtimes.Image{Runtime: runtimes.Docker, StorePath: s.root, ID: "sha256:" + hexed, Size: -1}
	nameImage(&img, refs)
	var failed []error
	at := join(d.db, imageContent+"/"+hexed)
	img.Documents = []runtimes.Blob{{Kind: "config", Digest: img.ID, Size: -1, Path: at}}
	raw, err := evidence.ReadFile(s.fsys, s.node, at, maxImage)
	if err == nil {
		if oci.Digest(raw) != img.ID {
			failed = append(failed, fmt.Errorf("%s: its content has the digest %s: %w", at, oci.Digest(raw), evidence.ErrCorrupt))
		}
		if err = oci.Configure(&img, raw); err != nil {
			err = fmt.Errorf("%s: %w", at, err)
		}
	}
	failed = append(failed, err)
	text, err := s.short(join(d.db, imageMeta+"/"+hexed+"/lastUpdated"))
	failed = append(failed, err)
	img.Updated = oci.Time(text)
	img.Pulled = img.Updated
	if chains := oci.ChainIDs(img.Layers); len(chains) > 0 {
		img.Rootfs, img.Size = s.layersOf(d, chains[len(chains)-1])
	} else if len(raw) > 0 {
		img.Size = 0 // an image FROM scratch, without a layer
	}
	return img, errors.Join(failed...)
}

// layersOf names the folders of a chain id and sums up their sizes.
func (s *Store) layersOf(d *driver, top string) (runtimes.Rootfs, int64) {
	chain, err := d.chain(top)
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, UserXattr: s.userMark, Problem: err}
	size := int64(0)
	for _, l := range chain {
		if size >= 0 && l.size >= 0 {
			size += l.size
		} else {
			size = -1
		}
		if l.cache != "" {
			r.Lower = append(r.Lower, d.layerOf(l.cache))
		} else if r.Problem == nil {
			r.Problem = fmt.Errorf("layer %q has no cache-id: %w", l.chain, evidence.ErrCorrupt)
		}
	}
	if err != nil {
		size = -1
	}
	s.finish(d, &r)
	return r, size
}

// finish says how the folders of an image's layers are read, all of which r has.
func (s *Store) finish(d *driver, r *runtimes.Rootfs) {
	switch d.name {
	case driverOverlay2:
	case driverFuse:
		r.Marks = runtimes.MarksFuse
	case driverAUFS:
		r.Marks = runtimes.MarksAUFS
	case driverVFS, driverBtrfs, driverDevicemapper:
		r.Lower = r.Lower[:min(1, len(r.Lower))]
	case driverOverlay:
		r.Lower = r.Lower[:min(1, len(r.Lower))]
		for i := range r.Lower {
			r.Lower[i].Dir = strings.TrimSuffix(r.Lower[i].Dir, "/diff") + "/root"
		}
	default:
		id := ""
		if len(r.Lower) > 0 {
			id = r.Lower[0].ID
		}
		r.Kind, r.Problem = runtimes.RootfsUnknown, s.elsewhere(d, id)
	}
	if r.Kind == runtimes.RootfsOverlay && len(r.Lower) == 1 {
		r.Kind = runtimes.RootfsBind
	}
}

// Snapshots yields every folder of every storage driver, with the layer or
// container that it belongs to. Kind is committed for an image's layer, active
// for a container's, init for what dockerd put between the two, and unknown for
// a folder that no record names: most often what is left of something deleted.
func (s *Store) Snapshots() iter.Seq2[runtimes.Snapshot, error] {
	return func(yield func(runtimes.Snapshot, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Snapshot{}, err) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
			d := s.drivers[name]
			mounts := make(map[string]string)
			for _, e := range list(s.fsys, s.node, join(d.db, mountDir)) {
				m, _ := s.mount(d, e.Name)
				mounts[m.mount] = e.Name
				mounts[m.init] = e.Name
			}
			for _, e := range list(s.fsys, s.node, d.folders()) {
				if !d.isLayer(e) {
					continue
				}
				if !yield(s.snapshot(d, e.Name, mounts), nil) {
					return
				}
			}
		}
	}
}

// folders is where a driver's layers lie.
func (d *driver) folders() string {
	switch d.name {
	case driverVFS:
		return d.dir + "/dir"
	case driverBtrfs:
		return d.dir + "/subvolumes"
	case driverAUFS:
		return d.dir + "/diff"
	case driverDevicemapper:
		return d.dir + "/" + thinDevices
	case driverZFS:
		return d.dir + "/graph"
	}
	return d.dir
}

func (s *Store) snapshot(d *driver, folder string, mounts map[string]string) runtimes.Snapshot {
	out := runtimes.Snapshot{Runtime: runtimes.Docker, Snapshotter: d.name, StorePath: s.root, ID: folder, Key: folder,
		Name: folder, Kind: "unknown", Size: -1, Inodes: -1, Dir: d.layerOf(folder).Dir}
	if l := d.cached[folder]; l != nil {
		out.Kind, out.Name, out.Size = "committed", l.chain, l.size
		if p := d.layers[l.parent]; p != nil {
			out.Parent = p.cache
		}
		return out
	}
	if id := mounts[folder]; id != "" {
		out.Name, out.Kind = id, "active"
		if strings.HasSuffix(folder, "-init") {
			out.Kind = "init"
		}
	}
	if lower, err := s.lower(d, folder); err == nil && len(lower) > 0 {
		out.Parent = lower[0]
	}
	return out
}
