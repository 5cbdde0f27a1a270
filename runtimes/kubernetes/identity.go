package kubernetes

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes/internal/node"
)

// Identity is what the node's own files say of its place in a cluster. Each
// text has the file that it comes from, "" where it isn't known.
type Identity struct {
	Node, NodeFrom       string // as the API server calls it
	Cluster, ClusterFrom string
	Server, ServerFrom   string // address of the API server
	// Distribution is who packed the kubelet: EKS, GKE, k3s ...
	Distribution string
}

// nodeUser is the name of a kubelet's user, and of its certificates' subject:
// Kubernetes, reference/access-authn-authz/node.
const nodeUser = "system:node:"

// Where kubelets and their distributions keep what tells who they are, the
// surest first.
var (
	kubeconfigs = []string{
		"/etc/kubernetes/kubelet.conf",       // kubeadm, minikube, Flatcar
		"/var/lib/kubelet/kubeconfig",        // EKS, AKS, OpenShift, GKE
		"/etc/kubernetes/kubelet/kubeconfig", // Bottlerocket
		"/etc/kubernetes/kubeconfig",         // OpenShift
		"/etc/kubernetes/kubeconfig-kubelet", // Talos
		"/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
		"/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
		"/var/lib/k0s/kubelet.conf",
		"/var/snap/microk8s/current/credentials/kubelet.config",
		"/var/lib/kubelet/bootstrap-kubeconfig", // AKS, GKE: until the node has a certificate
		"/etc/kubernetes/bootstrap-kubelet.conf",
	}
	certificates = []string{
		"/var/lib/kubelet/pki/kubelet-client-current.pem",
		"/var/lib/kubelet/pki/kubelet-server-current.pem",
		"/var/lib/rancher/k3s/agent/client-kubelet.crt",
		"/var/lib/rancher/rke2/agent/client-kubelet.crt",
		"/var/lib/k0s/kubelet/pki/kubelet-client-current.pem",
		"/var/snap/microk8s/current/certs/kubelet.crt",
	}
	// kubeletFiles hold the kubelet's flags in files of their own.
	kubeletFiles = []string{
		"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet", "/etc/eks/kubelet/environment",
		"/var/snap/microk8s/current/args/kubelet", "/etc/kubernetes/kubelet/env",
	}
	// services run a kubelet, under the distribution's own name.
	services = []string{"kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service", "k0scontroller.service", "k0sworker.service", "snap.microk8s.daemon-kubelite.service"}
	// distributionFiles are configurations of a distribution, with the keys of the node's and the cluster's name.
	distributionFiles = []struct{ file, node, cluster, server string }{
		{"/etc/rancher/k3s/config.yaml", "node-name", "", "server"},
		{"/etc/rancher/rke2/config.yaml", "node-name", "", "server"},
		{"/etc/k0s/k0s.yaml", "", "metadata.name", ""},
		{"/system/state/config.yaml", "machine.network.hostname", "cluster.clusterName", "cluster.controlPlane.endpoint"}, // Talos
		{"/etc/eks/nodeadm/config.yaml", "", "spec.cluster.name", "spec.cluster.apiServerEndpoint"},
		{"/etc/kubernetes/azure.json", "", "resourceGroup", ""},
		{"/var/tmp/minikube/kubeadm.yaml", "nodeRegistration.name", "clusterName", ""},
	}
)

// settings of Bottlerocket's data store: one JSON text a file.
const bottlerocketSettings = "/var/lib/bottlerocket/datastore/current/live/settings/"

// Identify reads who the node was. What could not be read is the error, beside
// what could.
func Identify(fsys evidence.FS, root evidence.Ino) (Identity, error) {
	i := &identifier{fsys: fsys, root: root}
	i.distribution()
	i.flags()
	i.bottlerocket()
	for _, d := range distributionFiles {
		f := node.Flatten(i.text(d.file))
		i.node(f.Text(d.node), d.file)
		i.cluster(f.Text(d.cluster), d.file)
		i.server(f.Text(d.server), d.file)
	}
	for _, file := range kubeconfigs {
		i.kubeconfig(file)
	}
	for _, file := range certificates {
		i.certificate(file)
	}
	i.node(strings.TrimSpace(i.text("/var/lib/calico/nodename")), "/var/lib/calico/nodename")
	i.kubeEnv("/home/kubernetes/kube-env")
	i.userData()
	i.fromServer()
	return i.Identity, errors.Join(i.failed...)
}

type identifier struct {
	Identity
	fsys   evidence.FS
	root   evidence.Ino
	failed []error
}

