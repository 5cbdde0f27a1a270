package layers

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
)

// Tar is the tree that a layer's tar unpacks to, as an evidence.FS that
// overlay.Merge takes for a layer: whiteouts are character devices 0:0, opaque
// directories have the attribute of overlayfs. Of several entries for one path
// the last stands, as where a runtime unpacks them. A directory that the tar has
// no entry for, only what is in it, is there with Perm 0755 and nothing else.
//
// Its inodes are numbered in the order of the tar. Access and change times are
// there where the tar has them.
type Tar struct {
	nodes []tarNode // by inode; 0 is none, 1 the root
	o     TarOptions
	// entries is the number of headers, whiteouts among them.
	entries int
	data    io.ReaderAt // nil: only the tree was kept
}

var _ evidence.FS = (*Tar)(nil)

// TarOptions say how a layer's tar is read.
type TarOptions struct {
	// UserXattr marks opaque directories in user.overlay.* instead of
	// trusted.overlay.*, as rootless runtimes do.
	UserXattr bool
	// File, if set, is told of each regular file that has content, which it may
	// read. A later entry may replace the file. Its error ends the reading.
	File func(t *Tar, ino evidence.Ino, content io.Reader) error
}

type tarNode struct {
	info     evidence.Info
	parent   evidence.Ino // of its first name
	name     string
	target   string            // of a symbolic link
	xattrs   map[string]string // as in the tar
	children map[string]evidence.Ino
	start    int64 // of the first header, extended ones included
	offset   int64 // of the content
	implied  bool  // a directory without an entry
	whiteout bool
	sparse   bool
}

const tarRoot evidence.Ino = 1

// tarBlock is what headers and contents are padded to.
const tarBlock = 512

// maxTarEntries bounds the tree of one layer, whose memory a small blob could
// otherwise exhaust: some hundred bytes an entry.
const maxTarEntries = 4 << 20

// maxTarLinks bounds the symbolic links followed for one name, as Linux does.
const maxTarLinks = 40

// maxTarDepth bounds the elements of a name: PATH_MAX/2.
const maxTarDepth = 2048

// ReadTar reads a layer's unpacked tar from a stream. Of files only what
// TarOptions.File reads of their content is available. What was read before an
// error is returned beside it.
func ReadTar(r io.Reader, o TarOptions) (*Tar, error) {
	t := newTar(o)
	in := &counter{r: r}
	return t, t.read(in, in)
}

// OpenTar indexes a layer's unpacked tar; the files' content is read from r when
// it is asked for. What was read before an error is returned beside it.
func OpenTar(r io.ReaderAt, size int64, o TarOptions) (*Tar, error) {
	t := newTar(o)
	t.data = r
	section := io.NewSectionReader(r, 0, size)
	in := &seeker{counter: counter{r: section}, s: section}
	return t, t.read(in, &in.counter)
}

func newTar(o TarOptions) *Tar {
	return &Tar{o: o, nodes: []tarNode{{}, {
		info: evidence.Info{Inode: 1, Type: evidence.TypeDir, Perm: 0o755, Nlink: 1}, implied: true, parent: tarRoot,
	}}}
}

func (t *Tar) read(from io.Reader, in *counter) error {
	r := tar.NewReader(from)
	for {
		in.end = in.n
		h, err := r.Next()
		start := (in.end + tarBlock - 1) / tarBlock * tarBlock
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return tarError(in, err)
		}
		if t.entries++; t.entries > maxTarEntries {
			return fmt.Errorf("tar of more than %d entries: %w", maxTarEntries, evidence.ErrUnsupported)
		}
		ino, err := t.add(h, start, in.n)
		if err != nil {
			return fmt.Errorf("tar entry %q at offset %#x: %w", h.Name, start, err)
		}
		if ino == 0 || t.o.File == nil || h.Size == 0 || t.nodes[ino].info.Type != evidence.TypeFile || h.Typeflag == tar.TypeLink {
			continue
		}
		if err := t.o.File(t, ino, r); err != nil {
			if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
				return tarError(in, err)
			}
			return err
		}
	}
}

