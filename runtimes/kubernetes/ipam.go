package kubernetes

import (
	"encoding/json"
	"net/netip"
	"path"
	"strings"
)

// Where plugins note addresses beside host-local's leases. All of these lie below
// /run, which a disk doesn't have and a copy of a living node may.
var (
	// awsIPAM is what the VPC CNI plugin's daemon keeps: pkg/ipamd/datastore/checkpoint.go of amazon-vpc-cni-k8s.
	awsIPAM = []string{"/run/aws-node/ipam.json", "/var/run/aws-node/ipam.json"}
	// ciliumStates have a folder for each endpoint: pkg/endpoint/restore.go of cilium.
	ciliumStates = []string{"/run/cilium/state", "/var/run/cilium/state"}
)

// awsLeases reads the first of the files that is there.
func (r *reader) awsLeases(files []string) {
	for _, file := range files {
		var doc struct {
			Allocations []struct {
				Network   string `json:"networkName"`
				Container string `json:"containerID"`
				Interface string `json:"ifName"`
				IPv4      string `json:"ipv4"`
				IPv6      string `json:"ipv6"`
				Metadata  struct {
					Namespace string `json:"k8sPodNamespace"`
					Pod       string `json:"k8sPodName"`
				} `json:"metadata"`
			} `json:"allocations"`
		}
		if r.document(file, &doc) == nil {
			continue
		}
		for _, a := range doc.Allocations[:min(len(doc.Allocations), maxPods)] {
			for _, text := range []string{a.IPv4, a.IPv6} {
				if ip, err := netip.ParseAddr(text); err == nil {
					r.s.Leases = append(r.s.Leases, Lease{File: file, Network: a.Network, Container: a.Container, Interface: a.Interface, IP: ip.String(),
						Namespace: a.Metadata.Namespace, Pod: a.Metadata.Pod})
				}
			}
		}
		return
	}
}

// cilium reads what its agent keeps of endpoints: <number>/ep_config.json.
// Versions before 1.12 have the same in a comment of ep_config.h, which isn't read.
func (r *reader) cilium(dir string) {
	for _, name := range r.names(dir) {
		file := path.Join(dir, name, "ep_config.json")
		if strings.Trim(name, "0123456789") != "" {
			continue
		}
		var doc struct {
			Container string          `json:"ContainerID"`
			Interface string          `json:"ContainerIfName"`
			Pod       string          `json:"K8sPodName"`
			Namespace string          `json:"K8sNamespace"`
			IPv4      json.RawMessage `json:"IPv4"`
			IPv6      json.RawMessage `json:"IPv6"`
		}
		if r.document(file, &doc) == nil {
			continue
		}
		for _, raw := range []json.RawMessage{doc.IPv4, doc.IPv6} {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				continue // older forms have the bytes
			}
			if ip, err := netip.ParseAddr(text); err == nil && doc.Container != "" {
				r.s.Leases = append(r.s.Leases, Lease{File: file, Network: "cilium", Container: doc.Container, Interface: doc.Interface, IP: ip.String(), Namespace: doc.Namespace, Pod: doc.Pod})
			}
		}
	}
}
