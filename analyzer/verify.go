package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"

	"lagan/evidence"
	"lagan/layers"
	"lagan/runtimes"
)

// Result is what came of a check.
type Result string

// The results of checks. All but ResultOK and ResultUnverifiable are findings.
const (
	ResultOK           Result = "ok"
	ResultChanged      Result = "changed"
	ResultAdded        Result = "added"
	ResultMissing      Result = "missing"
	ResultUnverifiable Result = "unverifiable" // nothing is left to compare with
)

// What is checked.
const (
	CheckImage    = "image"     // all of an image's checks in one
	CheckIndex    = "index"     // a document's content against its digest
	CheckManifest = "manifest"  // the same, and whether it leads to the configuration
	CheckConfig   = "config"    // the same
	CheckChain    = "chain"     // what the store says of its layers against the configuration
	CheckBlob     = "blob"      // a packed layer against its digest and size
	CheckDiffID   = "diff-id"   // what it unpacks to against the configuration
	CheckFolder   = "folder"    // a layer's folder against the tar of its blob
	CheckTarSplit = "tar-split" // the same against a tar-split
	CheckTable    = "table"     // the same against the table of contents of a blob that was pulled file by file
	CheckCopy     = "copy"      // the same against another folder of the layer
	CheckCtime    = "ctime"     // when inodes last changed against when the folder was complete
)

// Verdict is the result of one check, or one thing that it found.
type Verdict struct {
	Runtime   runtimes.Name
	Namespace string
	Image     string // display name; of a layer that several images have, the first's; "" of none
	ImageID   string
	Layer     string // diff id
	Check     string
	Result    Result
	Object    string // the file or folder of the node that was checked
	Path      string // in the layer, with a leading slash, any bytes
	Field     string // what of it
	Want, Got string
	Info      evidence.Info // of what the layer's folder has at Path
	Note      string
}

// Finding says whether the evidence isn't what its digests promise.
func (v *Verdict) Finding() bool { return v.Result != ResultOK && v.Result != ResultUnverifiable }

// Verify checks what is on the disk of images against what their digests promise,
// all of them where images is nil, and then the other blobs of content stores
// too. It calls fn for each check and each finding, in a fixed order; layers are
// read several at a time, and each once however many images share it.
func (n *Node) Verify(ctx context.Context, images []*Image, fn func(Verdict) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v := &verifier{n: n, ctx: ctx, jobs: make(map[string]*job), packed: make(map[string]*packed), done: make(map[string]bool)}
	v.sources()
	all := images == nil
	if all {
		images = n.Images()
	}
	var plans []imagePlan
	for _, i := range images {
		plans = append(plans, v.plan(i))
	}
	var others []*job
	if all {
		others = v.otherBlobs()
	}
	fn = tellOnce(fn)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	v.work(&wg)
	for _, p := range plans {
		if err := v.tell(p, fn); err != nil {
			return err
		}
	}
	for _, j := range others {
		if err := v.await(j, fn); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// tellOnce passes what is wrong with a file on once, where several images or
// folders were unpacked from it.
func tellOnce(fn func(Verdict) error) func(Verdict) error {
	told := make(map[string]bool)
	return func(v Verdict) error {
		if v.Finding() && v.Check != CheckImage && v.Path == "" && v.Object != "" {
			key := v.Check + "\x00" + v.Object + "\x00" + v.Field
			if told[key] {
				return nil
			}
			told[key] = true
		}
		return fn(v)
	}
}

// work runs the jobs, as many at a time as there are processors, in their order.
func (v *verifier) work(wg *sync.WaitGroup) {
	queue := make(chan *job)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for j := range queue {
				v.n.guard(j.volume, j.name, func() error {
					err := j.run(j)
					if v.ctx.Err() != nil {
						return nil // the end of it, not of the evidence
					}
					return err
				})
				close(j.finished)
			}
		})
	}
	wg.Go(func() {
		defer close(queue)
		for _, j := range v.order {
			select {
			case queue <- j:
			case <-v.ctx.Done():
				return
			}
		}
	})
}

