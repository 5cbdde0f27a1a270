package docker_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"lagan/internal/needs"
	"lagan/runtimes"
	"lagan/runtimes/docker"
	"lagan/runtimes/internal/treetest"
)

// truth is what docker inspect, docker history and docker images said on the live node.
type truth struct {
	Containers []struct {
		ID      string
		Inspect struct {
			Name, Image, Path, LogPath string
			Created                    time.Time
			Args                       []string
			RestartCount               int
			State                      struct {
				Status                string
				Pid, ExitCode         int
				OOMKilled             bool
				StartedAt, FinishedAt time.Time
				Error                 string
			}
			Config struct {
				Image, Hostname string
				Env             []string
				Labels          map[string]string
			}
			HostConfig struct {
				Privileged bool
				LogConfig  struct{ Type string }
			}
			GraphDriver struct {
				Name string
				Data struct{ LowerDir, UpperDir string }
			}
			Mounts []struct {
				Type, Name, Source, Destination string
				RW                              bool
			}
			NetworkSettings struct {
				Networks map[string]struct{ IPAddress string }
			}
		}
	}
	Images []struct {
		Inspect struct {
			ID                    string `json:"Id"`
			RepoTags, RepoDigests []string
			Created               time.Time
			Size                  int64
			Architecture, OS      string
			Author                string
			RootFS                struct{ Layers []string }
			Metadata              struct{ LastTagTime time.Time }
			GraphDriver           struct {
				Data struct{ LowerDir, UpperDir string }
			}
		}
		History []struct{ CreatedBy string }
	}
}

func open(t *testing.T) (*docker.Store, *truth) {
	t.Helper()
	var want truth
	return treetest.Store(t, "docker-ext4", "/var/lib/docker", &want, docker.Roots, docker.Open), &want
}

func TestContainersAreThoseOfTheNode(t *testing.T) {
	s, want := open(t)
	got := make(map[string]runtimes.Container)
	for c, err := range s.Containers() {
		if err != nil {
			t.Error(err)
			continue
		}
		got[c.ID] = c
	}
	treetest.Equal(t, "containers", len(got), len(want.Containers))
	for _, w := range want.Containers {
		c, i := got[w.ID], w.Inspect
		id := i.Name + " "
		treetest.Equal(t, id+"name", "/"+c.Name, i.Name)
		treetest.Equal(t, id+"image", c.Image+" "+c.ImageID, i.Config.Image+" "+i.Image)
		treetest.Equal(t, id+"created", c.Created, i.Created)
		treetest.Equal(t, id+"command", strings.Join(c.Command, "\n"), strings.Join(append([]string{i.Path}, i.Args...), "\n"))
		treetest.Equal(t, id+"environment", c.Env, i.Config.Env)
		treetest.Equal(t, id+"labels", c.Labels, i.Config.Labels)
		treetest.Equal(t, id+"host name", c.Hostname, i.Config.Hostname)
		treetest.Equal(t, id+"privileged", c.Privileged, i.HostConfig.Privileged)
		treetest.Equal(t, id+"restarts", *c.Restarts, i.RestartCount)
		treetest.Equal(t, id+"driver", c.Snapshotter, i.GraphDriver.Name)
		treetest.Equal(t, id+"layers", c.Rootfs.Upper.Dir+" over "+treetest.Dirs(c.Rootfs.Lower), i.GraphDriver.Data.UpperDir+" over "+i.GraphDriver.Data.LowerDir)
		if c.Rootfs.Problem != nil || c.Rootfs.UserXattr || c.Rootfs.InitLayers != 1 || !strings.HasSuffix(c.Rootfs.Lower[0].ID, "-init") {
			t.Errorf("%s: %+v", id, c.Rootfs)
		}
		for _, l := range c.Rootfs.Lower[1:] {
			if l.DiffID == "" || l.ChainID == "" {
				t.Errorf("%slayer %s has no digest", id, l.ID)
			}
		}
		treetest.Equal(t, id+"log", c.LogDriver, i.HostConfig.LogConfig.Type)
		if i.LogPath != "" {
			treetest.Equal(t, id+"log", c.LogPath, i.LogPath)
		}
		compareState(t, id, c, i.State.Status, i.State.StartedAt, i.State.FinishedAt)
		if c.State == runtimes.StateExited {
			treetest.Equal(t, id+"exit code", *c.ExitCode, i.State.ExitCode)
		}
		treetest.Equal(t, id+"memory", c.OOMKilled, i.State.OOMKilled)
		var ips, mounts, wantMounts []string
		for _, n := range slices.Sorted(maps.Keys(i.NetworkSettings.Networks)) {
			if ip := i.NetworkSettings.Networks[n].IPAddress; ip != "" {
				ips = append(ips, ip)
			}
		}
		treetest.Equal(t, id+"addresses", c.IP, ips)
		for _, m := range c.Mounts {
			if m.Type != "tmpfs" {
				mounts = append(mounts, fmt.Sprint(m.Type, m.Name, m.Source, m.Destination, !m.ReadOnly))
			}
		}
		for _, m := range i.Mounts {
			wantMounts = append(wantMounts, fmt.Sprint(m.Type, m.Name, m.Source, m.Destination, m.RW))
		}
		slices.Sort(mounts)
		slices.Sort(wantMounts)
		treetest.Equal(t, id+"mounts", mounts, wantMounts)
	}
}

