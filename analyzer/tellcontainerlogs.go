package analyzer

import (
	"path"
	"regexp"
	"strings"

	alerts "lagan/artifacts/falco"
	"lagan/evidence"
	"lagan/timeline"
)

var outputMessage = timeline.NewTemplate("[{container_name}] {message_body}")

// containerLogs tells what a container wrote to its output.
func (t *teller) containerLogs(c *Container) error {
	for _, set := range t.n.logSets(c) {
		if err := t.logSet(c.store.Volume, &set, t.containerCommon(c, set.form.name)); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) logSet(volume int, set *logSet, common *timeline.Common) error {
	kind, source := timeline.DockerLogEntry, timeline.FieldLogSource
	if set.form.name == criLog.name {
		kind, source = timeline.CRILogEntry, timeline.FieldStream
	}
	return t.n.readLogs(t.ctx, volume, set, func(e *LogEntry) error {
		t.r.Reset(kind, common)
		t.r.Path("NODE:", e.Path)
		t.r.Int(timeline.FieldOffset, e.Offset)
		t.r.Time(timeline.Modified, e.Time)
		t.r.String(source, e.Source)
		t.r.String(timeline.FieldFlags, e.Flags)
		t.r.Bytes(timeline.FieldBody, e.Text)
		t.r.Bytes(timeline.FieldMessageBody, e.Text)
		t.r.Template(outputMessage)
		if err := t.tell(); err != nil {
			return err
		}
		return t.alertIn(e, volume)
	})
}

// alertIn tells the alert that a line of Falco's own output is, as it runs in a
// pod of its own on most nodes.
func (t *teller) alertIn(e *LogEntry, volume int) error {
	if !alerts.Is(e.Text) {
		return nil
	}
	alert, err := alerts.Parse(e.Text)
	if err != nil {
		return nil // some other program's JSON: the line is told
	}
	if alert.Time.IsZero() {
		alert.Time = e.Time
	}
	alert.Offset = e.Offset
	t.falcoAlert("NODE:", e.Path, volume, &alert)
	return t.tell()
}

const podLogs = "var/log/pods"

// podFolder is a pod's folder of logs: NAMESPACE_POD_UID (Kubernetes
// pkg/kubelet/kuberuntime/helpers.go, BuildPodLogsDirectory).
var podFolder = regexp.MustCompile(`^([^_]+)_([^_]+)_([^_]+)$`)

// otherPodLogs tells the logs of pods' containers that no runtime knows any
// more. Their paths say whose they were, and a link of /var/log/containers
// may have kept the id.
func (t *teller) otherPodLogs() error {
	if t.n.Tree == nil {
		return nil
	}
	known := make(map[string]bool)
	for _, c := range t.n.Containers() {
		known[path.Clean(c.LogPath)] = true
	}
	ids := t.logLinks()
	for name := range glob(t.n.Tree, podLogs+"/*/*/*.log") {
		base := "/" + name
		if known[base] {
			continue
		}
		dir, err := evidence.Resolve(t.n.Tree, t.n.Tree.Root(), path.Dir(name), false)
		if err != nil {
			continue
		}
		set := logSet{criLog, t.n.Tree, t.n.rotatedIn(t.n.Tree, dir, base)}
		if len(set.files) == 0 {
			continue
		}
		if err := t.logSet(0, &set, t.goneCommon(base, ids[base])); err != nil {
			return err
		}
	}
	return nil
}

// goneCommon has what the path of a log says of its container.
func (t *teller) goneCommon(base, id string) *timeline.Common {
	r := t.begin(criLog.name, 0)
	elements := strings.Split(strings.TrimPrefix(base, "/"+podLogs+"/"), "/")
	r.String(timeline.FieldContainerID, id)
	r.String(timeline.FieldContainerIdentifier, id)
	r.String(timeline.FieldContainerState, "gone")
	if len(elements) == 3 {
		if m := podFolder.FindStringSubmatch(elements[0]); m != nil {
			r.String(timeline.FieldKubernetesNamespace, m[1])
			r.String(timeline.FieldKubernetesPodName, m[2])
			r.String(timeline.FieldKubernetesPodUID, m[3])
		}
		r.String(timeline.FieldContainerName, elements[1])
		r.String(timeline.FieldKubernetesContainerName, elements[1])
	}
	return r.Common()
}

// logLink is the end of a link of /var/log/containers: -ID.log.
var logLink = regexp.MustCompile(`-([0-9a-f]{64})\.log$`)

// logLinks returns the ids of containers by the paths of their logs.
func (t *teller) logLinks() map[string]string {
	ids := make(map[string]string)
	for name, ino := range glob(t.n.Tree, "var/log/containers/*.log") {
		m := logLink.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if target, err := t.n.Tree.ReadLink(ino); err == nil {
			ids[path.Clean(target)] = m[1]
		}
	}
	return ids
}
