package docker

import (
	"fmt"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// buildkitDB is where BuildKit notes the records of its cache: cache/metadata.go.
// Each has a bucket below _main, called by its id.
const buildkitDB = "buildkit/metadata_v2.db"

// buildRemnants reads the records of BuildKit's cache that were pruned: the
// description of one is the step of the Dockerfile that it came from.
func (s *Store) buildRemnants(add func(runtimes.Remnant)) error {
	file := join(s.root, buildkitDB)
	ino, err := evidence.Resolve(s.fsys, s.node, file, true)
	if err != nil {
		return nil
	}
	r, err := s.fsys.Open(ino)
	if err != nil {
		return fmt.Errorf("opening %s: %w", file, err)
	}
	db, err := boltdb.Open(r, r.Size(), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	live := map[string]bool{}
	if main, err := db.Bucket("_main"); err == nil {
		for kv, err := range main.All() {
			if err == nil {
				live[string(kv.Key)] = true
			}
		}
	}
	gone := traces.Modified(s.fsys, s.node, file)
	record := func(id string, b *boltdb.Bucket, page *boltdb.Remnant) {
		out := runtimes.Remnant{Object: runtimes.ObjectBuild, ID: id, Gone: gone, Source: file, Offset: page.Offset,
			Place: fmt.Sprintf("page %d, %s", page.Page, page.From), Sure: runtimes.Likely, Complete: page.Whole}
		cache := false
		for kv, err := range b.All() {
			if err != nil || kv.IsBucket() {
				continue
			}
			v, err := kv.Value()
			if err != nil {
				continue
			}
			switch string(kv.Key) {
			case "cache.description":
				var text struct{ Value string }
				if oci.Decode(v, &text) == nil {
					out.Name, cache = text.Value, true
				}
			case "cache.createdAt":
				var at struct{ Value int64 }
				if oci.Decode(v, &at) == nil && at.Value > 0 {
					out.Existed, cache = time.Unix(0, at.Value).UTC(), true
				}
			}
		}
		if cache && id != "" && !live[id] {
			add(out)
		}
	}
	for page, err := range db.Remnants() {
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, p := range page.Paths {
			record(p[len(p)-1], page.Bucket, page)
		}
		for kv, err := range page.Bucket.All() {
			if err != nil || !kv.IsBucket() {
				continue
			}
			if b, err := kv.Bucket(); err == nil && !b.InTree() {
				record(string(kv.Key), b, page)
			}
		}
	}
	return nil
}
