// Package checkpoint reads the archives that the kubelet, CRI-O, containerd and
// Podman make of running containers with CRIU: tars of JSON documents, of CRIU's images (criu.org,
// images/*.proto: protobuf messages after magic numbers), of memory pages, and of
// what the container changed. It says which processes ran, with which
// commands, environment, open files and connections, and searches their memory.
//
// Input is hostile: no panic, no unbounded allocation, no endless loop; fuzzed. What
// can't be read is a problem of the checkpoint, and the rest is delivered.
package checkpoint

import (
	"io"
	"time"
)

// Source opens an archive from its beginning, unpacked. It is read twice: memory
// is not kept.
type Source func() (io.Reader, func(), error)

// Checkpoint is what an archive holds.
type Checkpoint struct {
	ID           string
	Name         string // of the container
	Image        string
	ImageRef     string // digest or id
	Runtime      string
	Engine       string // Podman, CRI-O, containerd
	Created      time.Time
	Checkpointed time.Time
	Pod          string
	Namespace    string
	IP, MAC      string // all of them, with ", " between
	Networks     []Network
	Annotations  map[string]string
	Command      []string // of the specification
	Mounts       []Mount  // of the specification
	MountTable   []MountEntry
	Size         int64 // of CRIU's images
	PagesSize    int64
	DiffSize     int64 // of rootfs-diff.tar
	Stats        *Stats
	Processes    []*Process // the first is the root; in the order of the image
	Changed      []Changed  // of the root filesystem
	Deleted      []string
	Problems     []error
}

// Network is an interface of the container in one of its networks.
type Network struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface"`
	Addresses []string `json:"addresses,omitempty"` // with the length of their prefix
	Gateways  []string `json:"gateways,omitempty"`
	MAC       string   `json:"mac,omitempty"`
}

// Mount is a mount of the specification.
type Mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type,omitempty"`
	Source      string   `json:"source,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// MountEntry is a mount that the processes had.
type MountEntry struct {
	Point   string `json:"mountpoint"`
	Root    string `json:"root,omitempty"`
	Source  string `json:"source,omitempty"`
	Options string `json:"options,omitempty"`
}

// Stats are what CRIU says of its work. Times are microseconds.
type Stats struct {
	Freezing, Frozen, Memdump, Memwrite uint64
	Scanned, Written                    uint64 // pages
}

// Process is one process.
type Process struct {
	PID, PPID, PGID, SID uint32
	Threads              []uint32
	Comm                 string
	State                string
	ExitCode             uint32
	HasCreds             bool // whether the archive has them: of a zombie it hasn't
	UID, GID, EUID, EGID uint32
	CapEff               uint64
	Exe                  string
	ExeDeleted           bool // its executable's name was gone
	ExeChanged           bool // its executable is not the image's: it lies in the upper layer
	Cwd, Root            string
	Cmdline              []string
	Env                  []string
	Files                []File
	Sockets              []Socket
	Maps                 []Map
	Memory               int64 // bytes of its pages in the archive
	Shared               int64 // bytes of the mappings that it shares

	args, env span
	pages     []pageRun
	pagesID   uint64
}

// span is a range of a process's memory.
type span struct{ start, end uint64 }

// pageRun is a run of pages that the archive holds.
type pageRun struct {
	address uint64
	offset  int64 // in the file of pages
	length  int64
}

// File is an open file.
type File struct {
	FD      string // a number, or cwd, root, exe
	Type    string
	Path    string
	Deleted bool
}

// Socket is an open socket.
type Socket struct {
	FD         string
	Type       string // INETSK, UNIXSK, PACKETSK, NETLINKSK
	Protocol   string // TCP, UDP, ...; of a Unix socket STREAM, ...; of netlink the family; of a packet socket the EtherType or ALL
	State      string
	Source     string // address or, of a Unix socket, path; @ begins an abstract one
	SourcePort uint32
	Remote     string
	RemotePort uint32
	// Sizes of the buffers, in bytes.
	SendBuffer, ReceiveBuffer uint32
}

// Map is a mapping of memory.
type Map struct {
	Start, End uint64
	Prot       string // rwx
	Path       string // of the file, where it is one
}

// Changed is a file of rootfs-diff.tar.
type Changed struct {
	Path    string // with a leading slash
	Type    byte   // as a tar has it
	Mode    int64
	UID     int
	GID     int
	Size    int64
	Mtime   time.Time
	Target  string
	Deleted bool   // a whiteout
	Major   uint32 // of a device
	Minor   uint32
	Xattrs  map[string][]byte
	Head    []byte // the beginning of a regular file; see MaxHead
}

// MaxHead is the most that is kept of a changed file. What a small file holds is
// looked into, and the beginning of a large one tells what it is.
const MaxHead = 64 << 10

// Whole says whether Head is all of the file.
func (c *Changed) Whole() bool { return c.Size == int64(len(c.Head)) }
