package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/kubernetes"
	"lagan/runtimes/oci"
)

// Containers yields every container that has a folder below containers/, in
// the order of their ids. One whose configuration can't be read is yielded with
// what the storage driver knows of it, and the error after it.
func (s *Store) Containers() iter.Seq2[runtimes.Container, error] {
	return func(yield func(runtimes.Container, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Container{}, err) {
				return
			}
		}
		read := func(e evidence.Entry) containerRead {
			c, err := s.container(e.Name)
			return containerRead{c, err}
		}
		for e, got := range node.Ordered(s.containerFolders(), read) {
			if got.container.ID != "" && !yield(got.container, nil) {
				return
			}
			if got.err != nil && !yield(runtimes.Container{}, fmt.Errorf("container %s: %w", e.Name, got.err)) {
				return
			}
		}
	}
}

// containerRead is what was read of one container.
type containerRead struct {
	container runtimes.Container
	err       error
}

// containerFolders yields the folders that are called as containers are.
func (s *Store) containerFolders() iter.Seq[evidence.Entry] {
	return func(yield func(evidence.Entry) bool) {
		for _, e := range s.containers {
			if oci.IsHex64(e.Name) && !yield(e) {
				return
			}
		}
	}
}

// InContainerd says whether containerd keeps a container's files, as Docker 29
// does: they are the snapshot c.Snapshot of the snapshotter c.Snapshotter in the
// namespace Moby, of the containerd that the node runs or of dockerd's own below
// containerd/daemon of the data root.
func InContainerd(c *runtimes.Container) bool {
	return c.Runtime == runtimes.Docker && c.Snapshot == c.ID && c.Rootfs.Problem != nil
}

func (s *Store) container(id string) (runtimes.Container, error) {
	at := s.files(join(s.root, containersDir+"/"+id))
	c := runtimes.Container{ID: id, Name: id[:12], Kind: runtimes.KindContainer, Runtime: runtimes.Docker, State: runtimes.StateUnknown, StorePath: s.root}
	var cfg configV2
	var failed []error
	recs := make(map[string]json.RawMessage)
	name := containerConfig
	raw, err := at.read(name, maxConfig)
	if isMissing(err) {
		if v1, v1Err := at.read(containerV1, maxConfig); v1Err == nil {
			name, raw, err = containerV1, v1, nil
		}
	}
	if err == nil {
		var kept json.RawMessage
		if kept, err = oci.Document(raw, &cfg); kept != nil {
			recs[name] = kept
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", join(at.path, name), err)
		}
	}
	if err != nil {
		failed = append(failed, err)
	}
	if len(recs) > 0 {
		s.describe(&c, &cfg)
	}
	failed = append(failed, s.host(&c, &cfg, at, recs))
	failed = append(failed, s.place(&c, &cfg))
	c.Records = recs
	if len(recs) == 0 && c.Snapshot == "" {
		c.ID = "" // a folder with neither documents nor files: nothing to list
	}
	return c, errors.Join(failed...)
}

// describe takes what config.v2.json tells.
func (s *Store) describe(c *runtimes.Container, cfg *configV2) {
	if name := strings.TrimPrefix(cfg.Name, "/"); name != "" {
		c.Name = name
	}
	c.Image = cfg.Config.Image
	if oci.IsSHA256(cfg.Image) || oci.IsHex64(cfg.Image) { // the second before Docker 1.10
		c.ImageID = cfg.Image
	}
	if cfg.ImageManifest != nil {
		// containerd keeps the images: Image is the target's digest, not a configuration's.
		c.ImageID, c.ImageDigest = "", cfg.Image
	}
	c.Created = oci.Time(cfg.Created)
	c.Started, c.Finished = oci.Time(cfg.State.StartedAt), oci.Time(cfg.State.FinishedAt)
	c.PID = cfg.State.Pid
	if cfg.Path != "" {
		c.Command = append([]string{cfg.Path}, cfg.Args...)
	}
	c.Hostname, c.Env, c.Labels = cfg.Config.Hostname, cfg.Config.Env, cfg.Config.Labels
	c.OOMKilled, c.Reason = cfg.State.OOMKilled, cfg.State.Error
	restarts := cfg.RestartCount
	c.Restarts = &restarts
	c.LogPath = cfg.LogPath
	c.Ports = portsOf(cfg.NetworkSettings.Ports, cfg.Config.ExposedPorts)
	describeState(c, cfg)
	for _, name := range slices.Sorted(maps.Keys(cfg.NetworkSettings.Networks)) {
		if n := cfg.NetworkSettings.Networks[name]; n != nil {
			for _, ip := range []string{n.IPAddress, n.GlobalIPv6Address} {
				if ip != "" {
					c.IP = append(c.IP, ip)
				}
			}
		}
	}
	if ip := cfg.NetworkSettings.IPAddress; ip != "" && len(c.IP) == 0 {
		c.IP = []string{ip}
	}
	s.describeMounts(c, cfg)
	describePod(c)
}

func (s *Store) describeMounts(c *runtimes.Container, cfg *configV2) {
	for _, to := range slices.Sorted(maps.Keys(cfg.MountPoints)) {
		m := cfg.MountPoints[to]
		if m == nil {
			continue
		}
		out := runtimes.Mount{Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination, ReadOnly: !m.RW, Options: m.Propagation}
		if out.Destination == "" {
			out.Destination = to
		}
		if out.Type == "" { // before Docker 1.13
			out.Type = "bind"
			if m.Name != "" {
				out.Type = "volume"
			}
		}
		if out.Source == "" && m.Name != "" && (m.Driver == "" || m.Driver == "local") && !strings.Contains(m.Name, "/") {
			out.Source = join(s.root, "volumes/"+m.Name+"/_data") // daemon/volume/local/local.go
		}
		c.Mounts = append(c.Mounts, out)
	}
	for _, to := range slices.Sorted(maps.Keys(cfg.Volumes)) {
		if _, again := cfg.MountPoints[to]; !again { // before Docker 1.7
			c.Mounts = append(c.Mounts, runtimes.Mount{Type: "bind", Source: cfg.Volumes[to], Destination: to, ReadOnly: !cfg.VolumesRW[to]})
		}
	}
}

