package analyzer

import (
	"context"
	"slices"

	"lagan/runtimes"
)

// Fields of removed objects that lead from one to another.
const (
	fieldVolume    = "volume"    // of a container: the name of one that it mounted
	fieldContainer = "container" // of a volume: the id of one that mounted it
)

// joinVolumes gives each removed volume the removed containers that mounted it. One
// that a container names, and of which there is neither record nor folder, is
// removed too.
func (c *removedCollector) joinVolumes() {
	type volume struct {
		runtime runtimes.Name
		name    string
	}
	there := make(map[volume]bool)
	collect(c.n, runtimes.VolumeStore.Volumes, func(_ Store, v runtimes.Volume) { there[volume{v.Runtime, v.Name}] = true })
	for _, m := range slices.Clone(c.all) {
		if m.Object != runtimes.ObjectContainer || m.Container == nil || m.ID == "" {
			continue
		}
		for _, v := range m.Values {
			if v.Field != fieldVolume || there[volume{m.Container.Runtime, v.Value}] {
				continue
			}
			gone := c.add(m.Container.store, runtimes.Remnant{
				Object: runtimes.ObjectVolume, Runtime: m.Container.Runtime, StorePath: m.Container.StorePath, ID: v.Value, Name: v.Value,
				Existed: m.Container.Created, Source: v.Source, Place: "mount of container " + m.ID, Offset: -1, Sure: runtimes.Likely,
			})
			gone.Values = append(gone.Values, RemovedValue{fieldContainer, m.ID, v.Sure, v.Source})
		}
	}
}

// WithRemoved adds to a list of volumes those that were removed, and to each volume the
// removed containers that mounted it.
func (n *Node) WithRemoved(ctx context.Context, list []*DataVolume) ([]*DataVolume, error) {
	all, err := n.Removed(ctx)
	by := make(map[runtimes.Name]map[string]*DataVolume)
	at := make(map[string][]*DataVolume)
	for _, v := range list {
		if by[v.Runtime] == nil {
			by[v.Runtime] = make(map[string]*DataVolume)
		}
		by[v.Runtime][v.Name] = v
		if v.Mountpoint != "" {
			at[v.Mountpoint] = append(at[v.Mountpoint], v)
		}
	}
	for _, r := range all {
		switch {
		case r.Object == runtimes.ObjectVolume:
			v := &DataVolume{store: r.store, Removed: true, Volume: runtimes.Volume{Runtime: r.Runtime, StorePath: r.StorePath, Name: firstOf(r.Name, r.ID), Problem: "removed"}}
			for _, o := range r.Values {
				if o.Field == fieldContainer {
					v.mountedBy(o.Value)
				}
			}
			list = append(list, v)
		case r.Object == runtimes.ObjectContainer && r.Container != nil:
			for _, m := range r.Container.Mounts {
				if v := by[r.Container.Runtime][m.Name]; v != nil && m.Name != "" {
					v.mountedBy(r.ID)
				}
				for _, v := range at[m.Source] {
					v.mountedBy(r.ID)
				}
			}
		}
	}
	return list, err
}

// mountedBy notes that a removed container mounted the volume.
func (v *DataVolume) mountedBy(id string) {
	if id != "" && !slices.Contains(v.RemovedContainers, id) {
		v.RemovedContainers = append(v.RemovedContainers, id)
	}
}
