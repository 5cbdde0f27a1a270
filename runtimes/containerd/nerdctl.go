package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

// What nerdctl keeps beside containerd: docs/dir.md and pkg/labels of nerdctl.
//
//	<data root>/<hash of the socket's address>/
//	  containers/<namespace>/<id>/{log-config,lifecycle,network-config}.json, <id>-json.log
//	  etchosts/<namespace>/<id>/meta.json      networks and addresses
//	  volumes/<namespace>/<name>/{_data,volume.json}
const (
	nerdctlRoot     = "/var/lib/nerdctl"
	nerdctlUserRoot = "/.local/share/nerdctl"

	labelNerdctlStateDir = "nerdctl/state-dir"
	labelNerdctlLog      = "nerdctl/log-config" // since 2.0 a label, before a file
	labelNerdctlHostname = "nerdctl/hostname"

	maxNerdctlFile = 1 << 20
)

// nerdctl takes what nerdctl noted of a container.
func (s *Store) nerdctl(c *runtimes.Container, r *record) {
	dir := c.Labels[labelNerdctlStateDir]
	if dir == "" {
		return
	}
	if c.Hostname == "" {
		c.Hostname = c.Labels[labelNerdctlHostname]
	}
	for i := range c.Mounts {
		m := &c.Mounts[i]
		name, ok := strings.CutSuffix(m.Source, "/_data")
		if at := strings.LastIndex(name, "/volumes/"+c.Namespace+"/"); ok && at >= 0 {
			m.Type, m.Name = "volume", name[at+len("/volumes/"+c.Namespace+"/"):]
		}
	}
	var life struct {
		StartedAt string `json:"started_at"`
	}
	r.failUnlessMissing(s.kept(join(dir, "lifecycle.json"), &life))
	c.Started = oci.Time(life.StartedAt)
	s.nerdctlNetwork(c, r, dir)
	var log struct {
		Driver string `json:"driver"`
	}
	if err := oci.Decode([]byte(c.Labels[labelNerdctlLog]), &log); err != nil || log.Driver == "" {
		r.failUnlessMissing(s.kept(join(dir, "log-config.json"), &log))
	}
	if c.LogDriver = log.Driver; log.Driver == "json-file" {
		c.LogPath = join(dir, c.ID+"-json.log")
	}
}

// nerdctlNetwork takes a container's published ports and its addresses.
func (s *Store) nerdctlNetwork(c *runtimes.Container, r *record, dir string) {
	if len(c.Ports) == 0 {
		var network struct {
			PortMappings []nerdctlPort `json:"portMappings"`
		}
		r.failUnlessMissing(s.kept(join(dir, "network-config.json"), &network))
		for _, p := range network.PortMappings {
			c.Ports = append(c.Ports, p.port())
		}
	}
	root, ok := strings.CutSuffix(path.Clean(dir), "/containers/"+c.Namespace+"/"+c.ID)
	if !ok {
		return
	}
	var hosts struct {
		Networks map[string]struct {
			IPs []struct {
				Address string `json:"address"`
			} `json:"ips"`
		}
	}
	r.failUnlessMissing(s.kept(join(root, "etchosts/"+c.Namespace+"/"+c.ID+"/meta.json"), &hosts))
	var addresses []string
	for _, n := range hosts.Networks {
		for _, ip := range n.IPs {
			address, _, _ := strings.Cut(ip.Address, "/")
			addresses = append(addresses, address)
		}
	}
	if slices.Sort(addresses); len(c.IP) == 0 {
		c.IP = addresses
	}
}

// kept decodes a JSON file of nerdctl's.
func (s *Store) kept(name string, v any) error {
	raw, err := evidence.ReadFile(s.fsys, s.node, name, maxNerdctlFile)
	if err != nil {
		return err
	}
	if err := oci.Decode(raw, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (r *record) failUnlessMissing(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.fail(err)
	}
}

// nerdctlRoots returns nerdctl's folders of this containerd: those that its
// containers name, and those of the data root that goes with its own.
func (s *Store) nerdctlRoots() []string {
	var out []string
	above := ""
	if s.root == usualRoots[0] {
		above = nerdctlRoot
	} else if home, ok := strings.CutSuffix(s.root, userRoot); ok {
		above = home + nerdctlUserRoot
	}
	if above != "" {
		for _, hash := range node.Entries(s.fsys, s.node, above) {
			out = append(out, join(above, hash))
		}
	}
	for _, ns := range s.namespaces {
		for kv, err := range each(ns.bucket, bucketContainers) {
			if err != nil {
				continue // Containers says so
			}
			b, err := kv.Bucket()
			if err != nil {
				continue
			}
			dir := readRecord(b).texts(bucketLabels)[labelNerdctlStateDir]
			if root, ok := strings.CutSuffix(path.Clean(dir), "/containers/"+ns.name+"/"+string(kv.Key)); ok && !slices.Contains(out, root) {
				out = append(out, root)
			}
		}
	}
	return out
}

// Volumes yields the volumes that nerdctl made, by namespace and name.
func (s *Store) Volumes() iter.Seq2[runtimes.Volume, error] {
	return func(yield func(runtimes.Volume, error) bool) {
		s.once.Do(s.load)
		for _, root := range s.nerdctlRoots() {
			for _, space := range node.Entries(s.fsys, s.node, join(root, "volumes")) {
				for _, name := range node.Entries(s.fsys, s.node, join(root, "volumes/"+space)) {
					v, err := s.nerdctlVolume(join(root, "volumes/"+space+"/"+name), name)
					if v.Name != "" && !yield(v, nil) || err != nil && !yield(runtimes.Volume{}, err) {
						return
					}
				}
			}
		}
	}
}

func (s *Store) nerdctlVolume(dir, name string) (runtimes.Volume, error) {
	ino, err := evidence.Resolve(s.fsys, s.node, dir, true)
	if err != nil {
		return runtimes.Volume{}, err
	}
	info, err := s.fsys.Stat(ino)
	if err != nil || info.Type != evidence.TypeDir {
		return runtimes.Volume{}, err
	}
	v := runtimes.Volume{Runtime: s.layout.Runtime, StorePath: s.root, Name: name, Driver: "local", Mountpoint: join(dir, "_data"),
		Created: info.Btime, Anonymous: oci.IsHex64(name)}
	var doc struct {
		Labels map[string]string `json:"labels"`
	}
	if err = s.kept(join(dir, "volume.json"), &doc); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	v.Labels = doc.Labels
	if _, missing := evidence.Resolve(s.fsys, s.node, v.Mountpoint, true); errors.Is(missing, fs.ErrNotExist) {
		v.Problem = "its folder _data is gone"
	}
	return v, err
}
