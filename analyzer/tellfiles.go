package analyzer

import (
	"errors"
	"io"
	"slices"

	"lagan/evidence"
	"lagan/layers"
	"lagan/runtimes"
	"lagan/timeline"
)

// sinkError marks an error of the output: nothing more can be told.
type sinkError struct{ error }

func (e sinkError) Unwrap() error { return e.error }

func isSinkError(err error) bool {
	var s sinkError
	return errors.As(err, &s)
}

// fileTypes are the timeline's words for types of inodes.
var fileTypes = [...]timeline.FileType{
	evidence.TypeUnknown: timeline.UnknownFile,
	evidence.TypeFile:    timeline.RegularFile, evidence.TypeDir: timeline.Directory, evidence.TypeSymlink: timeline.Link,
	evidence.TypeChar: timeline.CharDevice, evidence.TypeBlock: timeline.BlockDevice, evidence.TypeFIFO: timeline.Pipe,
	evidence.TypeSocket: timeline.Socket,
}

// containerFiles tells the files of a container: what it changed, or all that it had.
func (t *teller) containerFiles(c *Container) error {
	if t.o.Merged && t.find != nil && (c.Rootfs.Kind != runtimes.RootfsUnknown || c.Rootfs.Problem != nil) {
		if err := t.n.Changes(t.ctx, c, ChangeOptions{}, func(ch Change) error { t.find.change(c, &ch); return nil }); err != nil {
			return err
		}
	}
	if t.o.Merged {
		return t.merged(c)
	}
	return t.changes(c)
}

// changes tells what a container added, changed and deleted.
func (t *teller) changes(c *Container) error {
	if c.Rootfs.Kind == runtimes.RootfsUnknown && c.Rootfs.Problem == nil {
		return nil // nothing on the disk says that it ever had a root filesystem
	}
	common := t.containerCommon(c, "overlay")
	prefix := "CONTAINER:" + c.DisplayName() + ":"
	return t.n.Changes(t.ctx, c, ChangeOptions{}, func(ch Change) error {
		if t.find != nil {
			t.find.change(c, &ch)
		}
		return t.containerFile(c, common, prefix, &ch, changeKind(&ch))
	})
}

// containerFile tells one file of a container.
func (t *teller) containerFile(c *Container, common *timeline.Common, prefix string, ch *Change, kind string) error {
	t.r.Reset(timeline.FSStat, common)
	t.r.Path(prefix, ch.Path)
	t.r.String(timeline.FieldChangeKind, kind)
	t.r.String(timeline.FieldSnapshotKey, c.Snapshot)
	t.changedFile(ch, c)
	t.r.Template(timeline.ContainerFileMessage)
	if err := t.tell(); err != nil {
		return sinkError{err}
	}
	return nil
}

func changeKind(ch *Change) string {
	switch {
	case ch.Kind == layers.Deleted && ch.Opaque:
		return "opaque"
	case ch.Kind != layers.Modified:
		return string(ch.Kind)
	}
	for _, what := range ch.Changed {
		switch what {
		case layers.ChangedContent, layers.ChangedType, layers.ChangedTarget:
			return "modified"
		}
	}
	return "metadata_modified"
}

func (t *teller) changedFile(ch *Change, c *Container) {
	i := &ch.Info
	deleted := ch.Kind == layers.Deleted
	typ := fileTypes[i.Type]
	if deleted {
		typ = timeline.Whiteout
	}
	t.r.Bool(timeline.FieldIsAllocated, !deleted)
	t.r.File(typ, i.Perm)
	if deleted {
		// What is known of the whiteout is when it was made: the rest is the
		// file's that it hides, and is told with the image's layer.
		t.r.String(timeline.FieldLayerSource, "upper")
		t.r.Time(timeline.ContentDeleted, ch.Deleted)
		t.r.String(timeline.FieldTimeAssumption, "when the mark was made that hides the path")
		return
	}
	source := "upper"
	if ch.Layer != source {
		source = "lower"
		t.r.String(timeline.FieldLayerDigest, ch.Layer)
	}
	t.r.String(timeline.FieldLayerSource, source)
	t.r.Uint(timeline.FieldInode, i.Inode)
	t.r.Int(timeline.FieldFileSize, i.Size)
	t.r.Int(timeline.FieldOwnerIdentifier, int64(i.UID))
	t.r.Int(timeline.FieldGroupIdentifier, int64(i.GID))
	t.r.Int(timeline.FieldNumberOfLinks, int64(i.Nlink))
	t.r.String(timeline.FieldSymbolicLinkTarget, ch.Target)
	if source == "upper" {
		t.r.String(timeline.FieldBackingPath, c.Rootfs.Upper.Dir)
	}
	if len(ch.Xattrs) > 0 {
		names := make([]string, 0, len(ch.Xattrs))
		for k := range ch.Xattrs {
			names = append(names, k)
		}
		slices.Sort(names)
		t.r.Strings(timeline.FieldAttributeNames, names)
	}
	if i.FromJournal {
		t.r.Bool(timeline.FieldFromJournal, true)
	}
	if t.o.Hash && i.Type == evidence.TypeFile {
		t.r.String(timeline.FieldSHA256Hash, t.hashInView(c, &ch.File))
	}
	t.r.Time(timeline.Modified, i.Mtime)
	t.r.Time(timeline.Accessed, i.Atime)
	t.r.Time(timeline.MetadataChanged, i.Ctime)
	t.r.Time(timeline.Created, i.Btime)
}

