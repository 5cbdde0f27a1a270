package analyzer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"lagan/runtimes"
	"lagan/runtimes/kubernetes"
)

// Pod is a pod of Kubernetes or of Podman, put together from everything on the
// disk that names it. One that only the kubelet's folders, logs or CNI's notes
// name ran on the node once, and its runtime knows it no longer.
type Pod struct {
	ID          string // of its newest sandbox, or Podman's id of the pod
	Name        string
	Namespace   string
	UID         string
	Runtime     runtimes.Name
	StorePath   string
	State       runtimes.State // of its newest sandbox
	Created     time.Time
	Started     time.Time
	IP          []string
	Hostname    string
	HostNetwork bool
	Attempt     *int
	Labels      map[string]string
	Annotations map[string]string
	Ports       []runtimes.Port
	Privileged  bool     // one of its containers is
	Source      string   // where the kubelet had it from: api, file, http
	Manifest    string   // the file of a static pod
	Images      []string // of its containers, or of its manifest
	Sandboxes   []*Container
	Containers  []*Container
	// Names are the containers that anything names: those of removed ones too.
	Names    []string
	Volumes  []runtimes.Volume
	Dir      string   // the kubelet's folder
	LogDir   string   // the folder of its logs
	Networks []string // CNI's
	// Found says what names it: sandbox, container, podman, kubelet, logs, manifest, cni.
	Found []string
}

// DisplayName is NAMESPACE/NAME, or what is known of it.
func (p *Pod) DisplayName() string {
	switch {
	case p.Name == "":
		return firstOf(p.UID, p.ID)
	case p.Namespace == "":
		return p.Name
	}
	return p.Namespace + "/" + p.Name
}

// Pods returns every pod, by namespace, name and UID.
func (n *Node) Pods() []*Pod {
	n.objects.podsOnce.Do(func() {
		b := podBuilder{n: n, by: make(map[string]*Pod)}
		b.fromContainers()
		b.fromRecords()
		b.fromKubelet()
		b.fromCNI()
		b.fromManifests()
		for _, p := range b.all {
			p.finish()
		}
		slices.SortStableFunc(b.all, func(x, y *Pod) int {
			return cmp.Or(strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Name, y.Name), strings.Compare(x.UID, y.UID), strings.Compare(x.ID, y.ID))
		})
		n.objects.pods = b.all
	})
	return n.objects.pods
}

// FindPod returns the pod that spec means: NAMESPACE/NAME, a name, a UID or a sandbox's id.
func (n *Node) FindPod(spec string) (*Pod, error) {
	var matches []*Pod
	for _, p := range n.Pods() {
		if p.UID == spec || p.DisplayName() == spec || p.ID == spec {
			return p, nil
		}
		if p.Name == spec || len(spec) >= minPrefix && (strings.HasPrefix(p.ID, spec) || strings.HasPrefix(p.UID, spec)) {
			matches = append(matches, p)
		}
	}
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		return nil, fmt.Errorf("%w: %q; `lagan pods` lists them", errNoPod, spec)
	}
	var b strings.Builder
	for _, p := range matches {
		fmt.Fprintf(&b, "\n  %s  %s", p.DisplayName(), p.UID)
	}
	return nil, fmt.Errorf("more than one pod is called %q:%s", spec, b.String())
}

type podBuilder struct {
	n   *Node
	all []*Pod
	by  map[string]*Pod // by UID, or by name where no UID is known
}

// pod returns the pod with a UID, or the one of a name.
func (b *podBuilder) pod(uid, namespace, name, found string) *Pod {
	key := uid
	if key == "" {
		key = namespace + "/" + name
	}
	p := b.by[key]
	if p == nil {
		p = &Pod{UID: uid, State: runtimes.StateUnknown}
		b.by[key] = p
		b.all = append(b.all, p)
	}
	p.Name, p.Namespace = firstOf(p.Name, name), firstOf(p.Namespace, namespace)
	if !slices.Contains(p.Found, found) {
		p.Found = append(p.Found, found)
	}
	return p
}

func (b *podBuilder) fromContainers() {
	for _, c := range b.n.Containers() {
		if c.Pod.Name == "" && c.Pod.UID == "" {
			continue
		}
		what := "container"
		if c.Kind == runtimes.KindSandbox {
			what = "sandbox"
		}
		p := b.pod(c.Pod.UID, c.Pod.Namespace, c.Pod.Name, what)
		p.Runtime, p.StorePath = c.Runtime, c.StorePath
		p.Privileged = p.Privileged || c.Privileged
		if c.Kind == runtimes.KindSandbox {
			p.Sandboxes = append(p.Sandboxes, c)
			continue
		}
		p.Containers = append(p.Containers, c)
		p.name(firstOf(c.Pod.Container, c.Name))
		if c.Image != "" && !slices.Contains(p.Images, c.Image) {
			p.Images = append(p.Images, c.Image)
		}
	}
}

func (p *Pod) name(container string) {
	if container != "" && !slices.Contains(p.Names, container) {
		p.Names = append(p.Names, container)
	}
}

func (b *podBuilder) fromRecords() {
	collect(b.n, runtimes.PodStore.Pods, func(_ Store, r runtimes.PodRecord) {
		p := b.pod(r.ID, r.Namespace, r.Name, string(r.Runtime))
		p.ID, p.Runtime, p.StorePath, p.Created, p.Labels = r.ID, r.Runtime, r.StorePath, r.Created, r.Labels
	})
}

