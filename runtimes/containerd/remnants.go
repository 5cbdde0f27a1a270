package containerd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/oci"
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
			for key := range keys {
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

// modified is when a file of the node was written last: what it lacks was gone by then.
func (s *Store) modified(path string) time.Time {
	ino, err := evidence.Resolve(s.fsys, s.node, path, true)
	if err != nil {
		return time.Time{}
	}
	info, err := s.fsys.Stat(ino)
	if err != nil {
		return time.Time{}
	}
	return info.Mtime
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
	source := join(m.s.root, metaDB)
	gone := m.s.modified(source)
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

// neighbours says which namespace a list is of, by those of its names that are
// still listed; "" where none is. The pages above an old page may be of a later
// time, when its number was another one's.
func (m *remnants) neighbours(paths [][]string, keys []string) string {
	best, most := "", 0
	for _, ns := range m.s.namespaces {
		n := 0
		for _, path := range paths {
			kind := kindOfList(path)
			for _, key := range keys {
				id := key
				if kind == recordSnapshot {
					id = path[len(path)-1] + "/" + key
				}
				if m.live[liveKey(kind, ns.name, id)] {
					n++
				}
			}
		}
		if n > most {
			best, most = ns.name, n
		}
	}
	return best
}

// confirmed says which kinds of records a list holds for sure: one of its names
// is still listed as such, or leads to such a record.
func (m *remnants) confirmed(r *record) map[string]bool {
	out := map[string]bool{}
	for key, kv := range r.buckets {
		for _, kind := range []string{recordContainer, recordImage, recordBlob} {
			out[kind] = out[kind] || m.live[liveKey(kind, "", key)]
		}
		out[recordSnapshot] = out[recordSnapshot] || m.live[liveKey(recordSnapshot, "", key)]
		if b, err := kv.Bucket(); err == nil {
			if kind := shapeOf(readRecord(b)); kind != "" && (kind != recordContainer && kind != recordSandbox || oci.IsHex64(key) || containerID(readRecord(b)) == key) {
				out[kind] = true
			}
		}
	}
	return out
}

// space returns the namespace of what stands at a place.
func (p place) space() string {
	if p.kv != nil {
		return p.namespace // a list's: the pages above it say nothing sure
	}
	return namespaceOf(p.path)
}

// isNamespace says whether a page is that of a namespace: its keys are the kinds
// of objects. It is no list of them, whatever an old page above it says.
func isNamespace(r *record) bool {
	for key := range r.buckets {
		switch key {
		case bucketContainers, bucketImages, bucketSnapshots, bucketContent, bucketSandboxes, bucketLeases, bucketLabels:
		default:
			return false
		}
	}
	return true
}

// listed takes one element of a list: its name, and what it leads to if that is still a record.
func (m *remnants) listed(at place, key string, kv boltdb.KV) {
	if len(at.page.Paths) == 0 {
		at.page.Paths = [][]string{nil}
	}
	var child *record
	kind, shared := "", false
	if b, err := kv.Bucket(); err == nil {
		child = readRecord(b)
		kind, shared = shapeOf(child), b.InTree()
	}
	at.kv = &kv
	for _, path := range at.page.Paths {
		at.path = append(path[:len(path):len(path)], key)
		told := kindOfList(path)
		switch {
		case told != "" && told == kind:
			m.record(kind, at, child, shared)
		case told != "" && at.confirmed[told]: // the record's page holds something else by now
			m.record(told, at, nil, false)
		case kind != "" && kind != recordBackend:
			m.record(kind, at, child, shared)
		case told == "" && at.confirmed[recordContainer] && oci.IsHex64(key):
			// A list of containers, or of snapshots, which are called as their containers are.
			m.record(recordContainer, at, nil, false)
		}
	}
}

// kindOfList says what a bucket with the given path lists: core/metadata/buckets.go.
func kindOfList(path []string) string {
	n := len(path)
	switch {
	case n >= 1 && path[n-1] == bucketContainers:
		return recordContainer
	case n >= 1 && path[n-1] == bucketImages:
		return recordImage
	case n >= 1 && path[n-1] == bucketSandboxes:
		return recordSandbox
	case n >= 2 && path[n-2] == bucketSnapshots:
		return recordSnapshot
	case n >= 2 && path[n-1] == bucketBlob && path[n-2] == bucketContent:
		return recordBlob
	}
	return ""
}

// namespaceOf returns the namespace in a path, "" where it doesn't say. Lists of
// leases hold names of snapshots and content too, and are told apart by it.
func namespaceOf(path []string) string {
	if i := slices.Index(path, bucketVersion); i >= 0 && i+1 < len(path) {
		return path[i+1]
	}
	for i, name := range path {
		if i > 0 && (name == bucketContainers || name == bucketImages || name == bucketSnapshots || name == bucketContent || name == bucketSandboxes) {
			return path[i-1]
		}
	}
	return ""
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
	r.Runtime, r.StorePath = runtimes.Containerd, m.s.root
	m.out = append(m.out, r)
}

// containerID finds a container's id in its own record; "" where it doesn't say.
func containerID(r *record) string {
	ext := r.sub(bucketExtensions)
	for _, name := range []string{extensionContainer, extensionSandbox, extensionMetadata} {
		if _, ok := ext.values[name]; !ok {
			continue
		}
		any, err := decodeAny(ext.bytes(name))
		if err != nil {
			continue
		}
		if m := criID.FindSubmatch(any.value); m != nil {
			return string(m[1])
		}
	}
	return r.text(keySnapshotKey) // the CRI plugin, nerdctl and ctr call it by the container's id
}

var criID = regexp.MustCompile(`^\{"Version":"[^"]*","Metadata":\{"ID":"([^"]{1,128})"`)

func (m *remnants) container(kind string, at place, name string, r *record, shared bool) {
	out := runtimes.Remnant{Object: runtimes.ObjectContainer, Namespace: at.space(), ID: name, Sure: runtimes.Likely, Note: "only its name is left"}
	at.fill(&out)
	if r != nil {
		own := containerID(r)
		switch {
		case shared && own != name:
			r = nil // the page is another container's by now
		case own == "" || own == name:
			out.Sure = runtimes.Sure
			if name == "" || own == "" && kind == recordContainer {
				out.Sure = runtimes.Likely
			}
		case name == "":
			out.ID = own
		default:
			// Either the page was used again, or the snapshot has a name of its own. Both are told apart by the keys.
			if len(own) == 64 {
				m.container(kind, place{source: at.source, gone: at.gone, page: at.page}, "", r, shared)
				r = nil
			}
			if !at.confirmed[recordContainer] {
				return // the page that leads here is no list of containers
			}
		}
	}
	// A name alone is believed where it is an id as the CRI plugin makes them: what
	// leads to an old page may be of a time when its number was another page's.
	if m.live[liveKey(recordContainer, "", out.ID)] || r == nil && !oci.IsHex64(out.ID) {
		return
	}
	if r != nil {
		m.fillContainer(&out, kind, r, at)
	}
	m.add(out)
}

// fillContainer reads what is left of a container's record.
func (m *remnants) fillContainer(out *runtimes.Remnant, kind string, r *record, at place) {
	r.errs = nil
	ns := m.space(out.Namespace)
	c, err := m.shadow.container(ns, out.ID, r)
	if kind == recordSandbox {
		c.Kind = runtimes.KindSandbox
	}
	if c.Started.IsZero() && c.Finished.IsZero() {
		c.State, c.Reason = runtimes.StateUnknown, "" // the absence of its task says nothing any more
	}
	out.Note, out.Complete = "", err == nil && (at.page.Whole || at.kv != nil)
	if err != nil {
		out.Sure, out.Note = runtimes.Doubtful, "part of the record is gone"
		if c.Created.IsZero() && len(r.values) < 3 {
			return
		}
	}
	if out.Namespace == "" {
		c.Namespace = ""
		if c.Pod.Name != "" {
			c.Namespace = "k8s.io" // the CRI plugin's: pkg/constants of containerd
		}
		out.Namespace = c.Namespace
	}
	out.Container, out.Name, out.Pod, out.Existed = &c, c.Name, c.Pod, c.Created
}

// space returns the namespace of a removed record, an empty one where it is not known.
func (m *remnants) space(name string) *namespace {
	for _, ns := range m.shadow.namespaces {
		if ns.name == name || name == "" && ns.name == "k8s.io" {
			return ns
		}
	}
	return &namespace{name: name, bucket: m.s.meta.Root(), snapshots: map[string]map[string]*snapshot{}, byName: map[string]*image{}, diffIDs: map[string]string{}}
}

func (m *remnants) image(at place, name string, r *record, shared bool) {
	ns := at.space()
	// Which namespace an old page belongs to is as old as the pages above it: a
	// name that any namespace lists is not told as removed.
	if m.live[liveKey(recordImage, "", name)] || name != "" && !strings.ContainsAny(name, "/:@.") {
		return
	}
	out := runtimes.Remnant{Object: runtimes.ObjectImage, Namespace: ns, ID: name, Name: name, Sure: runtimes.Likely, Note: "only its name is left"}
	at.fill(&out)
	if shared && at.kv != nil {
		r = nil // its page is another image's by now
	}
	if r != nil {
		target := r.sub(bucketTarget)
		img := &runtimes.Image{Runtime: runtimes.Containerd, Namespace: ns, StorePath: m.s.root, Digest: target.text(keyDigest), Size: -1,
			Pulled: decoded(r, keyCreated, decodeTime), Updated: decoded(r, keyUpdated, decodeTime), Labels: r.texts(bucketLabels)}
		if name != "" {
			img.Names = []string{name}
		}
		if c := m.s.readContent(m.space(ns), img.Digest); c.config != "" {
			names, labels := img.Names, img.Labels
			pulled, updated, digest := img.Pulled, img.Updated, img.Digest
			*img = c.image
			img.ID, img.Names, img.Labels, img.Pulled, img.Updated, img.Digest = c.config, names, labels, pulled, updated, digest
			img.Runtime, img.Namespace, img.StorePath = runtimes.Containerd, ns, m.s.root
		}
		out.Image, out.Existed, out.Note = img, img.Pulled, ""
		out.Complete = len(r.errs) == 0 && len(target.errs) == 0
		if name != "" {
			out.Sure = runtimes.Sure
		} else {
			out.ID = img.Digest
			if out.ID == "" || m.targeted(img.Digest) {
				return // an older state of an image that is listed
			}
		}
	}
	if out.ID != "" {
		m.add(out)
	}
}

// targeted says whether an image that is listed leads to the digest.
func (m *remnants) targeted(digest string) bool {
	for _, ns := range m.s.namespaces {
		for _, i := range ns.images {
			if i.digest == digest {
				return true
			}
		}
	}
	return false
}

func (m *remnants) snapshot(at place, key string, r *record, shared bool) {
	ns, snapshotter := at.space(), ""
	if n := len(at.path); n >= 2 {
		snapshotter = at.path[n-2]
	}
	out := runtimes.Remnant{Object: runtimes.ObjectSnapshot, Namespace: ns, ID: key, Name: key, Sure: runtimes.Likely, Note: "only its key is left"}
	at.fill(&out)
	if r != nil {
		name := r.text(keyName)
		space, own := keyOf(name)
		switch {
		case key == "":
			out.ID, out.Name, ns = own, own, space
		case own == key:
			out.Sure, ns = runtimes.Sure, space
		case shared:
			r = nil
		default: // the page is another snapshot's
			m.snapshot(place{source: at.source, gone: at.gone, page: at.page}, "", r, false)
			if r = nil; !at.confirmed[recordSnapshot] {
				return
			}
		}
		if r != nil {
			out.Snapshot = &runtimes.Snapshot{Runtime: runtimes.Containerd, Namespace: ns, Snapshotter: snapshotter, StorePath: m.s.root,
				Key: out.ID, Name: name, Parent: r.text(keyParent), Kind: kindName(0), Size: -1, Inodes: -1, Labels: r.texts(bucketLabels),
				Created: decoded(r, keyCreated, decodeTime), Updated: decoded(r, keyUpdated, decodeTime)}
			out.Existed, out.Note, out.Complete, out.Namespace = out.Snapshot.Created, "", len(r.errs) == 0, ns
		}
	}
	named := out.Sure == runtimes.Sure && snapshotter != "" && !m.live[liveKey(recordSnapshot, ns, snapshotter+"/"+out.ID)]
	if out.ID == "" || !named && m.live[liveKey(recordSnapshot, "", out.ID)] {
		return
	}
	m.add(out)
}

func (m *remnants) blob(at place, digest string, r *record, shared bool) {
	if !strings.Contains(digest, ":") || m.live[liveKey(recordBlob, "", digest)] {
		return
	}
	out := runtimes.Remnant{Object: runtimes.ObjectContent, Namespace: at.space(), ID: digest, Sure: runtimes.Likely, Note: "only its digest is left"}
	at.fill(&out)
	if r != nil && !shared {
		out.Existed, out.Complete = decoded(r, keyCreated, decodeTime), len(r.errs) == 0
		labels := r.texts(bucketLabels)
		out.Note = ""
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			if repo, ok := strings.CutPrefix(k, "containerd.io/distribution.source."); ok {
				out.Name = repo + "/" + labels[k]
			}
		}
	}
	m.add(out)
}

// fragments looks for the CRI plugin's notes in what is left of large values.
func (m *remnants) fragments(source string, gone time.Time) {
	for f, err := range m.s.meta.Fragments() {
		if err != nil {
			m.failed = append(m.failed, fmt.Errorf("%s: %w", source, err))
			continue
		}
		for _, g := range criFragment.FindAllSubmatchIndex(f.Data, maxInFragment) {
			id := string(f.Data[g[2]:g[3]])
			if m.live[liveKey(recordContainer, "", id)] {
				continue
			}
			out := runtimes.Remnant{Object: runtimes.ObjectContainer, Namespace: "k8s.io", ID: id, Source: source, Gone: gone,
				Place: fmt.Sprintf("page %d, part of a value", f.Page), Offset: f.Offset + int64(g[0]), Sure: runtimes.Doubtful, Note: "only part of the CRI plugin's note is left"}
			var note containerMetadata
			if json.NewDecoder(bytes.NewReader(f.Data[g[0]:])).Decode(&note) == nil {
				c := m.noted(id, &note)
				out.Container, out.Name, out.Pod, out.Sure, out.Note = c, c.Name, c.Pod, runtimes.Likely, "only the CRI plugin's note is left"
			}
			m.add(out)
		}
	}
}

const maxInFragment = 64

var criFragment = regexp.MustCompile(`\{"Version":"[^"]{0,16}","Metadata":\{"ID":"([0-9a-f]{64})","Name":"`)

// noted describes a container by the CRI plugin's note alone.
func (m *remnants) noted(id string, note *containerMetadata) *runtimes.Container {
	c := &runtimes.Container{ID: id, Name: id, Kind: runtimes.KindContainer, Runtime: runtimes.Containerd, Namespace: "k8s.io", State: runtimes.StateUnknown, StorePath: m.s.root,
		Image: note.Metadata.Config.Image.Image}
	m.shadow.applyContainer(c, m.space("k8s.io"), note)
	c.Rootfs.Problem = fmt.Errorf("only the CRI plugin's note is left: %w", fs.ErrNotExist)
	return c
}

// snapshotter goes through what a snapshotter's database left behind, and
// compares the numbers that it gave out with those that it lists.
func (m *remnants) snapshotter(sn *snapshotter) {
	path := join(sn.dir, snapshotterDB)
	db, err := m.s.openQuiet(path)
	if err != nil {
		return // told when the store was opened
	}
	gone := m.s.modified(path)
	found := map[string]*backend{}
	m.backends[sn.name] = found
	names := m.childNames(db)
	for page, err := range db.Remnants() {
		if err != nil {
			m.failed = append(m.failed, fmt.Errorf("%s: %w", path, err))
			continue
		}
		at := place{source: path, gone: gone, page: page}
		r := readRecord(page.Bucket)
		if shapeOf(r) == recordBackend {
			for _, p := range append(page.Paths, nil) {
				name := ""
				if len(p) > 0 {
					name = p[len(p)-1]
				}
				m.backend(sn, at, name, r, names, found)
			}
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(r.buckets)) {
			kv := r.buckets[key]
			if ns, k := keyOf(key); ns == "" || k == "" {
				continue
			}
			b, err := kv.Bucket()
			if err != nil || b.InTree() {
				m.backend(sn, at, key, nil, names, found)
				continue
			}
			child := readRecord(b)
			if shapeOf(child) != recordBackend {
				child = nil
			}
			m.backend(sn, at, key, child, names, found)
		}
	}
	m.gaps(sn, db, path, gone, found)
}

// openQuiet opens a database again whose problems were told.
func (s *Store) openQuiet(path string) (*boltdb.DB, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, path, true)
	if err != nil {
		return nil, err
	}
	r, err := s.fsys.Open(ino)
	if err != nil {
		return nil, err
	}
	return boltdb.Open(r, r.Size(), nil)
}

