// Package analyzer is the one place that knows the whole way from a piece of
// evidence to what is said about it. Open recognises disks, volumes and
// filesystems, replays journals, joins the volumes into the node's tree and
// finds the container runtimes; a Node then lists containers and images, puts
// root filesystems together, compares them with their images and tells the
// node's timeline.
//
// Nothing is skipped in silence: what could not be read is a Gap, and the rest
// is delivered. A panic in a reader becomes a gap of the object it was reading.
package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"lagan/evidence"
	"lagan/evidence/hostdir"
	"lagan/evidence/image"
	"lagan/evidence/volume"
	"lagan/overlay"
	"lagan/runtimes"
)

// ErrNoFilesystem says that evidence was opened and holds no filesystem that can be read.
var ErrNoFilesystem = errors.New("no filesystem found that can be read")

// Options say how evidence is opened.
type Options struct {
	Disks []string // further disks of the same node
	// Snapshot selects an internal snapshot of the disks' images, by id or name.
	Snapshot  string
	Volume    int  // only this volume, as info numbers them; 0: all
	NoJournal bool // leave dirty journals unreplayed
	DataRoots []DataRoot
	Mounts    []MountOption
	Layers    []LayerOption
	NoScan    bool   // look for data roots in configured and usual places only
	TempDir   string // for spooled images; "" is the system's
	CacheDir  string // keeps what was unpacked for the next time; "" nowhere
	// TellFiles says that a Timeline of the files follows: all metadata is then
	// read once, for it and for the search for data roots.
	TellFiles bool
	// Progress is told how far the unpacking of a compressed image is.
	Progress func(task string, done, total int64)
	// Timeout is how long the reading of one object may take, a filesystem's
	// opening, a container's changes, a log; 0: as long as it takes.
	Timeout time.Duration
	// MaxMemory is how many bytes may be in use before the objects that are being
	// read are given up; 0: as many as there are.
	MaxMemory int64
	// Begin, if set, is called before an object is read, with a name that is the
	// same in every run, and what it returns after. Its error leaves the object out.
	Begin func(object string) (end func(), err error)
	// Filesystems are further kinds, asked before those that are known.
	Filesystems []Opener
	// Trace adds the call stack to the gap of an internal error.
	Trace bool
	// Gap is told of each gap when it is found, beside Node.Gaps at the end.
	Gap func(Gap)
}

// DataRoot names a runtime's data root that no configuration names.
type DataRoot struct {
	Kind runtimes.Name
	Path string
}

// Evidence is one disk, image or folder that was opened.
type Evidence struct {
	Path   string
	Name   string // the last element of Path, which records carry
	Size   int64  // bytes of the disk; -1 for a folder
	Format string // "raw", "zstd", "folder", ...

	Files     []string          // that it is in, the first one first
	Stored    map[string]string // hashes that its container recorded when it was acquired: "md5", "sha1"
	Notes     map[string]string // what who acquired it noted: "examiner", "case", ...
	Snapshots []image.Snapshot  // internal ones of its container
	Snapshot  string            // the id of the one that is read; "" the latest state
	Parents   []string          // disks that it holds the changes of

	image image.Image
}

// Volume is a part of a disk that can hold a filesystem.
type Volume struct {
	Index       int // from 1, over all disks: what --volume takes
	Evidence    *Evidence
	Scheme      string // gpt, mbr, none, folder
	Number      int    // of the partition; 0 without a table
	Start, Size int64  // bytes
	PartType    string // what the partition table says
	PartName    string
	PartUUID    string
	// Content names what was recognised: a filesystem's type, "swap", "LVM2"; "" nothing.
	Content     string
	FS          evidence.FS // nil where no filesystem could be opened
	Description evidence.Description
	MountPoint  string // in the node's tree; "" not joined
	Err         error  // why FS is nil, where something was recognised

	section    io.ReaderAt
	attributes uint64 // of a GPT partition
	member     bool   // of an array or a volume group: what it holds is told with those
}

