package layers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
)

// What a Difference may name beside the Changed constants.
const (
	ChangedSize     = "size"
	ChangedDevice   = "device"
	ChangedLink     = "link"     // a hard link that isn't one
	ChangedOpaque   = "opaque"   // whether the directory hides what is below it
	ChangedWhiteout = "whiteout" // of what was added or is missing
)

// Difference is what differs between a layer's tar and its folder at one path.
type Difference struct {
	// Kind is Added for what only the folder has, Deleted for what it lacks.
	Kind  Kind
	Path  string // with a leading slash, any bytes
	Field string // of a Modified path; of the others their type
	// Want is of the tar, Got of the folder, as text; "" where there is none.
	Want, Got string
	Info      evidence.Info // of what is in the folder; zero where there is nothing
	// Err says that the path could not be compared: it is then no difference.
	Err error
}

// CompareOptions say how a runtime unpacked a layer.
type CompareOptions struct {
	Context context.Context // ends the comparison early; nil: never
	// UserXattr says that it had no root's rights: its marks are in
	// user.overlay.*, and it could make no devices.
	UserXattr bool
	// MapUID and MapGID give the owner on the disk of an owner in the tar, where
	// user namespaces shift them; false: not known, and not compared.
	MapUID, MapGID func(uint32) (uint32, bool)
	// NoTrusted says that the folder's trusted.* attributes can't be seen, and
	// with them which of its directories are opaque: neither is compared.
	NoTrusted bool
	// Pulled, if set, says that the folder was pulled file by file and complete at
	// this time. What does that sets no times of symbolic links, and those of
	// directories before it fills them: such times of the pull are not compared.
	Pulled time.Time
	// Lost says that this was done by a version that may set no times and owners at
	// all: containers/storage before 1.50 looks for both under other names than the
	// table has. It is believed while no time is the table's.
	Lost bool
	// Built, if set, is written the tar that CompareSplit builds. Its errors are
	// its owner's to keep.
	Built io.Writer
}

// Comparison is what was found.
type Comparison struct {
	Entries     int // of the tar
	Differences []Difference
	// Sparse says that the tar keeps files with holes, which tar-split can't give back.
	Sparse bool
}

// CompareTar compares the folder that a layer was unpacked into with its tar, in
// one pass over the tar: names, types, modes, owners, sizes, targets, extended
// attributes, contents, times of modification, hard links, whiteouts and opaque
// directories. The folder may be overlayfs's or hold .wh. files, as
// fuse-overlayfs keeps them.
//
// Not compared is what the runtime or the node chooses and no tar says: the root
// itself, directories that the tar has no entry for, owner and time of
// whiteouts, labels of SELinux, Smack, IMA and EVM. That a directory's time
// changed isn't named where something in it is.
//
// With an error, which is the tar's, Differences are nil: what is behind the
// error would seem to be missing from it.
func CompareTar(r io.Reader, folder evidence.FS, o CompareOptions) (*Comparison, error) {
	c := newComparer(folder, o)
	t, err := ReadTar(r, TarOptions{UserXattr: o.UserXattr, File: c.file})
	if err != nil {
		return &Comparison{Entries: t.entries}, err
	}
	return c.finish(t)
}

type comparer struct {
	o       CompareOptions
	folder  evidence.FS
	tar     *Tar
	lists   map[evidence.Ino]map[string]evidence.Entry // of the folder's directories
	content map[evidence.Ino]*content                  // by inode of the tar: what differs
	linked  map[evidence.Ino]uint64                    // the folder's inode of the first name of files with several
	visits  map[evidence.Ino]uint8
	out     []Difference
	times   []timeDifference
	exact   [3]int // times that agree: see judgeTimes
	buf     [2][]byte
	split   *splitReader // nil: the contents come from the tar
}

// content is what was found of a file whose content differs or can't be read.
type content struct {
	want, got string
	err       error
}

func newComparer(folder evidence.FS, o CompareOptions) *comparer {
	if o.Context == nil {
		o.Context = context.Background()
	}
	return &comparer{o: o, folder: folder, lists: make(map[evidence.Ino]map[string]evidence.Entry),
		content: make(map[evidence.Ino]*content), linked: make(map[evidence.Ino]uint64), visits: make(map[evidence.Ino]uint8)}
}

