package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// Document understands config.v2.json, as it was before a container's removal,
// the names of images as they were before some were taken away, and the
// configurations of images that are gone.
func (s *Store) Document(at string, raw []byte) []runtimes.Remnant {
	s.once.Do(s.load)
	if i := slices.Index(raw, 0); i >= 0 {
		raw = raw[:i]
	}
	switch {
	case bytes.HasPrefix(raw, []byte(`{"StreamConfig"`)):
		return s.containerDocument(at, raw)
	case bytes.HasPrefix(raw, []byte(`{"Repositories":{`)):
		return s.repositoriesDocument(at, raw)
	}
	return s.imageDocument(at, raw)
}

// containerDocument reads an older config.v2.json.
func (s *Store) containerDocument(at string, raw []byte) []runtimes.Remnant {
	var cfg configV2
	kept, err := oci.Document(raw, &cfg)
	if !oci.IsHex64(cfg.ID) || s.listed(cfg.ID) {
		return nil
	}
	c := runtimes.Container{ID: cfg.ID, Name: cfg.ID[:12], Kind: runtimes.KindContainer, Runtime: runtimes.Docker, State: runtimes.StateUnknown, StorePath: s.root}
	s.describe(&c, &cfg)
	if kept != nil {
		c.Records = map[string]json.RawMessage{containerConfig: kept}
	}
	if s.place(&c, &cfg) != nil {
		err = errors.Join(err, c.Rootfs.Problem)
	}
	r := runtimes.Remnant{Object: runtimes.ObjectContainer, Runtime: runtimes.Docker, StorePath: s.root, ID: c.ID, Name: c.Name, Container: &c, Pod: c.Pod,
		Existed: c.Created, Source: at, Place: containerConfig, Offset: -1, Sure: runtimes.Sure, Complete: err == nil}
	if err != nil {
		r.Sure, r.Note = runtimes.Doubtful, "part of the document is gone"
	}
	return []runtimes.Remnant{r}
}

// listed says whether a container is there.
func (s *Store) listed(id string) bool {
	return slices.ContainsFunc(s.containers, func(e evidence.Entry) bool { return e.Name == id })
}

// listsImage says whether an image's configuration is there.
func (s *Store) listsImage(id string) bool {
	for _, d := range s.drivers {
		if exists(s.fsys, s.node, join(d.db, imageContent+"/"+strings.TrimPrefix(id, "sha256:"))) {
			return true
		}
	}
	return false
}

// repositoriesDocument reads an older repositories.json: each change writes it
// anew. It names images that are gone.
func (s *Store) repositoriesDocument(at string, raw []byte) []runtimes.Remnant {
	var doc repositoriesJSON
	if oci.Decode(raw, &doc) != nil {
		return nil
	}
	names := map[string][]string{}
	for _, refs := range doc.Repositories {
		for ref, id := range refs {
			if oci.IsSHA256(id) && !s.listsImage(id) {
				names[id] = append(names[id], ref)
			}
		}
	}
	var out []runtimes.Remnant
	for _, id := range slices.Sorted(maps.Keys(names)) {
		img := runtimes.Image{Runtime: runtimes.Docker, StorePath: s.root, ID: id, Size: -1}
		nameImage(&img, names[id])
		out = append(out, runtimes.Remnant{Object: runtimes.ObjectImage, Runtime: runtimes.Docker, StorePath: s.root, ID: id, Name: img.Names[0], Image: &img,
			Source: at, Place: "older " + repositories, Offset: -1, Sure: runtimes.Sure, Complete: true})
	}
	return out
}

// imageDocument reads the configuration of an image that is gone, which its digest proves.
func (s *Store) imageDocument(at string, raw []byte) []runtimes.Remnant {
	digest := path.Base(at)
	if !strings.Contains(at, "/"+imageContent+"/") || !oci.IsHex64(digest) || oci.Digest(raw) != "sha256:"+digest || s.listsImage(digest) {
		return nil
	}
	img := runtimes.Image{Runtime: runtimes.Docker, StorePath: s.root, ID: "sha256:" + digest, Size: -1}
	if oci.Configure(&img, raw) != nil || len(img.Layers) == 0 && img.OS == "" {
		return nil
	}
	return []runtimes.Remnant{{Object: runtimes.ObjectImage, Runtime: runtimes.Docker, StorePath: s.root, ID: img.ID, Image: &img,
		Source: at, Place: "configuration", Offset: -1, Sure: runtimes.Sure, Complete: true}}
}
