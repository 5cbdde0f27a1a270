package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// Document understands the lists of containers and images and Podman's own
// documents, as they were at an earlier time: each list is written anew and
// put in the place of the one before.
func (s *Store) Document(at string, raw []byte) []runtimes.Remnant {
	s.once.Do(s.load)
	if bytes.HasPrefix(raw, journalMagic) || strings.HasSuffix(at, sqliteState+"-journal") {
		return s.journalRemnants(at, raw)
	}
	raw = bytes.TrimRight(raw, "\x00")
	switch {
	case bytes.HasPrefix(raw, []byte(`[{"id":"`)):
		return s.listRemnants(at, raw)
	case bytes.HasPrefix(raw, []byte(`{`)):
		return s.configRemnants(at, "", documents{config: raw}, "document", runtimes.Likely)
	}
	return nil
}

// elements splits a JSON list; of one that is cut off, what is whole.
func elements(raw []byte) ([]json.RawMessage, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, false
	}
	var out []json.RawMessage
	for dec.More() && len(out) < maxElements {
		var one json.RawMessage
		if dec.Decode(&one) != nil {
			return out, false
		}
		out = append(out, one)
	}
	_, err := dec.Token()
	return out, err == nil
}

// maxElements bounds the entries of an older list.
const maxElements = 1 << 16

// listRemnants reads an older containers.json or images.json.
func (s *Store) listRemnants(at string, raw []byte) []runtimes.Remnant {
	list, whole := elements(raw)
	var out []runtimes.Remnant
	for _, one := range list {
		var shape struct {
			ID      string          `json:"id"`
			Image   *string         `json:"image"`
			Digest  *string         `json:"digest"`
			History json.RawMessage `json:"names-history"`
			Sizes   json.RawMessage `json:"big-data-sizes"`
			Layer   string          `json:"layer"`
		}
		if oci.Decode(one, &shape) != nil || !oci.IsHex64(shape.ID) {
			continue
		}
		r := runtimes.Remnant{Runtime: s.Runtime(), StorePath: s.root, ID: shape.ID, Source: at, Offset: -1, Sure: runtimes.Sure, Complete: true}
		if !whole {
			r.Note = "the list is cut off"
		}
		if at != "" {
			r.Place = "older " + path.Base(at)
		} else {
			r.Place = "older list"
		}
		switch {
		case shape.Image != nil && shape.Layer != "":
			var cj containerJSON
			if oci.Decode(one, &cj) != nil || s.listsContainer(cj.ID) {
				continue
			}
			c := s.removed(&cj, documents{})
			r.Object, r.Container, r.Name, r.Pod, r.Existed = runtimes.ObjectContainer, c, c.Name, c.Pod, c.Created
		case shape.Digest != nil || shape.History != nil || shape.Sizes != nil && shape.Layer != "":
			var ij imageJSON
			if oci.Decode(one, &ij) != nil || s.listsImage(ij.ID) {
				continue
			}
			img := runtimes.Image{Runtime: s.Runtime(), StorePath: s.root, ID: "sha256:" + ij.ID, Names: ij.Names, Digest: ij.Digest, Size: -1, Pulled: oci.Time(ij.Created)}
			r.Object, r.Image, r.ID, r.Existed = runtimes.ObjectImage, &img, img.ID, img.Pulled
			if len(ij.Names) > 0 {
				r.Name = ij.Names[0]
			}
		default:
			continue
		}
		out = append(out, r)
	}
	return out
}

func (s *Store) listsContainer(id string) bool {
	for _, d := range s.drivers {
		if slices.ContainsFunc(d.containers, func(c containerJSON) bool { return c.ID == id }) {
			return true
		}
	}
	if s.libpod == nil {
		return false
	}
	_, ok := s.libpod.containers[id]
	return ok
}

func (s *Store) listsImage(id string) bool {
	return slices.ContainsFunc(s.drivers, func(d *driver) bool { return d.byImage[id] != nil })
}

// removed describes a container that is listed no longer.
func (s *Store) removed(cj *containerJSON, docs documents) *runtimes.Container {
	shadow := &Store{fsys: s.fsys, node: s.node, root: s.root, drivers: s.drivers, userMark: s.userMark}
	shadow.once.Do(func() {})
	shadow.libpod = &libpod{containers: map[string]documents{}, pods: map[string]documents{}}
	if s.libpod != nil {
		shadow.libpod.pods = s.libpod.pods
	}
	if docs.config != nil {
		shadow.libpod.containers[cj.ID] = docs
	}
	var d *driver
	for _, one := range s.drivers {
		if cj.Layer != "" && (d == nil || one.layers[cj.Layer] != nil) {
			d = one
		}
	}
	c, err := shadow.container(d, cj)
	if d != nil && d.layers[cj.Layer] == nil && c.Rootfs.Problem == nil {
		c.Rootfs.Problem = err
	}
	return &c
}

