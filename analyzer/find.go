package analyzer

import (
	"context"
	"fmt"
	"time"

	"lagan/evidence"
	"lagan/findings"
	"lagan/runtimes"
	"lagan/timeline"
)

// FindOptions say what is looked for.
type FindOptions struct {
	Rules      *findings.Set        // nil: lagan's own
	Indicators *findings.Indicators // nil: none
	NoVerify   bool                 // don't compare images with their digests
	NoRecover  bool                 // don't look for traces of what was removed, for which journals and free space are read
	With       []Companion          // logs of the cloud that the node was in
	Containers []*Container         // only these, where there are any
	// Observe, if set, is given every record of the timeline on the way.
	Observe func(*timeline.Record) error
}

// Findings says what an analyst should look at first, the severest first. It
// reads all that a timeline tells.
func (n *Node) Findings(ctx context.Context, o FindOptions) ([]*findings.Finding, error) {
	f, err := newFinder(n, ctx, o)
	if err != nil {
		return nil, err
	}
	observe := o.Observe
	if observe == nil {
		observe = func(*timeline.Record) error { return nil }
	}
	t := &teller{
		n: n, ctx: ctx, o: TimelineOptions{Scope: ScopeAll, With: o.With, Containers: o.Containers}, pipe: newPipe(observe),
		hostname: n.System().Hostname, find: f,
	}
	t.r = t.pipe.record()
	f.begin()
	err = t.all()
	f.settle()
	if failed := t.pipe.close(); err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	return f.findings(), nil
}

// finder holds what a timeline is made of against rules and indicators. It is
// told of changes and files where they are told, and of records when they are.
type finder struct {
	n    *Node
	ctx  context.Context
	o    FindOptions
	set  *findings.Set
	in   *findings.Indicators
	all  findings.Collection
	wide bool // rules or indicators need every file of the node
	// queue is where subjects are held against the rules while others are met; nil: at once.
	queue *matchQueue

	containers map[*Container]*containerFinder
	byID       map[string]*Container
	first      time.Time // when the first container was made; zero: there are none
	lines      lineFinder
	logins     loginFinder
	layers     layerFinder
	node       nodeFinder
}

func newFinder(n *Node, ctx context.Context, o FindOptions) (*finder, error) {
	f := &finder{n: n, ctx: ctx, o: o, set: o.Rules, in: o.Indicators, containers: map[*Container]*containerFinder{}, byID: map[string]*Container{}}
	if f.set == nil {
		var err error
		if f.set, err = findings.Default(); err != nil {
			return nil, err
		}
	}
	f.wide = f.set.Wide() || f.in != nil
	f.lines.hints, f.lines.hinted = f.set.Hints()
	f.node.finder, f.layers.finder = f, f
	for _, c := range n.Containers() {
		f.byID[c.ID] = c
		if !c.Created.IsZero() && (f.first.IsZero() || c.Created.Before(f.first)) {
			f.first = c.Created
		}
	}
	return f, nil
}

// finish looks at what is known only when all has been told, and at what a timeline doesn't tell.
func (f *finder) finish() error {
	f.settle()
	f.logins.finish(f)
	f.layers.finish()
	f.node.finish()
	for _, c := range f.n.Containers() {
		if !f.wanted(c) {
			continue
		}
		f.n.guard(c.store.Volume, c.DisplayName(), func() error { f.container(c); return f.mounts(c) })
		if err := f.ctx.Err(); err != nil {
			return err
		}
	}
	if len(f.o.Containers) > 0 {
		return nil
	}
	for _, i := range f.n.Images() {
		f.image(i)
	}
	f.gone()
	if err := f.removed(); err != nil {
		return err
	}
	f.checkpoints()
	if err := f.node.verifyPackages(); err != nil {
		return err
	}
	return f.verify()
}

func (f *finder) wanted(c *Container) bool {
	t := teller{n: f.n, o: TimelineOptions{Containers: f.o.Containers}}
	return t.wanted(c)
}

// maxHashedEvidence is the largest file whose hash is told as evidence.
const maxHashedEvidence = 1 << 30

