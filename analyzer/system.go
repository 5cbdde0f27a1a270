package analyzer

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/kubernetes"
)

// System is what the node says of itself.
type System struct {
	OS        string // PRETTY_NAME of os-release
	Hostname  string
	MachineID string
	// In Kubernetes: the node's name, the cluster's, its API server, who packed the kubelet.
	NodeName, Cluster, Server, Kubernetes string
	// From names the files that the first three come from, by "node_name", "cluster", "api_server".
	From map[string]string
}

// System reads what the node's tree says of the machine.
func (n *Node) System() System {
	n.objects.systemOnce.Do(func() { n.objects.system = n.readSystem() })
	return n.objects.system
}

func (n *Node) readSystem() System {
	s := System{From: make(map[string]string)}
	if n.Tree == nil {
		return s
	}
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		if s.OS == "" {
			s.OS = shellValue(n.configFile(path), "PRETTY_NAME")
		}
	}
	s.Hostname = strings.TrimSpace(n.configFile("etc/hostname"))
	s.MachineID = strings.TrimSpace(n.configFile("etc/machine-id"))
	n.guard(0, "the node's place in its cluster", func() error {
		i, err := kubernetes.Identify(n.Tree, n.Tree.Root())
		s.NodeName, s.Cluster, s.Server, s.Kubernetes = i.Node, i.Cluster, i.Server, i.Distribution
		s.From["node_name"], s.From["cluster"], s.From["api_server"] = i.NodeFrom, i.ClusterFrom, i.ServerFrom
		return err
	})
	if s.NodeName == "" {
		s.NodeName, s.From["node_name"] = n.nodeOfPods()
	}
	if s.NodeName == "" && s.Kubernetes != "" && s.Hostname != "" {
		// What the kubelet calls itself when it isn't told: pkg/util/node, GetHostname.
		s.NodeName, s.From["node_name"] = strings.ToLower(s.Hostname), "/etc/hostname"
	}
	maps.DeleteFunc(s.From, func(_, from string) bool { return from == "" })
	return s
}

// nodeVariables are what pods of the node's own programs have the node's name in:
// the downward API's spec.nodeName, as CNI plugins, kube-proxy and exporters call it.
var nodeVariables = []string{"NODE_NAME", "MY_NODE_NAME", "K8S_NODE_NAME", "KUBE_NODE_NAME", "KUBERNETES_NODE_NAME", "NODENAME", "CURRENT_NODE_NAME"}

// nodeOfPods returns the node's name as most containers were told it, or as the
// kubelet put it behind the names of static pods.
func (n *Node) nodeOfPods() (name, from string) {
	votes := make(map[string]int)
	for _, c := range n.Containers() {
		for _, e := range c.Env {
			if key, value, ok := strings.Cut(e, "="); ok && value != "" && c.Pod.Name != "" && slices.Contains(nodeVariables, key) {
				votes[value]++
			}
		}
	}
	for _, value := range slices.Sorted(maps.Keys(votes)) {
		if name == "" || votes[value] > votes[name] {
			name, from = value, "containers' environment"
		}
	}
	if name != "" {
		return name, from
	}
	for _, p := range n.Pods() {
		if p.Manifest != "" && slices.Contains(p.Found, "sandbox") {
			for _, m := range n.kubernetes().Manifests {
				if rest, ok := strings.CutPrefix(p.Name, m.Name+"-"); ok && m.File == p.Manifest {
					return rest, "the name of static pod " + p.Name
				}
			}
		}
	}
	return "", ""
}

// configFile returns a small file of the node, or "" where there is none.
func (n *Node) configFile(path string) string {
	b, err := evidence.ReadFile(n.Tree, n.Tree.Root(), path, maxConfigFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			n.gap(0, "/"+path, err)
		}
		return ""
	}
	return string(b)
}

// shellValue returns the value of KEY=value or KEY="value" in a file of such lines.
func shellValue(file, key string) string {
	for line := range strings.Lines(file) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// Summary counts what one data root holds.
type Summary struct {
	Runtime                       runtimes.Name
	Path                          string
	Volume                        int // see Store.Volume
	Found                         Found
	Containers, Sandboxes, Images int
}

// Summaries counts what each data root holds.
func (n *Node) Summaries() []Summary {
	var out []Summary
	for _, s := range n.Stores {
		sum := Summary{Runtime: s.Runtime(), Path: s.Path(), Volume: s.Volume, Found: s.Found}
		for _, c := range n.Containers() {
			switch {
			case c.store.Store != s.Store:
			case c.Kind == runtimes.KindSandbox:
				sum.Sandboxes++
			default:
				sum.Containers++
			}
		}
		for _, i := range n.Images() {
			if i.store.Store == s.Store {
				sum.Images++
			}
		}
		out = append(out, sum)
	}
	return out
}