func (b *podBuilder) fromKubelet() {
	state := b.n.kubernetes()
	for _, l := range state.Logs {
		p := b.pod(l.UID, l.Namespace, l.Name, "logs")
		p.LogDir = l.Dir
		for _, c := range l.Containers {
			p.name(c)
		}
	}
	for _, d := range state.Pods {
		p := b.pod(d.UID, "", "", "kubelet")
		p.Dir, p.Volumes = d.Dir, d.Volumes
		p.Hostname = d.Hostname
		if len(d.IP) > 0 && len(p.IP) == 0 {
			p.IP = d.IP
		}
		for _, c := range d.Containers {
			p.name(c)
		}
	}
}

// fromCNI takes what CNI noted: by the sandbox's id and, in newer versions, the pod's UID.
func (b *podBuilder) fromCNI() {
	sandboxes := make(map[string]*Pod)
	for _, p := range b.all {
		for _, s := range p.Sandboxes {
			sandboxes[s.ID] = p
		}
	}
	state := b.n.kubernetes()
	for _, r := range state.Results {
		p := sandboxes[r.Container]
		switch {
		case p != nil:
			p = b.pod(p.UID, p.Namespace, p.Name, "cni")
		case r.UID != "" || r.Pod != "":
			p = b.pod(r.UID, r.Namespace, r.Pod, "cni")
			sandboxes[r.Container] = p
			p.ID = firstOf(p.ID, r.Container)
		default:
			continue // a container that is in no pod
		}
		if !slices.Contains(p.Networks, r.Network) {
			p.Networks = append(p.Networks, r.Network)
		}
		if r.Interface == "lo" || len(p.Sandboxes) > 0 && len(p.Sandboxes[len(p.Sandboxes)-1].IP) > 0 {
			continue // the runtime's own word stands
		}
		p.IP = nil
		for _, ip := range r.IP {
			address, _, _ := strings.Cut(ip, "/")
			p.IP = append(p.IP, address)
		}
	}
	for _, l := range state.Leases {
		p := sandboxes[l.Container]
		if p == nil && l.Pod != "" {
			p = b.pod(b.uidOf(l.Namespace, l.Pod), l.Namespace, l.Pod, "cni")
			p.ID = firstOf(p.ID, l.Container)
		}
		if p != nil && len(p.IP) == 0 {
			p.IP = []string{l.IP}
		}
	}
}

// uidOf returns the UID of the pod of a name where there is one alone.
func (b *podBuilder) uidOf(namespace, name string) string {
	uid := ""
	for _, p := range b.all {
		if p.Namespace == namespace && p.Name == name {
			if uid != "" {
				return ""
			}
			uid = p.UID
		}
	}
	return uid
}

// fromManifests joins static pods: the kubelet calls one by its manifest's name,
// "-" and the node's (pkg/kubelet/config/common.go, applyDefaults).
func (b *podBuilder) fromManifests() {
	for _, m := range b.n.kubernetes().Manifests {
		i := slices.IndexFunc(b.all, func(p *Pod) bool {
			return p.Namespace == m.Namespace && strings.HasPrefix(p.Name, m.Name+"-") && p.source() != "api"
		})
		var p *Pod
		if i >= 0 {
			p = b.pod(b.all[i].UID, b.all[i].Namespace, b.all[i].Name, "manifest")
		} else {
			p = b.pod("", m.Namespace, m.Name, "manifest")
		}
		p.Manifest = m.File
		if len(p.Images) == 0 {
			p.Images = m.Images
		}
	}
}

func (p *Pod) source() string {
	for _, s := range p.Sandboxes {
		if v := s.Annotations[kubernetes.AnnotationConfigSource]; v != "" {
			return v
		}
	}
	return ""
}

// finish takes over what the newest sandbox tells.
func (p *Pod) finish() {
	slices.SortStableFunc(p.Sandboxes, func(a, b *Container) int { return a.Created.Compare(b.Created) })
	slices.Sort(p.Names)
	p.Source = p.source()
	if p.Manifest != "" && p.Source == "" {
		p.Source = "file"
	}
	if len(p.Sandboxes) == 0 {
		for _, c := range p.Containers {
			p.HostNetwork = p.HostNetwork || c.HostNetwork
			p.Started = latest(p.Started, c.Started)
			if c.State == runtimes.StateRunning {
				p.State = c.State
			}
		}
		return
	}
	s := p.Sandboxes[len(p.Sandboxes)-1]
	p.ID = firstOf(p.ID, s.ID)
	p.State, p.Started, p.Attempt, p.Ports, p.HostNetwork = s.State, s.Started, s.Pod.Attempt, s.Ports, s.HostNetwork
	if p.Created.IsZero() {
		p.Created = s.Created
	}
	p.Hostname = firstOf(s.Hostname, p.Hostname)
	if len(s.IP) > 0 {
		p.IP = s.IP
	}
	p.Annotations = s.Annotations
	if p.Labels == nil {
		p.Labels = s.Labels
	}
}

// PodOf returns the pod that a container belongs to, nil for none.
func (n *Node) PodOf(c *Container) *Pod {
	for _, p := range n.Pods() {
		for _, list := range [...][]*Container{p.Containers, p.Sandboxes} {
			if slices.Contains(list, c) {
				return p
			}
		}
	}
	return nil
}
