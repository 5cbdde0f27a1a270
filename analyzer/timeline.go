package analyzer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"lagan/runtimes"
	"lagan/timeline"
)

// Scope says whose traces a timeline tells.
type Scope string

// The scopes of a timeline.
const (
	ScopeAll        Scope = "all"
	ScopeContainers Scope = "containers" // containers, their images, and the files of both
	ScopeNode       Scope = "node"       // the node's own files, layers' folders as they lie there
)

// TimelineOptions say what a timeline tells.
type TimelineOptions struct {
	Scope      Scope
	Containers []*Container // only these, where there are any
	With       []Companion  // logs of the cloud that the node was in
	Hash       bool         // SHA-256 of regular files
	Removed    bool         // what was removed too: containers and deleted files
	Merged     bool         // the whole view of each container, not only what it changed
	Find       *FindOptions // nil: tell no findings
	FilesOnly  bool         // files' records alone are wanted: logs and findings are not read
}

// Timeline tells what the node's disks say of its past. add is given one
// record after the other, in no order of time, and keeps nothing of it.
func (n *Node) Timeline(ctx context.Context, o TimelineOptions, add func(*timeline.Record) error) error {
	t := &teller{n: n, ctx: ctx, o: o, pipe: newPipe(add), hostname: n.System().Hostname}
	t.r = t.pipe.record()
	err := t.look()
	if err == nil {
		err = t.all()
	}
	if t.find != nil {
		t.find.settle()
	}
	if failed := t.pipe.close(); err == nil {
		err = failed
	}
	return err
}

func (t *teller) all() error {
	if t.o.Scope != ScopeNode {
		if err := t.runtimes(); err != nil {
			return err
		}
	}
	if len(t.o.Containers) == 0 || t.o.Scope == ScopeNode {
		if err := t.files(); err != nil {
			return err
		}
	}
	if err := t.removed(); err != nil {
		return err
	}
	if err := t.recovered(); err != nil {
		return err
	}
	if !t.o.FilesOnly {
		if err := t.written(); err != nil {
			return err
		}
	}
	if err := t.checkpointed(); err != nil {
		return err
	}
	if err := t.findings(); err != nil {
		return err
	}
	return t.gaps()
}

// written tells what the node and its services wrote down, and the logs of the cloud.
func (t *teller) written() error {
	if err := t.artifacts(); err != nil {
		return err
	}
	if err := t.journals(); err != nil {
		return err
	}
	if err := t.audits(); err != nil {
		return err
	}
	return t.companions()
}

// teller makes records, one after the other in r.
type teller struct {
	n        *Node
	ctx      context.Context
	o        TimelineOptions
	pipe     *pipe
	r        *timeline.Record
	hostname string
	// dataVolumes say of the folders of volumes whose they are.
	dataVolumes map[place]func(*timeline.Record)
	told        int64
	expected    int64 // records, as far as that can be known
	hasher      hasher
	find        *finder // nil: no findings are looked for
	byID        map[string]*Container
	commons     map[eventOf]*timeline.Common
	mounted     map[place]*Container // files of mounts: the node's own (nil), or whose they are told as
}

// tell hands on the record that was built.
func (t *teller) tell() error {
	if t.told++; t.told&1023 == 0 {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		total := t.expected
		if t.told > total {
			total = 0
		}
		t.n.progress("telling events", t.told, total)
	}
	if t.find != nil {
		t.find.record(t.r)
	}
	err := t.pipe.send()
	t.r = t.pipe.record()
	return err
}

// begin begins the fields that many records share.
func (t *teller) begin(parser string, volume int) *timeline.Record {
	r := &timeline.Record{}
	r.Reset(timeline.Unknown, nil)
	r.String(timeline.FieldParser, "lagan/"+parser)
	r.String(timeline.FieldHostname, t.hostname)
	r.String(timeline.FieldEvidence, t.n.evidenceName(volume))
	return r
}

// evidenceName is the image's name, and the volume's number where it has several.
func (n *Node) evidenceName(volume int) string {
	if volume > 0 && volume <= len(n.Volumes) {
		v := n.Volumes[volume-1]
		if len(n.Volumes) > 1 {
			return fmt.Sprintf("%s volume %d", v.Evidence.Name, v.Index)
		}
		return v.Evidence.Name
	}
	if len(n.Evidence) > 0 {
		return n.Evidence[0].Name
	}
	return ""
}

