package containerd

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// snapshotter goes through what a snapshotter's database left behind, and
// compares the numbers that it gave out with those that it lists.
func (m *remnants) snapshotter(sn *snapshotter) {
	path := join(sn.dir, snapshotterDB)
	db, err := m.s.openQuiet(path)
	if err != nil {
		return // told when the store was opened
	}
	gone := traces.Modified(m.s.fsys, m.s.node, path)
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
	m.pending(sn, path)
}

// pending tells of the snapshots that only the snapshotter lists: their records in
// meta.db are gone, and the collection of garbage, which comes later, had not taken
// their folders when the disk was copied. What a container wrote is there whole.
func (m *remnants) pending(sn *snapshotter, path string) {
	if m.s.meta == nil || m.s.meta.Damaged() > 0 {
		return // what it lacks may be on a page that can't be read
	}
	gone := traces.Modified(m.s.fsys, m.s.node, join(m.s.root, metaDB))
	for _, name := range sn.names {
		be := sn.byName[name]
		if m.live[liveKey(recordBackend, "", name)] {
			continue
		}
		ns, key := keyOf(name)
		if key == "" {
			continue
		}
		snap := m.s.snapshot(sn, be, nil)
		out := runtimes.Remnant{Object: runtimes.ObjectSnapshot, Namespace: ns, ID: key, Name: name, Snapshot: &snap, Existed: be.created, Gone: gone, Source: path,
			Place: "bucket v1/snapshots", Offset: -1, Sure: runtimes.Sure, Complete: true, Note: "its record in meta.db is gone, the snapshotter still has it"}
		m.owner(out, be, "its writable snapshot is there: only its snapshotter lists it")
		m.add(out)
	}
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
	take := func(kv boltdb.KV) {
		parent, rest, ok := strings.Cut(string(kv.Key), "\x00")
		if _, err := decodeUvarint([]byte(parent)); err != nil && parent != "" || !ok {
			return
		}
		id, err := decodeUvarint([]byte(rest))
		if err != nil {
			return
		}
		if v, err := kv.Value(); err == nil && strings.Count(string(v), "/") >= 2 {
			out[id] = string(v)
		}
	}
	if b, err := db.Bucket(bucketVersion, "parents"); err == nil {
		for kv, err := range b.All() {
			if err == nil && !kv.IsBucket() {
				take(kv)
			}
		}
	}
	for page, err := range db.Remnants() {
		if err != nil {
			continue
		}
		for kv := range page.Values() {
			take(kv)
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
			m.owner(out, be, "its writable snapshot")
		}
	}
	if out.ID != "" {
		m.add(out)
	}
}

// owner tells of the container that a writable snapshot was of: the CRI plugin and
// nerdctl call it by the container's id. Its image is the one whose layers it stood on.
func (m *remnants) owner(at runtimes.Remnant, be *backend, note string) {
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
	at.Note = note
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
