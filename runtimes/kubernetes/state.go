package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
)

// Names of what isn't a container runtime's in records of volumes and networks.
const (
	Kubelet runtimes.Name = "kubelet"
	CNI     runtimes.Name = "cni"
)

// Where the kubelet keeps pods, where it finds static ones, and where CNI notes
// what it did: pkg/kubelet/kubelet_getters.go, pkg/kubelet/apis/config; the
// distributions' own places; libcni/api.go and plugins/ipam/host-local of CNI.
var (
	kubeletRoots = []string{"/var/lib/kubelet", "/var/lib/k0s/kubelet", "/var/snap/microk8s/common/var/lib/kubelet", "/lib/kubelet"}
	manifestDirs = []string{
		"/etc/kubernetes/manifests", "/etc/kubernetes/static-pods", "/etc/kubelet.d",
		"/var/lib/rancher/k3s/agent/pod-manifests", "/var/lib/rancher/rke2/agent/pod-manifests",
	}
	configFiles = []string{
		"/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet-config.yaml",
		"/etc/kubernetes/kubelet/config.yaml", "/etc/kubernetes/kubelet/config", // Bottlerocket
		"/etc/kubernetes/kubelet/kubelet-config.json", "/etc/kubernetes/kubelet/config.json", "/etc/kubernetes/kubelet/config.json.d/00-nodeadm.conf", // EKS
		"/etc/kubernetes/kubelet.conf",         // OpenShift; elsewhere it is a kubeconfig
		"/home/kubernetes/kubelet-config.yaml", // GKE
		"/etc/default/kubeletconfig.json",      // AKS
		"/var/lib/k0s/kubelet-config.yaml", "/var/lib/k0s/kubelet/config.yaml",
		"/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf", "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf",
	}
	logDirs       = []string{"/var/log/pods", "/log/pods"}
	cniResultDirs = []string{"/var/lib/cni/results", "/var/lib/cni/cache/results"}
	cniNetworks   = []string{"/var/lib/cni/networks"}
	cniConfigs    = []string{"/etc/cni/net.d", "/etc/kubernetes/cni/net.d", "/var/lib/rancher/k3s/agent/etc/cni/net.d", "/var/lib/rancher/rke2/agent/etc/cni/net.d", "/var/snap/microk8s/current/args/cni-network"}
)

// Bounds: a kubelet runs some hundred pods, and keeps folders of as many more.
const (
	maxPods     = 100_000
	maxDocument = 4 << 20
)

// State is what the node's own files tell of pods, whether or not a runtime
// still knows them.
type State struct {
	Pods      []PodDir
	Logs      []LogDir
	Manifests []Manifest
	Results   []Result
	Leases    []Lease
	Networks  []runtimes.Network
}

// PodDir is a pod's folder below the kubelet's root.
type PodDir struct {
	UID        string
	Dir        string
	Hostname   string // of etc-hosts
	IP         []string
	Containers []string
	Volumes    []runtimes.Volume
}

// LogDir is a pod's folder of logs.
type LogDir struct {
	Namespace, Name, UID string
	Dir                  string
	Containers           []string
}

// Manifest is a static pod's: a pod that no API server knows.
type Manifest struct {
	File, Name, Namespace string
	Images                []string
}

// Result is what CNI noted of a sandbox's connection.
type Result struct {
	File, Network, Interface string
	Container                string // the sandbox's id
	Namespace, Pod, UID      string
	MAC                      string
	IP                       []string // with the prefix's length
	Gateway                  string
}

// Lease is an address that a plugin's address management gave out.
type Lease struct {
	File, Network, Container, Interface, IP string
	Namespace, Pod                          string // where the plugin notes them
}

// Read reads what the node's files tell of pods. What could not be read is the
// error, beside everything else. vars are folders that are the /var of a node
// within the node, as kind and minikube have them in volumes of Docker's.
func Read(fsys evidence.FS, root evidence.Ino, vars ...string) (*State, error) {
	r := &reader{fsys: node.Cached(fsys), root: root, s: &State{}, vars: vars}
	roots, configs, manifests := r.configured()
	for _, dir := range r.distinct(append(roots, kubeletRoots...)) {
		r.kubelet(dir)
	}
	for _, dir := range r.distinct(logDirs) {
		r.logs(dir)
	}
	manifests = append(manifestDirs[:len(manifestDirs):len(manifestDirs)], manifests...)
	for _, f := range append(configs, configFiles...) {
		raw, err := node.Read(fsys, root, f)
		r.fail(err)
		if dir := node.Flatten(string(raw)).Text("staticPodPath"); strings.HasPrefix(dir, "/") {
			manifests = append(manifests, dir)
		}
	}
	for _, dir := range r.distinct(manifests) {
		r.manifests(dir)
	}
	for _, dir := range r.distinct(cniResultDirs) {
		r.results(dir)
	}
	for _, dir := range r.distinct(cniConfigs) {
		r.networks(dir)
	}
	for _, dir := range r.distinct(append(cniNetworks[:len(cniNetworks):len(cniNetworks)], r.dataDirs...)) {
		r.leases(dir)
	}
	r.awsLeases(awsIPAM)
	for _, dir := range r.distinct(ciliumStates) {
		r.cilium(dir)
	}
	r.connect()
	return r.s, errors.Join(r.failed...)
}

