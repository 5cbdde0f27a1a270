package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/oci"
)

// Document understands config.v2.json, as it was before a container's removal.
func (s *Store) Document(at string, raw []byte) []runtimes.Remnant {
	s.once.Do(s.load)
	if i := slices.Index(raw, 0); i >= 0 {
		raw = raw[:i]
	}
	if !strings.HasPrefix(string(raw[:min(len(raw), 64)]), `{"StreamConfig"`) {
		return nil
	}
	var cfg configV2
	kept, err := oci.Document(raw, &cfg)
	if !oci.IsHex64(cfg.ID) || s.listed(cfg.ID) {
		return nil
	}
	c := runtimes.Container{ID: cfg.ID, Name: cfg.ID[:12], Kind: runtimes.KindContainer, Runtime: runtimes.Docker, State: runtimes.StateUnknown, StorePath: s.root}
	s.describe(&c, &cfg)
	if kept != nil {
		c.Records = map[string]json.RawMessage{containerConfig: kept}
	}
	if s.place(&c, &cfg) != nil {
		err = errors.Join(err, c.Rootfs.Problem)
	}
	r := runtimes.Remnant{Object: runtimes.ObjectContainer, Runtime: runtimes.Docker, StorePath: s.root, ID: c.ID, Name: c.Name, Container: &c, Pod: c.Pod,
		Existed: c.Created, Source: at, Place: containerConfig, Offset: -1, Sure: runtimes.Sure, Complete: err == nil}
	if err != nil {
		r.Sure, r.Note = runtimes.Doubtful, "part of the document is gone"
	}
	return []runtimes.Remnant{r}
}

// listed says whether a container is there.
func (s *Store) listed(id string) bool {
	return slices.ContainsFunc(s.containers, func(e evidence.Entry) bool { return e.Name == id })
}

// Remnants yields what the databases of networks and volumes, and the folders
// of layers, keep of containers and volumes that were removed.
func (s *Store) Remnants() iter.Seq2[runtimes.Remnant, error] {
	return func(yield func(runtimes.Remnant, error) bool) {
		s.once.Do(s.load)
		var out []runtimes.Remnant
		var failed []error
		add := func(r runtimes.Remnant) {
			r.Runtime, r.StorePath = runtimes.Docker, s.root
			if !slices.ContainsFunc(out, func(o runtimes.Remnant) bool {
				return o.Object == r.Object && o.ID == r.ID && o.Source == r.Source && o.Place == r.Place
			}) {
				out = append(out, r)
			}
		}
		failed = append(failed, s.networkRemnants(add), s.volumeRemnants(add), s.buildRemnants(add))
		s.orphans(add)
		for _, r := range out {
			if !yield(r, nil) {
				return
			}
		}
		if err := errors.Join(failed...); err != nil {
			yield(runtimes.Remnant{}, err)
		}
	}
}

