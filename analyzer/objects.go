package analyzer

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"lagan/evidence"
	"lagan/evidence/volume/thin"
	"lagan/runtimes"
	"lagan/runtimes/kubernetes"
)

// objects is what a node has beside containers and images, each read when it is
// asked for.
type objects struct {
	kubelet    sync.Once
	systemOnce sync.Once
	system     System
	state      *kubernetes.State
	podsOnce   sync.Once
	pods       []*Pod
	styled     map[styledTree]evidence.FS
	opened     map[layerKey]openedImage
	thin       map[layerKey]*thin.Pool // in files, by that of the metadata
	numbered   map[evidence.FS]uint64
}

// DataVolume is a volume of a runtime or a pod with the containers that mount it.
type DataVolume struct {
	runtimes.Volume
	Containers        []string // ids
	Removed           bool
	RemovedContainers []string // ids; see WithRemoved
	store             Store
}

// Network is a network of a runtime or of CNI.
type Network struct {
	runtimes.Network
}

// Snapshot is a snapshot with the container or image that it belongs to.
type Snapshot struct {
	runtimes.Snapshot
	Container *Container // whose writable snapshot it is; nil: none's
	Leases    []string
	store     Store
}

// kubernetes returns what the kubelet and CNI left on the node.
func (n *Node) kubernetes() *kubernetes.State {
	n.objects.kubelet.Do(func() {
		n.objects.state = &kubernetes.State{}
		if n.Tree == nil {
			return
		}
		n.guard(0, "kubelet", func() error {
			s, err := kubernetes.Read(n.Tree, n.Tree.Root(), n.nestedVars()...)
			if s != nil {
				n.objects.state = s
			}
			return err
		})
	})
	return n.objects.state
}

// collect gathers what the stores that can list it yield; the errors become gaps.
func collect[S, T any](n *Node, list func(S) iter.Seq2[T, error], add func(Store, T)) {
	for _, s := range n.Stores {
		keeper, ok := s.Store.(S)
		if !ok {
			continue
		}
		object := fmt.Sprintf("%s store %s", s.Runtime(), s.Path())
		n.guard(s.Volume, object, func() error {
			for v, err := range list(keeper) {
				if err != nil {
					n.gap(s.Volume, object, err)
					continue
				}
				add(s, v)
			}
			return nil
		})
	}
}

