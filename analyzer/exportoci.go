package analyzer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/evidence/image"
	"lagan/export"
	"lagan/layers"
	"lagan/runtimes"
)

// ExportOCI writes the tree into a new folder as an OCI image layout: the layers
// of a container's image, and what the container changed as one more. A layer
// keeps its digest where its blob or tar-split is there and proves that the
// folder is what it was unpacked to; else the folder is packed anew, so that the
// image always holds what the disk does. @node and roots of one folder are one layer.
func (n *Node) ExportOCI(ctx context.Context, t *Tree, folder string, o ExportOptions) error {
	l, err := export.NewLayout(folder)
	if err != nil {
		return err
	}
	if err := n.pack(ctx, t, l, o); err != nil {
		return err
	}
	return l.Finish()
}

// ExportOCIArchive writes the layout of ExportOCI as a tar. It is put together in the temporary folder.
func (n *Node) ExportOCIArchive(ctx context.Context, t *Tree, w io.Writer, o ExportOptions) error {
	l, err := export.NewTempLayout(n.options.TempDir)
	if err != nil {
		return err
	}
	if err := n.pack(ctx, t, l, o); err != nil {
		return err
	}
	return l.Archive(w)
}

// pack fills a layout, or discards it.
func (n *Node) pack(ctx context.Context, t *Tree, l *export.Layout, o ExportOptions) error {
	p := &packer{n: n, ctx: ctx, t: t, o: o, layout: l, options: n.exportOptions(t, o)}
	if err := p.image(); err != nil {
		return errors.Join(err, l.Discard())
	}
	return nil
}

// packer writes one image.
type packer struct {
	n       *Node
	ctx     context.Context
	t       *Tree
	o       ExportOptions
	layout  *export.Layout
	options export.Options

	layers  []export.Descriptor
	diffIDs []string
	rebuilt []string // OLD=NEW
	lost    bool     // a layer that the configuration tells of was left out
}

func (p *packer) image() error {
	base, err := p.pack()
	if err != nil {
		return err
	}
	config, err := p.config(base)
	if err != nil {
		return err
	}
	d, err := p.layout.JSON(export.MediaTypeConfig, config)
	if err != nil {
		return err
	}
	about := map[string]string{}
	if len(p.rebuilt) > 0 {
		about["lagan.layers.rebuilt"] = strings.Join(p.rebuilt, ",")
	}
	return p.layout.Image(referenceOf(p.t.Name), d, p.layers, about)
}

// pack writes all layers and returns the image that they begin with, if it is known.
func (p *packer) pack() (*Image, error) {
	c, i := p.t.Container, p.t.Image
	switch {
	case p.o.Upper, c == nil && i == nil,
		c != nil && (c.Rootfs.Kind == runtimes.RootfsBind || c.Rootfs.Upper.Dir == ""),
		i != nil && i.Rootfs.Kind == runtimes.RootfsBind:
		s, err := p.n.exported(p.t, p.o)
		if err != nil {
			return nil, err
		}
		return nil, p.rebuild(s, "")
	case i != nil:
		r := i.Rootfs
		if r.Problem != nil || len(r.Lower) == 0 {
			r = i.ofBlobs()
		}
		return i, p.lower(i.store, r, r.Lower)
	}
	if err := p.lower(c.store, c.Rootfs, c.Rootfs.Lower[min(c.Rootfs.InitLayers, len(c.Rootfs.Lower)):]); err != nil {
		return nil, err
	}
	o := p.o
	o.Upper = true
	s, err := p.n.exported(p.t, o)
	if err != nil {
		return nil, err
	}
	for _, i := range p.n.Images() {
		if i.made(c) {
			return i, p.rebuild(s, "")
		}
	}
	return nil, p.rebuild(s, "")
}