func tarError(in *counter, err error) error {
	if in.err != nil {
		return fmt.Errorf("tar at offset %#x: %w", in.n, in.err)
	}
	return fmt.Errorf("tar at offset %#x: %w: %w", in.n, err, evidence.ErrCorrupt)
}

// add puts an entry into the tree and returns its inode, 0 for what makes none.
func (t *Tar) add(h *tar.Header, start, offset int64) (evidence.Ino, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return 0, nil
	}
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if strings.HasPrefix(name, whiteoutMeta) && name != whiteoutOpaque {
		return 0, nil
	}
	if name == "" {
		if h.Typeflag == tar.TypeDir {
			t.nodes[tarRoot] = t.merged(t.nodes[tarRoot], t.node(h, start, offset))
		}
		return tarRoot, nil
	}
	dir, base, err := t.parentOf(name)
	if err != nil {
		return 0, err
	}
	switch {
	case base == whiteoutOpaque:
		d := &t.nodes[dir]
		if d.xattrs == nil {
			d.xattrs = make(map[string]string)
		}
		d.xattrs[t.opaqueName()] = opaqueYes
		return 0, nil
	case strings.HasPrefix(base, whiteoutPrefix) && len(base) > len(whiteoutPrefix):
		n := t.node(h, start, offset)
		n.info.Type, n.info.Perm, n.info.Size, n.whiteout = evidence.TypeChar, 0, 0, true
		n.info.Major, n.info.Minor, n.xattrs = 0, 0, nil
		t.set(dir, strings.TrimPrefix(base, whiteoutPrefix), n)
		return 0, nil
	}
	if h.Typeflag == tar.TypeLink {
		ino, err := t.link(dir, base, h.Linkname)
		if err == nil && t.nodes[ino].info.Type == evidence.TypeFile {
			t.nodes[ino].retime(t.node(h, start, offset))
		}
		return ino, err
	}
	n := t.node(h, start, offset)
	if n.info.Type == evidence.TypeUnknown {
		return 0, fmt.Errorf("type %q: %w", h.Typeflag, evidence.ErrUnsupported)
	}
	if old := t.nodes[dir].children[base]; old != 0 && n.info.Type == evidence.TypeDir && t.nodes[old].info.Type == evidence.TypeDir {
		t.nodes[old] = t.merged(t.nodes[old], n)
		return old, nil
	}
	return t.set(dir, base, n), nil
}

func (t *Tar) opaqueName() string {
	if t.o.UserXattr {
		return overlayUser + overlayOpaque
	}
	return overlayTrusted + overlayOpaque
}

// merged gives a directory that is there the attributes of another entry for it.
func (t *Tar) merged(old, n tarNode) tarNode {
	if old.xattrs[t.opaqueName()] != "" {
		if n.xattrs == nil {
			n.xattrs = make(map[string]string)
		}
		n.xattrs[t.opaqueName()] = opaqueYes
	}
	n.children, n.parent, n.name, n.info.Inode, n.info.Nlink = old.children, old.parent, old.name, old.info.Inode, old.info.Nlink
	return n
}

// set gives dir a new entry, in place of one that it may have.
func (t *Tar) set(dir evidence.Ino, name string, n tarNode) evidence.Ino {
	t.unlink(dir, name)
	ino := evidence.Ino(len(t.nodes))
	n.info.Inode, n.info.Nlink, n.parent, n.name = uint64(ino), 1, dir, name
	t.nodes = append(t.nodes, n)
	t.name(dir, name, ino)
	return ino
}

func (t *Tar) name(dir evidence.Ino, name string, ino evidence.Ino) {
	d := &t.nodes[dir]
	if d.children == nil {
		d.children = make(map[string]evidence.Ino)
	}
	d.children[name] = ino
}

func (t *Tar) unlink(dir evidence.Ino, name string) {
	if old := t.nodes[dir].children[name]; old != 0 && t.nodes[old].info.Nlink > 0 {
		t.nodes[old].info.Nlink--
	}
}