// containerCommon has what every record of a container carries.
func (t *teller) containerCommon(c *Container, parser string) *timeline.Common {
	r := t.begin(parser, c.store.Volume)
	identify(r, c)
	if c.Restarts != nil {
		r.Int(timeline.FieldRestartCount, int64(*c.Restarts))
	}
	return r.Common()
}

// identify says which container a record is of.
func identify(r *timeline.Record, c *Container) {
	r.String(timeline.FieldContainerID, c.ID)
	r.String(timeline.FieldContainerIdentifier, c.ID)
	r.String(timeline.FieldContainerName, firstOf(c.Name, c.ID))
	r.String(timeline.FieldContainerRuntime, string(c.Runtime))
	r.String(timeline.FieldContainerKind, string(c.Kind))
	r.String(timeline.FieldContainerdNamespace, c.Namespace)
	r.String(timeline.FieldImageName, c.Image)
	r.String(timeline.FieldImageDigest, c.ImageDigest)
	r.String(timeline.FieldKubernetesNamespace, c.Pod.Namespace)
	r.String(timeline.FieldKubernetesPodName, c.Pod.Name)
	r.String(timeline.FieldKubernetesPodUID, c.Pod.UID)
	r.String(timeline.FieldKubernetesContainerName, c.Pod.Container)
}

var (
	containerMessage = timeline.NewTemplate("Container {container_name} {action}, image {image_name}, command: {command}, exit code: {exit_code}")
	layerMessage     = timeline.NewTemplate("Image {image_name} build step: {command}, layer {layer_identifier}")
	imageMessage     = timeline.NewTemplate("Image {image_name} {action}, {image_identifier}")
	snapshotMessage  = timeline.NewTemplate("Snapshot {snapshot_key} {action}, kind {snapshot_kind}, parent {snapshot_parent}")
)

// runtimes tells the lives of containers, images and snapshots, and what each
// container changed.
func (t *teller) runtimes() error {
	containers := t.o.Containers
	if len(containers) == 0 {
		containers = t.n.Containers()
	}
	for _, c := range containers {
		if err := t.container(c); err != nil {
			return err
		}
		var err error
		t.n.guard(c.store.Volume, "container "+c.DisplayName(), func() error {
			err = nil
			failed := t.containerFiles(c)
			if t.ctx.Err() != nil || isSinkError(failed) {
				err = failed
				return nil
			}
			return failed
		})
		if err != nil {
			return err
		}
	}
	for _, i := range t.n.Images() {
		if len(t.o.Containers) > 0 && !slices.ContainsFunc(t.o.Containers, i.made) {
			continue
		}
		if err := t.image(i); err != nil {
			return err
		}
	}
	if len(t.o.Containers) > 0 {
		return nil
	}
	if err := t.snapshots(); err != nil {
		return err
	}
	return t.clusterObjects()
}

// container tells a container's life.
func (t *teller) container(c *Container) error {
	common := t.containerCommon(c, string(c.Runtime))
	life := []struct {
		action string
		desc   timeline.Desc
		time   func() bool
	}{
		{"created", timeline.Created, func() bool { t.r.Time(timeline.Created, c.Created); return true }},
		{"started", timeline.Started, func() bool { t.r.Time(timeline.Started, c.Started); return !c.Started.IsZero() }},
		{"exited", timeline.Ended, func() bool { t.r.Time(timeline.Ended, c.Finished); return !c.Finished.IsZero() }},
	}
	for _, l := range life {
		t.r.Reset(timeline.ContainerConfiguration, common)
		if !l.time() {
			continue
		}
		action := l.action
		if action == "exited" && c.OOMKilled {
			action = "oom_killed"
		}
		t.r.String(timeline.FieldDisplayName, "CONTAINER:"+c.DisplayName())
		t.r.String(timeline.FieldAction, action)
		t.r.String(timeline.FieldContainerState, string(c.State))
		t.r.String(timeline.FieldCommand, strings.Join(c.Command, " "))
		t.r.Bool(timeline.FieldPrivileged, c.Privileged)
		t.r.String(timeline.FieldContainerLabels, jsonText(c.Labels, len(c.Labels)))
		t.r.String(timeline.FieldContainerMounts, jsonText(c.Mounts, len(c.Mounts)))
		t.r.String(timeline.FieldLogPath, c.LogPath)
		if c.PID > 0 {
			t.r.Int(timeline.FieldPID, int64(c.PID))
		}
		if c.ExitCode != nil && l.action == "exited" {
			t.r.Int(timeline.FieldExitCode, int64(*c.ExitCode))
		}
		t.r.Template(containerMessage)
		if err := t.tell(); err != nil {
			return err
		}
	}
	return nil
}

