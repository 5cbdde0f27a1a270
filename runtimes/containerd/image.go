package containerd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// image is one name of meta.db with what it leads to.
type image struct {
	name             string
	digest           string // of the target
	created, updated time.Time
	labels           map[string]string
	content          *content
	err              error
}

// content is what a target digest leads to in the content store. It is shared
// by all names of one target.
type content struct {
	manifest string // digest
	config   string // digest
	packed   int64  // sum of the layers' compressed sizes, -1 unknown
	docs     []runtimes.Blob
	layers   []descriptor
	image    runtimes.Image
	errs     []error
	others   []other // further manifests of the index that are on the disk
}

// other is a manifest of an index that was not taken, and its configuration.
type other struct{ config, top string }

// manifest is an image manifest or index: image-spec manifest.md and
// image-index.md, and Docker's schema 2 of both.
type manifest struct {
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	Platform  struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	} `json:"platform"`
}

// readImages reads a namespace's images and what their targets lead to.
func (s *Store) readImages(ns *namespace) {
	known := make(map[string]*content)
	for name, b := range s.children(ns.bucket, bucketImages) {
		r := readRecord(b)
		target := r.sub(bucketTarget)
		img := &image{
			name: name, digest: target.text(keyDigest), labels: r.texts(bucketLabels),
			created: decoded(r, keyCreated, decodeTime), updated: decoded(r, keyUpdated, decodeTime),
		}
		s.mediaTypes[img.digest] = target.text(keyMediaType)
		r.errs = append(r.errs, target.errs...)
		img.err = r.err("image", ns.name, name)
		c := known[img.digest]
		if c == nil {
			c = s.readContent(ns, img.digest)
			known[img.digest] = c
			for i, chain := range oci.ChainIDs(c.image.Layers) {
				ns.diffIDs[chain] = c.image.Layers[i]
			}
		}
		img.content = c
		ns.images = append(ns.images, img)
		ns.byName[name] = img
	}
}

// blob returns a blob of the content store, after comparing it with its digest.
func (s *Store) blob(digest string, limit int64) ([]byte, error) {
	if !oci.IsSHA256(digest) {
		return nil, fmt.Errorf("blob %q: digest: %w", digest, evidence.ErrUnsupported)
	}
	path := join(s.root, s.layout.blobs()+"/sha256/"+strings.TrimPrefix(digest, "sha256:"))
	return evidence.ReadFile(s.fsys, s.node, path, limit)
}

// named gives a blob that a document names, with its path where it is on the disk.
func (s *Store) named(kind, digest string, size int64) runtimes.Blob {
	b := runtimes.Blob{Kind: kind, Digest: digest, Size: size}
	algorithm, hexed, _ := strings.Cut(digest, ":")
	path := join(s.root, s.layout.blobs()+"/"+algorithm+"/"+hexed)
	if blobName(algorithm) && blobName(hexed) {
		if _, err := evidence.Resolve(s.fsys, s.node, path, true); err == nil {
			b.Path = path
		}
	}
	return b
}

// blobName says whether s may name a file or folder of the content store.
func blobName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// document reads a JSON blob. One that differs from its digest is read all the same, and said.
func (s *Store) document(c *content, digest string, limit int64, v any) []byte {
	b, err := s.blob(digest, limit)
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("blob %s: %w", digest, err))
		return nil
	}
	if oci.Digest(b) != digest {
		c.errs = append(c.errs, fmt.Errorf("blob %s: its content has the digest %s: %w", digest, oci.Digest(b), evidence.ErrCorrupt))
	}
	if v != nil {
		if err := oci.Decode(b, v); err != nil {
			c.errs = append(c.errs, fmt.Errorf("blob %s: %w", digest, err))
		}
	}
	return b
}

// readContent follows a target to the image's configuration. Of an index it
// takes the manifest that choose finds.
func (s *Store) readContent(ns *namespace, target string) *content {
	c := &content{packed: -1}
	var m manifest
	c.docs = append(c.docs, s.named("manifest", target, -1))
	if s.document(c, target, maxManifest, &m) == nil {
		return c
	}
	c.manifest = target
	s.noteTypes(&m)
	if m.Config.Digest == "" && len(m.Manifests) > 0 {
		list := m.Manifests
		c.docs[0].Kind = "index"
		chosen := s.choose(ns, c, list)
		if chosen == nil {
			c.errs = append(c.errs, fmt.Errorf("index %s: none of its %d manifests is in the content store%s: %w", target, len(list), s.wanted(list), fs.ErrNotExist))
			return c
		}
		m, c.manifest = chosen.manifest, chosen.digest
		c.docs = append(c.docs, s.named("manifest", chosen.digest, -1))
	}
	c.config = m.Config.Digest
	c.docs = append(c.docs, s.named("config", c.config, m.Config.Size))
	c.layers = m.Layers
	c.packed = 0
	for _, l := range m.Layers {
		c.packed += max(l.Size, 0)
	}
	if raw := s.document(c, c.config, maxConfig, nil); raw != nil {
		if err := oci.Configure(&c.image, raw); err != nil {
			c.errs = append(c.errs, fmt.Errorf("configuration %s: %w", c.config, err))
		}
	}
	return c
}

