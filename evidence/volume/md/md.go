// Package md reads Linux software RAID arrays with superblocks of version 1:
// linear, RAID 0, RAID 1, and RAID 10 of the near layout.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the disk;
// fuzzed. What can't be read is told by name: other levels, an array that is
// being reshaped, missing members of one that can't do without, superblocks of
// version 0.90.
package md

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// On-disk facts: include/uapi/linux/raid/md_p.h and drivers/md of Linux.
// Integers are little-endian, sizes count sectors.
const (
	sector = 512

	magic          = 0xa92b4efc
	superSize      = 256 // of mdp_superblock_1, before dev_roles
	offSum         = 216
	maxDevices     = 1920 // roles that fit into the superblock's 4 KiB (MD_SB_DISKS of mdadm's super1.c)
	roleSpare      = 0xffff
	roleFaulty     = 0xfffe
	featureRecover = 1 << 1 // MD_FEATURE_RECOVERY_OFFSET: the member isn't in sync yet
	featureReshape = 1 << 2 // MD_FEATURE_RESHAPE_ACTIVE

	levelLinear = -1
	levelRAID0  = 0
	levelRAID1  = 1
	levelRAID10 = 10

	layoutOriginal  = 1 // RAID0_ORIG_LAYOUT: the stripes of all zones count from the array's start
	layoutAlternate = 2 // RAID0_ALT_MULTIZONE_LAYOUT: from the zone's
)

// Device is what may be a member of an array: a partition, a disk.
type Device interface {
	io.ReaderAt
	Size() int64
}

// Array is a disk made of others. ReadAt may be called from several goroutines.
type Array struct {
	Name    string // host:name
	UUID    string // as mdadm writes it
	Level   string // linear, raid0, ...
	Members []int  // places in the list that Open was given
	size    int64
	locate  func(off int64) (piece.Extent, error)
}

// Size returns the number of bytes of the array.
func (a *Array) Size() int64 { return a.size }

// ReadAt implements io.ReaderAt.
func (a *Array) ReadAt(p []byte, off int64) (int, error) {
	return piece.ReadAt(p, off, a.size, func(p []byte, off int64) (int, error) { return piece.ReadExtents(p, off, a.locate) })
}

// member is a device with its superblock.
type member struct {
	Device
	place      int
	set        [16]byte
	name       string
	level      int32
	layout     uint32
	used       int64 // bytes of a member that an array of equal ones uses
	chunk      int64 // bytes
	disks      int
	dataOff    int64 // bytes
	dataSize   int64
	role       int
	events     uint64
	features   uint32
	recovering bool
}

// Open returns the arrays that the devices are members of, by name and UUID.
// Devices without a superblock are passed over. What can't be read is told to warn.
func Open(devices []Device, warn func(error)) []*Array {
	if warn == nil {
		warn = func(error) {}
	}
	sets := map[[16]byte][]*member{}
	for i, d := range devices {
		if m := readSuper(d, warn); m != nil {
			m.place = i
			sets[m.set] = append(sets[m.set], m)
		}
	}
	var out []*Array
	for _, members := range sets {
		a, err := assemble(members, warn)
		if err != nil {
			warn(fmt.Errorf("md: array %s (%s): %w", members[0].name, uuid(members[0].set), err))
			continue
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *Array) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.UUID, b.UUID)) })
	return out
}

// readSuper looks for a superblock at its three places: at the start (1.1), 4
// KiB behind it (1.2), 8 KiB before the end (1.0).
func readSuper(d Device, warn func(error)) *member {
	for _, off := range []int64{0, 4096, (d.Size()/sector - 16) &^ 7 * sector} {
		b := make([]byte, superSize+2*maxDevices)
		if off < 0 {
			continue
		}
		n, _ := d.ReadAt(b, off) // what can't be read is no superblock
		if b = b[:n]; n < superSize || binary.LittleEndian.Uint32(b) != magic || binary.LittleEndian.Uint32(b[4:]) != 1 {
			continue
		}
		m, err := parseSuper(b, off)
		if err != nil {
			warn(fmt.Errorf("md: superblock at offset %#x: %w", off, err))
			continue
		}
		if sum, ok := checksum(b); !ok {
			warn(fmt.Errorf("md: superblock at offset %#x: checksum %#x is wrong: %w", off, sum, evidence.ErrCorrupt))
		}
		m.Device = d
		return m
	}
	return nil
}

