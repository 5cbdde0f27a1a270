package analyzer

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/internal/text"
	"lagan/runtimes"
)

// Small disks, one a storage driver, each written by the real programs:
// scripts/nodes. Their containers do every kind of change to an image of three layers.

// imageViews are the views of images in a truth, by "SNAPSHOTTER PARENT".
type imageViews struct {
	Views map[string]struct {
		Images    map[string][]truthFile `json:"image_views"`
		Snapshots map[string][]struct{ Key, Parent string }
	} `json:"namespaces"`
}

func TestContainerdDrivers(t *testing.T) {
	for _, name := range []string{"native", "btrfs", "blockfile", "erofs"} {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, "containerd-"+name, Options{})
			var tr truth
			fixtures.Truth(t, "containerd-"+name, &tr)
			var views imageViews
			fixtures.Truth(t, "containerd-"+name, &views)
			checkNamespaces(t, n, tr)
			compared := 0
			for space, v := range tr.Namespaces {
				for _, w := range v.Containers {
					compareTree(t, n, w.ID, w.Merged)
					base := views.base(t, space, w.Info)
					compareChanges(t, n, w.ID, base, w.Merged)
					compared++
				}
			}
			if compared < 3 {
				t.Errorf("%d containers compared", compared)
			}
			noGaps(t, n)
		})
	}
}

// base returns the image's view that a container began with.
func (tr *imageViews) base(t *testing.T, space string, raw json.RawMessage) []truthFile {
	t.Helper()
	var info struct{ Snapshotter, SnapshotKey string }
	if err := json.Unmarshal(raw, &info); err != nil {
		t.Fatal(err)
	}
	for _, s := range tr.Views[space].Snapshots[info.Snapshotter] {
		if s.Key == info.SnapshotKey {
			if v := tr.Views[space].Images[info.Snapshotter+" "+s.Parent]; len(v) > 0 {
				return v
			}
		}
	}
	t.Fatalf("the truth has no image of %s", info.SnapshotKey)
	return nil
}

// compareChanges compares a container's changes with what differs between two
// captured trees; directories, which a change below or a mere rewriting names too, only by what must be named.
func compareChanges(t *testing.T, n *Node, id string, base, merged []truthFile) {
	t.Helper()
	was, is := byPath(base), byPath(merged)
	want := make(map[string]string)
	for path, f := range is {
		old, both := was[path]
		f.Mtime, old.Mtime = 0, 0
		switch {
		case !both:
			want[path] = "A"
		case f.line() != old.line():
			want[path] = "C"
		}
	}
	for path := range was {
		above := path[:strings.LastIndexByte(path, '/')]
		if above == "" {
			above = "/"
		}
		if _, ok := is[path]; !ok && is[above].Type == "d" {
			want[path] = "D"
		}
	}
	c, err := n.FindContainer(id)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	err = n.Changes(context.Background(), c, ChangeOptions{}, func(ch Change) error {
		path, _ := text.ForJSON(ch.Path)
		if _, named := want[path]; named || is[path].Type != "d" {
			got[path] = ch.Kind.Letter()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("changes of %s:\n got  %v\n want %v", id, got, want)
	}
}

func byPath(files []truthFile) map[string]truthFile {
	out := make(map[string]truthFile, len(files))
	for _, f := range files {
		out[f.Path] = f
	}
	return out
}

func TestEngineDrivers(t *testing.T) {
	for name, runtime := range map[string]runtimes.Name{
		"docker-vfs": runtimes.Docker, "docker-btrfs": runtimes.Docker, "docker-fuse": runtimes.Docker, "docker-c8d": runtimes.Docker,
		"docker-remap": runtimes.Docker, "docker-swarm": runtimes.Docker, "podman-sql": runtimes.Podman,
		"podman-vfs": runtimes.Podman, "podman-btrfs": runtimes.Podman, "podman-fuse": runtimes.Podman, "podman-chunked": runtimes.Podman, "podman-chunked5": runtimes.Podman,
	} {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, name, Options{})
			var tr truth
			fixtures.Truth(t, name, &tr)
			if strings.HasSuffix(name, "-fuse") {
				hiddenByFolder(&tr)
			}
			checkEngine(t, n, tr, runtime)
			checkVolumes(t, n, name, runtime)
			if len(tr.Containers) < 5 {
				t.Errorf("%d containers compared", len(tr.Containers))
			}
			for _, i := range n.Images() {
				if strings.HasPrefix(i.DisplayName(), "web:1") && len(i.Containers) < 3 {
					t.Errorf("image %s has containers %v", i.DisplayName(), i.Containers)
				}
			}
			noGaps(t, n)
		})
	}
}

// hiddenByFolder adds what dockerd and Podman don't say with fuse-overlayfs: what lay in a
// folder that the container replaced by one of its own is gone.
func hiddenByFolder(tr *truth) {
	for i := range tr.Containers {
		if c := &tr.Containers[i]; strings.TrimPrefix(c.Inspect.Name, "/") == "busy" && !slices.Contains(c.Diff, "D /opt/x/3") {
			c.Diff = append(c.Diff, "D /opt/x/3")
		}
	}
}

