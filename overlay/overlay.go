// Package overlay merges the layers of a container as the Linux overlayfs does:
// whiteouts, opaque directories, redirects and metadata-only copies, in the
// trusted.overlay and the user.overlay spelling. It follows fs/overlayfs of
// Linux 6.18 (namei.c, readdir.c, util.c, xattrs.c); the merged view is what a
// process in the container saw.
//
// A directory of the view is the list of the layers' directories that it is
// made of; children are looked up in those, so no path is ever put together.
// Attributes come from the uppermost, and a handle stands for what an inode is
// made of: names that are hard links in one layer have one handle.
//
// Layers are hostile: a redirect may name anything, marks may contradict each
// other. Every loop is bounded by the layers, a redirect only ever leads to
// lower layers, and the view grows only with what is visited. Where the kernel
// refuses an entry (an invalid redirect, a metadata-only copy without data) the
// entry is shown as its own layer has it, Warn is told, and what can't be known
// of it (the rest of a directory, a file's content) is an error.
//
// Digests of fs-verity are compared where a metadata-only copy has one (seal.go).
// Not read: the index directory (index=on, nfs_export=on),
// case-insensitive directories.
package overlay

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"lagan/evidence"
)

// Layer is one directory tree of an overlay.
type Layer struct {
	FS   evidence.FS
	Root evidence.Ino // the directory of FS that the layer is
	Name string       // "upper", a diff id, a snapshot: for messages and records
}

// Options say how the layers were mounted.
type Options struct {
	// UserXattr says that marks are in user.overlay.* (mount option userxattr,
	// of rootless runtimes); trusted.overlay.* are then ordinary attributes,
	// and redirects and metadata-only copies are not followed, as the kernel
	// refuses to. Otherwise user.overlay.* are ordinary attributes.
	UserXattr bool
	// DataOnly is how many of the last layers are data-only ("::" in lowerdir):
	// not merged, but searched for the content of metadata-only copies.
	DataOnly int
	// Warn, if set, is told what the kernel would refuse and what was read
	// past. It may be called from several goroutines.
	Warn func(error)
	// Cache, if set, keeps directories of layers that several views share.
	Cache *Cache
}

// Location is an inode of a layer.
type Location struct {
	Layer int // index into the layers given to Merge
	Ino   evidence.Ino
}

// FS is the merged view. It implements evidence.FS and evidence.Lookuper. Its
// methods may be called from several goroutines.
type FS struct {
	layers []Layer
	merged int // the first so many layers are merged, the others are data-only
	prefix string
	user   bool
	warn   func(error)
	cache  *Cache
	root   evidence.Ino
	roots  []Location // of the merged layers
	keyed  []bool     // the layer's FS may be a cache key

	mu    sync.RWMutex
	nodes []*node
	index map[string]evidence.Ino // node key to handle

	shared atomic.Pointer[common] // with the view last compared
}

var (
	_ evidence.FS       = (*FS)(nil)
	_ evidence.Lookuper = (*FS)(nil)
)

// node is what a handle stands for that needs more than one location.
type node struct {
	stack      []Location // of a directory: what it is made of; else the one inode
	data       Location   // of a metadata-only copy: the content
	metacopy   bool
	redirected bool
	problem    error // what the kernel would refuse the entry for
	noData     error // what it would refuse to open the file for
}

// contentError says why a metadata-only copy can't be read, if it can't.
func (n *node) contentError() error {
	if n.problem != nil {
		return n.problem
	}
	return n.noData
}

// Merge returns the view of the layers, uppermost first.
func Merge(layers []Layer, o Options) (*FS, error) {
	if len(layers) == 0 || len(layers) > maxLayers {
		return nil, fmt.Errorf("merging %d layers: an overlay has 1 to %d: %w", len(layers), maxLayers, evidence.ErrUnsupported)
	}
	if o.DataOnly < 0 || o.DataOnly >= len(layers) {
		return nil, fmt.Errorf("merging %d layers, %d of them data-only: %w", len(layers), o.DataOnly, evidence.ErrUnsupported)
	}
	f := &FS{
		layers: layers, merged: len(layers) - o.DataOnly, prefix: trustedPrefix, user: o.UserXattr,
		warn: o.Warn, cache: o.Cache, index: map[string]evidence.Ino{},
	}
	if o.UserXattr {
		f.prefix = userPrefix
	}
	if f.cache == nil {
		f.cache = NewCache(0)
	}
	for i, l := range layers {
		info, err := l.FS.Stat(l.Root)
		if err != nil {
			return nil, fmt.Errorf("layer %d %q: %w", i, l.Name, err)
		}
		if info.Type != evidence.TypeDir {
			return nil, fmt.Errorf("layer %d %q is a %s, not a directory: %w", i, l.Name, info.Type, evidence.ErrCorrupt)
		}
		f.keyed = append(f.keyed, comparableFS(l.FS))
		if i < f.merged {
			f.roots = append(f.roots, Location{i, l.Root})
		}
	}
	f.root = f.handle(node{stack: f.roots})
	return f, nil
}

