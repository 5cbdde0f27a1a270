package kubernetes_test

import (
	"errors"
	"fmt"
	"slices"
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

// TestPlaces has what the distributions keep elsewhere than the kubelet would.
func TestPlaces(t *testing.T) {
	id := strings.Repeat("b", 64)
	result := `{"containerId":"` + id + `","ifName":"eth0","networkName":"net","result":{"ips":[{"address":"10.0.0.9/24"}]}}`
	manifest := "metadata:\n  name: s\nspec: {}\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		vars  []string
		want  string
	}{
		{"kubeadm", map[string]string{"var/lib/kubelet/pods/" + uid + "/x": "", "etc/kubernetes/manifests/s.yaml": manifest, "var/lib/cni/results/r": result},
			nil, "pod /var/lib/kubelet/pods/" + uid + " static /etc/kubernetes/manifests/s.yaml result 10.0.0.9/24"},
		{"EKS AL2", map[string]string{"etc/kubernetes/kubelet/kubelet-config.json": `{"kind":"KubeletConfiguration","staticPodPath":"/srv/static"}`, "srv/static/s.yaml": manifest}, nil, "static /srv/static/s.yaml"},
		{"OpenShift", map[string]string{"etc/kubernetes/kubelet.conf": "kind: KubeletConfiguration\nstaticPodPath: /etc/kubernetes/manifests2\n", "etc/kubernetes/manifests2/s.yaml": manifest, "etc/kubernetes/cni/net.d/x.conf": `{"name":"ovn","type":"ovn-k8s-cni-overlay"}`}, nil,
			"static /etc/kubernetes/manifests2/s.yaml network ovn"},
		{"Bottlerocket", map[string]string{"etc/kubernetes/static-pods/s.yaml": manifest}, nil, "static /etc/kubernetes/static-pods/s.yaml"},
		{"a flag", map[string]string{"etc/default/kubelet": "KUBELET_EXTRA_ARGS=\"--root-dir=/data/kubelet --pod-manifest-path=/data/static --config=/data/kubelet.yaml\"", "data/kubelet/pods/" + uid + "/x": "", "data/static/s.yaml": manifest,
			"data/kubelet.yaml": "staticPodPath: /data/more", "data/more/m.yaml": manifest}, nil, "pod /data/kubelet/pods/" + uid + " static /data/static/s.yaml static /data/more/m.yaml"},
		{"k3s", map[string]string{"var/lib/rancher/k3s/agent/pod-manifests/s.yaml": manifest, "var/lib/rancher/k3s/agent/etc/cni/net.d/10-flannel.conflist": `{"name":"cbr0","plugins":[{"type":"flannel"}]}`}, nil, "static /var/lib/rancher/k3s/agent/pod-manifests/s.yaml network cbr0"},
		{"k0s", map[string]string{"var/lib/k0s/kubelet/pods/" + uid + "/x": ""}, nil, "pod /var/lib/k0s/kubelet/pods/" + uid},
		{"MicroK8s", map[string]string{"var/snap/microk8s/common/var/lib/kubelet/pods/" + uid + "/x": "", "var/snap/microk8s/current/args/cni-network/cni.yaml.conflist": `{"name":"k8s-pod-network","plugins":[{"type":"calico"}]}`}, nil,
			"pod /var/snap/microk8s/common/var/lib/kubelet/pods/" + uid + " network k8s-pod-network"},
		{"kind, in a volume of Docker's", map[string]string{"var/lib/docker/volumes/v/_data/lib/kubelet/pods/" + uid + "/x": "", "var/lib/docker/volumes/v/_data/lib/cni/results/r": result}, []string{"/var/lib/docker/volumes/v/_data"},
			"pod /var/lib/docker/volumes/v/_data/lib/kubelet/pods/" + uid + " result 10.0.0.9/24"},
		{"a volume that is /var", map[string]string{"lib/kubelet/pods/" + uid + "/x": "", "log/pods/ns_n_" + uid + "/c/0.log": ""}, nil, "pod /lib/kubelet/pods/" + uid + " logs n"},
		{"leases elsewhere", map[string]string{"etc/cni/net.d/a.conf": `{"name":"gke","type":"ptp","ipam":{"type":"host-local","dataDir":"/data/leases"}}`, "data/leases/gke/10.4.0.2": id + "\neth0"}, nil, "lease gke 10.4.0.2 / network gke"},
		{"VPC CNI", map[string]string{"run/aws-node/ipam.json": `{"version":"vpc-cni-ipam/1","allocations":[{"networkName":"aws-cni","containerID":"` + id + `","ifName":"eth0","ipv4":"10.0.5.6","allocationTimestamp":1,"metadata":{"k8sPodNamespace":"shop","k8sPodName":"cart"}},{"ipv4":"bad"}]}`}, nil,
			"lease aws-cni 10.0.5.6 shop/cart network aws-cni"},
		{"Cilium", map[string]string{"run/cilium/state/2104/ep_config.json": `{"ID":2104,"ContainerID":"` + id + `","K8sPodName":"cart","K8sNamespace":"shop","IPv6":"","IPv4":"10.244.1.7"}`, "run/cilium/state/globals/x": ""}, nil,
			"lease cilium 10.244.1.7 shop/cart network cilium"},
	} {
		fsys := treetest.New(treetest.Files(c.files))
		s, err := kubernetes.Read(fsys, fsys.Root(), c.vars...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		for _, p := range s.Pods {
			got = append(got, "pod "+p.Dir)
		}
		for _, l := range s.Logs {
			got = append(got, "logs "+l.Name)
		}
		for _, m := range s.Manifests {
			got = append(got, "static "+m.File)
		}
		for _, r := range s.Results {
			got = append(got, "result "+strings.Join(r.IP, " "))
		}
		for _, l := range s.Leases {
			got = append(got, "lease "+l.Network+" "+l.IP+" "+l.Namespace+"/"+l.Pod)
		}
		for _, n := range s.Networks {
			if len(s.Results) == 0 {
				got = append(got, "network "+n.Name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, strings.Join(got, " "), c.want)
		}
	}
}

// TestVolumes has a pod's volumes of each kind, with the names in them.
func TestVolumes(t *testing.T) {
	const pod = "var/lib/kubelet/pods/" + uid + "/"
	fsys := treetest.New(treetest.Files(map[string]string{
		pod + "volumes/kubernetes.io~secret/db/..data/password":         "x",
		pod + "volumes/kubernetes.io~secret/db/password":                "x",
		pod + "volumes/kubernetes.io~configmap/conf/a.ini":              "",
		pod + "volumes/kubernetes.io~projected/kube-api-access-x/token": "",
		pod + "volumes/kubernetes.io~empty-dir/tmp/.x/y":                "",
		pod + "volumes/kubernetes.io~csi/pvc-1/vol_data.json":           `{"driverName":"ebs.csi.aws.com"}`,
		pod + "volumes/kubernetes.io~csi/pvc-1/mount/db/f":              "",
		pod + "volumes/kubernetes.io~nfs/share/f":                       "",
		pod + "volumeDevices/kubernetes.io~csi/pvc-2":                   "",
	}))
	s, err := kubernetes.Read(fsys, fsys.Root())
	if err != nil || len(s.Pods) != 1 {
		t.Fatal(s, err)
	}
	var got []string
	for _, v := range s.Pods[0].Volumes {
		got = append(got, fmt.Sprint(v.Driver, " ", v.Name, v.Entries))
	}
	slices.Sort(got)
	if want := "configmap conf[a.ini], csi device pvc-2[], csi pvc-1[db], empty-dir tmp[.x], nfs share[f], projected kube-api-access-x[token], secret db[password]"; strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
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