// jsonText is a list or map as one JSON text, "" where it is empty.
func jsonText(v any, length int) string {
	if length == 0 {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil { // maps of strings and our own structs always marshal
		return ""
	}
	return string(b)
}

// image tells when an image came, and the steps that it says it was built in.
func (t *teller) image(i *Image) error {
	r := t.begin(string(i.Runtime), i.store.Volume)
	r.String(timeline.FieldContainerRuntime, string(i.Runtime))
	r.String(timeline.FieldContainerdNamespace, i.Namespace)
	r.String(timeline.FieldImageName, i.DisplayName())
	r.String(timeline.FieldImageDigest, i.Digest)
	r.String(timeline.FieldImageIdentifier, i.ID)
	common := r.Common()
	for _, life := range []struct {
		action string
		set    func()
		known  bool
	}{
		{"added", func() { t.r.Time(timeline.Added, i.Pulled) }, !i.Pulled.IsZero()},
		{"updated", func() { t.r.Time(timeline.Updated, i.Updated) }, !i.Updated.IsZero() && !i.Updated.Equal(i.Pulled)},
		{"built", func() { t.r.Time(timeline.Created, i.Created) }, !i.Created.IsZero()},
	} {
		if !life.known {
			continue
		}
		t.r.Reset(timeline.ContainerImage, common)
		t.r.String(timeline.FieldDisplayName, "IMAGE:"+i.DisplayName())
		t.r.String(timeline.FieldAction, life.action)
		life.set()
		t.r.Template(imageMessage)
		if err := t.tell(); err != nil {
			return err
		}
	}
	for k, h := range i.History {
		t.r.Reset(timeline.LayerConfiguration, common)
		t.r.String(timeline.FieldDisplayName, "IMAGE:"+i.DisplayName())
		t.r.String(timeline.FieldCommand, h.CreatedBy)
		t.r.String(timeline.FieldAuthor, h.Author)
		t.r.String(timeline.FieldComment, h.Comment)
		t.r.String(timeline.FieldLayerIdentifier, h.DiffID)
		t.r.Int(timeline.FieldOffset, int64(k)) // keeps the order of steps of one time
		t.r.Time(timeline.Created, h.Created)
		t.r.Template(layerMessage)
		if err := t.tell(); err != nil {
			return err
		}
	}
	return nil
}

// snapshots tells when layers were unpacked and containers' layers prepared.
func (t *teller) snapshots() error {
	for _, s := range t.n.Stores {
		r := t.begin(string(s.Runtime()), s.Volume)
		r.String(timeline.FieldContainerRuntime, string(s.Runtime()))
		r.String(timeline.FieldDataRoot, s.Path())
		common := r.Common()
		for snap, err := range s.Snapshots() {
			if err != nil {
				t.n.gap(s.Volume, fmt.Sprintf("%s store %s", s.Runtime(), s.Path()), err)
				continue
			}
			if err := t.snapshot(common, &snap); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *teller) snapshot(common *timeline.Common, s *runtimes.Snapshot) error {
	if s.Created.IsZero() {
		return nil // Docker's layers: their folders tell when they were made
	}
	t.r.Reset(timeline.ContainerSnapshot, common)
	t.r.String(timeline.FieldDisplayName, "SNAPSHOT:"+firstOf(s.Key, s.Name))
	t.r.String(timeline.FieldContainerdNamespace, s.Namespace)
	t.r.String(timeline.FieldSnapshotter, s.Snapshotter)
	t.r.String(timeline.FieldSnapshotKey, firstOf(s.Key, s.Name))
	t.r.String(timeline.FieldSnapshotParent, s.Parent)
	t.r.String(timeline.FieldSnapshotKind, s.Kind)
	t.r.String(timeline.FieldBackingPath, s.Dir)
	action := "prepared"
	if s.Kind == "committed" {
		action = "committed"
	}
	t.r.String(timeline.FieldAction, action)
	t.r.Time(timeline.Created, s.Created)
	t.r.Template(snapshotMessage)
	return t.tell()
}

// gaps ends a timeline with what could not be read.
func (t *teller) gaps() error {
	common := t.begin("warning", 0).Common()
	for _, g := range t.n.Gaps() {
		object := g.Object
		if object == "" && g.Volume > 0 {
			object = fmt.Sprintf("volume %d", g.Volume)
		}
		t.r.Gap(common, object, g.Message)
		if err := t.tell(); err != nil {
			return err
		}
	}
	return nil
}
