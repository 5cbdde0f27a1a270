package docker

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/oci"
)

// What BuildKit keeps inside of dockerd: cache/metadata.go and cache/metadata/metadata.go,
// solver/llbsolver/history and api/services/control/control.proto of buildkit; the
// names of the files are those of moby's daemon/internal/builder-next/controller.go.
//
//	buildkit/metadata_v2.db     _main/<record>/<key>: {"value": ...}
//	buildkit/history.db         _records/<build>: BuildHistoryRecord
//	buildkit/history_c8d.db     the same, where containerd keeps the images
//
// Before Docker 20.10 the first was metadata.db.
const (
	cacheMain      = "_main"
	historyRecords = "_records"
)

var (
	cacheFiles   = []string{buildkitDB, "buildkit/metadata.db"}
	historyFiles = []string{"buildkit/history.db", "buildkit/history_c8d.db"}
)

// Builds yields what was built, then what is kept of its steps, each in the order of time.
func (s *Store) Builds() iter.Seq2[runtimes.Build, error] {
	return func(yield func(runtimes.Build, error) bool) {
		var failed []error
		fail := func(err error) { failed = append(failed, err) }
		var out []runtimes.Build
		for _, name := range historyFiles {
			out = append(out, s.history(name, fail)...)
		}
		for _, name := range cacheFiles {
			file := join(s.root, name)
			var records []cacheEntry
			for id, b := range s.buckets(name, func(err error) { fail(fmt.Errorf("%s: %w", file, err)) }, cacheMain) {
				r, err := cacheRecord(b)
				if err != nil {
					fail(fmt.Errorf("%s: record %q: %w", file, id, err))
				}
				r.Runtime, r.StorePath, r.ID, r.File = runtimes.Docker, s.root, id, file
				records = append(records, r)
			}
			out = append(out, fold(records)...)
		}
		slices.SortStableFunc(out, func(a, b runtimes.Build) int {
			if a.Kind != b.Kind {
				return strings.Compare(string(a.Kind), string(b.Kind))
			}
			if c := a.Created.Compare(b.Created); c != 0 {
				return c
			}
			return strings.Compare(a.ID, b.ID)
		})
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

// history reads the builds that a database has records of.
func (s *Store) history(name string, fail func(error)) []runtimes.Build {
	file := join(s.root, name)
	values, err := s.bolt(file, historyRecords, func(err error) { fail(fmt.Errorf("%s: %w", file, err)) })
	if err != nil && !isMissing(err) {
		fail(fmt.Errorf("%s: %w", file, err))
	}
	var out []runtimes.Build
	for _, kv := range values {
		m, err := decodeMessage(kv.value)
		if err != nil {
			fail(fmt.Errorf("%s: build %q: %w", file, kv.key, err))
		}
		b := runtimes.Build{Runtime: runtimes.Docker, StorePath: s.root, Kind: runtimes.BuildRecord, ID: kv.key, Type: m.text(2), Size: -1, File: file,
			Options: m.table(3), Created: m.time(6), Completed: m.time(7), Error: m.sub(5).text(2)}
		b.Name = buildName(b.Options)
		if names := m.table(9)["image.name"]; names != "" { // ExporterResponse
			b.Images = strings.Split(names, ",")
		}
		out = append(out, b)
	}
	return out
}

// buildName says what a build was of, as buildx names it: its file and target,
// and where its context came from.
func buildName(options map[string]string) string {
	var out []string
	if from := options["context"]; from != "" {
		out = append(out, from)
	} else if from := options["vcs:source"]; from != "" {
		out = append(out, from)
	}
	if name := options["filename"]; name != "" {
		out = append(out, name)
	}
	if target := options["target"]; target != "" {
		out = append(out, "target "+target)
	}
	return strings.Join(out, " ")
}

// cacheEntry is a record of the cache, and the id of the one that it shares its
// files with: that can still be written to, and this one is how it was once.
type cacheEntry struct {
	runtimes.Build
	mutable string
}

// fold leaves out the records whose files another one has, as `docker system df`
// does (cache/manager.go, DiskUsage).
func fold(records []cacheEntry) []runtimes.Build {
	at := make(map[string]int)
	var out []runtimes.Build
	for _, r := range records {
		if r.mutable == "" {
			at[r.ID] = len(out)
			out = append(out, r.Build)
		}
	}
	for _, r := range records {
		if r.mutable == "" {
			continue
		}
		if i, ok := at[r.mutable]; !ok {
			out = append(out, r.Build)
		} else if out[i].Size < 0 {
			out[i].Size = r.Size
		}
	}
	return out
}

// cacheRecord reads the fields of one record of the cache.
func cacheRecord(b *boltdb.Bucket) (cacheEntry, error) {
	out := cacheEntry{Build: runtimes.Build{Kind: runtimes.BuildCache, Size: -1, Type: "regular"}} // UsageRecordTypeRegular, client/diskusage.go
	var failed []error
	var blob int64 = -1
	for kv, err := range b.All() {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if kv.IsBucket() {
			continue
		}
		raw, err := kv.Value()
		if err == nil && len(raw) > 0 { // a field that was taken back is empty
			err = takeCacheField(&out, &blob, string(kv.Key), raw)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", kv.Key, err))
		}
	}
	if out.Size < 0 {
		out.Size = blob
	}
	return out, errors.Join(failed...)
}

func takeCacheField(out *cacheEntry, blob *int64, key string, raw []byte) error {
	text := map[string]*string{"cache.description": &out.Name, "cache.recordType": &out.Type, "cache.diffID": &out.DiffID, "cache.chainID": &out.ChainID,
		"cache.blob": &out.Blob, "cache.snapshot": &out.Snapshot, "cache.equalMutable": &out.mutable}
	times := map[string]*time.Time{"cache.createdAt": &out.Created, "cache.lastUsedAt": &out.Used}
	numbers := map[string]*int64{"snapshot.size": &out.Size, "cache.blobsize": blob}
	switch {
	case text[key] != nil:
		return takeValue(raw, text[key])
	case times[key] != nil:
		var at int64
		err := takeValue(raw, &at)
		if at > 0 {
			*times[key] = time.Unix(0, at).UTC()
		}
		return err
	case numbers[key] != nil:
		return takeValue(raw, numbers[key])
	}
	switch key {
	case "cache.usageCount":
		return takeValue(raw, &out.Uses)
	case "cache.deleted":
		return takeValue(raw, &out.Deleted)
	case "cache.imageRefs":
		return takeValue(raw, &out.Images)
	case "cache.mergeParents":
		return takeValue(raw, &out.Parents)
	case "cache.parent", "cache.lowerDiffParent", "cache.upperDiffParent":
		var parent string
		err := takeValue(raw, &parent)
		if parent != "" {
			out.Parents = append(out.Parents, parent)
		}
		return err
	}
	return nil
}

// takeValue decodes a field of a record: metadata.Value of cache/metadata.
func takeValue(raw []byte, to any) error {
	var doc struct {
		Value any `json:"value"`
	}
	doc.Value = to
	if len(raw) > maxConfig {
		return fmt.Errorf("%d bytes: %w", len(raw), evidence.ErrUnsupported)
	}
	return oci.Decode(raw, &doc)
}
