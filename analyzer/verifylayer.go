package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"lagan/evidence"
	"lagan/layers"
	"lagan/runtimes"
)

// layer checks one layer: its own blob if it is there, and its folder against
// the first thing that proves to be the layer's tar.
func (v *verifier) layer(i *Image, diff string, l runtimes.Layer, b runtimes.Blob, j *job) error {
	want, err := layers.ParseDigest(diff)
	if err != nil {
		j.add(Verdict{Check: CheckDiffID, Result: ResultUnverifiable, Note: err.Error()})
		return nil
	}
	c := &layerCheck{v: v, j: j, image: i, diff: want, layer: l}
	if err := c.openFolder(); err != nil {
		return err
	}
	if b.Path != "" {
		if proven, err := c.blob(i.store, b, true); proven || err != nil {
			return err
		}
	}
	if c.folder == nil {
		if b.Path == "" && len(j.verdicts) == 0 {
			j.add(Verdict{Check: CheckFolder, Result: ResultUnverifiable, Note: "neither unpacked nor a blob on this disk" + because(i)})
		}
		return nil
	}
	if l.TarSplit != "" {
		if proven, err := c.split(source{i.store, l, runtimes.Blob{}}, true); proven || err != nil {
			return err
		}
	}
	return c.elsewhere(b)
}

func because(i *Image) string {
	switch {
	case i.wholeTrees():
		return ": this storage driver keeps whole trees, not layers"
	case i.Rootfs.Problem != nil:
		return ": " + i.Rootfs.Problem.Error()
	}
	return ""
}

// layerCheck is the check of one layer.
type layerCheck struct {
	v       *verifier
	j       *job
	image   *Image
	diff    layers.Digest
	layer   runtimes.Layer
	folder  evidence.FS // nil: it isn't there
	options layers.CompareOptions
}

// openFolder opens the layer's folder. That it isn't there is a verdict.
func (c *layerCheck) openFolder() error {
	if c.layer.Dir == "" || c.findFolder() {
		return nil
	}
	_, err := c.v.n.layerRoot(c.image.store, c.layer.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		c.j.add(Verdict{Check: CheckFolder, Result: ResultMissing, Object: c.layer.Dir})
		return nil
	}
	c.j.add(Verdict{Check: CheckFolder, Result: ResultUnverifiable, Note: err.Error()})
	return err
}

func (c *layerCheck) findFolder() bool {
	s := c.image.store
	ino, err := c.v.n.layerRoot(s, c.layer.Dir)
	if err != nil {
		return false
	}
	c.folder = evidence.Sub(s.Tree, ino)
	c.options = layers.CompareOptions{Context: c.v.ctx, UserXattr: c.image.Rootfs.UserXattr, NoTrusted: c.v.n.hidesTrusted(), Pulled: pulledAt(c.layer)}
	if m := ownersOf(s, ino, c.image.Rootfs.UserXattr); m != nil {
		c.options.MapUID, c.options.MapGID = m.uid, m.gid
	}
	return true
}

// packed is a blob that is read once, however many folders it was unpacked into.
type packed struct {
	store  Store
	blob   runtimes.Blob
	layers []*layerCheck // set before any is run

	once  sync.Once
	sums  layers.Sums
	err   error // of unpacking or, where sums are zero, of reading
	found map[string]*layers.Comparison
}

func (v *verifier) shares(s Store, b runtimes.Blob) *packed {
	key := fmt.Sprintf("%d:%s", s.Volume, b.Path)
	if v.packed[key] == nil {
		v.packed[key] = &packed{store: s, blob: b}
	}
	return v.packed[key]
}

// read reads the blob and compares the folders of its layers with it.
func (p *packed) read(ctx context.Context, want layers.Digest, with []*layerCheck) {
	p.err = errors.New("reading it failed") // until it is known better
	r, err := openPath(p.store, p.blob.Path)
	if err != nil {
		p.err = err
		return
	}
	var folders []layers.Folder
	var dirs []string
	for _, c := range with {
		if c.folder != nil {
			folders = append(folders, layers.Folder{FS: c.folder, Options: c.options})
			dirs = append(dirs, c.layer.Dir)
		}
	}
	size := int64(-1)
	for _, c := range with {
		size = max(size, c.v.n.counted(c.layer))
	}
	p.sums, p.err = layers.ReadBlob(contextReader{ctx, r}, want, size, func(tar io.Reader) error {
		if len(folders) == 0 {
			return nil
		}
		found, err := layers.CompareTarWith(tar, folders)
		p.found = make(map[string]*layers.Comparison)
		for i, f := range found {
			p.found[dirs[i]] = f
		}
		return err
	})
}