// verifier plans all checks before the first is made, so that their order is the
// images' and none is made twice.
type verifier struct {
	n     *Node
	ctx   context.Context
	jobs  map[string]*job // by what they read
	order []*job
	done  map[string]bool // what was told
	// what is known of the same diff id anywhere in the evidence
	blobs  map[string][]source
	splits map[string][]source
	copies map[string][]source
	// packed are the blobs that images name, each with the layers that are to be compared with it.
	packed map[string]*packed
}

// source is a place where a layer's content, or a part of it, can be found.
type source struct {
	store Store
	layer runtimes.Layer
	blob  runtimes.Blob
}

// job is one thing that is read.
type job struct {
	volume   int
	name     string // for a gap
	key      string
	run      func(*job) error
	finished chan struct{}
	verdicts []Verdict
	verdict  Verdict // what all its verdicts have in common
}

func (j *job) add(v Verdict) {
	v.Runtime, v.Namespace, v.Image, v.ImageID = j.verdict.Runtime, j.verdict.Namespace, j.verdict.Image, j.verdict.ImageID
	v.Layer = firstOf(v.Layer, j.verdict.Layer)
	v.Object = firstOf(v.Object, j.verdict.Object)
	j.verdicts = append(j.verdicts, v)
}

func (v *verifier) job(s Store, key string, common Verdict, run func(*job) error) *job {
	key = fmt.Sprintf("%d:%s", s.Volume, key)
	if j := v.jobs[key]; j != nil {
		return j
	}
	j := &job{volume: s.Volume, name: common.Object, key: key, run: run, finished: make(chan struct{}), verdict: common}
	v.jobs[key] = j
	v.order = append(v.order, j)
	return j
}

// imagePlan is what is to be told of an image.
type imagePlan struct {
	image *Image
	first []Verdict // what needs no reading
	jobs  []*job
	kinds []string // of each job: "layer" or a document's
}

func common(i *Image) Verdict {
	return Verdict{Runtime: i.Runtime, Namespace: i.Namespace, Image: i.DisplayName(), ImageID: i.ID}
}

// sources notes where layers lie, in all stores.
func (v *verifier) sources() {
	v.blobs, v.splits, v.copies = make(map[string][]source), make(map[string][]source), make(map[string][]source)
	met := make(map[string]bool)
	first := func(s Store, path string) bool {
		key := fmt.Sprintf("%d:%s", s.Volume, path)
		known := met[key]
		met[key] = true
		return !known && path != ""
	}
	for _, i := range v.n.Images() {
		for k, b := range i.Blobs {
			if first(i.store, b.Path) {
				v.blobs[i.Layers[k]] = append(v.blobs[i.Layers[k]], source{store: i.store, blob: b})
			}
		}
		if i.wholeTrees() {
			continue
		}
		for k, l := range i.Rootfs.Lower {
			diff := i.diffID(len(i.Rootfs.Lower) - 1 - k)
			if diff == "" {
				continue
			}
			if first(i.store, l.TarSplit) {
				v.splits[diff] = append(v.splits[diff], source{store: i.store, layer: l})
			}
			if first(i.store, l.Dir) {
				v.copies[diff] = append(v.copies[diff], source{store: i.store, layer: l})
			}
		}
	}
}

// wholeTrees says whether the image's folder is all its layers in one.
func (i *Image) wholeTrees() bool { return i.Rootfs.Kind == runtimes.RootfsBind && len(i.Layers) > 1 }

// diffID returns the diff id of the k-th folder from below: the configuration's,
// or the store's own where it has more folders or fewer.
func (i *Image) diffID(k int) string {
	if len(i.Layers) == len(i.Rootfs.Lower) {
		return i.Layers[k]
	}
	return i.Rootfs.Lower[len(i.Rootfs.Lower)-1-k].DiffID
}

