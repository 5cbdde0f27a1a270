package containerd

import (
	"cmp"
	"slices"
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// maxManifests bounds the manifests of one index that are looked at; official images have some thirty.
const maxManifests = 256

// labelUnpacked, with a snapshotter's name behind it, is on a configuration whose
// layers were unpacked, and names the uppermost snapshot: core/unpack/unpacker.go.
const labelUnpacked = "containerd.io/gc.ref.snapshot."

// candidate is a manifest of an index that is on the disk.
type candidate struct {
	digest   string
	manifest manifest
	// rank is what speaks for it.
	config   bool // its configuration is there
	unpacked bool // so are its layers, as snapshots
	native   bool // it is for the node's architecture
	strange  bool // it is for another operating system than Linux
}

func (c *candidate) rank() int {
	n := 0
	for i, yes := range []bool{!c.strange, c.native, c.config, c.unpacked} {
		if yes {
			n |= 1 << i
		}
	}
	return n
}

// choose returns the manifest of an index that containers were made from, nil
// where none is there: one that was unpacked, as labels say, before one that has its
// configuration, before one for the node's architecture, as containerd would
// choose (core/images/image.go, Manifest). Equals stand in the index's order.
func (s *Store) choose(ns *namespace, c *content, manifests []descriptor) *candidate {
	var all []candidate
	for _, d := range manifests[:min(len(manifests), maxManifests)] {
		if d.Platform.OS == "unknown" {
			continue // an attestation, not an image: BuildKit docs/attestations/attestation-storage.md
		}
		b, err := s.blob(d.Digest, maxManifest)
		if err != nil {
			continue
		}
		next := candidate{digest: d.Digest}
		if oci.Decode(b, &next.manifest) != nil {
			continue
		}
		_, err = s.blob(next.manifest.Config.Digest, maxConfig)
		next.config = err == nil
		next.unpacked = s.unpackedConfig(ns, next.manifest.Config.Digest)
		next.native = s.architecture != "" && d.Platform.Architecture == s.architecture
		next.strange = d.Platform.OS != "" && d.Platform.OS != "linux"
		all = append(all, next)
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.rank(), a.rank()) })
	if len(all) == 0 {
		return nil
	}
	for _, rest := range all[1:] {
		if top := s.topOf(rest.manifest.Config.Digest); rest.config && top != "" {
			c.others = append(c.others, other{rest.manifest.Config.Digest, top})
		}
	}
	return &all[0]
}

// wanted names the manifest that the node would have needed, for what says that it is missing.
func (s *Store) wanted(manifests []descriptor) string {
	for _, d := range manifests {
		if d.Platform.Architecture == s.architecture && s.architecture != "" && d.Platform.OS == "linux" {
			return ", nor " + d.Digest + " for " + s.architecture
		}
	}
	return ""
}

// unpackedConfig says whether the labels of a configuration name a snapshot.
func (s *Store) unpackedConfig(ns *namespace, digest string) bool {
	if ns.bucket == nil {
		return false
	}
	b, err := ns.bucket.Bucket(bucketContent)
	if err == nil {
		b, err = b.Bucket(bucketBlob)
	}
	if err == nil {
		b, err = b.Bucket(digest)
	}
	if err != nil {
		return false // a record that can't be read is told where contents are listed
	}
	for name := range readRecord(b).texts(bucketLabels) {
		if strings.HasPrefix(name, labelUnpacked) {
			return true
		}
	}
	return false
}

// topOf returns the chain id of the uppermost layer that a configuration has.
func (s *Store) topOf(config string) string {
	raw, err := s.blob(config, maxConfig)
	if err != nil {
		return ""
	}
	var img runtimes.Image
	if oci.Configure(&img, raw) != nil || len(img.Layers) == 0 {
		return ""
	}
	chains := oci.ChainIDs(img.Layers)
	return chains[len(chains)-1]
}

// configOf returns the configuration that a container was made from: that of the
// image, or of another platform's manifest whose uppermost layer is below the
// container's snapshot.
func (s *Store) configOf(ns *namespace, img *image, snapshotter, key string) string {
	if len(img.content.others) == 0 {
		return img.content.config
	}
	meta := ns.snapshots[snapshotter][key]
	for range maxChain {
		if meta == nil {
			break
		}
		for _, o := range img.content.others {
			if o.top == meta.parent {
				return o.config
			}
		}
		meta = ns.snapshots[snapshotter][meta.parent]
	}
	return img.content.config
}
