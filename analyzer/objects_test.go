package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"lagan/fixtures"
	"lagan/runtimes"
)

// same compares two lists of lines, in any order.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// TestVolumesAndNetworks compares with docker volume inspect, docker network
// inspect and podman volume inspect of the living systems.
func TestVolumesAndNetworks(t *testing.T) {
	for _, name := range []string{"docker-ext4", "podman-ext4"} {
		var truth struct {
			Volumes []struct {
				Inspect struct {
					Name, Driver, Mountpoint string
					Labels                   map[string]string
				}
			}
			Networks [][]struct {
				Name, ID, Driver, Created, Scope string
				Internal, Attachable             bool
				IPAM                             struct{ Config []struct{ Subnet string } }
				Containers                       map[string]struct{ Name, EndpointID, MacAddress, IPv4Address string }
			}
		}
		fixtures.Truth(t, name, &truth)
		n := openFixture(t, name, Options{NoScan: true})
		var got, want []string
		for _, v := range truth.Volumes {
			want = append(want, fmt.Sprint(v.Inspect.Name, v.Inspect.Driver, v.Inspect.Mountpoint, len(v.Inspect.Labels), v.Inspect.Labels["backup"]))
		}
		for _, v := range n.DataVolumes() {
			got = append(got, fmt.Sprint(v.Name, v.Driver, v.Mountpoint, len(v.Labels), v.Labels["backup"]))
		}
		same(t, name+" volumes", got, want)
		if name != "docker-ext4" {
			continue // Podman's one network has no file
		}
		got, want = nil, nil
		for _, list := range truth.Networks {
			for _, w := range list {
				want = append(want, fmt.Sprint(w.Name, w.ID, w.Driver, w.Created, w.Scope, w.Internal, w.Attachable))
				for _, s := range w.IPAM.Config {
					want = append(want, w.Name+" subnet "+s.Subnet)
				}
				for id, c := range w.Containers {
					want = append(want, fmt.Sprint(w.Name, id, c.Name, c.EndpointID, c.MacAddress, c.IPv4Address))
				}
			}
		}
		for _, g := range n.Networks() {
			got = append(got, fmt.Sprint(g.Name, g.ID, g.Driver, g.Created.Format("2006-01-02T15:04:05.999999999Z07:00"), g.Scope, g.Internal, g.Attachable))
			for _, s := range g.Subnets {
				got = append(got, g.Name+" subnet "+s.Subnet)
			}
			for _, e := range g.Endpoints {
				got = append(got, fmt.Sprint(g.Name, e.Container, e.Name, e.ID, e.MAC, strings.Join(e.Addresses, "")))
			}
		}
		same(t, name+" networks", got, want)
	}
}

// TestContainerdObjects compares with ctr content, leases, namespaces and tasks,
// and crictl pods, of the living system.
func TestContainerdObjects(t *testing.T) {
	var truth struct {
		Namespaces map[string]struct{ Content, Leases, Tasks string }
		CRI        struct {
			Pods struct {
				Items []struct {
					ID, State string
					Metadata  struct{ Name, UID, Namespace string }
				}
			}
			Inspectp map[string]struct {
				Status struct{ Network struct{ IP string } }
			}
		}
	}
	fixtures.Truth(t, "eks-xfs", &truth)
	n := openFixture(t, "eks-xfs", Options{NoScan: true})
	var got, want []string
	for name, ns := range truth.Namespaces {
		want = append(want, "namespace "+name)
		for what, table := range map[string]string{"content": ns.Content, "lease": ns.Leases} {
			for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
				if f := strings.Fields(line); i > 0 && len(f) > 0 {
					want = append(want, what+" "+name+" "+f[0])
				}
			}
		}
	}
	for _, ns := range n.Namespaces() {
		got = append(got, "namespace "+ns.Name)
		for _, l := range ns.Leases {
			got = append(got, "lease "+ns.Name+" "+l.ID)
		}
	}
	for _, c := range n.Contents() {
		if c.Namespace != "" && c.Kind == runtimes.ContentBlob {
			got = append(got, "content "+c.Namespace+" "+c.Digest)
		}
		if c.Namespace != "" && c.OnDisk != c.Size {
			t.Errorf("%s: %d bytes on the disk, %d recorded", c.Digest, c.OnDisk, c.Size)
		}
	}
	same(t, "containerd", got, want)

	got, want = nil, nil
	for _, ns := range truth.Namespaces {
		for i, line := range strings.Split(strings.TrimSpace(ns.Tasks), "\n") {
			if f := strings.Fields(line); i > 0 && len(f) > 0 {
				want = append(want, f[0])
			}
		}
	}
	for _, c := range n.Tasks() {
		got = append(got, c.ID)
	}
	same(t, "tasks", got, want)

	got, want = nil, nil
	for _, p := range truth.CRI.Pods.Items {
		ip := truth.CRI.Inspectp[p.ID].Status.Network.IP
		want = append(want, fmt.Sprint(p.ID, p.Metadata.Name, p.Metadata.UID, p.Metadata.Namespace, p.State == "SANDBOX_READY", ip))
	}
	for _, p := range n.Pods() {
		ip := ""
		if !p.HostNetwork && len(p.IP) > 0 { // crictl gives none for a pod in the node's network
			ip = p.IP[0]
		}
		got = append(got, fmt.Sprint(p.ID, p.Name, p.UID, p.Namespace, p.State == runtimes.StateRunning, ip))
	}
	same(t, "pods", got, want)
}
