package analyzer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lagan/runtimes"
)

// images tells of an image for each collection of garbage that took layers and
// blobs of one store.
func (c *removedCollector) images(layers []*goneLayer, blobs []goneBlob) {
	for len(layers) > 0 {
		n := 1
		for n < len(layers) && layers[n].gone.Sub(layers[n-1].gone) <= sameRemoval {
			n++
		}
		byStore := map[string][]*goneLayer{}
		for _, l := range layers[:n] {
			if len(l.files) > 0 { // others are made and dropped while images are unpacked and compared
				byStore[l.store.Path()] = append(byStore[l.store.Path()], l)
			}
		}
		layers = layers[n:]
		for _, store := range slices.Sorted(maps.Keys(byStore)) {
			c.image(byStore[store], blobs)
		}
	}
}

// image tells of an image by its layers and the blobs that went with them.
func (c *removedCollector) image(layers []*goneLayer, blobs []goneBlob) {
	first, last := layers[0].gone.Add(-sameRemoval), layers[len(layers)-1].gone.Add(sameRemoval)
	var digests, ids, files []string
	for _, b := range blobs {
		if b.store.Path() == layers[0].store.Path() && !b.gone.Before(first) && !b.gone.After(last) && !slices.Contains(digests, b.digest) {
			digests = append(digests, b.digest)
		}
	}
	if len(digests) == 0 {
		return
	}
	r := layers[0].remnant()
	for _, l := range layers {
		ids = append(ids, l.id)
		files = append(files, l.files...)
		if !l.first.IsZero() && l.first.Before(r.Existed) {
			r.Existed = l.first
		}
	}
	slices.Sort(digests)
	r.Object, r.Snapshot, r.ID = runtimes.ObjectImage, nil, layers[0].driver+"/"+strings.Join(ids, ",")
	r.Image = &runtimes.Image{Runtime: r.Runtime, StorePath: r.StorePath, Size: -1}
	r.Gone, r.Sure, r.Place = endOf(layers[len(layers)-1].gone), runtimes.Likely, "deleted folders and blobs"
	r.Note = fmt.Sprintf("%d layers and %d blobs went within seconds of each other: an image was removed; its name is not known by this", len(ids), len(digests))
	r.Files, r.Blobs = files[:min(len(files), maxLayerFiles)], digests
	for _, d := range digests { // containerd notes of each blob where it came from
		if b := c.by[c.key(&runtimes.Remnant{Object: runtimes.ObjectContent, StorePath: r.StorePath, ID: d})]; b != nil && r.Name == "" {
			r.Name = b.best("name")
		}
	}
	if m := c.imageOf(r.StorePath, digests); m != nil {
		r.ID, r.Image = m.ID, nil
		m.take(layers[0].store, r)
		return
	}
	c.add(layers[0].store, r)
}

// imageOf finds the removed image whose manifest or configuration is among the blobs.
func (c *removedCollector) imageOf(store string, digests []string) *Removed {
	for _, m := range c.all {
		if m.Object == runtimes.ObjectImage && m.StorePath == store && m.Image != nil && (slices.Contains(digests, m.Image.ID) || slices.Contains(digests, m.Image.Digest)) {
			return m
		}
	}
	return nil
}

// sameSnapshot finds the removed snapshot that had a folder, where its database tells of it.
func (c *removedCollector) sameSnapshot(l *goneLayer) *Removed {
	for _, m := range c.all {
		if s := m.Snapshot; m.Object == runtimes.ObjectSnapshot && s != nil && m.StorePath == l.store.Path() && s.Snapshotter == l.driver && s.ID == l.id {
			return m
		}
	}
	return nil
}

// imageEnv lists what an image sets in the environment, apart from PATH: versions
// of what it was made for stand there.
func imageEnv(i *runtimes.Image) []string {
	var doc struct {
		Config struct{ Env []string } `json:"config"`
	}
	if len(i.Config) == 0 || json.Unmarshal(i.Config, &doc) != nil {
		return nil
	}
	env := slices.DeleteFunc(doc.Config.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	return env[:min(len(env), maxLayerFiles)]
}
