package analyzer

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/timeline"
)

var (
	podMessage        = timeline.NewTemplate("{display_name} {action}, images {images}, IP address {ip_address}")
	volumeMessage     = timeline.NewTemplate("Volume {volume} {action}, driver {volume_driver}, at {backing_path}")
	checkpointMessage = timeline.NewTemplate("Container {container_name} {action}: {filename}")
)

// clusterObjects tells pods, volumes, checkpoints, unfinished pulls and builds.
func (t *teller) clusterObjects() error {
	for _, p := range t.n.Pods() {
		if err := t.pod(p); err != nil {
			return err
		}
	}
	for _, v := range t.n.DataVolumes() {
		if err := t.dataVolume(v); err != nil {
			return err
		}
	}
	for _, tell := range []func() error{t.ingests, t.builds} {
		if err := tell(); err != nil {
			return err
		}
	}
	return t.checkpoints()
}

const folderAssumption = "no record has the time: shown is when its folder was made"

// pod tells when a pod was made and started. One that only folders name is
// told at the time when they were made.
func (t *teller) pod(p *Pod) error {
	r := t.begin("kubernetes", 0)
	r.String(timeline.FieldContainerRuntime, string(p.Runtime))
	r.String(timeline.FieldKubernetesNamespace, p.Namespace)
	r.String(timeline.FieldKubernetesPodName, p.Name)
	r.String(timeline.FieldKubernetesPodUID, p.UID)
	r.String(timeline.FieldImages, strings.Join(p.Images, ", "))
	r.String(timeline.FieldContainerState, string(p.State))
	r.String(timeline.FieldContainerLabels, jsonText(p.Labels, len(p.Labels)))
	r.String(timeline.FieldLogPath, p.LogDir)
	r.String(timeline.FieldBackingPath, p.Dir)
	r.String(timeline.FieldEventSource, p.Source)
	r.Bool(timeline.FieldPrivileged, p.Privileged)
	r.Strings(timeline.FieldIPAddresses, p.IP)
	if len(p.IP) > 0 {
		r.String(timeline.FieldIPAddress, p.IP[0])
	}
	r.String(timeline.FieldDisplayName, "POD:"+p.DisplayName())
	common := r.Common()
	tell := func(action string, desc timeline.Desc, at time.Time, assumption string) error {
		if at.IsZero() {
			return nil
		}
		t.r.Reset(timeline.KubernetesPod, common)
		t.r.String(timeline.FieldAction, action)
		t.r.String(timeline.FieldTimeAssumption, assumption)
		t.r.Time(desc, at)
		t.r.Template(podMessage)
		return t.tell()
	}
	created, assumption := p.Created, ""
	if created.IsZero() {
		if created = t.born(t.n.Tree, p.Dir); created.IsZero() {
			created = t.born(t.n.Tree, p.LogDir)
		}
		assumption = folderAssumption
	}
	if err := tell("created", timeline.Created, created, assumption); err != nil {
		return err
	}
	return tell("started", timeline.Started, p.Started, "")
}

// born is when a folder was made, zero where the filesystem doesn't say.
func (t *teller) born(tree evidence.FS, dir string) time.Time {
	if dir == "" || tree == nil {
		return time.Time{}
	}
	ino, err := evidence.Resolve(tree, tree.Root(), dir, true)
	if err != nil {
		return time.Time{}
	}
	info, err := tree.Stat(ino)
	if err != nil {
		return time.Time{}
	}
	return info.Btime
}

func (t *teller) dataVolume(v *DataVolume) error {
	created, assumption := v.Created, ""
	if created.IsZero() {
		created, assumption = t.born(v.store.Tree, v.Mountpoint), folderAssumption
	}
	if created.IsZero() {
		return nil // its files tell what can be told
	}
	r := t.begin(firstOf(string(v.Runtime), "kubernetes"), v.store.Volume)
	t.r.Reset(timeline.ContainerVolume, r.Common())
	t.r.String(timeline.FieldDisplayName, "VOLUME:"+v.Name)
	t.r.String(timeline.FieldVolume, v.Name)
	t.r.String(timeline.FieldVolumeDriver, v.Driver)
	t.r.String(timeline.FieldBackingPath, v.Mountpoint)
	t.r.String(timeline.FieldContainerRuntime, string(v.Runtime))
	t.r.String(timeline.FieldContainerLabels, jsonText(v.Labels, len(v.Labels)))
	t.r.String(timeline.FieldKubernetesNamespace, v.Pod.Namespace)
	t.r.String(timeline.FieldKubernetesPodName, v.Pod.Name)
	t.r.String(timeline.FieldKubernetesPodUID, v.Pod.UID)
	if len(v.Containers) > 0 {
		t.r.String(timeline.FieldResources, jsonText(v.Containers, len(v.Containers)))
	}
	if len(v.Containers) == 1 {
		t.r.String(timeline.FieldContainerID, v.Containers[0])
		t.r.String(timeline.FieldContainerIdentifier, v.Containers[0])
	}
	t.r.String(timeline.FieldAction, "created")
	t.r.String(timeline.FieldTimeAssumption, assumption)
	t.r.Time(timeline.Created, created)
	t.r.Template(volumeMessage)
	return t.tell()
}