// childNames reads the lists of children, of the tree and left behind: the
// numbers of parent and child lead to the child's name.
func (m *remnants) childNames(db *boltdb.DB) map[uint64]string {
	out := map[uint64]string{}
	take := func(b *boltdb.Bucket) {
		for kv, err := range b.All() {
			if err != nil || kv.IsBucket() {
				continue
			}
			parent, rest, ok := strings.Cut(string(kv.Key), "\x00")
			if _, err := decodeUvarint([]byte(parent)); err != nil && parent != "" || !ok {
				continue
			}
			id, err := decodeUvarint([]byte(rest))
			if err != nil {
				continue
			}
			if v, err := kv.Value(); err == nil && strings.Count(string(v), "/") >= 2 {
				out[id] = string(v)
			}
		}
	}
	if b, err := db.Bucket(bucketVersion, "parents"); err == nil {
		take(b)
	}
	for page, err := range db.Remnants() {
		if err == nil {
			take(page.Bucket)
		}
	}
	return out
}

// backend adds the trace of a snapshot in its snapshotter's database.
func (m *remnants) backend(sn *snapshotter, at place, name string, r *record, names map[uint64]string, found map[string]*backend) {
	out := runtimes.Remnant{Object: runtimes.ObjectSnapshot, Sure: runtimes.Likely, Note: "only its name is left"}
	at.fill(&out)
	var be *backend
	if r != nil {
		be = readBackend(name, r)
		if listed := names[be.id]; listed != "" && (name == "" || name != listed && sn.byName[name] != nil) {
			be.name = listed
		}
		name = be.name
	}
	if sn.byName[name] != nil || be != nil && slices.ContainsFunc(sn.names, func(n string) bool { return sn.byName[n].id == be.id }) {
		return
	}
	out.Namespace, out.ID = keyOf(name)
	out.Name = name
	if be != nil {
		out.Note, out.Existed, out.Complete = "", be.created, len(r.errs) == 0
		snap := m.s.snapshot(sn, be, nil)
		out.Snapshot = &snap
		if out.ID == "" {
			out.ID = strconv.FormatUint(be.id, 10)
		} else {
			out.Sure = runtimes.Sure
			if old := found[name]; old == nil || old.updated.Before(be.updated) {
				found[name] = be
			}
			m.owner(out, be)
		}
	}
	if out.ID != "" {
		m.add(out)
	}
}

