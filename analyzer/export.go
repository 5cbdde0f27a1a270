package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"lagan/evidence"
	"lagan/export"
	"lagan/runtimes"
)

// ErrNoUpper says that a tree has no upper layer of its own.
var ErrNoUpper = errors.New("is not a container, only they have an upper layer")

// ExportOptions say what of a tree is exported.
type ExportOptions struct {
	Path  string // what is exported; "" and "/" for all
	Upper bool   // only what the container changed, with whiteouts
	// Left, if set, is told of each file that a tar has no place for.
	Left func(path string, info evidence.Info)
	// Links and Preserve are for folders; see export.DirOptions.
	Links, Preserve bool
}

// ExportTar writes the tree as a tar, as its runtime's own export would; see
// export.Tar. What can't be read is a gap.
func (n *Node) ExportTar(ctx context.Context, t *Tree, w io.Writer, o ExportOptions) error {
	s, err := n.exported(t, o)
	if err != nil {
		return err
	}
	options := n.exportOptions(t, o)
	options.NoUserXattrs = t.Container != nil && t.Container.Runtime == runtimes.Docker
	return export.Tar(ctx, w, s, options)
}

// ExportDir writes the tree into a new folder of the analyst's; see export.Dir.
func (n *Node) ExportDir(ctx context.Context, t *Tree, folder string, o ExportOptions) error {
	s, err := n.exported(t, o)
	if err != nil {
		return err
	}
	return export.Dir(ctx, folder, s, export.DirOptions{Options: n.exportOptions(t, o), Links: o.Links, Preserve: o.Preserve})
}

// ExportRaw writes the tree as the image of an ext4 filesystem; see export.Raw.
func (n *Node) ExportRaw(ctx context.Context, t *Tree, f export.RawFile, o ExportOptions) error {
	s, err := n.exported(t, o)
	if err != nil {
		return err
	}
	return export.Raw(ctx, f, s, n.exportOptions(t, o), t.Name)
}

func (n *Node) exportOptions(t *Tree, o ExportOptions) export.Options {
	return export.Options{
		Guard:    func(path string, read func() error) { n.guardFile(t, path, read) },
		Left:     o.Left,
		Progress: func(done int64) { n.progress("exporting files", done, 0) },
		Owner:    n.ownersInside(t),
	}
}

// ownersInside says how owners look from inside a container, nil as on the disk.
func (n *Node) ownersInside(t *Tree) func(uid, gid uint32) (uint32, uint32) {
	var shift *owners
	switch {
	case t.Container != nil:
		shift = n.shiftOf(t.Container.store, t.Container.Rootfs)
	case t.Image != nil:
		shift = n.shiftOf(t.Image.store, t.Image.Rootfs)
	}
	if shift == nil {
		return nil
	}
	return func(uid, gid uint32) (uint32, uint32) {
		return lookBack(shift.uids, uid), lookBack(shift.gids, gid)
	}
}

// guardFile runs what reads one file of a tree; its error or panic is a gap.
func (n *Node) guardFile(t *Tree, path string, read func() error) {
	n.guard(0, t.Name, func() error {
		err := read()
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		return nil
	})
}

// exported finds what of the tree is to be exported.
func (n *Node) exported(t *Tree, o ExportOptions) (export.Source, error) {
	start, err := evidence.Resolve(t, t.Root(), o.Path, true)
	if err != nil {
		return export.Source{}, fmt.Errorf("%s: %w", t.Name, err)
	}
	s := export.Source{FS: t.FS, Start: start, Path: strings.TrimPrefix(path.Clean("/"+o.Path), "/")}
	if !o.Upper {
		return s, nil
	}
	if t.Container == nil {
		return s, fmt.Errorf("%s %w", t.Name, ErrNoUpper)
	}
	if t.Container.Rootfs.Kind == runtimes.RootfsBind || t.Container.Rootfs.Upper.Dir == "" {
		return s, nil // one folder with nothing below it: all of it is the container's
	}
	if t.upper != nil {
		s.Upper = t.upper
		return s, nil
	}
	if s.Upper, _, err = n.layerPlace(t.Container.store, t.Container.Rootfs.Upper, t.Container.Rootfs); err != nil {
		return s, fmt.Errorf("upper layer of %s: %w", t.Name, err)
	}
	return s, nil
}