// checkVolumes compares volumes, and what is in them, with the truth.
func checkVolumes(t *testing.T, n *Node, name string, runtime runtimes.Name) {
	t.Helper()
	var tr struct {
		Volumes []struct {
			Inspect struct {
				Name, Driver, Mountpoint string
				Labels                   map[string]string
			} `json:"inspect"`
		} `json:"volumes"`
	}
	fixtures.Truth(t, name, &tr)
	var got []*DataVolume
	for _, v := range n.DataVolumes() {
		if v.Runtime == runtime {
			got = append(got, v)
		}
	}
	if len(got) != len(tr.Volumes) || len(got) == 0 {
		t.Fatalf("%d volumes, want %d", len(got), len(tr.Volumes))
	}
	for _, w := range tr.Volumes {
		i := slices.IndexFunc(got, func(v *DataVolume) bool { return v.Name == w.Inspect.Name })
		if i < 0 {
			t.Errorf("no volume %s", w.Inspect.Name)
			continue
		}
		v := got[i]
		if v.Driver != w.Inspect.Driver || v.Mountpoint != w.Inspect.Mountpoint || !maps.Equal(v.Labels, w.Inspect.Labels) || v.Problem != "" || len(v.Containers) != 1 {
			t.Errorf("volume %s: %+v, want %+v", v.Name, v, w.Inspect)
		}
	}
}

