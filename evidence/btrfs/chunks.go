package btrfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"lagan/evidence"
)

// check refuses a chunk that could not be read with (btrfs_check_chunk_valid,
// fs/btrfs/tree-checker.c).
func (c *chunk) check() error {
	n := len(c.stripes)
	bad := c.length == 0 || c.start+c.length < c.start
	if c.typ&groupStriped != 0 {
		bad = bad || c.stripeLen == 0 || c.stripeLen&(c.stripeLen-1) != 0 || c.stripeLen > 1<<30
	}
	switch {
	case c.typ&groupRAID10 != 0:
		bad = bad || c.subStripes == 0 || n%int(max(c.subStripes, 1)) != 0
	case c.typ&groupRAID5 != 0:
		bad = bad || n < 2
	case c.typ&groupRAID6 != 0:
		bad = bad || n < 3
	}
	if bad {
		return fmt.Errorf("chunk at %#x: length %#x, type %#x, %d stripes of %#x: %w", c.start, c.length, c.typ, n, c.stripeLen, evidence.ErrCorrupt)
	}
	return nil
}

// addChunk puts a chunk into the map, unless one is there already.
func (f *FS) addChunk(c chunk) {
	i := sort.Search(len(f.chunks), func(i int) bool { return f.chunks[i].start >= c.start })
	if i < len(f.chunks) && f.chunks[i].start == c.start {
		return
	}
	f.chunks = slices.Insert(f.chunks, i, c)
}

// physical is a stretch of a device.
type physical struct {
	dev, offset uint64
	length      uint64 // that lies there without a break
}

// locate finds the copies of the byte at a logical address. What is missing
// of a chunk's devices is not left out: reading says so.
func (f *FS) locate(logical uint64) ([]physical, error) {
	i := sort.Search(len(f.chunks), func(i int) bool { return f.chunks[i].start > logical }) - 1
	if i < 0 || logical-f.chunks[i].start >= f.chunks[i].length {
		return nil, fmt.Errorf("no chunk has the logical address %#x: %w", logical, evidence.ErrCorrupt)
	}
	c := &f.chunks[i]
	off := logical - c.start
	left := c.length - off
	n := uint64(len(c.stripes))
	if c.typ&groupStriped == 0 {
		var out []physical
		for _, s := range c.stripes {
			out = append(out, physical{s.dev, s.offset + off, left})
		}
		return out, nil
	}
	number, within := off/c.stripeLen, off%c.stripeLen
	inStripe := min(c.stripeLen-within, left)
	at := func(s, row uint64) physical {
		return physical{c.stripes[s].dev, c.stripes[s].offset + row*c.stripeLen + within, inStripe}
	}
	// btrfs_map_block, fs/btrfs/volumes.c
	switch {
	case c.typ&groupRAID0 != 0:
		return []physical{at(number%n, number/n)}, nil
	case c.typ&groupRAID10 != 0:
		factor := n / uint64(c.subStripes)
		first := number % factor * uint64(c.subStripes)
		var out []physical
		for s := range uint64(c.subStripes) {
			out = append(out, at(first+s, number/factor))
		}
		return out, nil
	}
	data := n - 1 // RAID5, RAID6: the parity moves from row to row
	if c.typ&groupRAID6 != 0 {
		data = n - 2
	}
	row := number / data
	return []physical{at((number%data+row)%n, row)}, nil
}

// readCopy reads one copy of what is at a logical address. Which copies there
// are may change from stripe to stripe; their number doesn't within a chunk.
func (f *FS) readCopy(b []byte, logical uint64, copy int) error {
	for len(b) > 0 {
		where, err := f.locate(logical)
		if err != nil {
			return err
		}
		if copy >= len(where) {
			return errNoCopy
		}
		p := where[copy]
		n := int(min(uint64(len(b)), p.length))
		if err := f.readDevice(b[:n], p); err != nil {
			return err
		}
		b, logical = b[n:], logical+uint64(n)
	}
	return nil
}

var (
	errNoCopy        = errors.New("no further copy")
	errMissingDevice = fmt.Errorf("on a device of the filesystem that is missing: %w", evidence.ErrUnsupported)
)

func (f *FS) readDevice(b []byte, p physical) error {
	i := slices.IndexFunc(f.devices, func(d device) bool { return d.id == p.dev })
	if i < 0 {
		return fmt.Errorf("device %d, offset %#x: %w", p.dev, p.offset, errMissingDevice)
	}
	d := &f.devices[i]
	if p.offset >= uint64(d.Size) || uint64(len(b)) > uint64(d.Size)-p.offset {
		return fmt.Errorf("device %d, offset %#x: past the end at %#x: %w", p.dev, p.offset, d.Size, evidence.ErrCorrupt)
	}
	if n, err := d.R.ReadAt(b, int64(p.offset)); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("device %d, offset %#x: %w", p.dev, p.offset, err)
	}
	return nil
}

// maxCopies is how many copies of anything there can be: those of RAID1C4.
const maxCopies = 4

// readLogical reads data, from any copy that can be read.
func (f *FS) readLogical(b []byte, logical uint64) error {
	var failed error
	for copy := range maxCopies {
		err := f.readCopy(b, logical, copy)
		if err == nil {
			return nil
		}
		if errors.Is(err, errNoCopy) {
			break
		}
		if failed == nil {
			failed = err
		}
	}
	return failed
}

// loadChunks reads the chunk tree into the map.
func (f *FS) loadChunks() error {
	system, err := f.super.systemChunks()
	if err != nil {
		f.warn(err)
	}
	for _, c := range system {
		f.addChunk(c)
	}
	t := tree{fs: f, root: block{f.super.chunkRoot, f.super.chunkLevel, f.super.chunkGeneration}, id: chunkTreeObject}
	var failed error
	for it, err := range t.items(key{firstChunkObject, itemChunk, 0}, key{firstChunkObject, itemChunk, ^uint64(0)}) {
		if err == nil {
			var c chunk
			if c, err = decodeChunk(it.key.offset, it.data); err == nil {
				f.addChunk(c)
				continue
			}
		}
		failed = errors.Join(failed, fmt.Errorf("chunk tree: %w", err))
	}
	return failed
}
