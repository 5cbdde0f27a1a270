package docker

import (
	"errors"
	"fmt"

	"lagan/evidence"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

// usualRoots are the data roots that Docker has without being told otherwise.
var usualRoots = []string{
	"/var/lib/docker",
	"/var/snap/docker/common/var-lib-docker", // Ubuntu's snap
	"/mnt/sda1/var/lib/docker",               // boot2docker and old minikube
	"/lib/docker",                            // a volume that is the node's /var
}

// daemonConfigs are dockerd's configuration files: cmd/dockerd, the snap.
var daemonConfigs = []string{
	"/etc/docker/daemon.json",
	"/var/snap/docker/current/config/daemon.json",
}

// userRoot and userConfig are below a user's home, without root: docs.docker.com/engine/security/rootless.
const (
	userRoot   = "/.local/share/docker"
	userConfig = "/.config/docker/daemon.json"
)

var environmentFiles = []string{"/etc/default/docker", "/etc/sysconfig/docker", "/etc/sysconfig/docker-storage", "/etc/conf.d/docker"}

// Roots returns the data roots of Docker that are on the node: those that are
// configured (systemd units, daemon.json), then the usual ones, each followed by
// its userns-remap subtrees. A tree that is a data root itself gives "/". What
// could not be read on the way is the error, beside the roots that were found.
func Roots(fsys evidence.FS, root evidence.Ino) ([]string, error) {
	var failed []error
	candidates, err := node.Flags(fsys, root, "docker.service", environmentFiles, "--data-root", "--graph", "-g")
	if err != nil {
		failed = append(failed, err)
	}
	homes := node.Homes(fsys, root)
	configs := daemonConfigs
	for _, h := range homes {
		configs = append(configs[:len(configs):len(configs)], h+userConfig)
	}
	for _, name := range configs {
		dirs, err := dataRoots(fsys, root, name)
		if err != nil {
			failed = append(failed, err)
		}
		candidates = append(candidates, dirs...)
	}
	candidates = append(candidates, usualRoots...)
	for _, h := range homes {
		candidates = append(candidates, h+userRoot)
	}
	candidates = append(candidates, "/")
	var all []string
	for _, c := range candidates {
		all = append(all, c)
		for _, name := range node.Entries(fsys, root, c) {
			if remapped.MatchString(name) {
				all = append(all, join(c, name))
			}
		}
	}
	holds := func(dir string) bool { return isRoot(fsys, root, dir) }
	return node.Distinct(fsys, root, all, holds), errors.Join(failed...)
}

// dataRoots returns what a daemon.json says: data-root, before Docker 17.05 graph (daemon/config/config.go).
func dataRoots(fsys evidence.FS, root evidence.Ino, name string) ([]string, error) {
	raw, err := node.Read(fsys, root, name)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	var doc struct {
		DataRoot string `json:"data-root"`
		Graph    string `json:"graph"`
	}
	if err = oci.Decode(raw, &doc); err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	var out []string
	for _, dir := range []string{doc.DataRoot, doc.Graph} {
		if dir != "" {
			out = append(out, dir)
		}
	}
	return out, err
}
