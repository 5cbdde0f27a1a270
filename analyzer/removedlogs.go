package analyzer

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lagan/runtimes"
	"lagan/timeline"
)

// mention is a form of line that names a container, with what else it tells.
type mention struct {
	line    *regexp.Regexp
	runtime runtimes.Name
	what    string
	gone    bool // the container was gone when the line was written
	sandbox bool
}

// mentions are the lines of containerd's CRI plugin (internal/cri/server), of the
// kubelet (pkg/kubelet/kuberuntime, pleg), of dockerd (daemon/monitor.go,
// libcontainerd) and Podman's events (libpod/events/events.go). The group id is the
// container's; name, image, pod, namespace, uid, attempt and sandbox are what they say.
var mentions = []mention{
	{regexp.MustCompile(`CreateContainer within sandbox \\?"(?P<sandbox>[0-9a-f]{64})\\?" for &ContainerMetadata\{Name:(?P<name>[^,}]+),Attempt:(?P<attempt>\d+),\} returns container id \\?"(?P<id>[0-9a-f]{64})\\?"`), runtimes.Containerd, "it was made", false, false},
	{regexp.MustCompile(`RunPodSandbox for &PodSandboxMetadata\{Name:(?P<pod>[^,}]+),Uid:(?P<uid>[^,}]+),Namespace:(?P<namespace>[^,}]+),Attempt:(?P<attempt>\d+),\} returns sandbox id \\?"(?P<id>[0-9a-f]{64})\\?"`), runtimes.Containerd, "its pod was made", false, true},
	{regexp.MustCompile(`RemoveContainer for \\?"(?P<id>[0-9a-f]{64})\\?" returns successfully`), runtimes.Containerd, "it was removed", true, false},
	{regexp.MustCompile(`RemovePodSandbox \\?"(?P<id>[0-9a-f]{64})\\?" returns successfully`), runtimes.Containerd, "it was removed", true, true},
	{regexp.MustCompile(`(?:StartContainer|StopContainer|RemoveContainer) for \\?"(?P<id>[0-9a-f]{64})\\?"`), runtimes.Containerd, "it was started, stopped or to be removed", false, false},
	{regexp.MustCompile(`container remove (?P<id>[0-9a-f]{64}) \((?:image=(?P<image>[^,)]+))?(?:, name=(?P<name>[^,)]+))?`), runtimes.Podman, "it was removed", true, false},
	{regexp.MustCompile(`container (?:create|init|start|attach|died|cleanup|kill|stop|exec|exec_died|mount|unmount) (?P<id>[0-9a-f]{64}) \((?:image=(?P<image>[^,)]+))?(?:, name=(?P<name>[^,)]+))?`), runtimes.Podman, "an event of it", false, false},
	{regexp.MustCompile(`container=(?P<id>[0-9a-f]{64}) module=libcontainerd`), runtimes.Docker, "an event of its task", false, false},
	{regexp.MustCompile(`"RemoveContainer" containerID="(?P<id>[0-9a-f]{64})"`), "", "the kubelet removed it", false, false},
	{regexp.MustCompile(`pod="(?P<namespace>[^"/]+)/(?P<pod>[^"/]+)" event=(?:&pleg\.PodLifecycleEvent|\{)[^}]*"?ID"?:"?(?P<uid>[0-9a-f-]{36})"?,? ?"?Type"?:"?[A-Za-z]+"?,? ?"?Data"?:"?(?P<id>[0-9a-f]{64})`), "", "an event of its pod", false, false},
}

// hexRun is what every mention has.
var hexRun = regexp.MustCompile(`[0-9a-f]{64}`)

// maxMentions bounds the lines that are kept: the first and the last of each container.
const maxMentions = 1 << 18

// mentioned is what log lines tell of one container and kind of line.
type mentioned struct {
	r           runtimes.Remnant
	first, last time.Time
	lines       int
}

