package containerd

import (
	"fmt"
	"path"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// Snapshotters whose snapshots are not folders that overlayfs mounts. All
// others keep a snapshot's files in snapshots/<id>/fs, as overlayfs does, among
// them its first name, overlay.
const (
	overlayfs     = "overlayfs"
	native        = "native"
	naive         = "naive" // its name before containerd 1.0
	btrfs         = "btrfs"
	blockfile     = "blockfile"
	erofs         = "erofs"
	aufs          = "aufs" // until containerd 2.0, and before that beside it
	zfs           = "zfs"
	devmapper     = "devmapper"
	fuseOverlayfs = "fuse-overlayfs"
)

// layerDir is where each snapshotter keeps a snapshot's files: plugins/snapshots of containerd.
func (sn *snapshotter) layerDir(be *backend) string {
	switch sn.name {
	case native, naive, blockfile:
		return fmt.Sprintf("%s/snapshots/%d", sn.dir, be.id)
	case btrfs:
		folder := map[byte]string{kindView: "view", kindActive: "active"}[be.kind]
		if folder == "" {
			folder = "snapshots"
		}
		return fmt.Sprintf("%s/%s/%d", sn.dir, folder, be.id)
	case devmapper:
		if d := sn.pool.device(be.id); d != nil {
			return "/dev/mapper/" + d.Name
		}
		return ""
	case zfs:
		return ""
	}
	return fmt.Sprintf("%s/snapshots/%d/fs", sn.dir, be.id)
}

// full says whether each snapshot of the snapshotter is a whole tree and not a difference.
func (sn *snapshotter) full() bool {
	switch sn.name {
	case native, naive, btrfs, blockfile, devmapper, zfs:
		return true
	}
	return false
}

// finish says how the layers of a root filesystem are read, where that isn't as
// folders with overlayfs' marks.
func (s *Store) finish(sn *snapshotter, be *backend, r *runtimes.Rootfs) {
	switch sn.name {
	case fuseOverlayfs:
		r.Marks = runtimes.MarksFuse
	case aufs:
		r.Marks = runtimes.MarksAUFS
	case blockfile:
		imageLayers(r, func(l *runtimes.Layer, _ bool) { l.Image = true })
	case erofs:
		imageLayers(r, s.erofsLayer)
	case devmapper:
		if d := sn.pool.device(be.id); d == nil {
			r.Problem = fmt.Errorf("snapshot %q: no device of a thin pool is recorded for its number %d: %w", be.name, be.id, evidence.ErrCorrupt)
		}
		imageLayers(r, func(l *runtimes.Layer, _ bool) { l.Image, l.Thin = true, s.thinDevice(sn, l.ID) })
	case zfs:
		r.Kind = runtimes.RootfsUnknown
		r.Problem = fmt.Errorf("snapshot %q: its files are in the dataset %d of a ZFS pool: %w", be.name, be.id, evidence.ErrUnsupported)
	}
}

func imageLayers(r *runtimes.Rootfs, set func(l *runtimes.Layer, upper bool)) {
	if r.Upper.Dir != "" {
		set(&r.Upper, true)
	}
	for i := range r.Lower {
		set(&r.Lower[i], false)
	}
}

// erofsLayer finds what a snapshot's files lie in: a layer that was committed in
// layer.erofs, a container's changes in the folder fs or in an ext4 image, and in
// fs too what wasn't converted: plugins/snapshots/erofs/erofs.go.
func (s *Store) erofsLayer(l *runtimes.Layer, upper bool) {
	above := strings.TrimSuffix(l.Dir, "/fs")
	name, inside := "layer.erofs", ""
	if upper {
		name, inside = "rwlayer.img", "upper"
	}
	ino, err := evidence.Resolve(s.fsys, s.node, join(above, name), true)
	if err != nil {
		return
	}
	if info, err := s.fsys.Stat(ino); err == nil && info.Size > 0 {
		l.Dir, l.Image, l.Inside = join(above, name), true, inside
	}
}

// Labels of snapshots whose content may lie elsewhere: stargz-snapshotter
// snapshot/snapshot.go and fs/source, nydus-snapshotter pkg/label,
// accelerated-container-image pkg/label. All name the layer's blob.
const labelNydusMeta = "containerd.io/snapshot/nydus-bootstrap"

var labelsOfBlobs = []string{
	"containerd.io/snapshot/cri.layer-digest", // of CRI's own pulls: pkg/snapshotters/annotations.go
	"containerd.io/snapshot/remote/stargz.digest",
	"containerd.io/snapshot/overlaybd/blob-digest",
}

// emptyDiffID is that of a tar without entries, which images have in plenty.
const emptyDiffID = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

// lazyLayer finds what of a lower layer is on the disk, for snapshotters that
// mount layers from a registry as they are read. A layer whose folder is empty
// loses it: its digests lead to its content then, or name the gap. It is false
// for what is no layer of files at all.
func (s *Store) lazyLayer(sn *snapshotter, be *backend, l *runtimes.Layer) bool {
	switch sn.name {
	case overlayfs, native, naive, btrfs, blockfile, erofs, aufs, zfs, devmapper, fuseOverlayfs:
		return true
	}
	if be.kind != kindCommitted {
		return true
	}
	if be.labels[labelNydusMeta] != "" {
		return false // the index of all other layers, which are mounted as one
	}
	for _, name := range labelsOfBlobs {
		if d := be.labels[name]; l.Blob == "" && oci.IsSHA256(d) {
			l.Blob = d
		}
	}
	s.gcfsLayer(sn, l)
	if l.DiffID != emptyDiffID && !s.holdsFiles(l.Dir) {
		l.Dir = ""
	}
	return true
}

// gcfsLayer finds a layer that GKE's image streaming (gcfs) has fetched whole:
// snapshots/<id>/fs is a link to layers/sha256=<diff id> below gcfsd's mount,
// and the same name in layers beside it the copy on the disk (gke-setup-gcfs in
// kubernetes' configure-helper.sh, --layer_cache_dir).
func (s *Store) gcfsLayer(sn *snapshotter, l *runtimes.Layer) {
	if ino, err := evidence.Resolve(s.fsys, s.node, l.Dir, false); err == nil {
		target, err := s.fsys.ReadLink(ino)
		if hexed, ok := strings.CutPrefix(path.Base(target), "sha256="); err == nil && ok && oci.IsHex64(hexed) && l.DiffID == "" {
			l.DiffID = "sha256:" + hexed
		}
	}
	hexed, ok := strings.CutPrefix(l.DiffID, "sha256:")
	if dir := join(sn.dir, "layers/sha256="+hexed); ok && s.holdsFiles(dir) {
		l.Dir = dir
	}
}

// holdsFiles says whether a folder has a layer's files: any but the block images
// of overlaybd (pkg/snapshot/storage.go of accelerated-container-image).
func (s *Store) holdsFiles(dir string) bool {
	ino, err := evidence.Resolve(s.fsys, s.node, dir, true)
	if err != nil {
		return false
	}
	for e, err := range s.fsys.ReadDir(ino) {
		if err != nil {
			return true // what is damaged is told when it is read
		}
		switch e.Name {
		case "overlaybd.commit", "overlaybd.sealed", "ext4.fs.meta", "gzip.meta", ".turbo.ociv1":
		default:
			return true
		}
	}
	return false
}