// lower writes an image's layers, which are named uppermost first.
func (p *packer) lower(s Store, r runtimes.Rootfs, all []runtimes.Layer) error {
	for k := len(all) - 1; k >= 0; k-- {
		l := all[k]
		fsys, root, err := p.n.layerPlace(s, l, r)
		if err != nil {
			p.n.gap(s.Volume, p.t.Name, fmt.Errorf("layer %s is left out: %w", nameLayer(l, false).name, err))
			p.lost = true
			continue
		}
		done, err := p.exact(s, r, l, evidence.Sub(fsys, root))
		if err != nil {
			return err
		}
		if done {
			continue
		}
		view, _, err := p.n.stack(s, p.t.Name, r, all[k:], false)
		if err != nil {
			return err
		}
		source := export.Source{FS: view, Start: view.Root(), Upper: fsys}
		if err := p.rebuild(source, firstOf(l.DiffID, l.Key)); err != nil {
			return err
		}
	}
	return nil
}

// rebuild packs files as a layer of their own tar. old is the name of the layer
// that they are, if they are one.
func (p *packer) rebuild(s export.Source, old string) error {
	d, err := p.layout.Blob(export.MediaTypeLayer, func(w io.Writer) error { return export.Tar(p.ctx, w, s, p.options) }, nil)
	if err != nil {
		return err
	}
	if old != "" && old != d.Digest {
		p.rebuilt = append(p.rebuilt, old+"="+d.Digest)
	}
	p.add(d, d.Digest)
	return nil
}

func (p *packer) add(d export.Descriptor, diffID string) {
	p.layers, p.diffIDs = append(p.layers, d), append(p.diffIDs, diffID)
}

// exact writes the blob of a layer, or the tar that its tar-split gives, where it
// proves to be the layer and its folder to be what it unpacks to.
func (p *packer) exact(s Store, r runtimes.Rootfs, l runtimes.Layer, folder evidence.FS) (bool, error) {
	want, err := layers.ParseDigest(l.DiffID)
	if err != nil {
		return false, nil
	}
	o := layers.CompareOptions{Context: p.ctx, UserXattr: r.UserXattr, NoTrusted: p.n.hidesTrusted(), Pulled: pulledAt(l)}
	if shift := p.n.shiftOf(s, r); shift != nil {
		o.MapUID, o.MapGID = shift.uid, shift.gid
	}
	for _, b := range p.n.blobsOf(l) {
		if done, err := p.blob(b, l, want, folder, o); done || err != nil {
			return done, err
		}
	}
	if l.TarSplit == "" {
		return false, nil
	}
	split, err := openPath(s, l.TarSplit)
	if err != nil {
		return false, nil // verify tells of it
	}
	var found *layers.Split
	var compared error
	d, err := p.layout.Blob(export.MediaTypeLayer, func(w io.Writer) error {
		kept := &keepingWriter{w: w}
		o.Built = kept
		found, compared = layers.CompareSplit(contextReader{p.ctx, split}, folder, want, o)
		return errors.Join(kept.err, p.ctx.Err())
	}, func() bool { return compared == nil && found.DiffID == want && p.same(l.DiffID, found.Differences) })
	if err != nil || d.Digest == "" {
		return false, err
	}
	p.add(d, l.DiffID)
	return true, nil
}

// blob copies a blob while it is compared with the folder.
func (p *packer) blob(b layerBlob, l runtimes.Layer, want layers.Digest, folder evidence.FS, o layers.CompareOptions) (bool, error) {
	file, err := b.open()
	if err != nil {
		return false, nil // verify tells of it
	}
	defer file.Close()
	mediaType := map[layers.Compression]string{
		layers.Gzip: export.MediaTypeLayerGzip, layers.Zstd: export.MediaTypeLayerZstd, layers.Uncompressed: export.MediaTypeLayer,
	}[compressionOf(file)]
	var found *layers.Comparison
	var sums layers.Sums
	var failed error
	d, err := p.layout.Blob(mediaType, func(w io.Writer) error {
		kept := &keepingWriter{w: w}
		raw := io.TeeReader(contextReader{p.ctx, io.NewSectionReader(file, 0, file.Size())}, kept)
		sums, failed = layers.ReadBlob(raw, b.want, p.n.counted(l), func(tar io.Reader) (err error) {
			found, err = layers.CompareTar(tar, folder, o)
			return err
		})
		return errors.Join(kept.err, p.ctx.Err())
	}, func() bool { return failed == nil && sums.DiffID == want && p.same(want.String(), found.Differences) })
	if err != nil || d.Digest == "" {
		return false, err
	}
	p.add(d, want.String())
	return true, nil
}