// compareState compares times and state; the zero time of Docker means none.
func compareState(t *testing.T, id string, c runtimes.Container, status string, started, finished time.Time) {
	t.Helper()
	treetest.Equal(t, id+"state", string(c.State), status)
	treetest.Equal(t, id+"started", c.Started.UnixNano(), started.UnixNano())
	treetest.Equal(t, id+"finished", c.Finished.UnixNano(), finished.UnixNano())
}

func TestImagesAreThoseOfTheNode(t *testing.T) {
	s, want := open(t)
	got := make(map[string]runtimes.Image)
	for img, err := range s.Images() {
		if err != nil {
			t.Error(err)
			continue
		}
		got[img.ID] = img
	}
	for _, w := range want.Images {
		i, img := w.Inspect, got[w.Inspect.ID]
		id := i.ID[7:19] + " "
		if wantNames := append(i.RepoTags, i.RepoDigests...); len(wantNames) > 0 {
			treetest.Equal(t, id+"names", img.Names, wantNames)
		}
		if len(i.RepoDigests) > 0 {
			_, digest, _ := strings.Cut(i.RepoDigests[0], "@")
			treetest.Equal(t, id+"digest", img.Digest, digest)
		}
		treetest.Equal(t, id+"created", img.Created, i.Created)
		treetest.Equal(t, id+"platform", img.OS+"/"+img.Architecture, i.OS+"/"+i.Architecture)
		treetest.Equal(t, id+"author", img.Author, i.Author)
		treetest.Equal(t, id+"layers", img.Layers, i.RootFS.Layers)
		treetest.Equal(t, id+"size", img.Size, i.Size)
		treetest.Equal(t, id+"tagged", img.Updated.UnixNano(), i.Metadata.LastTagTime.UnixNano())
		top := i.GraphDriver.Data.UpperDir
		if i.GraphDriver.Data.LowerDir != "" {
			top += ":" + i.GraphDriver.Data.LowerDir
		}
		treetest.Equal(t, id+"folders", treetest.Dirs(img.Rootfs.Lower), top)
		treetest.Equal(t, id+"steps", len(img.History), len(w.History))
		layers := 0
		for n, h := range img.History {
			treetest.Equal(t, id+"step", h.CreatedBy, w.History[len(w.History)-1-n].CreatedBy)
			if h.DiffID != "" {
				treetest.Equal(t, id+"diff id", h.DiffID, img.Layers[layers])
				layers++
			}
		}
		treetest.Equal(t, id+"steps with layers", layers, len(img.Layers))
	}
	if len(got) < len(want.Images) {
		t.Errorf("%d images, the live node said %d", len(got), len(want.Images))
	}
}

