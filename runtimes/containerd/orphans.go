package containerd

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/traces"
)

// orphans finds what lies in the store and no database lists: folders of
// snapshots, of which the daemon takes away the record first; blobs and downloads.
func (m *remnants) orphans() {
	s := m.s
	add := func(object runtimes.Object, id, at, note string) {
		r := runtimes.Remnant{Object: object, ID: id, Source: at, Place: "folder", Offset: -1, Sure: runtimes.Sure, Note: note}
		r.Existed = traces.Born(s.fsys, s.node, at)
		m.add(r)
	}
	for _, name := range slices.Sorted(maps.Keys(s.snapshotters)) {
		sn := s.snapshotters[name]
		have := map[string]bool{}
		for _, be := range sn.byName {
			have[strconv.FormatUint(be.id, 10)] = true
		}
		entries, _ := s.below(join(sn.dir, "snapshots"))
		for _, e := range slices.Sorted(maps.Keys(entries)) {
			at := join(sn.dir, "snapshots/"+e)
			switch _, err := strconv.ParseUint(e, 10, 64); {
			case have[e]:
			case strings.HasPrefix(e, "new-"):
				add(runtimes.ObjectSnapshot, name+"/"+e, at, "a snapshot whose making was not finished")
			case strings.HasPrefix(e, "rm-"):
				add(runtimes.ObjectSnapshot, name+"/"+e, at, "a removal that was not finished")
			case err == nil && len(sn.names) > 0:
				add(runtimes.ObjectSnapshot, name+"/"+e, at, "folder of a snapshot without a record")
			}
		}
	}
	if s.meta == nil {
		return
	}
	for c, err := range s.Contents() {
		switch {
		case err != nil || c.Namespace != "":
		case c.Kind == runtimes.ContentIngest:
			m.add(runtimes.Remnant{Object: runtimes.ObjectContent, ID: c.Path, Name: c.Ref, Existed: c.Created, Source: c.Path, Place: "folder", Offset: -1, Sure: runtimes.Sure, Note: "a download that was not finished"})
		case c.Path != "":
			add(runtimes.ObjectContent, c.Digest, c.Path, "a blob without a record")
		}
	}
}

// below lists a folder of the node.
func (s *Store) below(at string) (map[string]evidence.Ino, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, at, true)
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