// noteTypes keeps what a manifest or index says of the types of blobs.
func (s *Store) noteTypes(m *manifest) {
	s.mediaTypes[m.Config.Digest] = m.Config.MediaType
	for _, list := range [][]descriptor{m.Layers, m.Manifests} {
		for _, d := range list {
			s.mediaTypes[d.Digest] = d.MediaType
		}
	}
	delete(s.mediaTypes, "")
}

// group is all names of one image: same namespace, target and configuration.
func groups(images []*image) [][]*image {
	by := make(map[string][]*image)
	for _, img := range images {
		by[img.digest] = append(by[img.digest], img)
	}
	var out [][]*image
	for _, digest := range slices.Sorted(maps.Keys(by)) {
		g := by[digest]
		slices.SortFunc(g, func(a, b *image) int {
			return cmp.Or(cmp.Compare(nameRank(a.name), nameRank(b.name)), strings.Compare(a.name, b.name))
		})
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b []*image) int { return strings.Compare(a[0].name, b[0].name) })
	return out
}

// nameRank puts tags before digests, and those before the CRI plugin's names of configurations.
func nameRank(name string) int {
	switch {
	case strings.HasPrefix(name, "sha256:"):
		return 2
	case strings.Contains(name, "@sha256:"):
		return 1
	}
	return 0
}

// Images yields one record for each image of each namespace, with all its names.
func (s *Store) Images() iter.Seq2[runtimes.Image, error] {
	return func(yield func(runtimes.Image, error) bool) {
		s.once.Do(s.load)
		for _, err := range s.problems {
			if !yield(runtimes.Image{}, err) {
				return
			}
		}
		for _, ns := range s.namespaces {
			for _, g := range groups(ns.images) {
				img, err := s.image(ns, g)
				if !yield(img, nil) || err != nil && !yield(runtimes.Image{}, err) {
					return
				}
			}
		}
	}
}

func (s *Store) image(ns *namespace, g []*image) (runtimes.Image, error) {
	c := g[0].content
	img := c.image
	img.Runtime, img.Namespace, img.StorePath = s.layout.Runtime, ns.name, s.root
	img.ID, img.Digest, img.Size = c.config, g[0].digest, c.packed
	img.Documents = c.docs
	if len(c.layers) == len(img.Layers) {
		for _, l := range c.layers {
			img.Blobs = append(img.Blobs, s.named("layer", l.Digest, l.Size))
		}
	}
	var failed []error
	for _, ref := range g {
		img.Names = append(img.Names, ref.name)
		img.References = append(img.References, runtimes.Reference{Name: ref.name, Created: ref.created, Updated: ref.updated, Labels: ref.labels})
		if !ref.created.IsZero() && (img.Pulled.IsZero() || ref.created.Before(img.Pulled)) {
			img.Pulled = ref.created
		}
		if ref.updated.After(img.Updated) {
			img.Updated = ref.updated
		}
		failed = append(failed, ref.err)
	}
	if chains := oci.ChainIDs(img.Layers); len(chains) > 0 {
		s.unpacked(ns, &img, chains[len(chains)-1])
	}
	if len(c.errs) > 0 {
		failed = append(failed, fmt.Errorf("image %q of namespace %q: %w", g[0].name, ns.name, errors.Join(c.errs...)))
	}
	return img, errors.Join(failed...)
}

// unpacked names the image's layers on the disk, if a snapshotter has them.
func (s *Store) unpacked(ns *namespace, img *runtimes.Image, top string) {
	for _, name := range slices.Sorted(maps.Keys(ns.snapshots)) {
		if ns.snapshots[name][top] == nil {
			continue
		}
		sn, be, err := s.find(ns, name, top)
		if err != nil {
			img.Rootfs.Problem = err
			continue
		}
		img.Rootfs = s.rootfs(ns, name, top)
		size := int64(0)
		chain, _ := sn.chain(be)
		for _, b := range chain {
			if b.size < 0 {
				return
			}
			size += b.size
		}
		img.Size = size
		return
	}
}