func compressionOf(file image.Spooled) layers.Compression {
	head := make([]byte, 4)
	n, _ := file.ReadAt(head, 0)
	return layers.CompressionOf(head[:n])
}

// same says whether a folder is what its layer promises. That it isn't is a gap:
// the export then has another digest than the image.
func (p *packer) same(layer string, differences []layers.Difference) bool {
	if len(differences) == 0 {
		return true
	}
	p.n.gap(0, p.t.Name, fmt.Errorf("layer %s isn't what its digest promises in %d places, the first %q: it is exported as it is on the disk; `lagan verify` names them",
		layer, len(differences), differences[0].Path))
	return false
}

// keepingWriter keeps its writer's error, which a reader that copies to it forgets.
type keepingWriter struct {
	w   io.Writer
	err error
}

func (k *keepingWriter) Write(b []byte) (int, error) {
	if k.err == nil {
		_, k.err = k.w.Write(b)
	}
	return len(b), nil
}

// buildStep is one entry of a configuration's history: image-spec config.md.
type buildStep struct {
	Created   string `json:"created,omitempty"`
	CreatedBy string `json:"created_by"`
	Comment   string `json:"comment,omitempty"`
}

// config makes the configuration: the image's own, with the layers that were written.
func (p *packer) config(base *Image) (map[string]json.RawMessage, error) {
	config := make(map[string]json.RawMessage)
	if base != nil && base.Config != nil {
		if err := json.Unmarshal(base.Config, &config); err != nil {
			p.n.gap(base.store.Volume, base.DisplayName(), fmt.Errorf("its configuration is left out of the export: %w", err))
			clear(config)
		}
	}
	set := func(key string, v any) error {
		b, err := json.Marshal(v)
		config[key] = b
		return err
	}
	err := set("rootfs", map[string]any{"type": "layers", "diff_ids": p.diffIDs})
	if len(config["os"]) == 0 {
		err = errors.Join(err, set("os", "linux"))
	}
	if len(config["architecture"]) == 0 {
		err = errors.Join(err, set("architecture", p.architecture()))
	}
	return config, errors.Join(err, set("history", p.history(config["history"])))
}

// architecture is what the node's images were made for.
func (p *packer) architecture() string {
	for _, i := range p.n.Images() {
		if arch, _, _ := strings.Cut(i.Architecture, "/"); arch != "" {
			return arch
		}
	}
	return "amd64" // which a configuration has to name
}

// history is the image's own, as long as it tells of each layer, and the container's step.
func (p *packer) history(raw json.RawMessage) []json.RawMessage {
	var all []json.RawMessage
	told := 0
	if json.Unmarshal(raw, &all) != nil || p.lost {
		all = nil
	}
	for _, s := range all {
		var h struct {
			Empty bool `json:"empty_layer"`
		}
		if json.Unmarshal(s, &h) != nil {
			all, told = nil, 0
			break
		}
		if !h.Empty {
			told++
		}
	}
	c := p.t.Container
	if steps := len(p.layers) - told; told > 0 && (steps < 0 || steps > 1 || steps == 1 && c == nil) {
		all, told = nil, 0
	}
	for k := told; k < len(p.layers); k++ {
		s := buildStep{CreatedBy: "lagan export " + p.t.Name}
		if c != nil && k == len(p.layers)-1 {
			s.Comment = cmp.Or(c.ID, c.Name)
			if !c.Created.IsZero() {
				s.Created = c.Created.UTC().Format(time.RFC3339Nano)
			}
		}
		b, err := json.Marshal(s)
		if err != nil {
			continue // a struct of texts has no such error
		}
		all = append(all, b)
	}
	return slices.Clip(all)
}

var notReference = regexp.MustCompile(`[^a-z0-9]+`)

// referenceOf names an exported image so that it is never taken for the original:
// the name of a repository as distribution's reference grammar has it.
func referenceOf(name string) string {
	return "localhost/lagan/" + cmp.Or(strings.Trim(notReference.ReplaceAllString(strings.ToLower(name), "-"), "-"), "export") + ":latest"
}
