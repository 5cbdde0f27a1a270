package analyzer

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
)

// Found is how a data root was found.
type Found string

// The ways to find a data root, in their order.
const (
	FoundNamed      Found = "named"         // by the user
	FoundConfigured Found = "configuration" // a unit's or a configuration file's word
	FoundUsual      Found = "usual place"
	FoundSearch     Found = "search" // of the whole tree, by what it holds
)

// Bounds of the search: a disk of a node has some 100,000 folders.
const (
	maxFolders     = 8 << 20
	maxSearchDepth = 256
	maxHints       = 10_000
)

// searcher goes through the folders of one filesystem, level by level, so that
// a reader which knows where they lie on the disk can read each level in that order.
type searcher struct {
	fsys    evidence.FS
	index   *index // nil: the filesystem itself is read
	folders []searched
	met     map[evidence.Ino]bool
	hints   []hint
	buf     []byte
	err     error
}

// searched is a folder with its way up.
type searched struct {
	ino    evidence.Ino
	parent int32 // index; -1: the top
	name   string
}

// hint is a folder that may be a runtime's data root.
type hint struct {
	kind   runtimes.Name
	folder int32
}

// search finds folders that look like data roots, in an index where there is one.
func search(fsys evidence.FS, x *index) *searcher {
	s := &searcher{fsys: fsys, index: x, met: make(map[evidence.Ino]bool)}
	s.add(fsys.Root(), -1, "")
	for from, depth := 0, 0; from < len(s.folders) && depth < maxSearchDepth; depth++ {
		to := len(s.folders)
		s.level(from, to)
		from = to
	}
	return s
}

func (s *searcher) add(ino evidence.Ino, parent int32, name string) {
	if s.met[ino] {
		return
	}
	if len(s.folders) >= maxFolders {
		s.err = fmt.Errorf("more than %d folders: the rest was not searched for data roots", maxFolders)
		return
	}
	s.met[ino] = true
	s.folders = append(s.folders, searched{ino, parent, name})
}

// level reads the folders from and up to to. What can't be read is a gap of
// whoever needs it.
func (s *searcher) level(from, to int) {
	if s.index != nil {
		for i := from; i < to; i++ {
			s.indexed(int32(i))
		}
		return
	}
	scanner, ok := s.fsys.(evidence.Scanner)
	if !ok {
		for i := from; i < to; i++ {
			for e, err := range s.fsys.ReadDir(s.folders[i].ino) {
				if err == nil {
					s.entry(int32(i), e)
				}
			}
		}
		return
	}
	at := make(map[evidence.Ino]int32, to-from)
	dirs := make([]evidence.Ino, 0, to-from)
	for i := from; i < to; i++ {
		at[s.folders[i].ino] = int32(i)
		dirs = append(dirs, s.folders[i].ino)
	}
	for e, err := range scanner.Entries(dirs) {
		if i, ok := at[e.Dir]; ok && err == nil {
			s.entry(i, e.Entry)
		}
	}
}

// indexed looks at the names of a folder.
func (s *searcher) indexed(folder int32) {
	x := s.index
	dir := x.place(s.folders[folder].ino)
	if dir < 0 {
		return
	}
	entries := x.names.of(dir)
	for {
		child, name, ok := x.names.next(&entries)
		if !ok {
			return
		}
		s.sign(folder, name)
		if x.node(child).typ == evidence.TypeDir && !s.layer(folder, string(name)) {
			s.add(x.inos.at(child), folder, string(name))
		}
	}
}

// entry looks at one name.
func (s *searcher) entry(folder int32, e evidence.Entry) {
	s.buf = append(s.buf[:0], e.Name...)
	s.sign(folder, s.buf)
	typ := e.Type
	if typ == evidence.TypeUnknown {
		info, err := s.fsys.Stat(e.Ino)
		if err != nil {
			return
		}
		typ = info.Type
	}
	if typ == evidence.TypeDir && !s.layer(folder, e.Name) {
		s.add(e.Ino, folder, e.Name)
	}
}

// sign notes what only a data root holds.
func (s *searcher) sign(folder int32, name []byte) {
	switch string(name) {
	case "io.containerd.metadata.v1.bolt":
		s.hint(runtimes.Containerd, folder)
	case "config.v2.json":
		if s.name(folder, 1) == "containers" {
			s.hint(runtimes.Docker, s.up(folder, 2))
		}
	case "layerdb":
		if s.name(folder, 1) == "image" {
			s.hint(runtimes.Docker, s.up(folder, 2))
		}
	case "graph", "repositories-aufs": // Docker before 1.10
		s.hint(runtimes.Docker, folder)
	case "containerdmeta.db": // of a worker; in Docker's own folder it is no root
		if strings.HasPrefix(s.name(folder, 0), "runc-") {
			s.hint(runtimes.BuildKit, s.up(folder, 1))
		}
	case "db.sql":
		s.hint(runtimes.Podman, folder)
	case "bolt_state.db":
		if s.name(folder, 0) == "libpod" {
			s.hint(runtimes.Podman, s.up(folder, 1))
		}
	default:
		if bytes.HasSuffix(name, []byte("-layers")) || bytes.HasSuffix(name, []byte("-containers")) {
			s.hint(runtimes.Podman, folder)
		}
	}
}

