package lvm

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"lagan/evidence"
	"lagan/evidence/volume/thin"
	"lagan/internal/piece"
)

// Pool is a thin pool that has devices beside LVM's own: those of a container
// runtime that was given the pool.
type Pool struct {
	Group, Name string
	*thin.Pool
}

// thin maps the segment of a thin volume.
func (g *volumeGroup) thin(s *group, above []string) (func(int64) (piece.Extent, error), error) {
	pool, err := g.pool(s.text("thin_pool"), above)
	if err != nil {
		return nil, fmt.Errorf("pool %q: %w", s.text("thin_pool"), err)
	}
	device := s.number("device_id", 24)
	if device < 0 {
		return nil, fmt.Errorf("no device_id: %w", evidence.ErrCorrupt)
	}
	var origin *mapping
	if name := s.text("external_origin"); name != "" {
		if origin, err = g.open(name, above); err != nil {
			return nil, fmt.Errorf("external origin %q: %w", name, err)
		}
	}
	m, err := pool.Map(uint64(device))
	switch {
	case errors.Is(err, fs.ErrNotExist): // never written to
		return func(off int64) (piece.Extent, error) { return below(origin, off, math.MaxInt64-off), nil }, nil
	case err != nil:
		return nil, err
	}
	return func(off int64) (piece.Extent, error) {
		e, mapped, err := m.Locate(off)
		if err == nil && !mapped {
			e = below(origin, off, e.Len)
		}
		return e, err
	}, nil
}

// below is what a thin volume doesn't have itself.
func below(origin *mapping, off, length int64) piece.Extent {
	if origin == nil || off >= origin.size {
		return piece.Extent{Len: length}
	}
	return piece.Extent{Len: min(length, origin.size-off), From: origin, Off: off}
}

// pool opens a thin pool once for all volumes in it.
func (g *volumeGroup) pool(name string, above []string) (*thin.Pool, error) {
	if p := g.pools[name]; p != nil {
		return p, nil
	}
	s := g.text.sub("logical_volumes").sub(name).sub("segment1")
	if s.text("type") != "thin-pool" {
		return nil, fmt.Errorf("no thin pool: %w", evidence.ErrCorrupt)
	}
	meta, err := g.open(s.text("metadata"), above)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	data, err := g.open(s.text("pool"), above)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	p, err := thin.Open(g.name+"/"+name, meta, data, g.warn)
	if err != nil {
		return nil, err
	}
	g.pools[name] = p
	return p, nil
}

// thinPools opens the group's pools. One that can't be opened is told of, where
// no volume in it tells.
func (g *volumeGroup) thinPools() []Pool {
	var out []Pool
	lvs := g.text.sub("logical_volumes")
	used := make(map[string]bool)
	for _, name := range lvs.order {
		used[lvs.groups[name].sub("segment1").text("thin_pool")] = true
	}
	for _, name := range lvs.order {
		if g.kind(lvs.groups[name]) != "thin-pool" {
			continue
		}
		p, err := g.pool(name, nil)
		if err != nil {
			if !used[name] {
				g.warn(fmt.Errorf("lvm: thin pool %s/%s: %w", g.name, name, err))
			}
			continue
		}
		out = append(out, Pool{g.name, name, p})
	}
	return out
}
