package layers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"lagan/evidence"
)

// Kind is what happened to a path.
type Kind string

// The kinds of changes, in continuity's words.
const (
	Added    Kind = "added"
	Modified Kind = "modified"
	Deleted  Kind = "deleted"
)

// Letter returns what docker diff prints for the kind: A, C or D.
func (k Kind) Letter() string {
	switch k {
	case Added:
		return "A"
	case Deleted:
		return "D"
	}
	return "C"
}

// What of a modified path changed, in the order of Change.Changed.
const (
	ChangedType    = "type"
	ChangedContent = "content" // of a file; of a device, its numbers
	ChangedTarget  = "target"
	ChangedMode    = "mode"
	ChangedOwner   = "owner"
	ChangedXattrs  = "xattrs"
	ChangedMtime   = "mtime"
)

var changedNames = [...]string{ChangedType, ChangedContent, ChangedTarget, ChangedMode, ChangedOwner, ChangedXattrs, ChangedMtime}

// changedMtimeBit is that of a time of modification, which alone is no change to a directory.
const changedMtimeBit = 1 << (len(changedNames) - 1)

// Change is one path that differs between two views.
type Change struct {
	Path string // from the root of both, with a leading slash
	Kind Kind
	// Info and Ino are of the current view, Old and OldIno of the base: zero for
	// what was deleted and what was added.
	Info, Old   evidence.Info
	Ino, OldIno evidence.Ino
	// Changed says what of a modified path differs: nothing for a directory
	// that is named for what is in it.
	Changed []string
}

// DiffOptions choose whose lines a comparison gives.
type DiffOptions struct {
	// Native lists what podman diff lists, which reads the upper directory
	// instead of comparing two views (containers/storage pkg/archive/changes.go,
	// changes and overlayDeletedFile): every file in it that the image has is
	// modified, a directory of another size, mode or time too, one that hides
	// the image's is deleted and not what it hid. Directories above what was
	// added or deleted are modified, above what was modified they are not.
	// It needs a current view that knows its layers.
	Native bool
	// Root compares the roots themselves too, as "/": their modes, owners and
	// attributes. Docker's and Podman's lists never name them.
	Root bool
	// Ignore, if set, leaves out paths: what the runtime itself puts into
	// every container.
	Ignore func(path string) bool
}

// PodmanIgnores says whether podman diff leaves a path out, because podman
// itself puts it into every container: initInodes in its libpod/diff.go.
func PodmanIgnores(path string) bool {
	switch path {
	case "/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/mtab", "/proc", "/run", "/run/notify",
		"/run/.containerenv", "/run/secrets", "/run/podman-init", "/dev/init", "/sys":
		return true
	}
	return false
}

// layered is what a merged view can tell beside evidence.FS.
type layered interface {
	// Same says that two inodes are made of the same inodes of the same
	// layers, with all that is below; SameData that their content is.
	Same(ino evidence.Ino, other evidence.FS, of evidence.Ino) bool
	SameData(ino evidence.Ino, other evidence.FS, of evidence.Ino) bool
	// Own gives the only names in which a directory can differ from one of
	// another view, where that can be said without reading either.
	Own(ino evidence.Ino, other evidence.FS, of evidence.Ino) ([]string, bool)
	Origin(ino evidence.Ino) (layer int, of evidence.Ino, err error)
	Opaque(ino evidence.Ino) bool
}

// maxDepth and maxVisits bound the walk: no path is deeper than the kernel can
// name (PATH_MAX/2), and one directory is shown under few names, which only
// redirects and corrupt filesystems do at all.
const (
	maxDepth  = 2048
	maxVisits = 16
)