func (c *comparer) finish(t *Tar) (*Comparison, error) {
	c.tar = t
	c.dir("", tarRoot, c.folder.Root(), 0)
	c.judgeTimes()
	slices.SortStableFunc(c.out, func(a, b Difference) int {
		if n := strings.Compare(a.Path, b.Path); n != 0 {
			return n
		}
		return strings.Compare(a.Field, b.Field)
	})
	out := &Comparison{Entries: t.entries, Differences: c.out}
	for i := range t.nodes {
		out.Sparse = out.Sparse || t.nodes[i].sparse
	}
	return out, c.o.Context.Err()
}

// list returns the entries of one of the folder's directories by name.
func (c *comparer) list(path string, dir evidence.Ino) map[string]evidence.Entry {
	if l, ok := c.lists[dir]; ok {
		return l
	}
	l := make(map[string]evidence.Entry)
	for e, err := range c.folder.ReadDir(dir) {
		if err != nil {
			c.fail(path, fmt.Errorf("reading directory: %w", err))
			continue
		}
		l[e.Name] = e
	}
	c.lists[dir] = l
	return l
}

func (c *comparer) fail(path string, err error) {
	if path == "" {
		path = "/"
	}
	c.out = append(c.out, Difference{Kind: Modified, Path: path, Err: err})
}

// peer finds what the folder has at the place of one of the tar's inodes.
func (c *comparer) peer(ino evidence.Ino, depth int) (evidence.Entry, bool) {
	if ino == tarRoot {
		return evidence.Entry{Ino: c.folder.Root(), Type: evidence.TypeDir}, true
	}
	if depth > maxTarDepth {
		return evidence.Entry{}, false
	}
	n := &c.tar.nodes[ino]
	dir, ok := c.peer(n.parent, depth+1)
	if !ok || c.typ(dir) != evidence.TypeDir {
		return evidence.Entry{}, false
	}
	e, ok := c.list(c.tar.Path(n.parent), dir.Ino)[n.name]
	return e, ok
}

func (c *comparer) typ(e evidence.Entry) evidence.Type {
	if e.Type != evidence.TypeUnknown {
		return e.Type
	}
	info, _ := c.folder.Stat(e.Ino) // an error is told where the entry is compared
	return info.Type
}

// compareBuffer is how much of a file is read at once.
const compareBuffer = 256 << 10

// maxComparedFile bounds what is read of one file: a sparse one may claim 2^60 bytes.
const maxComparedFile = 1 << 38

// file compares a file's content while the tar is read.
func (c *comparer) file(t *Tar, ino evidence.Ino, r io.Reader) error {
	if err := c.o.Context.Err(); err != nil {
		return err
	}
	c.tar = t
	f, err := c.open(ino)
	if c.split != nil {
		return c.fileOfSplit(ino, f, err, r)
	}
	if !c.sized(ino, f, err) {
		return nil
	}
	return c.same(ino, f, r)
}

// sized says whether a content f, or the error of opening it, is one to be read
// and compared. It notes one that need not be.
func (c *comparer) sized(ino evidence.Ino, f *io.SectionReader, err error) bool {
	want := c.tar.nodes[ino].info.Size
	switch {
	case err != nil:
		c.content[ino] = &content{err: err}
	case f == nil: // which the comparison of names and types says
	case f.Size() != want:
		c.content[ino] = &content{want: fmt.Sprint(want, " bytes"), got: fmt.Sprint(f.Size(), " bytes")}
	case f.Size() > maxComparedFile:
		c.content[ino] = &content{err: fmt.Errorf("%d bytes are too many to compare: %w", f.Size(), evidence.ErrUnsupported)}
	default:
		return true
	}
	return false
}

// open opens what the folder has for one of the tar's files; nil where that is
// missing or no file.
func (c *comparer) open(ino evidence.Ino) (*io.SectionReader, error) {
	e, ok := c.peer(ino, 0)
	if !ok || c.typ(e) != evidence.TypeFile {
		return nil, nil
	}
	return c.folder.Open(e.Ino)
}