// owner tells of the container that a writable snapshot was of: the CRI plugin and
// nerdctl call it by the container's id. Its image is the one whose layers it stood on.
func (m *remnants) owner(at runtimes.Remnant, be *backend) {
	if be.kind != kindActive || !oci.IsHex64(at.ID) || m.live[liveKey(recordContainer, "", at.ID)] {
		return
	}
	c := runtimes.Container{ID: at.ID, Name: at.ID, Kind: runtimes.KindContainer, Runtime: runtimes.Containerd, Namespace: at.Namespace, State: runtimes.StateUnknown,
		StorePath: m.s.root, Created: be.created, Snapshotter: at.Snapshot.Snapshotter, Snapshot: at.ID}
	c.Rootfs.Problem = fmt.Errorf("only its writable snapshot is known: %w", fs.ErrNotExist)
	for _, ns := range m.s.namespaces {
		if ns.name == at.Namespace {
			c.Image, c.ImageID = ns.imageOf(be.parent)
		}
	}
	m.active = append(m.active, c.ID)
	at.Object, at.Snapshot, at.Container, at.Name, at.Existed = runtimes.ObjectContainer, nil, &c, "", be.created
	at.Note = "its writable snapshot"
	if at.Sure == runtimes.Sure {
		at.Sure = runtimes.Likely
	}
	m.add(at)
}

