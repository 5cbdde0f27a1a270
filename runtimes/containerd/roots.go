package containerd

import (
	"errors"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes/internal/node"
)

// usualRoots are the data roots of containerd and of the distributions that carry their own.
var usualRoots = []string{
	"/var/lib/containerd",
	"/var/lib/rancher/k3s/agent/containerd",
	"/var/lib/rancher/rke2/agent/containerd",
	"/var/snap/microk8s/common/var/lib/containerd",
	"/var/lib/k0s/containerd",
	"/var/lib/host-containerd",  // Bottlerocket's second instance
	"/local/var/lib/containerd", // Bottlerocket's data volume
	"/lib/containerd",           // a volume that is the node's /var
}

// userRoot is below a user's home, without root: nerdctl docs/rootless.md.
const userRoot = "/.local/share/containerd"

// configFiles of containerd and of the distributions.
var configFiles = []string{
	"/etc/containerd/config.toml",
	"/etc/k0s/containerd.toml",
	"/etc/cri/containerd.toml", // Talos
	"/etc/host-containerd/config.toml",
	"/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
	"/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
	"/var/snap/microk8s/current/args/containerd.toml",
	"/usr/share/containerd/config.toml", // Flatcar
}

// dropIns are read without being named: defaults/defaults_unix.go, and Amazon Linux 2023.
var dropIns = []string{"/etc/containerd/conf.d/*.toml", "/etc/containerd/config.d/*.toml"}

// maxImports bounds the files that one configuration draws in.
const maxImports = 64

// distributionConfigs name the data folder of a distribution under data-dir; containerd's lies in agent/containerd.
var distributionConfigs = []string{"/etc/rancher/k3s/config.yaml", "/etc/rancher/rke2/config.yaml"}

// Roots returns the data roots of containerd that are on the node: those that
// are configured (systemd units, config.toml and what it imports), then the
// usual ones, then the ones that dockerd keeps below its own data roots: those
// that the caller knows, and those that Docker's configuration tells. A tree that is a data root itself gives "/". What could
// not be read on the way is the error, beside the roots that were found.
func Roots(fsys evidence.FS, root evidence.Ino, docker ...string) ([]string, error) {
	var failed []error
	candidates, err := node.Flags(fsys, root, "containerd.service", nil, "--root")
	failed = append(failed, err)
	more, err := node.Flags(fsys, root, "containerd.service", nil, "--config", "-c")
	failed = append(failed, err)
	for _, name := range append(more, configFiles...) {
		roots, err := configuredRoots(fsys, root, name)
		failed = append(failed, err)
		candidates = append(candidates, roots...)
	}
	for _, name := range distributionConfigs {
		raw, err := node.Read(fsys, root, name)
		failed = append(failed, err)
		if dir := node.YAMLValue(string(raw), "data-dir"); dir != "" {
			candidates = append(candidates, join(dir, "agent/containerd"))
		}
	}
	candidates = append(candidates, usualRoots...)
	more, err = node.DockerRoots(fsys, root)
	failed = append(failed, err)
	for _, dir := range append(docker[:len(docker):len(docker)], more...) {
		candidates = append(candidates, join(dir, "containerd/daemon"))
	}
	for _, h := range node.Homes(fsys, root) {
		candidates = append(candidates, h+userRoot)
	}
	candidates = append(candidates, "/")
	return node.Distinct(fsys, root, candidates, func(dir string) bool { return isRoot(fsys, root, dir) }), errors.Join(failed...)
}

// Usual says whether a data root is one that containerd, a distribution or
// dockerd has without being told so.
func Usual(root string) bool {
	docker, below := strings.CutSuffix(root, "/containerd/daemon")
	return root == "/" || slices.Contains(usualRoots, root) || strings.HasSuffix(root, userRoot) || below && node.DockerUsual(docker)
}

// isRoot says whether dir holds containerd's state: meta.db or a snapshotter's database.
func isRoot(fsys evidence.FS, root evidence.Ino, dir string) bool {
	if _, err := evidence.Resolve(fsys, root, join(dir, metaDB), true); err == nil {
		return true
	}
	for _, name := range node.Entries(fsys, root, dir) {
		if strings.HasPrefix(name, snapshotterPrefix) {
			if _, err := evidence.Resolve(fsys, root, join(dir, name+"/"+snapshotterDB), true); err == nil {
				return true
			}
		}
	}
	return false
}

// configuredRoots returns the key root of a configuration file and of the files that it imports.
func configuredRoots(fsys evidence.FS, root evidence.Ino, name string) ([]string, error) {
	docs, err := configurations(fsys, root, name)
	var out []string
	for _, doc := range slices.Backward(docs) { // what is imported later stands
		if dir := doc.Text("", "root"); dir != "" {
			out = append(out, dir)
		}
		if dir := doc.Text("plugins.opt", "path"); strings.HasSuffix(dir, "/containerd") {
			out = append(out, dir) // old configurations of k3s
		}
	}
	return out, err
}

// configurations returns a configuration file and what it imports, each once.
func configurations(fsys evidence.FS, root evidence.Ino, name string) ([]node.TOML, error) {
	var out []node.TOML
	var failed error
	todo := []string{name}
	if name == configFiles[0] {
		for _, pattern := range dropIns {
			todo = append(todo, glob(fsys, root, pattern)...)
		}
	}
	for i := 0; i < len(todo) && i < maxImports; i++ {
		raw, err := node.Read(fsys, root, todo[i])
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		doc := node.ParseTOML(string(raw))
		out = append(out, doc)
		for _, pattern := range doc[""]["imports"] {
			if !strings.HasPrefix(pattern, "/") {
				pattern = path.Join(path.Dir(todo[i]), pattern)
			}
			for _, f := range glob(fsys, root, pattern) {
				if !slices.Contains(todo, f) {
					todo = append(todo, f)
				}
			}
		}
	}
	return out, failed
}

// glob returns the files that a pattern in the last element of a path matches.
func glob(fsys evidence.FS, root evidence.Ino, pattern string) []string {
	dir, last := path.Split(pattern)
	if !strings.ContainsAny(last, "*?[") {
		return []string{pattern}
	}
	var out []string
	for _, name := range node.Entries(fsys, root, dir) {
		if ok, err := path.Match(last, name); err == nil && ok {
			out = append(out, path.Join(dir, name))
		}
	}
	return out
}
