package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/kubernetes"
	"lagan/runtimes/oci"
)

// DockerOwned says whether a container of a containerd store is dockerd's own
// record of a running container. Docker's store has the same container, under
// the same id, with all that is known of it: list that one where both are found.
func DockerOwned(c runtimes.Container) bool {
	return c.Labels[LabelDockerBundle] != ""
}

// Containers yields every container of every namespace, and the sandboxes that
// have no container of their own. A container that is damaged in part is
// yielded with what is left, and its error after it.
//
// dockerd's own records (see DockerOwned) are among them.
func (s *Store) Containers() iter.Seq2[runtimes.Container, error] {
	return func(yield func(runtimes.Container, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Container{}, err) {
				return
			}
		}
		for _, ns := range s.namespaces {
			met, ok := s.containers(ns, yield)
			if !ok {
				return
			}
			for _, id := range slices.Sorted(maps.Keys(ns.sandboxes)) {
				if !met[id] && ns.sandboxes[id].own && !yield(s.sandboxContainer(ns, id), nil) {
					return
				}
			}
		}
	}
}

// containers yields the containers of one namespace and returns their ids.
func (s *Store) containers(ns *namespace, yield func(runtimes.Container, error) bool) (map[string]bool, bool) {
	met := make(map[string]bool)
	read := func(m member) containerRead {
		if m.err != nil {
			return containerRead{err: fmt.Errorf("%s: %w", join(s.root, s.layout.MetaDB), m.err)}
		}
		b, err := m.kv.Bucket()
		if err != nil {
			return containerRead{err: fmt.Errorf("container %q of namespace %q: %w", m.kv.Key, ns.name, err)}
		}
		c, err := s.container(ns, string(m.kv.Key), readRecord(b))
		return containerRead{c, true, err}
	}
	for m, got := range node.Ordered(members(ns.bucket, bucketContainers), read) {
		if got.is {
			met[string(m.kv.Key)] = true
		}
		if got.is && !yield(got.container, nil) || got.err != nil && !yield(runtimes.Container{}, got.err) {
			return met, false
		}
	}
	return met, true
}

// containerRead is what was read of one container.
type containerRead struct {
	container runtimes.Container
	is        bool // there is one, whatever err says
	err       error
}

// member is one entry of a bucket, or why it could not be read.
type member struct {
	kv  boltdb.KV
	err error
}

// members yields what each yields as one value.
func members(parent *boltdb.Bucket, name string) iter.Seq[member] {
	return func(yield func(member) bool) {
		for kv, err := range each(parent, name) {
			if !yield(member{kv, err}) {
				return
			}
		}
	}
}

// each yields what is in the bucket called name, nothing where there is none.
func each(parent *boltdb.Bucket, name string) iter.Seq2[boltdb.KV, error] {
	b, err := parent.Bucket(name)
	if err != nil {
		return func(yield func(boltdb.KV, error) bool) {
			if !notExist(err) {
				yield(boltdb.KV{}, err)
			}
		}
	}
	return b.All()
}

func (s *Store) container(ns *namespace, id string, r *record) (runtimes.Container, error) {
	c := runtimes.Container{
		ID: id, Name: id, Kind: runtimes.KindContainer, Runtime: runtimes.Containerd, Namespace: ns.name,
		State: runtimes.StateUnknown, StorePath: s.root, Records: make(map[string]json.RawMessage),
		Image: r.text(keyImage), Snapshotter: r.text(keySnapshotter), Snapshot: r.text(keySnapshotKey),
		Created: decoded(r, keyCreated, decodeTime), Updated: decoded(r, keyUpdated, decodeTime),
	}
	s.readSpec(&c, r)
	c.Labels = r.texts(bucketLabels)
	c.Pod.SandboxID = r.text(keySandboxID)
	if img := ns.byName[c.Image]; img != nil {
		c.ImageDigest, c.ImageID = img.digest, s.configOf(ns, img, c.Snapshotter, c.Snapshot)
	}
	s.identify(&c)
	if text := c.Labels[labelNerdctlPorts]; text != "" {
		var ports []nerdctlPort
		if err := oci.Decode([]byte(text), &ports); err != nil {
			r.fail(fmt.Errorf("label %s: %w", labelNerdctlPorts, err))
		}
		for _, p := range ports {
			c.Ports = append(c.Ports, p.port())
		}
	}
	s.nerdctl(&c, r)
	s.readExtensions(&c, ns, r)
	s.keepRuntime(&c, r)
	s.readState(&c, r)
	if c.Snapshot == "" {
		c.Rootfs.Problem = fmt.Errorf("the record names no snapshot: %w", evidence.ErrUnsupported)
		if DockerOwned(c) {
			c.Rootfs.Problem = fmt.Errorf("the record is dockerd's own, and Docker's data root has the container's files: %w", evidence.ErrUnsupported)
		}
	} else {
		c.Rootfs = s.rootfs(ns, c.Snapshotter, c.Snapshot)
	}
	return c, r.err("container", ns.name, id)
}

