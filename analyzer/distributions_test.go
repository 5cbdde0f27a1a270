package analyzer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestDistributions has the folders of each distribution's node, or of its data
// volume alone, with one pod: its data root is found, and its log and volume
// where the evidence has them.
func TestDistributions(t *testing.T) {
	const uid, id = "3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01", "c1"
	name := filepath.Join(t.TempDir(), "meta.db")
	db, err := bolt.Open(name, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	any := func(value string) string { // google.protobuf.Any with a value alone
		return "\x12" + string([]byte{byte(len(value))&0x7f | 0x80, byte(len(value) >> 7)}) + value
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return fill(tx, map[string]map[string]string{
			"v1|k8s.io|containers|" + id: {
				"image": "img:1", "spec": any(`{"linux":{},"mounts":[{"destination":"/cache","type":"bind","source":"/var/lib/kubelet/pods/` + uid + `/volumes/kubernetes.io~empty-dir/cache"}]}`),
			},
			"v1|k8s.io|containers|" + id + "|labels":     {"io.cri-containerd.kind": "container", "io.kubernetes.pod.uid": uid, "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.container.name": "app"},
			"v1|k8s.io|containers|" + id + "|extensions": {"io.cri-containerd.container.metadata": any(`{"Metadata":{"ID":"` + id + `","LogPath":"/var/log/pods/shop_web-0_` + uid + `/app/0.log","Config":{"metadata":{"name":"app"}}}}`)},
		})
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	meta, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, root string
		found      Found
		kube       string // what is the node's /var/lib/kubelet
		logs       string // and its /var/log/pods
		also       string
	}{
		{"kubeadm, EKS, AKS, GKE, Flatcar", "/var/lib/containerd", FoundUsual, "/var/lib/kubelet", "/var/log/pods", "etc/os-release"},
		{"k3s", "/var/lib/rancher/k3s/agent/containerd", FoundUsual, "/var/lib/kubelet", "/var/log/pods", "etc/os-release"},
		{"RKE2", "/var/lib/rancher/rke2/agent/containerd", FoundUsual, "/var/lib/kubelet", "/var/log/pods", "etc/os-release"},
		{"k3s, moved", "/data/k3s/agent/containerd", FoundConfigured, "/var/lib/kubelet", "/var/log/pods", "etc/rancher/k3s/config.yaml=data-dir: /data/k3s"},
		{"k0s", "/var/lib/k0s/containerd", FoundUsual, "/var/lib/k0s/kubelet", "/var/log/pods", "etc/os-release"},
		{"MicroK8s", "/var/snap/microk8s/common/var/lib/containerd", FoundUsual, "/var/snap/microk8s/common/var/lib/kubelet", "/var/log/pods", "etc/os-release"},
		{"Bottlerocket's data volume alone", "/var/lib/containerd", FoundUsual, "/var/lib/kubelet", "/var/log/pods", "opt/x"},
		{"Container-Optimized OS' stateful partition alone", "/var/lib/containerd", FoundUsual, "/var/lib/kubelet", "/var/log/pods", "var_overlay/x"},
		{"the same, mounted by hand", "/mnt/stateful_partition/var/lib/containerd", FoundSearch, "/mnt/stateful_partition/var/lib/kubelet", "/mnt/stateful_partition/var/log/pods", "etc/os-release"},
		{"Talos' EPHEMERAL, a /var of its own", "/var/lib/containerd", FoundUsual, "/var/lib/kubelet", "/var/log/pods", ""},
		{"kind, in a volume of Docker's", "/var/lib/docker/volumes/7c/_data/lib/containerd", FoundSearch, "/var/lib/docker/volumes/7c/_data/lib/kubelet", "/var/lib/docker/volumes/7c/_data/log/pods", "etc/os-release"},
		{"minikube", "/var/lib/docker/volumes/minikube/_data/lib/containerd", FoundSearch, "/var/lib/docker/volumes/minikube/_data/lib/kubelet", "/var/lib/docker/volumes/minikube/_data/log/pods", "etc/os-release"},
		{"Rancher Desktop", "/mnt/data/var/lib/rancher/k3s/agent/containerd", FoundSearch, "/mnt/data/var/lib/kubelet", "/mnt/data/var/log/pods", "etc/os-release"},
		{"Docker Desktop", "/data/docker/containerd/daemon", FoundSearch, "", "", "etc/os-release"},
		{"a copy of a node in a node", "/cases/7/var/lib/containerd", FoundSearch, "/cases/7/var/lib/kubelet", "/cases/7/var/log/pods", "etc/os-release"},
	} {
		dir := filepath.Join(t.TempDir(), "node")
		top := dir
		if strings.HasPrefix(c.name, "Talos") {
			top = filepath.Join(dir, "..", "var-only")
		}
		at := func(p string) string {
			if top != dir {
				p = strings.TrimPrefix(p, "/var")
			}
			return filepath.Join(top, p)
		}
		put(t, filepath.Join(at(c.root), "io.containerd.metadata.v1.bolt/meta.db"), string(meta))
		if c.kube != "" {
			put(t, at(c.kube+"/pods/"+uid+"/volumes/kubernetes.io~empty-dir/cache/x"), "")
			put(t, at(c.logs+"/shop_web-0_"+uid+"/app/0.log"), "")
		}
		if file, content, _ := strings.Cut(c.also, "="); file != "" {
			put(t, filepath.Join(top, file), content)
		}
		n, err := Open(t.Context(), top, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		all := n.Containers()
		if len(all) != 1 || len(n.Stores) != 1 || n.Stores[0].Path() != c.root || n.Stores[0].Found != c.found {
			t.Errorf("%s: %d containers, stores %v", c.name, len(all), n.Summaries())
			continue
		}
		if c.kube == "" {
			continue
		}
		if want := c.logs + "/shop_web-0_" + uid + "/app/0.log"; all[0].LogPath != want {
			t.Errorf("%s: log at %s, want %s", c.name, all[0].LogPath, want)
		}
		var volumes []string
		for _, v := range n.DataVolumes() {
			volumes = append(volumes, v.Mountpoint+" "+v.Pod.Name+" "+strings.Join(v.Containers, ""))
		}
		mounter := id
		if c.kube != "/var/lib/kubelet" && !strings.HasSuffix(c.kube, "/lib/kubelet") || strings.HasPrefix(c.kube, "/var/snap") {
			mounter = "" // its specification names the place that other kubelets have
		}
		if want := c.kube + "/pods/" + uid + "/volumes/kubernetes.io~empty-dir/cache web-0 " + mounter; len(volumes) != 1 || volumes[0] != want {
			t.Errorf("%s: volumes %q, want %q", c.name, volumes, want)
		}
		if pods := n.Pods(); len(pods) != 1 || len(pods[0].Found) != 3 {
			t.Errorf("%s: %d pods", c.name, len(pods))
		}
	}
}
