package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
)

// snapshotter is one snapshotter's folder with its own database.
type snapshotter struct {
	name   string
	dir    string // as the node named it
	byName map[string]*backend
	names  []string // in the order of the database
	pool   *pool    // of devmapper, nil where it has none
	named  sync.Map // *backend to runtimes.Layer: committed ones, which many containers share
}

// backend is a snapshot as its snapshotter knows it, under "<namespace>/<number>/<key>".
type backend struct {
	name             string
	id               uint64
	kind             byte
	parent           string
	created, updated time.Time
	size, inodes     int64 // -1: not recorded
	labels           map[string]string
}

// snapshot is a snapshot as meta.db knows it.
type snapshot struct {
	key, name, parent string
	created, updated  time.Time
	labels            map[string]string
	err               error
}

// openSnapshotters reads the database of every snapshotter. One that was never
// used has none.
func (s *Store) openSnapshotters() map[string]*snapshotter {
	out := make(map[string]*snapshotter)
	dirs := s.snapshotterDirs()
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		sn := &snapshotter{name: name, dir: dirs[name], byName: make(map[string]*backend)}
		err := s.readBackends(sn)
		if sn.name == devmapper && err == nil {
			err = s.readPool(sn)
		}
		if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(sn.dir, s.root) {
			continue
		}
		out[name] = sn
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.problems = append(s.problems, err)
		}
	}
	return out
}

