// Package containerd reads the state that containerd 1.0 to 2.x keeps below its
// data root:
//
//	<root>/
//	  io.containerd.metadata.v1.bolt/meta.db        every object of every namespace
//	    v1/<namespace>/images/<name>/               createdat updatedat target/{digest,mediatype,size} labels/
//	    v1/<namespace>/containers/<id>/             createdat updatedat image snapshotter snapshotKey sandboxid
//	                                                spec runtime/{name,options} extensions/<name> labels/
//	    v1/<namespace>/snapshots/<snapshotter>/<key>/  name parent createdat updatedat labels/
//	    v1/<namespace>/sandboxes/<id>/              createdat updatedat spec sandboxer extensions/<name> labels/
//	  io.containerd.snapshotter.v1.<name>/
//	    metadata.db  v1/snapshots/<name>/           id kind parent createdat updatedat inodes size labels/
//	    snapshots/<id>/fs                           a layer (overlayfs and its kin)
//	  io.containerd.content.v1.content/blobs/<algorithm>/<hex>   manifests, configurations, layers
//	  io.containerd.grpc.v1.cri/containers/<id>/status           a CRI container's life
//	  io.containerd.runtime.v2.task/<namespace>/<id>             there while a task was not deleted
//
// It follows core/metadata/buckets.go, core/snapshots/storage/bolt.go and
// internal/cri/store of containerd. Sandboxes are read in both layouts: below v1
// and, before schema version 4, at the root of meta.db.
//
// Evidence is hostile: databases are read by package boltdb, documents have size
// limits, chains a depth limit. One record that can't be read is one error; the
// others are read all the same.
package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/node"
)

// Store is one data root of containerd.
type Store struct {
	fsys evidence.FS
	node evidence.Ino
	root string

	layout   Layout
	meta     *boltdb.DB
	problems []error
	userMark bool // the daemon ran without root: overlays are mounted with userxattr

	once         sync.Once
	snapshotters map[string]*snapshotter
	namespaces   []*namespace
	mediaTypes   map[string]string // by digest, as images' documents name them
	architecture string            // of the node's programs, "" unknown
}

// Open reads the databases below the data root, as the node named it
// ("/var/lib/containerd"). It fails where nothing of containerd's is there. A
// database that is missing or can't be read is handed up by each of the store's
// sequences.
func Open(fsys evidence.FS, top evidence.Ino, root string) (*Store, error) {
	return OpenLayout(fsys, top, root, Layout{Runtime: runtimes.Containerd, MetaDB: metaDB, Content: contentDir})
}

// Layout says where a data root keeps what containerd's plugins keep in folders
// of their own: programs that have containerd's parts in themselves, as BuildKit
// has, choose the places. All are below the data root.
type Layout struct {
	Runtime runtimes.Name
	MetaDB  string
	Content string // the folder of blobs and ingest
	// Snapshotter names the only snapshotter, and Snapshots is its folder; ""
	// where each has a folder called by its plugin.
	Snapshotter string
	Snapshots   string
}

func (l Layout) blobs() string   { return l.Content + "/blobs" }
func (l Layout) ingests() string { return l.Content + "/ingest" }

// OpenLayout is Open for a data root of another layout.
func OpenLayout(fsys evidence.FS, top evidence.Ino, root string, layout Layout) (*Store, error) {
	s := &Store{fsys: node.Cached(fsys), node: top, root: root, layout: layout}
	db, err := s.openDB(join(root, layout.MetaDB))
	if errors.Is(err, fs.ErrNotExist) && !isRoot(fsys, top, root) {
		return nil, fmt.Errorf("opening %s's data root %s: %w", layout.Runtime, root, err)
	}
	if err != nil {
		s.problems = append(s.problems, err)
	}
	s.meta = db
	s.userMark = node.Rootless(fsys, top, root)
	return s, nil
}

// Runtime returns runtimes.Containerd, or the name of the program that has containerd's parts in itself.
func (s *Store) Runtime() runtimes.Name { return s.layout.Runtime }

// Path returns the data root as the node named it.
func (s *Store) Path() string { return s.root }