// same compares two contents of one size. Only where they differ are they
// hashed, the part that agreed by what the folder has of it. The error is the tar's.
func (c *comparer) same(ino evidence.Ino, f *io.SectionReader, r io.Reader) error {
	if c.buf[0] == nil {
		c.buf[0], c.buf[1] = make([]byte, compareBuffer), make([]byte, compareBuffer)
	}
	for at := int64(0); ; {
		n, err := io.ReadFull(r, c.buf[0])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		m, fileErr := io.ReadFull(f, c.buf[1][:n])
		if fileErr != nil && n > 0 {
			c.content[ino] = &content{err: fileErr}
			return nil
		}
		if !bytes.Equal(c.buf[0][:n], c.buf[1][:m]) {
			return c.differs(ino, f, at, io.MultiReader(bytes.NewReader(c.buf[0][:n]), r))
		}
		at += int64(n)
		if err != nil {
			return nil
		}
	}
}

func (c *comparer) differs(ino evidence.Ino, f *io.SectionReader, same int64, rest io.Reader) error {
	want := Digest{}.Hash()
	_, err := io.Copy(want, io.NewSectionReader(f, 0, same))
	if err == nil {
		if _, err := io.Copy(want, rest); err != nil {
			return err
		}
	}
	got, _, err2 := Digest{}.Sum(io.NewSectionReader(f, 0, f.Size()))
	out := &content{want: Digest{}.with(want).String(), got: got.String()}
	if err := errors.Join(err, err2); err != nil {
		out = &content{err: err}
	}
	c.content[ino] = out
	return nil
}

// dir compares a directory of the tar with the folder's and says whether
// anything directly in it came, went or was replaced.
func (c *comparer) dir(path string, ino, dir evidence.Ino, depth int) bool {
	if c.o.Context.Err() != nil {
		return false
	}
	if depth >= maxTarDepth || c.visits[dir] >= maxVisits {
		c.fail(path, fmt.Errorf("directory is inside itself or has many names: %w", evidence.ErrCorrupt))
		return false
	}
	c.visits[dir]++
	has := c.list(path, dir)
	want := c.tar.nodes[ino].children
	replaced := false
	for _, name := range slices.Sorted(maps.Keys(want)) {
		e, ok := has[name]
		if !ok && c.tar.nodes[want[name]].whiteout {
			if _, ok = has[whiteoutPrefix+name]; ok {
				continue
			}
		}
		switch {
		case !ok:
			replaced = c.missing(path+"/"+name, want[name]) || replaced
		default:
			replaced = c.both(path+"/"+name, want[name], e, depth+1) || replaced
		}
	}
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if want[name] != 0 {
			continue
		}
		if hidden, ok := strings.CutPrefix(name, whiteoutPrefix); ok && c.isWhiteout(want[hidden]) || name == whiteoutOpaque && c.wantsOpaque(ino) {
			continue
		}
		c.added(path+"/"+name, has[name], depth+1)
		replaced = true
	}
	return replaced
}

func (c *comparer) isWhiteout(ino evidence.Ino) bool { return ino != 0 && c.tar.nodes[ino].whiteout }

func (c *comparer) wantsOpaque(ino evidence.Ino) bool {
	return c.tar.nodes[ino].xattrs[c.tar.opaqueName()] != ""
}

// missing names what the folder lacks, with all that is below.
func (c *comparer) missing(path string, ino evidence.Ino) bool {
	n := &c.tar.nodes[ino]
	if c.o.UserXattr && !n.whiteout && (n.info.Type == evidence.TypeChar || n.info.Type == evidence.TypeBlock) {
		return false // a user's runtime could not make it
	}
	c.out = append(c.out, Difference{Kind: Deleted, Path: path, Field: typeName(n.info.Type, n.whiteout)})
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		c.missing(path+"/"+name, n.children[name])
	}
	return true
}