// Diff compares two views and yields what differs, sorted by the bytes of the
// path: what a container changed (current) against its image (base).
//
// It finds what docker diff finds by comparing (pkg/archive/changes.go,
// addChanges, and statDifferent): a path that only one side has is added or
// deleted, of a deleted directory only itself; one that differs in type, mode,
// owner, device, size, time of modification or content is modified, and so are
// the directories above each change. A directory's own size and time don't count.
// Beyond docker diff it compares content, link targets and all extended
// attributes, so that a file changed with its time set back shows.
//
// What has the same origin on both sides is not read. What can't be read comes
// as an error before the changes, which are as whole as they can be.
func Diff(base, current evidence.FS, o DiffOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		d := differ{base: base, cur: current, o: o, visits: map[evidence.Ino]uint8{}}
		d.view, _ = current.(layered)
		if o.Root {
			d.root()
		}
		d.dir("", base.Root(), current.Root(), 0)
		for _, err := range d.errs {
			if !yield(Change{}, err) {
				return
			}
		}
		slices.SortFunc(d.records, func(a, b record) int { return strings.Compare(a.path, b.path) })
		for _, r := range d.records {
			if o.Ignore != nil && o.Ignore(r.path) {
				continue
			}
			c, err := d.change(r)
			if !yield(c, err) {
				return
			}
		}
	}
}

// record is a Change in as little memory as its path needs: a container may
// have changed a million.
type record struct {
	path     string
	ino, old evidence.Ino
	kind     Kind
	changed  uint8 // bits by the index into changedNames
}

type differ struct {
	base, cur evidence.FS
	view      layered // cur, where it is one
	o         DiffOptions
	records   []record
	errs      []error
	visits    map[evidence.Ino]uint8 // of directories of both sides: see enter
}

func (d *differ) change(r record) (Change, error) {
	c := Change{Path: r.path, Kind: r.kind, Ino: r.ino, OldIno: r.old}
	var err, oldErr error
	if r.kind != Deleted || r.ino != 0 {
		c.Info, err = d.cur.Stat(r.ino)
	}
	if r.kind != Added {
		c.Old, oldErr = d.base.Stat(r.old)
	}
	for i, name := range changedNames {
		if r.changed&(1<<i) != 0 {
			c.Changed = append(c.Changed, name)
		}
	}
	if err := errors.Join(err, oldErr); err != nil {
		return c, fmt.Errorf("%s: %w", r.path, err)
	}
	return c, nil
}

func (d *differ) fail(path string, err error) {
	if path == "" {
		path = "/"
	}
	d.errs = append(d.errs, fmt.Errorf("%s: %w", path, err))
}

func (d *differ) list(fsys evidence.FS, path string, ino evidence.Ino) []evidence.Entry {
	l, err := evidence.List(fsys, ino)
	if err != nil {
		d.fail(path, fmt.Errorf("reading directory: %w", err))
	}
	return l
}

// entries returns what two directories have, as far as it can differ.
func (d *differ) entries(path string, old, ino evidence.Ino) (was, is []evidence.Entry) {
	if d.view != nil {
		if names, ok := d.view.Own(ino, d.base, old); ok {
			return d.lookup(d.base, path, old, names), d.lookup(d.cur, path, ino, names)
		}
	}
	return d.list(d.base, path, old), d.list(d.cur, path, ino)
}

// lookup returns those of the names that a directory has.
func (d *differ) lookup(fsys evidence.FS, path string, dir evidence.Ino, names []string) []evidence.Entry {
	out := make([]evidence.Entry, 0, len(names))
	for _, name := range names {
		e, err := evidence.Lookup(fsys, dir, name)
		switch {
		case err == nil:
			out = append(out, e)
		case !errors.Is(err, fs.ErrNotExist):
			d.fail(path+"/"+name, err)
		}
	}
	return out
}

// root compares the two roots.
func (d *differ) root() {
	r := record{path: "/", ino: d.cur.Root(), old: d.base.Root(), kind: Modified}
	old, err := d.base.Stat(r.old)
	info, err2 := d.cur.Stat(r.ino)
	if err := errors.Join(err, err2); err != nil {
		d.fail("", err)
		return
	}
	if r.changed = d.compare("/", r.old, r.ino, old, info); r.changed&^changedMtimeBit != 0 {
		d.records = append(d.records, r)
	}
}