// readBackends reads a snapshotter's metadata.db: core/snapshots/storage/bolt.go.
func (s *Store) readBackends(sn *snapshotter) error {
	path := join(sn.dir, snapshotterDB)
	db, err := s.openDB(path)
	if err != nil {
		return err
	}
	all, err := db.Bucket(bucketVersion, bucketSnapshots)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && db.Damaged() == 0 {
			return nil
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	var failed []error
	for kv, err := range all.All() {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		b, err := kv.Bucket()
		if err != nil {
			failed = append(failed, err)
			continue
		}
		r := readRecord(b)
		be := readBackend(string(kv.Key), r)
		failed = append(failed, r.errs...)
		sn.byName[be.name] = be
		sn.names = append(sn.names, be.name)
	}
	if len(failed) > 0 {
		return fmt.Errorf("%s: %w", path, errors.Join(failed...))
	}
	return nil
}

// readBackend decodes a snapshotter's record of a snapshot.
func readBackend(name string, r *record) *backend {
	be := &backend{
		name:    name,
		id:      decoded(r, keyID, decodeUvarint),
		parent:  r.text(keyParent),
		created: decoded(r, keyCreated, decodeTime),
		updated: decoded(r, keyUpdated, decodeTime),
		labels:  r.texts(bucketLabels),
		size:    -1, inodes: -1,
	}
	if k := r.bytes(keyKind); len(k) == 1 {
		be.kind = k[0]
	}
	if _, ok := r.values[keySize]; ok {
		be.size = decoded(r, keySize, decodeVarint)
	}
	if _, ok := r.values[keyInodes]; ok {
		be.inodes = decoded(r, keyInodes, decodeVarint)
	}
	return be
}

// readSnapshots reads a namespace's snapshots from meta.db: core/metadata/snapshot.go.
func (s *Store) readSnapshots(ns *namespace) map[string]map[string]*snapshot {
	out := make(map[string]map[string]*snapshot)
	for snapshotter, b := range s.children(ns.bucket, bucketSnapshots) {
		keys := make(map[string]*snapshot)
		out[snapshotter] = keys
		for kv, err := range b.All() {
			if err != nil {
				s.problem(s.layout.MetaDB, err)
				continue
			}
			sub, err := kv.Bucket()
			if err != nil {
				s.problem(s.layout.MetaDB, err)
				continue
			}
			r := readRecord(sub)
			sn := &snapshot{
				key: string(kv.Key), name: r.text(keyName), parent: r.text(keyParent),
				created: decoded(r, keyCreated, decodeTime), updated: decoded(r, keyUpdated, decodeTime),
				labels: r.texts(bucketLabels),
			}
			sn.err = r.err("snapshot", ns.name, sn.key)
			keys[sn.key] = sn
		}
	}
	return out
}

// keyOf returns the key within the namespace of a snapshotter's name "<namespace>/<number>/<key>".
func keyOf(name string) (namespace, key string) {
	namespace, rest, _ := strings.Cut(name, "/")
	_, key, _ = strings.Cut(rest, "/")
	return namespace, key
}

// find returns the snapshotter's record of a namespace's key.
func (s *Store) find(ns *namespace, snapshotterName, key string) (*snapshotter, *backend, error) {
	sn := s.snapshotters[snapshotterName]
	if sn == nil {
		return nil, nil, fmt.Errorf("snapshotter %q: nothing of it below %s: %w", snapshotterName, s.root, fs.ErrNotExist)
	}
	meta := ns.snapshots[snapshotterName][key]
	if meta != nil && meta.name != "" {
		if be := sn.byName[meta.name]; be != nil {
			return sn, be, nil
		}
		return nil, nil, fmt.Errorf("snapshot %q: %s has no %q: %w", key, join(sn.dir, snapshotterDB), meta.name, fs.ErrNotExist)
	}
	// meta.db is a transaction ahead or damaged: the snapshotter's own names end in the key.
	for _, name := range sn.names {
		if n, k := keyOf(name); n == ns.name && k == key {
			return sn, sn.byName[name], nil
		}
	}
	return nil, nil, fmt.Errorf("snapshot %q: neither meta.db nor the snapshotter %q has it: %w", key, snapshotterName, fs.ErrNotExist)
}

// chain returns the snapshot called name and its parents, nearest first.
func (sn *snapshotter) chain(be *backend) ([]*backend, error) {
	out := []*backend{be}
	for be.parent != "" {
		next := sn.byName[be.parent]
		if next == nil {
			return out, fmt.Errorf("snapshot %q: its parent %q is not in %s: %w", be.name, be.parent, join(sn.dir, snapshotterDB), fs.ErrNotExist)
		}
		if len(out) > maxChain || slices.Contains(out, next) {
			return out, fmt.Errorf("snapshot %q: chain of parents has no end: %w", be.name, evidence.ErrCorrupt)
		}
		out = append(out, next)
		be = next
	}
	return out, nil
}

// shared is layer for a snapshot that stands below others.
func (sn *snapshotter) shared(ns *namespace, be *backend) runtimes.Layer {
	if l, ok := sn.named.Load(be); ok {
		return l.(runtimes.Layer)
	}
	l := sn.layer(ns, be)
	sn.named.Store(be, l)
	return l
}

// layer names a snapshot's folder.
func (sn *snapshotter) layer(ns *namespace, be *backend) runtimes.Layer {
	_, key := keyOf(be.name)
	l := runtimes.Layer{Key: key, ID: fmt.Sprint(be.id), Dir: sn.layerDir(be), Size: be.size}
	if be.kind == kindCommitted {
		l.Created = be.created // when it was committed: CommitActive, core/snapshots/storage/bolt.go
	}
	if strings.HasPrefix(key, "sha256:") {
		l.ChainID = key
		l.DiffID = ns.diffIDs[key]
		if be.parent == "" {
			l.DiffID = key // the chain id of a single layer is its diff id
		}
	}
	return l
}

// Rootfs names the folders of the snapshot called key in a namespace. Docker
// 29 and later, and 23 and later with the feature containerd-snapshotter, keep a
// container's files so: the key is the container's id, in the namespace moby, and
// its parent, called by the id and "-init", counts as an init layer.
func (s *Store) Rootfs(namespace, snapshotterName, key string) runtimes.Rootfs {
	s.once.Do(s.load)
	for _, ns := range s.namespaces {
		if ns.name != namespace {
			continue
		}
		r := s.rootfs(ns, snapshotterName, key)
		if len(r.Lower) > 0 && r.Lower[0].Key == key+"-init" {
			r.InitLayers = 1
		}
		return r
	}
	return runtimes.Rootfs{Problem: fmt.Errorf("%s has no namespace %q: %w", join(s.root, s.layout.MetaDB), namespace, fs.ErrNotExist)}
}

// rootfs names the folders of a container's root filesystem, as the snapshotter
// would mount them: plugins/snapshots/overlay/overlay.go, mounts.
func (s *Store) rootfs(ns *namespace, snapshotterName, key string) runtimes.Rootfs {
	sn, be, err := s.find(ns, snapshotterName, key)
	if err != nil {
		return runtimes.Rootfs{Problem: err}
	}
	chain, err := sn.chain(be)
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, UserXattr: s.userMark, Problem: err, Lower: make([]runtimes.Layer, 0, len(chain))}
	if be.kind == kindActive {
		r.Upper = sn.layer(ns, be)
		r.UIDs, r.GIDs = idMaps(be.labels[labelUIDs]), idMaps(be.labels[labelGIDs])
		chain = chain[1:]
	} else if len(chain) > 1 && be.kind == kindView {
		chain = chain[1:] // a view's own folder holds nothing
	}
	for _, parent := range chain {
		l := sn.shared(ns, parent)
		if !s.lazyLayer(sn, parent, &l) {
			continue
		}
		r.Lower = append(r.Lower, l)
	}
	switch {
	case sn.full():
		r.Kind = runtimes.RootfsBind
		r.Lower = r.Lower[:min(1, len(r.Lower))] // each is a whole tree: the nearest is the image
	case r.Upper.Dir != "" && len(r.Lower) == 0, r.Upper.Dir == "" && len(r.Lower) == 1 && r.Lower[0].Dir != "":
		r.Kind = runtimes.RootfsBind
	}
	s.finish(sn, be, &r)
	return r
}

