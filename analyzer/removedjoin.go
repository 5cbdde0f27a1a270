package analyzer

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"lagan/runtimes"
)

var sureRank = map[runtimes.Sureness]int{runtimes.Sure: 3, runtimes.Likely: 2, runtimes.Doubtful: 1}

// take adds a trace to an object.
func (m *Removed) take(s Store, r runtimes.Remnant) {
	if len(m.Traces) < maxTraces {
		m.Traces = append(m.Traces, r)
	}
	if sureRank[r.Sure] > sureRank[m.Sure] {
		m.Sure = r.Sure
	}
	m.Runtime = cmp.Or(m.Runtime, r.Runtime)
	m.StorePath = cmp.Or(m.StorePath, r.StorePath)
	m.Namespace = cmp.Or(m.Namespace, r.Namespace)
	if m.store.Store == nil || r.Runtime == runtimes.Docker && s.Store != nil { // containerd runs Docker's containers
		m.store = s
	}
	mergePod(&m.Pod, &r.Pod)
	source := r.Source
	value := func(field, v string) {
		if v == "" {
			return
		}
		for i := range m.Values {
			if o := &m.Values[i]; o.Field == field && o.Value == v {
				if sureRank[r.Sure] > sureRank[o.Sure] {
					o.Sure, o.Source = r.Sure, source
				}
				return
			}
		}
		m.Values = append(m.Values, RemovedValue{field, v, r.Sure, source})
	}
	value("id", r.ID)
	value("name", r.Name)
	value("namespace", r.Namespace)
	if r.Pod.Name != "" {
		value("pod", r.Pod.Namespace+"/"+r.Pod.Name)
	}
	value("pod_uid", r.Pod.UID)
	if c := r.Container; c != nil {
		m.container(c, s, value)
		mergePod(&m.Pod, &c.Pod)
	}
	if i := r.Image; i != nil {
		if m.Image == nil || m.Image.Digest == "" {
			m.Image = i
		}
		value("digest", i.Digest)
		value("image_id", i.ID)
		for _, v := range imageEnv(i) {
			value("env", v)
		}
	}
	if r.Sure == runtimes.Sure {
		r.Sure = runtimes.Likely // numbers of inodes are used again, those of folders too
	}
	for _, f := range r.Files {
		value("file", f)
	}
	for _, b := range r.Blobs {
		value("blob", b)
	}
	if r.Snapshot != nil {
		if m.Snapshot == nil || m.Snapshot.Dir == "" {
			m.Snapshot = r.Snapshot
		}
		value("snapshot", r.Snapshot.ID)
		value("parent", r.Snapshot.Parent)
	}
	m.existed(r.Existed)
	m.gone(r.Gone)
}

// container joins what several records tell of a container: the surest and
// newest stands, the others fill its gaps.
func (m *Removed) container(c *runtimes.Container, s Store, value func(field, v string)) {
	value("name", c.Name)
	value("image", c.Image)
	value("image_id", c.ImageID)
	value("created", stampOf(c.Created))
	value("started", stampOf(c.Started))
	value("finished", stampOf(c.Finished))
	if c.ExitCode != nil {
		value("exit_code", fmt.Sprint(*c.ExitCode))
	}
	value("command", strings.Join(c.Command, " "))
	value("snapshot", c.Snapshot)
	for _, mount := range c.Mounts {
		value(fieldVolume, mount.Name)
	}
	for _, t := range []time.Time{c.Created, c.Started, c.Finished} {
		m.existed(t)
	}
	if m.Container == nil {
		if s.Store == nil {
			s = m.store
		}
		m.Container = &Container{Container: *c, store: s, Removed: true}
		return
	}
	old := &m.Container.Container
	if richer(c, old) {
		kept := *old
		*old = *c
		if s.Store != nil {
			m.Container.store = s
		}
		fillContainer(old, &kept)
		return
	}
	fillContainer(old, c)
}

// richer says whether a is the better record: it has an image where b has none, or it ends later.
func richer(a, b *runtimes.Container) bool {
	if (a.Runtime == runtimes.Docker) != (b.Runtime == runtimes.Docker) {
		return a.Runtime == runtimes.Docker // containerd runs them for dockerd
	}
	if (a.Image != "") != (b.Image != "") {
		return a.Image != ""
	}
	if (a.Rootfs.Problem == nil) != (b.Rootfs.Problem == nil) {
		return a.Rootfs.Problem == nil
	}
	return a.Updated.After(b.Updated) || a.Finished.After(b.Finished)
}

// fillContainer fills what is not known of a from b.
func fillContainer(a, b *runtimes.Container) {
	if (a.Name == "" || strings.HasPrefix(a.ID, a.Name)) && b.Name != "" {
		a.Name = b.Name
	}
	a.Namespace, a.Image, a.ImageID = cmp.Or(a.Namespace, b.Namespace), cmp.Or(a.Image, b.Image), cmp.Or(a.ImageID, b.ImageID)
	a.ImageDigest, a.Hostname, a.LogPath = cmp.Or(a.ImageDigest, b.ImageDigest), cmp.Or(a.Hostname, b.Hostname), cmp.Or(a.LogPath, b.LogPath)
	a.Snapshot, a.Snapshotter = cmp.Or(a.Snapshot, b.Snapshot), cmp.Or(a.Snapshotter, b.Snapshotter)
	for _, t := range []struct {
		to   *time.Time
		from time.Time
	}{{&a.Created, b.Created}, {&a.Started, b.Started}, {&a.Finished, b.Finished}, {&a.Updated, b.Updated}} {
		if t.to.IsZero() {
			*t.to = t.from
		}
	}
	if a.ExitCode == nil && b.ExitCode != nil {
		a.ExitCode, a.State = b.ExitCode, b.State
	}
	if a.State == runtimes.StateUnknown {
		a.State = b.State
	}
	if len(a.Command) == 0 {
		a.Command = b.Command
	}
	if a.Labels == nil {
		a.Labels = b.Labels
	}
	if len(a.Mounts) == 0 {
		a.Mounts = b.Mounts
	}
	mergePod(&a.Pod, &b.Pod)
	if a.Rootfs.Problem != nil && b.Rootfs.Problem == nil && b.Rootfs.Kind != runtimes.RootfsUnknown {
		a.Rootfs = b.Rootfs
	}
}

func mergePod(a, b *runtimes.Pod) {
	a.Name, a.Namespace, a.UID = cmp.Or(a.Name, b.Name), cmp.Or(a.Namespace, b.Namespace), cmp.Or(a.UID, b.UID)
	a.SandboxID, a.Container = cmp.Or(a.SandboxID, b.SandboxID), cmp.Or(a.Container, b.Container)
	if a.Attempt == nil {
		a.Attempt = b.Attempt
	}
}

func (m *Removed) existed(t time.Time) {
	if t.IsZero() {
		return
	}
	if m.ExistedBy.IsZero() || t.Before(m.ExistedBy) {
		m.ExistedBy = t
	}
	if t.After(m.LastSeen) {
		m.LastSeen = t
	}
}

func (m *Removed) gone(t time.Time) {
	if !t.IsZero() && (m.GoneBy.IsZero() || t.Before(m.GoneBy)) {
		m.GoneBy = t
	}
}

func stampOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}