// openDB opens a bolt file of the node. What it warns of joins the store's problems.
func (s *Store) openDB(path string) (*boltdb.DB, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, path, true)
	if err != nil {
		return nil, err
	}
	r, err := s.fsys.Open(ino)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db, err := boltdb.Open(r, r.Size(), func(err error) {
		s.problems = append(s.problems, fmt.Errorf("%s: %w", path, err))
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return db, nil
}

// namespace is one namespace of meta.db.
type namespace struct {
	name   string
	bucket *boltdb.Bucket
	// snapshots by snapshotter and key
	snapshots map[string]map[string]*snapshot
	images    []*image
	byName    map[string]*image
	sandboxes map[string]*sandbox // those with records of their own
	mu        sync.Mutex
	pause     map[string]*sandbox // those that were asked for
	// diffIDs of chain ids, from the configurations of all images
	diffIDs map[string]string
}

// load reads what containers and images both need: snapshots, images, sandboxes.
func (s *Store) load() {
	s.snapshotters = s.openSnapshotters()
	s.mediaTypes = make(map[string]string)
	s.architecture = node.Architecture(s.fsys, s.node)
	if s.meta == nil {
		return
	}
	v1, err := s.meta.Bucket(bucketVersion)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) || s.meta.Damaged() > 0 {
			s.problem(s.layout.MetaDB, err)
		}
		return
	}
	for kv, err := range v1.All() {
		if err != nil {
			s.problem(s.layout.MetaDB, err)
			continue
		}
		if !kv.IsBucket() {
			continue // the schema's version
		}
		b, err := kv.Bucket()
		if err != nil {
			s.problem(s.layout.MetaDB, err)
			continue
		}
		ns := &namespace{name: string(kv.Key), bucket: b, diffIDs: make(map[string]string), byName: make(map[string]*image)}
		ns.snapshots = s.readSnapshots(ns)
		ns.sandboxes = s.readSandboxes(ns)
		s.readImages(ns)
		s.namespaces = append(s.namespaces, ns)
	}
}

// problem notes what is wrong with the store as a whole.
func (s *Store) problem(file string, err error) {
	s.problems = append(s.problems, fmt.Errorf("%s: %w", join(s.root, file), err))
}

// children yields the buckets in the bucket called name, if there is one.
func (s *Store) children(parent *boltdb.Bucket, name string) iter.Seq2[string, *boltdb.Bucket] {
	return func(yield func(string, *boltdb.Bucket) bool) {
		b, err := parent.Bucket(name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.problem(s.layout.MetaDB, err)
			}
			return
		}
		for kv, err := range b.All() {
			if err != nil {
				s.problem(s.layout.MetaDB, err)
				continue
			}
			if !kv.IsBucket() {
				continue
			}
			sub, err := kv.Bucket()
			if err != nil {
				s.problem(s.layout.MetaDB, err)
				continue
			}
			if !yield(string(kv.Key), sub) {
				return
			}
		}
	}
}

// record is one object's bucket, read whole but for large values.
type record struct {
	values  map[string]boltdb.KV
	buckets map[string]boltdb.KV
	errs    []error
}

func readRecord(b *boltdb.Bucket) *record {
	r := &record{values: make(map[string]boltdb.KV), buckets: make(map[string]boltdb.KV)}
	for kv, err := range b.All() {
		switch {
		case err != nil:
			r.fail(err)
		case kv.IsBucket():
			r.buckets[string(kv.Key)] = kv
		default:
			r.values[string(kv.Key)] = kv
		}
	}
	return r
}

func (r *record) fail(err error) { r.errs = append(r.errs, err) }

// bytes returns a value, nil where there is none.
func (r *record) bytes(key string) []byte {
	kv, ok := r.values[key]
	if !ok {
		return nil
	}
	b, err := kv.Value()
	if err != nil {
		r.fail(err)
	}
	return b
}

func (r *record) text(key string) string { return string(r.bytes(key)) }

// decoded decodes a value that is there.
func decoded[T any](r *record, key string, decode func([]byte) (T, error)) T {
	var none T
	b := r.bytes(key)
	if b == nil {
		return none
	}
	v, err := decode(b)
	if err != nil {
		r.fail(fmt.Errorf("%s: %w", key, err))
		return none
	}
	return v
}

// sub returns the record in the bucket called key, an empty one where there is none.
func (r *record) sub(key string) *record {
	kv, ok := r.buckets[key]
	if !ok {
		return &record{}
	}
	b, err := kv.Bucket()
	if err != nil {
		r.fail(err)
		return &record{}
	}
	out := readRecord(b)
	r.errs = append(r.errs, out.errs...)
	return out
}

// labels returns the texts of the bucket called key, nil where there is none.
func (r *record) texts(key string) map[string]string {
	sub := r.sub(key)
	if len(sub.values) == 0 {
		return nil
	}
	out := make(map[string]string, len(sub.values))
	for k := range sub.values {
		out[k] = sub.text(k)
	}
	r.errs = append(r.errs, sub.errs...)
	return out
}

// err returns all that went wrong, with the object's name, or nil.
func (r *record) err(what, namespace, name string) error {
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s %q of namespace %q: %w", what, name, namespace, errors.Join(r.errs...))
}