// enter says whether a directory of the current view may be walked into.
func (d *differ) enter(path string, ino evidence.Ino, depth int) bool {
	if depth < maxDepth && d.visits[ino] < maxVisits {
		d.visits[ino]++
		return true
	}
	d.fail(path, fmt.Errorf("directory is inside itself or has many names: %w", evidence.ErrCorrupt))
	return false
}

// dir compares a directory of both sides and says whether anything in it is a
// change to the directory: added, deleted or, unless Native, modified.
func (d *differ) dir(path string, old, ino evidence.Ino, depth int) bool {
	if !d.enter(path, ino, depth) {
		return false
	}
	was, is := d.entries(path, old, ino)
	hides := d.o.Native && path != "" && d.opaque(ino)
	changed := false
	for len(was) > 0 || len(is) > 0 {
		switch order(was, is) {
		case -1:
			if !hides {
				d.records = append(d.records, record{path: path + "/" + was[0].Name, old: was[0].Ino, kind: Deleted})
				changed = true
			}
			was = was[1:]
		case 1:
			d.added(path+"/"+is[0].Name, is[0], depth+1)
			is, changed = is[1:], true
		default:
			if d.both(path+"/"+is[0].Name, was[0], is[0], depth+1) {
				changed = true
			}
			was, is = was[1:], is[1:]
		}
	}
	return changed
}

func order(was, is []evidence.Entry) int {
	switch {
	case len(was) == 0:
		return 1
	case len(is) == 0:
		return -1
	}
	return strings.Compare(was[0].Name, is[0].Name)
}

// added notes an entry and all that is below.
func (d *differ) added(path string, e evidence.Entry, depth int) {
	kind := Added
	typ := d.typ(d.cur, path, e)
	if d.o.Native && typ == evidence.TypeDir && d.opaque(e.Ino) {
		kind = Deleted
	}
	d.records = append(d.records, record{path: path, ino: e.Ino, kind: kind})
	if typ != evidence.TypeDir || !d.enter(path, e.Ino, depth) {
		return
	}
	for _, c := range d.list(d.cur, path, e.Ino) {
		d.added(path+"/"+c.Name, c, depth+1)
	}
}

func (d *differ) typ(fsys evidence.FS, path string, e evidence.Entry) evidence.Type {
	if e.Type != evidence.TypeUnknown {
		return e.Type
	}
	info, err := fsys.Stat(e.Ino)
	if err != nil {
		d.fail(path, err)
	}
	return info.Type
}

// both compares a name that both sides have and says whether it is a change to
// the directory it is in.
func (d *differ) both(path string, was, is evidence.Entry, depth int) bool {
	if d.view != nil && d.view.Same(is.Ino, d.base, was.Ino) {
		return false
	}
	old, err := d.base.Stat(was.Ino)
	if err != nil {
		d.fail(path, err)
		return false
	}
	info, err := d.cur.Stat(is.Ino)
	if err != nil {
		d.fail(path, err)
		return false
	}
	r := record{path: path, ino: is.Ino, old: was.Ino, kind: Modified}
	r.changed = d.compare(path, was.Ino, is.Ino, old, info)
	modified, inside := r.changed != 0, false
	if info.Type == evidence.TypeDir {
		modified, inside = d.bothDir(&r, was, is, old, info, depth)
	} else if d.o.Native {
		modified = d.upper(is.Ino)
	}
	if modified {
		d.records = append(d.records, r)
	}
	if d.o.Native {
		return inside || r.kind == Deleted
	}
	return modified
}

