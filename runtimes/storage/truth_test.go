package storage_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"lagan/internal/needs"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/treetest"
	"lagan/runtimes/storage"
)

// truth is what podman inspect said on the live node.
type truth struct {
	Containers []struct {
		ID      string
		Inspect struct {
			Name, Image, ImageName, ImageDigest, Path, Driver string
			Created                                           time.Time
			Args                                              []string
			RestartCount                                      int
			State                                             struct {
				Status                string
				Pid, ExitCode         int
				OOMKilled             bool
				StartedAt, FinishedAt time.Time
			}
			Config struct {
				Labels map[string]string
			}
			HostConfig struct {
				Privileged bool
				LogConfig  struct{ Type, Path string }
			}
			GraphDriver struct {
				Name string
				Data struct{ LowerDir, UpperDir string }
			}
			Mounts []struct {
				Type, Name, Source, Destination string
				RW                              bool
			}
		}
	}
	Images []struct {
		Inspect struct {
			ID               string `json:"Id"`
			Digest           string
			RepoTags         []string
			Created          time.Time
			Architecture, OS string
			RootFS           struct{ Layers []string }
			GraphDriver      struct {
				Data struct{ LowerDir, UpperDir string }
			}
			History []struct {
				Created_By string
			}
		}
	}
}

func open(t *testing.T) (*storage.Store, *truth) {
	t.Helper()
	var want truth
	return treetest.Store(t, "podman-ext4", "/var/lib/containers/storage", &want, storage.Roots, storage.Open), &want
}

func TestContainersAreThoseOfTheNode(t *testing.T) {
	s, want := open(t)
	containers, said := treetest.Collect(s.Containers())
	if said != "" || len(containers) != len(want.Containers) {
		t.Errorf("%d containers, the live node had %d; said %q", len(containers), len(want.Containers), said)
	}
	for _, w := range want.Containers {
		i := w.Inspect
		n := slices.IndexFunc(containers, func(c runtimes.Container) bool { return c.ID == w.ID })
		if n < 0 {
			t.Errorf("%s is missing", i.Name)
			continue
		}
		c, id := containers[n], i.Name+" "
		treetest.Equal(t, id+"name", c.Name, i.Name)
		treetest.Equal(t, id+"runtime", c.Runtime, runtimes.Podman)
		treetest.Equal(t, id+"image", c.Image+" "+c.ImageID+" "+c.ImageDigest, i.ImageName+" sha256:"+i.Image+" "+i.ImageDigest)
		treetest.Equal(t, id+"created", c.Created, i.Created)
		treetest.Equal(t, id+"state", string(c.State), i.State.Status)
		treetest.Equal(t, id+"started", c.Started.UnixNano(), i.State.StartedAt.UnixNano())
		treetest.Equal(t, id+"finished", c.Finished.UnixNano(), i.State.FinishedAt.UnixNano())
		treetest.Equal(t, id+"pid", c.PID, i.State.Pid)
		if c.State == runtimes.StateExited {
			treetest.Equal(t, id+"exit code", *c.ExitCode, i.State.ExitCode)
		}
		if c.State != runtimes.StateCreated { // of such a one podman inspect tells the first word twice
			treetest.Equal(t, id+"command", strings.Join(c.Command, "\n"), strings.Join(append([]string{i.Path}, i.Args...), "\n"))
		}
		treetest.Equal(t, id+"labels", len(c.Labels), len(i.Config.Labels))
		for k, v := range i.Config.Labels {
			treetest.Equal(t, id+"label "+k, c.Labels[k], v)
		}
		treetest.Equal(t, id+"privileged", c.Privileged, i.HostConfig.Privileged)
		treetest.Equal(t, id+"restarts", *c.Restarts, i.RestartCount)
		treetest.Equal(t, id+"log", c.LogDriver+" "+c.LogPath, i.HostConfig.LogConfig.Type+" "+i.HostConfig.LogConfig.Path)
		treetest.Equal(t, id+"layers", c.Snapshotter+" "+c.Rootfs.Upper.Dir+" over "+treetest.Dirs(c.Rootfs.Lower), i.GraphDriver.Name+" "+i.GraphDriver.Data.UpperDir+" over "+i.GraphDriver.Data.LowerDir)
		if c.Rootfs.Problem != nil || c.Rootfs.UserXattr || c.Rootfs.Kind != runtimes.RootfsOverlay {
			t.Errorf("%s%+v", id, c.Rootfs)
		}
		for _, l := range c.Rootfs.Lower {
			if l.DiffID == "" || l.ChainID == "" {
				t.Errorf("%slayer %s has no digest", id, l.ID)
			}
		}
		for _, m := range i.Mounts {
			line := fmt.Sprint(m.Type, m.Name, m.Source, m.Destination, m.RW)
			if !slices.ContainsFunc(c.Mounts, func(g runtimes.Mount) bool {
				return fmt.Sprint(g.Type, g.Name, g.Source, g.Destination, !g.ReadOnly) == line
			}) {
				t.Errorf("%sno mount %s among %v", id, line, c.Mounts)
			}
		}
	}
}

