package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/evidence/image/ewf"
	"lagan/evidence/image/qcow2"
	"lagan/evidence/image/vdi"
	"lagan/evidence/image/vhd"
	"lagan/evidence/image/vhdx"
	"lagan/evidence/image/vmdk"
)

// maxParents bounds the chain of disks that hold only changes.
const maxParents = 32

// Description is what a container says of the disk in it.
type Description struct {
	Format    string            // as Image.Format
	Files     []string          // that the disk is in, the first one first, parents' too
	Hashes    map[string]string // stored when it was acquired: "md5", "sha1", in hex
	Snapshots []Snapshot        // internal ones
	Loaded    string            // the id of the internal snapshot that is read; "" the disk's latest state
	Notes     map[string]string // of who acquired it, by name: "examiner", "case"
	Parents   []string          // paths out of Options.Parents whose disks the image only holds the changes of
}

// Snapshot is an internal snapshot of an image.
type Snapshot struct {
	ID, Name string
	Time     time.Time
	Size     int64 // of the disk then
}

// ErrNoSnapshot says that an image has no internal snapshot of the wanted name.
var ErrNoSnapshot = qcow2.ErrNoSnapshot

// Describe returns what the container of an image says.
func Describe(im Image) Description {
	if d, ok := im.(*disk); ok {
		d.description.Format = d.format
		return d.description
	}
	return Description{Format: im.Format()}
}

// opener opens one image with all files that belong to it.
type opener struct {
	ctx    context.Context
	path   string
	o      Options
	depth  int // of parents
	device bool
	open   []io.Closer
	about  Description
}

func (op *opener) close() error {
	var err error
	for _, c := range slices.Backward(op.open) {
		if e := c.Close(); err == nil {
			err = e
		}
	}
	return err
}

// beside opens a file in the folder of the image. Its name is a string out of
// evidence: no more than the last element is used.
func (op *opener) beside(name string) (blob, error) {
	base := lastElement(name)
	if base == "" || base == "." || base == ".." || strings.ContainsRune(base, 0) {
		return nil, fmt.Errorf("a file called %q: %w", name, evidence.ErrCorrupt)
	}
	path := filepath.Join(filepath.Dir(op.path), base)
	f, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		// The image may be a link to where its other files are.
		if real, linkErr := filepath.EvalSymlinks(op.path); linkErr == nil && filepath.Dir(real) != filepath.Dir(op.path) {
			path = filepath.Join(filepath.Dir(real), base)
			f, err = openFile(path)
		}
	}
	if err != nil {
		return nil, err
	}
	op.open = append(op.open, f)
	op.about.Files = append(op.about.Files, path)
	return f, nil
}