// fromLogs takes the containers that lines of the node's logs and journals name
// and that no runtime lists.
func (c *removedCollector) fromLogs(ctx context.Context) error {
	if c.n.Tree == nil {
		return nil
	}
	found := map[string]*mentioned{}
	var order []string
	var x timeline.Reader
	t := &teller{n: c.n, ctx: ctx, o: TimelineOptions{Scope: ScopeNode}}
	t.pipe = newPipe(func(r *timeline.Record) error {
		if k := r.Kind(); k == timeline.FSStat || x.Read(r) != nil {
			return nil
		}
		body := x.Text(timeline.FieldMessageBody)
		if body == "" {
			body = x.Text(timeline.FieldBody)
		}
		var at time.Time
		for _, when := range x.Times() {
			at = when
			break
		}
		mentions := c.mentionsIn(body)
		if m, ok := c.loggedBy(r.Kind(), &x); ok {
			mentions = append(mentions, m)
		}
		for _, m := range mentions {
			m.Existed, m.Source = at, x.Text(timeline.FieldFilename)
			k := m.ID + "\x00" + m.Note + "\x00" + m.Source
			old := found[k]
			if old == nil {
				if len(found) >= maxMentions {
					return nil
				}
				old = &mentioned{r: m, first: at}
				found[k] = old
				order = append(order, k)
			}
			old.lines++
			if at.Before(old.first) {
				old.first = at
			}
			if at.After(old.last) {
				old.last = at
			}
		}
		return nil
	})
	t.r = t.pipe.record()
	err := t.nodeArtifacts()
	if err == nil {
		err = t.journals()
	}
	if failed := t.pipe.close(); err == nil {
		err = failed
	}
	for _, k := range order {
		m := found[k]
		m.r.Place = fmt.Sprintf("%d lines", m.lines)
		if m.lines == 1 {
			m.r.Place = "a line"
		}
		m.r.Existed = m.first
		if gone := m.r.Complete; gone { // of a line that says so
			m.r.Gone, m.r.Complete = m.last, false
		}
		c.add(c.runtimeStore(m.r.Runtime), m.r)
		if m.last.After(m.first) {
			last := m.r
			last.Existed, last.Place = m.last, "the last of them"
			c.add(c.runtimeStore(m.r.Runtime), last)
		}
	}
	return err
}

// runtimeStore returns the only store of a runtime, for what a log tells of it.
func (c *removedCollector) runtimeStore(name runtimes.Name) Store {
	var found Store
	for _, s := range c.n.Stores {
		if s.Runtime() == name {
			if found.Store != nil {
				return Store{}
			}
			found = s
		}
	}
	return found
}

// loggedBy finds the container that an entry of the journal is of: the log drivers of
// Docker and Podman name it, and its image, in fields of their own.
func (c *removedCollector) loggedBy(kind timeline.DataType, x *timeline.Reader) (runtimes.Remnant, bool) {
	id := x.Text(timeline.FieldContainerID)
	if kind != timeline.SystemdJournal || !wholeID.MatchString(id) || c.live[id] {
		return runtimes.Remnant{}, false
	}
	name := x.Text(timeline.FieldContainerName)
	r := runtimes.Remnant{Object: runtimes.ObjectContainer, ID: id, Name: name, Offset: -1, Sure: runtimes.Sure, Note: "what it wrote to the journal"}
	r.Container = &runtimes.Container{ID: id, Name: firstOf(name, id), Kind: runtimes.KindContainer, State: runtimes.StateUnknown, Image: x.Text(timeline.FieldImageName)}
	r.Container.Rootfs.Problem = fmt.Errorf("only entries of the journal tell of it: %w", errNoRecord)
	return r, true
}

// wholeID is an id that isn't cut: a journal's entries have it short, too.
var wholeID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// mentionsIn finds the containers that a line names and that are not there.
func (c *removedCollector) mentionsIn(body string) []runtimes.Remnant {
	if len(body) < 64 || !hexRun.MatchString(body) {
		return nil
	}
	var out []runtimes.Remnant
	for _, m := range mentions {
		g := m.line.FindStringSubmatch(body)
		if g == nil {
			continue
		}
		get := func(name string) string {
			if i := m.line.SubexpIndex(name); i > 0 {
				return g[i]
			}
			return ""
		}
		id := get("id")
		if c.live[id] {
			return nil
		}
		r := runtimes.Remnant{Object: runtimes.ObjectContainer, Runtime: m.runtime, ID: id, Name: get("name"), Offset: -1, Sure: runtimes.Sure, Note: m.what,
			Complete: m.gone, Pod: runtimes.Pod{Name: get("pod"), Namespace: get("namespace"), UID: get("uid"), SandboxID: get("sandbox")}}
		if m.runtime == runtimes.Containerd && r.Name != "" {
			r.Pod.Container = r.Name
		}
		if n, err := strconv.Atoi(get("attempt")); err == nil {
			r.Pod.Attempt = &n
		}
		if image := strings.TrimSpace(get("image")); image != "" || m.sandbox {
			kind := runtimes.KindContainer
			if m.sandbox {
				kind = runtimes.KindSandbox
			}
			r.Container = &runtimes.Container{ID: id, Name: firstOf(r.Name, id), Kind: kind, Runtime: m.runtime, State: runtimes.StateUnknown, Image: image, Pod: r.Pod}
			r.Container.Rootfs.Problem = fmt.Errorf("only log lines tell of it: %w", errNoRecord)
		}
		out = append(out, r)
		break
	}
	return out
}