// added names what only the folder has, with all that is below.
func (c *comparer) added(path string, e evidence.Entry, depth int) {
	info, err := c.folder.Stat(e.Ino)
	if err != nil {
		c.fail(path, err)
		return
	}
	c.out = append(c.out, Difference{Kind: Added, Path: path, Field: typeName(info.Type, marksDeleted(&info)), Info: info})
	if info.Type != evidence.TypeDir {
		return
	}
	if depth >= maxTarDepth || c.visits[e.Ino] >= maxVisits {
		c.fail(path, fmt.Errorf("directory is inside itself or has many names: %w", evidence.ErrCorrupt))
		return
	}
	c.visits[e.Ino]++
	l := c.list(path, e.Ino)
	for _, name := range slices.Sorted(maps.Keys(l)) {
		c.added(path+"/"+name, l[name], depth+1)
	}
}

func marksDeleted(i *evidence.Info) bool {
	return i.Type == evidence.TypeChar && i.Major == 0 && i.Minor == 0
}

func typeName(t evidence.Type, whiteout bool) string {
	if whiteout {
		return ChangedWhiteout
	}
	return t.String()
}

// both compares a path that both have, and says whether another inode was put in its place.
func (c *comparer) both(path string, ino evidence.Ino, e evidence.Entry, depth int) bool {
	n := &c.tar.nodes[ino]
	info, err := c.folder.Stat(e.Ino)
	if err != nil {
		c.fail(path, err)
		return false
	}
	d := differing{c: c, path: path, info: info}
	if got := typeName(info.Type, marksDeleted(&info)); got != typeName(n.info.Type, n.whiteout) {
		if n.whiteout && info.Type == evidence.TypeFile && info.Size == 0 && c.xattrWhiteout(e.Ino) {
			return false
		}
		d.field(ChangedType, typeName(n.info.Type, n.whiteout), got)
		return true
	}
	if n.whiteout {
		return false
	}
	if n.info.Nlink > 1 && n.info.Type != evidence.TypeDir {
		first, met := c.linked[ino]
		if !met {
			c.linked[ino] = info.Inode // not the handle: a folder of this machine gives each name its own
		} else {
			if first != info.Inode {
				d.field(ChangedLink, "a hard link to "+c.tar.Path(ino), fmt.Sprintf("inode %d", info.Inode))
			}
			return first != info.Inode
		}
	}
	replaced := c.kind(&d, ino, e.Ino)
	if n.info.Type == evidence.TypeDir {
		inside := c.dir(path, ino, e.Ino, depth)
		if !inside && !n.implied {
			c.time(&d, n)
		}
	} else {
		c.time(&d, n)
	}
	c.attributes(&d, ino, e.Ino)
	return replaced
}

// differing notes what differs at one path.
type differing struct {
	c    *comparer
	path string
	info evidence.Info
}

func (d *differing) field(name, want, got string) {
	d.c.out = append(d.c.out, Difference{Kind: Modified, Path: d.path, Field: name, Want: want, Got: got, Info: d.info})
}

// kind compares what an inode of its type holds, and says whether it is another than the runtime made.
func (c *comparer) kind(d *differing, ino, peer evidence.Ino) bool {
	n := &c.tar.nodes[ino]
	switch n.info.Type {
	case evidence.TypeFile:
		diff := c.content[ino]
		switch {
		case diff != nil && diff.err != nil:
			c.fail(d.path, fmt.Errorf("reading content: %w", diff.err))
		case n.info.Size != d.info.Size:
			d.field(ChangedSize, fmt.Sprint(n.info.Size), fmt.Sprint(d.info.Size))
		case diff != nil:
			d.field(ChangedContent, diff.want, diff.got)
		}
		return diff != nil && diff.err == nil || n.info.Size != d.info.Size
	case evidence.TypeSymlink:
		target, err := c.folder.ReadLink(peer)
		if err != nil {
			c.fail(d.path, fmt.Errorf("reading link: %w", err))
		} else if target != n.target {
			d.field(ChangedTarget, n.target, target)
			return true
		}
	case evidence.TypeChar, evidence.TypeBlock:
		if n.info.Major != d.info.Major || n.info.Minor != d.info.Minor {
			d.field(ChangedDevice, fmt.Sprintf("%d:%d", n.info.Major, n.info.Minor), fmt.Sprintf("%d:%d", d.info.Major, d.info.Minor))
			return true
		}
	}
	return false
}
