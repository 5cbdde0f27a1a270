package builds

import (
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
	file := d.join(CacheFiles[0])
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