// parseSuper decodes a mdp_superblock_1 that stands at off.
func parseSuper(b []byte, off int64) (*member, error) {
	m := &member{}
	c := bin.LE(b)
	c.Skip(8) // magic, major_version
	m.features = c.U32()
	c.Skip(4)
	m.set = [16]byte(c.Bytes(16))
	name, _, _ := strings.Cut(string(c.Bytes(32)), "\x00")
	m.name = name
	c.Skip(8) // ctime
	m.level, m.layout = int32(c.U32()), c.U32()
	used, chunk, disks := c.U64(), c.U32(), c.U32()
	c.Seek(128)
	dataOff, dataSize, superOff := c.U64(), c.U64(), c.U64()
	c.Skip(8) // recovery_offset
	number := int(c.U32())
	c.Seek(200)
	m.events = c.U64()
	c.Seek(220)
	roles := int(c.U32())
	if int64(superOff) != off/sector {
		return nil, fmt.Errorf("it says that it stands in sector %d: %w", superOff, evidence.ErrCorrupt)
	}
	const most = 1 << 50 // sectors
	if used > most || dataOff > most || dataSize > most || disks == 0 || disks > maxDevices || chunk > 1<<21 {
		return nil, fmt.Errorf("%d disks, %d sectors from %d on, chunks of %d: %w", disks, dataSize, dataOff, chunk, evidence.ErrCorrupt)
	}
	m.used, m.chunk, m.disks = int64(used)*sector, int64(chunk)*sector, int(disks)
	m.dataOff, m.dataSize = int64(dataOff)*sector, int64(dataSize)*sector
	m.role = roleSpare
	if number >= 0 && number < min(roles, maxDevices) {
		c.Seek(superSize + 2*number)
		m.role = int(c.U16())
	}
	m.recovering = m.features&featureRecover != 0
	if c.Err() != nil {
		return nil, fmt.Errorf("%w: %w", evidence.ErrCorrupt, c.Err())
	}
	return m, nil
}

// checksum compares the sum of all words, with the carry added (calc_sb_1_csum).
func checksum(b []byte) (uint32, bool) {
	roles := binary.LittleEndian.Uint32(b[220:])
	n := superSize + 2*int(min(roles, maxDevices))
	if n > len(b) {
		return 0, false
	}
	var sum uint64
	for at := 0; at+4 <= n; at += 4 {
		if at != offSum {
			sum += uint64(binary.LittleEndian.Uint32(b[at:]))
		}
	}
	if n%4 == 2 {
		sum += uint64(binary.LittleEndian.Uint16(b[n-2:]))
	}
	got := binary.LittleEndian.Uint32(b[offSum:])
	return got, uint32(sum)+uint32(sum>>32) == got
}

func uuid(set [16]byte) string {
	return fmt.Sprintf("%x:%x:%x:%x", set[:4], set[4:8], set[8:12], set[12:])
}

// assemble puts members in their places. Of two with one role, and of all with
// an older number of events, the newer counts: the others were thrown out.
func assemble(members []*member, warn func(error)) (*Array, error) {
	newest := slices.MaxFunc(members, func(a, b *member) int { return cmp.Compare(a.events, b.events) })
	if newest.features&featureReshape != 0 {
		return nil, fmt.Errorf("it is being reshaped: %w", evidence.ErrUnsupported)
	}
	a := &Array{Name: newest.name, UUID: uuid(newest.set)}
	byRole := make([]*member, newest.disks)
	for _, m := range members {
		a.Members = append(a.Members, m.place)
		switch {
		case m.role >= len(byRole): // spare, faulty, journal
		case m.disks != newest.disks || m.level != newest.level || m.chunk != newest.chunk:
			warn(fmt.Errorf("md: array %s: two members differ in what they say of it: %w", a.Name, evidence.ErrCorrupt))
		case byRole[m.role] == nil || byRole[m.role].events < m.events:
			byRole[m.role] = m
		}
	}
	var err error
	switch newest.level {
	case levelLinear:
		a.Level, err = "linear", a.linear(byRole)
	case levelRAID0:
		a.Level, err = "raid0", a.striped(byRole, newest, warn)
	case levelRAID1:
		a.Level, err = "raid1", a.mirrored(byRole, newest)
	case levelRAID10:
		a.Level, err = "raid10", a.near(byRole, newest)
	default:
		err = fmt.Errorf("level %d: %w", newest.level, evidence.ErrUnsupported)
	}
	return a, err
}

// whole returns an error where a member is missing that nothing stands in for.
func whole(byRole []*member) error {
	for i, m := range byRole {
		if m == nil {
			return fmt.Errorf("member %d of %d is not among the disks given: %w", i, len(byRole), evidence.ErrUnsupported)
		}
	}
	return nil
}

