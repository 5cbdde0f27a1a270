package analyzer

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
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
	all = c.adopt(all)
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

// adopt finds the folders of the containers whose records don't name theirs: the
// runtime makes a container's layer in the moment in which it notes the container. It
// returns the layers that are left. Where more than one may be meant, none is.
func (c *removedCollector) adopt(layers []*goneLayer) []*goneLayer {
	owned := map[*goneLayer]bool{}
	for _, m := range c.all {
		if m.Object != runtimes.ObjectContainer || m.Container == nil || m.Container.Rootfs.Upper.Dir != "" || m.Container.Created.IsZero() || c.mounts[m.ID].id != "" {
			continue
		}
		var mine []*goneLayer
		for _, l := range layers {
			if l.store.Path() == m.Container.StorePath && !l.first.IsZero() && l.first.Sub(m.Container.Created).Abs() <= madeTogether {
				mine = append(mine, l)
			}
		}
		if len(mine) != 1 || owned[mine[0]] || c.twins(m) {
			continue
		}
		l := mine[0]
		owned[l] = true
		inside := "/diff"
		if l.store.Runtime() == runtimes.Containerd {
			inside = "/fs"
		}
		m.Container.Snapshot = cmp.Or(m.Container.Snapshot, l.id)
		m.Container.Rootfs = runtimes.Rootfs{Kind: runtimes.RootfsOverlay, Upper: runtimes.Layer{Dir: l.dir + inside, ID: l.id, Key: l.id, Size: -1}}
		r := l.remnant()
		r.Object, r.ID, r.Snapshot, r.Sure, r.Note = runtimes.ObjectContainer, m.ID, nil, runtimes.Likely, "the only folder of a layer that was made when the container was"
		m.take(m.store, r)
	}
	return slices.DeleteFunc(layers, func(l *goneLayer) bool { return owned[l] })
}

// madeTogether is the time within which a container's layer and its record are made.
const madeTogether = time.Second / 4

// twins says whether another removed container was made at the same time.
func (c *removedCollector) twins(m *Removed) bool {
	for _, o := range c.all {
		if o != m && o.Container != nil && o.StorePath == m.StorePath && !o.Container.Created.IsZero() && o.Container.Created.Sub(m.Container.Created).Abs() <= 2*madeTogether {
			return true
		}
	}
	return false
}

// lowerOf gives a removed container the layers of its image, where that is there
// still and nothing else says what it stood on.
func (c *removedCollector) lowerOf(m *Container) {
	if m.Rootfs.Upper.Dir == "" || len(m.Rootfs.Lower) > 0 {
		return
	}
	for _, i := range c.n.Images() {
		if i.StorePath != m.StorePath || i.Rootfs.Kind != runtimes.RootfsOverlay || m.ImageID != i.ID && (m.ImageID != "" || !slices.Contains(i.Names, m.Image)) {
			continue
		}
		upper := m.Rootfs.Upper
		m.Rootfs = i.Rootfs
		m.Rootfs.Upper = upper
		return
	}
}
