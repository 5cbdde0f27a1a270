package builds

import (
	"errors"
	"fmt"
	"time"

	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// Remnants hands over the records of the cache that were pruned: the description
// of one is the step of the Dockerfile that it came from.
func (d Dir) Remnants(add func(runtimes.Remnant)) error {
	var failed []error
	for _, name := range CacheFiles {
		failed = append(failed, d.pruned(d.join(name), add))
	}
	return errors.Join(failed...)
}

// folders is where dockerd's snapshotter notes which folder each of the cache's
// snapshots has: daemon/internal/builder-next/adapters/snapshot/snapshot.go. One that
// is not committed has a folder of its own name.
const folders = "snapshots.db"

// Folders are the folders of layers that the cache keeps: no image and no container
// may have them, and they are no orphans.
func (d Dir) Folders() map[string]bool {
	out := map[string]bool{}
	keys := func(b *boltdb.Bucket, err error, each func(string, *boltdb.Bucket)) {
		if b == nil || err != nil {
			return // told where the cache is listed
		}
		for kv, err := range b.All() {
			if err != nil || !kv.IsBucket() {
				continue
			}
			if sub, err := kv.Bucket(); err == nil {
				each(string(kv.Key), sub)
			}
		}
	}
	if db, err := d.open(d.join(folders), nil); err == nil && db != nil {
		keys(db.Root(), nil, func(key string, b *boltdb.Bucket) {
			out[key] = true
			if folder, err := b.Get("committed"); err == nil {
				out[string(folder)] = true
			}
		})
	}
	for _, name := range CacheFiles {
		b, err := d.bucket(d.join(name), cacheMain, nil)
		keys(b, err, func(id string, _ *boltdb.Bucket) { out[id] = true })
	}
	return out
}

func (d Dir) pruned(file string, add func(runtimes.Remnant)) error {
	db, err := d.open(file, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if db == nil {
		return nil
	}
	live := map[string]bool{}
	if main, err := db.Bucket(cacheMain); err == nil {
		for kv, err := range main.All() {
			if err == nil {
				live[string(kv.Key)] = true
			}
		}
	}
	gone := traces.Modified(d.FS, d.Node, file)
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