// configRemnants reads Podman's configuration of a container, pod or volume, with
// its state where that stands beside it. key is the id that leads to it, "" unknown.
func (s *Store) configRemnants(at, key string, docs documents, place string, sure runtimes.Sureness) []runtimes.Remnant {
	var cfg containerConfig
	err := oci.Decode(docs.config, &cfg)
	r := runtimes.Remnant{Runtime: runtimes.Podman, StorePath: s.root, Source: at, Place: place, Offset: -1, Sure: sure, Complete: err == nil}
	if err != nil {
		r.Sure, r.Note = runtimes.Doubtful, "part of the document is gone"
	}
	if !oci.IsHex64(cfg.ID) || cfg.CreatedTime == "" || cfg.StaticDir == "" {
		return nil
	}
	if s.listsContainer(cfg.ID) {
		return nil
	}
	if key == cfg.ID && err == nil {
		r.Sure = runtimes.Sure
	}
	c := s.removed(&containerJSON{ID: cfg.ID}, docs)
	if docs.state == nil {
		c.State, c.Restarts = runtimes.StateUnknown, nil
	}
	r.Object, r.ID, r.Container, r.Name, r.Pod, r.Existed = runtimes.ObjectContainer, cfg.ID, c, c.Name, c.Pod, c.Created
	return []runtimes.Remnant{r}
}

// Remnants yields what Podman's databases keep in pages and cells that were
// freed, and what lies in the store without an owner.
func (s *Store) Remnants() iter.Seq2[runtimes.Remnant, error] {
	return func(yield func(runtimes.Remnant, error) bool) {
		s.once.Do(s.load)
		var failed []error
		var out []runtimes.Remnant
		for _, name := range []string{boltState, boltStateOld} {
			found, err := s.boltRemnants(join(s.root, name))
			out, failed = append(out, found...), append(failed, err)
		}
		for _, name := range []string{sqliteState, "libpod/" + sqliteState} {
			found, err := s.sqliteRemnants(join(s.root, name))
			out, failed = append(out, found...), append(failed, err)
		}
		out = append(out, s.orphans()...)
		seen := map[string]bool{}
		for _, r := range out {
			if k := fmt.Sprint(r.Object, r.ID, r.Source, r.Place, r.Container != nil); !seen[k] {
				seen[k] = true
				if !yield(r, nil) {
					return
				}
			}
		}
		if err := errors.Join(failed...); err != nil {
			yield(runtimes.Remnant{}, err)
		}
	}
}

// Buckets of bolt_state.db that map ids to names: libpod/boltdb_state_internal.go.
const (
	bucketAllContainers = "all-ctrs"
	bucketNames         = "name-registry" // names to ids
	bucketIDs           = "id-registry"   // ids to names
)

// boltRemnants reads the pages that bolt_state.db left behind: a container's
// page holds its configuration and state, lists hold ids and names.
func (s *Store) boltRemnants(name string) ([]runtimes.Remnant, error) {
	r, err := s.open(name)
	if r == nil || err != nil {
		return nil, err
	}
	db, err := boltdb.Open(r, r.Size(), nil)
	if err != nil {
		return nil, nil // told when it was read
	}
	gone := traces.Modified(s.fsys, s.node, name)
	var out []runtimes.Remnant
	var failed error
	for page, err := range db.Remnants() {
		if err != nil {
			failed = fmt.Errorf("%s: %w", name, err)
			continue
		}
		place := fmt.Sprintf("page %d, %s", page.Page, page.From)
		key, list := "", ""
		for _, p := range page.Paths {
			if list = p[len(p)-1]; oci.IsHex64(list) {
				key = list
			}
		}
		var docs documents
		for kv, inside := range page.Values() {
			v, err := kv.Value()
			if err != nil {
				continue
			}
			list := list
			if len(inside) > 0 {
				list = inside[len(inside)-1]
			}
			switch id, text := string(kv.Key), string(v); {
			case id == keyConfig && len(inside) == 0:
				docs.config = v
			case id == keyState && len(inside) == 0:
				docs.state = v
			case oci.IsHex64(id) && (list == bucketAllContainers || list == bucketIDs || list == ""):
				out = append(out, s.named(name, place, kv.Offset(), id, text, gone)...)
			case oci.IsHex64(text) && (list == bucketNames || list == ""):
				out = append(out, s.named(name, place, kv.Offset(), text, id, gone)...)
			}
		}
		if docs.config != nil {
			found := s.configRemnants(name, key, docs, place, runtimes.Likely)
			for i := range found {
				found[i].Gone, found[i].Offset, found[i].Complete = gone, page.Offset, found[i].Complete && page.Whole
			}
			out = append(out, found...)
		}
	}
	return out, failed
}

// named tells of an id with a name, which a list of containers, or the registry
// of all ids, had. Pods and infra containers are in the registry too.
func (s *Store) named(file, place string, off int64, id, name string, gone time.Time) []runtimes.Remnant {
	if s.listsContainer(id) || s.libpod != nil && s.libpod.pods[id].config != nil || !plainName(name) {
		return nil
	}
	return []runtimes.Remnant{{Object: runtimes.ObjectContainer, Runtime: runtimes.Podman, StorePath: s.root, ID: id, Name: name, Gone: gone,
		Source: file, Place: place, Offset: off, Sure: runtimes.Likely, Note: "only id and name are left; it may have been a pod"}}
}

// plainName says whether a text is a name that Podman would take (libpod/define/config.go, NameRegex).
func plainName(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.-", r)
	})
}

// names lists a folder.
func (s *Store) names(at string) []string {
	ino, err := evidence.Resolve(s.fsys, s.node, at, true)
	if err != nil {
		return nil
	}
	entries, _ := evidence.List(s.fsys, ino)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name)
	}
	slices.Sort(out)
	return out
}
