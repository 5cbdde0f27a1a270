package containerd_test

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/containerd"
	"lagan/runtimes/internal/treetest"
)

// truth is what ctr and crictl said on the live node.
type truth struct {
	Namespaces map[string]struct {
		Containers []struct {
			ID   string
			Task string
			Info struct {
				Image, Snapshotter, SnapshotKey, SandboxID string
				Labels                                     map[string]string
				CreatedAt, UpdatedAt                       time.Time
				Spec                                       json.RawMessage
			}
			Mount struct {
				Type    string
				Options []string
			}
		}
		Images []struct {
			Ref, Inspect string
		}
		Snapshots map[string][]struct {
			Key, Parent, Kind string
			Info              struct{ Created time.Time }
		}
	}
	CRI struct {
		Inspect map[string]struct {
			Status struct {
				State                            string
				CreatedAt, StartedAt, FinishedAt time.Time
				ExitCode                         int
				Reason, LogPath                  string
				Metadata                         struct {
					Name    string
					Attempt int
				}
				Image struct{ Image string }
			}
			Info struct {
				PID        int
				Privileged bool
			}
		}
		Inspectp map[string]struct {
			Status struct {
				State    string
				Metadata struct{ Name, Namespace, UID string }
				Network  struct{ IP string }
			}
		}
		Inspecti map[string]struct {
			Status struct {
				ID                    string
				RepoTags, RepoDigests []string
			}
			Info struct {
				ChainID   string
				ImageSpec json.RawMessage
			}
		}
	}
}

func open(t *testing.T) (*containerd.Store, *truth) {
	t.Helper()
	var want truth
	roots := func(fsys evidence.FS, root evidence.Ino) ([]string, error) { return containerd.Roots(fsys, root) }
	return treetest.Store(t, "eks-xfs", "/var/lib/containerd", &want, roots, containerd.Open), &want
}

func TestContainersAreThoseOfTheNode(t *testing.T) {
	s, want := open(t)
	got := make(map[string]runtimes.Container)
	for c, err := range s.Containers() {
		if err != nil {
			t.Error(err)
			continue
		}
		got[c.Namespace+" "+c.ID] = c
	}
	n := 0
	for ns, space := range want.Namespaces {
		for _, w := range space.Containers {
			n++
			c, ok := got[ns+" "+w.ID]
			if !ok {
				t.Errorf("container %s of %s is missing", w.ID, ns)
				continue
			}
			id := w.ID[:min(12, len(w.ID))] + " "
			treetest.Equal(t, id+"image", c.Image, w.Info.Image)
			treetest.Equal(t, id+"labels", c.Labels, w.Info.Labels)
			treetest.Equal(t, id+"created", c.Created, w.Info.CreatedAt)
			treetest.Equal(t, id+"updated", c.Updated, w.Info.UpdatedAt)
			treetest.Equal(t, id+"snapshot", c.Snapshotter+" "+c.Snapshot, w.Info.Snapshotter+" "+w.Info.SnapshotKey)
			treetest.Equal(t, id+"spec", decoded(t, c.Spec), decoded(t, w.Info.Spec))
			treetest.Equal(t, id+"mount", mountOptions(c.Rootfs), optionsOf(w.Mount.Options))
			if c.Rootfs.Problem != nil || c.Rootfs.UserXattr {
				t.Errorf("%s: %v, userxattr %v", id, c.Rootfs.Problem, c.Rootfs.UserXattr)
			}
			for _, l := range c.Rootfs.Lower {
				if l.DiffID == "" || !strings.HasPrefix(l.ChainID, "sha256:") {
					t.Errorf("%slayer %s has the diff id %q and the chain id %q", id, l.ID, l.DiffID, l.ChainID)
				}
			}
			compareCRI(t, id, c, want)
			switch w.Task {
			case "RUNNING":
				if ns == "k8s.io" {
					treetest.Equal(t, id+"state", c.State, runtimes.StateRunning)
				} else {
					treetest.Equal(t, id+"state", c.State, runtimes.StateUnknown)
				}
			case "none":
				if c.State == runtimes.StateRunning {
					t.Errorf("%s runs without a task", id)
				}
			}
		}
	}
	treetest.Equal(t, "containers", len(got), n)
}

