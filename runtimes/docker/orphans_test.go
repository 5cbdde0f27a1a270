package docker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	bolt "go.etcd.io/bbolt"

	"lagan/runtimes"
	"lagan/runtimes/docker"
	"lagan/runtimes/internal/treetest"
)

// orphaned has, beside driverTree's container and image, one orphan of each kind.
func orphaned(t testing.TB) map[string]string {
	layer := strings.Repeat("2", 64)
	put := func(path string, values map[string]string) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return treetest.Put(tx, path, values) }
	}
	pruned := map[string]string{"cache.description": `{"value":"[2/3] RUN curl evil"}`, "cache.createdAt": `{"value":1767323045000000006}`, "filler": strings.Repeat("x", 2000)}
	index := strings.Repeat("\x00", 8)
	return driverTree("overlay2", map[string]string{
		"overlay2/base1/diff/bin/sh":                                                                  "",
		"overlay2/base1/link":                                                                         strings.Repeat("A", 26),
		"overlay2/mount1/diff/a":                                                                      "",
		"overlay2/mount1/link":                                                                        "B",
		"overlay2/mount1-init/diff/a":                                                                 "",
		"overlay2/mount1-init/link":                                                                   "C",
		"overlay2/" + strings.Repeat("3", 64) + "/link":                                               "D",
		"overlay2/" + strings.Repeat("3", 64) + "/lower":                                              "l/" + strings.Repeat("A", 26),
		"overlay2/" + strings.Repeat("3", 64) + "/diff/implant":                                       "x",
		"overlay2/kept4kept4kept4kept4kept4/link":                                                     "E", // BuildKit's
		"overlay2/kept4kept4kept4kept4kept4/diff/a":                                                   "",
		"overlay2/done5done5done5done5done5/link":                                                     "F", // BuildKit's, committed
		"overlay2/done5done5done5done5done5/diff/a":                                                   "",
		"image/overlay2/layerdb/mounts/" + strings.Repeat("6", 64) + "/mount-id":                      strings.Repeat("3", 64),
		"image/overlay2/layerdb/mounts/" + strings.Repeat("6", 64) + "/parent":                        "sha256:" + layer,
		"image/overlay2/layerdb/sha256/" + strings.Repeat("7", 64) + "-" + "0123456789-removing/diff": "x",
		"containers/" + strings.Repeat("8", 64) + "/hostname":                                         "gone",
		"buildkit/snapshots.db":                                                                       string(treetest.Bolt(t, put("kept4kept4kept4kept4kept4", map[string]string{"parent": ""}), put("another", map[string]string{"committed": "done5done5done5done5done5"}))),
		"buildkit/metadata_v2.db": string(treetest.Bolt(t, put("_main|kept4kept4kept4kept4kept4", map[string]string{"cache.description": `{"value":"kept"}`}),
			put("_main|pruned9pruned9pruned9pruned", pruned), put("_index", map[string]string{"a": "b"}),
			func(tx *bolt.Tx) error {
				return tx.Bucket([]byte("_main")).DeleteBucket([]byte("pruned9pruned9pruned9pruned"))
			})),
		"volumes/metadata.db": string(treetest.Bolt(t, put("volumes", map[string]string{"kept": `{"Name":"kept"}`, "loot": `{"Name":"loot","Driver":"local"}`}),
			func(tx *bolt.Tx) error { return tx.Bucket([]byte("volumes")).Delete([]byte("loot")) })),
		"volumes/kept/_data/a": "",
		"network/files/local-kv.db": string(treetest.Bolt(t, put("libnetwork", map[string]string{
			"docker/network/v1.0/sandbox/s1/":     index + fmt.Sprintf(`{"ID":"s1","Cid":%q}`, strings.Repeat("a", 64)),
			"docker/network/v1.0/endpoint/n1/e1/": index + `{"id":"e1","name":"miner","sandbox":"s1"}`,
			"docker/network/v1.0/network/n1/":     index + `{"id":"n1","name":"c2net","created":"2026-01-02T03:04:05Z"}`,
			"docker/network/v1.0/network/n2/":     index + `{"id":"n2","name":"bridge"}`,
		}), func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("libnetwork"))
			for _, k := range []string{"sandbox/s1/", "endpoint/n1/e1/", "network/n1/"} {
				if err := b.Delete([]byte("docker/network/v1.0/" + k)); err != nil {
					return err
				}
			}
			return nil
		})),
	})
}

// TestOrphans: folders, mounts and databases tell of what no list of Docker's has;
// what BuildKit keeps is no orphan.
func TestOrphans(t *testing.T) {
	fsys := treetest.New(treetest.Files(orphaned(t)))
	s, err := docker.Open(fsys, fsys.Root(), "/")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"container " + strings.Repeat("6", 64):                         "mount without a container",
		"container " + strings.Repeat("8", 64):                         "folder of a container without its configuration",
		"container " + strings.Repeat("a", 64):                         "its network sandbox and endpoint",
		"snapshot " + strings.Repeat("7", 64) + "-0123456789-removing": "a removal that was not finished",
		"volume loot":                       "",
		"network n1":                        "",
		"build pruned9pruned9pruned9pruned": "",
	}
	told := map[string]bool{}
	for r, err := range s.Remnants() {
		if err != nil {
			t.Error(err)
			continue
		}
		k := string(r.Object) + " " + r.ID
		note, ok := want[k]
		if ok && told[k] {
			continue // on another page, too
		}
		if !ok || note != r.Note || r.Source == "" || r.Sure == runtimes.Doubtful {
			t.Errorf("%s: %q, %s, in %q, want %q", k, r.Note, r.Sure, r.Source, note)
		}
		told[k] = true
		switch {
		case r.ID == strings.Repeat("6", 64) && (r.Container == nil || r.Container.Rootfs.Upper.Dir != "/overlay2/"+strings.Repeat("3", 64)+"/diff" || len(r.Container.Rootfs.Lower) != 1):
			t.Errorf("the mount's container: %+v", r.Container)
		case r.ID == strings.Repeat("a", 64) && r.Name != "miner":
			t.Errorf("the sandbox's container is called %q", r.Name)
		case r.Object == runtimes.ObjectBuild && (r.Name != "[2/3] RUN curl evil" || r.Existed.UnixNano() != 1767323045000000006):
			t.Errorf("build %q at %v", r.Name, r.Existed)
		}
	}
	for k := range want {
		if !told[k] {
			t.Errorf("%s is not told", k)
		}
	}
}

func FuzzRemnants(f *testing.F) {
	config := "containers/" + strings.Repeat("9", 64) + "/config.v2.json"
	tree := treetest.Files(orphaned(f))
	tree[config] = &fstest.MapFile{Data: []byte(`{"StreamConfig":{},"ID":"` + strings.Repeat("9", 64) + `","MountPoints":{"/x":{"Name":"loot","Destination":"/x"}}}`)}
	const volumes, networks = "volumes/metadata.db", "network/files/local-kv.db"
	real := map[string][][]byte{
		volumes: {treetest.File(f, "docker-ext4", "/var/lib/docker/"+volumes)}, networks: {treetest.File(f, "docker-ext4", "/var/lib/docker/"+networks)},
	}
	treetest.FuzzRemnants(f, tree, []string{volumes, networks, "buildkit/metadata_v2.db", "buildkit/snapshots.db", config, "image/overlay2/layerdb/mounts/" + strings.Repeat("6", 64) + "/mount-id"}, real,
		func(fsys *treetest.Tree) (treetest.Leaver, error) { return docker.Open(fsys, fsys.Root(), "/") })
}
