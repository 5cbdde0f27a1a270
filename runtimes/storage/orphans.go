package storage

import (
	"lagan/runtimes"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// orphans finds folders of layers, images and containers that no list names.
func (s *Store) orphans() []runtimes.Remnant {
	var out []runtimes.Remnant
	add := func(object runtimes.Object, id, at, note string) *runtimes.Remnant {
		out = append(out, runtimes.Remnant{Object: object, Runtime: s.Runtime(), StorePath: s.root, ID: id, Source: at, Place: "folder", Offset: -1, Sure: runtimes.Sure, Note: note,
			Existed: traces.Born(s.fsys, s.node, at)})
		return &out[len(out)-1]
	}
	for _, d := range s.drivers {
		for _, e := range s.names(join(s.root, d.folders())) {
			switch at := join(s.root, d.folders()+"/"+e); {
			case e == "tempdirs":
				for _, t := range s.names(at) {
					add(runtimes.ObjectSnapshot, t, at+"/"+t, "a removal that was not finished")
				}
			case oci.IsHex64(e) && d.layers[e] == nil:
				add(runtimes.ObjectSnapshot, e, at, "folder of a layer without a record").Snapshot = &runtimes.Snapshot{Runtime: s.Runtime(), Snapshotter: d.name,
					StorePath: s.root, ID: e, Key: e, Size: -1, Inodes: -1, Kind: "unknown", Dir: d.dirOf(s.root, e)}
			}
		}
		for _, e := range s.names(join(s.root, d.name+containersDir)) {
			if oci.IsHex64(e) && !s.listsContainer(e) {
				add(runtimes.ObjectContainer, e, join(s.root, d.name+containersDir+"/"+e), "folder of a container without a record")
			}
		}
		for _, e := range s.names(join(s.root, d.name+imagesDir)) {
			if oci.IsHex64(e) && !s.listsImage(e) {
				add(runtimes.ObjectImage, "sha256:"+e, join(s.root, d.name+imagesDir+"/"+e), "folder of an image without a record")
			}
		}
	}
	return out
}
