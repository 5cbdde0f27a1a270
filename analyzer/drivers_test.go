package analyzer

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"lagan/fixtures"
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
		"podman-vfs": runtimes.Podman, "podman-btrfs": runtimes.Podman,
	} {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, name, Options{})
			var tr truth
			fixtures.Truth(t, name, &tr)
			if name == "docker-fuse" {
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

// hiddenByFolder adds what dockerd doesn't say with fuse-overlayfs: what lay in a
// folder that the container replaced by one of its own is gone.
func hiddenByFolder(tr *truth) {
	for i := range tr.Containers {
		if c := &tr.Containers[i]; c.Inspect.Name == "/busy" && !slices.Contains(c.Diff, "D /opt/x/3") {
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
