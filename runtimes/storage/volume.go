package storage

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

const (
	volumesDir  = "volumes"
	volumeData  = "_data"
	driverLocal = "local"
)

// maxPortRange bounds the ports that one mapping stands for: there are no more.
const maxPortRange = 65535

func podmanPorts(mappings []portMapping) []runtimes.Port {
	var out []runtimes.Port
	for _, m := range mappings {
		for _, protocol := range strings.Split(m.Protocol, ",") {
			for i := range min(max(m.Range, 1), maxPortRange) {
				out = append(out, runtimes.Port{HostIP: m.HostIP, HostPort: m.HostPort + i, ContainerPort: m.ContainerPort + i, Protocol: protocol})
			}
			if len(out) > maxPortRange {
				return out
			}
		}
	}
	return out
}

// crioPorts reads CRI-O's annotation of a sandbox: internal/hostport/hostport.go, PortMapping.
func crioPorts(text string) []runtimes.Port {
	var mappings []struct {
		HostPort      int    `json:"HostPort"`
		ContainerPort int    `json:"ContainerPort"`
		Protocol      string `json:"Protocol"`
		HostIP        string `json:"HostIP"`
	}
	if text == "" || oci.Decode([]byte(text), &mappings) != nil {
		return nil
	}
	var out []runtimes.Port
	for _, m := range mappings {
		out = append(out, runtimes.Port{HostIP: m.HostIP, HostPort: m.HostPort, ContainerPort: m.ContainerPort, Protocol: strings.ToLower(m.Protocol)})
	}
	return out
}

// Volumes yields the volumes that Podman's database names and those that have a
// folder, by name.
func (s *Store) Volumes() iter.Seq2[runtimes.Volume, error] {
	return func(yield func(runtimes.Volume, error) bool) {
		s.once.Do(s.load)
		var known map[string]documents
		if s.libpod != nil {
			known = s.libpod.volumes
		}
		folders := make(map[string]bool)
		names := sorted(known)
		for _, name := range node.Entries(s.fsys, s.node, join(s.root, volumesDir)) {
			if !s.exists(join(s.root, volumesDir+"/"+name+"/"+volumeData)) {
				continue // backingFsBlockDev, and what isn't a volume's
			}
			folders[name] = true
			if _, ok := known[name]; !ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			docs, recorded := known[name]
			v, err := s.volume(name, docs.config, recorded, folders[name])
			if !recorded && s.libpod != nil {
				v.Problem = "a folder without a record in Podman's database"
			}
			if !yield(v, nil) || err != nil && !yield(runtimes.Volume{}, fmt.Errorf("%s: volume %q: %w", s.root, name, err)) {
				return
			}
		}
	}
}

func (s *Store) volume(name string, config []byte, recorded, there bool) (runtimes.Volume, error) {
	v := runtimes.Volume{Runtime: runtimes.Podman, StorePath: s.root, Name: name, Driver: driverLocal, Anonymous: oci.IsHex64(name)}
	var err error
	if recorded {
		var cfg volumeConfig
		err = oci.Decode(config, &cfg)
		v.Labels, v.Options, v.Created = cfg.Labels, cfg.Options, oci.Time(cfg.Created)
		v.Mountpoint, v.Anonymous = cfg.MountPoint, cfg.Anonymous
		v.Driver = firstOf(cfg.Driver, driverLocal)
	}
	if v.Driver != driverLocal {
		return v, err
	}
	at := join(s.root, volumesDir+"/"+name)
	if there {
		v.Mountpoint = join(at, volumeData)
	} else if v.Mountpoint == "" || !s.exists(v.Mountpoint) {
		v.Problem = "recorded, but its folder is gone"
	}
	if v.Created.IsZero() {
		if ino, err := evidence.Resolve(s.fsys, s.node, at, true); err == nil {
			if info, err := s.fsys.Stat(ino); err == nil {
				v.Created = info.Btime
			}
		}
	}
	return v, err
}

// Pods yields the pods that Podman's database names, by id.
func (s *Store) Pods() iter.Seq2[runtimes.PodRecord, error] {
	return func(yield func(runtimes.PodRecord, error) bool) {
		s.once.Do(s.load)
		if s.libpod == nil {
			return
		}
		for _, id := range sorted(s.libpod.pods) {
			var cfg podConfig
			err := oci.Decode(s.libpod.pods[id].config, &cfg)
			p := runtimes.PodRecord{Runtime: runtimes.Podman, StorePath: s.root, ID: id, Name: cfg.Name, Created: oci.Time(cfg.Created), Labels: cfg.Labels}
			if !yield(p, nil) || err != nil && !yield(runtimes.PodRecord{}, fmt.Errorf("%s: pod %s: %w", s.root, id, err)) {
				return
			}
		}
	}
}