// linear puts the members behind each other, in whole chunks (linear_conf).
func (a *Array) linear(byRole []*member) error {
	if err := whole(byRole); err != nil {
		return err
	}
	ends := []int64{}
	for _, m := range byRole {
		size := m.dataSize
		if m.chunk > 0 {
			size = size / m.chunk * m.chunk
		}
		if size > math.MaxInt64/2-a.size {
			return fmt.Errorf("too large: %w", evidence.ErrCorrupt)
		}
		a.size += size
		ends = append(ends, a.size)
	}
	a.locate = func(off int64) (piece.Extent, error) {
		i, _ := slices.BinarySearch(ends, off+1)
		start := int64(0)
		if i > 0 {
			start = ends[i-1]
		}
		m := byRole[i]
		return piece.Extent{Len: ends[i] - off, From: m.Device, Off: m.dataOff + off - start}, nil
	}
	return nil
}

// mirrored reads the first member that is in sync.
func (a *Array) mirrored(byRole []*member, newest *member) error {
	a.size = newest.used
	for _, m := range byRole {
		if m == nil || m.recovering || m.events+1 < newest.events {
			continue
		}
		a.locate = func(off int64) (piece.Extent, error) {
			return piece.Extent{Len: a.size - off, From: m.Device, Off: m.dataOff + off}, nil
		}
		return nil
	}
	return fmt.Errorf("no member that is in sync is among the disks given: %w", evidence.ErrUnsupported)
}

// near reads a RAID 10 whose copies of a chunk stand beside each other.
func (a *Array) near(byRole []*member, newest *member) error {
	copies, far := int64(newest.layout&0xff), newest.layout>>8&0xff
	disks := int64(newest.disks)
	if far != 1 || copies < 1 || copies > disks || newest.chunk <= 0 || newest.layout>>16 != 0 {
		return fmt.Errorf("raid10 of layout %#x: %w", newest.layout, evidence.ErrUnsupported)
	}
	rows := newest.used / newest.chunk
	if rows > math.MaxInt64/2/newest.chunk/disks {
		return fmt.Errorf("too large: %w", evidence.ErrCorrupt)
	}
	a.size = rows * disks / copies * newest.chunk
	a.locate = func(off int64) (piece.Extent, error) {
		chunk, within := off/newest.chunk, off%newest.chunk
		for i := chunk * copies; i < (chunk+1)*copies; i++ {
			m := byRole[i%disks]
			if m == nil || m.recovering || m.events+1 < newest.events {
				continue
			}
			return piece.Extent{Len: newest.chunk - within, From: m.Device, Off: m.dataOff + i/disks*newest.chunk + within}, nil
		}
		return piece.Extent{}, fmt.Errorf("md: array %s: offset %#x is on missing members alone: %w", a.Name, off, evidence.ErrUnsupported)
	}
	return nil
}

// zone is a part of a RAID 0 that all of its members have: where the smaller
// ones end, the next one begins (create_strip_zones, drivers/md/raid0.c).
type zone struct {
	start, end int64 // on the array
	offset     int64 // on each member
	members    []*member
}

func (a *Array) striped(byRole []*member, newest *member, warn func(error)) error {
	if err := whole(byRole); err != nil {
		return err
	}
	chunk := newest.chunk
	if chunk <= 0 {
		return fmt.Errorf("chunks of no size: %w", evidence.ErrCorrupt)
	}
	usable := func(m *member) int64 { return m.dataSize / chunk * chunk }
	var zones []zone
	for offset := int64(0); ; {
		z := zone{start: a.size, offset: offset}
		next := int64(math.MaxInt64)
		for _, m := range byRole {
			if usable(m) > offset {
				z.members = append(z.members, m)
				next = min(next, usable(m))
			}
		}
		if len(z.members) == 0 {
			break
		}
		if next-offset > (math.MaxInt64/2-a.size)/int64(len(z.members)) {
			return fmt.Errorf("too large: %w", evidence.ErrCorrupt)
		}
		a.size += (next - offset) * int64(len(z.members))
		z.end, offset = a.size, next
		zones = append(zones, z)
	}
	if len(zones) > 1 && newest.layout != layoutOriginal && newest.layout != layoutAlternate {
		warn(fmt.Errorf("md: array %s has members of several sizes and doesn't say how it is laid out; read as Linux 3.14 to 5.3 did: %w", a.Name, evidence.ErrUnsupported))
	}
	a.locate = func(off int64) (piece.Extent, error) {
		i, _ := slices.BinarySearchFunc(zones, off, func(z zone, off int64) int {
			if z.end <= off {
				return -1
			}
			return 1
		})
		z, n := zones[i], int64(len(zones[i].members))
		inZone, within := (off-z.start)/chunk, off%chunk
		which := inZone
		if newest.layout == layoutOriginal {
			which = off / chunk
		}
		m := z.members[which%n]
		return piece.Extent{Len: chunk - within, From: m.Device, Off: m.dataOff + z.offset + inZone/n*chunk + within}, nil
	}
	return nil
}