// idMaps reads "container:host:size,...": core/snapshots/snapshotter.go.
func idMaps(label string) []runtimes.IDMap {
	var out []runtimes.IDMap
	for _, text := range strings.Split(label, ",") {
		var m runtimes.IDMap
		if n, err := fmt.Sscanf(text, "%d:%d:%d", &m.Container, &m.Host, &m.Size); err == nil && n == 3 {
			out = append(out, m)
		}
	}
	return out
}

// Snapshots yields every snapshot of every snapshotter, first those that a
// snapshotter has itself, then those that only meta.db names.
func (s *Store) Snapshots() iter.Seq2[runtimes.Snapshot, error] {
	return func(yield func(runtimes.Snapshot, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Snapshot{}, err) {
				return
			}
		}
		spaces := make(map[string]*namespace)
		for _, ns := range s.namespaces {
			spaces[ns.name] = ns
		}
		for _, name := range slices.Sorted(maps.Keys(s.snapshotters)) {
			sn := s.snapshotters[name]
			for _, full := range sn.names {
				space, key := keyOf(full)
				var meta *snapshot
				if ns := spaces[space]; ns != nil {
					if m := ns.snapshots[name][key]; m != nil && m.name == full {
						meta = m
					}
				}
				if !yield(s.snapshot(sn, sn.byName[full], meta), nil) {
					return
				}
			}
		}
		s.onlyNamed(yield)
	}
}

func (s *Store) snapshot(sn *snapshotter, be *backend, meta *snapshot) runtimes.Snapshot {
	space, key := keyOf(be.name)
	_, parent := keyOf(be.parent)
	out := runtimes.Snapshot{
		Runtime: s.layout.Runtime, Namespace: space, Snapshotter: sn.name, StorePath: s.root,
		ID: fmt.Sprint(be.id), Key: key, Name: be.name, Parent: parent, Kind: kindName(be.kind),
		Created: be.created, Updated: be.updated, Size: be.size, Inodes: be.inodes,
		Labels: be.labels, Dir: sn.layerDir(be),
	}
	if meta != nil && len(meta.labels) > 0 {
		out.Labels = meta.labels
	}
	return out
}

// onlyNamed yields the snapshots that meta.db names and no snapshotter has, and the damaged ones' errors.
func (s *Store) onlyNamed(yield func(runtimes.Snapshot, error) bool) {
	for _, ns := range s.namespaces {
		for _, snapshotterName := range slices.Sorted(maps.Keys(ns.snapshots)) {
			for _, key := range slices.Sorted(maps.Keys(ns.snapshots[snapshotterName])) {
				m := ns.snapshots[snapshotterName][key]
				if m.err != nil && !yield(runtimes.Snapshot{}, m.err) {
					return
				}
				if _, _, err := s.find(ns, snapshotterName, key); err == nil {
					continue
				}
				if !yield(runtimes.Snapshot{
					Runtime: s.layout.Runtime, Namespace: ns.name, Snapshotter: snapshotterName, StorePath: s.root,
					Key: key, Name: m.name, Parent: m.parent, Kind: kindName(0),
					Created: m.created, Updated: m.updated, Size: -1, Inodes: -1, Labels: m.labels,
				}, nil) {
					return
				}
			}
		}
	}
}
