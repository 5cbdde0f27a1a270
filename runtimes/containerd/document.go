package containerd

import (
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// Document understands the CRI plugin's status files, as they were before their
// containers' removal: the folder they stood in is called by the container.
func (s *Store) Document(path string, raw []byte) []runtimes.Remnant {
	rest, ok := strings.CutPrefix(path, join(s.root, criContainers)+"/")
	id, file, _ := strings.Cut(rest, "/")
	if !ok || !oci.IsHex64(id) || file != "status" && !strings.HasPrefix(file, ".tmp-status") {
		return nil
	}
	s.once.Do(s.load)
	for _, ns := range s.namespaces {
		if _, err := ns.bucket.Bucket(bucketContainers); err == nil && s.lists(ns, id) {
			return nil
		}
	}
	var st status
	if oci.Decode(raw, &st) != nil || st.CreatedAt == 0 {
		return nil
	}
	c := runtimes.Container{ID: id, Name: id, Kind: runtimes.KindContainer, Runtime: runtimes.Containerd, Namespace: "k8s.io", State: runtimes.StateUnknown, StorePath: s.root}
	applyStatus(&c, &st)
	c.Created = nanoseconds(st.CreatedAt)
	return []runtimes.Remnant{{Object: runtimes.ObjectContainer, Runtime: runtimes.Containerd, StorePath: s.root, Namespace: "k8s.io", ID: id, Container: &c,
		Existed: c.Created, Source: path, Place: "status file", Offset: -1, Sure: runtimes.Sure, Complete: true}}
}

// lists says whether a namespace lists a container.
func (s *Store) lists(ns *namespace, id string) bool {
	b, err := ns.bucket.Bucket(bucketContainers)
	if err != nil {
		return false
	}
	_, err = b.Find(id)
	return err == nil
}
