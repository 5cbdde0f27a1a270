// Package runtimes names what container runtimes keep on a node's disk, in one
// vocabulary for all of them. It holds types only: the packages below it read
// the state, the analyzer joins it with the layers' files. A runtime only names
// layers, in order; it never interprets a whiteout.
package runtimes

import (
	"encoding/json"
	"iter"
	"time"
)

// Name is a runtime's name in records.
type Name string

// The runtimes.
const (
	Containerd Name = "containerd"
	Docker     Name = "docker"
	Podman     Name = "podman"
	CRIO       Name = "crio"
	BuildKit   Name = "buildkit"
)

// Kind tells a container from a pod's sandbox.
type Kind string

// The kinds of containers.
const (
	KindContainer Kind = "container"
	KindSandbox   Kind = "sandbox"
)

// State is what the disk says of a container's life. A node that lost its
// power, or was copied while it ran, still says running.
type State string

// The states of a container.
const (
	StateCreated State = "created"
	StateRunning State = "running"
	StatePaused  State = "paused"
	StateExited  State = "exited"
	StateUnknown State = "unknown"
)

// Container is one container or sandbox, as its runtime recorded it. What the
// runtime didn't record is left at its zero value, nil or empty.
type Container struct {
	ID        string
	Name      string
	Kind      Kind
	Runtime   Name
	Namespace string // containerd's
	State     State
	Image     string // as the user or the kubelet named it
	// ImageID identifies the image's configuration ("sha256:..."), ImageDigest its manifest or index.
	ImageID     string
	ImageDigest string
	Created     time.Time
	Updated     time.Time
	Started     time.Time
	Finished    time.Time
	ExitCode    *int
	PID         int // 0: none
	Command     []string
	Hostname    string
	Pod         Pod
	IP          []string
	Labels      map[string]string
	Annotations map[string]string
	Env         []string
	Privileged  bool
	OOMKilled   bool
	Restarts    *int
	Reason      string // why it ended, as the runtime said
	Snapshotter string // or storage driver
	Snapshot    string // key of the writable snapshot, or the driver's directory name
	Rootfs      Rootfs
	LogPath     string // as the node named it
	LogDriver   string
	Mounts      []Mount
	Ports       []Port
	HostNetwork bool // it had the node's own network
	// CreateCommand is what the user typed, as Podman keeps it.
	CreateCommand []string
	Health        *Health
	Secrets       []string // names of those that it was given
	// StorePath is the data root that the record comes from, as the node named it.
	StorePath string
	// Spec is the OCI runtime specification, where it was kept.
	Spec json.RawMessage
	// Records are the runtime's own documents by name ("config.v2.json", "cri/metadata"), for inspect.
	Records map[string]json.RawMessage
}

// Pod identifies a Kubernetes pod and the container's place in it.
type Pod struct {
	Name      string
	Namespace string
	UID       string
	SandboxID string
	Container string // the container's name in the pod's specification
	Attempt   *int   // restart count
}

// Mount is something mounted into a container.
type Mount struct {
	Type        string `json:"type,omitempty"` // bind, volume, tmpfs, ...
	Name        string `json:"name,omitempty"` // of a volume
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination"`
	ReadOnly    bool   `json:"read_only,omitempty"`
	Options     string `json:"options,omitempty"`
}

// Health is what a container's health checks told last.
type Health struct {
	Status  string        `json:"status,omitempty"`
	Failing int           `json:"failing_streak"`
	Log     []HealthProbe `json:"log,omitempty"`
}

// HealthProbe is one check.
type HealthProbe struct {
	Start    time.Time `json:"start,omitzero"`
	End      time.Time `json:"end,omitzero"`
	ExitCode int       `json:"exit_code"`
	Output   string    `json:"output,omitempty"`
}

// RootfsKind is how a runtime puts a container's root filesystem together.
type RootfsKind string

// The kinds of root filesystems.
const (
	RootfsUnknown RootfsKind = ""
	// RootfsOverlay is an overlayfs mount of Upper over Lower.
	RootfsOverlay RootfsKind = "overlay"
	// RootfsBind is the one folder Upper (or, of a view, Lower[0]) as it stands:
	// overlay attributes and 0:0 devices in it mean nothing.
	RootfsBind RootfsKind = "bind"
)

// MarkStyle is how a storage driver marks what a layer deletes.
type MarkStyle string

// The styles of marks.
const (
	MarksOverlay MarkStyle = ""               // 0:0 devices and attributes
	MarksAUFS    MarkStyle = "aufs"           // names: .wh.x
	MarksFuse    MarkStyle = "fuse-overlayfs" // either
)