// Namespaces returns every namespace of every containerd, by store and name.
func (n *Node) Namespaces() []runtimes.Namespace {
	var out []runtimes.Namespace
	collect(n, runtimes.NamespaceStore.Namespaces, func(_ Store, ns runtimes.Namespace) { out = append(out, ns) })
	slices.SortStableFunc(out, func(a, b runtimes.Namespace) int {
		return cmp.Or(strings.Compare(a.StorePath, b.StorePath), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Contents returns every blob of every content store, by store, namespace and digest.
func (n *Node) Contents() []runtimes.Content {
	var out []runtimes.Content
	collect(n, runtimes.ContentStore.Contents, func(_ Store, c runtimes.Content) { out = append(out, c) })
	slices.SortStableFunc(out, func(a, b runtimes.Content) int {
		return cmp.Or(strings.Compare(a.StorePath, b.StorePath), strings.Compare(a.Namespace, b.Namespace),
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Digest, b.Digest), strings.Compare(a.Ref, b.Ref))
	})
	return out
}

// Snapshots returns every snapshot of every snapshotter and storage driver, by
// store, snapshotter, namespace and name. sizes measures those whose size no
// record has, by walking their folders.
func (n *Node) Snapshots(sizes bool) []*Snapshot {
	var out []*Snapshot
	owners := make(map[string]*Container)
	for _, c := range n.Containers() {
		if c.Snapshot != "" {
			owners[strings.Join([]string{string(c.store.Runtime()), c.StorePath, c.Namespace, c.Snapshotter, c.Snapshot}, "\x00")] = c
		}
	}
	leases := make(map[string][]string)
	for _, ns := range n.Namespaces() {
		for _, l := range ns.Leases {
			for _, key := range l.Snapshots {
				k := strings.Join([]string{ns.StorePath, ns.Name, key}, "\x00")
				leases[k] = append(leases[k], l.ID)
			}
		}
	}
	collect(n, runtimes.Store.Snapshots, func(s Store, v runtimes.Snapshot) {
		sn := &Snapshot{Snapshot: v, store: s, Leases: leases[strings.Join([]string{v.StorePath, v.Namespace, v.Snapshotter + "/" + v.Key}, "\x00")]}
		sn.Container = owners[strings.Join([]string{string(s.Runtime()), v.StorePath, v.Namespace, v.Snapshotter, v.Key}, "\x00")]
		if sizes && sn.Size < 0 && sn.Dir != "" {
			n.measure(sn)
		}
		out = append(out, sn)
	})
	slices.SortStableFunc(out, func(a, b *Snapshot) int {
		return cmp.Or(strings.Compare(string(a.Runtime), string(b.Runtime)), strings.Compare(a.StorePath, b.StorePath),
			strings.Compare(a.Snapshotter, b.Snapshotter), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Key, b.Key), strings.Compare(a.Name, b.Name))
	})
	return out
}

// measure sums the sizes of the files in a snapshot's folder, each inode once.
func (n *Node) measure(s *Snapshot) {
	root, err := n.layerRoot(s.store, s.Dir)
	if err != nil {
		return // a layer that isn't there is a gap of what needs it
	}
	object := "snapshot " + s.Key
	var size, inodes int64
	met := make(map[uint64]bool)
	n.guard(s.store.Volume, object, func() error {
		return evidence.Walk(s.store.Tree, root, func(_ string, _ evidence.Entry, info evidence.Info, err error) error {
			switch {
			case err != nil:
				n.gap(s.store.Volume, object, err)
			case met[info.Inode]:
			default:
				if info.Nlink > 1 && info.Type != evidence.TypeDir {
					met[info.Inode] = true
				}
				inodes++
				if info.Type == evidence.TypeFile {
					size += info.Size
				}
			}
			return nil
		})
	})
	s.Size, s.Inodes = size, inodes
}

// DataVolumes returns every volume of every runtime and of the node's pods.
func (n *Node) DataVolumes() []*DataVolume {
	var out []*DataVolume
	collect(n, runtimes.VolumeStore.Volumes, func(s Store, v runtimes.Volume) { out = append(out, &DataVolume{Volume: v, store: s}) })
	names := make(map[string]*Pod)
	for _, p := range n.Pods() {
		names[p.UID] = p
	}
	for _, p := range n.kubernetes().Pods {
		for _, v := range p.Volumes {
			if known := names[p.UID]; known != nil {
				v.Pod.Name, v.Pod.Namespace = known.Name, known.Namespace
			}
			out = append(out, &DataVolume{Volume: v, store: Store{Tree: n.Tree}})
		}
	}
	at := n.mounters()
	for _, v := range out {
		for _, c := range at.of(v) {
			if c.store.Volume == v.store.Volume && !slices.Contains(v.Containers, c.ID) {
				v.Containers = append(v.Containers, c.ID)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *DataVolume) int {
		return cmp.Or(strings.Compare(string(a.Runtime), string(b.Runtime)), strings.Compare(a.StorePath, b.StorePath),
			strings.Compare(a.Pod.UID, b.Pod.UID), strings.Compare(a.Driver, b.Driver), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Networks returns every network of every runtime and of CNI, with the
// containers that are connected.
func (n *Node) Networks() []*Network {
	var out []*Network
	collect(n, runtimes.NetworkStore.Networks, func(_ Store, v runtimes.Network) { out = append(out, &Network{v}) })
	for _, v := range n.kubernetes().Networks {
		out = append(out, &Network{v})
	}
	names := make(map[string]string)
	for _, c := range n.Containers() {
		names[c.ID] = c.DisplayName()
	}
	for _, v := range out {
		for i := range v.Endpoints {
			e := &v.Endpoints[i]
			if at := strings.LastIndexByte(e.Container, '-'); names[e.Container] == "" && names[e.Container[at+1:]] != "" {
				e.Container = e.Container[at+1:] // nerdctl's: NAMESPACE-ID
			}
			if e.Name == "" {
				e.Name = names[e.Container]
			}
		}
		slices.SortStableFunc(v.Endpoints, func(a, b runtimes.Endpoint) int {
			return cmp.Or(strings.Compare(a.Container, b.Container), strings.Compare(a.Interface, b.Interface), strings.Compare(a.ID, b.ID))
		})
	}
	slices.SortStableFunc(out, func(a, b *Network) int {
		return cmp.Or(strings.Compare(string(a.Runtime), string(b.Runtime)), strings.Compare(a.StorePath, b.StorePath), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Tasks returns the containers that the disk says had a process, or may have
// had one, when the copy was taken.
func (n *Node) Tasks() []*Container {
	var out []*Container
	for _, c := range n.Containers() {
		switch {
		case c.State == runtimes.StateRunning, c.State == runtimes.StatePaused, c.PID != 0,
			c.State == runtimes.StateUnknown && c.Runtime == runtimes.Containerd && c.Reason != "":
			out = append(out, c)
		}
	}
	return out
}

// errNoPod says that no pod answers to a name.
var errNoPod = errors.New("no such pod")

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
