package containerd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
)

// Buckets and files of the content store: core/metadata/buckets.go and
// plugins/content/local/store.go.
const (
	bucketIngests = "ingests"
	bucketOld     = "ingest" // before version 2 of the schema: reference to key
	bucketLeases  = "leases"
	keyRef        = "ref"
	keyExpires    = "expireat"
	keyExpected   = "expected"
)

// maxIngestFile bounds the small files beside an ingest's data.
const maxIngestFile = 64 << 10

// Namespaces yields the namespaces with their labels, leases and counts.
func (s *Store) Namespaces() iter.Seq2[runtimes.Namespace, error] {
	return func(yield func(runtimes.Namespace, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Namespace{}, err) {
				return
			}
		}
		for _, ns := range s.namespaces {
			r := readRecord(ns.bucket)
			out := runtimes.Namespace{Runtime: s.layout.Runtime, StorePath: s.root, Name: ns.name, Labels: r.texts(bucketLabels), Images: len(ns.images)}
			for _, err := range each(ns.bucket, bucketContainers) {
				if err == nil {
					out.Containers++
				}
			}
			for _, keys := range ns.snapshots {
				out.Snapshots += len(keys)
			}
			if content, err := ns.bucket.Bucket(bucketContent); err == nil {
				for _, err := range each(content, bucketBlob) {
					if err == nil {
						out.Blobs++
					}
				}
			}
			var err error
			out.Leases, err = s.leases(ns)
			if !yield(out, nil) || err != nil && !yield(runtimes.Namespace{}, err) {
				return
			}
		}
	}
}

// leases reads a namespace's leases: core/metadata/leases.go.
func (s *Store) leases(ns *namespace) ([]runtimes.Lease, error) {
	var out []runtimes.Lease
	var failed []error
	for kv, err := range each(ns.bucket, bucketLeases) {
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
		l := runtimes.Lease{ID: string(kv.Key), Created: decoded(r, keyCreated, decodeTime), Labels: r.texts(bucketLabels)}
		l.Blobs = slices.Sorted(maps.Keys(r.sub(bucketContent).values))
		l.Ingests = slices.Sorted(maps.Keys(r.sub(bucketIngests).values))
		l.Images = slices.Sorted(maps.Keys(r.sub(bucketImages).values))
		snapshots := r.sub(bucketSnapshots)
		for _, snapshotter := range slices.Sorted(maps.Keys(snapshots.buckets)) {
			for _, key := range slices.Sorted(maps.Keys(snapshots.sub(snapshotter).values)) {
				l.Snapshots = append(l.Snapshots, snapshotter+"/"+key)
			}
		}
		out = append(out, l)
		failed = append(failed, r.err("lease", ns.name, l.ID))
	}
	return out, errors.Join(failed...)
}

