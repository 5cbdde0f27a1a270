package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/kubernetes"
	"lagan/runtimes/oci"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// address returns the address of a CIDR text.
func address(cidr string) string {
	ip, _, _ := strings.Cut(cidr, "/")
	return ip
}

func metadataOf(c *containerJSON) metadataJSON {
	var m metadataJSON
	_ = oci.Decode([]byte(c.Metadata), &m) // Buildah's is another document, and may be empty
	return m
}

// Containers yields every container of every driver's store, and then those
// that only Podman's database names. A container that is damaged in part is
// yielded with what is left, and its error after it.
func (s *Store) Containers() iter.Seq2[runtimes.Container, error] {
	return func(yield func(runtimes.Container, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Container{}, err) {
				return
			}
		}
		met := make(map[string]bool)
		for _, d := range s.drivers {
			for i := range d.containers {
				cj := &d.containers[i]
				met[cj.ID] = true
				c, err := s.container(d, cj)
				if !yield(c, nil) || err != nil && !yield(runtimes.Container{}, fmt.Errorf("container %s: %w", cj.ID, err)) {
					return
				}
			}
		}
		if s.libpod == nil {
			return
		}
		for _, id := range s.libpod.order {
			if met[id] {
				continue
			}
			c, err := s.container(nil, &containerJSON{ID: id})
			if !yield(c, nil) || err != nil && !yield(runtimes.Container{}, fmt.Errorf("container %s: %w", id, err)) {
				return
			}
		}
	}
}

