package analyzer

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/internal/text"
	"lagan/layers"
	"lagan/runtimes"
)

// truth is what was captured from the live node; fixtures/README.md has the fields.
type truth struct {
	Namespaces map[string]struct {
		Containers []struct {
			ID     string          `json:"id"`
			Info   json.RawMessage `json:"info"`
			Task   string          `json:"task"`
			Merged []truthFile     `json:"merged"`
		} `json:"containers"`
		Images []struct {
			Ref string `json:"ref"`
		} `json:"images"`
	} `json:"namespaces"`
	Containers []struct {
		ID      string       `json:"id"`
		Inspect truthInspect `json:"inspect"`
		Diff    []string     `json:"diff"`
		Merged  []truthFile  `json:"merged"`
	} `json:"containers"`
	Images []struct {
		Inspect struct {
			ID       string   `json:"Id"`
			RepoTags []string `json:"RepoTags"`
			RootFS   struct{ Layers []string }
		} `json:"inspect"`
	} `json:"images"`
	NodeFS           struct{ Files []truthFile } `json:"node_fs"`
	NodeFSNoRecovery struct{ Files []truthFile } `json:"node_fs_norecovery"`
}

type truthInspect struct {
	Name      string
	ImageName string
	Config    struct {
		Image  string
		Labels map[string]string
	}
	State struct {
		Status   string
		ExitCode int
	}
}

type truthFile struct {
	Path   string            `json:"path"`
	Type   string            `json:"type"`
	Mode   string            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Mtime  int64             `json:"mtime_ns"`
	Size   *int64            `json:"size"`
	SHA256 string            `json:"sha256"`
	Target string            `json:"target"`
	Rdev   []uint32          `json:"rdev"`
	Xattrs map[string]string `json:"xattrs_hex"`
}

// line is all that is compared of a file, so that a difference shows whole.
func (f truthFile) line() string {
	types := map[string]string{"f": "file", "d": "dir", "l": "symlink", "c": "char", "b": "block", "p": "fifo", "s": "socket"}
	size, rdev := "", ""
	if f.Size != nil {
		size = fmt.Sprint(*f.Size)
	}
	if len(f.Rdev) == 2 {
		rdev = fmt.Sprintf("%d:%d", f.Rdev[0], f.Rdev[1])
	}
	if f.Type != "l" {
		f.Target = ""
	}
	return fileLine(types[f.Type], f.Mode, f.UID, f.GID, f.Mtime, size, f.SHA256, f.Target, rdev, f.Xattrs)
}

func lineOf(f File) string {
	size, rdev := "", ""
	switch f.Info.Type {
	case evidence.TypeFile:
		size = fmt.Sprint(f.Info.Size)
	case evidence.TypeChar, evidence.TypeBlock:
		rdev = fmt.Sprintf("%d:%d", f.Info.Major, f.Info.Minor)
	}
	xattrs := make(map[string]string)
	for k, v := range f.Xattrs {
		xattrs[k] = hex.EncodeToString(v)
	}
	target, _ := text.ForJSON(f.Target)
	return fileLine(f.Info.Type.String(), fmt.Sprintf("%04o", f.Info.Perm), f.Info.UID, f.Info.GID, f.Info.Mtime.UnixNano(), size, f.SHA256, target, rdev, xattrs)
}

func fileLine(typ, mode string, uid, gid uint32, mtime int64, size, sum, target, rdev string, xattrs map[string]string) string {
	var attrs []string
	for _, k := range slices.Sorted(maps.Keys(xattrs)) {
		// the truth was read as root of the live overlay: its own marks and ACLs are left out on both sides
		if !strings.HasPrefix(k, "trusted.overlay.") && !strings.HasPrefix(k, "user.overlay.") && !strings.HasPrefix(k, "system.") {
			attrs = append(attrs, k+"="+xattrs[k])
		}
	}
	return fmt.Sprintf("%s %s %d:%d mtime %d size %s sha256 %s target %q rdev %s %s", typ, mode, uid, gid, mtime, size, sum, target, rdev, strings.Join(attrs, " "))
}

