package containerd

import (
	"encoding/json"
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// Document understands the CRI plugin's status files, as they were before their
// containers' removal (the folder they stood in is called by the container), and the
// manifests and configurations of images that were removed.
func (s *Store) Document(path string, raw []byte) []runtimes.Remnant {
	if digest, ok := s.blobDigest(path); ok {
		return s.blobDocument(path, digest, raw)
	}
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
	c := runtimes.Container{ID: id, Name: id, Kind: runtimes.KindContainer, Runtime: s.layout.Runtime, Namespace: criNamespace, State: runtimes.StateUnknown, StorePath: s.root}
	applyStatus(&c, &st)
	c.Created = nanoseconds(st.CreatedAt)
	return []runtimes.Remnant{{Object: runtimes.ObjectContainer, Runtime: s.layout.Runtime, StorePath: s.root, Namespace: criNamespace, ID: id, Container: &c,
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

// blobDigest says which blob of the content store a path was of.
func (s *Store) blobDigest(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, join(s.root, s.layout.blobs())+"/sha256/")
	return "sha256:" + rest, ok && oci.IsHex64(rest)
}

// listsBlob says whether any namespace lists a blob.
func (s *Store) listsBlob(digest string) bool {
	for _, ns := range s.namespaces {
		content, err := ns.bucket.Bucket(bucketContent)
		if err != nil {
			continue
		}
		if blobs, err := content.Bucket(bucketBlob); err == nil {
			if _, err := blobs.Find(digest); err == nil {
				return true
			}
		}
	}
	return false
}

// Annotations of a manifest that name its image: image-spec's annotations.md, and
// containerd's core/images/annotations.go.
var nameAnnotations = []string{"io.containerd.image.name", "org.opencontainers.image.ref.name", "org.opencontainers.image.title"}

// blobDocument reads a manifest or configuration. Its digest proves it, whatever
// blocks it was read from.
func (s *Store) blobDocument(path, digest string, raw []byte) []runtimes.Remnant {
	s.once.Do(s.load)
	if oci.Digest(raw) != digest || s.meta != nil && s.listsBlob(digest) {
		return nil
	}
	var doc struct {
		manifest
		Annotations map[string]string `json:"annotations"`
		Rootfs      struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		return nil
	}
	img := runtimes.Image{Runtime: s.layout.Runtime, StorePath: s.root, Size: -1}
	r := runtimes.Remnant{Object: runtimes.ObjectImage, Runtime: s.layout.Runtime, StorePath: s.root, Image: &img, Source: path, Offset: -1,
		Sure: runtimes.Sure, Complete: true, Blobs: []string{digest}}
	switch {
	case doc.Config.Digest != "" && len(doc.Layers) > 0:
		r.Place, img.ID, img.Digest = "manifest", doc.Config.Digest, digest
	case len(doc.Rootfs.DiffIDs) > 0 && oci.Configure(&img, raw) == nil:
		r.Place, img.ID = "configuration", digest
	default:
		return nil
	}
	for _, k := range nameAnnotations {
		if name := doc.Annotations[k]; name != "" && r.Name == "" {
			r.Name, img.Names = name, []string{name}
		}
	}
	r.ID = img.ID
	return []runtimes.Remnant{r}
}
