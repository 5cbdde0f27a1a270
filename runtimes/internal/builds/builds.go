// Package builds reads what BuildKit keeps of its work in a folder, inside of
// dockerd's data root or in a root of its own:
//
//	metadata_v2.db      _main/<record>/<key>: {"value": ...}: the cache, a step's result each
//	history.db          _records/<build>: BuildHistoryRecord
//	history_c8d.db      the same, where dockerd's containerd keeps the images
//	executor/<id>/      the bundle of a step that runs, or ran when the power went
//
// It follows cache/metadata.go, cache/metadata/metadata.go, solver/llbsolver/history,
// api/services/control/control.proto and executor/runcexecutor of buildkit; the
// names of the files inside dockerd are those of moby's
// daemon/internal/builder-next/controller.go. Before 20.10 the cache was metadata.db.
// cache.db, the keys that steps are found again by, holds digests alone and is not read.
//
// Input is hostile: databases are read by package boltdb, documents have a size
// limit, and one record that can't be read is one error beside the others.
package builds

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/wire"
	"lagan/runtimes/oci"
)

const (
	cacheMain      = "_main"
	historyRecords = "_records"
)

// maxDocument bounds a value and a bundle's configuration.
const maxDocument = 16 << 20

// CacheFiles are the databases of the cache, the newest form first.
var CacheFiles = []string{"metadata_v2.db", "metadata.db"}

// HistoryFiles are the databases of builds.
var HistoryFiles = []string{"history.db", "history_c8d.db"}

// Dir is a folder of BuildKit's.
type Dir struct {
	FS        evidence.FS
	Node      evidence.Ino
	Path      string // as the node named it
	Runtime   runtimes.Name
	StorePath string // the data root that the records are of
}

func (d Dir) join(name string) string { return strings.TrimSuffix(d.Path, "/") + "/" + name }

// Sort puts builds first and then what is kept of steps, each in the order of time.
func Sort(all []runtimes.Build) {
	slices.SortStableFunc(all, func(a, b runtimes.Build) int {
		if a.Kind != b.Kind {
			return strings.Compare(string(a.Kind), string(b.Kind))
		}
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// open opens a database of the folder; nil without an error where there is none.
func (d Dir) open(file string, warn func(error)) (*boltdb.DB, error) {
	ino, err := evidence.Resolve(d.FS, d.Node, file, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := d.FS.Open(ino)
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	return boltdb.Open(r, r.Size(), warn)
}

// bucket opens a database and a bucket at its root; nil without an error where
// there is no such file or nothing was put there yet.
func (d Dir) bucket(file, name string, warn func(error)) (*boltdb.Bucket, error) {
	db, err := d.open(file, warn)
	if db == nil || err != nil {
		return nil, err
	}
	b, err := db.Bucket(name)
	if errors.Is(err, fs.ErrNotExist) && db.Damaged() == 0 {
		return nil, nil
	}
	return b, err
}

// History returns the builds that the folder's databases have records of. What
// can't be read is handed to fail.
func (d Dir) History(fail func(error)) []runtimes.Build {
	var out []runtimes.Build
	for _, name := range HistoryFiles {
		file := d.join(name)
		wrong := func(err error) { fail(fmt.Errorf("%s: %w", file, err)) }
		records, err := d.bucket(file, historyRecords, wrong)
		if err != nil {
			wrong(err)
		}
		if records == nil {
			continue
		}
		for kv, err := range records.All() {
			if err == nil && kv.IsBucket() {
				continue
			}
			var raw []byte
			if err == nil {
				raw, err = kv.Value()
			}
			if err != nil {
				wrong(err)
				continue
			}
			m, err := wire.Decode(raw)
			if err != nil {
				wrong(fmt.Errorf("build %q: %w", kv.Key, err))
			}
			out = append(out, d.build(string(kv.Key), file, m))
		}
	}
	return out
}

// build reads a BuildHistoryRecord.
func (d Dir) build(id, file string, m wire.Message) runtimes.Build {
	b := runtimes.Build{Runtime: d.Runtime, StorePath: d.StorePath, Kind: runtimes.BuildRecord, ID: id, Type: m.Text(2), Size: -1, File: file,
		Options: m.Table(3), Created: m.Time(6), Completed: m.Time(7), Error: m.Sub(5).Text(2)}
	b.Name = buildName(b.Options)
	b.Log = m.Sub(8).Text(2)          // a Descriptor
	names := m.Table(9)["image.name"] // ExporterResponse
	if names == "" {
		names = m.Sub(4).Table(2)["name"] // the first Exporter's Attrs: an archive is named there alone
	}
	if names != "" {
		b.Images = strings.Split(names, ",")
	}
	return b
}

// Cache returns what is kept of steps. What can't be read is handed to fail.
func (d Dir) Cache(fail func(error)) []runtimes.Build {
	var out []runtimes.Build
	for _, name := range CacheFiles {
		file := d.join(name)
		wrong := func(err error) { fail(fmt.Errorf("%s: %w", file, err)) }
		main, err := d.bucket(file, cacheMain, wrong)
		if err != nil {
			wrong(err)
		}
		if main == nil {
			continue
		}
		var records []cacheEntry
		for kv, err := range main.All() {
			var b *boltdb.Bucket
			if err == nil {
				b, err = kv.Bucket()
			}
			if err != nil {
				wrong(err)
				continue
			}
			r, err := cacheRecord(b)
			if err != nil {
				wrong(fmt.Errorf("record %q: %w", kv.Key, err))
			}
			r.Runtime, r.StorePath, r.ID, r.File = d.Runtime, d.StorePath, string(kv.Key), file
			records = append(records, r)
		}
		out = append(out, fold(records)...)
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
	if len(raw) > maxDocument {
		return fmt.Errorf("%d bytes: %w", len(raw), evidence.ErrUnsupported)
	}
	return oci.Decode(raw, &doc)
}