func TestImagesAreThoseOfTheNode(t *testing.T) {
	s, want := open(t)
	images, said := treetest.Collect(s.Images())
	if said != "" || len(images) < len(want.Images) {
		t.Errorf("%d images, the live node had %d; said %q", len(images), len(want.Images), said)
	}
	for _, w := range want.Images {
		i := w.Inspect
		n := slices.IndexFunc(images, func(img runtimes.Image) bool { return img.ID == "sha256:"+i.ID })
		if n < 0 {
			t.Errorf("%q is missing", i.RepoTags)
			continue
		}
		img, id := images[n], i.RepoTags[0]+" "
		treetest.Equal(t, id+"names", img.Names, i.RepoTags)
		treetest.Equal(t, id+"digest", img.Digest, i.Digest)
		treetest.Equal(t, id+"created", img.Created, i.Created)
		treetest.Equal(t, id+"platform", img.OS+"/"+img.Architecture, i.OS+"/"+i.Architecture)
		treetest.Equal(t, id+"layers", img.Layers, i.RootFS.Layers)
		top := i.GraphDriver.Data.UpperDir
		if i.GraphDriver.Data.LowerDir != "" {
			top += ":" + i.GraphDriver.Data.LowerDir
		}
		treetest.Equal(t, id+"folders", treetest.Dirs(img.Rootfs.Lower), top)
		treetest.Equal(t, id+"steps", len(img.History), len(i.History))
		if img.Size <= 0 || img.Pulled.IsZero() {
			t.Errorf("%ssize %d, pulled %v", id, img.Size, img.Pulled)
		}
	}
	snapshots, said := treetest.Collect(s.Snapshots())
	active := 0
	for _, sn := range snapshots {
		if sn.Kind == "active" {
			active++
		}
	}
	if said != "" || active != len(want.Containers) {
		t.Errorf("%d snapshots, %d active, said %q", len(snapshots), active, said)
	}
}

