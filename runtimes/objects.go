package runtimes

import (
	"iter"
	"time"
)

// What runtimes keep beside containers, images and snapshots. A store that
// keeps such things has the optional interface that lists them.

// Port is a port of a container that is published on the node, or is declared only.
type Port struct {
	HostIP        string `json:"host_ip,omitempty"`
	HostPort      int    `json:"host_port,omitempty"` // 0: declared, not published
	ContainerPort int    `json:"container_port"`
	Protocol      string `json:"protocol,omitempty"` // tcp, udp, sctp
}

// PodRecord is a pod that a runtime keeps a record of itself, as Podman does.
// Pods of Kubernetes are known by their sandboxes.
type PodRecord struct {
	Runtime   Name
	StorePath string
	ID        string
	Name      string
	Namespace string
	Created   time.Time
	Labels    map[string]string
}

// Namespace is one namespace of a containerd.
type Namespace struct {
	Runtime    Name
	StorePath  string
	Name       string
	Labels     map[string]string
	Containers int
	Images     int
	Snapshots  int
	Blobs      int
	Leases     []Lease
}

// Lease keeps what it names from being collected as garbage.
type Lease struct {
	ID        string
	Created   time.Time
	Labels    map[string]string
	Blobs     []string // digests
	Snapshots []string // snapshotter/key
	Ingests   []string
	Images    []string
}

// ContentKind tells a whole blob from one that was being written.
type ContentKind string

// The kinds of content.
const (
	ContentBlob   ContentKind = "blob"
	ContentIngest ContentKind = "ingest" // a download that was not finished
)

// Content is one blob of a content store, or one that was being written.
type Content struct {
	Runtime   Name
	StorePath string
	Namespace string // "" for a blob that no namespace has a record of
	Kind      ContentKind
	Digest    string // of an ingest: what was expected
	Ref       string // of an ingest
	MediaType string // as an image's documents name it
	Size      int64  // as recorded; -1 unknown
	OnDisk    int64  // bytes that are there; -1: nothing
	Created   time.Time
	Updated   time.Time
	Expires   time.Time // of an ingest
	Labels    map[string]string
	Leases    []string
	Path      string // as the node named it
}

// Volume is a named folder that outlives the containers that mount it.
type Volume struct {
	Runtime    Name
	StorePath  string
	Name       string
	Driver     string // local, or a plugin's name; of a pod's volume the kind: empty-dir, projected, csi ...
	Mountpoint string // as the node named it
	Created    time.Time
	Labels     map[string]string
	Options    map[string]string
	Anonymous  bool
	Pod        Pod      // of a pod's volume
	Entries    []string // the names at its top, of a pod's volume: the keys of a Secret or ConfigMap
	// Problem says what of the volume is missing: its record or its folder.
	Problem string
}

// Secret is a secret that a runtime keeps for containers: what it is called, not what it says.
type Secret struct {
	Runtime   Name
	StorePath string
	ID        string
	Name      string
	Driver    string
	Created   time.Time
	Updated   time.Time
	Labels    map[string]string
	Options   map[string]string // of the driver: the folder that has the content
	// Problem says what of the secret is missing: its record or its content.
	Problem string
}

// Network is a network that a runtime made, with what is connected to it.
type Network struct {
	Runtime    Name
	StorePath  string
	ID         string
	Name       string
	Driver     string
	Scope      string
	Interface  string // of the node: docker0, cni0 ...
	Created    time.Time
	Internal   bool
	Attachable bool
	Ingress    bool
	IPv6       bool
	Subnets    []Subnet
	Labels     map[string]string
	Options    map[string]string
	Endpoints  []Endpoint
	File       string // that describes it, as the node named it
}

// Subnet is one range of addresses of a network.
type Subnet struct {
	Subnet  string `json:"subnet"`
	Gateway string `json:"gateway,omitempty"`
	Range   string `json:"range,omitempty"`
}

// Endpoint is one container's place in a network.
type Endpoint struct {
	ID        string   `json:"id,omitempty"`
	Name      string   `json:"name,omitempty"`
	Container string   `json:"container,omitempty"` // id
	Interface string   `json:"interface,omitempty"`
	MAC       string   `json:"mac,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // with the prefix's length
	Gateway   string   `json:"gateway,omitempty"`
	Ports     []Port   `json:"ports,omitempty"`
	Aliases   []string `json:"aliases,omitempty"`
}

// NamespaceStore is a store that divides what it keeps into namespaces.
type NamespaceStore interface {
	Namespaces() iter.Seq2[Namespace, error]
}

// ContentStore is a store that keeps blobs by their digests.
type ContentStore interface {
	Contents() iter.Seq2[Content, error]
}

// VolumeStore is a store that keeps volumes.
type VolumeStore interface {
	Volumes() iter.Seq2[Volume, error]
}

// NetworkStore is a store that keeps networks.
type NetworkStore interface {
	Networks() iter.Seq2[Network, error]
}

// SecretStore is a store that keeps secrets.
type SecretStore interface {
	Secrets() iter.Seq2[Secret, error]
}

// PodStore is a store that keeps records of pods.
type PodStore interface {
	Pods() iter.Seq2[PodRecord, error]
}