// retime gives a file the time of a hard link's own entry, as the runtimes do,
// which set it for every entry once its name is made (createTarFile in
// containerd pkg/archive/tar.go and in moby's archive package).
func (n *tarNode) retime(link tarNode) {
	if t := link.info.Mtime; !t.IsZero() && t.Unix() != 0 {
		n.info.Mtime = t
	}
}

// link gives the file at target, which must be in the same layer, another name.
func (t *Tar) link(dir evidence.Ino, name, target string) (evidence.Ino, error) {
	clean := strings.TrimPrefix(path.Clean("/"+target), "/")
	at, base, err := t.parentOf(clean)
	if err != nil {
		return 0, err
	}
	ino := t.nodes[at].children[base]
	if ino == 0 || t.nodes[ino].info.Type == evidence.TypeDir {
		return 0, fmt.Errorf("hard link to %q, which is no file of the layer: %w", target, evidence.ErrCorrupt)
	}
	if t.nodes[dir].children[name] == ino {
		return ino, nil
	}
	t.unlink(dir, name)
	t.name(dir, name, ino)
	t.nodes[ino].info.Nlink++
	return ino, nil
}

// parentOf returns the directory that a name lies in, and its last element.
// Directories that the tar has no entry for are made; symbolic links on the way
// lead where they lead inside the layer, as where a runtime unpacks it.
func (t *Tar) parentOf(name string) (evidence.Ino, string, error) {
	todo := strings.Split(name, "/")
	if len(todo) > maxTarDepth {
		return 0, "", fmt.Errorf("name of more than %d elements: %w", maxTarDepth, evidence.ErrCorrupt)
	}
	base := todo[len(todo)-1]
	todo = todo[:len(todo)-1]
	dir := tarRoot
	for links := 0; len(todo) > 0; {
		e := todo[0]
		todo = todo[1:]
		if e == "" || e == "." {
			continue
		}
		if e == ".." {
			dir = t.nodes[dir].parent
			continue
		}
		ino := t.nodes[dir].children[e]
		if ino == 0 || t.nodes[ino].whiteout {
			ino = t.set(dir, e, tarNode{implied: true, info: evidence.Info{Type: evidence.TypeDir, Perm: 0o755}})
		}
		switch n := &t.nodes[ino]; n.info.Type {
		case evidence.TypeDir:
			dir = ino
		case evidence.TypeSymlink:
			if links++; links > maxTarLinks || len(todo) > maxTarDepth {
				return 0, "", fmt.Errorf("too many symbolic links: %w", evidence.ErrCorrupt)
			}
			if strings.HasPrefix(n.target, "/") {
				dir = tarRoot
			}
			todo = append(strings.Split(n.target, "/"), todo...)
		default:
			return 0, "", fmt.Errorf("%q on the way is a %s: %w", e, n.info.Type, evidence.ErrCorrupt)
		}
	}
	return dir, base, nil
}

var tarTypes = map[byte]evidence.Type{
	tar.TypeReg: evidence.TypeFile, '\x00': evidence.TypeFile, tar.TypeCont: evidence.TypeFile, tar.TypeGNUSparse: evidence.TypeFile,
	tar.TypeDir: evidence.TypeDir, tar.TypeSymlink: evidence.TypeSymlink, tar.TypeChar: evidence.TypeChar, tar.TypeBlock: evidence.TypeBlock,
	tar.TypeFifo: evidence.TypeFIFO, tar.TypeLink: evidence.TypeFile,
}

// paxXattr begins the records that hold extended attributes: star's, which
// every writer of layers uses.
const paxXattr = "SCHILY.xattr."

