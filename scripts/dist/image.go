package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The media types of the OCI image specification.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// image writes an OCI layout in a tar: an image from nothing, with the program
// and no shell, for each Linux.
func (r *releaseOf) image(binaries map[platform]string, licences []byte) error {
	layout := tree{"oci-layout": {mode: 0o644, content: []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
	blob := func(mediaType string, b []byte) descriptor {
		sum := sumBytes(b)
		layout["blobs/sha256/"+sum] = entry{mode: 0o644, content: b}
		return descriptor{MediaType: mediaType, Digest: "sha256:" + sum, Size: len(b)}
	}
	var manifests []descriptor
	for _, p := range platforms {
		if p.os != "linux" {
			continue
		}
		m, err := r.platformImage(p, binaries[p], licences, blob)
		if err != nil {
			return err
		}
		m.Platform = map[string]string{"os": p.os, "architecture": p.arch}
		manifests = append(manifests, m)
	}
	all, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": manifests})
	if err != nil {
		return err
	}
	named := blob(typeIndex, all)
	named.Annotations = map[string]string{"org.opencontainers.image.ref.name": "lagan:" + r.version}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{named}})
	if err != nil {
		return err
	}
	layout["index.json"] = entry{mode: 0o644, content: index}
	b, err := layout.tar("", r.at)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("lagan_%s_oci.tar", r.version)), b, 0o644)
}

func (r *releaseOf) platformImage(p platform, binary string, licences []byte, blob func(string, []byte) descriptor) (descriptor, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return descriptor{}, err
	}
	files := tree{"usr/bin/lagan": {mode: 0o755, content: program}, "tmp/.keep": {mode: 0o644}, "usr/share/doc/lagan/licences": {mode: 0o644, content: licences}}
	for _, name := range dropIns {
		files["usr/lib/lagan/"+name] = entry{target: "../../bin/lagan"}
	}
	layer, err := files.tar("", r.at)
	if err != nil {
		return descriptor{}, err
	}
	z, err := packed(layer)
	if err != nil {
		return descriptor{}, err
	}
	labels := map[string]string{
		"org.opencontainers.image.title": "lagan", "org.opencontainers.image.version": r.version,
		"org.opencontainers.image.revision": r.commit, "org.opencontainers.image.licenses": "Apache-2.0",
	}
	config, err := json.Marshal(map[string]any{
		"created": r.at.Format(time.RFC3339), "architecture": p.arch, "os": p.os,
		"config":  map[string]any{"Entrypoint": []string{"/usr/bin/lagan"}, "Env": []string{"PATH=/usr/bin:/usr/lib/lagan"}, "WorkingDir": "/", "Labels": labels},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sumBytes(layer)}},
		"history": []map[string]string{{"created": r.at.Format(time.RFC3339), "created_by": "scripts/dist"}},
	})
	if err != nil {
		return descriptor{}, err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": blob(typeConfig, config), "layers": []descriptor{blob(typeLayer, z)}, "annotations": labels,
	})
	if err != nil {
		return descriptor{}, err
	}
	return blob(typeManifest, manifest), nil
}
