package analyzer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
	"lagan/evidence/image"
	"lagan/layers"
	"lagan/runtimes"
)

// LayerOption is a file of the analyst's that holds a layer's blob, as a registry gives it.
type LayerOption struct {
	Digest string // of the blob, or the layer's diff id
	Path   string
}

// errNoFolder says that a layer was never unpacked.
var errNoFolder = fmt.Errorf("it isn't unpacked on this disk: %w", fs.ErrNotExist)

// layerBlobs are the blobs that stand for folders.
type layerBlobs struct {
	mu     sync.Mutex
	trees  map[blobKey]*blobTree
	spools []io.Closer
}

// blobKey is a layer with how it is to look.
type blobKey struct {
	diffID, blob string
	user         bool
	owners       string // the data root whose owners are shifted; "" where they aren't
}

type blobTree struct {
	once sync.Once
	fsys evidence.FS
	err  error
}

func (b *layerBlobs) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	for _, s := range b.spools {
		err = errors.Join(err, s.Close())
	}
	b.spools = nil
	return err
}

func (b *layerBlobs) tree(key blobKey) *blobTree {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trees == nil {
		b.trees = make(map[blobKey]*blobTree)
	}
	if b.trees[key] == nil {
		b.trees[key] = &blobTree{}
	}
	return b.trees[key]
}

// blobLayer gives a layer's blob as a tree in place of its folder. That the
// folder is missing though its record names it is a gap.
func (n *Node) blobLayer(s Store, l runtimes.Layer, r runtimes.Rootfs, missing error) (evidence.FS, evidence.Ino, error) {
	if l.DiffID == "" && l.Blob == "" || r.Kind == runtimes.RootfsBind {
		return nil, 0, missing // a folder of one is a whole tree, which no blob is
	}
	key := blobKey{diffID: l.DiffID, blob: l.Blob, user: r.UserXattr}
	shift := n.shiftOf(s, r)
	if shift != nil {
		key.owners = fmt.Sprint(s.Path(), r.UIDs, r.GIDs)
	}
	t := n.blobs.tree(key)
	t.once.Do(func() {
		defer func() { // a blob that a reader fails over is a gap of the views that need it
			if r := recover(); r != nil {
				t.fsys, t.err = nil, n.panicError(r)
			}
		}()
		t.fsys, t.err = n.openBlobLayer(s, l, r.UserXattr, missing)
		if shift != nil && t.err == nil {
			t.fsys = &shifted{t.fsys, shift}
		}
	})
	if t.err != nil {
		return nil, 0, t.err
	}
	return t.fsys, t.fsys.Root(), nil
}

// shiftOf says how the store's folders shift owners.
func (n *Node) shiftOf(s Store, r runtimes.Rootfs) *owners {
	if len(r.UIDs) > 0 {
		return &owners{uids: rangesOf(r.UIDs), gids: rangesOf(r.GIDs)}
	}
	root, err := evidence.Resolve(s.Tree, s.Tree.Root(), s.Path(), true)
	if err != nil {
		return nil
	}
	return ownersOf(s, root, r.UserXattr)
}

func rangesOf(maps []runtimes.IDMap) []idRange {
	out := make([]idRange, len(maps))
	for i, m := range maps {
		out[i] = idRange{m.Container, m.Host, m.Size}
	}
	return out
}

// openBlobLayer opens the first blob that proves to be the layer; else the first
// of which anything could be read, and says what is wrong with it.
func (n *Node) openBlobLayer(s Store, l runtimes.Layer, user bool, missing error) (evidence.FS, error) {
	name := firstOf(l.DiffID, l.Blob)
	var second *layers.Tar
	var secondErr error
	for _, b := range n.blobsOf(l) {
		t, err := n.readBlobLayer(b, l, user)
		if err == nil {
			if l.Dir != "" {
				n.gap(s.Volume, "layer "+name, fmt.Errorf("its folder %s is missing: its blob %s, which is as its digest promises, stands for it", l.Dir, b.name))
			}
			return t, nil
		}
		n.gap(b.volume, b.name, fmt.Errorf("in place of layer %s: %w", name, err))
		if second == nil && t != nil {
			second, secondErr = t, fmt.Errorf("what could be read of its blob %s stands for it, which isn't as its digest promises", b.name)
		}
	}
	if second != nil {
		n.gap(s.Volume, "layer "+name, secondErr)
		return second, nil
	}
	hint := l.DiffID
	if digests := n.digestsOf(l); hint == "" && len(digests) > 0 {
		hint = digests[0]
	}
	return nil, fmt.Errorf("%w, and its blob isn't there; --layer %s=FILE takes it from elsewhere", missing, hint)
}

// layerBlob is a place where a layer's blob may be.
type layerBlob struct {
	want   layers.Digest // of the blob; zero where only the diff id is known
	name   string
	volume int
	open   func() (image.Spooled, error)
}

