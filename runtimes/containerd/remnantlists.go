package containerd

import (
	"slices"

	"lagan/runtimes/boltdb"
	"lagan/runtimes/oci"
)

// neighbours says which namespace a list is of, by those of its names that are
// still listed; "" where none is. The pages above an old page may be of a later
// time, when its number was another one's.
func (m *remnants) neighbours(paths [][]string, keys []string) string {
	best, most := "", 0
	for _, ns := range m.s.namespaces {
		n := 0
		for _, path := range paths {
			kind := kindOfList(path)
			for _, key := range keys {
				id := key
				if kind == recordSnapshot {
					id = path[len(path)-1] + "/" + key
				}
				if m.live[liveKey(kind, ns.name, id)] {
					n++
				}
			}
		}
		if n > most {
			best, most = ns.name, n
		}
	}
	return best
}

// confirmed says which kinds of records a list holds for sure: one of its names
// is still listed as such, or leads to such a record.
func (m *remnants) confirmed(r *record) map[string]bool {
	out := map[string]bool{}
	for key, kv := range r.buckets {
		for _, kind := range []string{recordContainer, recordImage, recordBlob} {
			out[kind] = out[kind] || m.live[liveKey(kind, "", key)]
		}
		out[recordSnapshot] = out[recordSnapshot] || m.live[liveKey(recordSnapshot, "", key)]
		if b, err := kv.Bucket(); err == nil {
			if kind := shapeOf(readRecord(b)); kind != "" && (kind != recordContainer && kind != recordSandbox || oci.IsHex64(key) || containerID(readRecord(b)) == key) {
				out[kind] = true
			}
		}
	}
	return out
}

// isNamespace says whether a page is that of a namespace: its keys are the kinds
// of objects. It is no list of them, whatever an old page above it says.
func isNamespace(r *record) bool {
	for key := range r.buckets {
		switch key {
		case bucketContainers, bucketImages, bucketSnapshots, bucketContent, bucketSandboxes, bucketLeases, bucketLabels:
		default:
			return false
		}
	}
	return true
}

// listed takes one element of a list: its name, and what it leads to if that is still a record.
func (m *remnants) listed(at place, key string, kv boltdb.KV) {
	if len(at.page.Paths) == 0 {
		at.page.Paths = [][]string{nil}
	}
	var child *record
	kind, shared := "", false
	if b, err := kv.Bucket(); err == nil {
		child = readRecord(b)
		kind, shared = shapeOf(child), b.InTree()
	}
	at.kv = &kv
	for _, path := range at.page.Paths {
		at.path = append(path[:len(path):len(path)], key)
		told := kindOfList(path)
		switch {
		case told != "" && told == kind:
			m.record(kind, at, child, shared)
		case told != "" && at.confirmed[told]: // the record's page holds something else by now
			m.record(told, at, nil, false)
		case kind != "" && kind != recordBackend:
			m.record(kind, at, child, shared)
		case told == "" && at.confirmed[recordContainer] && oci.IsHex64(key):
			// A list of containers, or of snapshots, which are called as their containers are.
			m.record(recordContainer, at, nil, false)
		}
	}
}

// kindOfList says what a bucket with the given path lists: core/metadata/buckets.go.
func kindOfList(path []string) string {
	n := len(path)
	switch {
	case n >= 1 && path[n-1] == bucketContainers:
		return recordContainer
	case n >= 1 && path[n-1] == bucketImages:
		return recordImage
	case n >= 1 && path[n-1] == bucketSandboxes:
		return recordSandbox
	case n >= 2 && path[n-2] == bucketSnapshots:
		return recordSnapshot
	case n >= 2 && path[n-1] == bucketBlob && path[n-2] == bucketContent:
		return recordBlob
	}
	return ""
}

// namespaceOf returns the namespace in a path, "" where it doesn't say. Lists of
// leases hold names of snapshots and content too, and are told apart by it.
func namespaceOf(path []string) string {
	if i := slices.Index(path, bucketVersion); i >= 0 && i+1 < len(path) {
		return path[i+1]
	}
	for i, name := range path {
		if i > 0 && (name == bucketContainers || name == bucketImages || name == bucketSnapshots || name == bucketContent || name == bucketSandboxes) {
			return path[i-1]
		}
	}
	return ""
}