// blob checks a packed layer, and says whether it proved to be the layer: if so,
// the folder was compared with it. own says that the image names the blob.
func (c *layerCheck) blob(s Store, b runtimes.Blob, own bool) (proven bool, err error) {
	want, err := layers.ParseDigest(b.Digest)
	if err != nil {
		return false, nil // an algorithm that isn't known: so isn't the blob
	}
	p := &packed{store: s, blob: b, layers: []*layerCheck{c}}
	if own && c.folder != nil {
		p = c.v.shares(s, b)
	}
	p.once.Do(func() {
		for _, l := range p.layers {
			if l != c && !l.findFolder() {
				l.folder = nil
			}
		}
		p.read(c.v.ctx, want, withOwn(p.layers, c))
	})
	if c.v.ctx.Err() != nil {
		return false, c.v.ctx.Err()
	}
	if p.sums.Digest.IsZero() {
		c.j.add(Verdict{Check: CheckBlob, Object: b.Path, Result: ResultUnverifiable, Note: p.err.Error()})
		return false, fmt.Errorf("%s: %w", b.Path, p.err)
	}
	proven = p.err == nil && p.sums.DiffID == c.diff
	if own {
		c.j.sum(CheckBlob, b, p.sums, want)
		c.diffID(b, p.sums, want, p.err)
	}
	if found := p.found[c.layer.Dir]; proven && found != nil {
		c.tell(CheckFolder, b.Path, found.Differences)
	}
	return proven, nil
}

// withOwn puts the layer that is being checked, whose folder is open, in the place of its plan.
func withOwn(planned []*layerCheck, c *layerCheck) []*layerCheck {
	out := []*layerCheck{c}
	for _, l := range planned {
		if l.layer.Dir != c.layer.Dir {
			out = append(out, l)
		}
	}
	return out
}

// diffID adds the verdict on what a blob unpacks to. A blob whose own digest is
// wrong was already found.
func (c *layerCheck) diffID(b runtimes.Blob, got layers.Sums, want layers.Digest, err error) {
	out := Verdict{Check: CheckDiffID, Object: b.Path, Result: ResultOK, Want: c.diff.String()}
	switch {
	case err == nil && got.DiffID == c.diff:
	case errors.Is(err, evidence.ErrUnsupported):
		out.Result, out.Note = ResultUnverifiable, err.Error()
		c.v.n.gap(c.j.volume, b.Path, err)
	case got.Digest != want:
		out.Result, out.Note = ResultUnverifiable, "its blob isn't what its digest promises"
	case err != nil:
		out.Result, out.Field, out.Note = ResultChanged, "digest", err.Error()
	default:
		out.Result, out.Field, out.Got = ResultChanged, "digest", got.DiffID.String()
	}
	c.j.add(out)
}

// split compares the folder with a tar-split, and says whether that could be done.
func (c *layerCheck) split(from source, own bool) (bool, error) {
	at := from.layer.TarSplit
	r, err := openPath(from.store, at)
	if errors.Is(err, fs.ErrNotExist) {
		if own && from.store.Runtime() == runtimes.Docker { // which never keeps a layer without one
			c.j.add(Verdict{Check: CheckTarSplit, Result: ResultMissing, Object: at})
		}
		return false, nil
	}
	if err != nil {
		c.j.add(Verdict{Check: CheckTarSplit, Result: ResultUnverifiable, Object: at, Note: err.Error()})
		return false, err
	}
	found, err := layers.CompareSplit(contextReader{c.v.ctx, r}, c.folder, c.diff, c.options)
	switch {
	case c.v.ctx.Err() != nil:
		return false, c.v.ctx.Err()
	case err != nil && !own:
		return false, nil
	case errors.Is(err, evidence.ErrUnsupported), err == nil && found.Sparse && found.DiffID != c.diff:
		return false, nil
	case errors.Is(err, evidence.ErrCorrupt):
		c.j.add(Verdict{Check: CheckTarSplit, Result: ResultChanged, Object: at, Note: err.Error()})
		return false, nil
	case err != nil:
		c.j.add(Verdict{Check: CheckTarSplit, Result: ResultUnverifiable, Object: at, Note: err.Error()})
		return false, fmt.Errorf("%s: %w", at, err)
	}
	if found.DiffID != c.diff && found.Agree && !own {
		return false, nil
	}
	c.tellSplit(at, found)
	return true, nil
}