// Layers returns the layers as given to Merge.
func (f *FS) Layers() []Layer { return f.layers }

// Root implements evidence.FS.
func (f *FS) Root() evidence.Ino { return f.root }

// Stat implements evidence.FS: the uppermost inode's own attributes, its inode
// number and link count in its layer among them.
func (f *FS) Stat(ino evidence.Ino) (evidence.Info, error) {
	top, err := f.top(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	return f.layers[top.Layer].FS.Stat(top.Ino)
}

// ReadLink implements evidence.FS.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	top, err := f.top(ino)
	if err != nil {
		return "", err
	}
	return f.layers[top.Layer].FS.ReadLink(top.Ino)
}

// Xattrs implements evidence.FS. The overlay's own attributes are left out, and
// those that an inner overlay had escaped get their names back, as
// fs/overlayfs/xattrs.c (ovl_listxattr) has it.
func (f *FS) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	top, err := f.top(ino)
	if err != nil {
		return nil, err
	}
	all, err := f.layers[top.Layer].FS.Xattrs(top.Ino)
	var escaped []string
	for name := range all {
		if rest, own := strings.CutPrefix(name, f.prefix); own {
			if inner, ok := strings.CutPrefix(rest, escapePrefix); ok && inner != "" {
				escaped = append(escaped, name)
			} else {
				delete(all, name)
			}
		}
	}
	if len(escaped) > 0 {
		out := make(map[string][]byte, len(all))
		for name, v := range all {
			if inner, ok := strings.CutPrefix(name, f.prefix+escapePrefix); ok {
				name = f.prefix + inner
			}
			out[name] = v
		}
		all = out
	}
	return all, err
}

// Open implements evidence.FS. A metadata-only copy gives the content of the
// layer that has it; where none does, that is an error and not an empty file.
func (f *FS) Open(ino evidence.Ino) (*io.SectionReader, error) {
	n, err := f.node(ino)
	if err != nil {
		return nil, err
	}
	from := n.stack[0]
	switch {
	case n.metacopy:
		if err := n.contentError(); err != nil {
			return nil, err
		}
		from = n.data
	case !f.user:
		if err := f.lastProblem(from); err != nil {
			return nil, err
		}
	}
	return f.layers[from.Layer].FS.Open(from.Ino)
}

// Origin returns the layer and the inode in it that the attributes come from.
func (f *FS) Origin(ino evidence.Ino) (layer int, of evidence.Ino, err error) {
	top, err := f.top(ino)
	return top.Layer, top.Ino, err
}

// Data returns the layer and the inode in it that a file's content comes from:
// other than Origin's for a metadata-only copy, of which it is an error where
// no layer has the content.
func (f *FS) Data(ino evidence.Ino) (layer int, of evidence.Ino, err error) {
	n, err := f.node(ino)
	if err != nil {
		return 0, 0, err
	}
	if n.metacopy {
		return n.data.Layer, n.data.Ino, n.contentError()
	}
	return n.stack[0].Layer, n.stack[0].Ino, nil
}

// Stack returns what an inode is made of, uppermost first: for a directory all
// that are merged, else the one that Origin names.
func (f *FS) Stack(ino evidence.Ino) ([]Location, error) {
	n, err := f.node(ino)
	if err != nil {
		return nil, err
	}
	return append([]Location(nil), n.stack...), nil
}

// Redirected says whether a redirect was followed to put the inode together: a
// mount with redirect_dir=nofollow would refuse it.
func (f *FS) Redirected(ino evidence.Ino) bool {
	n, err := f.node(ino)
	return err == nil && n.redirected
}

// Opaque says whether a directory hides what the layers below its uppermost
// have in its place.
func (f *FS) Opaque(ino evidence.Ino) bool {
	top, err := f.top(ino)
	if err != nil {
		return false
	}
	info, err := f.layers[top.Layer].FS.Stat(top.Ino)
	return err == nil && info.Type == evidence.TypeDir && f.marks(top, evidence.TypeDir).opaque == opaqueYes
}

// Problem returns what the kernel would refuse the inode for, or nil.
func (f *FS) Problem(ino evidence.Ino) error {
	n, err := f.node(ino)
	if err != nil {
		return err
	}
	if n.problem == nil && len(n.stack) == 1 && !n.metacopy {
		return f.lastProblem(n.stack[0])
	}
	return n.problem
}

// lastProblem finds a metadata-only copy where lookup leaves the attributes of
// files unread: in the last layer that it looks at.
func (f *FS) lastProblem(l Location) error {
	if l.Layer != f.merged-1 && !f.user {
		return nil
	}
	switch m := f.marks(l, evidence.TypeFile); {
	case !m.metacopy:
		return nil
	case f.user:
		return f.refused(l)
	default:
		return f.noData(l)
	}
}