// leftValues gives the values of a bolt file's pages that are no part of its tree.
func (s *Store) leftValues(file string, fn func(kv boltdb.KV, value []byte, page *boltdb.Remnant)) error {
	ino, err := evidence.Resolve(s.fsys, s.node, file, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := s.fsys.Open(ino)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	db, err := boltdb.Open(r, r.Size(), nil)
	if err != nil {
		return nil // told by the lists of networks and volumes
	}
	var failed error
	for page, err := range db.Remnants() {
		if err != nil {
			failed = fmt.Errorf("%s: %w", file, err)
			continue
		}
		for kv, err := range page.Bucket.All() {
			if err != nil || kv.IsBucket() {
				continue
			}
			if v, err := kv.Value(); err == nil {
				fn(kv, v, page)
			}
		}
	}
	return failed
}

// modified is when a file was written last.
func (s *Store) modified(file string) time.Time {
	ino, err := evidence.Resolve(s.fsys, s.node, file, true)
	if err != nil {
		return time.Time{}
	}
	info, err := s.fsys.Stat(ino)
	if err != nil {
		return time.Time{}
	}
	return info.Mtime
}

// networkRemnants reads the sandboxes, endpoints and networks that were taken
// out of the database: a sandbox names its container, an endpoint has its name.
func (s *Store) networkRemnants(add func(runtimes.Remnant)) error {
	file := join(s.root, networkDB)
	networks := map[string]bool{}
	if values, _ := s.bolt(file, networkBucket, func(error) {}); values != nil {
		for _, kv := range values {
			if ids, ok := strings.CutPrefix(kv.key, networkPrefix+kindNetwork+"/"); ok {
				networks[strings.TrimSuffix(ids, "/")] = true
			}
		}
	}
	gone := s.modified(file)
	endpoints := map[string]endpointJSON{}
	type sandbox struct {
		sb   sandboxJSON
		page *boltdb.Remnant
		off  int64
	}
	var sandboxes []sandbox
	err := s.leftValues(file, func(kv boltdb.KV, v []byte, page *boltdb.Remnant) {
		rest, ok := strings.CutPrefix(string(kv.Key), networkPrefix)
		if !ok || len(v) <= indexSize {
			return
		}
		kind, ids, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
		switch raw := v[indexSize:]; kind {
		case kindSandbox:
			var sb sandboxJSON
			if oci.Decode(raw, &sb) == nil {
				sandboxes = append(sandboxes, sandbox{sb, page, kv.Offset()})
			}
		case kindEndpoint:
			_, id, _ := strings.Cut(ids, "/")
			e := endpointJSON{ID: id}
			if oci.Decode(raw, &e) == nil {
				endpoints[id] = e
			}
		case kindNetwork:
			n := networkJSON{ID: ids}
			if oci.Decode(raw, &n) == nil && !networks[n.ID] && n.ID != "" {
				add(runtimes.Remnant{Object: runtimes.ObjectNetwork, ID: n.ID, Name: n.Name, Existed: oci.Time(n.Created), Gone: gone, Source: file,
					Place: fmt.Sprintf("page %d, %s", page.Page, page.From), Offset: kv.Offset(), Sure: runtimes.Sure, Complete: true})
			}
		}
	})
	for _, sb := range sandboxes {
		if !oci.IsHex64(sb.sb.Cid) || s.listed(sb.sb.Cid) {
			continue
		}
		r := runtimes.Remnant{Object: runtimes.ObjectContainer, ID: sb.sb.Cid, Gone: gone, Source: file, Offset: sb.off,
			Place: fmt.Sprintf("page %d, %s", sb.page.Page, sb.page.From), Sure: runtimes.Sure, Note: "its network sandbox"}
		for _, id := range slices.Sorted(maps.Keys(endpoints)) {
			if e := endpoints[id]; e.Sandbox == sb.sb.ID && e.Name != "" {
				r.Name, r.Note = e.Name, "its network sandbox and endpoint"
			}
		}
		add(r)
	}
	return err
}

// volumeRemnants reads the volumes that were taken out of the database: daemon/volume/service/db.go.
func (s *Store) volumeRemnants(add func(runtimes.Remnant)) error {
	file := join(s.root, volumesDB)
	live := map[string]bool{}
	if values, _ := s.bolt(file, volumesBucket, func(error) {}); values != nil {
		for _, kv := range values {
			live[kv.key] = true
		}
	}
	gone := s.modified(file)
	return s.leftValues(file, func(kv boltdb.KV, v []byte, page *boltdb.Remnant) {
		name := string(kv.Key)
		var doc struct{ Name string }
		if live[name] || oci.Decode(v, &doc) != nil || doc.Name != name || name == "" {
			return
		}
		if exists(s.fsys, s.node, join(s.root, "volumes/"+name)) {
			return // without a record; the list of volumes has it
		}
		add(runtimes.Remnant{Object: runtimes.ObjectVolume, ID: name, Name: name, Gone: gone, Source: file, Offset: kv.Offset(),
			Place: fmt.Sprintf("page %d, %s", page.Page, page.From), Sure: runtimes.Sure, Complete: true})
	})
}

// orphans finds folders of layers and mounts whose container or image is gone.
func (s *Store) orphans(add func(runtimes.Remnant)) {
	for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
		d := s.drivers[name]
		mounted := map[string]bool{}
		for _, e := range list(s.fsys, s.node, join(d.db, mountDir)) {
			if m, err := s.mount(d, e.Name); err == nil || m.mount != "" {
				mounted[m.mount], mounted[m.mount+"-init"] = true, true
			}
			if oci.IsHex64(e.Name) && !s.listed(e.Name) {
				r := s.orphan(join(join(d.db, mountDir), e.Name), "mount without a container")
				r.Object, r.ID, r.Sure = runtimes.ObjectContainer, e.Name, runtimes.Sure
				if m, err := s.mount(d, e.Name); err == nil {
					c := runtimes.Container{ID: e.Name, Name: e.Name[:12], Kind: runtimes.KindContainer, Runtime: runtimes.Docker, State: runtimes.StateUnknown, StorePath: s.root,
						Snapshotter: d.name, Snapshot: m.mount}
					if c.Rootfs, err = s.rootfs(d, m); err == nil {
						r.Container = &c
					}
				}
				add(r)
			}
		}
		for _, e := range list(s.fsys, s.node, path.Join(d.db, "layerdb/sha256")) {
			if strings.HasSuffix(e.Name, "-removing") {
				r := s.orphan(path.Join(d.db, "layerdb/sha256", e.Name), "a removal that was not finished")
				r.Object, r.ID, r.Sure = runtimes.ObjectSnapshot, e.Name, runtimes.Sure
				add(r)
			}
		}
		for _, e := range list(s.fsys, s.node, d.dir) {
			if e.Type != evidence.TypeDir || e.Name == "l" || mounted[e.Name] || d.cached[e.Name] != nil || !folderName(e.Name) {
				continue
			}
			r := s.orphan(join(d.dir, e.Name), "folder of a layer without a record")
			r.Object, r.ID, r.Sure = runtimes.ObjectSnapshot, e.Name, runtimes.Sure
			r.Snapshot = &runtimes.Snapshot{Runtime: runtimes.Docker, Snapshotter: d.name, StorePath: s.root, ID: e.Name, Key: e.Name, Size: -1, Inodes: -1, Kind: "unknown", Dir: join(d.dir, e.Name)}
			add(r)
		}
	}
	for _, e := range list(s.fsys, s.node, join(s.root, containersDir)) {
		if oci.IsHex64(e.Name) && !exists(s.fsys, s.node, join(s.root, containersDir+"/"+e.Name+"/"+containerConfig)) {
			r := s.orphan(join(s.root, containersDir+"/"+e.Name), "folder of a container without its configuration")
			r.Object, r.ID, r.Sure = runtimes.ObjectContainer, e.Name, runtimes.Sure
			add(r)
		}
	}
}