// configured returns what the kubelet's flags name: its root, its configuration, the folder of static pods.
func (r *reader) configured() (roots, configs, manifests []string) {
	for _, unit := range services {
		for flag, out := range map[string]*[]string{"--root-dir": &roots, "--config": &configs, "--pod-manifest-path": &manifests} {
			if flag == "--config" && unit != services[0] {
				continue // the distribution's own configuration
			}
			dirs, err := node.Flags(r.fsys, r.root, unit, kubeletFiles, flag)
			r.fail(err)
			for _, dir := range dirs {
				if !slices.Contains(*out, dir) {
					*out = append(*out, dir)
				}
			}
		}
	}
	return roots, configs, manifests
}

type reader struct {
	fsys     evidence.FS
	root     evidence.Ino
	s        *State
	failed   []error
	vars     []string
	dataDirs []string // where configurations of CNI have host-local keep its leases
}

func (r *reader) fail(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.failed = append(r.failed, err)
	}
}

// distinct returns the folders that are there, also below what is the /var of a
// node within the node.
func (r *reader) distinct(dirs []string) []string {
	dirs = dirs[:len(dirs):len(dirs)]
	for _, nested := range r.vars {
		for _, dir := range dirs {
			if rest, ok := strings.CutPrefix(dir, "/var/"); ok {
				dirs = append(dirs, path.Join(nested, rest))
			}
		}
	}
	return node.Distinct(r.fsys, r.root, dirs, func(string) bool { return true })
}

// names returns the entries of a folder that is one, bounded.
func (r *reader) names(dir string) []string {
	ino, err := evidence.Resolve(r.fsys, r.root, dir, true)
	if err != nil {
		return nil
	}
	if info, err := r.fsys.Stat(ino); err != nil || info.Type != evidence.TypeDir {
		return nil
	}
	entries, err := evidence.List(r.fsys, ino)
	r.fail(err)
	var out []string
	for _, e := range entries[:min(len(entries), maxPods)] {
		out = append(out, e.Name)
	}
	return out
}

func (r *reader) document(file string, v any) []byte {
	raw, err := evidence.ReadFile(r.fsys, r.root, file, maxDocument)
	r.fail(err)
	if err != nil || v == nil {
		return raw
	}
	if err := json.Unmarshal(raw, v); err != nil {
		r.fail(fmt.Errorf("%s: %w: %w", file, err, evidence.ErrCorrupt))
	}
	return raw
}

// isUID says whether a folder may be called by a pod's UID: a UUID, or of a
// static pod the MD5 sum of its manifest (pkg/kubelet/config/common.go).
func isUID(name string) bool {
	return len(name) >= 32 && len(name) <= 64 && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-'
	})
}

// kubelet reads <root>/pods.
func (r *reader) kubelet(root string) {
	for _, uid := range r.names(path.Join(root, "pods")) {
		if !isUID(uid) {
			continue
		}
		p := PodDir{UID: uid, Dir: path.Join(root, "pods", uid)}
		p.Containers = r.names(p.Dir + "/containers")
		hosts, err := node.Read(r.fsys, r.root, p.Dir+"/etc-hosts")
		r.fail(err)
		p.Hostname, p.IP = podAddress(string(hosts))
		for _, plugin := range r.names(p.Dir + "/volumes") {
			for _, name := range r.names(p.Dir + "/volumes/" + plugin) {
				p.Volumes = append(p.Volumes, r.volume(&p, plugin, name))
			}
		}
		for _, plugin := range r.names(p.Dir + "/volumeDevices") {
			for _, name := range r.names(p.Dir + "/volumeDevices/" + plugin) { // a link to the device: nothing of it is in a folder
				p.Volumes = append(p.Volumes, runtimes.Volume{Runtime: Kubelet, StorePath: root, Name: name, Driver: strings.TrimPrefix(plugin, "kubernetes.io~") + " device",
					Mountpoint: p.Dir + "/volumeDevices/" + plugin + "/" + name, Pod: runtimes.Pod{UID: p.UID}})
			}
		}
		r.s.Pods = append(r.s.Pods, p)
	}
}