// findings returns what was found, with the hashes of the files.
func (f *finder) findings() []*findings.Finding {
	all := f.all.Findings()
	sums := make(map[string]string)
	for _, x := range all {
		lower(x)
		for i := range x.Evidence {
			e := &x.Evidence[i]
			if e.Open == nil || e.File == nil || e.File.Size > maxHashedEvidence || f.ctx.Err() != nil {
				continue
			}
			sum, known := sums[e.Place]
			if !known {
				f.n.guard(0, e.Place, func() error {
					r, err := e.Open()
					if err == nil {
						sum, err = hashSHA256(r)
					}
					return err
				})
				sums[e.Place] = sum
			}
			e.File.SHA256 = sum
		}
	}
	return all
}

// manyScripts is how many scripts in document roots are rather a deployment than an intrusion.
const manyScripts = 40

// lower makes a finding less severe where its number speaks against it.
func lower(x *findings.Finding) {
	if x.Rule.ID == "web-script-added" && x.Total > manyScripts && x.Severity > findings.Low {
		x.Severity = findings.Low
	}
}

// containerOf names a container for evidence.
func (f *finder) containerOf(c *Container) *findings.Container {
	if c == nil {
		return nil
	}
	out := &findings.Container{
		ID: c.ID, Name: c.DisplayName(), Runtime: string(c.Runtime), Image: c.Image, Pod: c.Pod.Name, PodUID: c.Pod.UID,
		Namespace: firstOf(c.Pod.Namespace, c.Namespace), Sandbox: c.Pod.SandboxID,
	}
	return out
}

// place is how timelines display a path of a container or of the node.
func placeOf(c *Container, path string) string {
	if c == nil {
		return "NODE:" + path
	}
	return "CONTAINER:" + c.DisplayName() + ":" + path
}

// match holds a subject against all rules, beside what is told next. The subject is given away.
func (f *finder) match(s *findings.Subject, e findings.Evidence) {
	f.later(e.Place, func() { f.meet(s, e) })
}

// meet holds a subject against all rules and adds what it meets.
func (f *finder) meet(s *findings.Subject, e findings.Evidence) {
	e.Kind = s.Kind
	for _, m := range f.set.Match(s) {
		found := e
		found.Field, found.Value = m.Field, m.Value
		f.all.Add(m.Rule, "", found)
	}
	f.indicators(s, e)
}

// indicators looks for indicators in the fields of a subject.
func (f *finder) indicators(s *findings.Subject, e findings.Evidence) {
	if f.in == nil {
		return
	}
	report := func(field, indicator, context string) {
		found := e
		found.Field, found.Value = field, indicator
		if context != indicator && context != "" {
			found.Value += ": " + context
		}
		f.all.Add(f.set.Rule("indicator"), "", found)
	}
	if p := s.First("path"); p != "" {
		if v, ok := f.in.Path(p); ok {
			report("path", v, "")
		}
	}
	if v := s.First("hash"); v != "" {
		report("hash", v, "")
	}
	for _, field := range [...]string{"command", "message", "args", "env", "mounts", "image", "ip_address", findings.TextField, "remote_address"} {
		for _, text := range s.Get(field) {
			if v, context, ok := f.in.Text(text); ok {
				report(field, v, context)
				break
			}
		}
	}
}

// computed adds what was found by other means than a rule's detection.
func (f *finder) computed(rule string, e findings.Evidence) {
	if r := f.set.Rule(rule); r != nil {
		f.later(e.Place, func() { f.all.Add(r, "", e) })
	}
}

// fileEvidence is a file as evidence.
func fileEvidence(i *evidence.Info, change, target string) *findings.File {
	return &findings.File{
		Change: change, Mode: i.Perm, UID: i.UID, GID: i.GID, Size: i.Size, Inode: i.Inode, Target: target,
		Mtime: i.Mtime, Atime: i.Atime, Ctime: i.Ctime, Btime: i.Btime,
	}
}

// when returns the time at which a file came to be as it is: its birth, if that is
// known, or else its last change.
func when(i *evidence.Info, change string) (time.Time, string) {
	switch {
	case change == "added" && !i.Btime.IsZero():
		return i.Btime, "created"
	case !i.Ctime.IsZero():
		return i.Ctime, "changed"
	}
	return i.Mtime, "modified"
}

// hostOf says whether the node belongs to a Kubernetes cluster.
func (n *Node) inCluster() bool {
	for _, c := range n.Containers() {
		if c.Kind == runtimes.KindSandbox && c.Pod.Namespace != "" {
			return true
		}
	}
	return false
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
