package layers

import (
	"encoding/json"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"lagan/evidence"
)

// Manifest is what an image's manifest leads to. Docker's schema 2 has the same
// members as OCI's.
type Manifest struct {
	Config Digest
	Layers []Digest // packed, bottom first
}

// ParseManifest reads an image manifest. An index, a manifest list or Docker's
// schema 1 has no configuration and is evidence.ErrUnsupported.
func ParseManifest(raw []byte) (Manifest, error) {
	var doc v1.Manifest
	if err := json.Unmarshal(raw, &doc); err != nil {
		return Manifest{}, fmt.Errorf("decoding manifest: %w: %w", err, evidence.ErrCorrupt)
	}
	if doc.Config.Digest == "" {
		return Manifest{}, fmt.Errorf("manifest of type %q without a configuration: %w", doc.MediaType, evidence.ErrUnsupported)
	}
	config, err := ParseDigest(doc.Config.Digest.String())
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest's configuration: %w", err)
	}
	m := Manifest{Config: config}
	for i, l := range doc.Layers {
		d, err := ParseDigest(l.Digest.String())
		if err != nil {
			return m, fmt.Errorf("manifest's layer %d: %w", i, err)
		}
		m.Layers = append(m.Layers, d)
	}
	return m, nil
}
