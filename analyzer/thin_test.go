package analyzer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"lagan/evidence"
	"lagan/evidence/volume/thin/thintest"
)

// TestDevmapper has a node with containerd's devmapper snapshotter, whose pool
// lies in files, on disks of its own, or nowhere.
func TestDevmapper(t *testing.T) {
	dir := t.TempDir()
	image := func(name string, files map[string]string) []byte {
		return ext4Image(t, filepath.Join(dir, name), files)
	}
	meta, data := thintest.Pool(map[uint64][]byte{
		11: image("base", map[string]string{"etc/a": "1", "etc/b": "1"}),
		12: image("changed", map[string]string{"etc/a": "22", "etc/c": "3"}),
	})
	for _, c := range []struct{ name, pool, want string }{
		{"in files", "var/lib/containerd/io.containerd.snapshotter.v1.devmapper/", "etc/a=22 etc/c=3"},
		{"in Kata's files", "var/lib/containerd/devmapper/", "etc/a=22 etc/c=3"},
		{"on disks", "", "etc/a=22 etc/c=3"},
		{"not given", "none", "--disk adds its disks"},
	} {
		node := filepath.Join(dir, c.name)
		devmapperNode(t, node)
		var o Options
		switch c.pool {
		case "none":
		case "":
			put(t, node+".meta", string(meta))
			put(t, node+".data", string(data)+"the rest of a block")
			o.Disks = []string{node + ".data", node + ".meta"}
		default:
			put(t, filepath.Join(node, c.pool, "meta"), string(meta))
			put(t, filepath.Join(node, c.pool, "data"), string(data))
		}
		n, err := Open(t.Context(), node, o)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		got := viewOf(t, n)
		if !strings.Contains(got, c.want) || len(c.pool) > 4 && len(n.Gaps()) > 0 {
			t.Errorf("%s: %s; %v", c.name, got, n.Gaps())
		}
		if c.pool != "none" {
			base, err := n.Base(n.Containers()[0])
			if got := filesOf(t, base, err); got != "etc/a=1 etc/b=1" {
				t.Errorf("%s: image %s", c.name, got)
			}
		}
	}
}

// ext4Image is a filesystem with some files, which are written to the folder src first.
func ext4Image(t *testing.T, src string, files map[string]string) []byte {
	t.Helper()
	for p, content := range files {
		put(t, filepath.Join(src, p), content)
	}
	disk := src + ".img"
	if out, err := exec.Command("mkfs.ext4", "-q", "-d", src, disk, "4M").CombinedOutput(); err != nil {
		if os.Getenv("CI_REQUIRE_TOOLS") == "1" {
			t.Fatalf("mkfs.ext4: %v: %s", err, out)
		}
		t.Skipf("mkfs.ext4: %v: %s", err, out)
	}
	b, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, name, content string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func viewOf(t *testing.T, n *Node) string {
	t.Helper()
	all := n.Containers()
	if len(all) != 1 {
		t.Fatalf("%d containers; %v", len(all), n.Gaps())
	}
	tree, err := n.View(all[0])
	if err != nil {
		return err.Error()
	}
	return filesOf(t, tree.FS, nil)
}

// filesOf are a tree's files with their contents.
func filesOf(t *testing.T, fsys evidence.FS, err error) string {
	t.Helper()
	var out []string
	if err == nil {
		err = evidence.Walk(fsys, fsys.Root(), func(p string, e evidence.Entry, info evidence.Info, err error) error {
			if err == nil && info.Type == evidence.TypeFile {
				var b []byte
				b, err = evidence.ReadInode(fsys, e.Ino, 1<<20)
				out = append(out, p+"="+string(b))
			}
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

// devmapperNode writes the databases of a containerd with one container.
func devmapperNode(t *testing.T, dir string) {
	t.Helper()
	at, _ := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC).MarshalBinary()
	chain := "sha256:" + strings.Repeat("1", 64)
	const root, snapshotter = "var/lib/containerd/io.containerd.", "var/lib/containerd/io.containerd.snapshotter.v1.devmapper/"
	writeBolt(t, dir, map[string]map[string]map[string]string{
		root + "metadata.v1.bolt/meta.db": {
			"v1|ns|containers|c":                 {"snapshotter": "devmapper", "snapshotKey": "c", "createdat": string(at)},
			"v1|ns|snapshots|devmapper|c":        {"name": "ns/2/c", "parent": chain},
			"v1|ns|snapshots|devmapper|" + chain: {"name": "ns/1/" + chain},
		},
		snapshotter + "metadata.db": {
			"v1|snapshots|ns/1/" + chain: {"id": "\x01", "kind": "\x03", "createdat": string(at)},
			"v1|snapshots|ns/2/c":        {"id": "\x02", "kind": "\x02", "parent": "ns/1/" + chain, "createdat": string(at)},
		},
		snapshotter + "pool.db": {
			"devices": {"pool-snap-1": fmt.Sprintf(`{"device_id":11,"size":%d,"name":"pool-snap-1"}`, 4<<20), "pool-snap-2": fmt.Sprintf(`{"device_id":12,"size":%d,"name":"pool-snap-2"}`, 4<<20)},
		},
	})
}

// writeBolt writes bolt databases: by file, by path of buckets.
func writeBolt(t *testing.T, dir string, files map[string]map[string]map[string]string) {
	t.Helper()
	for file, buckets := range files {
		name := filepath.Join(dir, file)
		put(t, name, "")
		os.Remove(name)
		db, err := bolt.Open(name, 0o600, &bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error { return fill(tx, buckets) })
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fill makes buckets at paths of names joined by "|".
func fill(tx *bolt.Tx, buckets map[string]map[string]string) error {
	for path, values := range buckets {
		names := strings.Split(path, "|")
		b, err := tx.CreateBucketIfNotExists([]byte(names[0]))
		for _, name := range names[1:] {
			if err != nil {
				return err
			}
			b, err = b.CreateBucketIfNotExists([]byte(name))
		}
		for k, v := range values {
			if err == nil {
				err = b.Put([]byte(k), []byte(v))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