func (i *identifier) text(file string) string {
	raw, err := node.Read(i.fsys, i.root, file)
	if err != nil {
		i.failed = append(i.failed, err)
	}
	return string(raw)
}

func (i *identifier) there(file string) bool {
	_, err := evidence.Resolve(i.fsys, i.root, file, true)
	return err == nil
}

// maxName bounds names: those of nodes have up to 253 characters (RFC 1123), of
// clusters less.
const maxName = 253

func set(name, from *string, value, file string) {
	if *name == "" && value != "" && len(value) <= maxName && !strings.ContainsAny(value, " \n\t$") {
		*name, *from = value, file
	}
}

func (i *identifier) node(name, file string)    { set(&i.Node, &i.NodeFrom, name, file) }
func (i *identifier) cluster(name, file string) { set(&i.Cluster, &i.ClusterFrom, name, file) }

func (i *identifier) server(address, file string) {
	if u, err := url.Parse(address); err == nil && u.Host != "" && !strings.HasPrefix(u.Host, "127.") && !strings.HasPrefix(u.Host, "localhost") {
		set(&i.Server, &i.ServerFrom, address, file)
	}
}

// signs are paths that only one distribution has, the most telling first.
var signs = []struct{ path, name string }{
	{"/etc/eks", "EKS"},
	{"/usr/share/bottlerocket", "Bottlerocket"},
	{bottlerocketSettings + "kubernetes", "Bottlerocket"},
	{"/system/state/config.yaml", "Talos"},
	{"/var/lib/rancher/rke2", "RKE2"},
	{"/var/lib/rancher/k3s", "k3s"},
	{"/var/lib/k0s", "k0s"},
	{"/var/snap/microk8s", "MicroK8s"},
	{"/etc/kubernetes/azure.json", "AKS"},
	{"/home/kubernetes/bin", "GKE"},
	{"/etc/machine-config-daemon", "OpenShift"},
	{"/var/lib/minikube", "minikube"},
	{"/kind/version", "kind"},
	{"/etc/kubernetes/manifests/kube-apiserver.yaml", "kubeadm control plane"},
	{"/var/lib/kubelet/kubeadm-flags.env", "kubeadm"},
	{"/var/lib/kubelet", "kubelet"},
}

func (i *identifier) distribution() {
	for _, s := range signs {
		if i.there(s.path) {
			i.Distribution = s.name
			return
		}
	}
}

// flags takes what the kubelet's command line says, wherever it is put together.
func (i *identifier) flags() {
	for _, unit := range services {
		for _, flag := range []string{"--hostname-override", "--node-name"} {
			values, err := node.Values(i.fsys, i.root, unit, kubeletFiles, flag)
			if err != nil {
				i.failed = append(i.failed, err)
			}
			for _, v := range values {
				i.node(v, unit)
			}
		}
		labels, _ := node.Values(i.fsys, i.root, unit, kubeletFiles, "--node-labels", "KUBELET_NODE_LABELS") // what can't be read was said
		for _, list := range labels {
			for _, label := range strings.Split(list, ",") {
				if name, ok := strings.CutPrefix(label, "kubernetes.azure.com/cluster="); ok {
					i.cluster(name, unit) // the resource group of the nodes: MC_group_cluster_region
				}
				if name, ok := strings.CutPrefix(label, "alpha.eksctl.io/cluster-name="); ok {
					i.cluster(name, unit)
				}
			}
		}
	}
}

func (i *identifier) bottlerocket() {
	for _, s := range []struct {
		file string
		set  func(text, file string)
	}{
		{"kubernetes/hostname-override", i.node}, {"network/hostname", i.node},
		{"kubernetes/cluster-name", i.cluster}, {"kubernetes/api-server", i.server},
	} {
		file := bottlerocketSettings + s.file
		var text string
		if json.Unmarshal([]byte(i.text(file)), &text) == nil {
			s.set(text, file)
		}
	}
}

// kubeconfig takes the server, the user and how the user's token is fetched.
func (i *identifier) kubeconfig(file string) {
	f := node.Flatten(i.text(file))
	for _, s := range f["clusters.cluster.server"] {
		i.server(s, file)
	}
	for _, u := range append(f["users.name"], f["contexts.context.user"]...) {
		if name, ok := strings.CutPrefix(u, nodeUser); ok {
			i.node(name, file)
		}
	}
	args := f["users.user.exec.args"] // aws eks get-token --cluster-name NAME; aws-iam-authenticator token -i NAME
	for k, a := range args {
		if (a == "--cluster-name" || a == "-i" || a == "--cluster-id") && k+1 < len(args) {
			i.cluster(args[k+1], file)
		}
	}
	for _, name := range f["clusters.name"] {
		if !slices.Contains(ordinary, name) {
			i.cluster(name, file)
		}
	}
}