// TestDamage breaks one document at a time.
func TestDamage(t *testing.T) {
	good := treetest.Load(t, treetest.Disk(t, "docker-ext4"), "/var/lib/docker")
	const root, id = "var/lib/docker/", "5f96a4ca3396ef10837e4c9db32941a9d69422fec714008ee9a7dcbc2c52e58d"
	const config = root + "containers/" + id + "/config.v2.json"
	const mount = root + "image/overlay2/layerdb/mounts/" + id + "/mount-id"
	const rw = root + "overlay2/5ad6fd16651c525618415488362c5a9cf0e88a1f8edde84a13c696c991dee584"
	to := treetest.To
	for _, c := range []struct {
		name, file string
		harm       treetest.Harm
		containers int
		named      int // containers whose layers are named
		images     int
		says       string
	}{
		{"nothing", config, func(b []byte) []byte { return b }, 10, 10, 13, ""},
		{"config.v2.json is cut", config, treetest.Cut, 10, 10, 13, "config.v2.json"},
		{"config.v2.json is empty", config, to(""), 10, 10, 13, "config.v2.json"},
		{"config.v2.json is gone", config, treetest.Gone, 10, 10, 13, "config.v2.json"},
		{"a member is of another type", config, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"RestartCount":0`, `"RestartCount":"x"`, 1))
		}, 10, 10, 13, "RestartCount"},
		{"hostconfig.json is cut", root + "containers/" + id + "/hostconfig.json", treetest.Cut, 10, 10, 13, "hostconfig.json"},
		{"mount-id is gone", mount, treetest.Gone, 10, 9, 13, ""},
		{"mount-id leads elsewhere", mount, to("../../../../etc"), 10, 9, 13, "names no folder"},
		{"lower names other layers", rw + "/lower", to("l/3NBVQ7C7U5WS2JR3HBGGFVTS4R"), 10, 10, 13, "lower"},
		{"lower leads elsewhere", rw + "/lower", to("../../../etc"), 10, 10, 13, "no short name"},
		{"lower is gone", rw + "/lower", treetest.Gone, 10, 10, 13, "lower"},
		{"repositories.json is cut", root + "image/overlay2/repositories.json", treetest.Cut, 10, 10, 13, "repositories.json"},
		{"a layer's cache-id leads elsewhere", root + "image/overlay2/layerdb/sha256/6b32d663fe841e4d37f0da6e3f9b02ea174276a09749b277afb04fd7ac2502dc/cache-id", to("../../x"), 10, 10, 13, "cache-id"},
		{"a layer is its own parent", root + "image/overlay2/layerdb/sha256/6b32d663fe841e4d37f0da6e3f9b02ea174276a09749b277afb04fd7ac2502dc/parent", to("sha256:6b32d663fe841e4d37f0da6e3f9b02ea174276a09749b277afb04fd7ac2502dc"), 10, 10, 13, "chain of parents"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := treetest.Harmed(good, c.file, c.harm)
			s, err := docker.Open(fsys, fsys.Root(), "/var/lib/docker")
			if err != nil {
				t.Fatal(err)
			}
			containers, said := treetest.Collect(s.Containers())
			images, alsoSaid := treetest.Collect(s.Images())
			named := 0
			for _, c := range containers {
				if c.Rootfs.Upper.Dir != "" && len(c.Rootfs.Lower) > 0 {
					named++
				}
			}
			if len(containers) != c.containers || named != c.named || len(images) != c.images {
				t.Errorf("%d containers, %d with layers, %d images; want %d, %d, %d", len(containers), named, len(images), c.containers, c.named, c.images)
			}
			if said += alsoSaid; c.says == "" && said != "" || !strings.Contains(said, c.says) {
				t.Errorf("said %q, want something of %q", said, c.says)
			}
		})
	}
}

func TestMutants(t *testing.T) {
	tree := treetest.Load(t, treetest.Disk(t, "docker-ext4"), "/var/lib/docker/containers", "/var/lib/docker/image", "/var/lib/docker/overlay2")
	maps.DeleteFunc(tree, func(name string, f *fstest.MapFile) bool {
		return strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".gz")
	})
	treetest.Mutants(t, tree, needs.Rounds(150, 25), func(fsys *treetest.Tree) {
		s, err := docker.Open(fsys, fsys.Root(), "/var/lib/docker")
		if err != nil {
			t.Fatal(err)
		}
		containers, _ := treetest.Collect(s.Containers())
		images, _ := treetest.Collect(s.Images())
		treetest.Collect(s.Snapshots())
		if len(containers) != 10 || len(images) < 13 {
			t.Errorf("%d containers, %d images", len(containers), len(images))
		}
	})
}

// TestLinksAreRebuilt has no links in l/: the files called link stand in.
func TestLinksAreRebuilt(t *testing.T) {
	tree := treetest.Load(t, treetest.Disk(t, "docker-ext4"), "/var/lib/docker")
	maps.DeleteFunc(tree, func(name string, _ *fstest.MapFile) bool {
		return strings.HasPrefix(name, "var/lib/docker/overlay2/l/")
	})
	fsys := treetest.New(tree)
	s, err := docker.Open(fsys, fsys.Root(), "/var/lib/docker")
	if err != nil {
		t.Fatal(err)
	}
	containers, said := treetest.Collect(s.Containers())
	if len(containers) != 10 || said != "" {
		t.Errorf("%d containers, %s", len(containers), said)
	}
}

func TestRoots(t *testing.T) {
	const sign = "image/overlay2/layerdb/x"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
		fails string
	}{
		{"nothing", map[string]string{"var/lib/docker/empty": ""}, nil, ""},
		{"usual", map[string]string{"var/lib/docker/" + sign: ""}, []string{"/var/lib/docker"}, ""},
		{"daemon.json", map[string]string{"etc/docker/daemon.json": `{"data-root": "/data/docker"}`, "data/docker/" + sign: ""}, []string{"/data/docker"}, ""},
		{"graph", map[string]string{"etc/docker/daemon.json": `{"graph": "/g"}`, "g/" + sign: ""}, []string{"/g"}, ""},
		{"broken daemon.json", map[string]string{"etc/docker/daemon.json": `{"data-root": "/data`, "var/lib/docker/" + sign: ""}, []string{"/var/lib/docker"}, "daemon.json"},
		{"unit", map[string]string{"usr/lib/systemd/system/docker.service": "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --data-root /u\n", "u/" + sign: ""}, []string{"/u"}, ""},
		{"environment", map[string]string{"etc/default/docker": "# --data-root=/no\nDOCKER_OPTS=\"--data-root=/o --debug\"\n", "o/" + sign: "", "no/" + sign: ""}, []string{"/o"}, ""},
		{"userns-remap", map[string]string{"var/lib/docker/100000.100000/" + sign: "", "var/lib/docker/" + sign: ""}, []string{"/var/lib/docker", "/var/lib/docker/100000.100000"}, ""},
		{"rootless", map[string]string{"etc/passwd": "kim:x:1000:1000::/srv/kim:/bin/sh\n", "srv/kim/.local/share/docker/" + sign: ""}, []string{"/srv/kim/.local/share/docker"}, ""},
		{"the tree itself", map[string]string{sign: ""}, []string{"/"}, ""},
		{"version 1", map[string]string{"var/lib/docker/graph/x": "", "var/lib/docker/repositories-aufs": "{}", "var/lib/docker/aufs/x": ""}, []string{"/var/lib/docker"}, ""},
		{"containers only", map[string]string{"var/lib/docker/containers/" + strings.Repeat("a", 64) + "/config.v2.json": "{}"}, []string{"/var/lib/docker"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := treetest.New(treetest.Files(c.files))
			got, err := docker.Roots(fsys, fsys.Root())
			if !slices.Equal(got, c.want) || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%q, %v; want %q, %q", got, err, c.want, c.fails)
			}
		})
	}
}

var _ runtimes.Store = (*docker.Store)(nil)
