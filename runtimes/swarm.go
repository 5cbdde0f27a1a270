package runtimes

import (
	"iter"
	"time"
)

// What an engine keeps beside containers and images: its place in a swarm, its
// plugins, what was built. A store that keeps such things has the optional
// interface that lists them.

// SwarmNode is a node's place in a swarm of Docker.
type SwarmNode struct {
	Runtime   Name
	StorePath string
	ID        string
	Cluster   string
	Role      string // "manager" or "worker", as its certificate says
	Address   string // under which others reach it
	Listen    string
	Joined    string // the manager that it joined; "" for the one that made the swarm
	Managers  []SwarmPeer
	// ValidFrom and Expires are of its certificate. swarmkit dates the first an
	// hour before it is made (ca/certificates.go, CertBackdate).
	ValidFrom time.Time
	Expires   time.Time
	// Log is the folder of the managers' log, which has services, secrets and
	// configurations, encrypted; "" where the node was no manager.
	Log  string
	File string // that names the node, as the node named it
}

// SwarmPeer is a manager that a node of a swarm knows.
type SwarmPeer struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

// SwarmTask is a container that a swarm gave a node to run.
type SwarmTask struct {
	Runtime   Name
	StorePath string
	ID        string
	Name      string
	Service   string // its name
	ServiceID string
	Slot      int // 0: one on each node
	Node      string
	Image     string
	Command   []string
	Env       []string
	State     string
	Desired   string
	Message   string
	Error     string
	Container string // id; "" where none was made
	PID       int
	ExitCode  *int
	Created   time.Time
	Updated   time.Time
	Reported  time.Time // when it came into State
	Labels    map[string]string
	Assigned  bool // the manager still wanted it here
}

// SwarmStore is a store that keeps a node's part of a swarm.
type SwarmStore interface {
	SwarmNodes() iter.Seq2[SwarmNode, error]
	SwarmTasks() iter.Seq2[SwarmTask, error]
}

// Plugin is a program that an engine runs for itself, from an image of its own.
type Plugin struct {
	Runtime      Name
	StorePath    string
	ID           string
	Name         string
	Enabled      bool
	Description  string
	Interfaces   []string // what it is for: "docker.volumedriver/1.0"
	Socket       string
	Command      []string
	Env          []string
	Network      string // "host": the node's own
	Capabilities []string
	Devices      []string
	AllDevices   bool
	HostPID      bool
	HostIPC      bool
	Mounts       []Mount
	Digest       string // of its manifest
	Created      time.Time
	Rootfs       string // its files, as the node named the folder
	File         string
}

// PluginStore is a store that keeps plugins.
type PluginStore interface {
	Plugins() iter.Seq2[Plugin, error]
}

// BuildKind tells a build from what is kept of its steps.
type BuildKind string

// The kinds of builds.
const (
	BuildRecord BuildKind = "build" // one run, as the history has it
	BuildCache  BuildKind = "cache" // the result of one step
	BuildStep   BuildKind = "step"  // a step that ran when the disk was copied, or the builder died
)

// Build is a build of an image, or what is kept of one of its steps.
type Build struct {
	Runtime   Name
	StorePath string
	Kind      BuildKind
	ID        string
	// Name is the step, in the builder's words, or what the build was of.
	Name      string
	Type      string // of a step: "regular", "source.local", "exec.cachemount" ...; of a build its frontend
	Created   time.Time
	Used      time.Time // last
	Completed time.Time
	Uses      int
	Size      int64 // -1 unknown
	Parents   []string
	DiffID    string
	ChainID   string
	Blob      string
	Images    []string          // names of images that it is of
	Options   map[string]string // of a build: what the frontend was told
	Error     string
	Log       string // digest of the blob that has what a build printed: application/vnd.buildkit.status.v0
	Snapshot  string
	Deleted   bool // marked to be removed
	File      string
}

// BuildStore is a store that keeps what was built.
type BuildStore interface {
	Builds() iter.Seq2[Build, error]
}