// TestDamage breaks one document at a time.
func TestDamage(t *testing.T) {
	good := treetest.Load(t, treetest.Disk(t, "podman-ext4"), "/var/lib/containers/storage", "/etc/containers")
	const root = "var/lib/containers/storage/"
	const id = "c9e445ffb453a2446e2e1f59169ea2af78854a56a30aa9e3f9391c6ef75e0e19"
	const layer = "caa383db94d9fa588740edea469cdaad6be78f823a38bdcca476d07a78c2ef1e"
	to := treetest.To
	for _, c := range []struct {
		name, file string
		harm       treetest.Harm
		containers int
		named      int // containers whose lower layers are named
		exited     int
		images     int
		says       string
	}{
		{"nothing", root + "storage.lock", func(b []byte) []byte { return b }, 5, 5, 1, 5, ""},
		{"bolt_state.db is no database", root + "libpod/bolt_state.db", to("x"), 5, 5, 0, 5, "bolt_state.db"},
		{"bolt_state.db ends early", root + "libpod/bolt_state.db", func(b []byte) []byte { return b[:9000] }, 5, 5, 0, 5, "bolt_state.db"},
		{"bolt_state.db is gone", root + "libpod/bolt_state.db", treetest.Gone, 5, 5, 0, 5, ""},
		{"containers.json is cut", root + "overlay-containers/containers.json", treetest.Cut, 5, 0, 1, 5, "containers.json"},
		{"containers.json is NUL", root + "overlay-containers/containers.json", to("\x00\x00\x00"), 5, 0, 1, 5, "not yet written"},
		{"layers.json is cut", root + "overlay-layers/layers.json", treetest.Cut, 5, 0, 1, 5, "layers.json"},
		{"images.json is cut", root + "overlay-images/images.json", treetest.Cut, 5, 5, 1, 0, "images.json"},
		{"config.json is cut", root + "overlay-containers/" + id + "/userdata/config.json", treetest.Cut, 5, 5, 1, 5, "config.json"},
		{"lower leads elsewhere", root + "overlay/" + layer + "/lower", to("l/../../x"), 5, 5, 1, 5, "no short name"},
		{"lower names another layer", root + "overlay/" + layer + "/lower", to("l/ABCDEFGHIJKLMNOPQRSTUVWXYZ"), 5, 5, 1, 5, "names other layers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := treetest.Harmed(good, c.file, c.harm)
			s, err := storage.Open(fsys, fsys.Root(), "/var/lib/containers/storage")
			if err != nil {
				t.Fatal(err)
			}
			containers, said := treetest.Collect(s.Containers())
			images, alsoSaid := treetest.Collect(s.Images())
			named, exited := 0, 0
			for _, got := range containers {
				if len(got.Rootfs.Lower) > 0 {
					named++
				}
				if got.State == runtimes.StateExited {
					exited++
				}
			}
			if len(containers) != c.containers || named != c.named || exited != c.exited || len(images) != c.images {
				t.Errorf("%d containers, %d with layers, %d exited, %d images; want %d, %d, %d, %d", len(containers), named, exited, len(images), c.containers, c.named, c.exited, c.images)
			}
			if said += alsoSaid; c.says == "" && said != "" || !strings.Contains(said, c.says) {
				t.Errorf("said %q, want something of %q", said, c.says)
			}
		})
	}
}

func TestMutants(t *testing.T) {
	tree := treetest.Load(t, treetest.Disk(t, "podman-ext4"), "/var/lib/containers/storage", "/etc/containers")
	maps.DeleteFunc(tree, func(name string, f *fstest.MapFile) bool { return strings.HasSuffix(name, ".gz") })
	treetest.Mutants(t, tree, needs.Rounds(150, 25), func(fsys *treetest.Tree) {
		if _, err := storage.Roots(fsys, fsys.Root()); err != nil {
			t.Error(err)
		}
		s, err := storage.Open(fsys, fsys.Root(), "/var/lib/containers/storage")
		if err != nil {
			t.Fatal(err)
		}
		treetest.Collect(s.Containers())
		treetest.Collect(s.Images())
		treetest.Collect(s.Snapshots())
	})
}

// TestSQLiteState moves the real state from bolt_state.db to db.sql, in the
// tables of Podman 5 (libpod/sqlite_state_internal.go), once with the states
// still in the write-ahead log: everything is read as before.
func TestSQLiteState(t *testing.T) {
	needs.Tool(t, "sqlite3")
	const root = "var/lib/containers/storage/"
	tree := treetest.Load(t, treetest.Disk(t, "podman-ext4"), "/var/lib/containers/storage")
	describe := func(tree fstest.MapFS) string {
		fsys := treetest.New(tree)
		s, err := storage.Open(fsys, fsys.Root(), "/var/lib/containers/storage")
		if err != nil {
			t.Fatal(err)
		}
		containers, said := treetest.Collect(s.Containers())
		var lines []string
		for _, c := range containers {
			lines = append(lines, fmt.Sprint(c.ID, c.Name, c.State, c.Started, c.Finished, c.PID, c.LogPath, c.Labels, c.Mounts, c.Image, len(c.Records)))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n") + said
	}
	want := describe(tree)
	db, err := boltdb.Open(bytes.NewReader(tree[root+"libpod/bolt_state.db"].Data), int64(len(tree[root+"libpod/bolt_state.db"].Data)), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := db.Bucket("ctr")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "db.sql")
	commands := ".dbconfig no_ckpt_on_close on\nPRAGMA journal_mode=WAL;\n" +
		"CREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL);\n" +
		"CREATE TABLE ContainerState(ID TEXT PRIMARY KEY NOT NULL, State INTEGER NOT NULL, ExitCode INTEGER, JSON TEXT NOT NULL);\n" +
		"CREATE TABLE PodConfig(ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, JSON TEXT NOT NULL);\nPRAGMA wal_checkpoint(TRUNCATE);\n"
	for kv := range all.All() {
		b, err := kv.Bucket()
		if err != nil {
			t.Fatal(err)
		}
		for key, table := range map[string]string{"config": "ContainerConfig", "state": "ContainerState"} {
			raw, err := b.Get(key)
			if err != nil {
				t.Fatal(err)
			}
			commands += fmt.Sprintf("INSERT INTO %s VALUES('%s','%s',NULL,'%s');\n", table, kv.Key, kv.Key, strings.ReplaceAll(string(raw), "'", "''"))
		}
	}
	cmd := exec.Command("sqlite3", "-batch", name)
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	delete(tree, root+"libpod/bolt_state.db")
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		tree[root+"db.sql"+suffix] = &fstest.MapFile{Data: raw}
	}
	if got := describe(tree); got != want {
		t.Errorf("from db.sql:\n%s\nfrom bolt_state.db:\n%s", got, want)
	}
	tree[root+"db.sql"] = &fstest.MapFile{Data: []byte("SQLite format 3\x00and no more")}
	delete(tree, root+"db.sql-wal")
	if got := describe(tree); !strings.Contains(got, "db.sql") {
		t.Errorf("a broken db.sql is not said: %s", got)
	}
}

