package analyzer

import (
	"context"
	"fmt"
	"strings"

	"lagan/evidence"
	"lagan/mount"
	"lagan/overlay"
	"lagan/runtimes"
)

// ServeOptions say how trees are mounted on the analyst's machine.
type ServeOptions struct {
	Upper      bool // of containers: the folder that each wrote to, alone, as it lies on the disk
	Mounts     bool // of containers: with volumes and bind mounts in their places
	AllowOther bool // for all users of the machine
	// Only are the containers that ServeAll mounts; nil: all. ByID has their
	// folders called by their ids.
	Only []*Container
	ByID bool
	// Mounted and Busy, if set, are called when the mount can be used, and when it
	// ends while it is in use.
	Mounted, Busy func()
	// Kept, if set, is the connection to the process that mounts for this one.
	Kept *mount.Kept
}

// Serve mounts a tree at a folder of this machine until ctx ends or someone
// unmounts it. What can't be read while it is used is a gap.
func (n *Node) Serve(ctx context.Context, folder string, t *Tree, o ServeOptions) error {
	if (o.Upper || o.Mounts) && t.Container == nil {
		return fmt.Errorf("%s %w", t.Name, ErrNoUpper)
	}
	open := func() (mount.View, error) { return n.shown(t, o) }
	return mount.Serve(ctx, folder, []mount.Tree{{Open: open}}, n.mountOptions(t.Name, o))
}

// ServeAll mounts every container: a folder each, under folders for its runtime,
// containerd's namespace, its pod's namespace and its pod.
func (n *Node) ServeAll(ctx context.Context, folder string, o ServeOptions) error {
	all := n.Containers()
	if o.Only != nil {
		all = o.Only
	}
	if len(all) == 0 {
		return fmt.Errorf("nothing to mount: %w was found", ErrNoContainer)
	}
	var trees []mount.Tree
	for i, path := range containerFolders(all) {
		if o.ByID {
			path = []string{folderName(all[i].ID)}
		}
		trees = append(trees, mount.Tree{Path: path, Open: func() (mount.View, error) {
			t, err := n.View(all[i])
			if err != nil {
				return mount.View{}, err
			}
			return n.shown(t, o)
		}})
	}
	return mount.Serve(ctx, folder, trees, n.mountOptions("mount", o))
}

func (n *Node) mountOptions(object string, o ServeOptions) mount.Options {
	var size int64
	for _, v := range n.Volumes {
		if v.FS != nil && v.Size > 0 {
			size += v.Size
		}
	}
	return mount.Options{
		Source: n.Evidence[0].Name, Size: size, AllowOther: o.AllowOther, Mounted: o.Mounted, Busy: o.Busy, Kept: o.Kept,
		Guard: func(path func() string, read func() error) {
			n.guard(0, object, func() error {
				if err := read(); err != nil {
					return fmt.Errorf("%q: %w", path(), err)
				}
				return nil
			})
		},
	}
}

// shown returns a tree as the options ask for it.
func (n *Node) shown(t *Tree, o ServeOptions) (mount.View, error) {
	var err error
	switch {
	case o.Upper:
		t, err = n.upperTree(t)
	case o.Mounts:
		t, err = n.WithMounts(t)
	}
	if err != nil {
		return mount.View{}, err
	}
	return mount.View{FS: t.FS, Number: func(ino evidence.Ino) uint64 { return n.number(t.FS, ino) }}, nil
}

// upperTree returns the folder that a container wrote to. A container of one
// folder with nothing below it is all its own.
func (n *Node) upperTree(t *Tree) (*Tree, error) {
	r := t.Container.Rootfs
	if r.Kind == runtimes.RootfsBind || r.Upper.Dir == "" {
		return t, nil
	}
	if t.upper != nil {
		return &Tree{FS: t.upper, Name: t.Name, Container: t.Container}, nil
	}
	fsys, ino, err := n.layerPlace(t.Container.store, r.Upper, r)
	if err != nil {
		return nil, fmt.Errorf("upper layer of %s: %w", t.Name, err)
	}
	return &Tree{FS: evidence.Sub(fsys, ino), Name: t.Name, Container: t.Container}, nil
}

