// Package docker reads the state that dockerd keeps below its data root, with a
// storage driver (graphdriver) of its own:
//
//	<root>/
//	  containers/<id>/config.v2.json      the container: state, command, image, network, mounts
//	  containers/<id>/hostconfig.json     what was asked of the host: privileges, log driver, tmpfs
//	  image/<driver>/
//	    repositories.json                 names of images
//	    imagedb/content/sha256/<id>       image configurations
//	    imagedb/metadata/sha256/<id>/     lastUpdated parent
//	    layerdb/sha256/<chain id>/        diff cache-id parent size tar-split.json.gz
//	    layerdb/mounts/<container id>/    mount-id init-id parent
//	  overlay2/<cache-id or mount-id>/    diff link lower
//	  overlay2/l/<short id>               link to ../<cache-id>/diff
//
// It follows daemon/container, daemon/internal/{image,layer,refstore} and
// daemon/graphdriver of moby. A container whose files containerd keeps
// (Docker 29 and later, or with the containerd-snapshotter feature) is
// described as far as Docker's own documents go; its Rootfs.Problem says so, and
// its Snapshotter and Snapshot are containerd's, in the namespace Moby.
//
// Evidence is hostile: ids and short names that lead to folders are checked for
// their shape, documents have size limits, chains a depth limit. One broken
// document is one error; everything else is read.
package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

// Moby is the containerd namespace of Docker's containers and images.
const Moby = "moby"

// Store is one data root of Docker.
type Store struct {
	fsys evidence.FS
	node evidence.Ino
	root string

	once       sync.Once
	drivers    map[string]*driver
	graph      *graph // nil: nothing of Docker before 1.10
	containers []evidence.Entry
	problems   []error
	pool       sync.Once
	poolIs     string // of the driver devicemapper: see poolName
	userMark   bool   // dockerd ran without root: overlays are mounted with userxattr
}

// driver is what one storage driver keeps, in image/<name> and <name>.
type driver struct {
	store  *Store
	name   string
	db     string // path of image/<name>
	dir    string // path of <name>
	graph  bool   // it has images and containers of Docker before 1.10
	layers map[string]*layer
	cached map[string]*layer // by cache-id

	links sync.Map // overlay2: short name to folder, as links in l/ say
	scan  sync.Once
	short map[string]string // overlay2: short name to folder, from the files called link
}

// layer is one layer of the image store.
type layer struct {
	chain  string // "sha256:..."
	diff   string
	cache  string
	parent string
	size   int64          // -1 unknown
	named  runtimes.Layer // how containers and images name it
}

// Open looks at the data root as the node named it ("/var/lib/docker"). It
// fails where nothing of Docker's is there.
func Open(fsys evidence.FS, top evidence.Ino, root string) (*Store, error) {
	if !isRoot(fsys, top, root) {
		return nil, fmt.Errorf("opening Docker's data root %s: neither %s nor %s is there: %w", root, containersDir, imageDir, fs.ErrNotExist)
	}
	return &Store{fsys: node.Cached(fsys), node: top, root: root, userMark: rootless(fsys, top, root)}, nil
}

// isRoot says whether root looks like a data root of Docker.
func isRoot(fsys evidence.FS, node evidence.Ino, root string) bool {
	for _, sign := range []string{imageDir + "/" + driverOverlay2, "engine-id", driverOverlay2 + "/l", "network/files", "containerd/daemon", "buildkit", "volumes/metadata.db"} {
		if exists(fsys, node, join(root, sign)) && exists(fsys, node, join(root, containersDir)) {
			return true
		}
	}
	return hasLayers(fsys, node, root) || hasContainer(fsys, node, root) || hasGraph(fsys, node, root)
}

// hasLayers says whether an image store of any driver is there.
func hasLayers(fsys evidence.FS, node evidence.Ino, root string) bool {
	for _, e := range list(fsys, node, join(root, imageDir)) {
		if exists(fsys, node, join(root, imageDir+"/"+e.Name+"/layerdb")) {
			return true
		}
	}
	return false
}

// hasContainer says whether a container with a configuration is there.
func hasContainer(fsys evidence.FS, node evidence.Ino, root string) bool {
	for _, e := range list(fsys, node, join(root, containersDir)) {
		if oci.IsHex64(e.Name) && (exists(fsys, node, join(root, containersDir+"/"+e.Name+"/"+containerConfig)) ||
			exists(fsys, node, join(root, containersDir+"/"+e.Name+"/"+containerV1))) {
			return true
		}
	}
	return false
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func exists(fsys evidence.FS, node evidence.Ino, path string) bool {
	_, err := evidence.Resolve(fsys, node, path, true)
	return err == nil
}

// list returns what can be read of a folder that may be missing.
func list(fsys evidence.FS, node evidence.Ino, path string) []evidence.Entry {
	ino, err := evidence.Resolve(fsys, node, path, true)
	if err != nil {
		return nil
	}
	entries, _ := evidence.List(fsys, ino)
	return entries
}

// remapped is the name of the subtree that dockerd uses with userns-remap: <uid>.<gid> (daemon/daemon_unix.go).
var remapped = regexp.MustCompile(`^[0-9]{1,10}\.[0-9]{1,10}$`)

// rootless says whether a data root belongs to a user's own dockerd. With
// userns-remap the folder belongs to another user too, but root mounts.
func rootless(fsys evidence.FS, node evidence.Ino, root string) bool {
	if strings.Contains(root, "/.local/share/") {
		return true
	}
	if remapped.MatchString(root[strings.LastIndex(root, "/")+1:]) {
		return false
	}
	ino, err := evidence.Resolve(fsys, node, root, true)
	if err != nil {
		return false
	}
	info, err := fsys.Stat(ino)
	return err == nil && info.UID != 0
}

// Runtime returns runtimes.Docker.
func (s *Store) Runtime() runtimes.Name { return runtimes.Docker }

// Path returns the data root as the node named it.
func (s *Store) Path() string { return s.root }

// problem notes what is wrong with the store as a whole; a missing thing is not.
func (s *Store) problem(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.problems = append(s.problems, err)
	}
}

