package kubernetes_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/runtimes/internal/treetest"
	"lagan/runtimes/kubernetes"
)

const uid = "3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01"

func TestRead(t *testing.T) {
	id := strings.Repeat("a", 64)
	tree := treetest.New(treetest.Files(map[string]string{
		"etc/systemd/system/kubelet.service.d/10.conf":                                "[Service]\nExecStart=/usr/bin/kubelet --root-dir=/data/kubelet\n",
		"data/kubelet/pods/" + uid + "/etc-hosts":                                     "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost\nfe00::0\tip6-localnet\n10.0.0.7\tweb-0\n\n# Entries added by HostAliases.\n1.2.3.4\tother\n",
		"data/kubelet/pods/" + uid + "/containers/web/1f4f0312":                       "",
		"data/kubelet/pods/" + uid + "/volumes/kubernetes.io~csi/pvc-1/vol_data.json": `{"driverName":"ebs.csi.aws.com","volumeHandle":"vol-1"}`,
		"data/kubelet/pods/" + uid + "/volumes/kubernetes.io~empty-dir/cache/x":       "",
		"data/kubelet/pods/.cache/x":                                                  "",
		"var/log/pods/prod_web-0_" + uid + "/web/0.log":                               "",
		"var/log/pods/" + uid + "/old/0.log":                                          "",
		"var/log/pods/nonsense/0.log":                                                 "",
		"var/lib/kubelet/config.yaml":                                                 "kind: KubeletConfiguration\nstaticPodPath: /srv/manifests\n",
		"srv/manifests/evil.yaml":                                                     "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    name: not-this\n  name: \"miner\"\n  namespace: kube-system\nspec:\n  containers:\n  - name: c\n    image: docker.io/x/miner:1\n",
		"etc/kubernetes/manifests/j.json":                                             `{"kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"image":"i:1"}]}}`,
		"etc/kubernetes/manifests/.kube-apiserver.yaml.swp":                           "metadata:\n  name: no\n",
		"var/lib/cni/networks/net/10.0.0.7":                                           id + "\r\neth0",
		"var/lib/cni/networks/net/10.0.0.8":                                           "bbbb",
		"var/lib/cni/networks/net/last_reserved_ip.0":                                 "10.0.0.8",
		"var/lib/cni/results/net-" + id + "-eth0":                                     `{"containerId":"` + id + `","ifName":"eth0","networkName":"net","cniArgs":[["K8S_POD_NAMESPACE","prod"],["K8S_POD_NAME","web-0"],["K8S_POD_UID","` + uid + `"],["odd"]],"result":{"interfaces":[{"name":"eth0","mac":"m","sandbox":"/x"}],"ips":[{"address":"10.0.0.7/24","gateway":"10.0.0.1"}]}}`,
		"var/lib/cni/results/broken":                                                  `{"containerId":`,
		"etc/cni/net.d/10-net.conflist":                                               `{"name":"net","plugins":[{"type":"bridge","bridge":"cni0","ipam":{"ranges":[[{"subnet":"10.0.0.0/24","gateway":"10.0.0.1"}]]}},{"type":"portmap"}]}`,
	}))
	s, err := kubernetes.Read(tree, tree.Root())
	if err == nil || !errors.Is(err, evidence.ErrCorrupt) || !strings.Contains(err.Error(), "results/broken") {
		t.Errorf("said %v", err)
	}
	var got []string
	for _, p := range s.Pods {
		got = append(got, fmt.Sprint("pod ", p.UID, " ", p.Dir, " ", p.Hostname, p.IP, p.Containers))
		for _, v := range p.Volumes {
			got = append(got, fmt.Sprint("volume ", v.Driver, " ", v.Name, " ", v.Options["driverName"], " ", strings.TrimPrefix(v.Mountpoint, p.Dir)))
		}
	}
	for _, l := range s.Logs {
		got = append(got, fmt.Sprint("logs ", l.Namespace, "/", l.Name, " ", l.UID, l.Containers))
	}
	for _, m := range s.Manifests {
		got = append(got, fmt.Sprint("manifest ", m.File, " ", m.Namespace, "/", m.Name, m.Images))
	}
	for _, r := range s.Results {
		got = append(got, fmt.Sprint("result ", r.Network, " ", r.Namespace, "/", r.Pod, " ", r.UID == uid, r.MAC, r.IP, r.Gateway))
	}
	for _, n := range s.Networks {
		got = append(got, fmt.Sprint("network ", n.Name, " ", n.Driver, " ", n.Interface, n.Subnets))
		for _, e := range n.Endpoints {
			got = append(got, fmt.Sprint("endpoint ", len(e.Container), " ", e.Name, e.Addresses))
		}
	}
	want := []string{
		"pod " + uid + " /data/kubelet/pods/" + uid + " web-0[10.0.0.7] [web]",
		"volume csi pvc-1 ebs.csi.aws.com /volumes/kubernetes.io~csi/pvc-1/mount",
		"volume empty-dir cache  /volumes/kubernetes.io~empty-dir/cache",
		"logs / " + uid + "[old]", "logs prod/web-0 " + uid + "[web]",
		"manifest /etc/kubernetes/manifests/j.json default/j[i:1]",
		"manifest /srv/manifests/evil.yaml kube-system/miner[docker.io/x/miner:1]",
		"result net prod/web-0 truem[10.0.0.7/24]10.0.0.1",
		"network net bridge cni0[{10.0.0.0/24 10.0.0.1 }]",
		"endpoint 64 prod/web-0[10.0.0.7/24]", "endpoint 4 [10.0.0.8]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzRead(f *testing.F) {
	f.Add("metadata:\n  name: x\n", `{"containerId":"x"}`, "10.0.0.1\tx")
	f.Fuzz(func(t *testing.T, manifest, result, hosts string) {
		tree := treetest.New(treetest.Files(map[string]string{
			"etc/kubernetes/manifests/x.yaml": manifest, "var/lib/cni/results/x": result, "etc/cni/net.d/x.conflist": result,
			"var/lib/kubelet/pods/" + uid + "/etc-hosts": hosts,
		}))
		s, err := kubernetes.Read(tree, tree.Root())
		if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
			t.Error(err)
		}
		if len(s.Pods) != 1 {
			t.Error("the pod's folder is missing")
		}
	})
}