// Rootfs names the folders that a root filesystem is made of.
type Rootfs struct {
	Kind  RootfsKind
	Upper Layer   // what the container wrote to; an empty Dir means none
	Lower []Layer // uppermost first
	// InitLayers is how many of the first Lower belong to the runtime and not
	// to the image (Docker's "-init" layer).
	InitLayers int
	// Data are folders below all layers that hold only contents, which files of
	// the layers lead to by their attributes ("::" in lowerdir).
	Data []Layer
	// UserXattr says that the mount kept its marks in user.overlay.* (rootless).
	UserXattr bool
	// Marks is how what was deleted is marked in the folders, where that is not
	// as the kernel's overlayfs does it.
	Marks MarkStyle
	// UIDs and GIDs say how the container's own layer was stored for its user
	// namespace, where that is recorded of the layer and not of the whole store.
	UIDs, GIDs []IDMap
	// Problem says why the folders can't be named, where they can't.
	Problem error
}

// IDMap gives Size ids from Container on, inside a user namespace, those from Host on.
type IDMap struct {
	Container uint32 `json:"container_id"`
	Host      uint32 `json:"host_id"`
	Size      uint32 `json:"size"`
}

// Layer is one folder of a root filesystem.
type Layer struct {
	Dir string // as the node named it: /var/lib/...
	// Image says that Dir is no folder but the image of a filesystem, which holds
	// the layer at Inside.
	Image  bool
	Inside string
	// Thin is the device of a thin pool that has the image of the filesystem, where
	// Dir is no file but what the node called that device.
	Thin   *ThinDevice
	DiffID string // "sha256:...", where known
	// Blob is the digest of the packed layer, where the record of the folder names
	// it itself. Of a layer without Dir, it or DiffID leads to the content.
	Blob    string
	ChainID string
	Key     string // the snapshotter's or driver's name of it
	ID      string // the snapshot's number or the driver's directory
	// TarSplit is the file that, with the folder, gives back the layer's tar,
	// where the runtime keeps such files; "" where it doesn't.
	TarSplit string
	// Table is the table of contents of the blob that the folder was pulled from
	// file by file (zstd:chunked, eStargz), where the runtime keeps it. TableLost:
	// it was written by a version that may have set neither owners nor times by it.
	Table     string
	TableLost bool
	Size      int64     // bytes as the runtime counted them; -1 unknown
	Created   time.Time // when the folder was complete, where recorded
}

// ThinDevice is a device of a device-mapper thin pool.
type ThinDevice struct {
	Pool string // as device mapper names it; "" unknown
	ID   uint32
	Size int64 // bytes
	// Files are where the pool may lie, if not on disks of its own.
	Files []ThinFiles
}

// ThinFiles are the two files of a pool that lies on loop devices, as the node named them.
type ThinFiles struct{ Metadata, Data string }

// Blob is a piece of content that is named by its digest.
type Blob struct {
	Kind   string // "index", "manifest", "config", "layer"; "" unknown
	Digest string
	Size   int64  // bytes as what names it says; -1 unknown
	Path   string // of its file, as the node named it; "" where it isn't on the disk
}

// Image is one image of one store.
type Image struct {
	Runtime      Name
	Namespace    string
	StorePath    string
	ID           string // digest of the configuration
	Names        []string
	NamesHistory []string // names that it had, the newest first, where the store keeps them
	Digest       string   // of the manifest or index that the names point to
	Created      time.Time
	Pulled       time.Time // when the store first or last named it
	Updated      time.Time
	Size         int64 // bytes of the layers, unpacked where known; -1 unknown
	Architecture string
	OS           string
	Author       string
	Layers       []string // diff ids, bottom first
	Labels       map[string]string
	References   []Reference // the store's own records of the names, where it keeps any
	History      []History
	Config       json.RawMessage // the image configuration, whole
	// Rootfs names the image's unpacked layers: Lower only.
	Rootfs Rootfs
	// Documents are what lead to the layers: index, manifest, configuration.
	Documents []Blob
	// Blobs are the packed layers, as Layers bottom first; none where it isn't known
	// which they were.
	Blobs []Blob
}

// Reference is a store's record of one name of an image.
type Reference struct {
	Name             string
	Created, Updated time.Time
	Labels           map[string]string
}

// History is one step of an image's build, as the image claims it.
type History struct {
	Created   time.Time
	CreatedBy string
	Author    string
	Comment   string
	Empty     bool   // made no layer
	DiffID    string // the layer that the step made
}

// Snapshot is one entry of a snapshotter's or storage driver's own database.
type Snapshot struct {
	Runtime     Name
	Namespace   string
	Snapshotter string
	StorePath   string
	ID          string // number or directory
	Key         string
	Name        string // as the snapshotter's database names it
	Parent      string
	Kind        string // active, committed, view
	Created     time.Time
	Updated     time.Time
	Size        int64 // bytes; -1 unknown
	Inodes      int64 // -1 unknown
	Labels      map[string]string
	Dir         string
}

// Store is one data root of one runtime. Each sequence yields what could be
// read and, in their places, the errors of what could not; it goes on after them.
type Store interface {
	Runtime() Name
	// Path is the data root as the node named it.
	Path() string
	Containers() iter.Seq2[Container, error]
	Images() iter.Seq2[Image, error]
	Snapshots() iter.Seq2[Snapshot, error]
}