// compareCRI compares with crictl inspect and inspectp.
func compareCRI(t *testing.T, id string, c runtimes.Container, want *truth) {
	t.Helper()
	if w, ok := want.CRI.Inspect[c.ID]; ok {
		st := w.Status
		states := map[string]runtimes.State{"CONTAINER_RUNNING": runtimes.StateRunning, "CONTAINER_EXITED": runtimes.StateExited, "CONTAINER_CREATED": runtimes.StateCreated}
		treetest.Equal(t, id+"CRI state", c.State, states[st.State])
		treetest.Equal(t, id+"started", c.Started, st.StartedAt)
		treetest.Equal(t, id+"finished", c.Finished, st.FinishedAt)
		if c.State == runtimes.StateExited {
			treetest.Equal(t, id+"exit code", *c.ExitCode, st.ExitCode)
		} else if c.ExitCode != nil {
			t.Errorf("%s has an exit code", id)
		}
		treetest.Equal(t, id+"pid", c.PID, w.Info.PID)
		treetest.Equal(t, id+"attempt", *c.Pod.Attempt, st.Metadata.Attempt)
		treetest.Equal(t, id+"restarts", *c.Restarts, st.Metadata.Attempt)
		treetest.Equal(t, id+"name", c.Name, st.Metadata.Name)
		treetest.Equal(t, id+"log", c.LogPath, st.LogPath)
		pod := want.CRI.Inspectp[c.Pod.SandboxID].Status
		treetest.Equal(t, id+"pod", c.Pod.Namespace+"/"+c.Pod.Name+"/"+c.Pod.UID, pod.Metadata.Namespace+"/"+pod.Metadata.Name+"/"+pod.Metadata.UID)
		treetest.Equal(t, id+"address", strings.Join(c.IP, " "), pod.Network.IP)
	}
	if w, ok := want.CRI.Inspectp[c.ID]; ok {
		treetest.Equal(t, id+"kind", c.Kind, runtimes.KindSandbox)
		treetest.Equal(t, id+"pod", c.Pod.Name, w.Status.Metadata.Name)
		treetest.Equal(t, id+"address", strings.Join(c.IP, " "), w.Status.Network.IP)
		treetest.Equal(t, id+"ready", c.State == runtimes.StateRunning, w.Status.State == "SANDBOX_READY")
	}
}