// digestsOf returns the digests of the blobs that images name for a layer.
func (n *Node) digestsOf(l runtimes.Layer) []string {
	var out []string
	seen := make(map[string]bool)
	add := func(d string) {
		if d != "" && !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	add(l.Blob)
	for _, i := range n.Images() {
		for k, b := range i.Blobs {
			if l.DiffID != "" && i.Layers[k] == l.DiffID {
				add(b.Digest)
			}
		}
	}
	return out
}

// blobsOf finds the blobs of a layer: those that images name, what any content
// store has under their digests, and those of the analyst.
func (n *Node) blobsOf(l runtimes.Layer) []layerBlob {
	var out []layerBlob
	met := make(map[layerKey]bool)
	digests := n.digestsOf(l)
	stored := func(s Store, digest, path string) {
		want, err := layers.ParseDigest(digest)
		if key := (layerKey{s.Volume, path}); err == nil && path != "" && !met[key] {
			met[key] = true
			out = append(out, layerBlob{want, path, s.Volume, func() (image.Spooled, error) { return inEvidence(openPath(s, path)) }})
		}
	}
	for _, d := range digests {
		for _, i := range n.Images() {
			for _, b := range i.Blobs {
				if b.Digest == d {
					stored(i.store, d, b.Path)
				}
			}
		}
		collect(n, runtimes.ContentStore.Contents, func(s Store, c runtimes.Content) {
			if c.Digest == d && c.Kind == runtimes.ContentBlob && c.OnDisk >= 0 { // a record may outlive its blob
				stored(s, d, c.Path)
			}
		})
	}
	for _, o := range n.options.Layers {
		b := layerBlob{name: o.Path, open: func() (image.Spooled, error) { return image.OpenBytes(o.Path) }}
		if o.Digest != l.DiffID {
			if !slices.Contains(digests, o.Digest) {
				continue
			}
			b.want, _ = layers.ParseDigest(o.Digest)
		}
		out = append(out, b)
	}
	return out
}

// inEvidence makes a file of the evidence one that can be closed like others.
func inEvidence(r *io.SectionReader, err error) (image.Spooled, error) {
	if err != nil {
		return nil, err
	}
	return unclosed{r}, nil
}

type unclosed struct{ *io.SectionReader }

func (unclosed) Close() error { return nil }

// readBlobLayer hashes a blob, unpacks it and indexes its tar. What could be
// read is returned beside the error that says what is wrong.
func (n *Node) readBlobLayer(b layerBlob, l runtimes.Layer, user bool) (*layers.Tar, error) {
	file, err := b.open()
	if err != nil {
		return nil, err
	}
	head := make([]byte, 4)
	got, _ := file.ReadAt(head, 0)
	var unpacked image.Spooled
	var spoolErr error
	keep := func(r io.Reader) error {
		unpacked, spoolErr = image.Spool(n.ctx, n.options.TempDir, r, 0)
		return spoolErr
	}
	if layers.CompressionOf(head[:got]) == layers.Uncompressed {
		unpacked, keep = file, nil
	}
	sums, readErr := layers.ReadBlob(contextReader{n.ctx, io.NewSectionReader(file, 0, file.Size())}, b.want, n.counted(l), keep)
	if unpacked != file {
		file.Close()
	}
	if unpacked == nil {
		return nil, readErr
	}
	n.blobs.mu.Lock()
	n.blobs.spools = append(n.blobs.spools, unpacked)
	n.blobs.mu.Unlock()
	t, tarErr := layers.OpenTar(unpacked, unpacked.Size(), layers.TarOptions{UserXattr: user})
	return t, errors.Join(readErr, tarErr, isLayer(sums, b.want, l, readErr == nil))
}

// counted is the size of a layer's files as its runtime counted them, -1 where it
// didn't. It unpacked no more than the disks hold, whatever a record says.
func (n *Node) counted(l runtimes.Layer) int64 {
	var disks int64
	for _, v := range n.Volumes {
		if v.Size <= 0 { // a folder of this machine
			return l.Size
		}
		disks += v.Size
	}
	return min(l.Size, disks)
}

// isLayer compares what was read with what the layer's digests promise.
func isLayer(got layers.Sums, want layers.Digest, l runtimes.Layer, whole bool) error {
	if l.DiffID != "" {
		if whole && got.DiffID.String() != l.DiffID {
			return fmt.Errorf("it unpacks to %s, not to %s: %w", got.DiffID, l.DiffID, evidence.ErrCorrupt)
		}
		return nil
	}
	if got.Digest != want {
		return fmt.Errorf("its digest is %s, not %s: %w", got.Digest, want, evidence.ErrCorrupt)
	}
	return nil
}

// ofBlobs names an image's layers by their diff ids alone.
func (i *Image) ofBlobs() runtimes.Rootfs {
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, UserXattr: i.Rootfs.UserXattr}
	if len(i.Layers) == 0 {
		return i.Rootfs
	}
	for k := len(i.Layers) - 1; k >= 0; k-- {
		l := runtimes.Layer{DiffID: i.Layers[k], Size: -1}
		if k < len(i.Blobs) {
			l.Blob = i.Blobs[k].Digest
		}
		r.Lower = append(r.Lower, l)
	}
	return r
}

// shifted is a tree whose owners are shifted as a user namespace shifts them.
type shifted struct {
	evidence.FS
	by *owners
}

func (s *shifted) Stat(ino evidence.Ino) (evidence.Info, error) {
	info, err := s.FS.Stat(ino)
	if id, ok := s.by.uid(info.UID); ok {
		info.UID = id
	}
	if id, ok := s.by.gid(info.GID); ok {
		info.GID = id
	}
	return info, err
}

func (s *shifted) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	return evidence.Lookup(s.FS, dir, name)
}

// ParseLayerOption takes DIGEST=FILE apart. A digest without its algorithm is SHA-256.
func ParseLayerOption(s string) (LayerOption, error) {
	digest, path, ok := strings.Cut(s, "=")
	if !strings.Contains(digest, ":") {
		digest = "sha256:" + digest
	}
	if _, err := layers.ParseDigest(digest); !ok || path == "" || err != nil {
		return LayerOption{}, fmt.Errorf("--layer takes DIGEST=FILE, such as sha256:4f4fb700ef54...=layer.tar.gz, not %q", s)
	}
	return LayerOption{digest, path}, nil
}
