package analyzer

import (
	"errors"
	"fmt"
	"io/fs"

	"lagan/evidence"
	"lagan/evidence/volume/thin"
	"lagan/overlay"
	"lagan/runtimes"
)

// styledTree names a tree as a storage driver's marks make it look.
type styledTree struct {
	fsys  evidence.FS
	marks runtimes.MarkStyle
	user  bool
}

// openedImage is the filesystem in an image that lies on the node.
type openedImage struct {
	fsys evidence.FS
	err  error
}

// layerPlace finds a layer: a folder of the store's tree, or one of a filesystem
// whose image lies there, or, where the folder is missing, the layer's blob. Its
// marks look as the kernel's overlayfs has them.
func (n *Node) layerPlace(s Store, l runtimes.Layer, r runtimes.Rootfs) (evidence.FS, evidence.Ino, error) {
	if !l.Image {
		ino, err := evidence.Ino(0), error(errNoFolder)
		if l.Dir != "" {
			ino, err = n.layerRoot(s, l.Dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return n.blobLayer(s, l, r, err)
		}
		return n.markedTree(s.Tree, r), ino, err
	}
	fsys, err := n.imageTree(s, l)
	if err != nil {
		return nil, 0, err
	}
	ino, err := evidence.Resolve(fsys, fsys.Root(), l.Inside, false)
	return n.markedTree(fsys, r), ino, err
}

// markedTree returns a tree with a storage driver's marks as overlay knows them.
func (n *Node) markedTree(fsys evidence.FS, r runtimes.Rootfs) evidence.FS {
	styles := map[runtimes.MarkStyle]overlay.Style{runtimes.MarksAUFS: overlay.StyleAUFS, runtimes.MarksFuse: overlay.StyleFuse}
	style, ok := styles[r.Marks]
	if !ok {
		return fsys
	}
	n.layerMu.Lock()
	defer n.layerMu.Unlock()
	key := styledTree{fsys, r.Marks, r.UserXattr}
	if n.objects.styled == nil {
		n.objects.styled = make(map[styledTree]evidence.FS)
	}
	if n.objects.styled[key] == nil {
		n.objects.styled[key] = overlay.Styled(fsys, style, r.UserXattr)
	}
	return n.objects.styled[key]
}

// imageTree opens the filesystem in a file of the store's tree, or on a thin device.
func (n *Node) imageTree(s Store, l runtimes.Layer) (evidence.FS, error) {
	n.layerMu.Lock()
	defer n.layerMu.Unlock()
	key := layerKey{s.Volume, l.Dir}
	if o, ok := n.objects.opened[key]; ok {
		return o.fsys, o.err
	}
	var o openedImage
	o.fsys, o.err = n.openImageLayer(s, l)
	if n.objects.opened == nil {
		n.objects.opened = make(map[layerKey]openedImage)
	}
	n.objects.opened[key] = o
	return o.fsys, o.err
}

func (n *Node) openImageLayer(s Store, l runtimes.Layer) (fsys evidence.FS, err error) {
	defer func() { // an image that a reader fails over is a gap of the views that need it
		if r := recover(); r != nil {
			fsys, err = nil, fmt.Errorf("%s: %w", l.Dir, n.panicError(r))
		}
	}()
	var r thin.Device
	if l.Thin != nil {
		r, err = n.thinDevice(s, l.Thin)
	} else {
		r, err = openPath(s, l.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Dir, err)
	}
	warn := func(err error) { n.gap(s.Volume, l.Dir, err) }
	for _, o := range n.filesystems() {
		fsys, err := o.Open(r, r.Size(), evidence.Options{Warn: warn, NoJournal: n.options.NoJournal})
		if errors.Is(err, evidence.ErrFormat) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: opening %s: %w", l.Dir, o.Name, err)
		}
		return fsys, nil
	}
	return nil, fmt.Errorf("%s holds no filesystem that is known: %w", l.Dir, evidence.ErrFormat)
}