// tellSplit adds what a comparison with a tar-split found. That the tar that it
// gives has another digest needs no words where a content that changed explains it.
func (c *layerCheck) tellSplit(at string, found *layers.Split) {
	for _, path := range found.Checksums {
		c.j.add(Verdict{Check: CheckTarSplit, Result: ResultChanged, Object: at, Path: path, Field: "checksum",
			Note: "the content is as the layer's digest promises, but not as this file says"})
	}
	if found.DiffID != c.diff && found.Agree {
		c.j.add(Verdict{Check: CheckTarSplit, Result: ResultChanged, Object: at, Field: "digest", Want: c.diff.String(), Got: found.DiffID.String(),
			Note: "each content has its checksum, but the tar another digest: this file was changed, or a content to have the same checksum"})
	}
	if len(found.Differences) == 0 && (found.DiffID != c.diff || len(found.Checksums) > 0) {
		return
	}
	c.tell(CheckTarSplit, at, found.Differences)
}

// tell adds the differences between the folder and what it was compared with.
func (c *layerCheck) tell(check, with string, differences []layers.Difference) {
	for _, d := range differences {
		if d.Err != nil {
			c.v.n.gap(c.j.volume, c.layer.Dir+d.Path, d.Err)
			c.j.add(Verdict{Check: check, Result: ResultUnverifiable, Object: c.layer.Dir, Path: d.Path, Note: d.Err.Error()})
			continue
		}
		result := map[layers.Kind]Result{layers.Added: ResultAdded, layers.Modified: ResultChanged, layers.Deleted: ResultMissing}[d.Kind]
		c.j.add(Verdict{Check: check, Result: result, Object: c.layer.Dir, Path: d.Path, Field: d.Field, Want: d.Want, Got: d.Got, Info: d.Info})
	}
	if len(differences) == 0 {
		c.j.add(Verdict{Check: check, Result: ResultOK, Object: c.layer.Dir, Note: "compared with " + with})
	}
}

// elsewhere looks for the layer in other stores and images: a blob, a tar-split, or at least
// another folder. own is the blob that the image names.
func (c *layerCheck) elsewhere(own runtimes.Blob) error {
	for _, s := range c.v.blobs[c.diff.String()] {
		if s.blob.Path == own.Path && s.store.Volume == c.j.volume {
			continue
		}
		if proven, err := c.blob(s.store, s.blob, false); proven || err != nil {
			return err
		}
	}
	for _, s := range c.v.splits[c.diff.String()] {
		if s.layer.TarSplit == c.layer.TarSplit && s.store.Volume == c.j.volume {
			continue
		}
		if proven, err := c.split(s, false); proven || err != nil {
			return err
		}
	}
	if c.layer.Table != "" {
		if compared, err := c.table(); compared || err != nil {
			return err
		}
	}
	for _, s := range c.v.copies[c.diff.String()] {
		if s.layer.Dir == c.layer.Dir && s.store.Volume == c.j.volume {
			continue
		}
		ino, err := c.v.n.layerRoot(s.store, s.layer.Dir)
		if err != nil {
			continue
		}
		return c.copy(s, evidence.Sub(s.store.Tree, ino))
	}
	note := "nothing is left to compare with"
	switch {
	case own.Digest != "" && own.Path == "":
		note += ": its blob " + own.Digest + " was discarded"
	case c.layer.TarSplit != "":
		note += ": " + c.layer.TarSplit + " is missing or can't be used"
	}
	c.j.add(Verdict{Check: CheckFolder, Result: ResultUnverifiable, Note: note})
	return c.ctimes()
}

