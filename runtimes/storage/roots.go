package storage

import (
	"errors"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes/internal/node"
)

// usualRoots are the graph roots without a configuration.
var usualRoots = []string{
	"/var/lib/containers/storage",
	"/lib/containers/storage", // a volume that is the node's /var
}

// Below a user's home: types/options.go.
const (
	userRoot   = "/.local/share/containers/storage"
	userConfig = "/.config/containers/storage.conf"
)

// configFiles in the order in which they are asked: pkg/config and types/options_linux.go.
var configFiles = []string{"/etc/containers/storage.conf", "/usr/share/containers/storage.conf"}

// deployments are an ostree system's, whose /var lies in the deployment's parent (RHCOS, Fedora CoreOS).
const deployments = "/ostree/deploy"

// Roots returns the graph roots of Podman, Buildah and CRI-O on the node: those
// that are configured, then the usual ones, then every user's. A tree that is a
// graph root itself gives "/". What could not be read on the way is the error,
// beside the roots that were found.
func Roots(fsys evidence.FS, root evidence.Ino) ([]string, error) {
	var candidates []string
	var failed []error
	homes := node.Homes(fsys, root)
	users := node.Users(fsys, root)
	for _, name := range configFiles {
		doc, err := config(fsys, root, name)
		failed = append(failed, err)
		candidates = append(candidates, doc.Text("storage", "graphroot"), doc.Text("storage", "imagestore"))
		candidates = append(candidates, doc["storage.options"]["additionalimagestores"]...)
		if dir := doc.Text("storage", "rootless_storage_path"); dir != "" {
			for _, h := range homes {
				candidates = append(candidates, forUser(dir, h, users[h]))
			}
		}
	}
	candidates = append(candidates, usualRoots...)
	for _, name := range node.Entries(fsys, root, deployments) {
		candidates = append(candidates, deployments+"/"+name+"/var/lib/containers/storage")
	}
	for _, h := range homes {
		doc, err := config(fsys, root, h+userConfig)
		failed = append(failed, err)
		candidates = append(candidates, forUser(doc.Text("storage", "graphroot"), h, users[h]), h+userRoot)
	}
	candidates = append(candidates, "/")
	var named []string
	for _, c := range candidates {
		if c != "" {
			named = append(named, c)
		}
	}
	return node.Distinct(fsys, root, named, func(dir string) bool { return isRoot(fsys, root, dir) }), errors.Join(failed...)
}

func config(fsys evidence.FS, root evidence.Ino, name string) (node.TOML, error) {
	raw, err := node.Read(fsys, root, name)
	return node.ParseTOML(string(raw)), err
}

// forUser puts a user's home, name and number into a configured path: types/utils.go, expandEnvPath.
// user has the last two, as far as /etc/passwd does.
func forUser(dir, home string, user [2]string) string {
	name := firstOf(user[0], home[strings.LastIndexByte(home, '/')+1:])
	r := []string{"$HOME", home, "${HOME}", home, "$USER", name, "${USER}", name}
	if user[1] != "" {
		r = append(r, "$UID", user[1], "${UID}", user[1])
	}
	return strings.NewReplacer(r...).Replace(dir)
}

// otherStores returns the stores whose layers and images this one may use:
// image stores that are configured, for the node or for the user.
func (s *Store) otherStores() []string {
	names := configFiles
	if i := strings.Index(s.root, "/.local/share/"); i > 0 {
		names = append([]string{s.root[:i] + userConfig}, names...)
	}
	var out []string
	for _, name := range names {
		doc, err := config(s.fsys, s.node, name)
		s.problem(err)
		for _, dir := range append(doc["storage.options"]["additionalimagestores"], doc.Text("storage", "imagestore")) {
			if dir != "" && dir != s.root && isRoot(s.fsys, s.node, dir) {
				out = append(out, dir)
			}
		}
	}
	return out
}

// Usual says whether a graph root is one that needs no configuration.
func Usual(root string) bool {
	return root == "/" || slices.Contains(usualRoots, root) || strings.HasSuffix(root, userRoot) || strings.HasPrefix(root, deployments+"/")
}