// podAddress reads what the kubelet wrote into a pod's /etc/hosts: the lines
// after the fixed ones for the loopback and multicast addresses have the pod's
// addresses and name (pkg/kubelet/kubelet_pods.go, managedHostsFileContent).
func podAddress(hosts string) (name string, ip []string) {
	for line := range strings.Lines(hosts) {
		if strings.HasPrefix(line, "# Entries added by HostAliases") {
			break
		}
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], "127.") || f[0] == "::1" || strings.HasPrefix(f[0], "fe00::") {
			continue
		}
		ip = append(ip, f[0])
		name = f[len(f)-1]
	}
	return name, ip
}

// volume names a pod's volume; a plugin's name has ~ in place of /.
func (r *reader) volume(p *PodDir, plugin, name string) runtimes.Volume {
	v := runtimes.Volume{Runtime: Kubelet, StorePath: path.Dir(path.Dir(p.Dir)), Name: name, Mountpoint: p.Dir + "/volumes/" + plugin + "/" + name, Pod: runtimes.Pod{UID: p.UID}}
	v.Driver = strings.TrimPrefix(plugin, "kubernetes.io~")
	if v.Driver == "csi" {
		v.Options = make(map[string]string)
		r.document(v.Mountpoint+"/vol_data.json", &v.Options) // pkg/volume/csi/csi_util.go: all texts
		v.Mountpoint += "/mount"
	}
	if ino, err := evidence.Resolve(r.fsys, r.root, v.Mountpoint, false); err == nil {
		if info, err := r.fsys.Stat(ino); err == nil {
			v.Created = info.Btime
		}
	}
	v.Entries = r.entries(v.Mountpoint)
	return v
}

// maxEntries bounds the names of a volume that are told: a Secret or ConfigMap has a few keys.
const maxEntries = 64

// entries are the names at the top of a volume, without those by which the
// kubelet replaces all files at once (pkg/volume/util/atomic_writer.go).
func (r *reader) entries(dir string) []string {
	var out []string
	for _, name := range r.names(dir) {
		if !strings.HasPrefix(name, "..") && len(out) < maxEntries {
			out = append(out, name)
		}
	}
	return out
}

// logs reads /var/log/pods: <namespace>_<pod>_<uid>/<container>/<n>.log, before
// Kubernetes 1.14 <uid>/<container> (pkg/kubelet/kuberuntime/helpers.go).
func (r *reader) logs(root string) {
	for _, name := range r.names(root) {
		l := LogDir{Dir: path.Join(root, name)}
		f := strings.Split(name, "_")
		switch {
		case len(f) == 3 && f[0] != "" && f[1] != "":
			l.Namespace, l.Name, l.UID = f[0], f[1], f[2]
		case isUID(name):
			l.UID = name
		default:
			continue
		}
		for _, c := range r.names(l.Dir) {
			if !strings.HasSuffix(c, ".log") { // of a sandbox: CRI-O
				l.Containers = append(l.Containers, c)
			}
		}
		r.s.Logs = append(r.s.Logs, l)
	}
}

// manifests reads the static pods of a folder.
func (r *reader) manifests(dir string) {
	for _, name := range r.names(dir) {
		if strings.HasPrefix(name, ".") || !slices.Contains([]string{".yaml", ".yml", ".json", ".manifest"}, path.Ext(name)) {
			continue
		}
		m := parseManifest(string(r.document(path.Join(dir, name), nil)))
		m.File = path.Join(dir, name)
		if m.Name != "" {
			r.s.Manifests = append(r.s.Manifests, m)
		}
	}
}

// parseManifest takes the name, the namespace and the images out of a pod's
// manifest, JSON or YAML, without reading more of YAML than mappings in blocks.
func parseManifest(text string) Manifest {
	var m Manifest
	var doc struct {
		Metadata struct{ Name, Namespace string }
		Spec     struct {
			Containers []struct{ Image string }
		}
	}
	if json.Unmarshal([]byte(text), &doc) == nil {
		m.Name, m.Namespace = doc.Metadata.Name, doc.Metadata.Namespace
		for _, c := range doc.Spec.Containers {
			m.Images = append(m.Images, c.Image)
		}
	} else {
		parseYAML(text, &m)
	}
	if m.Name != "" && m.Namespace == "" {
		m.Namespace = "default"
	}
	return m
}

func parseYAML(text string, m *Manifest) {
	metadata, indent := false, 0
	for line := range strings.Lines(text) {
		body := strings.TrimLeft(line, " ")
		depth := len(line) - len(body)
		key, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(body, "- ")), ":")
		if !ok || strings.HasPrefix(body, "#") {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch {
		case depth == 0:
			metadata, indent = key == "metadata", 0
		case key == "image" && value != "":
			m.Images = append(m.Images, value)
		case metadata && (indent == 0 || depth == indent):
			indent = depth
			if key == "name" {
				m.Name = value
			} else if key == "namespace" {
				m.Namespace = value
			}
		}
	}
}