// rootfs names the folders of containers that only a snapshot tells of.
func (m *remnants) rootfs() {
	for i := range m.out {
		if c := m.out[i].Container; c != nil && slices.Contains(m.active, c.ID) {
			c.Rootfs = m.shadow.rootfs(m.space(c.Namespace), c.Snapshotter, c.Snapshot)
		}
	}
}

// imageOf returns the one image whose topmost layer a snapshot is, "" where none or several have it.
func (ns *namespace) imageOf(parent string) (name, id string) {
	_, key := keyOf(parent)
	for _, i := range ns.images {
		chain := oci.ChainIDs(i.content.image.Layers)
		if key == "" || len(chain) == 0 || chain[len(chain)-1] != key || strings.HasPrefix(i.name, "sha256:") || strings.Contains(i.name, "@sha256:") {
			continue
		}
		if name != "" {
			return "", ""
		}
		name, id = i.name, i.content.config
	}
	return name, id
}

// gaps tells of the numbers that the snapshotter gave out and that no snapshot has.
func (m *remnants) gaps(sn *snapshotter, db *boltdb.DB, path string, gone time.Time, found map[string]*backend) {
	all, err := db.Bucket(bucketVersion, bucketSnapshots)
	if err != nil || all.Sequence() > maxSequence {
		return
	}
	have := map[uint64]bool{}
	for _, be := range sn.byName {
		have[be.id] = true
	}
	for _, be := range found {
		have[be.id] = true
	}
	for id := uint64(1); id <= all.Sequence(); id++ {
		if have[id] {
			continue
		}
		first := id
		for id < all.Sequence() && !have[id+1] {
			id++
		}
		name := strconv.FormatUint(first, 10)
		if id > first {
			name += "-" + strconv.FormatUint(id, 10)
		}
		m.add(runtimes.Remnant{Object: runtimes.ObjectSnapshot, ID: sn.name + "/" + name, Source: path, Gone: gone, Place: "sequence of v1/snapshots", Offset: -1, Sure: runtimes.Sure,
			Note: fmt.Sprintf("%d numbers were given out that no snapshot has", id-first+1)})
	}
}

