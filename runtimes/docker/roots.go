package docker

import (
	"path"
	"strings"

	"lagan/evidence"
	"lagan/runtimes/internal/node"
)

// Roots returns the data roots of Docker that are on the node: those that are
// configured (systemd units, daemon.json), then the usual ones, each followed by
// its userns-remap subtrees. A tree that is a data root itself gives "/". What
// could not be read on the way is the error, beside the roots that were found.
func Roots(fsys evidence.FS, root evidence.Ino) ([]string, error) {
	candidates, err := node.DockerRoots(fsys, root)
	var all []string
	for _, c := range candidates {
		all = append(all, c)
		for _, name := range node.Entries(fsys, root, c) {
			if remapped.MatchString(name) {
				all = append(all, join(c, name))
			}
		}
	}
	return node.Distinct(fsys, root, all, func(dir string) bool { return isRoot(fsys, root, dir) }), err
}

// Usual says whether a data root is one that Docker has without being told so.
func Usual(root string) bool {
	above, name := path.Split(root)
	return node.DockerUsual(root) || remapped.MatchString(name) && node.DockerUsual(strings.TrimSuffix(above, "/"))
}
