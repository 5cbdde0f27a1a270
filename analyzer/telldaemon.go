package analyzer

import (
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/daemon"
	"lagan/timeline"
)

// said is a message of a log that may tell of a container.
type said struct {
	time       time.Time
	assumption string
	offset     int64
	parser     string
}

var (
	eventMessage = timeline.NewTemplate("Container {container_name} {container_id} {action}, exit code: {exit_code}, process: {executable} {pid}")
	execMessage  = timeline.NewTemplate("Session in container {container_name} of pod {kubernetes_pod_name}: {action}, command: {command} from IP address {ip_address}")
	pullMessage  = timeline.NewTemplate("Image {image_name} {action}")
	podEvent     = timeline.NewTemplate("Pod {kubernetes_namespace}/{kubernetes_pod_name} {action}")
)

// daemonKinds says what an action is told as, and what happened then.
var daemonKinds = map[daemon.Action]struct {
	kind    timeline.DataType
	desc    timeline.Desc
	message *timeline.Template
}{
	daemon.Exec:         {timeline.ContainerExec, timeline.Started, execMessage},
	daemon.Attach:       {timeline.ContainerExec, timeline.Started, execMessage},
	daemon.PortForward:  {timeline.ContainerExec, timeline.Started, execMessage},
	daemon.Pull:         {timeline.ContainerImage, timeline.Added, pullMessage},
	daemon.Pulling:      {timeline.ContainerImage, timeline.Started, pullMessage},
	daemon.RemoveImage:  {timeline.ContainerImage, timeline.Deleted, pullMessage},
	daemon.Create:       {timeline.ContainerConfiguration, timeline.Created, eventMessage},
	daemon.Start:        {timeline.ContainerConfiguration, timeline.Started, eventMessage},
	daemon.Stop:         {timeline.ContainerConfiguration, timeline.Recorded, eventMessage},
	daemon.Exit:         {timeline.ContainerConfiguration, timeline.Ended, eventMessage},
	daemon.Remove:       {timeline.ContainerConfiguration, timeline.Deleted, eventMessage},
	daemon.OOM:          {timeline.ContainerConfiguration, timeline.Ended, eventMessage},
	daemon.Checkpoint:   {timeline.ContainerConfiguration, timeline.Recorded, eventMessage},
	daemon.RestartDelay: {timeline.ContainerConfiguration, timeline.Recorded, eventMessage},
	daemon.PodCreate:    {timeline.KubernetesPod, timeline.Created, podEvent},
	daemon.PodStop:      {timeline.KubernetesPod, timeline.Recorded, podEvent},
	daemon.PodRemove:    {timeline.KubernetesPod, timeline.Deleted, podEvent},
	daemon.PodEvict:     {timeline.KubernetesPod, timeline.Recorded, podEvent},
}

// daemonEvent makes the record of what a line of a daemon's log says beside its
// words, and says whether there is one that was asked for. Only the node's own
// logs count: a container can write what it likes.
func (t *teller) daemonEvent(a *artifact, s said, text string) bool {
	if a.container != nil {
		return false
	}
	e, ok := daemon.Understand(text)
	if !ok {
		return false
	}
	return t.runtimeEvent(a, s, &e)
}

func (t *teller) runtimeEvent(a *artifact, s said, e *daemon.Event) bool {
	c := t.containerOf(e)
	if t.onlyContainers() && (c == nil || !t.wanted(c)) {
		return false
	}
	common := t.eventCommon(c, s.parser, a.volume)
	k := daemonKinds[e.Action]
	t.r.Reset(k.kind, common)
	t.r.Path(a.prefix, a.path)
	t.r.Int(timeline.FieldOffset, s.offset)
	t.r.Time(k.desc, s.time)
	t.r.String(timeline.FieldTimeAssumption, s.assumption)
	t.r.String(timeline.FieldAction, string(e.Action))
	if c == nil {
		t.r.String(timeline.FieldContainerID, firstOf(e.ContainerID, e.SandboxID))
		t.r.String(timeline.FieldContainerIdentifier, firstOf(e.ContainerID, e.SandboxID))
		t.r.String(timeline.FieldContainerName, e.ContainerName)
		t.r.String(timeline.FieldKubernetesContainerName, e.ContainerName)
		t.r.String(timeline.FieldKubernetesNamespace, e.Namespace)
		t.r.String(timeline.FieldKubernetesPodName, e.Pod)
		t.r.String(timeline.FieldKubernetesPodUID, e.PodUID)
	}
	t.r.String(timeline.FieldImageName, e.Image)
	t.r.String(timeline.FieldCommand, e.Command)
	t.r.String(timeline.FieldExecutable, e.Process)
	t.r.String(timeline.FieldIPAddress, e.IP)
	if pid, err := strconv.ParseInt(e.PID, 10, 32); err == nil && pid > 0 {
		t.r.Int(timeline.FieldPID, pid)
	}
	if code, err := strconv.ParseInt(e.ExitCode, 10, 32); err == nil {
		t.r.Int(timeline.FieldExitCode, code)
	}
	t.r.Template(k.message)
	return true
}

// containerOf finds the container that an event is of: by its id, else by its
// pod and name, else by its pod's sandbox.
func (t *teller) containerOf(e *daemon.Event) *Container {
	if id := firstOf(e.ContainerID, e.SandboxID); id != "" {
		return t.containerByID(id)
	}
	if e.Pod == "" || e.ContainerName == "" {
		return nil
	}
	var found *Container
	for _, c := range t.n.Containers() {
		if c.Pod.Name == e.Pod && c.Pod.Namespace == e.Namespace && c.Pod.Container == e.ContainerName {
			if found != nil {
				return nil // started more than once: which of them isn't said
			}
			found = c
		}
	}
	return found
}

// maxKnown bounds the ids whose container is remembered.
const maxKnown = 1 << 16

// containerByID returns the container of an id, which may be the first twelve
// digits alone.
func (t *teller) containerByID(id string) *Container {
	const short = 12
	if len(id) < short {
		return nil
	}
	c, ok := t.byID[id]
	if !ok {
		for _, x := range t.n.Containers() {
			if strings.HasPrefix(x.ID, id) {
				c = x
				break
			}
		}
		if t.byID == nil {
			t.byID = make(map[string]*Container)
		}
		if len(t.byID) < maxKnown {
			t.byID[id] = c
		}
	}
	return c
}

// eventOf is whose common fields a log's records of a container have.
type eventOf struct {
	container *Container
	parser    string
	volume    int
}

// eventCommon returns what the records of a container in one kind of log share.
func (t *teller) eventCommon(c *Container, parser string, volume int) *timeline.Common {
	key := eventOf{c, parser, volume}
	if t.commons == nil {
		t.commons = make(map[eventOf]*timeline.Common)
	}
	if t.commons[key] == nil {
		if c != nil {
			t.commons[key] = t.containerCommon(c, parser)
		} else {
			t.commons[key] = t.begin(parser, volume).Common()
		}
	}
	return t.commons[key]
}
