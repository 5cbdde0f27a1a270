// Package daemon understands what containerd, dockerd, the kubelet and the kernel
// say of containers in their logs: sessions, pulls, starts and ends, kills for
// want of memory. State on a disk keeps the last start of a container; the logs
// keep all of them, and those of containers that are gone.
//
// It follows containerd's internal/cri/instrument and server, moby's
// daemon/monitor.go and distribution/pull.go, the kubelet's klog lines of pkg/kubelet,
// and the kernel's mm/oom_kill.c. Input is hostile: a text is looked through once,
// and what doesn't fit is nothing.
package daemon

import (
	"net/url"
	"regexp"
	"strings"
)

// Action is what happened.
type Action string

// The actions.
const (
	Exec         Action = "exec"
	Attach       Action = "attach"
	PortForward  Action = "port_forward"
	Pull         Action = "pulled"
	Pulling      Action = "pulling"
	RemoveImage  Action = "image_removed"
	Create       Action = "created"
	Start        Action = "started"
	Stop         Action = "stopping"
	Exit         Action = "exited"
	Remove       Action = "removed"
	OOM          Action = "oom_killed"
	Checkpoint   Action = "checkpointed"
	PodCreate    Action = "pod_created"
	PodStop      Action = "pod_stopping"
	PodRemove    Action = "pod_removed"
	PodEvict     Action = "pod_evicted"
	RestartDelay Action = "restart_delayed"
)

// Event is what a line of a log says. What it doesn't say is empty.
type Event struct {
	Action        Action
	ContainerID   string
	ContainerName string
	SandboxID     string
	Image         string
	Command       string
	Namespace     string
	Pod           string
	PodUID        string
	ExitCode      string
	PID           string // of the process that was killed
	Process       string
	IP            string // who asked for a session
}

// maxText bounds what is looked through.
const maxText = 16 << 10

// Understand reads a message, whichever of the programs wrote it.
func Understand(text string) (Event, bool) {
	if len(text) > maxText {
		text = text[:maxText]
	}
	var e Event
	switch {
	case strings.Contains(text, "oom-kill:") || strings.Contains(text, "ut of memory: Killed process"):
		return e, e.kernel(text) && e.Action != ""
	case strings.Contains(text, ".go:") && strings.Contains(text, `] "`):
		return e, e.kubelet(text) && e.Action != ""
	case strings.Contains(text, `msg="`) || strings.Contains(text, "msg="):
		msg, rest := message(text)
		return e, (e.containerd(msg, text) || e.dockerd(msg, rest)) && e.Action != ""
	case strings.Contains(text, ` for "`) || strings.HasPrefix(text, "PullImage ") || strings.HasPrefix(text, "RunPodSandbox ") ||
		strings.HasPrefix(text, "CreateContainer ") || strings.HasPrefix(text, "TaskOOM ") || strings.HasPrefix(text, "ImageDelete ") || strings.HasPrefix(text, "TaskExit "):
		return e, e.containerd(text, text) && e.Action != ""
	}
	return e, false
}