// ordinary are the names that installers write for any cluster.
var ordinary = []string{"kubernetes", "default", "local", "default-cluster", "default-auth", "microk8s-cluster", "kubelet", "localcluster", "mk", "cluster"}

// certificate takes the subject of a kubelet's certificate.
func (i *identifier) certificate(file string) {
	rest := []byte(i.text(file))
	for range 8 { // a chain of them, with the key
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			continue // of another's making: nothing of it is needed
		}
		if name, ok := strings.CutPrefix(c.Subject.CommonName, nodeUser); ok {
			i.node(name, file)
			return
		}
	}
}

// kubeEnv reads what GKE's nodes are configured by: cluster/gce/gci/configure-helper.sh.
func (i *identifier) kubeEnv(file string) {
	for line := range strings.Lines(i.text(file)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "readonly ")
		key, value, ok := strings.Cut(line, "=")
		if k, v, colon := strings.Cut(line, ": "); colon && (!ok || len(k) < len(key)) {
			key, value = k, v
		}
		value = strings.Trim(strings.TrimSpace(value), `'"`)
		switch key {
		case "CLUSTER_NAME":
			i.cluster(value, file)
		case "KUBERNETES_MASTER_NAME":
			if value != "" && !strings.Contains(value, "://") {
				i.server("https://"+value, file)
			}
		}
	}
}

// userData reads what the machine was started with: cloud-init keeps it, whole
// and taken apart (cloudinit/stages.py).
func (i *identifier) userData() {
	dirs := []string{"/var/lib/cloud/instance"}
	for _, id := range node.Entries(i.fsys, i.root, "/var/lib/cloud/instances") {
		dirs = append(dirs, "/var/lib/cloud/instances/"+id)
	}
	for _, dir := range dirs {
		files := []string{"user-data.txt", "user-data.txt.i", "cloud-config.txt", "vendor-data.txt"}
		for _, script := range node.Entries(i.fsys, i.root, dir+"/scripts") {
			files = append(files, "scripts/"+script)
		}
		for _, name := range files {
			i.script(path.Join(dir, name))
		}
	}
	var set struct{ Hostname, FQDN string }
	if json.Unmarshal([]byte(i.text("/var/lib/cloud/data/set-hostname")), &set) == nil && i.Distribution != "" {
		i.node(set.Hostname, "/var/lib/cloud/data/set-hostname")
	}
}

// script finds how a node was told its cluster: EKS' bootstrap.sh (amazon-eks-ami),
// nodeadm's NodeConfig in a part of a message, kubelets' flags.
func (i *identifier) script(file string) {
	text := strings.ReplaceAll(i.text(file), "\\\n", " ")
	if at := strings.Index(text, "node.eks.aws/"); at >= 0 {
		from := strings.LastIndexAny(text[:at], "\n") + 1
		f := node.Flatten(text[from:])
		i.cluster(f.Text("spec.cluster.name"), file)
		i.server(f.Text("spec.cluster.apiServerEndpoint"), file)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := node.Words(line)
		for k, w := range words {
			if strings.HasSuffix(w, "/bootstrap.sh") && strings.Contains(w, "eks") && k+1 < len(words) {
				i.bootstrap(words[k+1:], file)
			}
			if v, ok := strings.CutPrefix(w, "--hostname-override="); ok {
				i.node(v, file)
			}
		}
	}
}

// bootstrap reads the arguments of EKS' bootstrap.sh: one is the cluster's name,
// the others are flags with values, but for a few.
func (i *identifier) bootstrap(words []string, file string) {
	for k := 0; k < len(words); k++ {
		name, value, joined := strings.Cut(words[k], "=")
		switch {
		case name == "--apiserver-endpoint" && !joined && k+1 < len(words):
			i.server(words[k+1], file)
			k++
		case name == "--apiserver-endpoint":
			i.server(value, file)
		case name == "--help" || name == "-h":
		case strings.HasPrefix(name, "-"):
			if !joined {
				k++
			}
		default:
			i.cluster(words[k], file)
		}
	}
}

// fromServer takes the cluster's name out of the address of its API server,
// where the distribution puts it there: OpenShift's api-int.NAME.DOMAIN.
func (i *identifier) fromServer() {
	u, err := url.Parse(i.Server)
	if err != nil {
		return
	}
	for _, prefix := range []string{"api-int.", "api."} {
		if name, ok := strings.CutPrefix(u.Hostname(), prefix); ok && i.Distribution == "OpenShift" {
			i.cluster(name, i.ServerFrom)
		}
	}
}