func openFixture(t *testing.T, name string, o Options) *Node {
	t.Helper()
	n, err := Open(context.Background(), fixtures.Disk(t, name), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func loadTruth(t *testing.T, name string) truth {
	t.Helper()
	var tr truth
	fixtures.Truth(t, name, &tr)
	if len(tr.NodeFS.Files) < 1000 {
		t.Fatalf("the truth of %s has only %d files", name, len(tr.NodeFS.Files))
	}
	return tr
}

// compareTree lists spec's tree and compares each path with the truth.
func compareTree(t *testing.T, n *Node, spec string, want []truthFile) {
	t.Helper()
	compareListed(t, n, spec, ListOptions{Recursive: true, Hash: true}, want)
}

func compareListed(t *testing.T, n *Node, spec string, o ListOptions, want []truthFile) {
	t.Helper()
	tree, err := n.FindTree(spec)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	err = n.List(context.Background(), tree, "/", o, func(f File) error {
		path, _ := text.ForJSON(f.Path)
		got[path] = lineOf(f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	compareFiles(t, spec, got, want)
}

// compareFiles compares what was found of a tree, by path, with the truth.
func compareFiles(t *testing.T, spec string, got map[string]string, want []truthFile) {
	t.Helper()
	var bad []string
	for _, w := range want {
		g, ok := got[w.Path]
		delete(got, w.Path)
		switch {
		case !ok:
			bad = append(bad, "missing: "+w.Path)
		case g != w.line():
			bad = append(bad, fmt.Sprintf("%s:\n got  %s\n want %s", w.Path, g, w.line()))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		bad = append(bad, "not there: "+path)
	}
	if len(bad) > 0 {
		t.Errorf("%s: %d of %d paths differ:\n%s", spec, len(bad), len(want), strings.Join(bad[:min(len(bad), 5)], "\n"))
	}
}

func TestDockerTruth(t *testing.T) {
	needs.Time(t)
	n, tr := openFixture(t, "docker-ext4", Options{}), loadTruth(t, "docker-ext4")
	checkEngine(t, n, tr, runtimes.Docker)
	compareTree(t, n, "@node", tr.NodeFS.Files)
	noGaps(t, n)
}

// checkEngine compares the containers of Docker or Podman with what the engine
// itself said of them.
func checkEngine(t *testing.T, n *Node, tr truth, runtime runtimes.Name) {
	t.Helper()
	if got := len(n.Containers()); got != len(tr.Containers) {
		t.Errorf("%d containers, want %d", got, len(tr.Containers))
	}
	for _, w := range tr.Containers {
		name := strings.TrimPrefix(w.Inspect.Name, "/")
		t.Run(name, func(t *testing.T) {
			c, err := n.FindContainer(w.ID)
			if err != nil {
				t.Fatal(err)
			}
			image := w.Inspect.Config.Image
			if runtime == runtimes.Podman {
				image = w.Inspect.ImageName
			}
			if c.Name != name || c.Runtime != runtime || c.Image != image || string(c.State) != w.Inspect.State.Status || !maps.Equal(c.Labels, w.Inspect.Config.Labels) {
				t.Errorf("got %s %s %s %s %v, want %s %s %s %v", c.Name, c.Runtime, c.Image, c.State, c.Labels, name, image, w.Inspect.State.Status, w.Inspect.Config.Labels)
			}
			if c.State == runtimes.StateExited && (c.ExitCode == nil || *c.ExitCode != w.Inspect.State.ExitCode) {
				t.Errorf("exit code %v, want %d", c.ExitCode, w.Inspect.State.ExitCode)
			}
			if w.Merged != nil {
				compareTree(t, n, w.ID, w.Merged)
			}
			compareDiff(t, n, c, w.Diff)
		})
	}
	for _, w := range tr.Images {
		i, err := n.FindImage(w.Inspect.ID)
		if err != nil {
			t.Error(err)
			continue
		}
		if !slices.Equal(i.Layers, w.Inspect.RootFS.Layers) {
			t.Errorf("image %s: layers %v, want %v", i.DisplayName(), i.Layers, w.Inspect.RootFS.Layers)
		}
		for _, tag := range w.Inspect.RepoTags {
			if !slices.Contains(i.Names, tag) {
				t.Errorf("image %s: names %v lack %s", i.ID, i.Names, tag)
			}
		}
	}
}

// compareDiff compares with the lines of the engine's own diff, as a set: the
// engine's order is by path in some versions and by layer in others.
func compareDiff(t *testing.T, n *Node, c *Container, want []string) {
	t.Helper()
	var got []string
	err := n.Changes(context.Background(), c, ChangeOptions{}, func(ch Change) error {
		path, _ := text.ForJSON(ch.Path)
		got = append(got, ch.Kind.Letter()+" "+path)
		if ch.Kind == layers.Deleted && ch.Deleted.IsZero() {
			t.Errorf("%s: no time of deletion", ch.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("diff of %s:\n got  %q\n want %q", c.Name, got, want)
	}
}

func TestContainerdTruth(t *testing.T) {
	needs.Time(t)
	n, tr := openFixture(t, "eks-xfs", Options{}), loadTruth(t, "eks-xfs")
	checkNamespaces(t, n, tr)
	for _, ns := range slices.Sorted(maps.Keys(tr.Namespaces)) {
		for _, w := range tr.Namespaces[ns].Containers {
			if w.Merged != nil {
				compareTree(t, n, w.ID, w.Merged)
			}
		}
	}
	compareTree(t, n, "@node", tr.NodeFS.Files)
	noGaps(t, n)
}

func checkNamespaces(t *testing.T, n *Node, tr truth) {
	t.Helper()
	total := 0
	for ns, v := range tr.Namespaces {
		total += len(v.Containers)
		for _, w := range v.Containers {
			c, err := n.FindContainer(w.ID)
			if err != nil {
				t.Error(err)
				continue
			}
			var info struct {
				Image, Snapshotter, SnapshotKey string
				Labels                          map[string]string
			}
			if err := json.Unmarshal(w.Info, &info); err != nil {
				t.Fatal(err)
			}
			if c.Namespace != ns || c.Image != info.Image || c.Snapshotter != info.Snapshotter || c.Snapshot != info.SnapshotKey || !maps.Equal(c.Labels, info.Labels) {
				t.Errorf("%s: got %s %s %s %s, want %s %+v", w.ID, c.Namespace, c.Image, c.Snapshotter, c.Snapshot, ns, info)
			}
			if c.Pod.Name != info.Labels["io.kubernetes.pod.name"] || c.Pod.UID != info.Labels["io.kubernetes.pod.uid"] {
				t.Errorf("%s: pod %+v, want that of %v", w.ID, c.Pod, info.Labels)
			}
		}
		for _, i := range v.Images {
			if _, err := n.FindImage(i.Ref); err != nil {
				t.Error(err)
			}
		}
	}
	if got := len(n.Containers()); got != total {
		t.Errorf("%d containers, want %d", got, total)
	}
}

// TestStaleView shows what a reader that ignores the log sees, and that it is said.
func TestStaleView(t *testing.T) {
	needs.Time(t)
	n, tr := openFixture(t, "eks-xfs", Options{NoJournal: true}), loadTruth(t, "eks-xfs")
	compareTree(t, n, "@node", tr.NodeFSNoRecovery.Files)
	said := slices.ContainsFunc(n.Gaps(), func(g Gap) bool { return strings.Contains(g.Message, "dirty") })
	if !said {
		t.Errorf("no gap says that the log is dirty: %v", n.Gaps())
	}
}

func noGaps(t *testing.T, n *Node) {
	t.Helper()
	for _, g := range n.Gaps() {
		t.Errorf("gap: %s", g)
	}
}

func TestFindContainer(t *testing.T) {
	n := openFixture(t, "eks-xfs", Options{})
	for _, c := range n.Containers() {
		for _, spec := range []string{c.ID, c.ID[:min(len(c.ID), 12)]} {
			if got, err := n.FindContainer(spec); err != nil || got != c {
				t.Errorf("%q: got %v, %v", spec, got, err)
			}
		}
	}
	if c, err := n.FindContainer("default/web-7c5ddbdf54-x2k9q/nginx"); err != nil || c.Pod.Container != "nginx" {
		t.Errorf("by pod: got %v, %v", c, err)
	}
	for spec, want := range map[string]error{"none": ErrNoContainer, "25e": ErrNoContainer, "redis": ErrAmbiguous} {
		if _, err := n.FindContainer(spec); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", spec, err, want)
		}
	}
}