// Node is the machine that the evidence came from.
type Node struct {
	Evidence []*Evidence
	Volumes  []*Volume
	Tree     evidence.FS // all volumes joined; nil where there is no filesystem
	Stores   []Store

	ctx      context.Context // of Open: it ends what is unpacked later
	options  Options
	patience patience
	memory   memory
	gaps     gapList
	blobs    layerBlobs
	contents contentHashes
	parents  map[string]bool // disks that others hold the changes of
	mounts   []mounted       // what the tree shows where, "/" first
	pools    []volume.Pool   // thin pools among the volumes

	indexed    map[*Volume]*index // read ahead of the telling of their files
	objects    objects
	containers func() []*Container
	images     func() []*Image
	kept       func() []*Checkpoint
	layerMu    sync.Mutex
	layerRoots map[layerKey]layerRoot

	recoverMu     sync.Mutex
	recoveredAll  []*RecoveredFile
	recoveredDone bool
	removedOnce   sync.Once
	removedAll    []*Removed

	directories *overlay.Cache // of layers, which many containers share
}

// Open opens the evidence at path: a disk, an image of one, or a folder. The
// error says what, where and what to try. Close releases what it holds.
func Open(ctx context.Context, path string, o Options) (*Node, error) {
	n := newNode(ctx, o)
	for _, p := range append([]string{path}, o.Disks...) {
		if n.parents[p] {
			continue // not a disk of the node, but what another one holds the changes of
		}
		if err := n.openEvidence(ctx, p); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n.read(path)
}

// OpenImage opens a disk that the caller has opened, under a name for records:
// one that lies behind a network, or in memory. Close closes it.
func OpenImage(ctx context.Context, name string, disk image.Image, o Options) (*Node, error) {
	n := newNode(ctx, o)
	if err := n.addImage(&Evidence{Path: name, Name: name}, disk); err != nil {
		n.Close()
		return nil, err
	}
	return n.read(name)
}

func newNode(ctx context.Context, o Options) *Node {
	n := &Node{ctx: ctx, options: o, layerRoots: make(map[layerKey]layerRoot), parents: make(map[string]bool), directories: overlay.NewCache(0)}
	n.gaps.told = o.Gap
	n.patience.limit = o.Timeout
	n.memory.limit = o.MaxMemory
	n.memory.watch()
	n.containers = sync.OnceValue(n.listContainers)
	n.images = sync.OnceValue(n.listImages)
	n.kept = sync.OnceValue(n.listCheckpoints)
	return n
}

// read goes on from the disks to what is on them. The node is closed where
// there is an error.
func (n *Node) read(path string) (*Node, error) {
	n.assemble()
	err := n.checkVolumes(path)
	if err == nil {
		n.openFilesystems()
		err = n.recognised(path)
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	n.join()
	n.findStores()
	return n, nil
}

// checkVolumes finds options that name a volume which isn't there.
func (n *Node) checkVolumes(path string) error {
	if v := n.options.Volume; v > len(n.Volumes) {
		return fmt.Errorf("there is no volume %d: %s has %d; see `lagan info`", v, path, len(n.Volumes))
	}
	for _, m := range n.options.Mounts {
		if m.Volume > len(n.Volumes) {
			return fmt.Errorf("there is no volume %d to mount at %s: %s has %d; see `lagan info`", m.Volume, m.Path, path, len(n.Volumes))
		}
	}
	return nil
}

// recognised refuses what is no disk at all: no partition table, and nothing
// that is known in the whole of it.
func (n *Node) recognised(path string) error {
	for _, v := range n.Volumes {
		if v.Number > 0 || v.Content != "" {
			return nil
		}
	}
	return fmt.Errorf("%q holds no partition table and no filesystem that is known: is it the image of a disk or of a volume?", path)
}

// Close releases the evidence and removes what was spooled.
func (n *Node) Close() error {
	n.memory.close()
	err := n.blobs.close()
	for _, e := range n.Evidence {
		if e.image != nil {
			err = errors.Join(err, e.image.Close())
			e.image = nil
		}
	}
	for _, v := range n.Volumes { // a folder of this machine is open
		if c, ok := v.FS.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// Gaps returns all that could not be read so far, in a fixed order.
func (n *Node) Gaps() []Gap { return n.gaps.all() }

// Gap adds what a caller could not do with an object of the node.
func (n *Node) Gap(object string, err error) { n.gap(0, object, err) }

func (n *Node) gap(volume int, object string, err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			n.gap(volume, object, one)
		}
		return
	}
	var pe *fs.PathError
	if errors.As(err, &pe) && pe.Op == "resolve" && !errors.Is(err, fs.ErrNotExist) && !n.gaps.newCause(pe.Err.Error()) {
		return // a folder that can't be read is one gap, however many paths go through it
	}
	g := Gap{Volume: volume, Object: object, Message: err.Error()}
	if volume > 0 && volume <= len(n.Volumes) {
		g.Evidence = n.Volumes[volume-1].Evidence.Name
	} else if len(n.Evidence) > 0 {
		g.Evidence = n.Evidence[0].Name
	}
	n.gaps.add(g)
}

func (n *Node) openEvidence(ctx context.Context, path string) error {
	e := &Evidence{Path: path, Name: filepath.Base(path)}
	if snapshot := SnapshotOf(path); snapshot != "" {
		e.Name = snapshot
	}
	o := image.Options{
		TempDir:  n.options.TempDir,
		CacheDir: n.options.CacheDir,
		Parents:  n.options.Disks,
		Snapshot: n.options.Snapshot,
		Warn:     func(err error) { n.gaps.add(Gap{Evidence: e.Name, Message: err.Error()}) },
		Progress: func(done, total int64) { n.progress("unpacking "+e.Name, done, total) },
	}
	img, err := image.Open(ctx, path, o)
	if errors.Is(err, image.ErrNoSnapshot) && len(n.Evidence) > 0 {
		// A further disk of the node; snapshots of a machine may leave some out.
		o.Warn(fmt.Errorf("%w; its latest state is read", err))
		o.Snapshot = ""
		img, err = image.Open(ctx, path, o)
	}
	if errors.Is(err, image.ErrDirectory) {
		return n.openFolder(e)
	}
	if err != nil {
		return err
	}
	return n.addImage(e, img)
}

// addImage makes volumes of a disk. The node closes it from now on.
func (n *Node) addImage(e *Evidence, img image.Image) error {
	about := image.Describe(img)
	for _, p := range about.Parents {
		n.parents[p] = true
	}
	e.Files, e.Stored, e.Notes, e.Snapshots, e.Snapshot, e.Parents = about.Files, about.Hashes, about.Notes, about.Snapshots, about.Loaded, about.Parents
	e.image, e.Size, e.Format = img, img.Size(), img.Format()
	n.Evidence = append(n.Evidence, e)
	var disk io.ReaderAt = img
	if n.options.Timeout > 0 || n.options.MaxMemory > 0 {
		disk = patientReader{img, &n.patience, &n.memory}
	}
	volumes, err := volume.Scan(disk, img.Size(), func(err error) { n.gaps.add(Gap{Evidence: e.Name, Message: err.Error()}) })
	if err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	for _, v := range volumes {
		n.Volumes = append(n.Volumes, &Volume{
			Index: len(n.Volumes) + 1, Evidence: e, Scheme: v.Scheme, Number: v.Number, Start: v.Start, Size: v.Size,
			PartType: firstOf(v.TypeName, v.Type), PartName: v.Name, PartUUID: v.UUID, section: v.ReaderAt, attributes: v.Attributes,
		})
	}
	return nil
}

// schemeFolder is the scheme of a folder of the analyst's machine.
const schemeFolder = "folder"

func (n *Node) openFolder(e *Evidence) error {
	v := &Volume{Index: len(n.Volumes) + 1, Evidence: e, Scheme: schemeFolder, Size: -1, Content: "folder"}
	fsys, err := hostdir.Open(e.Path, evidence.Options{Warn: n.warnOf(v)})
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) && errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w: run as a user who may read it, or give the disk itself", err)
		}
		return err
	}
	e.Size, e.Format = -1, "folder"
	n.Evidence = append(n.Evidence, e)
	n.Volumes = append(n.Volumes, v)
	v.FS = fsys
	if n.options.Timeout > 0 || n.options.MaxMemory > 0 {
		v.FS = patientFolder{fsys, &n.patience, &n.memory}
	}
	v.Description = evidence.Describe(fsys)
	return nil
}

func (n *Node) warnOf(v *Volume) func(error) {
	return func(err error) {
		n.gaps.add(Gap{Evidence: v.Evidence.Name, Volume: v.Index, Message: err.Error()})
	}
}

func (n *Node) progress(task string, done, total int64) {
	if n.options.Progress != nil {
		n.options.Progress(task, done, total)
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