func decoded(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// optionsOf returns a mount's upper and lower folders.
func optionsOf(options []string) string {
	var upper, lower string
	for _, o := range options {
		if v, ok := strings.CutPrefix(o, "upperdir="); ok {
			upper = v
		}
		if v, ok := strings.CutPrefix(o, "lowerdir="); ok {
			lower = v
		}
	}
	return upper + " over " + lower
}

func mountOptions(r runtimes.Rootfs) string {
	var lower []string
	for _, l := range r.Lower {
		lower = append(lower, l.Dir)
	}
	return r.Upper.Dir + " over " + strings.Join(lower, ":")
}

func TestImagesAreThoseOfTheNode(t *testing.T) {
	s, want := open(t)
	digestOf := make(map[string]string)
	byID := make(map[string]runtimes.Image)
	for img, err := range s.Images() {
		if err != nil {
			t.Error(err)
			continue
		}
		for _, name := range img.Names {
			digestOf[img.Namespace+" "+name] = img.Digest
		}
		if img.Namespace == "k8s.io" {
			byID[img.ID] = img
		}
		if img.Size <= 0 || img.Rootfs.Problem != nil || len(img.Rootfs.Lower) != len(img.Layers) {
			t.Errorf("image %q: size %d, %d of %d layers, %v", img.Names, img.Size, len(img.Rootfs.Lower), len(img.Layers), img.Rootfs.Problem)
		}
	}
	target := regexp.MustCompile(`@(sha256:[0-9a-f]{64})`)
	n := 0
	for ns, space := range want.Namespaces {
		for _, w := range space.Images {
			n++
			inspect := w.Inspect[strings.Index(w.Inspect, "\n"):] // the first line is the name, which may hold a digest
			treetest.Equal(t, ns+" "+w.Ref, digestOf[ns+" "+w.Ref], target.FindStringSubmatch(inspect)[1])
		}
	}
	treetest.Equal(t, "names", len(digestOf), n)
	for id, w := range want.CRI.Inspecti {
		img := byID[id]
		for _, name := range append(w.Status.RepoTags, w.Status.RepoDigests...) {
			if !slices.Contains(img.Names, name) {
				t.Errorf("image %s: no name %q among %q", id, name, img.Names)
			}
		}
		var spec struct {
			Created          time.Time
			Architecture, OS string
			RootFS           struct{ Diff_IDs []string }
			History          []struct{ Created_By string }
		}
		if err := json.Unmarshal(w.Info.ImageSpec, &spec); err != nil {
			t.Fatal(err)
		}
		treetest.Equal(t, id+" created", img.Created, spec.Created)
		treetest.Equal(t, id+" platform", img.OS+"/"+img.Architecture, spec.OS+"/"+spec.Architecture)
		treetest.Equal(t, id+" layers", img.Layers, spec.RootFS.Diff_IDs)
		treetest.Equal(t, id+" top", img.Rootfs.Lower[0].ChainID, w.Info.ChainID)
		treetest.Equal(t, id+" steps", len(img.History), len(spec.History))
	}
}

func TestSnapshotsAreThoseOfTheNode(t *testing.T) {
	s, want := open(t)
	got := make(map[string]runtimes.Snapshot)
	for sn, err := range s.Snapshots() {
		if err != nil {
			t.Error(err)
			continue
		}
		got[sn.Namespace+" "+sn.Snapshotter+" "+sn.Key] = sn
	}
	n := 0
	for ns, space := range want.Namespaces {
		for snapshotter, list := range space.Snapshots {
			for _, w := range list {
				n++
				sn, ok := got[ns+" "+snapshotter+" "+w.Key]
				if !ok {
					t.Errorf("snapshot %s of %s is missing", w.Key, ns)
					continue
				}
				treetest.Equal(t, w.Key+" parent", sn.Parent, w.Parent)
				treetest.Equal(t, w.Key+" kind", sn.Kind, strings.ToLower(w.Kind))
				// ctr tells the time of meta.db's transaction, within which the snapshotter has its own.
				if d := w.Info.Created.Sub(sn.Created); d.Abs() > time.Second {
					t.Errorf("%s: created %v, ctr says %v", w.Key, sn.Created, w.Info.Created)
				}
			}
		}
	}
	treetest.Equal(t, "snapshots", len(got), n)
}

// TestDamage has documents and pages broken one at a time: everything else is read.
func TestDamage(t *testing.T) {
	good := treetest.Load(t, treetest.Disk(t, "eks-xfs"), "/var/lib/containerd")
	const root = "var/lib/containerd/"
	const status = root + "io.containerd.grpc.v1.cri/containers/25e2063a42a01dbb8c0efb261092e288587c4d2c2830232be9cfc3ac443a9b7a/status"
	const config = root + "io.containerd.content.v1.content/blobs/sha256/c27f86cf1612644d6014a5777a9499f58ca978ccd32a0b0183337228918bdc8f"
	metaDB, snapDB := root+"io.containerd.metadata.v1.bolt/meta.db", root+"io.containerd.snapshotter.v1.overlayfs/metadata.db"
	for _, c := range []struct {
		name       string
		file       string
		harm       func([]byte) []byte // nil: the file is not there
		containers int                 // at least
		rootfs     int                 // containers whose layers are named, at least
		images     int
		says       string
	}{
		{"nothing", status, func(b []byte) []byte { return b }, 11, 11, 5, ""},
		{"status is cut", status, func(b []byte) []byte { return b[:20] }, 11, 11, 5, "25e2063a42a01dbb8c0efb261092e288587c4d2c2830232be9cfc3ac443a9b7a/status"},
		{"status is of another type", status, func(b []byte) []byte { return []byte(`{"Pid":"x","StartedAt":1}`) }, 11, 11, 5, "status"},
		{"configuration was changed", config, func(b []byte) []byte { return []byte(strings.Replace(string(b), "linux", "Linux", 1)) }, 11, 11, 5, "its content has the digest"},
		{"configuration is gone", config, nil, 11, 11, 5, "c27f86cf1612"},
		{"meta.db is gone", metaDB, nil, 0, 0, 0, "meta.db"},
		{"metadata.db is gone", snapDB, nil, 11, 0, 5, ""},
		{"metadata.db is no database", snapDB, func([]byte) []byte { return []byte("hello") }, 11, 0, 5, "metadata.db"},
		{"meta.db ends early", metaDB, func(b []byte) []byte { return b[:len(b)/8] }, 0, 0, 0, "past the end of the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := maps.Clone(good)
			if f := *tree[c.file]; c.harm == nil {
				delete(tree, c.file)
			} else {
				f.Data = c.harm(slices.Clone(f.Data))
				tree[c.file] = &f
			}
			fsys := treetest.New(tree)
			s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
			if err != nil {
				t.Fatal(err)
			}
			containers, named, images := 0, 0, 0
			var said []string
			for c, err := range s.Containers() {
				if err != nil {
					said = append(said, err.Error())
					continue
				}
				containers++
				if c.Rootfs.Upper.Dir != "" {
					named++
				}
			}
			for _, err := range s.Images() {
				if err != nil {
					said = append(said, err.Error())
					continue
				}
				images++
			}
			if containers < c.containers || named < c.rootfs || images < c.images {
				t.Errorf("%d containers, %d with layers, %d images; want at least %d, %d, %d: %q", containers, named, images, c.containers, c.rootfs, c.images, said)
			}
			if all := strings.Join(said, "\n"); c.says == "" && all != "" || !strings.Contains(all, c.says) {
				t.Errorf("said %q, want something of %q", all, c.says)
			}
		})
	}
}

