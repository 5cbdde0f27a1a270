package storage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	bolt "go.etcd.io/bbolt"

	"lagan/runtimes"
	"lagan/runtimes/internal/treetest"
	"lagan/runtimes/storage"
)

// hex is an id of one digit.
func hex(digit string) string { return strings.Repeat(digit, 64) }

// storeOf is a graph root of a driver with a layer, an image and a container, and
// beside each one that no list names. layers is where the driver has its folders.
func storeOf(driver, layers string, crio bool) fstest.MapFS {
	metadata := `""`
	if crio {
		metadata = fmt.Sprintf("%q", `{"pod-name":"p","pod-id":"`+hex("9")+`","container-name":"c"}`)
	}
	return treetest.Files(map[string]string{
		"g/" + driver + "-layers/layers.json":                       `[{"id":"` + hex("1") + `"},{"id":"` + hex("3") + `","parent":"` + hex("1") + `"}]`,
		"g/" + driver + "-images/images.json":                       `[{"id":"` + hex("2") + `","layer":"` + hex("1") + `"}]`,
		"g/" + driver + "-containers/containers.json":               `[{"id":"` + hex("4") + `","layer":"` + hex("3") + `","image":"` + hex("2") + `","metadata":` + metadata + `}]`,
		"g/" + driver + "-images/" + hex("2") + "/=bWFuaWZlc3Q=":    "{}",
		"g/" + driver + "-images/" + hex("a") + "/=bWFuaWZlc3Q=":    "{}",
		"g/" + driver + "-containers/" + hex("4") + "/userdata/pid": "1",
		"g/" + driver + "-containers/" + hex("b") + "/userdata/pid": "1",
		layers + hex("1") + "/bin/sh":                               "x",
		layers + hex("3") + "/tmp/x":                                "x",
		layers + hex("c") + "/implant":                              "x",
		layers + "lost+found/x":                                     "x",
	})
}

// TestOrphans: folders of layers, images and containers that no list names, in
// each driver's place, and removals that were not finished.
func TestOrphans(t *testing.T) {
	for _, c := range []struct {
		name, driver, layers string
		crio                 bool
		runtime              runtimes.Name
	}{
		{"overlay", "overlay", "g/overlay/", false, runtimes.Podman},
		{"of CRI-O", "overlay", "g/overlay/", true, runtimes.CRIO},
		{"vfs", "vfs", "g/vfs/dir/", false, runtimes.Podman},
		{"btrfs", "btrfs", "g/btrfs/subvolumes/", false, runtimes.Podman},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := storeOf(c.driver, c.layers, c.crio)
			want := []string{
				"container " + hex("b") + " /g/" + c.driver + "-containers/" + hex("b") + " folder of a container without a record",
				"image sha256:" + hex("a") + " /g/" + c.driver + "-images/" + hex("a") + " folder of an image without a record",
				"snapshot " + hex("c") + " /" + c.layers + hex("c") + " folder of a layer without a record",
			}
			if c.driver == "overlay" { // which alone moves away first what it removes
				for name, content := range map[string]string{"l/ABC": "../" + hex("1") + "/diff", "staging/x/y": "x", "tempdirs/temp-dir-1/0-" + hex("d") + "/diff/x": "x"} {
					tree[c.layers+name] = &fstest.MapFile{Data: []byte(content)}
				}
				want = append(want, "snapshot temp-dir-1 /g/overlay/tempdirs/temp-dir-1 a removal that was not finished")
			}
			fsys := treetest.New(tree)
			s, err := storage.Open(fsys, fsys.Root(), "/g")
			if err != nil {
				t.Fatal(err)
			}
			left, said := treetest.Collect(s.Remnants())
			if said != "" {
				t.Errorf("said %s", said)
			}
			var got []string
			for _, r := range left {
				got = append(got, fmt.Sprintf("%s %s %s %s", r.Object, r.ID, r.Source, r.Note))
				if r.Sure != runtimes.Sure || r.Place != "folder" || r.Runtime != c.runtime || r.StorePath != "/g" {
					t.Errorf("%+v", r)
				}
			}
			if i := slices.IndexFunc(left, func(r runtimes.Remnant) bool { return r.ID == hex("c") }); i >= 0 && (left[i].Snapshot == nil || !strings.HasPrefix(left[i].Snapshot.Dir, "/"+c.layers+hex("c"))) {
				t.Errorf("the layer's files: %+v", left[i].Snapshot)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func FuzzRemnants(f *testing.F) {
	const boltState, sqliteState, list = "g/libpod/bolt_state.db", "g/db.sql", "g/overlay-containers/containers.json"
	tree := storeOf("overlay", "g/overlay/", false)
	tree[boltState] = &fstest.MapFile{Data: treetest.Bolt(f, func(tx *bolt.Tx) error {
		return treetest.Put(tx, "all-ctrs", map[string]string{hex("4"): "kept", hex("e"): "gone"})
	}, func(tx *bolt.Tx) error { return tx.Bucket([]byte("all-ctrs")).Delete([]byte(hex("e"))) })}
	tree[sqliteState] = &fstest.MapFile{Data: treetest.File(f, "podman-sql", "/var/lib/containers/storage/db.sql")}
	tree[sqliteState+"-wal"] = &fstest.MapFile{}
	real := map[string][][]byte{
		boltState: {treetest.File(f, "podman-ext4", "/var/lib/containers/storage/libpod/bolt_state.db")},
		list:      {treetest.File(f, "podman-ext4", "/var/lib/containers/storage/overlay-containers/containers.json")},
	}
	treetest.FuzzRemnants(f, tree, []string{boltState, sqliteState, sqliteState + "-wal", list, "g/overlay-images/images.json", "g/overlay-layers/layers.json"}, real,
		func(fsys *treetest.Tree) (treetest.Leaver, error) { return storage.Open(fsys, fsys.Root(), "/g") })
}