// folder says whose files lie in a folder of the node: a layer's, so that they
// are told as the layer's, or an upper's, which its container's changes tell.
type folder struct {
	common *timeline.Common // nil: told elsewhere
	prefix string
	layer  bool // a 0:0 device in it is a whiteout
	diffID string
}

type place struct {
	fsys evidence.FS
	ino  evidence.Ino
}

func (p place) open() (*io.SectionReader, error) { return p.fsys.Open(p.ino) }

// locate returns the filesystem that a handle of the store's tree lies in.
func locate(tree evidence.FS, ino evidence.Ino) place {
	if j, ok := tree.(*joined); ok {
		if fsys, _, i, err := j.part(ino); err == nil {
			return place{fsys, i}
		}
	}
	return place{tree, ino}
}

// volumeFolders finds the folders of volumes: their files are told under the
// node's paths, with the volume, the pod and the containers that mount it.
func (t *teller) volumeFolders() map[place]func(*timeline.Record) {
	out := make(map[place]func(*timeline.Record))
	if t.o.Scope == ScopeNode {
		return out
	}
	byID := make(map[string]*Container)
	for _, c := range t.n.Containers() {
		byID[c.ID] = c
	}
	for _, v := range t.n.DataVolumes() {
		if v.Mountpoint == "" || v.store.Tree == nil || len(v.Containers) == 0 && v.Pod.UID == "" {
			continue
		}
		ino, err := evidence.Resolve(v.store.Tree, v.store.Tree.Root(), v.Mountpoint, true)
		if err != nil {
			continue // a volume that isn't there: its own record says so
		}
		var only *Container
		if len(v.Containers) == 1 {
			only = byID[v.Containers[0]]
		}
		out[locate(v.store.Tree, ino)] = func(r *timeline.Record) { v.identify(r, only) }
	}
	return out
}

// identify says which volume a record is of, and which containers mount it.
func (v *DataVolume) identify(r *timeline.Record, only *Container) {
	switch {
	case only != nil:
		identify(r, only)
	case v.Pod.UID != "":
		r.String(timeline.FieldKubernetesNamespace, v.Pod.Namespace)
		r.String(timeline.FieldKubernetesPodName, v.Pod.Name)
		r.String(timeline.FieldKubernetesPodUID, v.Pod.UID)
	}
	r.String(timeline.FieldVolume, v.Name)
	r.String(timeline.FieldVolumeDriver, v.Driver)
	if len(v.Containers) > 0 {
		r.String(timeline.FieldResources, jsonText(v.Containers, len(v.Containers)))
	}
}

// folders finds the folders of all layers. A layer that several images have is
// told once, under the name that comes first.
func (t *teller) folders() map[place]folder {
	out := make(map[place]folder)
	if t.o.Scope == ScopeNode {
		return out
	}
	for _, c := range t.n.Containers() {
		if c.Rootfs.Upper.Dir == "" || c.Rootfs.Problem != nil {
			continue
		}
		if ino, err := t.n.layerRoot(c.store, c.Rootfs.Upper.Dir); err == nil {
			out[locate(c.store.Tree, ino)] = folder{}
		}
	}
	for _, i := range t.n.Images() {
		t.layerFolders(out, i.store, i.DisplayName(), i.Digest, i.Rootfs.Lower)
	}
	for _, c := range t.n.Containers() {
		if skip := c.Rootfs.InitLayers; skip <= len(c.Rootfs.Lower) {
			t.layerFolders(out, c.store, c.Image, c.ImageDigest, c.Rootfs.Lower[skip:])
		}
	}
	return out
}

func (t *teller) layerFolders(out map[place]folder, s Store, image, digest string, lower []runtimes.Layer) {
	for k, l := range lower {
		ino, err := t.n.layerRoot(s, l.Dir)
		if err != nil {
			continue // the view of the container or image has said so
		}
		at := locate(s.Tree, ino)
		if _, known := out[at]; known {
			continue
		}
		r := t.begin("layer", s.Volume)
		r.String(timeline.FieldContainerRuntime, string(s.Runtime()))
		r.String(timeline.FieldImageName, image)
		r.String(timeline.FieldImageDigest, digest)
		r.String(timeline.FieldLayerDigest, l.DiffID)
		r.String(timeline.FieldLayerSource, "lower")
		r.Int(timeline.FieldLayerIndex, int64(len(lower)-1-k))
		r.String(timeline.FieldSnapshotKey, firstOf(l.Key, l.ID))
		r.String(timeline.FieldBackingPath, l.Dir)
		out[at] = folder{common: r.Common(), prefix: "IMAGE:" + image + ":", layer: true, diffID: firstOf(l.DiffID, l.Dir)}
	}
}

// files tells the files of all volumes: the node's own, and those of image layers.
func (t *teller) files() error {
	folders := t.folders()
	t.dataVolumes = t.volumeFolders()
	for _, v := range t.n.Volumes {
		if v.FS == nil {
			continue
		}
		var failed error
		t.n.guard(v.Index, "", func() error {
			x, err := t.n.takeIndex(v)
			if err != nil {
				return err
			}
			t.expected += int64(x.len())
			failed = t.volume(v, x, folders)
			return nil
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}
