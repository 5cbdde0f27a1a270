package analyzer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/docker"
)

var objectRank = map[runtimes.Object]int{
	runtimes.ObjectContainer: 1, runtimes.ObjectImage: 2, runtimes.ObjectSnapshot: 3, runtimes.ObjectPod: 4,
	runtimes.ObjectVolume: 5, runtimes.ObjectNetwork: 6, runtimes.ObjectBuild: 7, runtimes.ObjectContent: 8,
}

// finish joins traces that name a container by its pod with the container that
// they can only be of, completes the records and sorts them.
func (c *removedCollector) finish() []*Removed {
	c.joinVolumes()
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
		c.lowerOf(m.Container)
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
