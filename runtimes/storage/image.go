package storage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// Images yields every image of every driver's store, in the order of images.json.
func (s *Store) Images() iter.Seq2[runtimes.Image, error] {
	return func(yield func(runtimes.Image, error) bool) {
		runtime := s.Runtime() // loads
		for _, err := range s.problems {
			if !yield(runtimes.Image{}, err) {
				return
			}
		}
		for _, d := range s.drivers {
			for i := range d.images {
				img, err := s.image(d, &d.images[i], runtime)
				if !yield(img, nil) || err != nil && !yield(runtimes.Image{}, fmt.Errorf("image %s: %w", d.images[i].ID, err)) {
					return
				}
			}
		}
	}
}

func (s *Store) image(d *driver, ij *imageJSON, runtime runtimes.Name) (runtimes.Image, error) {
	img := runtimes.Image{Runtime: runtime, StorePath: s.root, ID: ij.ID, Names: ij.Names, NamesHistory: ij.History, Digest: ij.Digest, Size: -1}
	if oci.IsHex64(ij.ID) {
		img.ID = "sha256:" + ij.ID
	}
	img.Documents = s.documents(d, ij, img.ID)
	var failed []error
	raw, err := s.bigData(d, ij.ID, img.ID)
	if err == nil {
		if oci.Digest(raw) != img.ID {
			failed = append(failed, fmt.Errorf("its configuration has the digest %s: %w", oci.Digest(raw), evidence.ErrCorrupt))
		}
		err = oci.Configure(&img, raw)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	if img.Created.IsZero() {
		img.Created = oci.Time(ij.Created)
	}
	if ij.Layer == "" {
		img.Size = 0 // a manifest list, or an image FROM scratch
		return img, errors.Join(failed...)
	}
	chain, err := d.chain(ij.Layer)
	img.Rootfs = s.stack(d, chain, err)
	if len(chain) > 0 {
		img.Pulled = oci.Time(chain[0].Created) // when the uppermost layer was made
		img.Size = 0
	}
	for _, l := range chain {
		if l.DiffSize == nil || *l.DiffSize < 0 || img.Size < 0 || err != nil {
			img.Size = -1
			break
		}
		img.Size += *l.DiffSize
	}
	return img, errors.Join(failed...)
}

// bigData reads a document of an image.
func (s *Store) bigData(d *driver, id, key string) ([]byte, error) {
	if !folderName(id) {
		return nil, fmt.Errorf("id %q names no folder: %w", id, evidence.ErrCorrupt)
	}
	return evidence.ReadFile(s.fsys, s.node, s.bigDataPath(d, id, key), maxConfig)
}

func (s *Store) bigDataPath(d *driver, id, key string) string {
	return join(s.root, d.name+imagesDir+"/"+id+"/"+dataName(key))
}

// dataName names the file of a document of an image or a layer: by the key
// itself where that holds only letters, digits and dots, else by "=" and the key
// in base64: store.go, makeBigDataBaseName.
func dataName(key string) string {
	if !strings.ContainsFunc(key, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' }) {
		return key
	}
	return "=" + base64.StdEncoding.EncodeToString([]byte(key))
}

// documents names the files in an image's own folder, with what images.json says
// of them.
func (s *Store) documents(d *driver, ij *imageJSON, config string) []runtimes.Blob {
	if !folderName(ij.ID) {
		return nil
	}
	var out []runtimes.Blob
	for _, key := range slices.Sorted(maps.Keys(ij.DataDigests)) {
		b := runtimes.Blob{Digest: ij.DataDigests[key], Size: -1, Path: s.bigDataPath(d, ij.ID, key)}
		if size, ok := ij.DataSizes[key]; ok {
			b.Size = size
		}
		switch {
		case key == config:
			b.Kind, b.Digest = "config", config
		case key == "manifest", strings.HasPrefix(key, "manifest-"):
			b.Kind = "manifest"
		default:
			b.Kind, _, _ = strings.Cut(key, "-")
		}
		out = append(out, b)
	}
	return out
}

// Snapshots yields every layer of every driver's store: active where it is a
// container's own, else committed.
func (s *Store) Snapshots() iter.Seq2[runtimes.Snapshot, error] {
	return func(yield func(runtimes.Snapshot, error) bool) {
		runtime := s.Runtime() // loads
		for _, err := range s.problems {
			if !yield(runtimes.Snapshot{}, err) {
				return
			}
		}
		for _, d := range s.drivers {
			for _, id := range d.order {
				l := d.layers[id]
				if l.store != s.root {
					continue
				}
				out := runtimes.Snapshot{Runtime: runtime, Snapshotter: d.name, StorePath: s.root, ID: id, Key: id,
					Name: firstOf(l.chain, id), Parent: l.Parent, Kind: "committed", Created: oci.Time(l.Created),
					Size: -1, Inodes: -1, Dir: s.layerOf(d, l).Dir}
				if l.DiffSize != nil {
					out.Size = *l.DiffSize
				}
				if holder := d.holders[id]; holder != "" {
					out.Kind, out.Name = "active", holder
				}
				if !yield(out, nil) {
					return
				}
			}
		}
	}
}
