package kubernetes_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/runtimes/internal/treetest"
	"lagan/runtimes/kubernetes"
)

// certificate is a kubelet's client certificate with its key, as the kubelet keeps the two.
func certificate(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"system:nodes"}}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func kubeconfig(server, cluster, user, exec string) string {
	return "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    certificate-authority: /etc/kubernetes/pki/ca.crt\n    server: " + server + "\n  name: " + cluster +
		"\ncontexts:\n- context:\n    cluster: " + cluster + "\n    user: " + user + "\n  name: x\ncurrent-context: x\nusers:\n- name: " + user + "\n  user:\n" + exec
}

// TestIdentify has a node of each distribution, with the files that its
// installer writes: what names the node, its cluster and its API server.
func TestIdentify(t *testing.T) {
	const eks = "https://ABCD.gr7.us-west-2.eks.amazonaws.com"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no Kubernetes", map[string]string{"etc/hosts": "", "var/lib/cloud/data/set-hostname": `{"hostname":"web","fqdn":"web.x"}`}, " | | | "},
		{"kubeadm", map[string]string{
			"var/lib/kubelet/kubeadm-flags.env": `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock --pod-infra-container-image=registry.k8s.io/pause:3.9"`,
			"etc/kubernetes/kubelet.conf":       kubeconfig("https://10.0.0.1:6443", "kubernetes", "system:node:worker-1", "    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n"),
		}, "kubeadm | worker-1 /etc/kubernetes/kubelet.conf | | https://10.0.0.1:6443"},
		{"kubeadm, joined", map[string]string{
			"var/lib/kubelet/kubeadm-flags.env":                 `KUBELET_KUBEADM_ARGS="--hostname-override=w2.example.com"`,
			"etc/kubernetes/kubelet.conf":                       kubeconfig("https://10.0.0.1:6443", "default-cluster", "default-auth", "    client-certificate: x\n"),
			"var/lib/kubelet/pki/kubelet-client-current.pem":    certificate(t, "system:node:other"),
			"etc/kubernetes/manifests/kube-apiserver.yaml":      "",
			"etc/systemd/system/kubelet.service.d/10-kube.conf": "[Service]\nEnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\n",
		}, "kubeadm control plane | w2.example.com kubelet.service | | https://10.0.0.1:6443"},
		{"by certificate", map[string]string{"var/lib/kubelet/pki/kubelet-client-current.pem": certificate(t, "system:node:n7")}, "kubelet | n7 /var/lib/kubelet/pki/kubelet-client-current.pem | | "},
		{"a certificate of something else", map[string]string{"var/lib/kubelet/pki/kubelet-client-current.pem": certificate(t, "kubelet") + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "kubelet | | | "},
		{"EKS AL2", map[string]string{
			"etc/eks/bootstrap.sh": "", "var/lib/kubelet/kubeconfig": kubeconfig(eks, "kubernetes", "kubelet", "    exec:\n      command: /usr/bin/aws-iam-authenticator\n      args:\n        - \"token\"\n        - \"-i\"\n        - \"prod-1\"\n        - --region\n        - \"us-west-2\"\n"),
		}, "EKS | | prod-1 /var/lib/kubelet/kubeconfig | " + eks},
		{"EKS AL2, by user data", map[string]string{
			"etc/eks/x": "", "var/lib/cloud/instances/i-0abc/user-data.txt": "#!/bin/bash\nset -ex\n# /etc/eks/bootstrap.sh wrong\n/etc/eks/bootstrap.sh \\\n  --apiserver-endpoint '" + eks + "' --b64-cluster-ca LS0t --kubelet-extra-args '--node-labels=a=b' \\\n  --use-max-pods false 'blue team'\n",
		}, "EKS | | blue /var/lib/cloud/instances/i-0abc/user-data.txt | " + eks},
		{"EKS AL2023", map[string]string{
			"etc/eks/kubelet/environment":          `NODEADM_KUBELET_ARGS="--hostname-override=ip-10-0-1-2.ec2.internal --node-labels=alpha.eksctl.io/cluster-name=no"`,
			"var/lib/cloud/instance/user-data.txt": "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"B\"\n\n--B\nContent-Type: application/node.eks.aws\n\n---\napiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  cluster:\n    apiServerEndpoint: " + eks + "\n    certificateAuthority: LS0t\n    cidr: 172.20.0.0/16\n    name: prod-2\n  kubelet:\n    config:\n      maxPods: 17\n\n--B--\n",
			"var/lib/kubelet/kubeconfig":           kubeconfig(eks, "kubernetes", "kubelet", "    exec:\n      args:\n      - eks\n      - get-token\n      - --cluster-name\n      - prod-2\n      command: aws\n"),
		}, "EKS | ip-10-0-1-2.ec2.internal kubelet.service | no kubelet.service | " + eks},
		{"Bottlerocket", map[string]string{
			"var/lib/bottlerocket/datastore/current/live/settings/kubernetes/cluster-name":      `"rocket"`,
			"var/lib/bottlerocket/datastore/current/live/settings/kubernetes/hostname-override": `"ip-10-9-8-7.ec2.internal"`,
			"var/lib/bottlerocket/datastore/current/live/settings/kubernetes/api-server":        `"` + eks + `"`,
		}, "Bottlerocket | ip-10-9-8-7.ec2.internal /var/lib/bottlerocket/datastore/current/live/settings/kubernetes/hostname-override | rocket /var/lib/bottlerocket/datastore/current/live/settings/kubernetes/cluster-name | " + eks},
		{"GKE", map[string]string{
			"home/kubernetes/bin/kubelet": "", "home/kubernetes/kube-env": "readonly ALLOCATE_NODE_CIDRS='true'\nreadonly CLUSTER_NAME='pool-prod'\nreadonly KUBERNETES_MASTER_NAME='34.1.2.3'\n",
			"var/lib/kubelet/pki/kubelet-client-current.pem": certificate(t, "system:node:gke-pool-prod-1a2b-xyz"),
		}, "GKE | gke-pool-prod-1a2b-xyz /var/lib/kubelet/pki/kubelet-client-current.pem | pool-prod /home/kubernetes/kube-env | https://34.1.2.3"},
		{"GKE, older", map[string]string{"home/kubernetes/bin/kubelet": "", "home/kubernetes/kube-env": "CLUSTER_NAME: old-prod\nKUBERNETES_MASTER_NAME: 34.1.2.3\n"}, "GKE | | old-prod /home/kubernetes/kube-env | https://34.1.2.3"},
		{"AKS", map[string]string{
			"etc/kubernetes/azure.json":            `{"cloud":"AzurePublicCloud","resourceGroup":"MC_rg_shop_westeurope","location":"westeurope"}`,
			"etc/default/kubelet":                  "KUBELET_FLAGS=--node-ip=10.224.0.4\nKUBELET_NODE_LABELS=agentpool=np,kubernetes.azure.com/cluster=MC_rg_shop_westeurope,x=y\n",
			"var/lib/kubelet/bootstrap-kubeconfig": kubeconfig("https://shop-dns-1.hcp.westeurope.azmk8s.io:443", "localcluster", "kubelet-bootstrap", "    token: abc.def\n"),
		}, "AKS | | MC_rg_shop_westeurope kubelet.service | https://shop-dns-1.hcp.westeurope.azmk8s.io:443"},
		{"OpenShift", map[string]string{
			"etc/machine-config-daemon/currentconfig": "", "etc/kubernetes/kubeconfig": kubeconfig("https://api-int.ocp.example.com:6443", "local", "kubelet", "    token: x\n"),
			"var/lib/kubelet/pki/kubelet-client-current.pem": certificate(t, "system:node:worker-0.ocp.example.com"),
		}, "OpenShift | worker-0.ocp.example.com /var/lib/kubelet/pki/kubelet-client-current.pem | ocp.example.com /etc/kubernetes/kubeconfig | https://api-int.ocp.example.com:6443"},
		{"k3s", map[string]string{
			"var/lib/rancher/k3s/agent/client-kubelet.crt": certificate(t, "system:node:edge-3"), "etc/rancher/k3s/config.yaml": "server: https://10.1.1.1:6443\ntoken: x\n",
			"var/lib/rancher/k3s/agent/kubelet.kubeconfig": kubeconfig("https://127.0.0.1:6444", "local", "user", "    client-key: x\n"),
		}, "k3s | edge-3 /var/lib/rancher/k3s/agent/client-kubelet.crt | | https://10.1.1.1:6443"},
		{"k3s, told its name", map[string]string{"var/lib/rancher/k3s/agent/x": "", "etc/systemd/system/k3s-agent.service": "[Service]\nExecStart=/usr/local/bin/k3s \\\n    agent \\\n\t'--node-name' \\\n\t'edge-4' \\\n"}, "k3s | edge-4 k3s-agent.service | | "},
		{"RKE2", map[string]string{"var/lib/rancher/rke2/x": "", "var/lib/rancher/k3s/x": "", "etc/rancher/rke2/config.yaml": "node-name: \"rke-1\"\nserver: https://10.1.1.2:9345\n"}, "RKE2 | rke-1 /etc/rancher/rke2/config.yaml | | https://10.1.1.2:9345"},
		{"k0s", map[string]string{"var/lib/k0s/kubelet/pki/kubelet-client-current.pem": certificate(t, "system:node:k0-1"), "etc/k0s/k0s.yaml": "apiVersion: k0s.k0sproject.io/v1beta1\nmetadata:\n  name: lab\nspec:\n  api: {}\n"}, "k0s | k0-1 /var/lib/k0s/kubelet/pki/kubelet-client-current.pem | lab /etc/k0s/k0s.yaml | "},
		{"MicroK8s", map[string]string{"var/snap/microk8s/current/args/kubelet": "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--hostname-override=mk-1\n", "var/snap/microk8s/current/credentials/kubelet.config": kubeconfig("https://127.0.0.1:16443", "microk8s-cluster", "kubelet", "    token: x\n")}, "MicroK8s | mk-1 kubelet.service | | "},
		{"minikube", map[string]string{"var/lib/minikube/certs/x": "", "etc/kubernetes/kubelet.conf": kubeconfig("https://control-plane.minikube.internal:8443", "mk", "system:node:minikube", "    x: y\n")}, "minikube | minikube /etc/kubernetes/kubelet.conf | | https://control-plane.minikube.internal:8443"},
		{"Talos", map[string]string{"system/state/config.yaml": "version: v1alpha1\nmachine:\n    type: worker\n    network:\n        hostname: talos-w1\n    kubelet:\n        image: x\ncluster:\n    controlPlane:\n        endpoint: https://10.5.0.2:6443\n    clusterName: talos-prod\n"}, "Talos | talos-w1 /system/state/config.yaml | talos-prod /system/state/config.yaml | https://10.5.0.2:6443"},
		{"Calico", map[string]string{"var/lib/kubelet/pods/x": "", "var/lib/calico/nodename": "cal-1"}, "kubelet | cal-1 /var/lib/calico/nodename | | "},
		{"hostile", map[string]string{"var/lib/kubelet/x": "", "etc/kubernetes/kubelet.conf": "{\"clusters\":[[[[", "home/kubernetes/kube-env": "CLUSTER_NAME='a b'\n", "var/lib/cloud/data/set-hostname": "{"}, "kubelet | | | "},
	} {
		fsys := treetest.New(treetest.Files(c.files))
		i, err := kubernetes.Identify(fsys, fsys.Root())
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := i.Distribution + " | " + two(i.Node, i.NodeFrom) + "| " + two(i.Cluster, i.ClusterFrom) + "| " + i.Server
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func two(a, b string) string {
	if a == "" {
		return ""
	}
	return a + " " + b + " "
}

func FuzzIdentify(f *testing.F) {
	f.Add("clusters:\n- cluster:\n    server: https://x\n", "readonly CLUSTER_NAME='x'\n", "/etc/eks/bootstrap.sh x --y z\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, config, env, script, pem string) {
		fsys := treetest.New(treetest.Files(map[string]string{
			"etc/kubernetes/kubelet.conf": config, "system/state/config.yaml": config, "home/kubernetes/kube-env": env,
			"var/lib/cloud/instance/user-data.txt": script, "etc/default/kubelet": script, "var/lib/kubelet/pki/kubelet-client-current.pem": pem,
		}))
		if _, err := kubernetes.Identify(fsys, fsys.Root()); err != nil && !errors.Is(err, evidence.ErrCorrupt) {
			t.Error(err)
		}
	})
}
