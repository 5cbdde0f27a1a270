package analyzer

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
)

// liveRoots are the data roots that runtimes and distributions have on a living node.
var liveRoots = []string{
	"/var/lib/containerd", "/var/lib/docker", "/var/lib/containers/storage",
	"/var/lib/rancher/k3s/agent/containerd", "/var/lib/rancher/rke2/agent/containerd", "/var/lib/k0s/containerd",
	"/var/snap/microk8s/common/var/lib/containerd", "/var/snap/docker/common/var-lib-docker",
}

// moved says where a folder of the living node lies in the evidence: in a node
// within the node, in a copy, on a volume that isn't joined.
type moved struct{ live, found string }

// movedRoot compares a data root with those of living nodes, from the end:
// what is above the part that they have in common was moved. It is false for
// a root that lies where it was.
func movedRoot(root string) (moved, bool) {
	if slices.Contains(liveRoots, root) {
		return moved{}, false
	}
	have := evidence.Split(root)
	best, most := moved{}, 0
	for _, live := range liveRoots {
		parts := evidence.Split(live)
		n := 0
		for n < len(have) && n < len(parts) && have[len(have)-1-n] == parts[len(parts)-1-n] {
			n++
		}
		if n > most {
			most = n
			best = moved{"/" + strings.Join(parts[:len(parts)-n], "/"), "/" + strings.Join(have[:len(have)-n], "/")}
		}
	}
	return best, most >= 2 // one name alone is no sign: any folder may be called containerd
}

// path returns where a path of the living node lies.
func (m moved) path(p string) (string, bool) {
	rest, ok := strings.CutPrefix(p, strings.TrimSuffix(m.live, "/")+"/")
	return strings.TrimSuffix(m.found, "/") + "/" + rest, ok
}

// relocate makes the paths of a container's record those that the evidence has,
// where its data root isn't where the node had it and they lead nowhere as they are.
func relocate(s Store, c *runtimes.Container) {
	m, ok := movedRoot(s.Path())
	if !ok {
		return
	}
	to := func(p *string) {
		there, ok := m.path(*p)
		if !ok || *p == there {
			return
		}
		if _, err := evidence.Resolve(s.Tree, s.Tree.Root(), *p, false); !errors.Is(err, fs.ErrNotExist) {
			return
		}
		if _, err := evidence.Resolve(s.Tree, s.Tree.Root(), there, false); err == nil {
			*p = there
		}
	}
	to(&c.LogPath)
	for i := range c.Mounts {
		to(&c.Mounts[i].Source)
	}
}

// nestedVars are the folders that are the /var of another node than this: of one
// within it (kind and minikube have it in a volume of Docker's), or of a copy.
func (n *Node) nestedVars() []string {
	var out []string
	for _, s := range n.Stores {
		m, ok := movedRoot(s.Path())
		if !ok || s.Volume != 0 {
			continue
		}
		dir, ok := m.path("/var/x")
		if dir = strings.TrimSuffix(dir, "/x"); ok && dir != "" && dir != "/var" && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}