// TestCRIO reads a store as CRI-O writes it, made by hand: internal/storage/runtime.go.
func TestCRIO(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	base, top1, top2 := strings.Repeat("0", 64), strings.Repeat("1", 64), strings.Repeat("2", 64)
	const root = "var/lib/containers/storage/"
	labels := `{\"io.kubernetes.container.name\":\"app\",\"io.kubernetes.pod.name\":\"web-1\",\"io.kubernetes.pod.namespace\":\"shop\",\"io.kubernetes.pod.uid\":\"u-1\"}`
	tree := treetest.Files(map[string]string{
		root + "overlay-layers/layers.json":                        `[{"id":"` + base + `","diff-digest":"sha256:` + base + `","diff-size":10},{"id":"` + top1 + `","parent":"` + base + `"}]`,
		root + "overlay-layers/volatile-layers.json":               `[{"id":"` + top2 + `","parent":"` + base + `"}]`,
		root + "overlay-containers/containers.json":                `[{"id":"` + a + `","names":["k8s_POD_web-1_shop_u-1_0"],"layer":"` + top1 + `","metadata":"{\"pod-name\":\"k8s_web-1_shop_u-1_0\",\"pod-id\":\"` + a + `\",\"image-name\":\"pause\",\"metadata-name\":\"web-1\",\"uid\":\"u-1\",\"namespace\":\"shop\",\"pod\":true}","created":"2026-01-02T03:04:05Z"}]`,
		root + "overlay-containers/volatile-containers.json":       `[{"id":"` + b + `","names":["k8s_app_web-1_shop_u-1_2"],"layer":"` + top2 + `","metadata":"{\"pod-name\":\"k8s_web-1_shop_u-1_0\",\"pod-id\":\"` + a + `\",\"image-name\":\"quay.io/x:1\",\"metadata-name\":\"app\",\"attempt\":2,\"privileged\":true}"}]`,
		root + "overlay-containers/" + b + "/userdata/config.json": `{"linux":{},"process":{"args":["/app"]},"annotations":{"io.kubernetes.cri-o.Labels":"` + labels + `","io.kubernetes.cri-o.LogPath":"/var/log/pods/x/app/2.log","io.kubernetes.cri-o.IP.0":"10.1.2.3","io.kubernetes.cri-o.ImageName":"quay.io/x:1","io.kubernetes.cri-o.Created":"2026-01-02T03:04:06.5Z"}}`,
		root + "overlay-containers/" + b + "/userdata/state.json":  `{"started":"2026-01-02T03:04:07Z","finished":"2026-01-02T03:05:07Z","exitCode":137,"oomKilled":true}`,
		root + "overlay/" + top1 + "/lower":                        "l/" + strings.Repeat("X", 26), root + "overlay/" + top2 + "/lower": "l/" + strings.Repeat("X", 26),
		root + "overlay/" + base + "/diff1/x": "", root + "overlay/" + base + "/link": strings.Repeat("X", 26),
	})
	tree[root+"overlay/l/"+strings.Repeat("X", 26)] = &fstest.MapFile{Data: []byte("../" + base + "/diff"), Mode: 0o777 | 1<<27}
	fsys := treetest.New(tree)
	s, err := storage.Open(fsys, fsys.Root(), "/var/lib/containers/storage")
	if err != nil {
		t.Fatal(err)
	}
	if s.Runtime() != runtimes.CRIO {
		t.Errorf("runtime %s", s.Runtime())
	}
	containers, said := treetest.Collect(s.Containers())
	if said != "" || len(containers) != 2 {
		t.Fatalf("%d containers, said %q", len(containers), said)
	}
	pod, app := containers[0], containers[1]
	if pod.Kind != runtimes.KindSandbox || pod.Runtime != runtimes.CRIO || pod.Pod.Namespace != "shop" {
		t.Errorf("sandbox %+v", pod)
	}
	if app.Name != "app" || app.Pod.Name != "web-1" || app.Pod.UID != "u-1" || app.Pod.SandboxID != a || *app.Pod.Attempt != 2 ||
		app.State != runtimes.StateExited || *app.ExitCode != 137 || !app.OOMKilled || !app.Privileged || app.Image != "quay.io/x:1" ||
		!slices.Equal(app.IP, []string{"10.1.2.3"}) || app.LogPath != "/var/log/pods/x/app/2.log" || app.Created.Nanosecond() != 5e8 || app.Command[0] != "/app" {
		t.Errorf("container %+v", app)
	}
	const dir = "/var/lib/containers/storage/overlay/"
	if got, want := treetest.Dirs(app.Rootfs.Lower), dir+base+"/diff:"+dir+base+"/diff1"; got != want || app.Rootfs.Upper.Dir != dir+top2+"/diff" {
		t.Errorf("layers %s under %s, want %s", got, app.Rootfs.Upper.Dir, want)
	}
}

