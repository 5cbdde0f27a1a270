package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

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
		failed = append(failed, s.networkRemnants(add), s.volumeRemnants(add), s.buildkit().Remnants(add))
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
		for kv := range page.Values() {
			if v, err := kv.Value(); err == nil {
				fn(kv, v, page)
			}
		}
	}
	return failed
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
	gone := traces.Modified(s.fsys, s.node, file)
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
	gone := traces.Modified(s.fsys, s.node, file)
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