func (s *searcher) hint(kind runtimes.Name, folder int32) {
	h := hint{kind, folder}
	if folder < 0 || len(s.hints) > 0 && s.hints[len(s.hints)-1] == h || len(s.hints) >= maxHints {
		return
	}
	if !slices.Contains(s.hints, h) {
		s.hints = append(s.hints, h)
	}
}

// up returns the folder some levels above, -1 above the top.
func (s *searcher) up(folder int32, levels int) int32 {
	for ; levels > 0 && folder >= 0; levels-- {
		folder = s.folders[folder].parent
	}
	return folder
}

func (s *searcher) name(folder int32, levels int) string {
	if folder = s.up(folder, levels); folder < 0 {
		return ""
	}
	return s.folders[folder].name
}

// layer says whether a folder called name in folder is a layer's tree: what is
// in it is an image's or a container's, and no data root of the node.
func (s *searcher) layer(folder int32, name string) bool {
	this, above := s.name(folder, 0), s.name(folder, 1)
	switch name {
	case "fs", "work":
		return above == "snapshots"
	case "diff", "merged", "upper", "root":
		return above == "overlay2" || above == "overlay" || above == "fuse-overlayfs"
	}
	switch this {
	case "dir":
		return above == "vfs"
	case "diff", "mnt":
		return above == "aufs"
	case "subvolumes":
		return above == "btrfs"
	case "snapshots", "active", "view":
		return above == "io.containerd.snapshotter.v1.native" || above == "io.containerd.snapshotter.v1.btrfs"
	}
	return false
}

// sorted returns the hints by what and where they are: in which order the names
// were met depends on how they were read.
func (s *searcher) sorted() []hint {
	none := func(evidence.Ino) (string, bool) { return "", false }
	slices.SortFunc(s.hints, func(a, b hint) int {
		pa, _ := s.path(a.folder, none)
		pb, _ := s.path(b.folder, none)
		return cmp.Or(cmp.Compare(pa, pb), cmp.Compare(a.kind, b.kind))
	})
	return s.hints
}

// path returns a folder's path below the top or, where a folder on the way is
// shown elsewhere, that place and the rest.
func (s *searcher) path(folder int32, shown func(evidence.Ino) (string, bool)) (string, bool) {
	var names []string
	for at := folder; at >= 0; at = s.folders[at].parent {
		if place, ok := shown(s.folders[at].ino); ok {
			slices.Reverse(names)
			return strings.TrimSuffix(place, "/") + "/" + strings.Join(names, "/"), true
		}
		names = append(names, s.folders[at].name)
	}
	slices.Reverse(names)
	return "/" + strings.TrimPrefix(strings.Join(names, "/"), "/"), false
}

// searchStores looks through every filesystem for data roots that neither a
// configuration nor a usual place told.
func (n *Node) searchStores() {
	known := make(map[layerKey]bool)
	note := func(s Store) {
		if ino, err := evidence.Resolve(s.Tree, s.Tree.Root(), s.Path(), true); err == nil {
			known[layerKey{s.Volume, fmt.Sprint(s.Runtime() == runtimes.Docker, s.Runtime() == runtimes.Containerd, ino)}] = true
		}
	}
	for _, s := range n.Stores {
		note(s)
	}
	for _, v := range n.Volumes {
		if v.FS == nil {
			continue
		}
		n.guard(v.Index, "search for data roots", func() error {
			s := search(v.FS, n.indexAhead(v))
			for _, h := range s.sorted() {
				path, shown := s.path(h.folder, func(ino evidence.Ino) (string, bool) { return n.shownAt(v.FS, ino) })
				at := Store{Tree: n.Tree, Found: FoundSearch}
				if !shown {
					at = Store{Tree: v.FS, Volume: v.Index, Found: FoundSearch}
				}
				for _, r := range runtimeReaders {
					if r.name != h.kind || h.kind == runtimes.Podman && !storageSign(at.Tree, path) {
						continue
					}
					ino, err := evidence.Resolve(at.Tree, at.Tree.Root(), path, true)
					key := layerKey{at.Volume, fmt.Sprint(r.name == runtimes.Docker, r.name == runtimes.Containerd, ino)}
					if err != nil || known[key] {
						continue
					}
					known[key] = true
					n.openStore(r, at, path)
				}
			}
			return s.err
		})
	}
}

// shownAt returns where the node's tree shows a folder of a filesystem.
func (n *Node) shownAt(fsys evidence.FS, ino evidence.Ino) (string, bool) {
	for _, m := range n.mounts {
		if m.fsys == fsys && m.ino == ino {
			return m.path, true
		}
	}
	return "", false
}

// storageSign says whether a folder holds more of Podman's than a name that others use too.
func storageSign(fsys evidence.FS, path string) bool {
	ino, err := evidence.Resolve(fsys, fsys.Root(), path, true)
	if err != nil {
		return false
	}
	for e, err := range fsys.ReadDir(ino) {
		if err == nil && (e.Name == "libpod" || e.Name == "storage.lock" || strings.HasSuffix(e.Name, "-images") || strings.HasSuffix(e.Name, "-layers")) {
			return true
		}
	}
	return false
}