// maxSequence bounds the numbers that are looked at one by one.
const maxSequence = 1 << 24

// shadowStore is the store as it was with the snapshots that were removed, so
// that the folders of removed containers can be named.
func (m *remnants) shadowStore() *Store {
	s := m.s
	out := &Store{fsys: s.fsys, node: s.node, root: s.root, meta: s.meta, userMark: s.userMark, mediaTypes: s.mediaTypes, namespaces: s.namespaces}
	out.once.Do(func() {})
	out.snapshotters = map[string]*snapshotter{}
	for name, sn := range s.snapshotters {
		c := &snapshotter{name: sn.name, dir: sn.dir, byName: maps.Clone(sn.byName), names: slices.Clone(sn.names)}
		for _, removed := range slices.Sorted(maps.Keys(m.backends[name])) {
			if c.byName[removed] == nil {
				c.byName[removed] = m.backends[name][removed]
				c.names = append(c.names, removed)
			}
		}
		out.snapshotters[name] = c
	}
	return out
}

// orphans finds what lies in the store and no database lists: folders of
// snapshots, of which the daemon takes away the record first; blobs and downloads.
func (m *remnants) orphans() {
	s := m.s
	add := func(object runtimes.Object, id, at, note string) {
		r := runtimes.Remnant{Object: object, ID: id, Source: at, Place: "folder", Offset: -1, Sure: runtimes.Sure, Note: note}
		if ino, err := evidence.Resolve(s.fsys, s.node, at, false); err == nil {
			if info, err := s.fsys.Stat(ino); err == nil {
				if r.Existed = info.Btime; r.Existed.IsZero() {
					r.Existed = info.Mtime
				}
			}
		}
		m.add(r)
	}
	for _, name := range slices.Sorted(maps.Keys(s.snapshotters)) {
		sn := s.snapshotters[name]
		have := map[string]bool{}
		for _, be := range sn.byName {
			have[strconv.FormatUint(be.id, 10)] = true
		}
		entries, _ := s.below(join(sn.dir, "snapshots"))
		for _, e := range slices.Sorted(maps.Keys(entries)) {
			at := join(sn.dir, "snapshots/"+e)
			switch _, err := strconv.ParseUint(e, 10, 64); {
			case have[e]:
			case strings.HasPrefix(e, "new-"):
				add(runtimes.ObjectSnapshot, name+"/"+e, at, "a snapshot whose making was not finished")
			case strings.HasPrefix(e, "rm-"):
				add(runtimes.ObjectSnapshot, name+"/"+e, at, "a removal that was not finished")
			case err == nil && len(sn.names) > 0:
				add(runtimes.ObjectSnapshot, name+"/"+e, at, "folder of a snapshot without a record")
			}
		}
	}
	if s.meta == nil {
		return
	}
	for c, err := range s.Contents() {
		switch {
		case err != nil || c.Namespace != "":
		case c.Kind == runtimes.ContentIngest:
			m.add(runtimes.Remnant{Object: runtimes.ObjectContent, ID: c.Path, Name: c.Ref, Existed: c.Created, Source: c.Path, Place: "folder", Offset: -1, Sure: runtimes.Sure, Note: "a download that was not finished"})
		case c.Path != "":
			add(runtimes.ObjectContent, c.Digest, c.Path, "a blob without a record")
		}
	}
}

// below lists a folder of the node.
func (s *Store) below(at string) (map[string]evidence.Ino, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, at, true)
	if err != nil {
		return nil, err
	}
	entries, err := evidence.List(s.fsys, ino)
	out := make(map[string]evidence.Ino, len(entries))
	for _, e := range entries {
		out[e.Name] = e.Ino
	}
	return out, err
}
