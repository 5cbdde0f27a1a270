package lvm

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/evidence/volume/thin"
	"lagan/internal/piece"
)

// volumeGroup is a volume group as its text has it.
type volumeGroup struct {
	name     string
	id       string
	sequence int64
	extent   int64 // bytes
	text     *group

	devices map[string]*pv // of all groups, by id without dashes
	warn    func(error)
	pools   map[string]*thin.Pool
	opened  map[string]opened // logical volumes by name: each is mapped once
	missing map[string]bool   // names of physical volumes that were told of
}

// parseGroup finds the section of the group: the one that has physical volumes.
func parseGroup(text string) (*volumeGroup, error) {
	all, err := parseText(text)
	if err != nil {
		return nil, err
	}
	for _, name := range all.order {
		g := all.groups[name]
		if g.groups["physical_volumes"] == nil {
			continue
		}
		extent := g.number("extent_size", 40)
		if extent <= 0 || g.text("id") == "" {
			return nil, fmt.Errorf("volume group %q without id or size of extents: %w", name, evidence.ErrCorrupt)
		}
		return &volumeGroup{name: name, id: g.text("id"), sequence: g.number("seqno", 32), extent: extent * sector, text: g,
			pools: map[string]*thin.Pool{}, opened: map[string]opened{}, missing: map[string]bool{}}, nil
	}
	return nil, fmt.Errorf("text without a volume group: %w", evidence.ErrCorrupt)
}

// volumes opens the logical volumes that are not parts of others.
func (g *volumeGroup) volumes() []*LV {
	var out []*LV
	lvs := g.text.sub("logical_volumes")
	for _, name := range lvs.order {
		lv := lvs.groups[name]
		kind := g.kind(lv)
		if !lv.has("status", "VISIBLE") || kind == "thin-pool" || kind == "cache-pool" {
			continue
		}
		m, err := g.open(name, nil)
		if err != nil {
			g.warn(fmt.Errorf("lvm: logical volume %s/%s: %w", g.name, name, err))
			continue
		}
		v := &LV{Group: g.name, Name: name, UUID: lv.text("id"), Kind: kind, Origin: lv.sub("segment1").text("origin"), size: m.size}
		v.read = func(p []byte, off int64) (int, error) {
			n, err := piece.ReadExtents(p, off, m.locate)
			if err != nil {
				err = fmt.Errorf("lvm: %s/%s: %w", g.name, name, err)
			}
			return n, err
		}
		out = append(out, v)
	}
	return out
}

// kind names a logical volume by its first segment.
func (g *volumeGroup) kind(lv *group) string {
	s := lv.sub("segment1")
	if kind := s.text("type"); kind != "striped" || s.number("stripe_count", 31) != 1 {
		return kind
	}
	return "linear"
}

// mapping says where the bytes of a logical volume lie.
type mapping struct {
	size     int64
	segments []segment // by start
}

type segment struct {
	start, size int64
	locate      func(off int64) (piece.Extent, error) // off counts from start
}

func (m *mapping) locate(off int64) (piece.Extent, error) {
	i, ok := slices.BinarySearchFunc(m.segments, off, func(s segment, off int64) int {
		switch {
		case s.start > off:
			return 1
		case s.start+s.size <= off:
			return -1
		}
		return 0
	})
	if !ok {
		return piece.Extent{}, fmt.Errorf("offset %#x is in no segment: %w", off, evidence.ErrCorrupt)
	}
	s := m.segments[i]
	e, err := s.locate(off - s.start)
	e.Len = min(e.Len, s.size-(off-s.start))
	return e, err
}

// Size returns the number of bytes that are mapped.
func (m *mapping) Size() int64 { return m.size }

// ReadAt implements io.ReaderAt.
func (m *mapping) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAt(p, off, m.size, func(p []byte, off int64) (int, error) { return piece.ReadExtents(p, off, m.locate) })
}

// opened is a logical volume that was mapped, or why it couldn't be.
type opened struct {
	m   *mapping
	err error
}

// open maps a logical volume; above are the names of those that stand on it.
func (g *volumeGroup) open(name string, above []string) (*mapping, error) {
	if slices.Contains(above, name) || len(above) >= maxStack {
		return nil, fmt.Errorf("logical volume %q stands on itself: %w", name, evidence.ErrCorrupt)
	}
	o, ok := g.opened[name]
	if !ok {
		o.m, o.err = g.mapVolume(name, append(slices.Clone(above), name))
		g.opened[name] = o
	}
	return o.m, o.err
}

func (g *volumeGroup) mapVolume(name string, above []string) (*mapping, error) {
	lv := g.text.sub("logical_volumes").groups[name]
	if lv == nil {
		return nil, fmt.Errorf("no logical volume %q: %w", name, evidence.ErrCorrupt)
	}
	m := &mapping{}
	for _, n := range lv.order {
		s := lv.groups[n]
		if !strings.HasPrefix(n, "segment") {
			continue
		}
		start, count := s.number("start_extent", 40), s.number("extent_count", 40)
		if start < 0 || count <= 0 || start+count > math.MaxInt64/g.extent || len(m.segments) == maxSegments {
			return nil, fmt.Errorf("%s: from extent %d, %d of them: %w", n, start, count, evidence.ErrCorrupt)
		}
		locate, err := g.segment(s, count*g.extent, above)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		m.segments = append(m.segments, segment{start * g.extent, count * g.extent, locate})
		m.size = max(m.size, (start+count)*g.extent)
	}
	slices.SortFunc(m.segments, func(a, b segment) int { return int(min(max(a.start-b.start, -1), 1)) })
	for i, s := range m.segments {
		if i > 0 && m.segments[i-1].start+m.segments[i-1].size > s.start {
			return nil, fmt.Errorf("two segments have extent %d: %w", s.start/g.extent, evidence.ErrCorrupt)
		}
	}
	return m, nil
}

