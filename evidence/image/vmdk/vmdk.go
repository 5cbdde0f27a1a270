// Package vmdk reads VMware's virtual disks: sparse extents (also
// stream-optimised ones, and ESXi's copy-on-write and SESparse), flat extents, and
// descriptors that join several files. A disk that holds only what differs from a parent is read
// where the caller gives the parent.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// file; fuzzed. A stream that was cut off before its tables is read by its
// markers. Not read, and said: raw device mappings, an SESparse journal.
package vmdk

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/internal/piece"
)

// File is another file of the disk.
type File interface {
	io.ReaderAt
	Size() int64
}

// Options apply to the opening of a disk.
type Options struct {
	// Extent returns a file that the descriptor names, a string out of
	// evidence. Where it is nil, a disk of several files is refused.
	Extent func(name string) (File, error)
	// Parent returns the disk that this one holds the changes of, by the name
	// and the content id that it had.
	Parent func(name, cid string) (File, error)
	// Warn, if set, is told of what was read past.
	Warn func(error)
}

func (o Options) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

// Image is a disk. ReadAt may be called from several goroutines.
type Image struct {
	size    int64
	extents []extent // in the order of the disk, without gaps
	grain   int64    // the largest of packed grains, or 0
	kind    string
	cid     string
}

// extent is a part of the disk.
type extent struct {
	start, size int64
	locate      func(off int64) (piece.Extent, error) // off counts from start
}

// Is reports whether a file that begins with head is a virtual disk of any kind.
func Is(head []byte) bool {
	for _, m := range []string{magicSparse, magicCOW, magicSESparse, magicDescriptor} {
		if bytes.HasPrefix(head, []byte(m)) {
			return true
		}
	}
	return false
}

// Open opens the disk that the file r describes or holds. It returns
// evidence.ErrFormat for another format.
func Open(r io.ReaderAt, size int64, o Options) (*Image, error) {
	head := make([]byte, len(magicDescriptor))
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	im := &Image{}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte(magicDescriptor)):
		err = im.openDescriptor(r, size, o)
	case bytes.HasPrefix(head, []byte(magicSparse)):
		err = im.openMonolithic(r, size, o)
	case bytes.HasPrefix(head, []byte(magicCOW)):
		err = im.openCOW(r, size, o)
	case bytes.HasPrefix(head, []byte(magicSESparse)):
		err = im.openSESparse(r, o)
	default:
		err = evidence.ErrFormat
	}
	if err != nil {
		return nil, fmt.Errorf("vmdk: %w", err)
	}
	return im, nil
}

// Size returns the number of bytes of the disk.
func (im *Image) Size() int64 { return im.size }

// Kind returns the createType of the descriptor, such as "streamOptimized", or "".
func (im *Image) Kind() string { return im.kind }

// CID returns the content id of the descriptor, in lower-case hex, or "": a disk
// that holds the changes of this one names it.
func (im *Image) CID() string { return im.cid }

// ReadAt implements io.ReaderAt.
func (im *Image) ReadAt(p []byte, off int64) (int, error) {
	read := func(p []byte, off int64) (int, error) { return piece.ReadExtents(p, off, im.locate) }
	if im.grain > 0 {
		return piece.ReadAtOnAllCores(p, off, im.size, im.grain, read)
	}
	return piece.ReadAt(p, off, im.size, read)
}

func (im *Image) locate(off int64) (piece.Extent, error) {
	lo, hi := 0, len(im.extents)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; im.extents[mid].start <= off {
			lo = mid
		} else {
			hi = mid
		}
	}
	x := im.extents[lo]
	e, err := x.locate(off - x.start)
	e.Len = min(e.Len, x.start+x.size-off)
	return e, err
}

func (im *Image) add(size int64, locate func(int64) (piece.Extent, error)) error {
	if size <= 0 || size > 1<<62-im.size {
		return fmt.Errorf("an extent of %d bytes: %w", size, evidence.ErrCorrupt)
	}
	im.extents = append(im.extents, extent{im.size, size, locate})
	im.size += size
	return nil
}

// openSESparse opens an SESparse file as a disk on its own.
func (im *Image) openSESparse(r io.ReaderAt, o Options) error {
	s, err := readSESparse(r, o)
	if err != nil {
		return err
	}
	o.warn(fmt.Errorf("vmdk: an SESparse file without its descriptor: what its parent has reads as zeros: give the small .vmdk beside it: %w", evidence.ErrUnsupported))
	return im.add(s.capacity, s.locate)
}

