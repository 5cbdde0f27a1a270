package docker

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// orphans finds folders of layers and mounts whose container or image is gone.
func (s *Store) orphans(add func(runtimes.Remnant)) {
	built := s.buildkit().Folders()
	for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
		d := s.drivers[name]
		mounted := map[string]bool{}
		for _, e := range list(s.fsys, s.node, join(d.db, mountDir)) {
			if m, err := s.mount(d, e.Name); err == nil || m.mount != "" {
				mounted[m.mount], mounted[m.mount+"-init"] = true, true
			}
			if oci.IsHex64(e.Name) && !s.listed(e.Name) {
				r := s.orphan(join(join(d.db, mountDir), e.Name), "mount without a container")
				r.Object, r.ID, r.Sure = runtimes.ObjectContainer, e.Name, runtimes.Sure
				if m, err := s.mount(d, e.Name); err == nil {
					c := runtimes.Container{ID: e.Name, Name: e.Name[:12], Kind: runtimes.KindContainer, Runtime: runtimes.Docker, State: runtimes.StateUnknown, StorePath: s.root,
						Snapshotter: d.name, Snapshot: m.mount}
					if c.Rootfs, err = s.rootfs(d, m); err != nil {
						r.Note += ": " + err.Error() // contradictory, and read past
					}
					r.Container = &c
				}
				add(r)
			}
		}
		for _, e := range list(s.fsys, s.node, path.Join(d.db, "layerdb/sha256")) {
			if strings.HasSuffix(e.Name, "-removing") {
				r := s.orphan(path.Join(d.db, "layerdb/sha256", e.Name), "a removal that was not finished")
				r.Object, r.ID, r.Sure = runtimes.ObjectSnapshot, e.Name, runtimes.Sure
				add(r)
			}
		}
		for _, e := range list(s.fsys, s.node, d.folders()) {
			if mounted[e.Name] || built[e.Name] || d.cached[e.Name] != nil || !d.isLayer(e) {
				continue
			}
			r := s.orphan(join(d.folders(), e.Name), "folder of a layer without a record")
			r.Object, r.ID, r.Sure = runtimes.ObjectSnapshot, e.Name, runtimes.Sure
			r.Snapshot = &runtimes.Snapshot{Runtime: runtimes.Docker, Snapshotter: d.name, StorePath: s.root, ID: e.Name, Key: e.Name, Size: -1, Inodes: -1, Kind: "unknown", Dir: join(d.folders(), e.Name)}
			add(r)
		}
	}
	for _, e := range list(s.fsys, s.node, join(s.root, containersDir)) {
		at := join(s.root, containersDir+"/"+e.Name)
		if oci.IsHex64(e.Name) && !exists(s.fsys, s.node, join(at, containerConfig)) && !exists(s.fsys, s.node, join(at, containerV1)) {
			r := s.orphan(at, "folder of a container without its configuration")
			r.Object, r.ID, r.Sure = runtimes.ObjectContainer, e.Name, runtimes.Sure
			add(r)
		}
	}
}

// orphan describes a folder without an owner.
func (s *Store) orphan(at, note string) runtimes.Remnant {
	return runtimes.Remnant{Source: at, Place: "folder", Offset: -1, Note: note, Existed: traces.Born(s.fsys, s.node, at)}
}

// RemovedRootfs names the folders of a removed container, by what its mount of
// layers said: the folder that it wrote to, which may be gone, and its image's layers.
func (s *Store) RemovedRootfs(driverName, mount, parent string) runtimes.Rootfs {
	s.once.Do(s.load)
	d := s.drivers[driverName]
	if d == nil || d.name != driverOverlay2 || !folderName(mount) {
		return runtimes.Rootfs{Problem: fmt.Errorf("mount %q of driver %q: %w", mount, driverName, evidence.ErrUnsupported)}
	}
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, UserXattr: s.userMark,
		Upper: runtimes.Layer{Dir: join(d.dir, mount+"/diff"), ID: mount, Key: mount, Size: -1}}
	if oci.IsSHA256(parent) {
		image, _ := s.layersOf(d, parent)
		r.Lower, r.Problem = image.Lower, image.Problem
	}
	return r
}