// keepRuntime keeps which shim runs the container, and its options as they are.
func (s *Store) keepRuntime(c *runtimes.Container, r *record) {
	b := r.sub(bucketRuntime)
	var kept struct {
		Name    string `json:"name"`
		Type    string `json:"options_type,omitempty"`
		Options []byte `json:"options,omitempty"`
	}
	if kept.Name = b.text(keyName); kept.Name == "" {
		return
	}
	if _, ok := b.values[keyOptions]; ok {
		any := decoded(b, keyOptions, decodeAny)
		kept.Type, kept.Options = any.url, any.value
	}
	c.Records["runtime"], _ = json.Marshal(kept)
}

// nerdctlPort is go-cni's PortMapping, in the order of runtimes.Port.
type nerdctlPort struct {
	HostIP        string
	HostPort      int
	ContainerPort int
	Protocol      string
}

func (p nerdctlPort) port() runtimes.Port { return runtimes.Port(p) }

// readSpec reads the OCI specification, JSON in a protobuf Any: client/client.go, core/runtime/typeurl.go.
func (s *Store) readSpec(c *runtimes.Container, r *record) {
	if _, ok := r.values[keySpec]; !ok {
		return
	}
	any := decoded(r, keySpec, decodeAny)
	if len(any.value) == 0 {
		return
	}
	if any.value[0] != '{' {
		r.fail(fmt.Errorf("specification of type %q, %d bytes: %w", any.url, len(any.value), evidence.ErrUnsupported))
		return
	}
	if err := oci.Specify(c, any.value); err != nil {
		r.fail(fmt.Errorf("specification: %w", err))
	}
}

// identify takes what the labels tell: the pod, the kind, the name.
func (s *Store) identify(c *runtimes.Container) {
	c.Pod.Name = c.Labels[kubernetes.LabelPodName]
	c.Pod.Namespace = c.Labels[kubernetes.LabelPodNamespace]
	c.Pod.UID = c.Labels[kubernetes.LabelPodUID]
	c.Pod.Container = c.Labels[kubernetes.LabelContainerName]
	if c.Pod.Name == "" { // the specification tells the same, where labels were lost
		c.Pod.Name = c.Annotations[kubernetes.AnnotationCRISandboxName]
		c.Pod.Namespace = c.Annotations[kubernetes.AnnotationCRISandboxNamespace]
		c.Pod.UID = c.Annotations[kubernetes.AnnotationCRISandboxUID]
		c.Pod.Container = c.Annotations[kubernetes.AnnotationCRIContainerName]
	}
	kind := c.Labels[kubernetes.LabelCRIKind]
	if kind == "" {
		kind = c.Annotations[kubernetes.AnnotationCRIType]
	}
	if kind == kubernetes.CRIKindSandbox {
		c.Kind = runtimes.KindSandbox
	}
	switch {
	case c.Pod.Container != "":
		c.Name = c.Pod.Container
	case c.Kind == runtimes.KindSandbox && c.Pod.Name != "":
		c.Name = c.Pod.Name
	case c.Labels[LabelNerdctlName] != "":
		c.Name = c.Labels[LabelNerdctlName]
	}
}

// readState tells the state from the CRI plugin's status file or, without one,
// from the task's folder below the root, which is removed when the task is
// deleted: core/runtime/v2/bundle.go. That of a sandbox is deleted as it ends;
// that of another container may stand after its end.
func (s *Store) readState(c *runtimes.Container, r *record) {
	if c.Kind == runtimes.KindContainer && s.readStatus(c, r) {
		return
	}
	if _, err := evidence.Resolve(s.fsys, s.node, join(s.root, taskDir), true); err != nil {
		return // a copy without these folders
	}
	_, err := evidence.Resolve(s.fsys, s.node, join(s.root, taskDir+"/"+c.Namespace+"/"+c.ID), false)
	cri := c.Labels[kubernetes.LabelCRIKind] != ""
	switch {
	case err != nil && !notExist(err):
		r.fail(err)
	case err == nil && cri:
		c.State = runtimes.StateRunning
	case err == nil:
		c.Reason = "its task was not deleted: it ran, or had ended and was still listed"
	case c.Kind == runtimes.KindSandbox:
		c.State = runtimes.StateExited
	case !cri && strings.HasPrefix(r.sub(bucketRuntime).text(keyName), "io.containerd.run"):
		c.State = runtimes.StateCreated
	}
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
