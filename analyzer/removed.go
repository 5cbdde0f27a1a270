package analyzer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/docker"
)

// Removed is an object that was removed from its runtime, put together from
// every trace of it.
type Removed struct {
	Object    runtimes.Object
	ID        string // "" where no trace tells it
	Name      string
	Runtime   runtimes.Name
	Namespace string
	StorePath string
	Pod       runtimes.Pod
	// Container is what is known of a container, nil where no record of it is left.
	Container *Container
	Image     *runtimes.Image
	Snapshot  *runtimes.Snapshot
	// ExistedBy is the earliest time at which it is known to have been there,
	// LastSeen the latest, and GoneBy the earliest at which it was no more.
	ExistedBy, LastSeen, GoneBy time.Time
	Sure                        runtimes.Sureness // of the surest trace
	Values                      []RemovedValue
	Traces                      []runtimes.Remnant

	store Store
}

// RemovedValue is one value that is told of a removed object, and how sure it is.
type RemovedValue struct {
	Field, Value string
	Sure         runtimes.Sureness
	Source       string
}

// DisplayName is how the object is listed.
func (r *Removed) DisplayName() string {
	switch {
	case r.Pod.Name != "" && r.Object == runtimes.ObjectContainer:
		return r.Pod.Namespace + "/" + r.Pod.Name + "/" + firstOf(r.Pod.Container, r.Name)
	case r.Pod.Name != "" && r.Object == runtimes.ObjectPod:
		return r.Pod.Namespace + "/" + r.Pod.Name
	}
	return firstOf(r.Name, r.ID)
}

// Removed lists what was removed: containers, images, snapshots, pods, volumes,
// networks, content and builds, in that order.
func (n *Node) Removed(ctx context.Context) ([]*Removed, error) {
	var failed error
	n.removedOnce.Do(func() {
		c := &removedCollector{n: n, by: map[string]*Removed{}, live: map[string]bool{}}
		for _, one := range n.Containers() {
			c.live[one.ID] = true
		}
		c.fromStores()
		c.fromNode()
		files, err := n.recoveredFiles(ctx)
		if err != nil {
			failed = err
			return
		}
		n.guard(0, "deleted files", func() error { return c.fromFiles(files) })
		n.guard(0, "logs", func() error { return c.fromLogs(ctx) })
		n.removedAll = c.finish()
	})
	return n.removedAll, failed
}

// removedCollector puts traces together.
type removedCollector struct {
	n      *Node
	by     map[string]*Removed
	all    []*Removed
	live   map[string]bool         // ids of containers
	mounts map[string]removedMount // Docker's, by container
}

// fromStores takes what the stores' own databases keep.
func (c *removedCollector) fromStores() {
	for _, s := range c.n.Stores {
		rs, ok := s.Store.(runtimes.RemnantStore)
		if !ok {
			continue
		}
		object := fmt.Sprintf("what was removed from %s store %s", s.Runtime(), s.Path())
		c.n.guard(s.Volume, object, func() error {
			for r, err := range rs.Remnants() {
				if err != nil {
					c.n.gap(s.Volume, object, err)
					continue
				}
				c.add(s, r)
			}
			return nil
		})
	}
}

// key says which traces are of one object. A container's id is its own in all
// stores; other names are a store's and a namespace's.
func (c *removedCollector) key(r *runtimes.Remnant) string {
	switch {
	case r.Object == runtimes.ObjectContainer && r.ID != "" && len(r.ID) == 64:
		return "container\x00" + r.ID
	case r.Object == runtimes.ObjectContainer && r.ID == "":
		return strings.Join([]string{"container of", firstOf(r.Pod.UID, r.Pod.Namespace+"/"+r.Pod.Name), r.Pod.Container}, "\x00")
	case r.Object == runtimes.ObjectPod:
		return "pod\x00" + firstOf(r.Pod.UID, r.Pod.Namespace+"/"+r.Pod.Name)
	case r.Object == runtimes.ObjectSnapshot && r.Snapshot != nil && r.Snapshot.Name != "":
		return strings.Join([]string{string(r.Object), r.StorePath, r.Snapshot.Name}, "\x00")
	case r.Object == runtimes.ObjectSnapshot && strings.Count(r.Name, "/") >= 2:
		return strings.Join([]string{string(r.Object), r.StorePath, r.Name}, "\x00")
	case r.Object == runtimes.ObjectContent:
		return "content\x00" + r.StorePath + "\x00" + r.ID
	}
	return strings.Join([]string{string(r.Object), string(r.Runtime), r.StorePath, r.Namespace, r.ID}, "\x00")
}