// folder lists a folder of the store, which may be missing.
func (s *Store) folder(path string) []evidence.Entry {
	ino, err := evidence.Resolve(s.fsys, s.node, path, true)
	if err != nil {
		s.problem(err)
		return nil
	}
	entries, err := evidence.List(s.fsys, ino)
	if err != nil {
		s.problem(fmt.Errorf("listing %s: %w", path, err))
	}
	return entries
}

// short returns the text of a file that holds one id, digest or number; "" where there is none.
func (s *Store) short(path string) (string, error) {
	return text(evidence.ReadFile(s.fsys, s.node, path, maxShort))
}

// load reads the image stores of all drivers.
func (s *Store) load() {
	s.containers = s.folder(join(s.root, containersDir))
	s.drivers = make(map[string]*driver)
	if hasGraph(s.fsys, s.node, s.root) {
		s.readGraph()
	}
	for _, e := range s.folder(join(s.root, imageDir)) {
		if e.Type != evidence.TypeDir && e.Type != evidence.TypeUnknown {
			continue // identity-cache.db
		}
		d := s.driver(e.Name)
		s.readLayers(d)
	}
}

func (s *Store) driver(name string) *driver {
	d := s.drivers[name]
	if d == nil {
		d = &driver{store: s, name: name, db: join(s.root, imageDir+"/"+name), dir: join(s.root, name),
			layers: make(map[string]*layer), cached: make(map[string]*layer)}
		s.drivers[name] = d
	}
	return d
}

// readLayers reads layerdb: daemon/internal/layer/filestore.go.
func (s *Store) readLayers(d *driver) {
	dir := join(d.db, layerDir)
	folders := func(yield func(string) bool) {
		for _, e := range s.folder(dir) {
			if !oci.IsHex64(e.Name) {
				continue // "-removing": a deletion that was not finished
			}
			if !yield(e.Name) {
				return
			}
		}
	}
	read := func(name string) layerRead { return s.readLayer(d, name, join(dir, name)) }
	for _, got := range node.Ordered(folders, read) {
		for _, err := range got.problems {
			s.problem(err)
		}
		d.layers[got.layer.chain] = got.layer
		if got.layer.cache != "" {
			d.cached[got.layer.cache] = got.layer
		}
	}
}

// layerRead is what was read of one layer's folder.
type layerRead struct {
	layer    *layer
	problems []error
}

func (s *Store) readLayer(d *driver, name, at string) layerRead {
	l := &layer{chain: "sha256:" + name, size: -1}
	files := s.files(at)
	var problems []error
	for _, f := range []struct {
		name string
		to   *string
	}{{"diff", &l.diff}, {"cache-id", &l.cache}, {"parent", &l.parent}} {
		text, err := files.short(f.name)
		if err != nil {
			problems = append(problems, err)
		}
		*f.to = text
	}
	if text, err := files.short("size"); err == nil {
		l.size = count(text)
	}
	if !folderName(l.cache) {
		problems = append(problems, fmt.Errorf("%s/cache-id %q names no folder: %w", at, l.cache, evidence.ErrCorrupt))
		l.cache = ""
	}
	if l.cache != "" {
		l.named = d.nameLayer(l.cache)
		l.named.DiffID, l.named.ChainID, l.named.Size = l.diff, l.chain, l.size
		l.named.TarSplit = join(at, tarSplit)
	}
	return layerRead{l, problems}
}

// count reads a number of bytes; -1 for what is none.
func count(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// folderName says whether an id that was read may name a folder of a storage
// driver: 64 hexadecimal digits, or of old versions and other drivers letters
// and digits, with "-init" behind.
func folderName(id string) bool {
	id = strings.TrimSuffix(id, "-init")
	if id == "" || len(id) > 128 {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// chain returns the layers of a chain id, uppermost first.
func (d *driver) chain(top string) ([]*layer, error) {
	var out []*layer
	for id := top; id != ""; {
		l := d.layers[id]
		if l == nil {
			return out, fmt.Errorf("layer %q is not in %s: %w", id, join(d.db, layerDir), fs.ErrNotExist)
		}
		if len(out) >= maxDepth || slices.Contains(out, l) {
			return out, fmt.Errorf("layer %q: chain of parents has no end: %w", top, evidence.ErrCorrupt)
		}
		out = append(out, l)
		id = l.parent
	}
	return out, nil
}
