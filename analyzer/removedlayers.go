package analyzer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
)

// layerFolders are the folders that layers have, by runtime: the snapshotter or
// driver, the folder's own name, and what lay in the layer.
var layerFolders = []struct {
	runtime runtimes.Name
	path    *regexp.Regexp
}{
	{runtimes.Containerd, regexp.MustCompile(`/io\.containerd\.snapshotter\.v1\.([0-9A-Za-z._-]+)/snapshots/([0-9]+)(?:/fs(?:/(.+))?)?$`)},
	{runtimes.Docker, regexp.MustCompile(`/(overlay2|fuse-overlayfs)/([0-9a-z]{20,})(?:/diff(?:/(.+))?)?$`)},
	{runtimes.Podman, regexp.MustCompile(`/(overlay)/([0-9a-f]{64})(?:/diff(?:/(.+))?)?$`)},
}

// blobPlace is how containerd's content store calls a blob: plugins/content/local/store.go.
var blobPlace = regexp.MustCompile(`/io\.containerd\.content\.v1\.content/blobs/sha256/([0-9a-f]{64})$`)

// goneLayer is the folder of a layer that was deleted.
type goneLayer struct {
	store      Store
	driver, id string
	dir        string
	first      time.Time // its oldest file's birth
	gone       time.Time
	files      []string
}

// goneBlob is a blob that was deleted.
type goneBlob struct {
	store  Store
	digest string
	gone   time.Time
}

// Bounds of what is kept of a removed layer, and the time within which one
// collection of garbage takes what an image leaves: ext4 keeps whole seconds.
const (
	maxLayerFiles = 16
	sameRemoval   = 2 * time.Second
)

// fromLayers takes the layers and blobs that deleted files belonged to. Where
// both went at once, an image was removed, whatever it was called.
func (c *removedCollector) fromLayers(files []*RecoveredFile) error {
	layers := map[string]*goneLayer{}
	var blobs []goneBlob
	wanted := c.wantedBlobs()
	for _, f := range files {
		if m := blobPlace.FindStringSubmatch(f.Path); m == nil {
			c.layer(layers, f, f.Path)
		} else if b, ok := c.blob(f, m[1]); ok && !wanted[b.digest] {
			blobs = append(blobs, b)
			c.add(b.store, b.remnant(f))
		}
	}
	var all []*goneLayer
	for _, l := range layers {
		if c.stat(l.dir).Type != evidence.TypeDir { // else its container deleted a file
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *goneLayer) int {
		return cmp.Or(a.gone.Compare(b.gone), cmp.Compare(len(a.id), len(b.id)), cmp.Compare(a.dir, b.dir))
	})
	owners := c.owners()
	all = slices.DeleteFunc(all, func(l *goneLayer) bool {
		m := owners[l.dir]
		if m == nil {
			m = owners[l.id]
		}
		if m != nil { // what a container wrote to
			r := l.remnant()
			r.Object, r.ID, r.Snapshot = runtimes.ObjectContainer, m.ID, nil
			m.take(m.store, r)
		}
		return m != nil
	})
	for _, l := range all {
		if m := c.sameSnapshot(l); m != nil {
			m.take(l.store, l.remnant())
		} else {
			c.add(l.store, l.remnant())
		}
	}
	c.images(all, blobs)
	return nil
}

// owners finds the removed containers by the folders that they wrote to.
func (c *removedCollector) owners() map[string]*Removed {
	out := map[string]*Removed{}
	for _, m := range c.all {
		if m.Object != runtimes.ObjectContainer {
			continue
		}
		if m.Container != nil && m.Container.Rootfs.Upper.Dir != "" {
			out[path.Dir(m.Container.Rootfs.Upper.Dir)] = m
		}
		if mount := c.mounts[m.ID]; mount.id != "" {
			out[mount.id] = m
		}
	}
	return out
}

// wantedBlobs are those of images that are there: what was dropped once its layer
// was unpacked tells of no removal.
func (c *removedCollector) wantedBlobs() map[string]bool {
	out := map[string]bool{}
	for _, i := range c.n.Images() {
		for _, b := range append(slices.Clone(i.Documents), i.Blobs...) {
			out[b.Digest] = true
		}
	}
	return out
}

// blob takes the deleted file of a blob.
func (c *removedCollector) blob(f *RecoveredFile, hex string) (goneBlob, bool) {
	s, ok := c.storeOf(runtimes.Containerd, f.Path)
	if !ok || f.Info.Type == evidence.TypeDir || c.stat(f.Path).Type == evidence.TypeFile {
		return goneBlob{}, false
	}
	return goneBlob{s, "sha256:" + hex, f.gone()}, true
}

func (b *goneBlob) remnant(f *RecoveredFile) runtimes.Remnant {
	return runtimes.Remnant{Object: runtimes.ObjectContent, Runtime: runtimes.Containerd, StorePath: b.store.Path(), ID: b.digest, Existed: f.Info.Btime, Gone: endOf(b.gone),
		Source: f.Path, Place: "deleted, " + string(f.State), Offset: -1, Sure: runtimes.Sure, Note: fmt.Sprintf("a blob of %d bytes", f.Info.Size)}
}

// endOf is the last moment that a time may stand for: some filesystems keep whole seconds.
func endOf(t time.Time) time.Time {
	if !t.IsZero() && t.Nanosecond() == 0 {
		return t.Add(time.Second - 1)
	}
	return t
}

// layer takes a deleted file that lay in a layer's folder, or the folder.
func (c *removedCollector) layer(layers map[string]*goneLayer, f *RecoveredFile, at string) {
	for _, place := range layerFolders {
		m := place.path.FindStringSubmatchIndex(at)
		if m == nil {
			continue
		}
		s, ok := c.storeOf(place.runtime, at)
		if !ok || f.gone().IsZero() {
			return
		}
		dir := at[:m[5]]
		l := layers[dir]
		if l == nil {
			l = &goneLayer{store: s, driver: at[m[2]:m[3]], id: at[m[4]:m[5]], dir: dir}
			layers[dir] = l
		}
		if f.gone().After(l.gone) {
			l.gone = f.gone()
		}
		if b := f.Info.Btime; !b.IsZero() && (l.first.IsZero() || b.Before(l.first)) {
			l.first = b
		}
		if m[6] >= 0 && f.Info.Type != evidence.TypeDir && len(l.files) < maxLayerFiles {
			if name := "/" + at[m[6]:m[7]]; !slices.Contains(l.files, name) {
				l.files = append(l.files, name)
			}
		}
		return
	}
}

func (l *goneLayer) remnant() runtimes.Remnant {
	return runtimes.Remnant{Object: runtimes.ObjectSnapshot, Runtime: l.store.Runtime(), StorePath: l.store.Path(), ID: l.driver + "/" + l.id, Existed: l.first, Gone: endOf(l.gone),
		Source: l.dir, Place: "deleted folder", Offset: -1, Sure: runtimes.Sure, Files: l.files,
		Snapshot: &runtimes.Snapshot{Runtime: l.store.Runtime(), Snapshotter: l.driver, StorePath: l.store.Path(), ID: l.id, Dir: l.dir, Size: -1, Inodes: -1, Kind: "unknown"}}
}

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
