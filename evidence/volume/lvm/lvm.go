// Package lvm reads LVM2 volume groups from their physical volumes: linear and
// striped logical volumes, the legs of mirrors and of RAID 1, RAID 0, and thin
// volumes by their pool's metadata.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the disk;
// fuzzed. What can't be read is told by name: a missing physical volume, RAID
// with parity, a cache, VDO, old snapshots.
package lvm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// Device is a physical volume: a partition, a disk, an array.
type Device interface {
	io.ReaderAt
	Size() int64
}

// LV is a logical volume. ReadAt may be called from several goroutines.
type LV struct {
	Group string // name of the volume group
	Name  string
	UUID  string // as LVM writes it
	Kind  string // type of its segments: linear, striped, mirror, raid1, thin, ...
	// Origin is the name of the thin volume that this one is a snapshot of, or "".
	Origin string
	size   int64
	read   piece.Reader
}

// isSnapshot is 1 for a snapshot: it has the same filesystem as its origin,
// which a mount table means, and goes behind it.
func (v *LV) isSnapshot() int {
	if v.Origin != "" {
		return 1
	}
	return 0
}

// Size returns the number of bytes of the volume.
func (v *LV) Size() int64 { return v.size }

// ReadAt implements io.ReaderAt.
func (v *LV) ReadAt(p []byte, off int64) (int, error) { return piece.ReadAt(p, off, v.size, v.read) }

// Open returns the logical volumes of all groups that the devices belong to,
// by group and name, snapshots last, without those that LVM hides, and the
// groups' thin pools. What can't be read is told to warn.
func Open(devices []Device, warn func(error)) ([]*LV, []Pool) {
	if warn == nil {
		warn = func(error) {}
	}
	groups := map[string]*volumeGroup{} // by id
	byUUID := map[string]*pv{}
	for i, d := range devices {
		p, err := readPV(d, warn)
		if err != nil {
			warn(fmt.Errorf("lvm: device %d: %w", i+1, err))
			continue
		}
		if byUUID[p.uuid] != nil {
			warn(fmt.Errorf("lvm: two devices are physical volume %s: the first is used: %w", dashed(p.uuid), evidence.ErrCorrupt))
			continue
		}
		byUUID[p.uuid] = p
		g, err := p.readGroup(warn)
		if err != nil {
			warn(fmt.Errorf("lvm: physical volume %s: %w", dashed(p.uuid), err))
			continue
		}
		// The copy that was written last counts.
		if g != nil && (groups[g.id] == nil || g.sequence > groups[g.id].sequence) {
			groups[g.id] = g
		}
	}
	var out []*LV
	var pools []Pool
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		g := groups[id]
		g.devices, g.warn = byUUID, warn
		out = append(out, g.volumes()...)
		pools = append(pools, g.thinPools()...)
	}
	slices.SortFunc(out, func(a, b *LV) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), a.isSnapshot()-b.isSnapshot(), strings.Compare(a.Name, b.Name))
	})
	return out, pools
}

// pv is a physical volume.
type pv struct {
	Device
	uuid  string // without dashes
	areas []area // of metadata
}

type area struct{ off, size int64 }

// readPV reads the label and pv_header.
func readPV(d Device, warn func(error)) (*pv, error) {
	b := make([]byte, labelSectors*sector)
	if n, err := d.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	} else if b = b[:n]; n < sector {
		return nil, evidence.ErrFormat
	}
	for off := 0; off+sector <= len(b); off += sector {
		s := b[off : off+sector]
		if string(s[:8]) != labelID || string(s[24:32]) != labelType {
			continue
		}
		if crc(s[offLabelArea:]) != binary.LittleEndian.Uint32(s[offLabelCRC:]) {
			warn(fmt.Errorf("lvm: label at offset %#x: wrong checksum: %w", off, evidence.ErrCorrupt))
		}
		c := bin.LE(s)
		c.Seek(int(binary.LittleEndian.Uint32(s[offLabelArea:]) & 0xffff))
		p := &pv{Device: d, uuid: string(c.Bytes(pvUUIDSize))}
		c.Skip(8)    // device_size_xl
		readAreas(c) // data
		p.areas = readAreas(c)
		if c.Err() != nil {
			return nil, fmt.Errorf("label at offset %#x: %w: %w", off, evidence.ErrCorrupt, c.Err())
		}
		return p, nil
	}
	return nil, fmt.Errorf("no label: %w", evidence.ErrFormat)
}

