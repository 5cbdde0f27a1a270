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

	"lagan/internal/needs"
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
	many, some := needs.Rounds(800, 200), needs.Rounds(80, 20)
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