// orphan describes a folder without an owner.
func (s *Store) orphan(at, note string) runtimes.Remnant {
	r := runtimes.Remnant{Source: at, Place: "folder", Offset: -1, Note: note}
	if ino, err := evidence.Resolve(s.fsys, s.node, at, false); err == nil {
		if info, err := s.fsys.Stat(ino); err == nil {
			r.Existed = earliest(info.Btime, info.Mtime)
		}
	}
	return r
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// RemovedRootfs names the folders of a removed container, by what its mount of
// layers said: the folder that it wrote to, which may be gone, and its image's layers.
func (s *Store) RemovedRootfs(driverName, mount, parent string) runtimes.Rootfs {
	s.once.Do(s.load)
	d := s.drivers[driverName]
	if d == nil || d.name != driverOverlay2 || !folderName(mount) {
		return runtimes.Rootfs{Problem: fmt.Errorf("mount %q of driver %q: %w", mount, driverName, evidence.ErrUnsupported)}
	}
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, UserXattr: s.userMark,
		Upper: runtimes.Layer{Dir: join(d.dir, mount+"/diff"), ID: mount, Key: mount, Size: -1}}
	if oci.IsSHA256(parent) {
		image, _ := s.layersOf(d, parent)
		r.Lower, r.Problem = image.Lower, image.Problem
	}
	return r
}

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
	gone := s.modified(file)
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