// segment maps one segment of size bytes by its type.
func (g *volumeGroup) segment(s *group, size int64, above []string) (func(int64) (piece.Extent, error), error) {
	switch kind := s.text("type"); kind {
	case "striped":
		legs, err := g.legs(s.values["stripes"], above)
		return g.striped(legs, s, err)
	case "raid0", "raid0_meta":
		images, err := g.images(s, above)
		return g.striped(images, s, err)
	case "mirror":
		legs, err := g.legs(s.values["mirrors"], above)
		return g.anyOf(legs, err)
	case "raid1":
		images, err := g.images(s, above)
		return g.anyOf(images, err)
	case "zero":
		return func(int64) (piece.Extent, error) { return piece.Extent{Len: size}, nil }, nil
	case "thin":
		return g.thin(s, above)
	default:
		return nil, fmt.Errorf("type %s: %w", kind, evidence.ErrUnsupported)
	}
}

// leg is a stretch of a physical or a logical volume.
type leg struct {
	from io.ReaderAt // nil where it is missing
	off  int64
	name string
}

// legs reads pairs of a name and an extent.
func (g *volumeGroup) legs(list []value, above []string) ([]leg, error) {
	if len(list) == 0 || len(list)%2 != 0 || len(list) > 2*maxStripes {
		return nil, fmt.Errorf("a list of %d stripes or legs: %w", len(list)/2, evidence.ErrCorrupt)
	}
	var out []leg
	for ; len(list) > 0; list = list[2:] {
		name, extent := list[0], list[1]
		if !name.isText || extent.isText || extent.number < 0 || extent.number > math.MaxInt64/2/g.extent {
			return nil, fmt.Errorf("a stripe that is no pair of name and extent: %w", evidence.ErrCorrupt)
		}
		l, err := g.leg(name.text, extent.number*g.extent, above)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// leg finds a name, of a physical volume or else a logical one.
func (g *volumeGroup) leg(name string, off int64, above []string) (leg, error) {
	p := g.text.sub("physical_volumes").groups[name]
	if p == nil {
		m, err := g.open(name, above)
		return leg{m, off, name}, err
	}
	start := p.number("pe_start", 50)
	if start < 0 {
		return leg{}, fmt.Errorf("physical volume %q without a start: %w", name, evidence.ErrCorrupt)
	}
	id := p.text("id")
	d := g.devices[strings.ReplaceAll(id, "-", "")]
	if d == nil {
		if !g.missing[name] {
			g.missing[name] = true
			g.warn(fmt.Errorf("lvm: volume group %s: physical volume %s (%s when it was last used) is not among the disks given: %w",
				g.name, id, p.text("device"), evidence.ErrUnsupported))
		}
		return leg{nil, 0, name}, nil
	}
	return leg{d, start*sector + off, name}, nil
}

// images returns the data parts of a RAID volume: named in pairs with those of
// its metadata, or alone.
func (g *volumeGroup) images(s *group, above []string) ([]leg, error) {
	names, step := s.values["raid0_lvs"], 1
	if names == nil {
		names, step = s.values["raids"], 2
	}
	if len(names) == 0 || len(names)%step != 0 || len(names) > 2*maxStripes {
		return nil, fmt.Errorf("a list of %d parts: %w", len(names), evidence.ErrCorrupt)
	}
	var out []leg
	for i := step - 1; i < len(names); i += step {
		m, err := g.open(names[i].text, above)
		if err != nil {
			return nil, err
		}
		out = append(out, leg{m, 0, names[i].text})
	}
	return out, nil
}

// read is an extent of a leg, or an error for one that is missing.
func (l leg) read(off, length int64) (piece.Extent, error) {
	if l.from == nil {
		return piece.Extent{}, fmt.Errorf("offset %#x of physical volume %s, which is missing: %w", off, l.name, evidence.ErrUnsupported)
	}
	return piece.Extent{Len: length, From: l.from, Off: l.off + off}, nil
}

// striped divides a segment between its legs, stripe_size at a time; one leg alone is linear.
func (g *volumeGroup) striped(legs []leg, s *group, err error) (func(int64) (piece.Extent, error), error) {
	if err != nil {
		return nil, err
	}
	n := int64(len(legs))
	if n == 1 {
		return func(off int64) (piece.Extent, error) { return legs[0].read(off, math.MaxInt64-off) }, nil
	}
	stripe := s.number("stripe_size", 40) * sector
	if stripe <= 0 {
		return nil, fmt.Errorf("stripes of no size: %w", evidence.ErrCorrupt)
	}
	return func(off int64) (piece.Extent, error) {
		i, within := off/stripe, off%stripe
		return legs[i%n].read(i/n*stripe+within, stripe-within)
	}, nil
}

// anyOf reads the first leg that is there: all have the same bytes, but for
// what was written in the moment of a crash.
func (g *volumeGroup) anyOf(legs []leg, err error) (func(int64) (piece.Extent, error), error) {
	if err != nil {
		return nil, err
	}
	return func(off int64) (piece.Extent, error) {
		var failed error
		for _, l := range legs {
			e, err := l.read(off, math.MaxInt64-off)
			if m, ok := l.from.(*mapping); ok && err == nil {
				// A part of the array: what it stands on may be missing.
				e, err = m.locate(l.off + off)
			}
			if err == nil {
				return e, nil
			}
			failed = errors.Join(failed, err)
		}
		return piece.Extent{}, failed
	}, nil
}
