package node

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"lagan/evidence"
)

// dockerRoots are the data roots that Docker has without being told otherwise.
var dockerRoots = []string{
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

// dockerUserRoot and dockerUserConfig are below a user's home, without root: docs.docker.com/engine/security/rootless.
const (
	dockerUserRoot   = "/.local/share/docker"
	dockerUserConfig = "/.config/docker/daemon.json"
)

var dockerEnvironment = []string{"/etc/default/docker", "/etc/sysconfig/docker", "/etc/sysconfig/docker-storage", "/etc/conf.d/docker"}

// DockerRoots returns where Docker's data roots may be, the configured ones
// (systemd units, daemon.json) first; most will not be there. What could not be
// read on the way is the error.
func DockerRoots(fsys evidence.FS, root evidence.Ino) ([]string, error) {
	candidates, err := Flags(fsys, root, "docker.service", dockerEnvironment, "--data-root", "--graph", "-g")
	failed := []error{err}
	homes := Homes(fsys, root)
	configs := daemonConfigs
	for _, h := range homes {
		configs = append(configs[:len(configs):len(configs)], h+dockerUserConfig)
	}
	for _, name := range configs {
		dirs, err := dataRoots(fsys, root, name)
		failed = append(failed, err)
		candidates = append(candidates, dirs...)
	}
	candidates = append(candidates, dockerRoots...)
	for _, h := range homes {
		candidates = append(candidates, h+dockerUserRoot)
	}
	return append(candidates, "/"), errors.Join(failed...)
}

// dataRoots returns what a daemon.json says: data-root, before Docker 17.05 graph (daemon/config/config.go).
func dataRoots(fsys evidence.FS, root evidence.Ino, name string) ([]string, error) {
	raw, err := Read(fsys, root, name)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	var doc struct {
		DataRoot string `json:"data-root"`
		Graph    string `json:"graph"`
	}
	if err = json.Unmarshal(raw, &doc); err != nil {
		err = Problem(name, errors.Join(err, evidence.ErrCorrupt))
	}
	var out []string
	for _, dir := range []string{doc.DataRoot, doc.Graph} {
		if dir != "" {
			out = append(out, dir)
		}
	}
	return out, err
}

// DockerUsual says whether a data root of Docker needs no configuration.
func DockerUsual(root string) bool {
	return root == "/" || slices.Contains(dockerRoots, root) || strings.HasSuffix(root, dockerUserRoot)
}

// DockerStorageOption returns what dockerd is told of one option of its storage
// driver ("dm.thinpooldev"), "" where nothing: --storage-opt and storage-opts.
func DockerStorageOption(fsys evidence.FS, root evidence.Ino, option string) string {
	all, _ := Values(fsys, root, "docker.service", dockerEnvironment, "--storage-opt")
	for _, name := range daemonConfigs {
		raw, err := Read(fsys, root, name)
		var doc struct {
			Options []string `json:"storage-opts"`
		}
		// What is wrong with the file is told where the data roots are looked for.
		if err == nil && json.Unmarshal(raw, &doc) == nil {
			all = append(all, doc.Options...)
		}
	}
	for _, o := range all {
		if name, value, ok := strings.Cut(o, "="); ok && name == option {
			return value
		}
	}
	return ""
}