// maxTraces bounds the traces that are kept of one object; the first tell the story.
const maxTraces = 256

// add takes one trace.
func (c *removedCollector) add(s Store, r runtimes.Remnant) *Removed {
	if r.Object == runtimes.ObjectContainer && c.live[r.ID] {
		return nil
	}
	k := c.key(&r)
	m := c.by[k]
	if m == nil {
		m = &Removed{Object: r.Object, ID: r.ID, Runtime: r.Runtime, StorePath: r.StorePath, Sure: runtimes.Doubtful, store: s}
		c.by[k] = m
		c.all = append(c.all, m)
	}
	m.take(s, r)
	return m
}

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

var objectRank = map[runtimes.Object]int{
	runtimes.ObjectContainer: 1, runtimes.ObjectImage: 2, runtimes.ObjectSnapshot: 3, runtimes.ObjectPod: 4,
	runtimes.ObjectVolume: 5, runtimes.ObjectNetwork: 6, runtimes.ObjectBuild: 7, runtimes.ObjectContent: 8,
}

// finish joins traces that name a container by its pod with the container that
// they can only be of, completes the records and sorts them.
func (c *removedCollector) finish() []*Removed {
	var out []*Removed
	for _, m := range c.all {
		if m.Object == runtimes.ObjectContainer && m.ID == "" {
			if owner := c.ownerOf(m); owner != nil {
				for _, r := range m.Traces {
					r.Gone = time.Time{} // that of a name in a pod, which several containers may have had
					owner.take(m.store, r)
				}
				continue
			}
		}
		out = append(out, m)
	}
	for _, m := range out {
		m.gone(c.listedBy(m))
		m.complete()
		if m.Container == nil {
			continue
		}
		if d, ok := m.Container.store.Store.(*docker.Store); ok && m.Container.Rootfs.Problem != nil {
			if mount := c.mounts[m.ID]; mount.id != "" {
				m.Container.Snapshot, m.Container.Rootfs = mount.id, d.RemovedRootfs(mount.driver, mount.id, mount.parent)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *Removed) int {
		return cmp.Or(cmp.Compare(objectRank[a.Object], objectRank[b.Object]), cmp.Compare(a.Runtime, b.Runtime), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.DisplayName(), b.DisplayName()), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// listedBy is when the folder or file that lists an object's kind was changed
// last: what it lacks was gone by then.
func (c *removedCollector) listedBy(m *Removed) time.Time {
	if m.store.Store == nil || m.Object != runtimes.ObjectContainer {
		return time.Time{}
	}
	var at string
	switch root := strings.TrimSuffix(m.store.Path(), "/"); m.store.Runtime() {
	case runtimes.Docker:
		at = root + "/containers"
	case runtimes.Podman, runtimes.CRIO:
		at = root + "/overlay-containers/containers.json"
	case runtimes.Containerd:
		at = root + "/io.containerd.metadata.v1.bolt/meta.db"
	}
	ino, err := evidence.Resolve(m.store.Tree, m.store.Tree.Root(), at, true)
	if err != nil {
		return time.Time{}
	}
	info, err := m.store.Tree.Stat(ino)
	if err != nil {
		return time.Time{}
	}
	m.Traces = append(m.Traces, runtimes.Remnant{Object: m.Object, ID: m.ID, Source: at, Place: "list without it", Offset: -1, Gone: info.Mtime, Sure: runtimes.Sure})
	return info.Mtime
}

// ownerOf finds the one removed container that has the name in the pod.
func (c *removedCollector) ownerOf(m *Removed) *Removed {
	var owner *Removed
	for _, o := range c.all {
		if o.Object != runtimes.ObjectContainer || o.ID == "" || o.Pod.Container != m.Pod.Container {
			continue
		}
		if m.Pod.UID != "" && o.Pod.UID == m.Pod.UID || (m.Pod.UID == "" || o.Pod.UID == "") && m.Pod.Name != "" && o.Pod.Name == m.Pod.Name && o.Pod.Namespace == m.Pod.Namespace {
			if owner != nil {
				return nil
			}
			owner = o
		}
	}
	return owner
}

// complete chooses the values that are told, and makes the container's own record agree.
func (m *Removed) complete() {
	m.Name = m.best("name")
	if m.Object == runtimes.ObjectContainer {
		m.Name = cmp.Or(m.Pod.Container, m.bestName())
		if m.Container == nil && m.ID != "" {
			c := runtimes.Container{ID: m.ID, Name: cmp.Or(m.Name, m.ID), Kind: runtimes.KindContainer, Runtime: m.Runtime, Namespace: m.Namespace, State: runtimes.StateUnknown,
				StorePath: m.StorePath, Pod: m.Pod}
			c.Rootfs.Problem = fmt.Errorf("no record of its layers is left: %w", errNoRecord)
			m.Container = &Container{Container: c, store: m.store, Removed: true}
		}
		if m.Container != nil {
			c := &m.Container.Container
			m.Runtime, m.StorePath, m.Namespace = cmp.Or(c.Runtime, m.Runtime), cmp.Or(c.StorePath, m.StorePath), cmp.Or(c.Namespace, m.Namespace)
			c.Name = cmp.Or(m.Name, c.Name)
			mergePod(&c.Pod, &m.Pod)
			c.Image = cmp.Or(c.Image, m.best("image"))
		}
	}
	slices.SortStableFunc(m.Values, func(a, b RemovedValue) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(sureRank[b.Sure], sureRank[a.Sure]))
	})
	// A bound that what was seen contradicts is no bound: clocks jump, files are copied.
	if !m.GoneBy.IsZero() && m.GoneBy.Before(m.LastSeen) {
		m.GoneBy = time.Time{}
		for _, r := range m.Traces {
			if r.Gone.After(m.LastSeen) {
				m.gone(r.Gone)
			}
		}
	}
}

// best returns the surest value of a field.
func (m *Removed) best(field string) string {
	v, rank := "", 0
	for _, o := range m.Values {
		if o.Field == field && sureRank[o.Sure] > rank {
			v, rank = o.Value, sureRank[o.Sure]
		}
	}
	return v
}

// bestName is the surest name that is not the id or its beginning.
func (m *Removed) bestName() string {
	v, rank := "", 0
	for _, o := range m.Values {
		if o.Field == "name" && sureRank[o.Sure] > rank && !strings.HasPrefix(m.ID, o.Value) {
			v, rank = o.Value, sureRank[o.Sure]
		}
	}
	return v
}

// RemovedContainers lists the removed containers of which the id is known.
func (n *Node) RemovedContainers(ctx context.Context) ([]*Container, error) {
	all, err := n.Removed(ctx)
	var out []*Container
	for _, r := range all {
		if r.Object == runtimes.ObjectContainer && r.Container != nil {
			out = append(out, r.Container)
		}
	}
	return out, err
}

// findRemoved returns the removed containers that a name means, where no living one answers to it.
func (n *Node) findRemoved(spec string) []*Container {
	all, err := n.RemovedContainers(context.Background())
	if err != nil {
		return nil
	}
	var exact, prefix []*Container
	for _, c := range all {
		switch {
		case c.ID == spec:
			return []*Container{c}
		case c.Name == spec || c.DisplayName() == spec:
			exact = append(exact, c)
		case len(spec) >= minPrefix && strings.HasPrefix(c.ID, spec):
			prefix = append(prefix, c)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return prefix
}