// readAreas reads a list of disk_locn, which one of zeros ends.
func readAreas(c *bin.Cursor) []area {
	var out []area
	for range maxAreas {
		a := area{int64(c.U64()), int64(c.U64())}
		if a == (area{}) {
			break
		}
		out = append(out, a)
	}
	return out
}

// crc is LVM's CRC-32: not the usual start, and not inverted.
func crc(b []byte) uint32 { return ^crc32.Update(^uint32(initialCRC), crc32.IEEETable, b) }

// readGroup reads the volume group's text from the first metadata area that has
// a good one; nil for a physical volume without any.
func (p *pv) readGroup(warn func(error)) (*volumeGroup, error) {
	var failed error
	for _, a := range p.areas {
		text, err := p.readText(a, warn)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if text == "" {
			continue
		}
		g, err := parseGroup(text)
		if err == nil {
			return g, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// readText returns the text that an area's header points to: it may go on at
// the area's start, behind the header.
func (p *pv) readText(a area, warn func(error)) (string, error) {
	h := make([]byte, mdaHeaderSize)
	if a.off < 0 || a.size < mdaHeaderSize {
		return "", fmt.Errorf("metadata area at offset %#x: %w", uint64(a.off), evidence.ErrCorrupt)
	}
	if err := piece.Full(p, h, a.off); err != nil {
		return "", fmt.Errorf("metadata area at offset %#x: %w: %w", a.off, evidence.ErrCorrupt, err)
	}
	if string(h[4:20]) != mdaMagic {
		return "", fmt.Errorf("metadata area at offset %#x: no magic: %w", a.off, evidence.ErrCorrupt)
	}
	if crc(h[4:]) != binary.LittleEndian.Uint32(h) {
		warn(fmt.Errorf("lvm: metadata area at offset %#x: wrong checksum: %w", a.off, evidence.ErrCorrupt))
	}
	c := bin.LE(h)
	c.Seek(20 + 4 + 8) // checksum, magic, version, start
	size := int64(c.U64())
	off, length := int64(c.U64()), int64(c.U64())
	sum, flags := c.U32(), c.U32()
	if length == 0 || flags&rawIgnored != 0 {
		return "", nil
	}
	if off < mdaHeaderSize || off >= size || length < 0 || length > size-mdaHeaderSize || length > maxMetadata {
		return "", fmt.Errorf("metadata area at offset %#x: text of %#x bytes at %#x: %w", a.off, length, off, evidence.ErrCorrupt)
	}
	text := make([]byte, length)
	first := min(length, size-off)
	if err := piece.Full(p, text[:first], a.off+off); err != nil {
		return "", fmt.Errorf("metadata text at offset %#x: %w: %w", a.off+off, evidence.ErrCorrupt, err)
	}
	if err := piece.Full(p, text[first:], a.off+mdaHeaderSize); err != nil {
		return "", fmt.Errorf("metadata text at offset %#x: %w: %w", a.off+mdaHeaderSize, evidence.ErrCorrupt, err)
	}
	if crc(text) != sum {
		warn(fmt.Errorf("lvm: metadata text at offset %#x: wrong checksum: %w", a.off+off, evidence.ErrCorrupt))
	}
	return string(bytes.TrimRight(text, "\x00")), nil
}

// dashed writes an id as LVM does: six characters, five times four, six.
func dashed(id string) string {
	if len(id) != pvUUIDSize {
		return id
	}
	return strings.Join([]string{id[:6], id[6:10], id[10:14], id[14:18], id[18:22], id[22:26], id[26:]}, "-")
}