func (t *Tar) node(h *tar.Header, start, offset int64) tarNode {
	n := tarNode{start: start, offset: offset, info: evidence.Info{
		Type: tarTypes[h.Typeflag], Perm: uint16(h.Mode & 0o7777), UID: uint32(h.Uid), GID: uint32(h.Gid),
		Mtime: h.ModTime.UTC(),
	}}
	if !h.AccessTime.IsZero() {
		n.info.Atime = h.AccessTime.UTC()
	}
	if !h.ChangeTime.IsZero() {
		n.info.Ctime = h.ChangeTime.UTC()
	}
	switch n.info.Type {
	case evidence.TypeFile:
		n.info.Size = h.Size
	case evidence.TypeSymlink:
		n.target, n.info.Size, n.info.Perm = h.Linkname, int64(len(h.Linkname)), 0o777
	case evidence.TypeChar, evidence.TypeBlock:
		n.info.Major, n.info.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	}
	n.sparse = h.Typeflag == tar.TypeGNUSparse
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxXattr); ok {
			if n.xattrs == nil {
				n.xattrs = make(map[string]string)
			}
			n.xattrs[name] = v
		}
		n.sparse = n.sparse || strings.HasPrefix(k, "GNU.sparse.")
	}
	return n
}

func (t *Tar) get(ino evidence.Ino) (*tarNode, error) {
	if ino == 0 || int64(ino) >= int64(len(t.nodes)) {
		return nil, fmt.Errorf("inode %d of a tar: %w", ino, fs.ErrNotExist)
	}
	return &t.nodes[ino], nil
}

// Path returns the first name of an inode, with a leading slash.
func (t *Tar) Path(ino evidence.Ino) string {
	var names []string
	for ino != tarRoot && ino != 0 && len(names) <= maxTarDepth {
		names = append(names, t.nodes[ino].name)
		ino = t.nodes[ino].parent
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

// Implied says whether a directory has no entry of its own in the tar.
func (t *Tar) Implied(ino evidence.Ino) bool {
	n, err := t.get(ino)
	return err == nil && n.implied
}

// Root implements evidence.FS.
func (t *Tar) Root() evidence.Ino { return tarRoot }

// Stat implements evidence.FS.
func (t *Tar) Stat(ino evidence.Ino) (evidence.Info, error) {
	n, err := t.get(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	return n.info, nil
}

// ReadDir implements evidence.FS, in name order.
func (t *Tar) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		n, err := t.get(ino)
		if err == nil && n.info.Type != evidence.TypeDir {
			err = fmt.Errorf("inode %d of a tar is not a directory: %w", ino, evidence.ErrCorrupt)
		}
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			c := n.children[name]
			if !yield(evidence.Entry{Name: name, Ino: c, Type: t.nodes[c].info.Type}, nil) {
				return
			}
		}
	}
}

// Lookup implements evidence.Lookuper.
func (t *Tar) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	n, err := t.get(dir)
	if err != nil {
		return evidence.Entry{}, err
	}
	c := n.children[name]
	if c == 0 {
		return evidence.Entry{}, fs.ErrNotExist
	}
	return evidence.Entry{Name: name, Ino: c, Type: t.nodes[c].info.Type}, nil
}

// ReadLink implements evidence.FS.
func (t *Tar) ReadLink(ino evidence.Ino) (string, error) {
	n, err := t.get(ino)
	if err != nil {
		return "", err
	}
	if n.info.Type != evidence.TypeSymlink {
		return "", fmt.Errorf("inode %d of a tar is not a symbolic link: %w", ino, evidence.ErrCorrupt)
	}
	return n.target, nil
}

// Xattrs implements evidence.FS.
func (t *Tar) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	n, err := t.get(ino)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(n.xattrs))
	for k, v := range n.xattrs {
		out[k] = []byte(v)
	}
	return out, nil
}

// Open implements evidence.FS. It fails for a tar that was read from a stream.
func (t *Tar) Open(ino evidence.Ino) (*io.SectionReader, error) {
	n, err := t.get(ino)
	switch {
	case err != nil:
		return nil, err
	case n.info.Type != evidence.TypeFile:
		return nil, fmt.Errorf("inode %d of a tar is not a regular file: %w", ino, evidence.ErrCorrupt)
	case t.data == nil && n.info.Size > 0:
		return nil, fmt.Errorf("inode %d of a tar that was read from a stream: %w", ino, errors.ErrUnsupported)
	case n.sparse:
		return io.NewSectionReader(&sparseFile{t: t, start: n.start}, 0, n.info.Size), nil
	}
	return io.NewSectionReader(t.data, n.offset, n.info.Size), nil
}
