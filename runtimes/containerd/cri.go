package containerd

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/kubernetes"
	"lagan/runtimes/oci"
)

// status is a CRI container's life, flat in its file: internal/cri/store/container/status.go.
// Times are nanoseconds since 1970, 0 for none.
type status struct {
	Pid        int
	CreatedAt  int64
	StartedAt  int64
	FinishedAt int64
	ExitCode   int
	Reason     string
	Message    string
}

// containerMetadata is the CRI plugin's extension of a container: internal/cri/store/container/metadata.go.
type containerMetadata struct {
	Metadata struct {
		ID        string
		Name      string
		SandboxID string
		ImageRef  string
		LogPath   string
		Config    struct {
			Metadata struct {
				Name    string `json:"name"`
				Attempt *int   `json:"attempt"`
			} `json:"metadata"`
			Image struct {
				Image string `json:"image"`
			} `json:"image"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
			Linux       linuxConfig       `json:"linux"`
		}
	}
}

type linuxConfig struct {
	SecurityContext struct {
		Privileged bool `json:"privileged"`
	} `json:"security_context"`
}

// sandboxMetadata is the CRI plugin's extension of a sandbox: internal/cri/store/sandbox/metadata.go.
type sandboxMetadata struct {
	Metadata struct {
		ID            string
		Name          string
		IP            string
		AdditionalIPs []string
		Config        struct {
			Metadata struct {
				Name      string `json:"name"`
				UID       string `json:"uid"`
				Namespace string `json:"namespace"`
				Attempt   *int   `json:"attempt"`
			} `json:"metadata"`
			Hostname     string            `json:"hostname"`
			LogDirectory string            `json:"log_directory"`
			Ports        []portMapping     `json:"port_mappings"`
			Labels       map[string]string `json:"labels"`
			Annotations  map[string]string `json:"annotations"`
			Linux        linuxConfig       `json:"linux"`
		}
	}
}

// portMapping is a pod's port: the CRI's PortMapping, whose protocol is a number (k8s.io/cri-api, api.proto).
type portMapping struct {
	Protocol      int    `json:"protocol"`
	ContainerPort int    `json:"container_port"`
	HostPort      int    `json:"host_port"`
	HostIP        string `json:"host_ip"`
}

var protocols = map[int]string{0: "tcp", 1: "udp", 2: "sctp"}

// ports returns the ports of the pod, which all its containers share.
func (m *sandboxMetadata) ports() []runtimes.Port {
	var out []runtimes.Port
	for _, p := range m.Metadata.Config.Ports {
		out = append(out, runtimes.Port{HostIP: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: protocols[p.Protocol]})
	}
	return out
}

// sandbox is what is known of a pod's sandbox.
type sandbox struct {
	ip               []string
	created, updated time.Time
	labels           map[string]string
	meta             sandboxMetadata
	own              bool // it stands in the sandboxes bucket
}

// readSandboxes collects the sandboxes of a namespace that have records of
// their own (containerd 2.x): below the namespace or, before schema version 4,
// below a bucket of its name at the root of the database.
func (s *Store) readSandboxes(ns *namespace) map[string]*sandbox {
	out := make(map[string]*sandbox)
	parents := []*boltdb.Bucket{ns.bucket}
	if old, err := s.meta.Bucket(ns.name); err == nil && ns.name != bucketVersion {
		parents = append(parents, old)
	}
	for _, parent := range parents {
		for id, b := range s.children(parent, bucketSandboxes) {
			r := readRecord(b)
			sb := newSandbox(extension(r, extensionMetadata))
			sb.own = true
			sb.labels = r.texts(bucketLabels)
			sb.created, sb.updated = decoded(r, keyCreated, decodeTime), decoded(r, keyUpdated, decodeTime)
			if err := r.err("sandbox", ns.name, id); err != nil {
				s.problems = append(s.problems, err)
			}
			if _, twice := out[id]; !twice {
				out[id] = sb
			}
		}
	}
	return out
}

// sandbox returns a pod's sandbox: its own record, or what the extension of its
// pause container tells. It is nil where neither is there.
func (s *Store) sandbox(ns *namespace, id string) *sandbox {
	if id == "" {
		return nil
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.pause == nil {
		ns.pause = make(map[string]*sandbox)
	}
	sb, met := ns.pause[id]
	if met {
		return sb
	}
	sb = ns.sandboxes[id]
	if sb == nil || len(sb.ip) == 0 {
		if raw := s.pauseExtension(ns, id); raw != nil {
			sb = newSandbox(raw)
		}
	}
	ns.pause[id] = sb
	return sb
}

// pauseExtension returns the CRI metadata of a pause container. What keeps it
// from being read is said when the container itself is read.
func (s *Store) pauseExtension(ns *namespace, id string) []byte {
	containers, err := ns.bucket.Bucket(bucketContainers)
	if err != nil {
		return nil
	}
	b, err := containers.Bucket(id)
	if err != nil {
		return nil
	}
	extensions, err := b.Bucket(bucketExtensions)
	if err != nil {
		return nil
	}
	raw, err := extensions.Get(extensionSandbox)
	if err != nil {
		return nil
	}
	any, err := decodeAny(raw)
	if err != nil {
		return nil
	}
	return any.value
}

func newSandbox(raw []byte) *sandbox {
	sb := &sandbox{}
	if raw == nil {
		return sb
	}
	// What can't be decoded is said when the pause container is read.
	_ = oci.Decode(raw, &sb.meta)
	sb.ip = addresses(&sb.meta)
	return sb
}

// addresses returns the addresses of a sandbox; none where it uses the node's network.
func addresses(m *sandboxMetadata) []string {
	var out []string
	if m.Metadata.IP != "" {
		out = append(out, m.Metadata.IP)
	}
	return append(out, m.Metadata.AdditionalIPs...)
}

// extension returns the JSON of a record's extension, nil where there is none.
func extension(r *record, name string) []byte {
	ext := r.sub(bucketExtensions)
	if _, ok := ext.values[name]; !ok {
		return nil
	}
	any := decoded(ext, name, decodeAny)
	r.errs = append(r.errs, ext.errs...)
	return any.value
}

// readExtensions takes what the CRI plugin noted of a container or sandbox.
func (s *Store) readExtensions(c *runtimes.Container, ns *namespace, r *record) {
	if raw := extension(r, extensionContainer); raw != nil {
		var m containerMetadata
		if err := keep(c, "cri/container", raw, &m); err != nil {
			r.fail(fmt.Errorf("CRI metadata: %w", err))
		}
		s.applyContainer(c, ns, &m)
	}
	if raw := extension(r, extensionSandbox); raw != nil {
		var m sandboxMetadata
		if err := keep(c, "cri/sandbox", raw, &m); err != nil {
			r.fail(fmt.Errorf("CRI sandbox metadata: %w", err))
		}
		applySandbox(c, &m)
		c.IP = addresses(&m)
	}
}

// keep decodes a document and keeps it under a name, where it is JSON.
func keep(c *runtimes.Container, name string, raw []byte, v any) error {
	kept, err := oci.Document(raw, v)
	if kept != nil {
		c.Records[name] = bytes.Clone(kept) // and not the database's page with it
	}
	return err
}

func (s *Store) applyContainer(c *runtimes.Container, ns *namespace, m *containerMetadata) {
	md := &m.Metadata
	c.LogPath = md.LogPath
	if md.SandboxID != "" {
		c.Pod.SandboxID = md.SandboxID
	}
	if sb := s.sandbox(ns, c.Pod.SandboxID); sb != nil {
		c.IP = sb.ip
		c.Ports = sb.meta.ports()
		if c.Hostname == "" { // the pod's, whose host name namespace the container shares
			c.Hostname = sb.meta.Metadata.Config.Hostname
		}
		if c.Pod.Name == "" {
			pod := &sb.meta.Metadata.Config.Metadata
			c.Pod.Name, c.Pod.Namespace, c.Pod.UID = pod.Name, pod.Namespace, pod.UID
		}
	}
	if c.Pod.Container == "" && md.Config.Metadata.Name != "" {
		c.Pod.Container, c.Name = md.Config.Metadata.Name, md.Config.Metadata.Name
	}
	if oci.IsSHA256(md.ImageRef) {
		c.ImageID = md.ImageRef
	}
	c.Pod.Attempt = md.Config.Metadata.Attempt
	if c.Pod.Attempt == nil && md.Config.Metadata.Name != "" {
		first := 0 // the first attempt, 0, is left out of the JSON
		c.Pod.Attempt = &first
	}
	if n, err := strconv.Atoi(md.Config.Annotations[kubernetes.AnnotationRestartCount]); err == nil {
		c.Restarts = &n
	}
	c.Annotations = merged(c.Annotations, md.Config.Annotations)
	c.Privileged = c.Privileged || md.Config.Linux.SecurityContext.Privileged
}

func applySandbox(c *runtimes.Container, m *sandboxMetadata) {
	cfg := &m.Metadata.Config
	c.Pod.SandboxID = c.ID
	c.Ports = m.ports()
	if c.Pod.Name == "" {
		c.Pod.Name, c.Pod.Namespace, c.Pod.UID = cfg.Metadata.Name, cfg.Metadata.Namespace, cfg.Metadata.UID
		c.Name = cfg.Metadata.Name
	}
	c.Pod.Attempt = cfg.Metadata.Attempt
	if c.Hostname == "" {
		c.Hostname = cfg.Hostname
	}
	c.Annotations = merged(c.Annotations, cfg.Annotations)
	c.Privileged = c.Privileged || cfg.Linux.SecurityContext.Privileged
}

// merged returns the union of two maps; b's values stand.
func merged(a, b map[string]string) map[string]string {
	if len(a) == 0 {
		return b
	}
	for k, v := range b {
		a[k] = v
	}
	return a
}

// sandboxContainer makes a record of a sandbox that has no container: the
// sandboxes of controllers other than podsandbox (micro VMs) have none.
func (s *Store) sandboxContainer(ns *namespace, id string) runtimes.Container {
	sb := ns.sandboxes[id]
	c := runtimes.Container{
		ID: id, Name: id, Kind: runtimes.KindSandbox, Runtime: runtimes.Containerd, Namespace: ns.name,
		State: runtimes.StateUnknown, StorePath: s.root, Created: sb.created, Updated: sb.updated,
		Labels: merged(nil, sb.labels), IP: sb.ip,
		Rootfs: runtimes.Rootfs{Problem: fmt.Errorf("a sandbox without a container has no root filesystem: %w", evidence.ErrUnsupported)},
	}
	applySandbox(&c, &sb.meta)
	if c.Labels == nil {
		c.Labels = sb.meta.Metadata.Config.Labels
	}
	if c.Name == "" {
		c.Name = id
	}
	return c
}

// readStatus reads the CRI plugin's status file, and says whether there is one.
func (s *Store) readStatus(c *runtimes.Container, r *record) bool {
	if strings.Contains(c.ID, "/") {
		return false // no id that containerd would give: pkg/identifiers/validate.go
	}
	path := join(s.root, criContainers+"/"+c.ID+"/status")
	raw, err := evidence.ReadFile(s.fsys, s.node, path, maxStatus)
	if err != nil {
		if !notExist(err) {
			r.fail(err)
		}
		return false
	}
	var st status
	if err := keep(c, "cri/status", raw, &st); err != nil {
		r.fail(fmt.Errorf("%s: %w", path, err))
		return false
	}
	applyStatus(c, &st)
	return true
}

// applyStatus takes what the status file says of a container's life.
func applyStatus(c *runtimes.Container, st *status) {
	c.PID = st.Pid
	c.Reason = st.Reason
	if st.Message != "" && st.Reason != "" {
		c.Reason += ": " + st.Message
	} else if st.Message != "" {
		c.Reason = st.Message
	}
	c.OOMKilled = st.Reason == "OOMKilled"
	c.Started, c.Finished = nanoseconds(st.StartedAt), nanoseconds(st.FinishedAt)
	switch {
	case st.FinishedAt != 0:
		c.State = runtimes.StateExited
		c.ExitCode = &st.ExitCode
	case st.StartedAt != 0:
		c.State = runtimes.StateRunning
	default:
		c.State = runtimes.StateCreated
	}
}

func nanoseconds(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
