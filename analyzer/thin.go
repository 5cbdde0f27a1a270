package analyzer

import (
	"errors"
	"fmt"
	"io/fs"

	"lagan/evidence/volume/thin"
	"lagan/runtimes"
)

// thinDevice opens a device of a thin pool: the pool of that name, the pool in
// the files that the store names, or the one of the disks that has the device.
func (n *Node) thinDevice(s Store, d *runtimes.ThinDevice) (*thin.Volume, error) {
	var failed error
	for _, p := range n.pools {
		if p.Name == d.Pool || p.Name+"-tpool" == d.Pool { // what LVM calls a pool beneath its volumes
			return p.Volume(uint64(d.ID), d.Size)
		}
	}
	for _, f := range d.Files {
		p, err := n.thinFiles(s, f)
		if err == nil {
			return p.Volume(uint64(d.ID), d.Size)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	for _, p := range n.pools {
		if p.Name != "" {
			continue
		}
		v, err := p.Volume(uint64(d.ID), d.Size)
		if err == nil {
			return v, nil
		}
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		failed = fmt.Errorf("no disk or file given has the thin pool %q; --disk adds its disks: %w", d.Pool, fs.ErrNotExist)
	}
	return nil, failed
}

// thinFiles opens the pool in two files, once.
func (n *Node) thinFiles(s Store, f runtimes.ThinFiles) (*thin.Pool, error) {
	key := layerKey{s.Volume, f.Metadata}
	if p := n.objects.thin[key]; p != nil {
		return p, nil
	}
	meta, err := openPath(s, f.Metadata)
	if err != nil {
		return nil, err
	}
	data, err := openPath(s, f.Data)
	if err != nil {
		return nil, err
	}
	p, err := thin.Open(f.Metadata, meta, data, func(err error) { n.gap(s.Volume, f.Metadata, err) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Metadata, err)
	}
	if n.objects.thin == nil {
		n.objects.thin = make(map[layerKey]*thin.Pool)
	}
	n.objects.thin[key] = p
	return p, nil
}