// bothDir compares what is now a directory with what the base has there, and
// says whether the path itself is to be named, and whether what is in it is a
// change to it.
func (d *differ) bothDir(r *record, was, is evidence.Entry, old, info evidence.Info, depth int) (modified, inside bool) {
	if old.Type == evidence.TypeDir {
		inside = d.dir(r.path, was.Ino, is.Ino, depth)
	} else if d.enter(r.path, is.Ino, depth) {
		for _, c := range d.list(d.cur, r.path, is.Ino) {
			d.added(r.path+"/"+c.Name, c, depth+1)
			inside = true
		}
	}
	if !d.o.Native {
		return inside || r.changed&^changedMtimeBit != 0, inside
	}
	if d.opaque(is.Ino) {
		r.kind = Deleted
		return true, inside
	}
	differs := old.Type != info.Type || old.Perm != info.Perm || old.Size != info.Size || !old.Mtime.Equal(info.Mtime)
	return inside || differs && d.upper(is.Ino), inside
}

func (d *differ) opaque(ino evidence.Ino) bool { return d.upper(ino) && d.view.Opaque(ino) }

// upper says whether an inode lies in the uppermost layer.
func (d *differ) upper(ino evidence.Ino) bool {
	if d.view == nil {
		return false
	}
	layer, _, err := d.view.Origin(ino)
	return err == nil && layer == 0
}

// compare returns what differs, as bits by the index into changedNames.
func (d *differ) compare(path string, was, is evidence.Ino, old, info evidence.Info) uint8 {
	differs := [len(changedNames)]bool{
		old.Type != info.Type,
		false,
		false,
		old.Perm != info.Perm,
		old.UID != info.UID || old.GID != info.GID,
		d.xattrsDiffer(path, was, is),
		!old.Mtime.Equal(info.Mtime),
	}
	if old.Type == info.Type {
		switch info.Type {
		case evidence.TypeFile:
			differs[1] = old.Size != info.Size || d.contentDiffers(path, was, is)
		case evidence.TypeSymlink:
			differs[2] = d.targetsDiffer(path, was, is)
		case evidence.TypeChar, evidence.TypeBlock:
			differs[1] = old.Major != info.Major || old.Minor != info.Minor
		}
	}
	var bits uint8
	for i, b := range differs {
		if b {
			bits |= 1 << i
		}
	}
	return bits
}

func (d *differ) xattrsDiffer(path string, was, is evidence.Ino) bool {
	a, err := d.base.Xattrs(was)
	b, err2 := d.cur.Xattrs(is)
	if err := errors.Join(err, err2); err != nil {
		d.fail(path, fmt.Errorf("extended attributes: %w", err))
		return false
	}
	if len(a) != len(b) {
		return true
	}
	for name, v := range a {
		if w, ok := b[name]; !ok || !bytes.Equal(v, w) {
			return true
		}
	}
	return false
}

func (d *differ) targetsDiffer(path string, was, is evidence.Ino) bool {
	a, err := d.base.ReadLink(was)
	b, err2 := d.cur.ReadLink(is)
	if err := errors.Join(err, err2); err != nil {
		d.fail(path, err)
		return false
	}
	return a != b
}

// contentDiffers compares two files of one size.
func (d *differ) contentDiffers(path string, was, is evidence.Ino) bool {
	if d.view != nil && d.view.SameData(is, d.base, was) {
		return false
	}
	a, err := d.base.Open(was)
	if err != nil {
		d.fail(path, fmt.Errorf("in the base: %w", err))
		return false
	}
	b, err := d.cur.Open(is)
	if err != nil {
		d.fail(path, err)
		return false
	}
	equal, err := sameBytes(a, b)
	if err != nil {
		d.fail(path, err)
	}
	return err == nil && !equal
}

// compareBlock is what is held of two files while they are compared.
const compareBlock = 64 << 10

func sameBytes(a, b io.Reader) (bool, error) {
	x, y := make([]byte, compareBlock), make([]byte, compareBlock)
	for {
		n, err := io.ReadFull(a, x)
		m, err2 := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, unlessEnd(err, err2)
		}
		if err != nil || err2 != nil {
			return true, unlessEnd(err, err2)
		}
	}
}

// unlessEnd returns the error that is not merely the end of a file.
func unlessEnd(errs ...error) error {
	for _, err := range errs {
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
	}
	return nil
}
