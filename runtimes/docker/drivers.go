package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

// The driver devicemapper, which was removed in Docker 25:
// daemon/graphdriver/devmapper/deviceset.go of moby 24.
//
//	devicemapper/metadata/<id>             the thin device of a layer: deviceJSON
//	devicemapper/metadata/base             the filesystem that all layers began as
//	devicemapper/devicemapper/{data,metadata}  the pool, sparse files, where it has no disks of its own (loop-lvm)
//	devicemapper/mnt/<id>/                 where the device was mounted; the layer is its folder rootfs
//
// Each device is a filesystem with a whole tree, a snapshot of the one below.
const (
	thinDevices = "metadata"
	thinPool    = "devicemapper"
	thinBase    = "base" // also the name of a file in metadata/, though no layer's
	thinMounts  = "mnt"
	thinInside  = "rootfs"
	// optionPool names a pool that is not in those files (direct-lvm), and
	// defaultPool is what dockerd calls the one that it makes itself of optionDisk.
	optionPool  = "dm.thinpooldev"
	optionDisk  = "dm.directlvm_device"
	defaultPool = "docker-thinpool"
)

// deviceJSON is devInfo of deviceset.go.
type deviceJSON struct {
	ID          uint32 `json:"device_id"`
	Size        uint64 `json:"size"`
	Initialized bool   `json:"initialized"`
	Deleted     bool   `json:"deleted"`
}

// thinLayer finds the thin device of a layer. Without one, the layer's folder
// leads nowhere, and why is the error.
func (s *Store) thinLayer(d *driver, l *runtimes.Layer) error {
	l.Dir, l.Image, l.Inside = d.dir+"/"+thinMounts+"/"+l.ID, true, thinInside
	at := d.dir + "/" + thinDevices + "/" + l.ID
	raw, err := evidence.ReadFile(s.fsys, s.node, at, maxConfig)
	if err != nil {
		return err
	}
	var dev deviceJSON
	if err := oci.Decode(raw, &dev); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	l.Thin = &runtimes.ThinDevice{Pool: s.poolName(), ID: dev.ID, Size: int64(min(dev.Size, 1<<62)),
		Files: []runtimes.ThinFiles{{Metadata: d.dir + "/" + thinPool + "/metadata", Data: d.dir + "/" + thinPool + "/data"}}}
	return nil
}

// poolName is what device mapper calls the pool, "" where it is in files.
func (s *Store) poolName() string {
	s.pool.Do(func() {
		s.poolIs = path.Base(node.DockerStorageOption(s.fsys, s.node, optionPool))
		if s.poolIs == "." {
			s.poolIs = ""
		}
		if s.poolIs == "" && node.DockerStorageOption(s.fsys, s.node, optionDisk) != "" {
			s.poolIs = defaultPool
		}
	})
	return s.poolIs
}

// optionDataset names the dataset that holds those of layers, for the driver zfs.
const optionDataset = "zfs.fsname"

// elsewhere says where the files of a driver lie that are not read.
func (s *Store) elsewhere(d *driver, id string) error {
	switch d.name {
	case driverZFS:
		above := node.DockerStorageOption(s.fsys, s.node, optionDataset)
		if above == "" {
			above = "that of " + s.root
		}
		return fmt.Errorf("storage driver zfs: its files are in the ZFS dataset %s, below %s: %w", id, above, evidence.ErrUnsupported)
	case driverWindows:
		chain := ""
		if raw, err := evidence.ReadFile(s.fsys, s.node, d.dir+"/"+id+"/layerchain.json", maxConfig); err == nil {
			var parents []string
			if oci.Decode(raw, &parents) == nil && len(parents) > 0 {
				chain = fmt.Sprintf(", above %d layers of Windows", len(parents))
			}
		}
		return fmt.Errorf("storage driver windowsfilter: its files are in an NTFS disk, %s/sandbox.vhdx%s: %w", join(d.dir, id), chain, evidence.ErrUnsupported)
	}
	return fmt.Errorf("storage driver %q: %w", d.name, evidence.ErrUnsupported)
}

// wholeTrees names the folders, or devices, of a driver whose layers are whole trees.
func (s *Store) wholeTrees(d *driver, m mountOf) (runtimes.Rootfs, error) {
	r := runtimes.Rootfs{Kind: runtimes.RootfsBind, Upper: d.layerOf(m.mount)}
	if m.init != "" {
		r.Lower = []runtimes.Layer{d.layerOf(m.init)}
		r.InitLayers = 1
	}
	if d.name != driverDevicemapper || r.Upper.Thin != nil {
		return r, nil
	}
	err := s.thinLayer(d, &r.Upper)
	r.Problem = err
	if errors.Is(err, fs.ErrNotExist) {
		r.Problem, err = fmt.Errorf("no thin device is recorded for it: %w", err), nil
	}
	return r, err
}

// isLayer says whether an entry of d.folders() is that of a layer.
func (d *driver) isLayer(e evidence.Entry) bool {
	if e.Name == "l" || !folderName(e.Name) {
		return false
	}
	if d.name == driverDevicemapper {
		return e.Name != thinBase && !strings.HasSuffix(e.Name, "-metadata")
	}
	return e.Type == evidence.TypeDir || e.Type == evidence.TypeUnknown
}