// TestUserNamespaces compares a user's Podman and a remapped Docker with what
// their containers saw: owners that the disk has shifted.
func TestUserNamespaces(t *testing.T) {
	for name, at := range map[string]struct {
		root  string
		shift uint32 // of the captured owners
	}{
		"podman-user":  {"/home/kim/.local/share/containers/storage", 0},
		"docker-remap": {"/var/lib/docker/100000.100000", 100000},
	} {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, name, Options{})
			var tr truth
			fixtures.Truth(t, name, &tr)
			for _, w := range tr.Containers {
				for i := range w.Merged {
					w.Merged[i].UID = shiftedBack(w.Merged[i].UID, at.shift)
					w.Merged[i].GID = shiftedBack(w.Merged[i].GID, at.shift)
				}
				compareListed(t, n, w.ID, ListOptions{Recursive: true, Hash: true, ContainerIDs: true}, w.Merged)
				c, err := n.FindContainer(w.ID)
				if err != nil || c.StorePath != at.root {
					t.Errorf("%s: %+v, %v", w.ID, c, err)
				}
				err = n.Changes(context.Background(), c, ChangeOptions{ContainerIDs: true}, func(ch Change) error {
					if ch.Info.UID > 100 && ch.Info.UID != 65534 {
						t.Errorf("%s: %s belongs to %d", c.Name, ch.Path, ch.Info.UID)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
			noGaps(t, n)
		})
	}
}

// shiftedBack is an owner as a user namespace shows it that begins at shift.
func shiftedBack(id, shift uint32) uint32 {
	if id < shift {
		return 65534 // dockerd makes /etc/mtab as the node's root
	}
	return id - shift
}

// TestNerdctl compares what nerdctl itself says of its containers, volumes and networks.
func TestNerdctl(t *testing.T) {
	n := openFixture(t, "nerdctl", Options{})
	var tr truth
	fixtures.Truth(t, "nerdctl", &tr)
	checkNamespaces(t, n, tr)
	var said struct {
		Nerdctl []struct {
			ID, Name, LogPath string
			State             struct{ StartedAt string }
			NetworkSettings   struct {
				IPAddress string
				Ports     map[string][]struct{ HostIP, HostPort string }
			}
		} `json:"nerdctl"`
		Networks []struct {
			Name, ID   string
			Containers map[string]struct{ MacAddress, IPv4Address string }
		} `json:"networks"`
		Volumes []struct{ Mountpoint string } `json:"volumes"`
	}
	fixtures.Truth(t, "nerdctl", &said)
	if len(said.Nerdctl) != 4 || len(said.Networks) != 1 {
		t.Fatalf("%+v", said)
	}
	for _, w := range said.Nerdctl {
		c, err := n.FindContainer(w.ID)
		if err != nil {
			t.Fatal(err)
		}
		started, _ := time.Parse(time.RFC3339Nano, w.State.StartedAt)
		// nerdctl's own time is the task's, a moment after what it noted.
		if c.Name != w.Name || c.LogPath != w.LogPath && w.LogPath != "" || strings.Join(c.IP, " ") != w.NetworkSettings.IPAddress || len(c.Ports) != len(w.NetworkSettings.Ports) ||
			!started.IsZero() && (c.Started.IsZero() || started.Sub(c.Started).Abs() > 2*time.Second) {
			t.Errorf("%s: %s %s %v %v %v, want %+v", w.Name, c.Name, c.LogPath, c.IP, c.Ports, c.Started, w)
		}
	}
	if v := n.DataVolumes(); len(v) != 1 || v[0].Name != "data" || v[0].Labels["backup"] != "yes" || v[0].Problem != "" || len(v[0].Containers) != 1 ||
		len(said.Volumes) != 1 || v[0].Mountpoint != said.Volumes[0].Mountpoint {
		t.Errorf("volumes: %+v, want %+v", v, said.Volumes)
	}
	for _, w := range said.Networks {
		i := slices.IndexFunc(n.Networks(), func(v *Network) bool { return v.ID == w.ID && v.Name == w.Name })
		if i < 0 {
			t.Fatalf("no network %s", w.Name)
		}
		for _, e := range n.Networks()[i].Endpoints {
			if got := w.Containers[e.Container]; got.MacAddress != e.MAC || !slices.Contains(e.Addresses, got.IPv4Address) {
				t.Errorf("network %s: %+v, want %+v", w.Name, e, got)
			}
		}
	}
	noGaps(t, n)
}

// TestCRIO compares with what crictl said of a pod of CRI-O's.
func TestCRIO(t *testing.T) {
	n := openFixture(t, "crio", Options{})
	var tr struct {
		Trees map[string][]truthFile `json:"trees"`
		PS    struct {
			Containers []struct {
				ID           string `json:"id"`
				PodSandboxID string `json:"podSandboxId"`
				Metadata     struct {
					Name    string
					Attempt int
				}
				State     string
				CreatedAt int64 `json:",string"`
				Labels    map[string]string
			}
		} `json:"ps"`
		Inspect []struct {
			Status struct {
				ID, StartedAt, FinishedAt, LogPath string
				ExitCode                           int
			}
		} `json:"inspect"`
	}
	fixtures.Truth(t, "crio", &tr)
	if len(tr.PS.Containers) != 2 || len(tr.Trees) != 3 || len(n.Containers()) != 3 || len(n.Pods()) != 1 {
		t.Fatalf("%d containers, %d trees, %d found, %d pods", len(tr.PS.Containers), len(tr.Trees), len(n.Containers()), len(n.Pods()))
	}
	for id, tree := range tr.Trees {
		compareTree(t, n, id, tree)
	}
	for _, w := range tr.PS.Containers {
		c, err := n.FindContainer("shop/web-0/" + w.Metadata.Name)
		if err != nil {
			t.Fatal(err)
		}
		state := map[runtimes.State]string{runtimes.StateRunning: "CONTAINER_RUNNING", runtimes.StateExited: "CONTAINER_EXITED"}[c.State]
		if c.ID != w.ID || c.Runtime != runtimes.CRIO || state != w.State || c.Pod.Attempt == nil || *c.Pod.Attempt != w.Metadata.Attempt ||
			c.Pod.SandboxID != w.PodSandboxID || !maps.Equal(c.Labels, w.Labels) || c.Created.UnixNano()/1e9 != w.CreatedAt/1e9 {
			t.Errorf("got %+v, want %+v", c.Container, w)
		}
		for _, i := range tr.Inspect {
			if i.Status.ID == c.ID && (c.Started.Format(time.RFC3339Nano) != i.Status.StartedAt || c.LogPath != i.Status.LogPath || c.State == runtimes.StateExited && *c.ExitCode != i.Status.ExitCode) {
				t.Errorf("got %s %s %v, want %+v", c.Started, c.LogPath, c.ExitCode, i.Status)
			}
		}
	}
	if p := n.Pods()[0]; p.DisplayName() != "shop/web-0" || !slices.Equal(p.Names, []string{"app", "job"}) || len(p.IP) != 1 || len(p.Ports) != 1 {
		t.Errorf("%+v", p)
	}
	noGaps(t, n)
}

// TestVolumeTimeline has files of volumes told with the containers that mount
// them: of one container as its own, of several with all their ids.
func TestVolumeTimeline(t *testing.T) {
	needs.Time(t)
	for _, c := range []struct{ disk, file, container, volume, pod string }{
		{"docker-vfs", "/var/lib/docker/volumes/data/_data/file", "busy", "data", ""},
		{"podman-sql", "/var/lib/containers/storage/volumes/data/_data/file", "busy", "data", ""},
		{"crio", "/var/lib/kubelet/pods/6f1c2b9e-8d7a-4c3e-9b1f-0a2b3c4d5e6f/volumes/kubernetes.io~empty-dir/cache/f", "", "cache", "web-0"},
	} {
		for _, scope := range []Scope{ScopeAll, ScopeContainers, ScopeNode} {
			n := openFixture(t, c.disk, Options{})
			told := 0
			for _, e := range allEvents(t, n, TimelineOptions{Scope: scope}) {
				if e.text("data_type") != "fs:stat" || e.text("filename") != c.file {
					continue
				}
				told++
				owned := e.text("container_name") == c.container && e.text("volume") == c.volume && e.text("kubernetes_pod_name") == c.pod && e.text("resources") != ""
				if owned == (scope == ScopeNode) {
					t.Errorf("%s, scope %s: %v", c.disk, scope, e)
				}
			}
			if told == 0 {
				t.Errorf("%s, scope %s: nothing of %s", c.disk, scope, c.file)
			}
		}
	}
}