// treeShift leaves a filesystem's inode numbers as they are where they are
// below 2^48, and has filesystems differ above.
const treeShift = 48

// number returns an inode number that no other inode of the node has: on the
// node's own tree the disk's, with the volume in its upper bits.
func (n *Node) number(fsys evidence.FS, ino evidence.Ino) uint64 {
	switch f := fsys.(type) {
	case *overlay.FS:
		layer, of, err := f.Origin(ino)
		if err != nil {
			return uint64(ino)
		}
		return n.number(f.Layers()[layer].FS, of)
	case *mountedView:
		part, own, _ := f.part(ino)
		return n.number(part, own)
	case interface{ Above() evidence.FS }:
		return n.number(f.Above(), ino)
	}
	return n.treeNumber(fsys)<<treeShift ^ uint64(ino)
}

// treeNumber tells filesystems apart: 0 is the node's tree, then come its
// volumes, then images of filesystems as they are met.
func (n *Node) treeNumber(fsys evidence.FS) uint64 {
	if fsys == n.Tree {
		return 0
	}
	for _, v := range n.Volumes {
		if v.FS == fsys {
			return uint64(v.Index)
		}
	}
	n.layerMu.Lock()
	defer n.layerMu.Unlock()
	if n.objects.numbered == nil {
		n.objects.numbered = make(map[evidence.FS]uint64)
	}
	number, ok := n.objects.numbered[fsys]
	if !ok {
		number = uint64(len(n.Volumes) + 1 + len(n.objects.numbered))
		n.objects.numbered[fsys] = number
	}
	return number
}

// shortID is how much of an id tells containers of one name apart, as docker shows it.
const shortID = 12

// containerFolders returns the path of each container's folder. Where one would
// stand in the place of another, or of a folder above others, its id is added.
func containerFolders(all []*Container) [][]string {
	paths := make([][]string, len(all))
	taken := make(map[string]int) // paths of containers, and of the folders above them
	for i, c := range all {
		paths[i] = containerFolder(c)
		taken[strings.Join(paths[i], "/")]++
		for d := range paths[i] {
			if above := strings.Join(paths[i][:d], "/"); taken["above "+above] == 0 {
				taken["above "+above] = 1
			}
		}
	}
	for i, c := range all {
		path := strings.Join(paths[i], "/")
		if taken[path] > 1 || taken["above "+path] > 0 {
			last := &paths[i][len(paths[i])-1]
			*last += "-" + folderName(c.ID[:min(len(c.ID), shortID)])
			if again := strings.Join(paths[i], "/"); taken[again] > 0 {
				*last += folderName(c.ID[min(len(c.ID), shortID):]) + fmt.Sprintf("-%d", i)
			}
			taken[strings.Join(paths[i], "/")]++
		}
	}
	return paths
}

func containerFolder(c *Container) []string {
	name := firstOf(firstOf(c.Pod.Container, c.Name), c.ID)
	if c.Kind == runtimes.KindSandbox && c.Pod.Name != "" {
		name = "POD"
	}
	var path []string
	for _, e := range []string{string(c.Runtime), c.Namespace, c.Pod.Namespace, c.Pod.Name, name} {
		if e != "" {
			path = append(path, folderName(e))
		}
	}
	return path
}

// maxFolderName is the length of the longest file name on most filesystems.
const maxFolderName = 255

// folderName makes a name out of the evidence one that a folder can have.
func folderName(s string) string {
	switch {
	case s == ".":
		return `\x2e`
	case s == "..":
		return `\x2e\x2e`
	}
	s = strings.NewReplacer("/", `\x2f`, "\x00", `\x00`).Replace(s)
	return s[:min(len(s), maxFolderName)]
}
