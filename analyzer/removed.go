package analyzer

import (
	"context"
	"fmt"
	"strings"
	"time"

	"lagan/runtimes"
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
		n.guard(0, "deleted stores", func() error { return c.fromDeletedStores(files) })
		n.guard(0, "layers of deleted files", func() error { return c.fromLayers(files) })
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
