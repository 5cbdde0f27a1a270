package containerd

import "strings"

// Folders and files below the data root: docs/ops.md of containerd. Each
// plugin's folder is called by its type and id.
const (
	metaDB     = "io.containerd.metadata.v1.bolt/meta.db"
	contentDir = "io.containerd.content.v1.content"
	taskDir    = "io.containerd.runtime.v2.task"
	// The CRI plugin kept this folder when its name became io.containerd.cri.v1 in 2.0: plugins/cri/runtime/plugin.go.
	criContainers     = "io.containerd.grpc.v1.cri/containers"
	snapshotterPrefix = "io.containerd.snapshotter.v1."
	snapshotterDB     = "metadata.db"
)

// Buckets of meta.db: core/metadata/buckets.go. The comment there says
// "image"; the bucket is called "images".
const (
	bucketVersion    = "v1"
	bucketImages     = "images"
	bucketContainers = "containers"
	bucketSnapshots  = "snapshots"
	bucketSandboxes  = "sandboxes"
	bucketLabels     = "labels"
	bucketTarget     = "target"
	bucketContent    = "content"
	bucketBlob       = "blob" // in bucketContent
	bucketRuntime    = "runtime"
	bucketExtensions = "extensions"

	keyDigest      = "digest"
	keyMediaType   = "mediatype"
	keySize        = "size"
	keyImage       = "image"
	keySnapshotter = "snapshotter"
	keySnapshotKey = "snapshotKey"
	keySandboxID   = "sandboxid"
	keySpec        = "spec"
	keyName        = "name"
	keyOptions     = "options"
	keyParent      = "parent"
	keyID          = "id"
	keyKind        = "kind"
	keyInodes      = "inodes"
	keyCreated     = "createdat"
	keyUpdated     = "updatedat"
)

// Names of container extensions: internal/cri/server and internal/cri/server/podsandbox.
const (
	extensionContainer = "io.cri-containerd.container.metadata"
	extensionSandbox   = "io.cri-containerd.sandbox.metadata"
	extensionMetadata  = "metadata" // of a record in the sandboxes bucket
)

// Labels that other programs put on what they keep in containerd.
const (
	// LabelDockerBundle marks dockerd's own record of a running container:
	// daemon/internal/libcontainerd/remote/client.go of moby.
	LabelDockerBundle = "com.docker/engine.bundle.path"
	// LabelNerdctlName is a container's name under nerdctl: pkg/labels/labels.go.
	LabelNerdctlName = "nerdctl/name"
	// labelNerdctlPorts has a container's published ports, as JSON.
	labelNerdctlPorts = "nerdctl/ports"
	// labelUIDs and labelGIDs say for which user namespace a snapshot's files are: core/snapshots/snapshotter.go.
	labelUIDs = "containerd.io/snapshot/uidmapping"
	labelGIDs = "containerd.io/snapshot/gidmapping"
)

// Kinds of snapshots as metadata.db has them: core/snapshots/snapshotter.go.
const (
	kindView      = 1
	kindActive    = 2
	kindCommitted = 3
)

func kindName(k byte) string {
	switch k {
	case kindView:
		return "view"
	case kindActive:
		return "active"
	case kindCommitted:
		return "committed"
	}
	return "unknown"
}

// Sizes of documents that are read whole. The registry protocol's customary
// limit for manifests is 4 MiB; configurations hold a history and labels.
const (
	maxManifest = 8 << 20
	maxConfig   = 16 << 20
	maxStatus   = 1 << 20
)

// maxChain bounds a chain of snapshots, as overlayfs bounds its lower layers (OVL_MAX_STACK, fs/overlayfs/params.h).
const maxChain = 500

// join returns the path of name below dir.
func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// criNamespace is the namespace of the CRI plugin's containers: internal/cri/constants.
const criNamespace = "k8s.io"