// Same says whether ino and other's inode are made of the same inodes of the
// same layers: then all that is below is the same too, and nothing of it needs
// to be read. Views of different mount options, or over other layers below,
// are never the same.
func (f *FS) Same(ino evidence.Ino, other evidence.FS, of evidence.Ino) bool {
	g, ok := other.(*FS)
	if !ok {
		return false
	}
	a, err := f.node(ino)
	if err != nil {
		return false
	}
	b, err := g.node(of)
	if err != nil || len(a.stack) != len(b.stack) || a.metacopy != b.metacopy || a.problem != nil || b.problem != nil {
		return false
	}
	for i := range a.stack {
		if !f.sameInode(a.stack[i], g, b.stack[i]) {
			return false
		}
	}
	if a.metacopy {
		return f.sameInode(a.data, g, b.data)
	}
	return f.sameBelow(a.stack[0].Layer, g, b.stack[0].Layer)
}

// Own returns the names in the uppermost directory that a directory is made of,
// sorted, where the rest of it is what other's directory is made of: only those
// names can differ between the two. false where that isn't so.
func (f *FS) Own(ino evidence.Ino, other evidence.FS, of evidence.Ino) ([]string, bool) {
	g, ok := other.(*FS)
	if !ok {
		return nil, false
	}
	a, err := f.node(ino)
	if err != nil {
		return nil, false
	}
	b, err := g.node(of)
	if err != nil || len(a.stack) != len(b.stack)+1 || a.problem != nil || b.problem != nil || a.metacopy || b.metacopy {
		return nil, false
	}
	for i, l := range b.stack {
		if !f.sameInode(a.stack[i+1], g, l) {
			return nil, false
		}
	}
	if !f.sameBelow(a.stack[1].Layer, g, b.stack[0].Layer) {
		return nil, false
	}
	top := f.list(a.stack[0])
	if top.err != nil {
		return nil, false
	}
	names := make([]string, len(top.entries))
	for i, e := range top.entries {
		names[i] = e.Name
	}
	return slices.Compact(names), true
}

// SameData says whether two files have their content from one inode.
func (f *FS) SameData(ino evidence.Ino, other evidence.FS, of evidence.Ino) bool {
	g, ok := other.(*FS)
	if !ok {
		return false
	}
	la, ia, err := f.Data(ino)
	if err != nil {
		return false
	}
	lb, ib, err := g.Data(of)
	return err == nil && f.sameInode(Location{la, ia}, g, Location{lb, ib})
}

func (f *FS) sameInode(a Location, g *FS, b Location) bool {
	return a.Ino == b.Ino && f.sameFS(a.Layer, g, b.Layer)
}

func (f *FS) sameFS(i int, g *FS, j int) bool {
	return f.keyed[i] && g.keyed[j] && f.layers[i].FS == g.layers[j].FS
}

// common is how many of the lowest layers two views share.
type common struct {
	other  *FS
	layers int
}

// sameBelow says whether the views have the same layers from i and j down,
// which an absolute redirect may lead to.
func (f *FS) sameBelow(i int, g *FS, j int) bool {
	c := f.shared.Load()
	if c == nil || c.other != g {
		c = &common{g, f.countCommon(g)}
		f.shared.Store(c)
	}
	return len(f.layers)-i == len(g.layers)-j && len(f.layers)-i <= c.layers
}

func (f *FS) countCommon(g *FS) int {
	if f.prefix != g.prefix || len(f.layers)-f.merged != len(g.layers)-g.merged {
		return 0
	}
	n := 0
	for n < len(f.layers) && n < len(g.layers) {
		i, j := len(f.layers)-1-n, len(g.layers)-1-n
		if f.layers[i].Root != g.layers[j].Root || !f.sameFS(i, g, j) {
			break
		}
		n++
	}
	return n
}

// errHandle is returned for a handle that this view never gave.
var errHandle = errors.New("no such inode in this view")

func (f *FS) warning(err error) {
	if f.warn != nil {
		f.warn(err)
	}
}

// where names a location in messages.
func (f *FS) where(l Location) string {
	name := f.layers[l.Layer].Name
	if name == "" {
		name = fmt.Sprint(l.Layer)
	}
	return fmt.Sprintf("layer %s: inode %d", name, l.Ino)
}

// noData is the error of a metadata-only copy whose content no layer has.
func (f *FS) noData(l Location) error {
	return fmt.Errorf("%s: metadata-only copy, and no layer below has the content: %w", f.where(l), evidence.ErrCorrupt)
}

func (f *FS) refused(l Location) error {
	return fmt.Errorf("%s: metadata-only copy, which mounts with userxattr refuse: %w", f.where(l), evidence.ErrUnsupported)
}

func badHandle(ino evidence.Ino) error {
	return &fs.PathError{Op: "stat", Path: fmt.Sprintf("handle %#x", uint64(ino)), Err: errHandle}
}