// ingests tells the pulls that were not finished.
func (t *teller) ingests() error {
	for _, c := range t.n.Contents() {
		if c.Kind != runtimes.ContentIngest || c.Created.IsZero() && c.Updated.IsZero() {
			continue
		}
		r := t.begin(string(c.Runtime), 0)
		r.String(timeline.FieldContainerRuntime, string(c.Runtime))
		r.String(timeline.FieldContainerdNamespace, c.Namespace)
		t.r.Reset(timeline.ContainerImage, r.Common())
		t.r.String(timeline.FieldDisplayName, "CONTENT:"+firstOf(c.Ref, c.Digest))
		t.r.String(timeline.FieldAction, "pull_unfinished")
		t.r.String(timeline.FieldImageDigest, c.Digest)
		t.r.String(timeline.FieldImageIdentifier, c.Ref)
		t.r.String(timeline.FieldBackingPath, c.Path)
		t.r.Time(timeline.Started, c.Created)
		t.r.Time(timeline.Updated, c.Updated)
		t.r.Template(imageMessage)
		if err := t.tell(); err != nil {
			return err
		}
	}
	return nil
}

// kubeletCheckpoint is the name that the kubelet gives an archive:
// checkpoint-POD_NAMESPACE-CONTAINER-TIME.tar (pkg/kubelet/kubelet.go, CheckpointContainer).
var kubeletCheckpoint = regexp.MustCompile(`^checkpoint-([^_]+)_(.+?)-([^-]+(?:-[^-]+)*?)-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d))\.tar$`)

// checkpoints tells the checkpoints that the kubelet, Docker and Podman made.
func (t *teller) checkpoints() error {
	if t.n.Tree != nil {
		for name, ino := range glob(t.n.Tree, "var/lib/kubelet/checkpoints/*.tar") {
			if err := t.checkpoint(t.n.Tree, "/"+name, ino, nil); err != nil {
				return err
			}
		}
	}
	for _, c := range t.n.Containers() {
		var pattern string
		switch c.Runtime {
		case runtimes.Docker:
			pattern = path.Join(c.StorePath, "containers", c.ID, "checkpoints/*")
		case runtimes.Podman:
			pattern = path.Join(c.StorePath, "overlay-containers", c.ID, "userdata/checkpoint")
		default:
			continue
		}
		for name, ino := range glob(c.store.Tree, strings.Trim(pattern, "/")) {
			if err := t.checkpoint(c.store.Tree, "/"+name, ino, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *teller) checkpoint(tree evidence.FS, name string, ino evidence.Ino, c *Container) error {
	info, err := tree.Stat(ino)
	if err != nil {
		return nil // the telling of files says so
	}
	r := t.begin("checkpoint", 0)
	when, assumption := info.Mtime, "shown is when the checkpoint was last written"
	if c == nil {
		if m := kubeletCheckpoint.FindStringSubmatch(path.Base(name)); m != nil {
			if at, err := time.Parse(time.RFC3339, m[4]); err == nil {
				when, assumption = at.UTC(), ""
			}
			c = t.podContainer(m[1], m[2]+"-"+m[3])
			r.String(timeline.FieldKubernetesPodName, m[1])
		}
	}
	common := r.Common()
	if c != nil {
		common = t.containerCommon(c, "checkpoint")
	}
	t.r.Reset(timeline.ContainerConfiguration, common)
	t.r.Path("NODE:", name)
	t.r.String(timeline.FieldAction, "checkpointed")
	t.r.String(timeline.FieldTimeAssumption, assumption)
	t.r.Int(timeline.FieldFileSize, info.Size)
	t.r.Time(timeline.Created, when)
	t.r.Template(checkpointMessage)
	return t.tell()
}

// podContainer finds a container by its pod and NAMESPACE-CONTAINER, which
// alone can't be told apart: both may have dashes.
func (t *teller) podContainer(pod, rest string) *Container {
	i := slices.IndexFunc(t.n.Containers(), func(c *Container) bool {
		return c.Kind == runtimes.KindContainer && c.Pod.Name == pod && fmt.Sprintf("%s-%s", c.Pod.Namespace, c.Pod.Container) == rest
	})
	if i < 0 {
		return nil
	}
	return t.n.Containers()[i]
}
