package analyzer

import (
	"lagan/runtimes"
	"lagan/runtimes/containerd"
	"lagan/runtimes/docker"
)

// inContainerd names the folders of a container that Docker leaves to a
// containerd: the node's own or the one below Docker's data root. Where none
// has them, the record's own problem stands.
func (n *Node) inContainerd(s Store, c *runtimes.Container) runtimes.Rootfs {
	for _, other := range n.Stores {
		keeper, ok := other.Store.(*containerd.Store)
		if !ok || other.Volume != s.Volume {
			continue
		}
		if r := keeper.Rootfs(docker.Moby, c.Snapshotter, c.Snapshot); r.Problem == nil {
			return r
		}
	}
	return c.Rootfs
}