// message takes msg=... off a line of logfmt, with its quotes undone.
func message(text string) (msg, rest string) {
	_, after, ok := strings.Cut(text, "msg=")
	if !ok {
		return text, text
	}
	if !strings.HasPrefix(after, `"`) {
		msg, _, _ = strings.Cut(after, " ")
		return msg, text
	}
	var b strings.Builder
	for i := 1; i < len(after); i++ {
		switch c := after[i]; {
		case c == '\\' && i+1 < len(after):
			i++
			switch after[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(after[i])
			}
		case c == '"':
			return b.String(), text
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), text
}

var (
	hexID     = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	quotedID  = regexp.MustCompile(` for "([0-9a-f]{12,64})"`)
	taskID    = regexp.MustCompile(`(?:container_id:|ContainerID:)"?([0-9a-f]{12,64})`)
	exitCode  = regexp.MustCompile(`exit_status:(\d+)`)
	execWith  = regexp.MustCompile(` with command \[(.*?)\](?:,| and | with|$)`)
	pullImage = regexp.MustCompile(`^PullImage "([^"]+)"( returns image reference "([^"]+)")?`)
	imageName = regexp.MustCompile(`name:"([^"]+)"`)
	metadata  = regexp.MustCompile(`&?\w+Metadata\{Name:([^,{}]*)(?:,Uid:([^,{}]*),Namespace:([^,{}]*))?,Attempt:`)
	returned  = regexp.MustCompile(`returns (?:container|sandbox) id "([0-9a-f]{12,64})"`)
	within    = regexp.MustCompile(`sandbox "([0-9a-f]{12,64})"`)
)

// verbs are the calls of CRI that containerd logs with the container or the
// sandbox that they are for.
var verbs = []struct {
	prefix string
	action Action
	pod    bool
	done   bool // it counts when it "returns successfully"
}{
	{"ExecSync for ", Exec, false, false},
	{"Exec for ", Exec, false, false},
	{"Attach for ", Attach, false, false},
	{"Portforward for ", PortForward, true, false},
	{"PortForward for ", PortForward, true, false},
	{"StartContainer for ", Start, false, true},
	{"StopContainer for ", Stop, false, false},
	{"RemoveContainer for ", Remove, false, true},
	{"CheckpointContainer for ", Checkpoint, false, false},
	{"StopPodSandbox for ", PodStop, true, false},
	{"RemovePodSandbox ", PodRemove, true, true},
}

// containerd reads a message of containerd's CRI plugin or of its events.
func (e *Event) containerd(msg, line string) bool {
	for _, v := range verbs {
		if !strings.HasPrefix(msg, v.prefix) {
			continue
		}
		if returns := strings.Contains(msg, " returns "); returns != v.done {
			return false // told once: when it was asked for, or when it was done
		}
		m := hexID.FindString(msg)
		if q := quotedID.FindStringSubmatch(msg); m == "" && q != nil {
			m = q[1]
		}
		e.Action = v.action
		if v.pod {
			e.SandboxID = m
		} else {
			e.ContainerID = m
		}
		if c := execWith.FindStringSubmatch(msg); c != nil {
			e.Command = c[1]
		}
		return m != ""
	}
	switch {
	case strings.HasPrefix(msg, "PullImage "):
		m := pullImage.FindStringSubmatch(msg)
		if m == nil || strings.Contains(msg, " failed") {
			return false
		}
		e.Action, e.Image = Pulling, m[1]
		if m[2] != "" {
			e.Action = Pull
		}
		return true
	case strings.HasPrefix(msg, "ImageDelete event"):
		if m := imageName.FindStringSubmatch(msg); m != nil {
			e.Action, e.Image = RemoveImage, m[1]
		}
	case strings.HasPrefix(msg, "RunPodSandbox for "), strings.HasPrefix(msg, "CreateContainer within sandbox "):
		return e.created(msg)
	case strings.HasPrefix(msg, "TaskOOM event"):
		e.Action, e.ContainerID = OOM, first(taskID, msg)
	case strings.HasPrefix(msg, "TaskExit event"), strings.HasPrefix(msg, "received exit event"), strings.HasPrefix(msg, "received container exit event"):
		// A process of exec ends with an id of its own.
		if id := first(taskID, msg); id != "" && (!strings.Contains(msg, " id:") || strings.Contains(msg, ` id:"`+id)) {
			e.Action, e.ContainerID, e.ExitCode = Exit, id, first(exitCode, msg)
		}
	}
	return e.Action != ""
}

// created reads what RunPodSandbox and CreateContainer return.
func (e *Event) created(msg string) bool {
	id := first(returned, msg)
	if id == "" {
		return false
	}
	if m := metadata.FindStringSubmatch(msg); m != nil {
		e.ContainerName, e.PodUID, e.Namespace = m[1], m[2], m[3]
	}
	if strings.HasPrefix(msg, "RunPodSandbox") {
		e.Action, e.SandboxID, e.Pod, e.ContainerName = PodCreate, id, e.ContainerName, ""
		return true
	}
	e.Action, e.ContainerID, e.SandboxID = Create, id, first(within, msg)
	return true
}

func first(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

var (
	dockerContainer = regexp.MustCompile(`\bcontainer(?:ID)?=([0-9a-f]{12,64})\b`)
	dockerTopic     = regexp.MustCompile(`\btopic=/tasks/([a-z-]+)`)
	dockerRemote    = regexp.MustCompile(`\bremote="([^"]+)"`)
	dockerFails     = regexp.MustCompile(`^Container ([0-9a-f]{12,64}) failed to exit`)
)

// dockerd reads a message of dockerd, whose fields stand in the line.
func (e *Event) dockerd(msg, line string) bool {
	e.ContainerID = first(dockerContainer, line)
	switch {
	case msg == "image pulled":
		e.Action, e.Image = Pull, first(dockerRemote, line)
	case dockerFails.MatchString(msg):
		e.Action, e.ContainerID = Stop, first(dockerFails, msg)
	case msg == "ignoring event" || strings.HasPrefix(msg, "received task-"):
		switch first(dockerTopic, line) {
		case "delete", "exit":
			e.Action = Exit
		case "oom":
			e.Action = OOM
		case "exec-added", "exec-started":
			e.Action = Exec
		}
	}
	return e.Action != "" && (e.ContainerID != "" || e.Image != "")
}

var (
	klogMessage = regexp.MustCompile(`\.go:\d+\] "((?:[^"\\]|\\.)*)"`)
	klogPod     = regexp.MustCompile(`\bpods?=\[?"([^"/]+)/([^"]+)"`)
	klogUID     = regexp.MustCompile(`\bpodUID="?([0-9a-f-]{32,36})`)
	klogID      = regexp.MustCompile(`\bcontainerID=(?:\{[^}]*ID:|")?(?:\w+://)?([0-9a-f]{64})`)
	klogName    = regexp.MustCompile(`\bcontainerName="([^"]+)"`)
	klogImage   = regexp.MustCompile(`\bimage(?:ID|Name)?="([^"]+)"`)
	klogURI     = regexp.MustCompile(`\bURI="([^"]+)"`)
	klogSource  = regexp.MustCompile(`\bsrcIP="\[?([0-9a-fA-F.:]+?)\]?:\d+"`)
	pleg        = regexp.MustCompile(`\bevent=(?:&?\{ID:|\{"ID":")([0-9a-f-]+)"?,? ?"?Type"?:"?(\w+)"?,? ?"?Data"?:"?([0-9a-f]{64})`)
)

// kubelet reads a structured line of klog.
func (e *Event) kubelet(text string) bool {
	m := klogMessage.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	if p := klogPod.FindStringSubmatch(text); p != nil {
		e.Namespace, e.Pod = p[1], p[2]
	}
	e.PodUID, e.ContainerID, e.ContainerName = first(klogUID, text), first(klogID, text), first(klogName, text)
	switch msg := m[1]; {
	case strings.HasPrefix(msg, "SyncLoop (PLEG)"), strings.HasPrefix(msg, "SyncLoop PLEG"):
		p := pleg.FindStringSubmatch(text)
		if p == nil {
			return false
		}
		e.PodUID, e.ContainerID = p[1], p[3]
		e.Action = map[string]Action{"ContainerStarted": Start, "ContainerDied": Exit, "ContainerRemoved": Remove}[p[2]]
	case strings.HasPrefix(msg, "SyncLoop ADD"):
		e.Action = PodCreate
	case strings.HasPrefix(msg, "SyncLoop DELETE"):
		e.Action = PodStop
	case strings.HasPrefix(msg, "SyncLoop REMOVE"):
		e.Action = PodRemove
	case strings.HasPrefix(msg, "Killing container"):
		e.Action = Stop
	case strings.HasPrefix(msg, "RemoveContainer"):
		e.Action = Remove
	case strings.HasPrefix(msg, "Eviction manager: pod is evicted"), strings.HasPrefix(msg, "Eviction manager: pods ranked"):
		if strings.Contains(msg, "is evicted") {
			e.Action = PodEvict
		}
	case strings.HasPrefix(msg, "Removing image"):
		e.Action, e.Image = RemoveImage, first(klogImage, text)
	case strings.HasPrefix(msg, "Error syncing pod") && strings.Contains(text, "CrashLoopBackOff"):
		e.Action = RestartDelay
	case msg == "HTTP":
		return e.session(first(klogURI, text), first(klogSource, text))
	}
	return e.Action != ""
}

// session reads the address of a request to the kubelet's own server:
// /exec/NAMESPACE/POD[/UID]/CONTAINER?command=... (pkg/kubelet/server/server.go).
func (e *Event) session(uri, from string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	action, ok := map[string]Action{"exec": Exec, "run": Exec, "attach": Attach, "portForward": PortForward}[parts[0]]
	if !ok || len(parts) < 3 {
		return false
	}
	e.Action, e.Namespace, e.Pod, e.IP = action, parts[1], parts[2], from
	if action != PortForward && len(parts) > 3 {
		e.ContainerName = parts[len(parts)-1]
	}
	q := u.Query()
	e.Command = strings.Join(append(q["command"], q["cmd"]...), " ")
	return true
}

var (
	oomTask   = regexp.MustCompile(`\btask=([^,]*),pid=(\d+)`)
	oomKilled = regexp.MustCompile(`ut of memory: Killed process (\d+) \(([^)]*)\)`)
	oomGroup  = regexp.MustCompile(`\btask_memcg=([^,]*)`)
	podSlice  = regexp.MustCompile(`pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})`)
)

// kernel reads the two lines that the kernel logs of a kill: the first names the
// control group, which has the container's id, the second the process alone.
func (e *Event) kernel(text string) bool {
	e.Action = OOM
	if m := oomTask.FindStringSubmatch(text); m != nil {
		e.Process, e.PID = m[1], m[2]
		group := first(oomGroup, text)
		e.ContainerID = hexID.FindString(strings.NewReplacer("-", " ", ".", " ", "_", " ").Replace(group))
		e.PodUID = strings.ReplaceAll(first(podSlice, group), "_", "-")
		return true
	}
	if m := oomKilled.FindStringSubmatch(text); m != nil {
		e.PID, e.Process = m[1], m[2]
		return true
	}
	return false
}
