package analyzer

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/find"
	"lagan/layers"
	"lagan/overlay"
	"lagan/runtimes"
)

// ChangeOptions say what Changes gives.
type ChangeOptions struct {
	Hash bool // SHA-256 of regular files, before and after
	// ContainerIDs is as ListOptions has it.
	ContainerIDs bool
	Sets         *HashSets  // lists that files are compared with; nil: none
	Where        *find.Expr // only what it matches, of deleted files as they were; nil: all
}

// Change is what a container did to one path of its image.
type Change struct {
	File // as it is now; of a deleted path, as the image has it
	Kind layers.Kind
	// Changed says what differs of a modified path; see layers.Change.
	Changed   []string
	OldSHA256 string
	// Deleted is, for a deleted path, when that was done: the change time of
	// the mark (whiteout) that hides it, or of the opaque folder around it.
	Deleted time.Time
	// Layers are those that have the path, the uppermost first; see Versions.
	Layers []string
	// Opaque says that no whiteout hides the deleted path, but a folder that replaced the image's.
	Opaque bool

	was     place // what the image has at the path, where the comparison met it
	wasInfo evidence.Info
}

// Changes calls fn for each path that the container added, modified or
// deleted against its image, in path order. A root filesystem of one folder
// has no image below it, and all that is in it was added.
func (n *Node) Changes(ctx context.Context, c *Container, o ChangeOptions, fn func(Change) error) error {
	view, err := n.View(c)
	if err != nil {
		return err
	}
	base, err := n.Base(c)
	if err != nil {
		return err
	}
	if base == nil {
		return n.everything(ctx, view, o, fn)
	}
	d := differ{n: n, c: c, view: view, base: &Tree{FS: base, Name: "image of " + view.Name}, o: o, fn: fn}
	if layered, ok := view.FS.(*overlay.FS); ok {
		d.holders = overlay.NewHolders(layered)
	}
	if o.Where != nil {
		if d.match, err = n.matcher(view, o.Where, time.Time{}); err != nil {
			return err
		}
		d.matchOld = &matcher{n: n, t: d.base, e: d.match.e, env: d.match.env}
	}
	if o.ContainerIDs {
		d.owner = n.ownersSeen(view)
	}
	d.listers()
	for ch, err := range layers.Diff(base, view.FS, diffOptions(c)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			n.gap(c.store.Volume, view.Name, err)
			continue
		}
		if err := d.change(ch); err != nil {
			return err
		}
	}
	return nil
}

// everything tells all files of a root filesystem without an image as added.
func (n *Node) everything(ctx context.Context, view *Tree, o ChangeOptions, fn func(Change) error) error {
	return n.List(ctx, view, "/", ListOptions{Recursive: true, Hash: o.Hash, Where: o.Where, Sets: o.Sets, ContainerIDs: o.ContainerIDs}, func(f File) error {
		if f.Path == "/" {
			return nil
		}
		return fn(Change{File: f, Kind: layers.Added})
	})
}

type differ struct {
	n          *Node
	c          *Container
	view, base *Tree
	o          ChangeOptions
	fn         func(Change) error
	// match and matchOld, where set, say which changes are told.
	match, matchOld *matcher
	owner           func(uid, gid uint32) (uint32, uint32)
	holders         *overlay.Holders // of paths of the view; nil where it has no layers
	now, old        lister
	out             Change
}

// listers makes what reads the files of both sides into d.out.
func (d *differ) listers() {
	o := ListOptions{Hash: d.o.Hash, Sets: d.o.Sets}
	keep := func(f File) error { d.out.File = f; return nil }
	d.now = lister{n: d.n, t: d.view, o: o, fn: keep, match: d.match, owner: d.owner}
	d.old = lister{n: d.n, t: d.base, o: o, fn: keep, match: d.matchOld, owner: d.owner}
}

func (d *differ) change(ch layers.Change) error {
	d.out = Change{Kind: ch.Kind, Changed: ch.Changed}
	if ch.OldIno != 0 {
		d.out.was, d.out.wasInfo = place{d.base.FS, ch.OldIno}, ch.Old
	}
	out, now, old := &d.out, &d.now, &d.old
	// What podman diff calls deleted may be a new directory that hides one of a layer
	// below, which the image had hidden too: the base has nothing there.
	switch {
	case ch.Kind == layers.Deleted && ch.OldIno != 0:
		if err := old.file(ch.Path, ch.OldIno, ch.Old); err != nil {
			return err
		}
		if out.Path == "" {
			return nil // not one of those that are wanted
		}
		out.OldSHA256, out.SHA256 = out.SHA256, ""
		out.Deleted, out.Opaque = d.whenDeleted(ch.Path)
	default:
		if err := now.file(ch.Path, ch.Ino, ch.Info); err != nil {
			return err
		}
		if out.Path == "" {
			return nil
		}
		if d.o.Hash && ch.Kind == layers.Modified && ch.Old.Type == evidence.TypeFile {
			h, err := old.hashContent(ch.OldIno)
			if err != nil {
				d.n.gap(d.c.store.Volume, d.base.Name+": "+ch.Path, err)
			}
			out.OldSHA256 = hex.EncodeToString(h.sha256)
		}
	}
	if d.holders != nil {
		for _, k := range d.holders.Of(ch.Path) {
			out.Layers = append(out.Layers, d.view.layers[k].name)
		}
	}
	return d.fn(*out)
}

// whenDeleted looks in the upper layer for what hides the path: a whiteout in
// its place, or else the nearest folder above it that exists there.
func (d *differ) whenDeleted(path string) (when time.Time, opaque bool) {
	tree, dir, err := d.n.layerPlace(d.c.store, d.c.Rootfs.Upper, d.c.Rootfs)
	if err != nil {
		return time.Time{}, false
	}
	elements := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, name := range elements {
		e, err := evidence.Lookup(tree, dir, name)
		if err != nil {
			break // what is above hides it
		}
		info, err := tree.Stat(e.Ino)
		if err != nil {
			break
		}
		when = info.Ctime
		if i == len(elements)-1 || info.Type != evidence.TypeDir {
			return when, false
		}
		dir = e.Ino
	}
	return when, true
}

// diffOptions choose the lines that the container's own runtime would print.
func diffOptions(c *Container) layers.DiffOptions {
	if c.Runtime == runtimes.Podman {
		// Drivers that keep whole trees compare them, and so does overlay where a
		// program or composefs does the mounting: useNaiveDiff in drivers/overlay/overlay.go.
		native := c.Rootfs.Kind == runtimes.RootfsOverlay && c.Rootfs.Marks == runtimes.MarksOverlay && len(c.Rootfs.Data) == 0
		return layers.DiffOptions{Native: native, Ignore: layers.PodmanIgnores}
	}
	return layers.DiffOptions{Root: c.Runtime != runtimes.Docker}
}
