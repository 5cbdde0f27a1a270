package analyzer

import (
	"slices"
	"strings"

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

// asDocker gives an image that dockerd keeps in a containerd the names and the
// id that Docker calls it by: the digest of what the name points to, and the
// names without the registry that needs none beside the whole ones.
func asDocker(i *runtimes.Image) {
	if i.Runtime != runtimes.Containerd || i.Namespace != docker.Moby {
		return
	}
	i.Runtime = runtimes.Docker
	if i.Digest != "" {
		i.ID = i.Digest
	}
	var names []string
	for _, name := range i.Names {
		if strings.HasPrefix(name, danglingPrefix) {
			continue // of an image that lost its name
		}
		if short := familiar(name); short != name {
			names = append(names, short)
		}
		names = append(names, name)
	}
	i.Names = names
}

// danglingPrefix is what dockerd calls an image that has no name: daemon/containerd/soft_delete.go of moby.
const danglingPrefix = "moby-dangling@"

// familiar is an image's name as Docker prints it: distribution/reference, FamiliarName.
func familiar(name string) string {
	rest, ok := strings.CutPrefix(name, "docker.io/")
	if !ok {
		return name
	}
	return strings.TrimPrefix(rest, "library/")
}

// madeInDocker says whether a container of Docker was made from an image that containerd keeps.
func (i *Image) madeInDocker(c *Container) bool {
	return c.Runtime == runtimes.Docker && c.Snapshot == c.ID && c.store.Volume == i.store.Volume &&
		i.store.Runtime() == runtimes.Containerd && (c.ImageDigest == i.Digest && i.Digest != "" || c.ImageDigest == "" && slices.Contains(i.Names, c.Image))
}