// lastElement returns what follows the last slash or backslash.
func lastElement(name string) string { return name[strings.LastIndexAny(name, `/\`)+1:] }

// wanted says which disk an image holds the changes of.
type wanted struct {
	names []string // out of evidence
	// is says whether a disk is that one by its id; nil where the image has only names.
	is func(b blob) bool
}

// parent opens the disk that an image holds the changes of: only one that the
// caller named, chosen by its name, or by its id where the file was renamed.
// Where there is none, only the reads that need it fail.
func (op *opener) parent(w wanted) (blob, error) {
	if op.depth >= maxParents {
		return nil, fmt.Errorf("more than %d disks below each other: %w", maxParents, evidence.ErrCorrupt)
	}
	var failed error
	for _, byName := range []bool{true, false} {
		for _, p := range op.o.Parents {
			if p == op.path || byName != w.named(p) || !byName && w.is == nil {
				continue
			}
			o := op.o
			o.Snapshot = ""
			im, err := open(op.ctx, p, o, op.depth+1)
			if err != nil {
				if byName {
					failed = err
				}
				continue
			}
			fits := w.is == nil || w.is(im.blob)
			if !byName && !fits {
				im.Close()
				continue
			}
			if !fits {
				op.o.warn(fmt.Errorf("%q isn't the disk that %q holds the changes of, or was written to since: its id is another one: %w", p, op.path, evidence.ErrCorrupt))
			}
			op.open = append(op.open, im)
			op.about.Files = append(op.about.Files, im.description.Files...)
			op.about.Parents = append(append(op.about.Parents, p), im.description.Parents...)
			return im, nil
		}
	}
	return op.absent(w, failed), nil
}

// named says whether a path has one of the names.
func (w wanted) named(path string) bool {
	return slices.ContainsFunc(w.names, func(name string) bool { return filepath.Base(path) == lastElement(name) })
}

// absent stands in for a disk that isn't there.
type absent struct{ err error }

func (op *opener) absent(w wanted, failed error) blob {
	err := fmt.Errorf("%q holds only what differs from the disk %q, which has to be named too, with --disk: %w",
		filepath.Base(op.path), strings.Join(w.names, `", "`), evidence.ErrUnsupported)
	if failed != nil {
		err = fmt.Errorf("%q holds only what differs from the disk %q: %w", filepath.Base(op.path), strings.Join(w.names, `", "`), failed)
	}
	op.o.warn(err)
	return absent{err}
}

// Size is more than any disk has.
func (a absent) Size() int64 { return math.MaxInt64 }

func (a absent) ReadAt(_ []byte, off int64) (int, error) {
	return 0, fmt.Errorf("offset %#x: %w", off, a.err)
}

// container is a format of a disk in a file.
type container struct {
	name string
	is   func(b blob, head []byte) bool
	open func(op *opener, b blob) (blob, error)
}

// containers returns the formats in the order in which they are asked.
func containers() []container {
	byHead := func(is func([]byte) bool) func(blob, []byte) bool {
		return func(_ blob, head []byte) bool { return !isPartitioned(head) && is(head) }
	}
	return []container{
		// A fixed VHD begins as the disk in it does.
		{"vhd", func(b blob, _ []byte) bool { return vhd.Is(b, b.Size()) }, (*opener).vhd},
		{"qcow2", byHead(qcow2.Is), (*opener).qcow2},
		{"vmdk", byHead(vmdk.Is), (*opener).vmdk},
		{"vhdx", byHead(vhdx.Is), (*opener).vhdx},
		{"vdi", byHead(vdi.Is), (*opener).vdi},
		{"ewf", byHead(ewf.Is), (*opener).ewf},
	}
}

func (op *opener) vhd(b blob) (blob, error) {
	return vhd.Open(b, b.Size(), vhd.Options{Warn: op.o.warn, Parent: func(name, id string) (vhd.Parent, error) {
		return op.parent(wanted{[]string{name}, func(b blob) bool {
			im, ok := b.(*vhd.Image)
			return ok && im.ID() == id
		}})
	}})
}

func (op *opener) qcow2(b blob) (blob, error) {
	im, err := qcow2.Open(b, b.Size(), qcow2.Options{
		Warn:     op.o.warn,
		Snapshot: op.o.Snapshot,
		Backing:  func(name string) (qcow2.Backing, error) { return op.parent(wanted{names: []string{name}}) },
	})
	if err != nil {
		return nil, err
	}
	op.about.Loaded = im.Loaded()
	for _, s := range im.Snapshots() {
		op.about.Snapshots = append(op.about.Snapshots, Snapshot{s.ID, s.Name, s.Time, s.Size})
	}
	return im, nil
}

func (op *opener) vmdk(b blob) (blob, error) {
	return vmdk.Open(b, b.Size(), vmdk.Options{
		Warn:   op.o.warn,
		Extent: func(name string) (vmdk.File, error) { return op.beside(name) },
		Parent: func(name, cid string) (vmdk.File, error) {
			return op.parent(wanted{[]string{name}, func(b blob) bool {
				im, ok := b.(*vmdk.Image)
				return ok && im.CID() == cid
			}})
		},
	})
}

func (op *opener) vhdx(b blob) (blob, error) {
	return vhdx.Open(b, b.Size(), vhdx.Options{Warn: op.o.warn, Parent: func(names, ids []string) (vhdx.Parent, error) {
		return op.parent(wanted{names, func(b blob) bool {
			im, ok := b.(*vhdx.Image)
			return ok && slices.Contains(ids, im.ID())
		}})
	}})
}

func (op *opener) vdi(b blob) (blob, error) { return vdi.Open(b) }

func (op *opener) ewf(b blob) (blob, error) {
	im, err := ewf.Open(b, ewf.Options{Warn: op.o.warn, Segment: func(n int) (ewf.File, error) {
		name := ewf.SegmentName(filepath.Base(op.path), n)
		if name == "" {
			return nil, fs.ErrNotExist
		}
		return op.beside(name)
	}})
	if err != nil {
		return nil, err
	}
	op.about.Hashes = map[string]string{}
	op.about.Hashes["md5"], op.about.Hashes["sha1"] = im.Hashes()
	maps.DeleteFunc(op.about.Hashes, func(_, v string) bool { return v == "" })
	op.about.Notes = map[string]string{}
	for key, name := range map[string]string{"c": "case", "n": "evidence", "a": "description", "e": "examiner", "t": "notes", "m": "acquired"} {
		if v := im.Header()[key]; v != "" {
			op.about.Notes[name] = v
			if sec, err := strconv.ParseInt(v, 10, 64); err == nil && key == "m" {
				op.about.Notes[name] = time.Unix(sec, 0).UTC().Format(time.RFC3339)
			}
		}
	}
	return im, nil
}

// strangers are formats that are known well enough to say what to do with them.
var strangers = []struct{ magic, what string }{
	{"PK\x03\x04", "a zip archive: unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"},
	{"Rar!\x1a\x07", "a rar archive: unpack it first"},
	{"\x1f\x9d", "packed with compress: unpack it first"},
	{"QED\x00", "a QED image: convert it with qemu-img convert -O raw"},
	{"WithoutFreeSpace", "a Parallels image: convert it with qemu-img convert -O raw"},
	{"WithouFreSpacExt", "a Parallels image: convert it with qemu-img convert -O raw"},
	{"AFF10\r\n", "an AFF image: convert it with affconvert -r"},
	{"Bochs Virtual HD Image", "a Bochs image: convert it with qemu-img convert -O raw"},
}

// stranger returns an error for a known format that isn't read.
func stranger(head []byte) error {
	if isPartitioned(head) {
		return nil
	}
	for _, s := range strangers {
		if strings.HasPrefix(string(head), s.magic) {
			return fmt.Errorf("%s: %w", s.what, evidence.ErrUnsupported)
		}
	}
	return nil
}

// exists reports whether there is a file that could be part of an image.
func exists(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}
