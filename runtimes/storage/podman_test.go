package storage_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"lagan/fixtures"
	"lagan/runtimes"
	"lagan/runtimes/internal/treetest"
	"lagan/runtimes/storage"
)

// liveContainer is what podman inspect says of one.
type liveContainer struct {
	ID      string
	Inspect struct {
		Name   string
		State  struct{ Health json.RawMessage }
		Config struct {
			CreateCommand []string
			Secrets       []struct{ Name string }
		}
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress, MacAddress, Gateway string }
			Ports    map[string][]struct{ HostIP, HostPort string }
		}
	}
}

// live is what podman inspect, image inspect, network inspect, pod inspect and
// secret inspect said, beyond what all engines say.
type live struct {
	Containers []liveContainer
	Images     []struct {
		Inspect struct {
			ID           string `json:"Id"`
			NamesHistory []string
		}
	}
	Networks []struct {
		Name, ID, Driver string
		Interface        string `json:"network_interface"`
		Subnets          []struct{ Subnet, Gateway string }
	}
	Secrets []struct {
		ID        string
		CreatedAt time.Time
		Spec      struct {
			Name   string
			Driver struct{ Name string }
			Labels map[string]string
		}
	}
	Pods []struct {
		ID      string `json:"Id"`
		Name    string
		Created time.Time
		Labels  map[string]string
	}
}

// TestPodmanItself compares with Podman what no other engine keeps.
func TestPodmanItself(t *testing.T) {
	for name, root := range map[string]string{
		"podman-fuse": "/var/lib/containers/storage", "podman-vfs": "/var/lib/containers/storage", "podman-sql": "/var/lib/containers/storage",
		"podman-user": "/home/kim/.local/share/containers/storage",
	} {
		t.Run(name, func(t *testing.T) {
			fsys := treetest.Disk(t, name)
			s, err := storage.Open(fsys, fsys.Root(), root)
			if err != nil {
				t.Fatal(err)
			}
			var want live
			fixtures.Truth(t, name, &want)
			checkContainers(t, s, &want)
			checkObjects(t, s, &want)
		})
	}
}

func checkContainers(t *testing.T, s *storage.Store, want *live) {
	t.Helper()
	containers, said := treetest.Collect(s.Containers())
	if said != "" || len(containers) != len(want.Containers) {
		t.Errorf("%d containers, said %q", len(containers), said)
	}
	for _, c := range containers {
		i := slices.IndexFunc(want.Containers, func(w liveContainer) bool {
			return w.ID == c.ID
		})
		if i < 0 {
			t.Errorf("container %s is not among the truth's", c.ID)
			continue
		}
		w := want.Containers[i].Inspect
		treetest.Equal(t, w.Name+" was created by", c.CreateCommand, w.Config.CreateCommand)
		for _, sec := range w.Config.Secrets {
			if !slices.Contains(c.Secrets, sec.Name) {
				t.Errorf("%s: secret %s is not among %q", w.Name, sec.Name, c.Secrets)
			}
		}
		var ips []string
		for _, n := range w.NetworkSettings.Networks {
			if n.IPAddress != "" {
				ips = append(ips, n.IPAddress)
			}
		}
		treetest.Equal(t, w.Name+" addresses", strings.Join(c.IP, " "), strings.Join(ips, " "))
		var ports, wantPorts []string
		for _, p := range c.Ports {
			ports = append(ports, fmt.Sprintf("%d/%s %s %d", p.ContainerPort, p.Protocol, p.HostIP, p.HostPort))
		}
		for port, list := range w.NetworkSettings.Ports {
			for _, p := range list {
				wantPorts = append(wantPorts, port+" "+p.HostIP+" "+p.HostPort)
			}
		}
		slices.Sort(ports)
		slices.Sort(wantPorts)
		treetest.Equal(t, w.Name+" ports", ports, wantPorts)
	}
}

