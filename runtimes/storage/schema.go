package storage

import (
	"slices"
	"strings"

	"lagan/runtimes"
)

// Folders and files below the graph root: store.go, layers.go, images.go and
// containers.go of containers/storage. <driver> stands before each.
const (
	layersDir     = "-layers"
	imagesDir     = "-images"
	containersDir = "-containers"

	layersFile             = "layers.json"
	volatileLayersFile     = "volatile-layers.json" // written without fsync: may be empty or full of NULs
	tarSplit               = ".tar-split.gz"        // behind a layer's id, in layersDir
	imagesFile             = "images.json"
	containersFile         = "containers.json"
	volatileContainersFile = "volatile-containers.json"

	tableKey      = "zstd-chunked-manifest"         // of a layer's documents: pkg/chunked/storage_linux.go
	composefsBlob = "composefs-data/composefs.blob" // in a layer's folder

	userdata  = "userdata"
	specFile  = "config.json" // the OCI specification, in userdata
	stateFile = "state.json"  // CRI-O's, in userdata
)

// Files of Podman: libpod/runtime.go, libpod/sqlite_state.go.
const (
	boltState    = "libpod/bolt_state.db"
	boltStateOld = "libpod/bolt_state.db-old" // kept by the migration to SQLite
	sqliteState  = "db.sql"
)

// Buckets and keys of bolt_state.db: libpod/boltdb_state_internal.go.
const (
	bucketContainers = "ctr"
	bucketPods       = "pod"
	bucketVolumes    = "vol"
	keyConfig        = "config"
	keyState         = "state"
)

// Storage drivers: drivers/ of containers/storage.
const (
	driverOverlay = "overlay"
	driverVFS     = "vfs"
	driverBtrfs   = "btrfs"
)

// Sizes of documents that are read whole.
const (
	maxStore  = 256 << 20 // layers.json and its kin: some KiB an entry
	maxConfig = 16 << 20
	maxLower  = 64 << 10
)

// maxDepth bounds a chain of layers: overlay's own limit is 500 (drivers/overlay/overlay.go, maxDepth).
const maxDepth = 500

// maxExtra bounds the folders diff1, diff2, ... of one layer.
const maxExtra = 64

// layerJSON is one entry of layers.json.
type layerJSON struct {
	ID         string   `json:"id"`
	Names      []string `json:"names"`
	Parent     string   `json:"parent"`
	Created    string   `json:"created"`
	DiffDigest string   `json:"diff-digest"`
	Compressed string   `json:"compressed-diff-digest"`
	TOCDigest  string   `json:"toc-digest"`
	DataNames  []string `json:"big-data-names"`
	DiffSize   *int64   `json:"diff-size"`
	// with what the layer was stored, where not as it is: pkg/idtools, IDMap
	UIDMap []runtimes.IDMap `json:"uidmap"`
	GIDMap []runtimes.IDMap `json:"gidmap"`
}

// partlyPulled corrects what the versions before 1.52 say of a layer that was
// pulled file by file: they never saw its tar, and its diff-digest is the blob's.
// Later ones have a toc-digest, and a diff-digest only where they know it.
func (l *layerJSON) partlyPulled() {
	if l.TOCDigest == "" && slices.Contains(l.DataNames, tableKey) {
		l.DiffDigest, l.Compressed = "", firstOf(l.Compressed, l.DiffDigest)
	}
}

// imageJSON is one entry of images.json.
type imageJSON struct {
	ID      string   `json:"id"`
	Digest  string   `json:"digest"`
	Names   []string `json:"names"`
	History []string `json:"names-history"`
	Layer   string   `json:"layer"`
	Created string   `json:"created"`
	// of the documents in the image's own folder, by their keys
	DataSizes   map[string]int64  `json:"big-data-sizes"`
	DataDigests map[string]string `json:"big-data-digests"`
}

// containerJSON is one entry of containers.json.
type containerJSON struct {
	ID       string   `json:"id"`
	Names    []string `json:"names"`
	Image    string   `json:"image"`
	Layer    string   `json:"layer"`
	Metadata string   `json:"metadata"` // JSON text
	Created  string   `json:"created"`
}

// metadataJSON is what Podman and CRI-O note of a container in the store:
// libpod/storage.go of Podman and internal/storage/runtime.go of CRI-O, whose
// kin has the pod's name.
type metadataJSON struct {
	ImageName    string `json:"image-name"`
	ImageID      string `json:"image-id"`
	Name         string `json:"name"`
	CreatedAt    int64  `json:"created-at"`
	PodName      string `json:"pod-name"`
	PodID        string `json:"pod-id"`
	MetadataName string `json:"metadata-name"`
	UID          string `json:"uid"`
	Namespace    string `json:"namespace"`
	Attempt      *int   `json:"attempt"`
	Pod          bool   `json:"pod"`
	Privileged   bool   `json:"privileged"`
}

// join returns the path of name below dir.
func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }
