package containerd

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/traces"
)

// Remnants yields the traces of containers, sandboxes, images, snapshots and
// blobs that the databases no longer list: pages that earlier transactions left
// behind. A record's page does not hold its own name, which is the key in the page
// above; that one, where it is left behind too, is found by the pages that lead
// to it, and a container says its id itself, as its snapshot's key and in the
// CRI plugin's notes. What is still listed is left out.
func (s *Store) Remnants() iter.Seq2[runtimes.Remnant, error] {
	return func(yield func(runtimes.Remnant, error) bool) {
		s.once.Do(s.load)
		m := &remnants{s: s, live: map[string]bool{}, seen: map[string]bool{}, backends: map[string]map[string]*backend{}}
		m.listLive()
		for _, name := range slices.Sorted(maps.Keys(s.snapshotters)) {
			m.snapshotter(s.snapshotters[name])
		}
		m.meta()
		m.orphans()
		for _, r := range m.out {
			if !yield(r, nil) {
				return
			}
		}
		for _, err := range m.failed {
			if !yield(runtimes.Remnant{}, err) {
				return
			}
		}
	}
}

// remnants collects the traces of one store.
type remnants struct {
	s      *Store
	live   map[string]bool // kind and id of what is listed
	seen   map[string]bool
	out    []runtimes.Remnant
	failed []error
	// backends are the removed snapshots, by snapshotter and name.
	backends map[string]map[string]*backend
	shadow   *Store
	active   []string // containers that only a snapshot tells of
}

// The kinds of records that a page may hold, by the keys in it.
const (
	recordContainer = "container"
	recordImage     = "image"
	recordSnapshot  = "snapshot"
	recordBackend   = "backend"
	recordBlob      = "blob"
	recordSandbox   = "sandbox"
)

// shapes are the keys that each record may hold (true: a bucket), and those that it must.
var shapes = []struct {
	kind string
	may  map[string]bool
	must []string
}{
	{recordContainer, map[string]bool{keyCreated: false, keyUpdated: false, keySpec: false, keyImage: false, keySnapshotter: false,
		keySnapshotKey: false, keySandboxID: false, bucketRuntime: true, bucketExtensions: true, bucketLabels: true}, []string{keyCreated, keySnapshotKey}},
	{recordSandbox, map[string]bool{keyCreated: false, keyUpdated: false, keySpec: false, "sandboxer": false,
		bucketRuntime: true, bucketExtensions: true, bucketLabels: true}, []string{keyCreated, "sandboxer"}},
	{recordImage, map[string]bool{keyCreated: false, keyUpdated: false, bucketTarget: true, bucketLabels: true, "annotations": true}, []string{bucketTarget}},
	{recordBackend, map[string]bool{keyCreated: false, keyUpdated: false, keyID: false, keyKind: false, keyParent: false,
		keyInodes: false, keySize: false, bucketLabels: true}, []string{keyID, keyKind}},
	{recordSnapshot, map[string]bool{keyCreated: false, keyUpdated: false, keyName: false, keyParent: false, "children": true, bucketLabels: true}, []string{keyName}},
	{recordBlob, map[string]bool{keyCreated: false, keyUpdated: false, keySize: false, bucketLabels: true}, []string{keyCreated, keySize}},
}

// shapeOf classifies a record by its keys; "" none.
func shapeOf(r *record) string {
	n := len(r.values) + len(r.buckets)
	for _, s := range shapes {
		fits := n > 0
		for k := range r.values {
			bucket, ok := s.may[k]
			fits = fits && ok && !bucket
		}
		for k := range r.buckets {
			fits = fits && s.may[k]
		}
		for _, k := range s.must {
			_, v := r.values[k]
			_, b := r.buckets[k]
			fits = fits && (v || b)
		}
		if fits {
			return s.kind
		}
	}
	return ""
}

func liveKey(kind, namespace, id string) string { return kind + "\x00" + namespace + "\x00" + id }

// listLive notes what the databases list.
func (m *remnants) listLive() {
	for _, ns := range m.s.namespaces {
		for _, bucket := range []string{bucketContainers, bucketSandboxes} {
			for kv, err := range each(ns.bucket, bucket) {
				if err == nil {
					m.live[liveKey(recordContainer, "", string(kv.Key))] = true
					m.live[liveKey(recordContainer, ns.name, string(kv.Key))] = true
				}
			}
		}
		for id := range ns.sandboxes {
			m.live[liveKey(recordContainer, "", id)] = true
		}
		for name := range ns.byName {
			m.live[liveKey(recordImage, ns.name, name)] = true
			m.live[liveKey(recordImage, "", name)] = true
		}
		for snapshotter, keys := range ns.snapshots {
			for key, sn := range keys {
				m.live[liveKey(recordBackend, "", sn.name)] = true
				m.live[liveKey(recordSnapshot, ns.name, snapshotter+"/"+key)] = true
				m.live[liveKey(recordSnapshot, "", key)] = true
			}
		}
		if content, err := ns.bucket.Bucket(bucketContent); err == nil {
			for kv, err := range each(content, bucketBlob) {
				if err == nil {
					m.live[liveKey(recordBlob, "", string(kv.Key))] = true
					m.live[liveKey(recordBlob, ns.name, string(kv.Key))] = true
				}
			}
		}
	}
}

