package kubernetes

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/internal/node"
)

// resultJSON is libcni's cache of what a plugin answered: libcni/api.go, cachedInfo,
// and pkg/types/100/types.go, Result.
type resultJSON struct {
	Container string     `json:"containerId"`
	Interface string     `json:"ifName"`
	Network   string     `json:"networkName"`
	Args      [][]string `json:"cniArgs"`
	Result    struct {
		Interfaces []struct {
			Name    string `json:"name"`
			MAC     string `json:"mac"`
			Sandbox string `json:"sandbox"`
		} `json:"interfaces"`
		IPs []struct {
			Address   string `json:"address"`
			Gateway   string `json:"gateway"`
			Interface *int   `json:"interface"`
		} `json:"ips"`
	} `json:"result"`
}

// results reads CNI's cache: <network>-<container>-<interface>.
func (r *reader) results(dir string) {
	for _, name := range r.names(dir) {
		var doc resultJSON
		if r.document(path.Join(dir, name), &doc) == nil || doc.Container == "" {
			continue
		}
		out := Result{File: path.Join(dir, name), Network: doc.Network, Interface: doc.Interface, Container: doc.Container}
		for _, a := range doc.Args {
			if len(a) != 2 {
				continue
			}
			switch a[0] {
			case "K8S_POD_NAMESPACE":
				out.Namespace = a[1]
			case "K8S_POD_NAME":
				out.Pod = a[1]
			case "K8S_POD_UID":
				out.UID = a[1]
			}
		}
		for _, i := range doc.Result.Interfaces {
			if i.Sandbox != "" && i.Name == doc.Interface {
				out.MAC = i.MAC
			}
		}
		for _, ip := range doc.Result.IPs {
			out.IP = append(out.IP, ip.Address)
			if out.Gateway == "" {
				out.Gateway = ip.Gateway
			}
		}
		r.s.Results = append(r.s.Results, out)
	}
}

// leases reads what host-local gave out: networks/<network>/<address>, with the
// container's id and, on a line of its own, the interface.
func (r *reader) leases(dir string) {
	for _, network := range r.names(dir) {
		for _, name := range r.names(path.Join(dir, network)) {
			ip, err := netip.ParseAddr(strings.ReplaceAll(name, "_", ":")) // backend/disk/backend.go, GetEscapedPath
			if err != nil {
				continue // lock, last_reserved_ip.0
			}
			file := path.Join(dir, network, name)
			raw, err := node.Read(r.fsys, r.root, file)
			r.fail(err)
			f := strings.Fields(string(raw))
			if len(f) == 0 {
				continue
			}
			l := Lease{File: file, Network: network, Container: f[0], IP: ip.String()}
			if len(f) > 1 {
				l.Interface = f[1]
			}
			r.s.Leases = append(r.s.Leases, l)
		}
	}
}

// networks reads CNI's configurations: one plugin (.conf) or a list of them (.conflist),
// and below them nerdctl's, which has a folder for each namespace of containerd (pkg/netutil).
func (r *reader) networks(dir string) {
	type plugin struct {
		Type   string `json:"type"`
		Bridge string `json:"bridge"`
		IPAM   struct {
			Subnet  string `json:"subnet"`
			DataDir string `json:"dataDir"`
			Ranges  [][]struct {
				Subnet  string `json:"subnet"`
				Gateway string `json:"gateway"`
			} `json:"ranges"`
		} `json:"ipam"`
	}
	names := r.names(dir)
	for _, space := range names {
		for _, name := range r.names(path.Join(dir, space)) {
			if strings.HasPrefix(name, "nerdctl-") {
				names = append(names, space+"/"+name)
			}
		}
	}
	for _, name := range names {
		if !slices.Contains([]string{".conflist", ".conf", ".json"}, path.Ext(name)) {
			continue
		}
		var doc struct {
			Name    string            `json:"name"`
			ID      string            `json:"nerdctlID"`
			Labels  map[string]string `json:"nerdctlLabels"`
			Plugins []plugin          `json:"plugins"`
			plugin
		}
		file := path.Join(dir, name)
		if r.document(file, &doc) == nil || doc.Name == "" {
			continue
		}
		n := runtimes.Network{Runtime: CNI, ID: doc.ID, Name: doc.Name, Labels: doc.Labels, File: file}
		for i, p := range append([]plugin{doc.plugin}, doc.Plugins...) {
			if n.Driver == "" && i < 2 {
				n.Driver, n.Interface = p.Type, p.Bridge
			}
			if dir := p.IPAM.DataDir; strings.HasPrefix(dir, "/") && !slices.Contains(r.dataDirs, dir) {
				r.dataDirs = append(r.dataDirs, dir)
			}
			if p.IPAM.Subnet != "" {
				n.Subnets = append(n.Subnets, runtimes.Subnet{Subnet: p.IPAM.Subnet})
			}
			for _, set := range p.IPAM.Ranges {
				for _, s := range set {
					n.Subnets = append(n.Subnets, runtimes.Subnet{Subnet: s.Subnet, Gateway: s.Gateway})
				}
			}
		}
		r.s.Networks = append(r.s.Networks, n)
	}
}

// connect gives the networks their endpoints. One that only CNI's notes name is added.
func (r *reader) connect() {
	at := func(name string) *runtimes.Network {
		i := slices.IndexFunc(r.s.Networks, func(n runtimes.Network) bool { return n.Name == name })
		if i < 0 {
			r.s.Networks = append(r.s.Networks, runtimes.Network{Runtime: CNI, Name: name})
			i = len(r.s.Networks) - 1
		}
		return &r.s.Networks[i]
	}
	for _, res := range r.s.Results {
		n := at(res.Network)
		e := runtimes.Endpoint{Container: res.Container, Interface: res.Interface, MAC: res.MAC, Addresses: res.IP, Gateway: res.Gateway}
		if res.Pod != "" {
			e.Name = res.Namespace + "/" + res.Pod
		}
		n.Endpoints = append(n.Endpoints, e)
	}
	for _, l := range r.s.Leases {
		n := at(l.Network)
		if !slices.ContainsFunc(n.Endpoints, func(e runtimes.Endpoint) bool { return e.Container == l.Container }) {
			e := runtimes.Endpoint{Container: l.Container, Interface: l.Interface, Addresses: []string{l.IP}}
			if l.Pod != "" {
				e.Name = l.Namespace + "/" + l.Pod
			}
			n.Endpoints = append(n.Endpoints, e)
		}
	}
}