func (v *verifier) plan(i *Image) imagePlan {
	p := imagePlan{image: i}
	for _, d := range i.Documents {
		c := common(i)
		c.Check, c.Object = firstOf(d.Kind, CheckBlob), d.Path
		if d.Digest == "" {
			continue // what would name it can't be read, which is told of that
		}
		if d.Path == "" {
			c.Result, c.Want = ResultMissing, d.Digest
			p.first = append(p.first, c)
			continue
		}
		p.add(d.Kind, v.job(i.store, "document "+d.Digest+" "+d.Path, c, func(j *job) error { return v.document(i, d, j) }))
	}
	p.first = append(p.first, v.chain(i)...)
	lower := i.Rootfs.Lower
	for k, diff := range i.Layers {
		var l runtimes.Layer
		if len(lower) == len(i.Layers) && !i.wholeTrees() {
			l = lower[len(lower)-1-k]
		}
		var b runtimes.Blob
		if k < len(i.Blobs) {
			b = i.Blobs[k]
		}
		c := common(i)
		c.Layer, c.Object = diff, firstOf(l.Dir, b.Path)
		key := "layer " + diff + " " + firstOf(l.Dir, firstOf(b.Path, i.ID))
		known := len(v.order)
		j := v.job(i.store, key, c, func(j *job) error { return v.layer(i, diff, l, b, j) })
		if len(v.order) > known && b.Path != "" && l.Dir != "" {
			v.shares(i.store, b).layers = append(v.shares(i.store, b).layers, &layerCheck{v: v, j: j, image: i, layer: l})
		}
		p.add("layer", j)
	}
	return p
}

func (p *imagePlan) add(kind string, j *job) {
	p.jobs, p.kinds = append(p.jobs, j), append(p.kinds, kind)
}

// chain compares what the store says of its layers with the configuration.
func (v *verifier) chain(i *Image) []Verdict {
	out := common(i)
	out.Check, out.Result = CheckChain, ResultOK
	lower := i.Rootfs.Lower
	switch {
	case i.Rootfs.Problem != nil:
		out.Result, out.Note = ResultUnverifiable, i.Rootfs.Problem.Error()
		return []Verdict{out}
	case i.wholeTrees() || len(lower) == 0 || len(lower) > len(i.Layers):
		return nil // no folder of one layer each
	case len(lower) != len(i.Layers):
		out.Result, out.Field, out.Want, out.Got = ResultChanged, "layers", fmt.Sprint(len(i.Layers)), fmt.Sprint(len(lower))
		return []Verdict{out}
	}
	var all []Verdict
	for k, diff := range i.Layers {
		l := lower[len(lower)-1-k]
		if l.DiffID != "" && l.DiffID != diff {
			c := out
			c.Layer, c.Object, c.Result, c.Field, c.Want, c.Got = diff, l.Dir, ResultChanged, CheckDiffID, diff, l.DiffID
			all = append(all, c)
		}
	}
	if all == nil {
		return []Verdict{out}
	}
	return all
}

// otherBlobs plans the blobs of content stores that no image's plan reads.
func (v *verifier) otherBlobs() []*job {
	planned := make(map[string]bool)
	for _, j := range v.order {
		planned[fmt.Sprintf("%d:%s", j.volume, j.verdict.Object)] = true
	}
	for _, list := range v.blobs {
		for _, s := range list {
			planned[fmt.Sprintf("%d:%s", s.store.Volume, s.blob.Path)] = true
		}
	}
	var out []*job
	for _, s := range v.n.Stores {
		keeper, ok := s.Store.(runtimes.ContentStore)
		if !ok {
			continue
		}
		for c, err := range keeper.Contents() {
			if err != nil {
				v.n.gap(s.Volume, fmt.Sprintf("%s store %s", s.Runtime(), s.Path()), err)
				continue
			}
			if c.Kind != runtimes.ContentBlob || planned[fmt.Sprintf("%d:%s", s.Volume, c.Path)] {
				continue
			}
			b := runtimes.Blob{Digest: c.Digest, Size: c.Size, Path: c.Path}
			of := Verdict{Runtime: s.Runtime(), Namespace: c.Namespace, Check: CheckBlob, Object: b.Path}
			out = append(out, v.job(s, "blob "+b.Path, of, func(j *job) error { return v.file(s, b, CheckBlob, j) }))
		}
	}
	return out
}