// Contents yields every blob and every ingest that a namespace records, and
// then those that lie in the content store and no namespace records.
func (s *Store) Contents() iter.Seq2[runtimes.Content, error] {
	return func(yield func(runtimes.Content, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Content{}, err) {
				return
			}
		}
		blobs, err := s.files(s.layout.blobs() + "/sha256")
		if err != nil && !yield(runtimes.Content{}, err) {
			return
		}
		ingests, err := s.files(s.layout.ingests())
		if err != nil && !yield(runtimes.Content{}, err) {
			return
		}
		met := make(map[string]bool)
		for _, ns := range s.namespaces {
			for c, err := range s.contents(ns, blobs) {
				met[c.Path] = true
				if !yield(c, err) {
					return
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(blobs)) {
			c := s.newContent(runtimes.ContentBlob, "sha256:"+name)
			if met[c.Path] {
				continue
			}
			s.measure(&c, blobs[name])
			if !yield(c, nil) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(ingests)) {
			c, err := s.ingest(name)
			if met[c.Path] {
				continue
			}
			if !yield(c, nil) || err != nil && !yield(runtimes.Content{}, err) {
				return
			}
		}
	}
}

// files returns what is in a folder of the store, by name.
func (s *Store) files(dir string) (map[string]evidence.Ino, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, join(s.root, dir), true)
	if notExist(err) {
		return nil, nil
	}
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

func (s *Store) newContent(kind runtimes.ContentKind, digest string) runtimes.Content {
	c := runtimes.Content{Runtime: s.layout.Runtime, StorePath: s.root, Kind: kind, Digest: digest, Size: -1, OnDisk: -1, MediaType: s.mediaTypes[digest]}
	if algorithm, hex, ok := strings.Cut(digest, ":"); ok && kind == runtimes.ContentBlob && !strings.Contains(digest, "/") {
		c.Path = join(s.root, s.layout.blobs()+"/"+algorithm+"/"+hex)
	}
	return c
}

func (s *Store) measure(c *runtimes.Content, ino evidence.Ino) {
	if info, err := s.fsys.Stat(ino); err == nil {
		c.OnDisk = info.Size
	}
}

// contents yields what a namespace records: core/metadata/content.go.
func (s *Store) contents(ns *namespace, blobs map[string]evidence.Ino) iter.Seq2[runtimes.Content, error] {
	return func(yield func(runtimes.Content, error) bool) {
		top, err := ns.bucket.Bucket(bucketContent)
		if err != nil {
			if !notExist(err) {
				yield(runtimes.Content{}, err)
			}
			return
		}
		leases, _ := s.leases(ns) // what is wrong with them, Namespaces tells
		held := make(map[string][]string)
		for _, l := range leases {
			for _, d := range append(l.Blobs[:len(l.Blobs):len(l.Blobs)], l.Ingests...) {
				held[d] = append(held[d], l.ID)
			}
		}
		for _, bucket := range []string{bucketBlob, bucketIngests} {
			for kv, err := range each(top, bucket) {
				if err != nil {
					if !yield(runtimes.Content{}, fmt.Errorf("%s: %w", join(s.root, s.layout.MetaDB), err)) {
						return
					}
					continue
				}
				b, err := kv.Bucket()
				if err != nil {
					if !yield(runtimes.Content{}, fmt.Errorf("content %q of namespace %q: %w", kv.Key, ns.name, err)) {
						return
					}
					continue
				}
				c, err := s.recorded(ns, bucket, string(kv.Key), readRecord(b), blobs)
				c.Leases = held[string(kv.Key)]
				if !yield(c, nil) || err != nil && !yield(runtimes.Content{}, err) {
					return
				}
			}
		}
		for kv, err := range each(top, bucketOld) {
			if err != nil {
				continue // named by the walk of the other buckets, if the page is theirs too
			}
			key, err := kv.Value()
			c, _ := s.ingest(ingestFolder(string(key)))
			c.Namespace, c.Ref = ns.name, string(kv.Key)
			if !yield(c, err) {
				return
			}
		}
	}
}

func (s *Store) recorded(ns *namespace, bucket, key string, r *record, blobs map[string]evidence.Ino) (runtimes.Content, error) {
	if bucket == bucketIngests {
		c, _ := s.ingest(ingestFolder(r.text(keyRef))) // its files may be gone
		c.Namespace, c.Ref = ns.name, key
		c.Expires = decoded(r, keyExpires, decodeTime)
		if digest := r.text(keyExpected); digest != "" {
			c.Digest = digest
		}
		return c, r.err("ingest", ns.name, key)
	}
	c := s.newContent(runtimes.ContentBlob, key)
	c.Namespace, c.Labels = ns.name, r.texts(bucketLabels)
	c.Created, c.Updated = decoded(r, keyCreated, decodeTime), decoded(r, keyUpdated, decodeTime)
	if _, ok := r.values[keySize]; ok {
		c.Size = decoded(r, keySize, decodeVarint)
	}
	if ino, ok := blobs[strings.TrimPrefix(key, "sha256:")]; ok {
		s.measure(&c, ino)
	}
	return c, r.err("content", ns.name, key)
}

// ingestFolder is the name of an ingest's folder: the digest of its reference in the backend.
func ingestFolder(ref string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(ref))) }

// ingest reads the small files beside what was written of a blob.
func (s *Store) ingest(name string) (runtimes.Content, error) {
	at := join(s.root, s.layout.ingests()+"/"+name)
	c := runtimes.Content{Runtime: s.layout.Runtime, StorePath: s.root, Kind: runtimes.ContentIngest, Size: -1, OnDisk: -1, Path: at}
	var failed []error
	text := func(file string) string {
		b, err := evidence.ReadFile(s.fsys, s.node, join(at, file), maxIngestFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		return strings.TrimSpace(string(b))
	}
	c.Ref = text("ref")
	c.Created, c.Updated = textTime(text("startedat")), textTime(text("updatedat"))
	if n, err := strconv.ParseInt(text("total"), 10, 64); err == nil && n > 0 {
		c.Size = n
	}
	if ino, err := evidence.Resolve(s.fsys, s.node, join(at, "data"), true); err == nil {
		s.measure(&c, ino)
	}
	return c, errors.Join(failed...)
}

func textTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Unix() <= 0 {
		return time.Time{}
	}
	return t.UTC()
}
