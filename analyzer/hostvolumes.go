package analyzer

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/kubernetes"
)

// Drivers of what pods mount that is below no folder of the kubelet's.
const (
	driverHostPath = "host-path"
	// driverImage is a volume that the image declares: the runtime makes a folder
	// for it (containerd's internal/cri/server/container_create.go).
	driverImage = "image-volume"
)

// HostVolumes returns the folders and files of the node that pods' containers
// have mounted, and the volumes that their images declare, by pod and source.
func (n *Node) HostVolumes() []*DataVolume {
	var out []*DataVolume
	for _, p := range n.Pods() {
		out = append(out, p.HostVolumes()...)
	}
	return out
}

// HostVolumes returns those of one pod.
func (p *Pod) HostVolumes() []*DataVolume {
	by := make(map[string]*DataVolume)
	for _, c := range p.Containers {
		for _, m := range c.Mounts {
			driver := hostDriver(c, m)
			if driver == "" {
				continue
			}
			v := by[m.Source]
			if v == nil {
				v = &DataVolume{store: c.store, Volume: runtimes.Volume{Runtime: c.Runtime, StorePath: c.StorePath, Name: m.Source, Driver: driver,
					Mountpoint: m.Source, Pod: runtimes.Pod{Name: p.Name, Namespace: p.Namespace, UID: p.UID}}}
				if driver == driverImage {
					v.Name = m.Destination
				}
				by[m.Source] = v
			}
			if !slices.Contains(v.Containers, c.ID) {
				v.Containers = append(v.Containers, c.ID)
			}
		}
	}
	var out []*DataVolume
	for _, v := range by {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b *DataVolume) int { return cmp.Compare(a.Mountpoint, b.Mountpoint) })
	return out
}

// hostDriver says what kind of volume a mount is, "" for what the kubelet and
// the runtime mount themselves and for volumes below the kubelet's folder.
func hostDriver(c *Container, m runtimes.Mount) string {
	switch {
	case m.Type != "bind" && m.Type != "" || !strings.HasPrefix(m.Source, "/"):
		return ""
	case strings.Contains(m.Source, "/io.containerd.grpc.v1.cri/containers/"+c.ID+"/volumes/"):
		return driverImage
	case c.Pod.UID != "" && strings.Contains(m.Source, "/pods/"+c.Pod.UID+"/"):
		return ""
	}
	for _, own := range []string{c.StorePath, "/run/containerd", "/run/containers", "/run/crio", "/var/run/containers", "/run/k3s/containerd", "/run/netns"} {
		if strings.HasPrefix(m.Source, strings.TrimSuffix(own, "/")+"/") {
			return ""
		}
	}
	return driverHostPath
}

// subPathOf returns the folder of the volume that a subPath is of: the kubelet
// mounts that at pods/UID/volume-subpaths/VOLUME/CONTAINER/N (pkg/volume/util/subpath).
func subPathOf(source string) (pod, volume string, ok bool) {
	pod, rest, ok := strings.Cut(source, "/volume-subpaths/")
	volume, _, _ = strings.Cut(rest, "/")
	return pod, volume, ok
}

// mountersOf finds the containers that mount a volume, whole or a part of it.
type mountersOf map[string][]*Container

func (n *Node) mounters() mountersOf {
	at := make(mountersOf)
	for _, c := range n.Containers() {
		for _, m := range c.Mounts {
			if m.Source == "" {
				continue
			}
			key := m.Source
			if pod, volume, ok := subPathOf(m.Source); ok {
				key = path.Base(pod) + "\x00" + volume
			}
			at[key] = append(at[key], c)
		}
	}
	return at
}

func (m mountersOf) of(v *DataVolume) []*Container {
	out := m[v.Mountpoint]
	if v.Runtime == kubernetes.Kubelet {
		out = append(out[:len(out):len(out)], m[v.Pod.UID+"\x00"+v.Name]...)
	}
	return out
}
