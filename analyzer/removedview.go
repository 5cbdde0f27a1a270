package analyzer

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"lagan/evidence"
	"lagan/overlay"
	"lagan/runtimes"
)

// removedView puts together what is left of a removed container's root
// filesystem: its own folder where that is still there, else the deleted files
// that lay in it, over the layers of its image.
func (n *Node) removedView(c *Container) (*Tree, error) {
	dir := c.Rootfs.Upper.Dir
	if dir == "" {
		return nil, errors.New("which folder it wrote to is not known any more")
	}
	if _, err := evidence.Resolve(c.store.Tree, c.store.Tree.Root(), dir, true); err == nil && c.Rootfs.Problem == nil {
		return nil, nil // as it was
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files, err := n.recoveredFiles(context.Background())
	if err != nil {
		return nil, err
	}
	var inside []*RecoveredFile
	for _, f := range files {
		if rest, ok := strings.CutPrefix(f.Path+"/", strings.TrimSuffix(dir, "/")+"/"); ok && (f.Content != nil || f.Target != "" || whiteout(f) || f.Info.Type == evidence.TypeDir) {
			one := *f
			one.Path = "/" + strings.TrimSuffix(rest, "/")
			inside = append(inside, &one)
		}
	}
	if len(inside) == 0 && len(c.Rootfs.Lower) == 0 {
		return nil, errors.New("none of its files is left")
	}
	upper := recoveredTreeOf(inside, func(f *RecoveredFile) bool { return hasContent(f) || whiteout(f) })
	layers := []overlay.Layer{{FS: upper.FS, Root: upper.Root(), Name: dir}}
	names := []layerName{nameLayer(runtimes.Layer{Dir: dir}, true)}
	for _, l := range c.Rootfs.Lower {
		fsys, ino, err := n.layerPlace(c.store, l, c.Rootfs)
		if err != nil {
			n.gap(c.store.Volume, "container "+c.DisplayName(), err)
			continue
		}
		layers = append(layers, overlay.Layer{FS: fsys, Root: ino, Name: l.Dir})
		names = append(names, nameLayer(l, false))
	}
	merged, err := overlay.Merge(layers, overlay.Options{UserXattr: c.Rootfs.UserXattr, Cache: n.directories,
		Warn: func(err error) { n.gap(c.store.Volume, "container "+c.DisplayName(), err) }})
	if err != nil {
		return nil, err
	}
	return &Tree{FS: merged, Name: c.DisplayName(), Container: c, layers: names, upper: upper.FS}, nil
}

// whiteout says whether a deleted file hid one of the layers below: overlayfs marks
// that with a device 0:0.
func whiteout(f *RecoveredFile) bool {
	return f.Info.Type == evidence.TypeChar && f.Info.Major == 0 && f.Info.Minor == 0
}

// deletedLogs finds a removed container's log, and what rotation made of it, among
// the deleted files.
func (n *Node) deletedLogs(base string) (evidence.FS, []logFile) {
	all, err := n.recoveredFiles(context.Background())
	if err != nil {
		return nil, nil
	}
	dir := path.Dir(base)
	var beside []*RecoveredFile
	for _, f := range all {
		if path.Dir(f.Path) == dir && f.Content != nil && (f.State == evidence.ContentWhole || f.State == evidence.ContentUnproven) {
			beside = append(beside, f)
		}
	}
	if len(beside) == 0 {
		return nil, nil
	}
	tree := n.RecoveredTree(beside)
	ino, err := evidence.Resolve(tree.FS, tree.FS.Root(), dir, false)
	if err != nil {
		return nil, nil
	}
	return tree.FS, n.rotatedIn(tree.FS, ino, base)
}
