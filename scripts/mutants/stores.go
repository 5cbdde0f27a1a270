package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/fixtures"
	"lagan/runtimes"
	"lagan/runtimes/buildkit"
	"lagan/runtimes/containerd"
	"lagan/runtimes/docker"
	"lagan/runtimes/kubernetes"
	"lagan/runtimes/storage"
)

// storeTree is a data root's own files, without the layers' content.
type storeTree struct {
	root  string
	files []string
	data  map[string][]byte
	dirs  []string
}

// treeOf reads a data root of a fixture once. Folders of layers are kept empty:
// what is in them is read by the filesystems.
func treeOf(disk, dataRoot string, layer func(p string) bool) func() (*storeTree, error) {
	return sync.OnceValues(func() (*storeTree, error) {
		n, err := node(disk)
		if err != nil {
			return nil, err
		}
		defer n.Close()
		top, err := evidence.Resolve(n.Tree, n.Tree.Root(), dataRoot, true)
		if err != nil {
			return nil, err
		}
		t := &storeTree{root: dataRoot, data: map[string][]byte{}}
		err = evidence.Walk(n.Tree, top, func(p string, e evidence.Entry, info evidence.Info, err error) error {
			if err != nil {
				return err
			}
			switch full := path.Join(dataRoot, p); {
			case info.Type == evidence.TypeDir:
				t.dirs = append(t.dirs, full)
				if layer(p) {
					return evidence.SkipDir
				}
			case info.Type == evidence.TypeFile && info.Size <= maxNodeFile:
				b, err := evidence.ReadInode(n.Tree, e.Ino, maxNodeFile)
				if err != nil {
					return err
				}
				t.files = append(t.files, full)
				t.data[full] = b
			}
			return nil
		})
		return t, err
	})
}

var (
	dockerTree = treeOf(fixtures.Names[0], "/var/lib/docker", func(p string) bool {
		return strings.HasPrefix(p, "overlay2/") && (path.Base(p) == "diff" || path.Base(p) == "merged")
	})
	containerdTree = treeOf(fixtures.Names[1], "/var/lib/containerd", func(p string) bool { return path.Base(p) == "fs" })
	podmanTree     = treeOf(fixtures.Names[2], "/var/lib/containers/storage", func(p string) bool { return path.Base(p) == "diff" })
	buildkitTree   = treeOf("buildkit", "/var/lib/buildkit", func(p string) bool { return path.Base(p) == "fs" })
)

// seedsOf makes each file of a tree a seed: a mutant is the tree with one file damaged.
func seedsOf(tree func() (*storeTree, error)) func() ([]seed, error) {
	return func() ([]seed, error) {
		t, err := tree()
		if err != nil {
			return nil, err
		}
		var seeds []seed
		for _, f := range t.files {
			if len(t.data[f]) > 0 {
				seeds = append(seeds, newSeed(f, t.data[f]))
			}
		}
		if len(seeds) == 0 {
			return nil, fmt.Errorf("%s has no files", t.root)
		}
		return seeds, nil
	}
}

var (
	dockerFiles     = seedsOf(dockerTree)
	containerdFiles = seedsOf(containerdTree)
	podmanFiles     = seedsOf(podmanTree)
	buildkitFiles   = seedsOf(buildkitTree)
)