// await tells what a job found, once.
func (v *verifier) await(j *job, fn func(Verdict) error) error {
	select {
	case <-j.finished:
	case <-v.ctx.Done():
		return v.ctx.Err()
	}
	if v.done[j.key] {
		return nil
	}
	v.done[j.key] = true
	for _, r := range j.verdicts {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// tell gives all verdicts of an image, and the one of the image at last.
func (v *verifier) tell(p imagePlan, fn func(Verdict) error) error {
	sum := common(p.image)
	sum.Check, sum.Result = CheckImage, ResultOK
	count := func(r Verdict) {
		switch {
		case r.Finding():
			sum.Result = ResultChanged
		case r.Result == ResultUnverifiable && sum.Result == ResultOK:
			sum.Result = ResultUnverifiable
		}
	}
	for _, r := range p.first {
		count(r)
		if err := fn(r); err != nil {
			return err
		}
	}
	compared, total := 0, 0
	for k, j := range p.jobs {
		if err := v.await(j, fn); err != nil {
			return err
		}
		ok := len(j.verdicts) > 0
		for _, r := range j.verdicts {
			count(r)
			ok = ok && r.Result == ResultOK
		}
		if len(j.verdicts) == 0 { // it failed, which is a gap
			count(Verdict{Result: ResultUnverifiable})
		}
		if p.kinds[k] == "layer" {
			total++
			if ok {
				compared++
			}
		}
	}
	sum.Note = fmt.Sprintf("%d of %d layers are as their digests promise", compared, total)
	return fn(sum)
}

// file compares a file with its digest and size.
func (v *verifier) file(s Store, b runtimes.Blob, check string, j *job) error {
	d, err := layers.ParseDigest(b.Digest)
	if err != nil {
		j.add(Verdict{Check: check, Result: ResultUnverifiable, Note: err.Error()})
		return nil
	}
	r, err := openPath(s, b.Path)
	if errors.Is(err, fs.ErrNotExist) {
		j.add(Verdict{Check: check, Result: ResultMissing, Want: b.Digest})
		return nil
	}
	if err != nil {
		j.add(Verdict{Check: check, Result: ResultUnverifiable, Note: err.Error()})
		return err
	}
	got, size, err := d.Sum(contextReader{v.ctx, r})
	if err != nil {
		j.add(Verdict{Check: check, Result: ResultUnverifiable, Note: err.Error()})
		return fmt.Errorf("%s: %w", b.Path, err)
	}
	j.sum(check, b, layers.Sums{Digest: got, Size: size}, d)
	return nil
}

// sum adds the verdict on a file's digest and size.
func (j *job) sum(check string, b runtimes.Blob, got layers.Sums, want layers.Digest) {
	out := Verdict{Check: check, Object: b.Path, Result: ResultOK, Want: want.String()}
	switch {
	case got.Digest != want:
		out.Result, out.Field, out.Got = ResultChanged, "digest", got.Digest.String()
	case b.Size >= 0 && b.Size != got.Size:
		out.Result, out.Field, out.Want, out.Got = ResultChanged, "size", fmt.Sprint(b.Size), fmt.Sprint(got.Size)
	}
	j.add(out)
}

// maxDocument is what is read of a manifest, as the runtimes' readers do.
const maxDocument = 8 << 20

func (v *verifier) document(i *Image, d runtimes.Blob, j *job) error {
	if err := v.file(i.store, d, j.verdict.Check, j); err != nil {
		return err
	}
	if d.Kind != "manifest" || j.verdicts[0].Result != ResultOK {
		return nil
	}
	raw, err := evidence.ReadFile(i.store.Tree, i.store.Tree.Root(), d.Path, maxDocument)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Path, err)
	}
	m, err := layers.ParseManifest(raw)
	if err == nil && m.Config.String() != i.configID {
		j.add(Verdict{Check: CheckManifest, Result: ResultChanged, Field: CheckConfig, Want: m.Config.String(), Got: i.configID})
	}
	return nil
}
