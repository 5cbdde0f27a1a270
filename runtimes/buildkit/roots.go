package buildkit

import (
	"errors"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes/internal/node"
)

// usualRoots: util/appdefaults of buildkit.
var usualRoots = []string{"/var/lib/buildkit"}

// userRoot and userConfig are below a user's home, without root.
const (
	userRoot   = "/.local/share/buildkit"
	userConfig = "/.config/buildkit/buildkitd.toml"
)

const configFile = "/etc/buildkit/buildkitd.toml"

// units start buildkitd: examples/systemd of buildkit, and what distributions call it.
var units = []string{"buildkit.service", "buildkitd.service"}

// Roots returns the data roots of BuildKit that are on the node: those that are
// configured, the usual ones, and the volumes of the builders that `docker buildx`
// runs in containers, below Docker's data roots. A tree that is a data root itself
// gives "/". What could not be read on the way is the error, beside the roots.
func Roots(fsys evidence.FS, root evidence.Ino, docker ...string) ([]string, error) {
	var failed []error
	var candidates []string
	for _, unit := range units {
		dirs, err := node.Flags(fsys, root, unit, nil, "--root")
		failed = append(failed, err)
		candidates = append(candidates, dirs...)
	}
	homes := node.Homes(fsys, root)
	configs := []string{configFile}
	for _, h := range homes {
		configs = append(configs, h+userConfig)
	}
	for _, name := range configs {
		raw, err := node.Read(fsys, root, name)
		failed = append(failed, err)
		if dir := node.ParseTOML(string(raw)).Text("", "root"); strings.HasPrefix(dir, "/") {
			candidates = append(candidates, dir)
		}
	}
	candidates = append(candidates, usualRoots...)
	for _, h := range homes {
		candidates = append(candidates, h+userRoot)
	}
	for _, dir := range docker {
		candidates = append(candidates, builderVolumes(fsys, root, dir)...)
	}
	candidates = append(candidates, "/")
	return node.Distinct(fsys, root, candidates, func(dir string) bool { return len(workers(fsys, root, dir)) > 0 }), errors.Join(failed...)
}

// builderVolumes returns the volumes of builders: driver/docker-container/driver.go of buildx.
func builderVolumes(fsys evidence.FS, root evidence.Ino, docker string) []string {
	var out []string
	for _, name := range node.Entries(fsys, root, join(docker, "volumes")) {
		if strings.HasPrefix(name, "buildx_buildkit_") && strings.HasSuffix(name, "_state") {
			out = append(out, join(docker, "volumes/"+name+"/_data"))
		}
	}
	slices.Sort(out)
	return out
}

// Usual says whether a data root is one that needs no configuration.
func Usual(root string) bool {
	return root == "/" || slices.Contains(usualRoots, root) || strings.HasSuffix(root, userRoot) || strings.Contains(root, "/volumes/buildx_buildkit_")
}