// place is where a trace stands, and what led to it.
type place struct {
	source string
	gone   time.Time
	page   *boltdb.Remnant
	kv     *boltdb.KV // the element that leads to the record, nil where the page is the record
	path   []string
	// namespace is that of the list that leads to the record, by its other names.
	namespace string
	confirmed map[string]bool // what the list is of, for sure
	names     int             // by so many different names old pages lead to the record
}

// distinctNames counts the different names at the ends of paths.
func distinctNames(paths [][]string) int {
	names := map[string]bool{}
	for _, p := range paths {
		if len(p) > 0 {
			names[p[len(p)-1]] = true
		}
	}
	return len(names)
}

func (p place) fill(r *runtimes.Remnant) {
	r.Source, r.Gone, r.Offset = p.source, p.gone, p.page.Offset
	r.Place = fmt.Sprintf("page %d, %s", p.page.Page, p.page.From)
}

// meta goes through what meta.db left behind.
func (m *remnants) meta() {
	if m.s.meta == nil {
		return
	}
	m.shadow = m.shadowStore()
	source := join(m.s.root, m.s.layout.MetaDB)
	gone := traces.Modified(m.s.fsys, m.s.node, source)
	m.rootfs()
	for page, err := range m.s.meta.Remnants() {
		if err != nil {
			m.failed = append(m.failed, fmt.Errorf("%s: %w", source, err))
			continue
		}
		m.page(place{source: source, gone: gone, page: page})
	}
	m.fragments(source, gone)
}

// page takes a page for a record, or for a list of them.
func (m *remnants) page(at place) {
	r := readRecord(at.page.Bucket)
	if kind := shapeOf(r); kind != "" {
		paths := at.page.Paths
		if len(paths) == 0 {
			paths = [][]string{nil}
		}
		at.names = distinctNames(paths)
		for _, path := range paths {
			at.path = path
			m.record(kind, at, r, false)
		}
		return
	}
	if len(r.values) > 0 || len(r.buckets) == 0 || isNamespace(r) {
		return
	}
	at.namespace = m.neighbours(at.page.Paths, slices.Sorted(maps.Keys(r.buckets)))
	at.confirmed = m.confirmed(r)
	for _, key := range slices.Sorted(maps.Keys(r.buckets)) {
		kv := r.buckets[key]
		m.listed(at, key, kv)
	}
}

// space returns the namespace of what stands at a place.
func (p place) space() string {
	if p.kv != nil {
		return p.namespace // a list's: the pages above it say nothing sure
	}
	return namespaceOf(p.path)
}

// record adds the trace of one record. r is nil where only its name is left.
// shared says that the record's page is part of the tree, so that it is another
// one's by now unless it says the same id.
func (m *remnants) record(kind string, at place, r *record, shared bool) {
	if slices.Contains(at.path, bucketLeases) {
		return // names what a lease keeps
	}
	name := ""
	if len(at.path) > 0 {
		name = at.path[len(at.path)-1]
	}
	switch kind {
	case recordContainer, recordSandbox:
		m.container(kind, at, name, r, shared)
	case recordImage:
		m.image(at, name, r, shared)
	case recordSnapshot:
		m.snapshot(at, name, r, shared)
	case recordBlob:
		m.blob(at, name, r, shared)
	}
}

// add keeps a trace, once for each place and object.
func (m *remnants) add(r runtimes.Remnant) {
	key := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%s\x00%v", r.Object, r.Namespace, r.ID, r.Source, r.Place, r.Container != nil || r.Image != nil || r.Snapshot != nil)
	if m.seen[key] {
		return
	}
	m.seen[key] = true
	r.Runtime, r.StorePath = m.s.layout.Runtime, m.s.root
	m.out = append(m.out, r)
}

// space returns the namespace of a removed record, an empty one where it is not known.
func (m *remnants) space(name string) *namespace {
	for _, ns := range m.shadow.namespaces {
		if ns.name == name || name == "" && ns.name == criNamespace {
			return ns
		}
	}
	return &namespace{name: name, bucket: m.s.meta.Root(), snapshots: map[string]map[string]*snapshot{}, byName: map[string]*image{}, diffIDs: map[string]string{}}
}