// copy compares the folder with another one that was unpacked from the same layer.
func (c *layerCheck) copy(s source, other evidence.FS) error {
	clean := true
	for d, err := range layers.Diff(other, c.folder, layers.DiffOptions{}) {
		if c.v.ctx.Err() != nil {
			return c.v.ctx.Err()
		}
		if err != nil {
			c.v.n.gap(c.j.volume, c.layer.Dir, err)
			c.j.add(Verdict{Check: CheckCopy, Result: ResultUnverifiable, Object: c.layer.Dir, Note: err.Error()})
			clean = false
			continue
		}
		for _, out := range copyVerdicts(d) {
			out.Check, out.Object, out.Note = CheckCopy, c.layer.Dir, "compared with "+s.layer.Dir+": either may have been changed"
			c.j.add(out)
			clean = false
		}
	}
	if clean {
		c.j.add(Verdict{Check: CheckCopy, Result: ResultOK, Object: c.layer.Dir, Note: "the same as " + s.layer.Dir + ", and nothing else is left to compare with"})
	}
	return nil
}

// copyVerdicts gives a difference of two folders. Whiteouts carry the time when
// each was unpacked; a directory that only holds what changed isn't named.
func copyVerdicts(d layers.Change) []Verdict {
	out := Verdict{Path: d.Path, Info: d.Info}
	switch d.Kind {
	case layers.Added:
		out.Result = ResultAdded
		return []Verdict{out}
	case layers.Deleted:
		out.Result = ResultMissing
		return []Verdict{out}
	}
	if d.Info.Type == evidence.TypeChar && d.Info.Major == 0 && d.Info.Minor == 0 && d.Old.Type == d.Info.Type {
		return nil
	}
	var all []Verdict
	for _, field := range d.Changed {
		out.Result, out.Field = ResultChanged, field
		out.Want, out.Got = fieldOf(field, d.Old), fieldOf(field, d.Info)
		all = append(all, out)
	}
	return all
}

func fieldOf(field string, i evidence.Info) string {
	switch field {
	case layers.ChangedType:
		return i.Type.String()
	case layers.ChangedMode:
		return fmt.Sprintf("%04o", i.Perm)
	case layers.ChangedOwner:
		return fmt.Sprintf("%d:%d", i.UID, i.GID)
	case layers.ChangedMtime:
		return i.Mtime.UTC().Format(time.RFC3339Nano)
	case layers.ChangedContent:
		return fmt.Sprintf("%d bytes", i.Size)
	}
	return ""
}

// ctimes looks for inodes that changed after the folder was complete: the kernel
// sets that time, and setting the others leaves it. Where most are later, the
// folder as a whole was copied or relabelled, which tells nothing of one of them.
func (c *layerCheck) ctimes() error {
	if c.layer.Created.IsZero() {
		return nil
	}
	var later []Verdict
	total := 0
	err := evidence.Walk(c.folder, c.folder.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if c.v.ctx.Err() != nil {
			return c.v.ctx.Err()
		}
		if err != nil {
			c.v.n.gap(c.j.volume, c.layer.Dir+"/"+path, err)
			return nil
		}
		if path == "" && c.layer.Table != "" {
			return nil // which was renamed into its place
		}
		total++
		if info.Ctime.After(c.layer.Created) {
			later = append(later, Verdict{Check: CheckCtime, Result: ResultChanged, Object: c.layer.Dir, Path: "/" + path, Field: "ctime",
				Want: "not after " + c.layer.Created.Format(time.RFC3339Nano), Got: info.Ctime.Format(time.RFC3339Nano), Info: info})
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case 2*len(later) > total:
		c.j.add(Verdict{Check: CheckCtime, Result: ResultUnverifiable, Note: fmt.Sprintf("%d of %d inodes changed after the layer was unpacked: its folder was copied or relabelled", len(later), total)})
	case len(later) == 0:
		c.j.add(Verdict{Check: CheckCtime, Result: ResultOK, Object: c.layer.Dir, Note: fmt.Sprintf("none of %d inodes changed after the layer was unpacked", total)})
	}
	if 2*len(later) > total {
		return nil
	}
	for _, l := range later {
		c.j.add(l)
	}
	return nil
}

// hidesTrusted says whether the evidence is a folder of this machine whose
// trusted.* attributes the kernel keeps from us.
func (n *Node) hidesTrusted() bool {
	for _, v := range n.Volumes {
		if f, ok := v.FS.(interface{ SeesTrusted() bool }); ok && !f.SeesTrusted() {
			return true
		}
	}
	return false
}

// openPath opens a file of a store's tree, links followed inside it.
func openPath(s Store, path string) (*io.SectionReader, error) {
	ino, err := evidence.Resolve(s.Tree, s.Tree.Root(), path, true)
	if err != nil {
		return nil, err
	}
	r, err := s.Tree.Open(ino)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return r, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
