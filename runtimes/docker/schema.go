package docker

import "strings"

// Folders and files below the data root, from daemon/container, daemon/internal/image,
// daemon/internal/layer and daemon/internal/refstore of moby.
const (
	containersDir   = "containers"
	containerConfig = "config.v2.json"
	hostConfig      = "hostconfig.json"
	containerV1     = "config.json"              // before Docker 1.10
	localLog        = "local-logs/container.log" // of the local log driver, which notes no path

	imageDir     = "image" // image/<driver>/...
	repositories = "repositories.json"
	imageContent = "imagedb/content/sha256"
	imageMeta    = "imagedb/metadata/sha256"
	layerDir     = "layerdb/sha256"
	mountDir     = "layerdb/mounts"
	tarSplit     = "tar-split.json.gz" // in a layer's folder of layerdb
)

// Storage drivers: daemon/graphdriver. All but those of overlayfs keep whole trees.
const (
	driverOverlay2 = "overlay2"
	driverFuse     = "fuse-overlayfs"
	driverOverlay  = "overlay"
	driverAUFS     = "aufs"
	driverBtrfs    = "btrfs"
	driverVFS      = "vfs"

	driverDevicemapper = "devicemapper"
	driverZFS          = "zfs"
	driverWindows      = "windowsfilter"
)

// Sizes of documents that are read whole. A container's configuration grows
// with its environment, labels and mounts; ARG_MAX bounds what can be started to some MiB.
const (
	maxConfig       = 16 << 20
	maxRepositories = 64 << 20
	maxImage        = 16 << 20
	maxShort        = 4 << 10 // files of one id, digest or number
	maxLower        = 64 << 10
)

// maxDepth is overlay2's own limit of lower layers (daemon/graphdriver/overlay2/overlay.go, maxDepth).
const maxDepth = 128

// configV2 is what is read of config.v2.json: daemon/container/container.go and state.go.
type configV2 struct {
	ID      string
	Name    string
	Created string
	Path    string
	Args    []string
	Image   string // image id
	Driver  string
	LogPath string
	State   stateJSON
	// Before Docker 1.10: mounts by destination, and which may be written to.
	Volumes   map[string]string
	VolumesRW map[string]bool
	Config    configJSON
	// ImageManifest is there where containerd keeps the images.
	ImageManifest   *manifestJSON
	NetworkSettings attachedJSON
	RestartCount    int
	MountPoints     map[string]*mountJSON
}

type manifestJSON struct {
	Digest string `json:"digest"`
}

// stateJSON is daemon/container/state.go.
type stateJSON struct {
	Running           bool
	Paused            bool
	Restarting        bool
	OOMKilled         bool
	RemovalInProgress bool
	Dead              bool
	Pid               int
	ExitCode          int
	Error             string
	StartedAt         string
	FinishedAt        string
}

// configJSON is what was asked of the container: api/types/container/config.go.
type configJSON struct {
	Hostname     string
	Env          []string
	Image        string
	Labels       map[string]string
	ExposedPorts map[string]struct{}
}

// attachedJSON is daemon/network/settings.go.
type attachedJSON struct {
	IPAddress string                   // before Docker 1.9, which knew one network
	Ports     map[string][]portBinding // of a container that runs
	Networks  map[string]*addressJSON
}

type addressJSON struct {
	IPAddress         string
	GlobalIPv6Address string
}

// mountJSON is volume/mounts/mounts.go.
type mountJSON struct {
	Type        string
	Name        string
	Source      string
	Destination string
	RW          bool
	Driver      string
	Relabel     string
	Propagation string
}

// hostConfigJSON is what is read of hostconfig.json: api/types/container/hostconfig.go.
type hostConfigJSON struct {
	Privileged   bool
	NetworkMode  string
	PortBindings map[string][]portBinding
	LogConfig    struct{ Type string }
	Tmpfs        map[string]string
}

// repositoriesJSON is daemon/internal/refstore/store.go: name to reference to image id.
type repositoriesJSON struct {
	Repositories map[string]map[string]string
}

// join returns the path of name below dir.
func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }
