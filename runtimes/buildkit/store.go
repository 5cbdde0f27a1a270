// Package buildkit reads the data root of a BuildKit that runs by itself: of
// buildkitd, of nerdctl's builder, of the container that `docker buildx` keeps
// (in the volume buildx_buildkit_<builder>_state).
//
//	<root>/
//	  history.db                     what was built
//	  runc-<snapshotter>/            a worker with parts of containerd in itself
//	    metadata_v2.db               the cache: a step's result each
//	    containerdmeta.db            snapshots and blobs, as containerd's meta.db
//	    snapshots/{metadata.db,...}  the snapshotter's folder
//	    content/{blobs,ingest}       layers, logs of builds
//	    executor/<id>/config.json    steps that ran
//	  containerd-<snapshotter>/      a worker whose snapshots are containerd's: the cache alone
//
// It follows cmd/buildkitd/main.go, worker/runc/runc.go and
// worker/containerd/containerd.go of buildkit. Builds leave no containers and no
// images here: their results are in what they were sent to. The one inside of
// dockerd is read by package docker.
//
// Input is hostile: everything is read by packages builds and containerd, with
// their limits.
package buildkit

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/containerd"
	"lagan/runtimes/internal/builds"
	"lagan/runtimes/internal/node"
)

// Files of a root and of a worker.
const (
	metaDB           = "containerdmeta.db"
	contentDir       = "content"
	snapshotsDir     = "snapshots"
	prefixRunc       = "runc-"
	prefixContainerd = "containerd-"
)

// maxWorkers bounds the workers of a root: there is one a snapshotter.
const maxWorkers = 64

// Store is one data root of BuildKit.
type Store struct {
	dir     builds.Dir // of the builds
	workers []worker
}

// worker is one of a root.
type worker struct {
	dir    builds.Dir        // of the cache
	layers *containerd.Store // nil where they are containerd's
}

// Open opens the data root, as the node named it. It fails where no worker's
// folder is there; a database that can't be read is told by each sequence that
// needs it.
func Open(fsys evidence.FS, top evidence.Ino, root string) (*Store, error) {
	s := &Store{dir: builds.Dir{FS: fsys, Node: top, Path: root, Runtime: runtimes.BuildKit, StorePath: root}}
	for _, name := range workers(fsys, top, root) {
		w := worker{dir: s.dir}
		w.dir.Path = join(root, name)
		if snapshotter, ok := strings.CutPrefix(name, prefixRunc); ok {
			layers, err := containerd.OpenLayout(fsys, top, w.dir.Path, containerd.Layout{Runtime: runtimes.BuildKit, MetaDB: metaDB,
				Content: contentDir, Snapshotter: snapshotter, Snapshots: snapshotsDir})
			if err == nil {
				w.layers = layers
			}
		}
		s.workers = append(s.workers, w)
	}
	if len(s.workers) == 0 {
		return nil, fmt.Errorf("opening BuildKit's data root %s: no worker's folder: %w", root, fs.ErrNotExist)
	}
	return s, nil
}

// workers returns the names of the workers' folders.
func workers(fsys evidence.FS, top evidence.Ino, root string) []string {
	var out []string
	for _, name := range node.Entries(fsys, top, root) {
		if !strings.HasPrefix(name, prefixRunc) && !strings.HasPrefix(name, prefixContainerd) || len(out) == maxWorkers {
			continue
		}
		for _, db := range append(builds.CacheFiles[:len(builds.CacheFiles):len(builds.CacheFiles)], metaDB) {
			if _, err := evidence.Resolve(fsys, top, join(root, name+"/"+db), true); err == nil {
				out = append(out, name)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// Runtime returns runtimes.BuildKit.
func (s *Store) Runtime() runtimes.Name { return runtimes.BuildKit }

// Path returns the data root as the node named it.
func (s *Store) Path() string { return s.dir.Path }

// Containers yields none: a step is no container that anybody can start again.
func (s *Store) Containers() iter.Seq2[runtimes.Container, error] {
	return func(func(runtimes.Container, error) bool) {}
}

// Images yields none: what was built was sent away.
func (s *Store) Images() iter.Seq2[runtimes.Image, error] {
	return func(func(runtimes.Image, error) bool) {}
}

// each yields what each worker's layers have of a kind, as this store's.
func each[T any](s *Store, of func(*containerd.Store) iter.Seq2[T, error], root func(*T) *string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, w := range s.workers {
			if w.layers == nil {
				continue
			}
			for v, err := range of(w.layers) {
				*root(&v) = s.dir.Path
				if !yield(v, err) {
					return
				}
			}
		}
	}
}

// Snapshots yields the snapshots of every worker.
func (s *Store) Snapshots() iter.Seq2[runtimes.Snapshot, error] {
	return each(s, (*containerd.Store).Snapshots, func(v *runtimes.Snapshot) *string { return &v.StorePath })
}

// Contents yields the blobs and unfinished downloads of every worker.
func (s *Store) Contents() iter.Seq2[runtimes.Content, error] {
	return each(s, (*containerd.Store).Contents, func(v *runtimes.Content) *string { return &v.StorePath })
}

// Namespaces yields the namespace of every worker's database.
func (s *Store) Namespaces() iter.Seq2[runtimes.Namespace, error] {
	return each(s, (*containerd.Store).Namespaces, func(v *runtimes.Namespace) *string { return &v.StorePath })
}

// Remnants yields the traces of snapshots, blobs and steps that the databases no
// longer list.
func (s *Store) Remnants() iter.Seq2[runtimes.Remnant, error] {
	return func(yield func(runtimes.Remnant, error) bool) {
		for r, err := range each(s, (*containerd.Store).Remnants, func(v *runtimes.Remnant) *string { return &v.StorePath }) {
			if !yield(r, err) {
				return
			}
		}
		for _, w := range s.workers {
			var pruned []runtimes.Remnant
			err := w.dir.Remnants(func(r runtimes.Remnant) {
				r.Runtime, r.StorePath = runtimes.BuildKit, s.dir.Path
				pruned = append(pruned, r)
			})
			for _, r := range pruned {
				if !yield(r, nil) {
					return
				}
			}
			if err != nil && !yield(runtimes.Remnant{}, err) {
				return
			}
		}
	}
}

// Builds yields what was built, what is kept of the steps, and those that ran,
// each in the order of time.
func (s *Store) Builds() iter.Seq2[runtimes.Build, error] {
	return func(yield func(runtimes.Build, error) bool) {
		var failed []error
		fail := func(err error) { failed = append(failed, err) }
		out := s.dir.History(fail)
		for _, w := range s.workers {
			out = append(out, w.dir.Cache(fail)...)
			out = append(out, w.dir.Steps(fail)...)
		}
		builds.Sort(out)
		for _, b := range out {
			if !yield(b, nil) {
				return
			}
		}
		if err := errors.Join(failed...); err != nil {
			yield(runtimes.Build{}, err)
		}
	}
}