func checkObjects(t *testing.T, s *storage.Store, want *live) {
	t.Helper()
	images, said := treetest.Collect(s.Images())
	for _, w := range want.Images {
		i := slices.IndexFunc(images, func(i runtimes.Image) bool { return i.ID == "sha256:"+w.Inspect.ID })
		if i < 0 {
			t.Errorf("image %s is missing; %s", w.Inspect.ID, said)
			continue
		}
		treetest.Equal(t, "names that the image had", images[i].NamesHistory, w.Inspect.NamesHistory)
	}
	var got, wanted []string
	networks, said := treetest.Collect(s.Networks())
	for _, n := range networks {
		if n.File != "" {
			got = append(got, fmt.Sprint(n.Name, n.ID, n.Driver, n.Interface, n.Subnets))
		}
	}
	for _, n := range want.Networks {
		if n.Name == "podman" || strings.HasPrefix(n.Interface, "cni-") {
			continue // the default one has no file, and CNI's are read as Kubernetes' are
		}
		var subnets []runtimes.Subnet
		for _, sub := range n.Subnets {
			subnets = append(subnets, runtimes.Subnet{Subnet: sub.Subnet, Gateway: sub.Gateway})
		}
		wanted = append(wanted, fmt.Sprint(n.Name, n.ID, n.Driver, n.Interface, subnets))
	}
	treetest.Equal(t, "networks "+said, got, wanted)
	secrets, said := treetest.Collect(s.Secrets())
	got, wanted = nil, nil
	for _, x := range secrets {
		got = append(got, fmt.Sprint(x.ID, x.Name, x.Driver, x.Created, len(x.Labels), x.Labels["tier"], x.Problem))
	}
	for _, x := range want.Secrets {
		wanted = append(wanted, fmt.Sprint(x.ID, x.Spec.Name, x.Spec.Driver.Name, x.CreatedAt.UTC(), len(x.Spec.Labels), x.Spec.Labels["tier"]))
	}
	slices.Sort(got)
	slices.Sort(wanted)
	if want.Secrets != nil {
		treetest.Equal(t, "secrets "+said, got, wanted)
	} else if len(secrets) != 1 || secrets[0].Name != "token" || secrets[0].Problem != "" {
		t.Errorf("secrets %+v; %s", secrets, said)
	}
	pods, _ := treetest.Collect(s.Pods())
	for _, p := range want.Pods {
		if !slices.ContainsFunc(pods, func(got runtimes.PodRecord) bool {
			return got.ID == p.ID && got.Name == p.Name && got.Created.Equal(p.Created) && got.Labels["team"] == p.Labels["team"]
		}) {
			t.Errorf("pod %s is not among %+v", p.Name, pods)
		}
	}
}

// TestHealth puts what podman inspect says of health checks, which is Podman's
// own document of them, where Podman keeps it beside the state of a living container.
func TestHealth(t *testing.T) {
	tree := treetest.Load(t, treetest.Disk(t, "podman-fuse"), "/var/lib/containers")
	var want live
	fixtures.Truth(t, "podman-fuse", &want)
	checked := map[string]bool{}
	for _, w := range want.Containers {
		if raw := string(w.Inspect.State.Health); strings.Contains(raw, "ExitCode") {
			checked[w.ID] = true
			tree["run/containers/storage/overlay-containers/"+w.ID+"/healthcheck.log"] = &fstest.MapFile{Data: w.Inspect.State.Health}
		}
	}
	fsys := treetest.New(tree)
	s, err := storage.Open(fsys, fsys.Root(), "/var/lib/containers/storage")
	if err != nil {
		t.Fatal(err)
	}
	containers, said := treetest.Collect(s.Containers())
	met := 0
	for _, c := range containers {
		if !checked[c.ID] {
			continue
		}
		met++
		h := c.Health
		if h == nil || h.Status != "healthy" || h.Failing != 0 || len(h.Log) != 1 || h.Log[0].Output != "well" || h.Log[0].ExitCode != 0 || h.Log[0].End.Sub(h.Log[0].Start) <= 0 {
			t.Errorf("%s: %+v", c.Name, h)
		}
	}
	if met != 1 || said != "" {
		t.Errorf("%d containers with health checks; said %q", met, said)
	}
}

// TestSecretsDamaged has records without contents, and contents without records.
func TestSecretsDamaged(t *testing.T) {
	const root = "var/lib/containers/storage/"
	fsys := treetest.New(fstest.MapFS{
		root + "overlay-layers/layers.json":          {Data: []byte("[]")},
		root + "secrets/secrets.json":                {Data: []byte(`{"secrets":{"a1":{"name":"gone","id":"a1","driver":"file","driverOptions":{"path":"/var/lib/containers/storage/secrets/filedriver"}},"b2":{"name":"vault","driver":"pass"}}}`)},
		root + "secrets/filedriver/secretsdata.json": {Data: []byte(`{"c3":"eA=="}`)},
	})
	s, err := storage.Open(fsys, fsys.Root(), "/"+root[:len(root)-1])
	if err != nil {
		t.Fatal(err)
	}
	secrets, said := treetest.Collect(s.Secrets())
	var got []string
	for _, x := range secrets {
		got = append(got, x.ID+" "+x.Name+" "+x.Driver+" "+x.Problem)
	}
	if want := "a1 gone file recorded, but its content is gone; b2 vault pass ; c3  file content without a record"; strings.Join(got, "; ") != want || said != "" {
		t.Errorf("%s; said %q", strings.Join(got, "; "), said)
	}
}