func TestRoots(t *testing.T) {
	const sign = "overlay-layers/layers.json"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"nothing", map[string]string{"etc/containers/storage.conf": "[storage]\ngraphroot = \"/none\"\n"}, nil},
		{"usual", map[string]string{"var/lib/containers/storage/" + sign: ""}, []string{"/var/lib/containers/storage"}},
		{"configured", map[string]string{"etc/containers/storage.conf": "[storage]\n# graphroot = \"/no\"\ngraphroot = \"/data/c\"\n[storage.options]\nadditionalimagestores = [\n \"/img\",\n]\n", "data/c/" + sign: "", "img/" + sign: ""}, []string{"/data/c", "/img"}},
		{"users'", map[string]string{"home/kim/.local/share/containers/storage/vfs-layers/layers.json": "", "home/lee/.config/containers/storage.conf": "[storage]\ngraphroot=\"$HOME/c\"\n", "home/lee/c/" + sign: ""}, []string{"/home/kim/.local/share/containers/storage", "/home/lee/c"}},
		{"a user who lives elsewhere", map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\ngit:x:998:998::/srv/git/:/bin/sh\nci:x:1201:1201::/var/lib/ci:/sbin/nologin\n", "srv/git/.local/share/containers/storage/" + sign: "", "var/lib/ci/.local/share/containers/storage/" + sign: ""},
			[]string{"/srv/git/.local/share/containers/storage", "/var/lib/ci/.local/share/containers/storage"}},
		{"a place for all users", map[string]string{"etc/passwd": "ci:x:1201:1201::/var/lib/ci:/sbin/nologin\n", "etc/containers/storage.conf": "[storage]\nrootless_storage_path = \"/big/$USER-$UID\"\n", "big/ci-1201/" + sign: ""}, []string{"/big/ci-1201"}},
		{"an image store", map[string]string{"etc/containers/storage.conf": "[storage]\nimagestore = \"/images\"\n", "images/" + sign: "", "var/lib/containers/storage/" + sign: ""}, []string{"/images", "/var/lib/containers/storage"}},
		{"ostree", map[string]string{"ostree/deploy/rhcos/var/lib/containers/storage/" + sign: ""}, []string{"/ostree/deploy/rhcos/var/lib/containers/storage"}},
		{"the tree itself", map[string]string{sign: ""}, []string{"/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := treetest.New(treetest.Files(c.files))
			got, err := storage.Roots(fsys, fsys.Root())
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

var _ runtimes.Store = (*storage.Store)(nil)
