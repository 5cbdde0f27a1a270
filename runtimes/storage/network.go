package storage

import (
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/oci"
)

// networksDir is where netavark's networks of root are described; a user's
// stand beside the store: containers/common libnetwork/netavark/config.go.
const (
	networksDir     = "/etc/containers/networks"
	userNetworksDir = "networks"
)

// maxNetworks bounds the files of one folder that are read.
const maxNetworks = 10_000

// networkJSON is containers/common libnetwork/types/network.go, Network.
type networkJSON struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Driver     string            `json:"driver"`
	Interface  string            `json:"network_interface"`
	Created    string            `json:"created"`
	Internal   bool              `json:"internal"`
	IPv6       bool              `json:"ipv6_enabled"`
	Labels     map[string]string `json:"labels"`
	Options    map[string]string `json:"options"`
	Subnets    []subnetJSON      `json:"subnets"`
	DNSEnabled bool              `json:"dns_enabled"`
}

type subnetJSON struct {
	Subnet  string `json:"subnet"`
	Gateway string `json:"gateway"`
	Lease   *struct {
		Start string `json:"start_ip"`
		End   string `json:"end_ip"`
	} `json:"lease_range"`
}

// Networks yields the networks that are described by files, and those that only
// a container's state names: Podman makes its default network without a file.
func (s *Store) Networks() iter.Seq2[runtimes.Network, error] {
	return func(yield func(runtimes.Network, error) bool) {
		s.once.Do(s.load)
		var failed []error
		networks := make(map[string]*runtimes.Network)
		dir := networksDir
		if s.userMark {
			dir = join(s.root, userNetworksDir)
		}
		names := node.Entries(s.fsys, s.node, dir)
		for _, name := range names[:min(len(names), maxNetworks)] {
			if !strings.HasSuffix(name, ".json") {
				continue
			}
			n, err := s.network(path.Join(dir, name))
			if err != nil {
				failed = append(failed, err)
			}
			if n != nil {
				networks[n.Name] = n
			}
		}
		s.connected(networks)
		for _, name := range sorted(networks) {
			if !yield(*networks[name], nil) {
				return
			}
		}
		if err := errors.Join(failed...); err != nil {
			yield(runtimes.Network{}, err)
		}
	}
}

func (s *Store) network(file string) (*runtimes.Network, error) {
	raw, err := evidence.ReadFile(s.fsys, s.node, file, maxConfig)
	if err != nil {
		return nil, err
	}
	var n networkJSON
	if err = oci.Decode(raw, &n); err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	if n.Name == "" {
		return nil, err
	}
	out := &runtimes.Network{Runtime: runtimes.Podman, StorePath: s.root, ID: n.ID, Name: n.Name, Driver: n.Driver, Scope: driverLocal,
		Interface: n.Interface, Created: oci.Time(n.Created), Internal: n.Internal, IPv6: n.IPv6, Labels: n.Labels, Options: n.Options, File: file}
	for _, sub := range n.Subnets {
		to := runtimes.Subnet{Subnet: sub.Subnet, Gateway: sub.Gateway}
		if sub.Lease != nil {
			to.Range = sub.Lease.Start + "-" + sub.Lease.End
		}
		out.Subnets = append(out.Subnets, to)
	}
	return out, err
}

// statusJSON is what netavark told of a container's connection: StatusBlock, libnetwork/types/network.go.
type statusJSON struct {
	Interfaces map[string]struct {
		MAC     string `json:"mac_address"`
		Subnets []struct {
			IPNet   string `json:"ipnet"`
			Gateway string `json:"gateway"`
		} `json:"subnets"`
	} `json:"interfaces"`
}

// connected adds the containers' places to the networks.
func (s *Store) connected(networks map[string]*runtimes.Network) {
	if s.libpod == nil {
		return
	}
	for _, id := range s.libpod.order {
		docs := s.libpod.containers[id]
		var cfg containerConfig
		var st containerState
		var status map[string]statusJSON
		_ = oci.Decode(docs.config, &cfg) // Containers tells what is wrong with them
		_ = oci.Decode(docs.state, &st)
		if len(st.Network) == 0 || oci.Decode(st.Network, &status) != nil {
			continue
		}
		for _, name := range sorted(status) {
			n := networks[name]
			if n == nil {
				n = &runtimes.Network{Runtime: runtimes.Podman, StorePath: s.root, Name: name}
				networks[name] = n
			}
			for _, dev := range sorted(status[name].Interfaces) {
				i := status[name].Interfaces[dev]
				e := runtimes.Endpoint{Name: cfg.Name, Container: id, Interface: dev, MAC: i.MAC, Ports: podmanPorts(cfg.Ports)}
				for _, sub := range i.Subnets {
					e.Addresses = append(e.Addresses, sub.IPNet)
					e.Gateway = firstOf(e.Gateway, sub.Gateway)
				}
				n.Endpoints = append(n.Endpoints, e)
			}
			slices.SortFunc(n.Endpoints, func(a, b runtimes.Endpoint) int { return strings.Compare(a.Container, b.Container) })
		}
	}
}
