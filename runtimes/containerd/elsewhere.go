package containerd

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes/internal/node"
)

// outsider is a snapshotter that runs beside containerd and keeps its folder
// elsewhere.
type outsider struct {
	name string
	dirs []string // usual ones; a snapshotter's own folder may lie in snapshotter below
	user string   // below a user's home, for a containerd of theirs: nerdctl's containerd-rootless-setuptool.sh
	unit string   // its flags --root and -root
	file string   // its configuration, with the key root
}

// outsiders follow the documentation and main.go of each: stargz-snapshotter,
// soci-snapshotter, nydus-snapshotter, accelerated-container-image (overlaybd),
// fuse-overlayfs-snapshotter; GKE's gcfs has its folder below containerd's root.
var outsiders = []outsider{
	{"stargz", []string{"/var/lib/containerd-stargz-grpc"}, "/.local/share/containerd-stargz-grpc", "stargz-snapshotter.service", "/etc/containerd-stargz-grpc/config.toml"},
	{"soci", []string{"/var/lib/soci-snapshotter-grpc"}, "/.local/share/soci-snapshotter-grpc", "soci-snapshotter.service", "/etc/soci-snapshotter-grpc/config.toml"},
	{"nydus", []string{"/var/lib/containerd-nydus", "/var/lib/containerd-nydus-grpc"}, "", "nydus-snapshotter.service", "/etc/nydus/config.toml"},
	{"overlaybd", []string{"/var/lib/overlaybd"}, "", "overlaybd-snapshotter.service", "/etc/overlaybd-snapshotter/config.json"},
	{fuseOverlayfs, []string{"/var/lib/containerd-fuse-overlayfs-grpc", "/var/lib/containerd-fuse-overlayfs"}, "/.local/share/containerd-fuse-overlayfs", "containerd-fuse-overlayfs.service", ""},
	{"gcfs", nil, "", "", ""},
}

// snapshotterDirs returns the folders of snapshotters by name: those below the
// data root, those that a configuration moves by root_path, and those of
// snapshotters that run beside containerd.
func (s *Store) snapshotterDirs() map[string]string {
	out := make(map[string]string)
	if s.layout.Snapshotter != "" {
		out[s.layout.Snapshotter] = join(s.root, s.layout.Snapshots)
		return out
	}
	home, isUser := strings.CutSuffix(s.root, userRoot)
	for _, o := range outsiders {
		dirs := s.configuredOutsider(o)
		if dirs = append(dirs, o.dirs...); isUser {
			dirs = nil
			if o.user != "" {
				dirs = []string{home + o.user}
			}
		}
		for _, dir := range dirs {
			if dir = s.databaseFolder(dir); dir != "" {
				out[o.name] = dir
				break
			}
		}
	}
	for _, name := range node.Entries(s.fsys, s.node, s.root) {
		if short, ok := strings.CutPrefix(name, snapshotterPrefix); ok {
			out[short] = join(s.root, name)
			if dir := s.databaseFolder(out[short]); dir != "" {
				out[short] = path.Clean(dir)
			}
		}
	}
	docs := s.ownConfigurations()
	for _, doc := range docs {
		for table := range doc {
			short, ok := strings.CutPrefix(table, "plugins."+snapshotterPrefix)
			if !ok {
				short, ok = strings.CutPrefix(table, "plugins.") // version 1 of the configuration
			}
			if dir := doc.Text(table, "root_path"); ok && strings.HasPrefix(dir, "/") {
				out[short] = path.Clean(dir)
			}
		}
	}
	proxies(docs, out)
	return out
}

// ownConfigurations are the documents that configure this data root's daemon.
func (s *Store) ownConfigurations() []node.TOML {
	var out []node.TOML
	for _, file := range configFiles {
		docs, err := configurations(s.fsys, s.node, file)
		if err != nil {
			s.problems = append(s.problems, err)
		}
		if slices.ContainsFunc(docs, func(d node.TOML) bool { return path.Clean(d.Text("", "root")) == s.root }) || file == configFiles[0] && s.root == usualRoots[0] {
			out = append(out, docs...)
		}
	}
	return out
}

// proxies gives a snapshotter that is configured under a name of its own the
// folder of the one that its socket is called by: [proxy_plugins.<name>] address.
func proxies(docs []node.TOML, dirs map[string]string) {
	for _, doc := range docs {
		for table := range doc {
			name, ok := strings.CutPrefix(table, "proxy_plugins.")
			if !ok || dirs[name] != "" {
				continue
			}
			for _, o := range outsiders {
				if dir := dirs[o.name]; dir != "" && strings.Contains(doc.Text(table, "address"), o.name) {
					dirs[name] = dir
				}
			}
		}
	}
}

// configuredOutsider returns the folders that a unit's flags or a configuration give a snapshotter.
func (s *Store) configuredOutsider(o outsider) []string {
	var out []string
	if o.unit != "" {
		flags, err := node.Flags(s.fsys, s.node, o.unit, nil, "--root", "-root")
		if err != nil {
			s.problems = append(s.problems, err)
		}
		out = append(out, flags...)
	}
	if o.file == "" {
		return out
	}
	raw, err := node.Read(s.fsys, s.node, o.file)
	if err != nil {
		s.problems = append(s.problems, err)
	}
	var doc struct {
		Root string `json:"root"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		doc.Root = node.ParseTOML(string(raw)).Text("", "root")
	}
	if strings.HasPrefix(doc.Root, "/") {
		out = append(out, doc.Root)
	}
	return out
}

// databaseFolder returns the folder of a snapshotter's database: dir, or snapshotter below it.
func (s *Store) databaseFolder(dir string) string {
	for _, d := range []string{path.Clean(dir), join(dir, "snapshotter")} {
		if _, err := evidence.Resolve(s.fsys, s.node, join(d, snapshotterDB), true); err == nil {
			return d
		}
	}
	return ""
}