func (s *Store) container(d *driver, cj *containerJSON) (runtimes.Container, error) {
	m := metadataOf(cj)
	c := runtimes.Container{
		ID: cj.ID, Name: firstOf(append(slices.Clone(cj.Names), m.Name, cj.ID)...), Kind: runtimes.KindContainer, Runtime: runtimes.Podman,
		State: runtimes.StateUnknown, StorePath: s.root, Created: oci.Time(cj.Created), Image: m.ImageName,
		Snapshot: cj.Layer, Records: make(map[string]json.RawMessage),
	}
	if oci.IsHex64(cj.Image) {
		c.ImageID = "sha256:" + cj.Image
	}
	var failed []error
	if d != nil {
		c.Snapshotter = d.name
		if img := d.byImage[cj.Image]; img != nil {
			c.ImageDigest = img.Digest
			if c.Image == "" {
				c.Image = firstOf(img.Names...)
			}
		}
		failed = append(failed, s.userSpec(d, &c))
	}
	switch {
	case m.PodID != "":
		failed = append(failed, s.crio(d, &c, &m))
	case s.libpod != nil:
		failed = append(failed, s.podman(&c))
	}
	if d == nil {
		if c.Rootfs.Upper.Dir == "" {
			c.Rootfs.Problem = fmt.Errorf("no %s names the container: %w", containersFile, fs.ErrNotExist)
		}
		return c, errors.Join(failed...)
	}
	var contradiction error
	c.Rootfs, contradiction = s.rootfs(d, cj.Layer)
	return c, errors.Join(append(failed, contradiction)...)
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// userSpec reads the specification that the container was last started with.
func (s *Store) userSpec(d *driver, c *runtimes.Container) error {
	if !folderName(c.ID) {
		return fmt.Errorf("id %q names no folder: %w", c.ID, evidence.ErrCorrupt)
	}
	at := join(s.root, d.name+containersDir+"/"+c.ID+"/"+userdata+"/"+specFile)
	raw, err := evidence.ReadFile(s.fsys, s.node, at, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // never started
	}
	if err != nil {
		return err
	}
	if err := oci.Specify(c, raw); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// podman takes what Podman's database knows of the container.
func (s *Store) podman(c *runtimes.Container) error {
	docs, ok := s.libpod.containers[c.ID]
	if !ok {
		return nil // Buildah's, or of a store whose database is lost
	}
	var cfg containerConfig
	var failed []error
	if err := keep(c, "libpod/config", docs.config, &cfg); err != nil {
		failed = append(failed, fmt.Errorf("configuration in Podman's database: %w", err))
	}
	if c.Spec == nil && len(cfg.Spec) > 0 {
		if err := oci.Specify(c, cfg.Spec); err != nil {
			failed = append(failed, fmt.Errorf("specification: %w", err))
		}
	}
	c.Name = firstOf(cfg.Name, c.Name)
	c.Image = firstOf(cfg.RootfsImageName, c.Image)
	if oci.IsHex64(cfg.RootfsImageID) {
		c.ImageID = "sha256:" + cfg.RootfsImageID
	}
	if t := oci.Time(cfg.CreatedTime); !t.IsZero() {
		c.Created = t
	}
	c.Labels, c.LogPath, c.LogDriver = cfg.Labels, cfg.LogPath, cfg.LogDriver
	c.Privileged = c.Privileged || cfg.Privileged
	c.Ports = podmanPorts(cfg.Ports)
	c.CreateCommand = cfg.CreateCommand
	c.Secrets = cfg.secretNames()
	failed = append(failed, s.health(c, &cfg, docs.state))
	if cfg.IsInfra {
		c.Kind = runtimes.KindSandbox
	}
	if cfg.Rootfs != "" { // podman run --rootfs: any folder of the node
		c.Rootfs = runtimes.Rootfs{Kind: runtimes.RootfsBind, Upper: runtimes.Layer{Dir: cfg.Rootfs}}
	}
	s.podmanPod(c, cfg.Pod)
	s.podmanVolumes(c, &cfg)
	return errors.Join(append(failed, podmanState(c, docs.state))...)
}

// podmanPod names the Podman pod that the container is in.
func (s *Store) podmanPod(c *runtimes.Container, id string) {
	docs, ok := s.libpod.pods[id]
	if !ok {
		return
	}
	var pod podConfig
	if keep(c, "libpod/pod", docs.config, &pod) == nil {
		c.Pod.Name, c.Pod.UID, c.Pod.Container = pod.Name, pod.ID, c.Name
	}
}

// keep decodes a document and keeps it under a name, where it is JSON.
func keep(c *runtimes.Container, name string, raw []byte, v any) error {
	kept, err := oci.Document(raw, v)
	if kept != nil {
		c.Records[name] = kept
	}
	return err
}

// podmanVolumes names the volumes among the mounts, and adds those of a
// container that was never started.
func (s *Store) podmanVolumes(c *runtimes.Container, cfg *containerConfig) {
	for _, v := range cfg.NamedVolumes {
		if v.Name == "" || strings.Contains(v.Name, "/") {
			continue
		}
		source := join(s.root, "volumes/"+v.Name+"/_data")
		i := slices.IndexFunc(c.Mounts, func(m runtimes.Mount) bool { return m.Destination == v.Dest })
		if i < 0 {
			c.Mounts = append(c.Mounts, runtimes.Mount{Destination: v.Dest, Source: source, Options: strings.Join(v.Options, ","), ReadOnly: slices.Contains(v.Options, "ro")})
			i = len(c.Mounts) - 1
		}
		c.Mounts[i].Type, c.Mounts[i].Name = "volume", v.Name
	}
}

func podmanState(c *runtimes.Container, raw []byte) error {
	var st containerState
	err := keep(c, "libpod/state", raw, &st)
	if err != nil {
		err = fmt.Errorf("state in libpod's database: %w", err)
	}
	c.Started, c.Finished = oci.Time(st.StartedTime), oci.Time(st.FinishedTime)
	c.PID, c.OOMKilled, c.Reason = st.PID, st.OOMKilled, st.Error
	restarts := st.RestartCount
	c.Restarts = &restarts
	c.IP = addresses(st.Network)
	switch st.State {
	case stateConfigured, stateCreated:
		c.State = runtimes.StateCreated
	case stateRunning, stateStopping:
		c.State = runtimes.StateRunning
	case statePaused:
		c.State = runtimes.StatePaused
	case stateStopped, stateExited, stateRemoving:
		c.State = runtimes.StateExited
		code := st.ExitCode
		c.ExitCode = &code
	}
	return err
}

// crioState is what is read of CRI-O's state.json: internal/oci/container.go.
type crioState struct {
	Created   string `json:"created"`
	Started   string `json:"started"`
	Finished  string `json:"finished"`
	ExitCode  *int   `json:"exitCode"`
	OOMKilled bool   `json:"oomKilled"`
	Error     string `json:"error"`
	Status    string `json:"status"` // of the OCI runtime
	PID       int    `json:"pid"`
	InitPID   int    `json:"initPid"`
}

// crio takes what CRI-O notes of a container or sandbox.
func (s *Store) crio(d *driver, c *runtimes.Container, m *metadataJSON) error {
	c.Runtime = runtimes.CRIO
	ann := c.Annotations
	c.Pod = runtimes.Pod{Name: m.PodName, Namespace: m.Namespace, UID: m.UID, SandboxID: m.PodID, Attempt: m.Attempt}
	if m.Attempt == nil {
		c.Pod.Attempt = new(int) // left out where it is 0
	}
	var labels map[string]string
	if text := ann[kubernetes.AnnotationCRIOLabels]; text != "" && oci.Decode([]byte(text), &labels) == nil {
		c.Labels = labels
		c.Pod.Namespace = firstOf(labels[kubernetes.LabelPodNamespace], c.Pod.Namespace)
		c.Pod.UID = firstOf(labels[kubernetes.LabelPodUID], c.Pod.UID)
		// pod-name is CRI-O's own long name (k8s_POD_...); the label has the pod's.
		c.Pod.Name = firstOf(labels[kubernetes.LabelPodName], c.Pod.Name)
	}
	if m.Pod || ann[kubernetes.AnnotationCRIOType] == kubernetes.CRIKindSandbox {
		c.Kind = runtimes.KindSandbox
		c.Name = firstOf(c.Pod.Name, c.Name)
	} else {
		c.Pod.Container = firstOf(labels[kubernetes.LabelContainerName], m.MetadataName)
		c.Name = firstOf(c.Pod.Container, c.Name)
	}
	c.Image = firstOf(ann[kubernetes.AnnotationCRIOImageName], c.Image)
	c.Ports = crioPorts(ann[kubernetes.AnnotationCRIOPorts])
	c.LogPath = ann[kubernetes.AnnotationCRIOLogPath]
	if t := oci.Time(ann[kubernetes.AnnotationCRIOCreated]); !t.IsZero() {
		c.Created = t
	} else if c.Created.IsZero() && m.CreatedAt > 0 {
		c.Created = time.Unix(m.CreatedAt, 0).UTC()
	}
	c.Privileged = c.Privileged || m.Privileged
	for _, name := range sorted(ann) {
		if strings.HasPrefix(name, kubernetes.AnnotationCRIOIPPrefix) && ann[name] != "" {
			c.IP = append(c.IP, ann[name])
		}
	}
	at := join(s.root, d.name+containersDir+"/"+c.ID+"/"+userdata+"/"+stateFile)
	raw, err := evidence.ReadFile(s.fsys, s.node, at, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := applyCRIO(c, raw); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

func applyCRIO(c *runtimes.Container, raw []byte) error {
	var st crioState
	err := keep(c, "crio/"+stateFile, raw, &st)
	c.Started, c.Finished = oci.Time(st.Started), oci.Time(st.Finished)
	c.OOMKilled, c.Reason = st.OOMKilled, st.Error
	c.PID = st.InitPID
	if c.PID == 0 {
		c.PID = st.PID
	}
	switch {
	case !c.Finished.IsZero() || st.Status == "stopped":
		c.State = runtimes.StateExited
		c.ExitCode, c.PID = st.ExitCode, 0
	case st.Status == "paused":
		c.State = runtimes.StatePaused
	case !c.Started.IsZero() || st.Status == "running":
		c.State = runtimes.StateRunning
	case err == nil:
		c.State = runtimes.StateCreated
	}
	return err
}