// kubeletTree is what a kubelet and CNI leave of one pod.
func kubeletTree() (*storeTree, error) {
	const uid = "3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01"
	id := strings.Repeat("a", 64)
	t := &storeTree{root: "/", data: map[string][]byte{}}
	for p, content := range map[string]string{
		"/etc/systemd/system/kubelet.service.d/10.conf":                                "[Service]\nExecStart=/usr/bin/kubelet --root-dir=/data/kubelet\n",
		"/data/kubelet/pods/" + uid + "/etc-hosts":                                     "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n10.0.0.7\tweb-0\n",
		"/data/kubelet/pods/" + uid + "/containers/web/1f4f0312":                       "",
		"/data/kubelet/pods/" + uid + "/volumes/kubernetes.io~csi/pvc-1/vol_data.json": `{"driverName":"ebs.csi.aws.com","volumeHandle":"vol-1"}`,
		"/var/log/pods/prod_web-0_" + uid + "/web/0.log":                               "",
		"/var/lib/kubelet/config.yaml":                                                 "kind: KubeletConfiguration\nstaticPodPath: /srv/manifests\n",
		"/srv/manifests/a.yaml":                                                        "kind: Pod\nmetadata:\n  name: \"m\"\n  namespace: kube-system\nspec:\n  containers:\n  - name: c\n    image: docker.io/x/m:1\n",
		"/etc/kubernetes/manifests/j.json":                                             `{"kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"image":"i:1"}]}}`,
		"/var/lib/cni/networks/net/10.0.0.7":                                           id + "\r\neth0",
		"/var/lib/cni/results/net-" + id + "-eth0":                                     `{"containerId":"` + id + `","ifName":"eth0","networkName":"net","cniArgs":[["K8S_POD_NAMESPACE","prod"],["K8S_POD_NAME","web-0"]],"result":{"interfaces":[{"name":"eth0","mac":"m","sandbox":"/x"}],"ips":[{"address":"10.0.0.7/24","gateway":"10.0.0.1"}]}}`,
		"/etc/cni/net.d/10-net.conflist":                                               `{"name":"net","plugins":[{"type":"bridge","bridge":"cni0","ipam":{"ranges":[[{"subnet":"10.0.0.0/24","gateway":"10.0.0.1"}]]}},{"type":"portmap"}]}`,
	} {
		t.files = append(t.files, p)
		t.data[p] = []byte(content)
	}
	slices.Sort(t.files)
	return t, nil
}

var (
	podFiles        = sync.OnceValues(kubeletTree)
	kubernetesFiles = seedsOf(podFiles)
)

func readKubernetes(m *mutant, told func(error)) {
	t, err := podFiles()
	if err != nil {
		told(err)
		return
	}
	f := t.with(m)
	_, err = kubernetes.Read(f, f.Root())
	told(err)
}

// with returns the tree with the mutant in the place of the file that it was made of.
func (t *storeTree) with(m *mutant) evidence.FS {
	f := memfs.New()
	for _, d := range t.dirs {
		f.Dir(d)
	}
	for _, p := range t.files {
		data := t.data[p]
		if len(data) == len(m.base) && (len(data) == 0 || &data[0] == &m.base[0]) {
			data = m.bytes()
		}
		f.File(p, string(data))
	}
	return f
}

func readStore(tree func() (*storeTree, error), open func(evidence.FS, evidence.Ino, string) (runtimes.Store, error)) func(*mutant, func(error)) {
	return func(m *mutant, told func(error)) {
		t, err := tree()
		if err != nil {
			told(err)
			return
		}
		f := t.with(m)
		s, err := open(f, f.Root(), t.root)
		if err != nil {
			told(err)
			return
		}
		drain(s.Containers(), told)
		drain(s.Images(), told)
		drain(s.Snapshots(), told)
		if v, ok := s.(runtimes.VolumeStore); ok {
			drain(v.Volumes(), told)
		}
		if v, ok := s.(runtimes.NetworkStore); ok {
			drain(v.Networks(), told)
		}
		if v, ok := s.(runtimes.ContentStore); ok {
			drain(v.Contents(), told)
		}
		if v, ok := s.(runtimes.BuildStore); ok {
			drain(v.Builds(), told)
		}
		if r, ok := s.(runtimes.RemnantStore); ok {
			drain(r.Remnants(), told)
		}
	}
}

func openStore[S runtimes.Store](open func(evidence.FS, evidence.Ino, string) (S, error)) func(evidence.FS, evidence.Ino, string) (runtimes.Store, error) {
	return func(f evidence.FS, top evidence.Ino, root string) (runtimes.Store, error) { return open(f, top, root) }
}

var (
	readDocker     = readStore(dockerTree, openStore(docker.Open))
	readContainerd = readStore(containerdTree, openStore(containerd.Open))
	readPodman     = readStore(podmanTree, openStore(storage.Open))
	readBuildkit   = readStore(buildkitTree, openStore(buildkit.Open))
)
