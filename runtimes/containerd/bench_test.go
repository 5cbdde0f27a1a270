package containerd_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	bolt "go.etcd.io/bbolt"

	"lagan/runtimes"
	"lagan/runtimes/containerd"
	"lagan/runtimes/internal/treetest"
	"lagan/runtimes/oci"
)

// writer writes containerd's databases as containerd does: core/metadata/buckets.go.
type writer struct {
	t    testing.TB
	tree fstest.MapFS
}

func (w writer) db(name string, fill func(*bolt.Tx) error) {
	w.t.Helper()
	w.tree["r/"+name] = &fstest.MapFile{Data: treetest.Bolt(w.t, fill)}
}

func (w writer) blob(v any) (digest string) {
	raw, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	digest = oci.Digest(raw)
	w.tree["r/io.containerd.content.v1.content/blobs/sha256/"+digest[7:]] = &fstest.MapFile{Data: raw}
	return digest
}

// big makes a store of many containers and images.
func big(t testing.TB, containers, images, layers int) *treetest.Tree {
	w := writer{t, fstest.MapFS{}}
	at := treetest.Stamp(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	spec := treetest.Any("types.containerd.io/opencontainers/runtime-spec/1/Spec", `{"process":{"args":["/app"],"env":["A=`+strings.Repeat("x", 500)+`"]},"hostname":"h","linux":{"seccomp":{"x":"`+strings.Repeat("y", 7000)+`"},"maskedPaths":["/proc/kcore"]}}`)
	extension := treetest.Any("x", `{"Version":"v1","Metadata":{"SandboxID":"s","Config":{"metadata":{"name":"app"},"annotations":{"a":"`+strings.Repeat("z", 2000)+`"}}}}`)
	tops := make([]string, images)
	snapshots := map[string]string{} // key to parent
	var order []string
	w.db("io.containerd.metadata.v1.bolt/meta.db", func(tx *bolt.Tx) error {
		for i := range images {
			var diffs []string
			for l := range layers {
				sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", i, l))
				diffs = append(diffs, fmt.Sprintf("sha256:%x", sum))
			}
			config := w.blob(map[string]any{"created": "2026-01-02T03:04:05Z", "os": "linux", "rootfs": map[string]any{"diff_ids": diffs}})
			target := w.blob(map[string]any{"config": map[string]any{"digest": config}})
			name := fmt.Sprintf("v1|k8s.io|images|registry.example.com/app:%d", i)
			if err := treetest.Put(tx, name, map[string]string{"createdat": at, "updatedat": at}); err != nil {
				return err
			}
			if err := treetest.Put(tx, name+"|target", map[string]string{"digest": target, "mediatype": "x"}); err != nil {
				return err
			}
			parent := ""
			for _, chain := range oci.ChainIDs(diffs) {
				snapshots[chain] = parent
				order = append(order, chain)
				parent = chain
			}
			tops[i] = parent
		}
		for i := range containers {
			id := fmt.Sprintf("%064x", sha256.Sum256(fmt.Appendf(nil, "c%d", i)))
			name := "v1|k8s.io|containers|" + id
			if err := treetest.Put(tx, name, map[string]string{"createdat": at, "updatedat": at, "image": fmt.Sprintf("registry.example.com/app:%d", i%images), "snapshotter": "overlayfs", "snapshotKey": id, "spec": spec}); err != nil {
				return err
			}
			if err := treetest.Put(tx, name+"|labels", map[string]string{"io.cri-containerd.kind": "container", "io.kubernetes.pod.name": fmt.Sprint("pod", i), "io.kubernetes.container.name": "app"}); err != nil {
				return err
			}
			if err := treetest.Put(tx, name+"|extensions", map[string]string{"io.cri-containerd.container.metadata": extension}); err != nil {
				return err
			}
			snapshots[id] = tops[i%images]
			order = append(order, id)
			w.tree["r/io.containerd.grpc.v1.cri/containers/"+id+"/status"] = &fstest.MapFile{Data: []byte(`{"Pid":5,"StartedAt":1795339440836169956}`)}
		}
		for n, key := range order {
			if err := treetest.Put(tx, "v1|k8s.io|snapshots|overlayfs|"+key, map[string]string{"name": fmt.Sprintf("k8s.io/%d/%s", n+1, key), "parent": snapshots[key], "createdat": at, "updatedat": at}); err != nil {
				return err
			}
		}
		return nil
	})
	w.db("io.containerd.snapshotter.v1.overlayfs/metadata.db", func(tx *bolt.Tx) error {
		number := map[string]int{}
		for n, key := range order {
			number[key] = n + 1
			v := map[string]string{"id": treetest.Uvarint(uint64(n + 1)), "kind": "\x03", "createdat": at, "size": "\x02", "inodes": "\x02"}
			if p := snapshots[key]; p != "" {
				v["parent"] = fmt.Sprintf("k8s.io/%d/%s", number[p], p)
			}
			if !strings.HasPrefix(key, "sha256:") {
				v["kind"] = "\x02"
			}
			if err := treetest.Put(tx, fmt.Sprintf("v1|snapshots|k8s.io/%d/%s", n+1, key), v); err != nil {
				return err
			}
		}
		return nil
	})
	return treetest.New(w.tree)
}

// TestBigNode lists a node with many containers and images. The figure to reach
// is 5,000 and 500 (LAGAN_BIG_NODE=1) in 2 seconds and 256 MiB.
func TestBigNode(t *testing.T) {
	many, some := 800, 80
	if os.Getenv("LAGAN_BIG_NODE") != "" {
		many, some = 5000, 500
	}
	fsys := big(t, many, some, 10)
	if dir := os.Getenv("LAGAN_BIG_NODE_DIR"); dir != "" { // for a measurement of the whole program
		if err := os.CopyFS(dir, fsys.FS()); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	s, err := containerd.Open(fsys, fsys.Root(), "/r")
	if err != nil {
		t.Fatal(err)
	}
	containers, failed := count(s.Containers())
	images, alsoFailed := count(s.Images())
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d containers, %d images in %v; %d KiB held, %d MiB allocated", containers, images, took, (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10, (after.TotalAlloc-before.TotalAlloc)>>20)
	if containers != many || images != some || failed+alsoFailed != 0 {
		t.Errorf("%d containers, %d images, %d errors", containers, images, failed+alsoFailed)
	}
	runtime.KeepAlive(s)
}

func BenchmarkContainers(b *testing.B) {
	fsys := big(b, 2000, 100, 10)
	b.ReportAllocs()
	for b.Loop() {
		s, err := containerd.Open(fsys, fsys.Root(), "/r")
		if err != nil {
			b.Fatal(err)
		}
		if n, failed := count(s.Containers()); n != 2000 || failed != 0 {
			b.Fatal(n, failed)
		}
	}
}

// TestSnapshotterElsewhere has the overlayfs snapshotter moved by root_path, and
// a remote one beside containerd with a layer whose content is in a registry.
func TestSnapshotterElsewhere(t *testing.T) {
	w := writer{t, fstest.MapFS{}}
	at := treetest.Stamp(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	chain := "sha256:" + strings.Repeat("1", 64)
	meta := treetest.Bolt(t, func(tx *bolt.Tx) error {
		for _, name := range []string{"overlayfs", "stargz", "native", "erofs", "zfs"} {
			if err := treetest.Put(tx, "v1|ns|containers|c-"+name, map[string]string{"snapshotter": name, "snapshotKey": "c", "createdat": at}); err != nil {
				return err
			}
			for key, v := range map[string]string{"c": "ns/2/c", chain: "ns/1/" + chain} {
				if err := treetest.Put(tx, "v1|ns|snapshots|"+name+"|"+key, map[string]string{"name": v, "createdat": at}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	backend := treetest.Bolt(t, func(tx *bolt.Tx) error {
		if err := treetest.Put(tx, "v1|snapshots|ns/1/"+chain, map[string]string{"id": "\x01", "kind": "\x03", "createdat": at}); err != nil {
			return err
		}
		if err := treetest.Put(tx, "v1|snapshots|ns/1/"+chain+"|labels", map[string]string{"containerd.io/snapshot/remote": "remote snapshot"}); err != nil {
			return err
		}
		return treetest.Put(tx, "v1|snapshots|ns/2/c", map[string]string{"id": "\x02", "kind": "\x02", "parent": "ns/1/" + chain, "createdat": at})
	})
	w.tree = treetest.Files(map[string]string{
		"etc/containerd/config.toml":                                                    "version = 2\n[plugins.\"io.containerd.snapshotter.v1.overlayfs\"]\n  root_path = \"/data/snap\"\n",
		"var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db":                     string(meta),
		"data/snap/metadata.db":                                                         string(backend),
		"var/lib/containerd-stargz-grpc/snapshotter/metadata.db":                        string(backend),
		"var/lib/containerd/io.containerd.snapshotter.v1.native/metadata.db":            string(backend),
		"var/lib/containerd/io.containerd.snapshotter.v1.erofs/metadata.db":             string(backend),
		"var/lib/containerd/io.containerd.snapshotter.v1.erofs/snapshots/1/layer.erofs": "x",
		"var/lib/containerd/io.containerd.snapshotter.v1.erofs/snapshots/2/rwlayer.img": "x",
		"var/lib/containerd/io.containerd.snapshotter.v1.zfs/metadata.db":               string(backend),
		"var/lib/containerd/io.containerd.snapshotter.v1.btrfs/metadata.db":             "damaged",
		"var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/empty":     "",
	})
	fsys := treetest.New(w.tree)
	s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]runtimes.Container)
	var said []string
	for c, err := range s.Containers() {
		if err != nil {
			said = append(said, err.Error())
		} else {
			got[c.ID] = c
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], "v1.btrfs/metadata.db") {
		t.Errorf("said %q", said)
	}
	const root = "/var/lib/containerd/io.containerd.snapshotter.v1."
	for _, c := range []struct {
		id, upper, lower string
		kind             runtimes.RootfsKind
		problem          string
	}{
		{"c-overlayfs", "/data/snap/snapshots/2/fs", "/data/snap/snapshots/1/fs", runtimes.RootfsOverlay, "in a registry"},
		{"c-stargz", "/var/lib/containerd-stargz-grpc/snapshotter/snapshots/2/fs", "/var/lib/containerd-stargz-grpc/snapshotter/snapshots/1/fs", runtimes.RootfsOverlay, "in a registry"},
		{"c-native", root + "native/snapshots/2", root + "native/snapshots/1", runtimes.RootfsBind, "in a registry"},
		{"c-erofs", root + "erofs/snapshots/2/rwlayer.img", root + "erofs/snapshots/1/layer.erofs", runtimes.RootfsOverlay, "in a registry"},
		{"c-zfs", "", "", runtimes.RootfsUnknown, `"zfs"`},
	} {
		r := got[c.id].Rootfs
		if r.Upper.Dir != c.upper || len(r.Lower) != 1 || r.Lower[0].Dir != c.lower || r.Kind != c.kind || r.Problem == nil || !strings.Contains(r.Problem.Error(), c.problem) {
			t.Errorf("%s: %+v", c.id, r)
		}
	}
}