// openMonolithic opens a sparse extent that is a disk on its own.
func (im *Image) openMonolithic(r io.ReaderAt, size int64, o Options) error {
	s, err := openSparse(r, size, o)
	if err != nil {
		return err
	}
	if s.descriptorSize > 0 && s.descriptorSize <= maxDescriptor/sector && s.descriptorOff < 1<<40 {
		b := make([]byte, s.descriptorSize*sector)
		if n, err := r.ReadAt(b, int64(s.descriptorOff)*sector); err != nil && err != io.EOF {
			return fmt.Errorf("descriptor at offset %#x: %w", s.descriptorOff*sector, err)
		} else if err := im.readDescriptor(b[:n], o, &s.parent); err != nil {
			return err
		}
	} else {
		o.warn(fmt.Errorf("vmdk: the file is one part of a disk in several files: give their descriptor, a small .vmdk beside it: %w", evidence.ErrUnsupported))
	}
	if s.packed {
		im.grain = s.grain
	}
	return im.add(s.capacity, s.locate)
}

// readDescriptor takes from a descriptor what concerns the disk as a whole.
func (im *Image) readDescriptor(text []byte, o Options, parent *File) error {
	text, _, _ = bytes.Cut(text, []byte{0})
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, "="); ok {
			values[strings.ToLower(strings.TrimSpace(k))] = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	im.kind, im.cid = values["createtype"], strings.ToLower(values["cid"])
	if cid := strings.ToLower(values["parentcid"]); cid == "" || cid == noParent {
		return nil
	}
	hint, cid := values["parentfilenamehint"], strings.ToLower(values["parentcid"])
	if o.Parent == nil {
		return fmt.Errorf("the disk holds only what differs from its parent %q: %w", hint, evidence.ErrUnsupported)
	}
	p, err := o.Parent(hint, cid)
	if err != nil {
		return fmt.Errorf("parent %q: %w", hint, err)
	}
	*parent = p
	return nil
}

// openDescriptor joins the extents that a text names.
func (im *Image) openDescriptor(r io.ReaderAt, size int64, o Options) error {
	text := make([]byte, min(size, maxDescriptor))
	n, err := r.ReadAt(text, 0)
	if err != nil && err != io.EOF {
		return err
	}
	text = text[:n]
	var parent File
	if err := im.readDescriptor(text, o, &parent); err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		f, ok := parseExtent(line)
		if !ok {
			continue
		}
		if len(im.extents) == maxExtents {
			return fmt.Errorf("more than %d extents: %w", maxExtents, evidence.ErrUnsupported)
		}
		if err := im.addExtent(f, parent, o); err != nil {
			return fmt.Errorf("extent %q: %w", f.name, err)
		}
	}
	if len(im.extents) == 0 {
		return fmt.Errorf("a descriptor that names no extents: %w", evidence.ErrCorrupt)
	}
	return nil
}

// extentLine is a line such as: RW 4192256 FLAT "disk-f001.vmdk" 0
type extentLine struct {
	sectors, offset int64
	kind, name      string
}

func parseExtent(line string) (extentLine, bool) {
	before, rest, _ := strings.Cut(line, `"`)
	name, after, _ := strings.Cut(rest, `"`)
	f := strings.Fields(before)
	if len(f) < 3 || f[0] != "RW" && f[0] != "RDONLY" && f[0] != "NOACCESS" {
		return extentLine{}, false
	}
	x := extentLine{kind: f[2], name: name}
	var err error
	if x.sectors, err = strconv.ParseInt(f[1], 10, 64); err != nil || x.sectors <= 0 || x.sectors > 1<<52 {
		return extentLine{}, false
	}
	if f := strings.Fields(after); len(f) > 0 {
		if x.offset, err = strconv.ParseInt(f[0], 10, 64); err != nil || x.offset < 0 || x.offset > 1<<52 {
			return extentLine{}, false
		}
	}
	return x, true
}

func (im *Image) addExtent(x extentLine, parent File, o Options) error {
	size := x.sectors * sector
	switch x.kind {
	case "ZERO":
		return im.add(size, func(int64) (piece.Extent, error) { return piece.Extent{Len: size}, nil })
	case "FLAT", "VMFS", "SPARSE", "VMFSSPARSE", "SESPARSE":
	default:
		return fmt.Errorf("type %s: %w", x.kind, evidence.ErrUnsupported)
	}
	if o.Extent == nil {
		return fmt.Errorf("a file beside this one: %w", evidence.ErrUnsupported)
	}
	f, err := o.Extent(x.name)
	if err != nil {
		return err
	}
	start := im.size
	below := func(s *sparse) {
		if parent != nil {
			s.parent, s.parentOff = parent, start
		}
	}
	switch x.kind {
	case "SESPARSE":
		s, err := readSESparse(f, o)
		if err != nil {
			return err
		}
		s.parent, s.parentOff = parent, start
		return im.add(size, s.locate)
	case "SPARSE":
		s, err := openSparse(f, f.Size(), o)
		if err != nil {
			return err
		}
		below(s)
		if s.packed {
			im.grain = max(im.grain, s.grain)
		}
		return im.add(size, s.locate)
	case "VMFSSPARSE":
		s, err := readCOW(f, f.Size())
		if err != nil {
			return err
		}
		below(s)
		return im.add(size, s.locate)
	}
	return im.add(size, func(off int64) (piece.Extent, error) {
		return piece.Extent{Len: size - off, From: f, Off: x.offset*sector + off}, nil
	})
}
