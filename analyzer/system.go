package analyzer

import (
	"errors"
	"io/fs"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
)

// System is what the node says of itself.
type System struct {
	OS         string // PRETTY_NAME of os-release
	Hostname   string
	MachineID  string
	NodeName   string // in Kubernetes
	Kubernetes string // the distribution
}

// System reads what the node's tree says of the machine.
func (n *Node) System() System {
	var s System
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
	for _, d := range kubernetesSigns {
		if _, err := evidence.Resolve(n.Tree, n.Tree.Root(), d.path, true); err == nil {
			s.Kubernetes = d.name
			break
		}
	}
	return s
}

// kubernetesSigns are paths that only one distribution has, the most telling
// first (FORMATS: "Finding roots per distribution"); the last is any kubelet.
var kubernetesSigns = []struct{ path, name string }{
	{"etc/eks", "EKS"},
	{"var/lib/rancher/rke2", "RKE2"},
	{"var/lib/rancher/k3s", "k3s"},
	{"var/lib/k0s", "k0s"},
	{"var/snap/microk8s", "MicroK8s"},
	{"etc/kubernetes/azure.json", "AKS"},
	{"home/kubernetes/bin", "GKE"},
	{"etc/kubernetes/manifests/kube-apiserver.yaml", "kubeadm control plane"},
	{"var/lib/kubelet/kubeadm-flags.env", "kubeadm"},
	{"var/lib/kubelet", "kubelet"},
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