// TestBlankPages blanks each page of meta.db in turn: what is lost is said, and
// most of the rest is there.
func TestBlankPages(t *testing.T) {
	needs.Time(t)
	tree := treetest.Load(t, treetest.Disk(t, "eks-xfs"), "/var/lib/containerd")
	f := tree["var/lib/containerd/"+meta]
	good := f.Data
	db, err := boltdb.Open(bytes.NewReader(good), int64(len(good)), nil)
	if err != nil {
		t.Fatal(err)
	}
	page := int64(db.Meta().PageSize)
	older := int64(db.Meta().TxID+1) % 2 * page
	for p := range db.Pages() {
		if !p.Reachable || p.ID < 2 {
			continue
		}
		f.Data = slices.Clone(good)
		clear(f.Data[older : older+page])
		clear(f.Data[p.Offset : p.Offset+page])
		fsys := treetest.New(tree)
		s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
		if err != nil {
			t.Fatal(err)
		}
		containers, failed := count(s.Containers())
		images, alsoFailed := count(s.Images())
		snapshots, thirdFailed := count(s.Snapshots())
		failed += alsoFailed + thirdFailed
		if snapshots < 34 {
			t.Errorf("page %d blank: %d snapshots; metadata.db has 34", p.ID, snapshots)
		}
		if failed == 0 {
			t.Errorf("page %d blank: %d containers, %d images, and no word of it", p.ID, containers, images)
		}
		t.Logf("page %d of %d elements blank: %d containers, %d images, %d snapshots, %d errors", p.ID, p.Count, containers, images, snapshots, failed)
	}
}

func TestMutants(t *testing.T) {
	tree := treetest.Load(t, treetest.Disk(t, "eks-xfs"), "/var/lib/containerd", "/etc/containerd")
	maps.DeleteFunc(tree, func(name string, f *fstest.MapFile) bool { return strings.Contains(name, "/volumes/") })
	treetest.Mutants(t, tree, needs.Rounds(150, 25), func(fsys *treetest.Tree) {
		if _, err := containerd.Roots(fsys, fsys.Root()); err != nil {
			t.Error(err)
		}
		s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
		if err != nil {
			t.Fatal(err)
		}
		count(s.Containers())
		count(s.Images())
		count(s.Snapshots())
	})
}

// count returns how many items and how many errors a sequence has.
func count[T any](seq iter.Seq2[T, error]) (items, failed int) {
	for _, err := range seq {
		if err != nil {
			failed++
		} else {
			items++
		}
	}
	return items, failed
}

func TestRoots(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"nothing", map[string]string{"etc/hosts": ""}, nil},
		{"usual", map[string]string{"var/lib/containerd/" + meta: ""}, []string{"/var/lib/containerd"}},
		{"configured", map[string]string{"etc/containerd/config.toml": "version = 3\nroot = \"/data/ctrd\" # ours\n[grpc]\nroot = \"/no\"\n", "data/ctrd/" + meta: "", "var/lib/containerd/" + meta: ""},
			[]string{"/data/ctrd", "/var/lib/containerd"}},
		{"imported", map[string]string{"etc/containerd/config.toml": "imports = [\n  \"conf.d/*.toml\", # more\n]\nroot = '/a'\n", "etc/containerd/conf.d/x.toml": "root = \"/b\"\n", "a/" + meta: "", "b/" + meta: ""},
			[]string{"/b", "/a"}},
		{"flag of the unit", map[string]string{"etc/systemd/system/containerd.service.d/x.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/containerd \\\n  --root=/c\n", "c/" + meta: ""}, []string{"/c"}},
		{"k3s elsewhere", map[string]string{"etc/rancher/k3s/config.yaml": "data-dir: \"/big/k3s\"\n", "big/k3s/agent/containerd/" + meta: ""}, []string{"/big/k3s/agent/containerd"}},
		{"user's", map[string]string{"home/kim/.local/share/containerd/" + meta: ""}, []string{"/home/kim/.local/share/containerd"}},
		{"Docker's", map[string]string{"etc/docker/daemon.json": `{"data-root":"/d"}`, "d/containerd/daemon/" + meta: ""}, []string{"/d/containerd/daemon"}},
		{"the tree itself", map[string]string{meta: ""}, []string{"/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := treetest.New(treetest.Files(c.files))
			got, err := containerd.Roots(fsys, fsys.Root())
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

const meta = "io.containerd.metadata.v1.bolt/meta.db"

var _ runtimes.Store = (*containerd.Store)(nil)