// describeState follows State.String of daemon/container/state.go.
func describeState(c *runtimes.Container, cfg *configV2) {
	st := &cfg.State
	switch {
	case st.Running && st.Paused:
		c.State = runtimes.StatePaused
	case st.Running:
		c.State = runtimes.StateRunning
		if st.Restarting && c.Reason == "" {
			c.Reason = "restarting"
		}
	case c.Started.IsZero() && !st.Dead:
		c.State = runtimes.StateCreated
	default:
		c.State = runtimes.StateExited
		if st.Dead && c.Reason == "" {
			c.Reason = "dead: its removal was not finished"
		}
	}
	// A container that could not be started has an exit code and no start.
	if c.State == runtimes.StateExited || c.State == runtimes.StateCreated && st.ExitCode != 0 {
		code := st.ExitCode
		c.ExitCode = &code
	}
}

// describePod takes the pod from the labels of dockershim and cri-dockerd.
func describePod(c *runtimes.Container) {
	c.Pod.Name = c.Labels[kubernetes.LabelPodName]
	c.Pod.Namespace = c.Labels[kubernetes.LabelPodNamespace]
	c.Pod.UID = c.Labels[kubernetes.LabelPodUID]
	if c.Pod.Name == "" {
		return
	}
	c.Pod.SandboxID = c.Labels[kubernetes.LabelDockerSandboxID]
	if c.Labels[kubernetes.LabelDockerType] == kubernetes.DockerTypeSandbox {
		c.Kind = runtimes.KindSandbox
		c.Pod.SandboxID = c.ID
	} else {
		c.Pod.Container = c.Labels[kubernetes.LabelContainerName]
	}
	if c.LogPath == "" {
		c.LogPath = c.Labels[kubernetes.LabelDockerLogPath]
	}
	// k8s_<container>_<pod>_<namespace>_<uid>_<attempt>: pkg/kubelet/dockershim/naming.go
	if i := strings.LastIndexByte(c.Name, '_'); strings.HasPrefix(c.Name, "k8s_") {
		if n, err := strconv.Atoi(c.Name[i+1:]); err == nil {
			c.Pod.Attempt = &n
		}
	}
}

// host takes what hostconfig.json tells.
func (s *Store) host(c *runtimes.Container, cfg *configV2, at *folder, recs map[string]json.RawMessage) error {
	raw, err := at.read(hostConfig, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a container of a daemon that was never told anything
	}
	if err != nil {
		return err
	}
	var hc hostConfigJSON
	kept, err := oci.Document(raw, &hc)
	if err != nil {
		err = fmt.Errorf("%s: %w", join(at.path, hostConfig), err)
	}
	if kept != nil {
		recs[hostConfig] = kept
	}
	c.Privileged = hc.Privileged
	c.HostNetwork = hc.NetworkMode == "host"
	if len(cfg.NetworkSettings.Ports) == 0 {
		c.Ports = portsOf(hc.PortBindings, cfg.Config.ExposedPorts)
	}
	c.LogDriver = hc.LogConfig.Type
	if c.LogPath == "" && exists(s.fsys, s.node, join(at.path, localLog)) {
		c.LogPath = join(at.path, localLog)
	}
	for _, to := range slices.Sorted(maps.Keys(hc.Tmpfs)) {
		c.Mounts = append(c.Mounts, runtimes.Mount{Type: "tmpfs", Destination: to, Options: hc.Tmpfs[to]})
	}
	return err
}

// place names the container's folders.
func (s *Store) place(c *runtimes.Container, cfg *configV2) error {
	c.Snapshotter = cfg.Driver
	d := s.drivers[cfg.Driver]
	if d == nil && cfg.Driver == "" {
		d = s.mounting(c.ID) // config.v2.json can't be read: the driver that knows the id
	}
	if d == nil {
		if cfg.Driver == "" {
			c.Rootfs.Problem = fmt.Errorf("no storage driver has a record of the container: %w", fs.ErrNotExist)
			return nil
		}
		c.Snapshot = c.ID // as containerd's snapshot is called: daemon/containerd/image_snapshot.go
		c.Rootfs.Problem = fmt.Errorf("containerd keeps the container's files (snapshotter %q, namespace %q), or %s/%s is lost: %w",
			cfg.Driver, Moby, join(s.root, imageDir), cfg.Driver, evidence.ErrUnsupported)
		return nil
	}
	c.Snapshotter = d.name
	m, err := s.mount(d, c.ID)
	if d.graph && isMissing(err) && m.mount == "" {
		m, err = graphMount(c.ID, cfg.Image), nil
	}
	if m.mount == "" {
		c.Rootfs.Problem = err
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	c.Snapshot = m.mount
	var contradiction error
	c.Rootfs, contradiction = s.rootfs(d, m)
	return errors.Join(err, contradiction)
}

// mounting returns the driver that has a mount of the container.
func (s *Store) mounting(id string) *driver {
	for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
		if m, _ := s.mount(s.drivers[name], id); m.mount != "" {
			return s.drivers[name]
		}
	}
	return nil
}
