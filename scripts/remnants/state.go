package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// container is one container of the story.
type container struct {
	id, name, pod, uid, sandbox, image string
	made                               time.Time
}

// diskSize is that of the filesystem: room for the databases and a journal of 4 MiB.
const diskSize = 64 << 20

// disk makes a filesystem and mounts it.
func disk(image, at string) (string, func() error, error) {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return "", nil, err
	}
	if err := os.Truncate(image, diskSize); err != nil {
		return "", nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", "-E", "nodiscard", image); err != nil {
		return "", nil, err
	}
	if err := command("mount", "-o", "loop,noatime,nodiscard", image, at); err != nil {
		return "", nil, err
	}
	return at, func() error { return command("umount", at) }, nil
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// node is the state of one node that containers come and go on.
type node struct {
	rnd   *rand.Rand
	top   string
	meta  *bolt.DB
	snap  *bolt.DB
	clock time.Time
	seq   int
	// chains are the names of the images' topmost snapshots.
	chains map[string]string
}

var images = []string{"docker.io/library/nginx:1.25.3", "docker.io/library/redis:7.2", "registry.example.com/team/shop:2.0", "quay.io/tools/debug:latest"}

// story makes containers, removes some and goes on. It returns all and those removed.
func story(rnd *rand.Rand, top string, s scenario, further int) (all, gone []container, err error) {
	n := &node{rnd: rnd, top: top, clock: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), chains: map[string]string{}}
	if err := n.open(); err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, n.meta.Close(), n.snap.Close()) }()
	for _, image := range images {
		if err := n.pull(image); err != nil {
			return nil, nil, err
		}
	}
	for range s.of {
		c, err := n.create()
		if err != nil {
			return nil, nil, err
		}
		all = append(all, c)
	}
	// What is on the disk by now was written out; removals come later.
	if err := command("sync", "-f", top); err != nil {
		return nil, nil, err
	}
	order := rnd.Perm(len(all))[:s.remove]
	removed := map[int]bool{}
	for _, i := range order {
		if err := n.remove(all[i]); err != nil {
			return nil, nil, err
		}
		removed[i] = true
		gone = append(gone, all[i])
	}
	var living []container
	for i, c := range all {
		if !removed[i] {
			living = append(living, c)
		}
	}
	for range further {
		if err := n.change(living); err != nil {
			return nil, nil, err
		}
	}
	return all, gone, nil
}

func (n *node) path(elements ...string) string {
	return filepath.Join(append([]string{n.top}, elements...)...)
}

const root = "var/lib/containerd"

// open makes the databases with the options that containerd gives bbolt: plugins/metadata/plugin.go, core/snapshots/storage/metastore.go.
func (n *node) open() error {
	dirs := []string{root + "/io.containerd.metadata.v1.bolt", root + "/io.containerd.snapshotter.v1.overlayfs/snapshots", root + "/io.containerd.grpc.v1.cri/containers",
		root + "/io.containerd.content.v1.content/blobs/sha256", root + "/io.containerd.runtime.v2.task/k8s.io", "var/log/containers", "var/log/pods", "etc"}
	for _, d := range dirs {
		if err := os.MkdirAll(n.path(d), 0o755); err != nil {
			return err
		}
	}
	var err error
	if n.meta, err = bolt.Open(n.path(root, "io.containerd.metadata.v1.bolt/meta.db"), 0o644, &bolt.Options{NoFreelistSync: true, NoSync: true, FreelistType: bolt.FreelistMapType}); err != nil {
		return err
	}
	n.snap, err = bolt.Open(n.path(root, "io.containerd.snapshotter.v1.overlayfs/metadata.db"), 0o600, &bolt.Options{NoSync: true})
	return err
}

func (n *node) now() time.Time {
	n.clock = n.clock.Add(time.Duration(n.rnd.IntN(1e9)))
	return n.clock
}

func stamp(t time.Time) []byte {
	b, _ := t.MarshalBinary()
	return b
}

func anyOf(url string, v any) []byte {
	value, _ := json.Marshal(v)
	b := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(url)))
	b = append(b, url...)
	b = binary.AppendUvarint(append(b, 2<<3|2), uint64(len(value)))
	return append(b, value...)
}

func (n *node) hex(bytes int) string {
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(n.rnd.Uint32())
	}
	return hex.EncodeToString(b)
}

// buckets makes the buckets of a path.
func buckets(tx *bolt.Tx, path ...string) *bolt.Bucket {
	b, err := tx.CreateBucketIfNotExists([]byte(path[0]))
	for _, p := range path[1:] {
		if err != nil {
			panic(err)
		}
		b, err = b.CreateBucketIfNotExists([]byte(p))
	}
	if err != nil {
		panic(err)
	}
	return b
}

func put(b *bolt.Bucket, key string, value []byte) {
	if err := b.Put([]byte(key), value); err != nil {
		panic(err)
	}
}

func labels(b *bolt.Bucket, all map[string]string) {
	l, err := b.CreateBucketIfNotExists([]byte("labels"))
	if err != nil {
		panic(err)
	}
	for k, v := range all {
		put(l, k, []byte(v))
	}
}

// pull leaves what a pull does: a lease, blobs, the image, its layers as snapshots.
func (n *node) pull(name string) error {
	lease := n.hex(8)
	if err := n.meta.Update(func(tx *bolt.Tx) error {
		b := buckets(tx, "v1", "k8s.io", "leases", lease)
		put(b, "createdat", stamp(n.now()))
		return nil
	}); err != nil {
		return err
	}
	for range 4 {
		digest := "sha256:" + n.hex(32)
		if err := n.meta.Update(func(tx *bolt.Tx) error {
			b := buckets(tx, "v1", "k8s.io", "content", "blob", digest)
			put(b, "createdat", stamp(n.now()))
			put(b, "updatedat", stamp(n.now()))
			put(b, "size", binary.AppendVarint(nil, int64(n.rnd.IntN(1e8))))
			labels(b, map[string]string{"containerd.io/distribution.source.docker.io": "library/x"})
			return nil
		}); err != nil {
			return err
		}
	}
	diff := "sha256:" + n.hex(32)
	config, err := n.blob(fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, diff))
	if err != nil {
		return err
	}
	manifest, err := n.blob(fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q},"layers":[]}`, config))
	if err != nil {
		return err
	}
	if err := n.unpack(diff); err != nil {
		return err
	}
	n.chains[name] = fmt.Sprintf("k8s.io/%d/%s", 2*n.seq, diff)
	return n.meta.Update(func(tx *bolt.Tx) error {
		b := buckets(tx, "v1", "k8s.io", "images", name)
		put(b, "createdat", stamp(n.now()))
		put(b, "updatedat", stamp(n.now()))
		t := buckets(tx, "v1", "k8s.io", "images", name, "target")
		put(t, "digest", []byte(manifest))
		put(t, "mediatype", []byte("application/vnd.oci.image.manifest.v1+json"))
		put(t, "size", binary.AppendVarint(nil, 1234))
		labels(b, map[string]string{"io.cri-containerd.image": "managed"})
		return buckets(tx, "v1", "k8s.io", "leases").DeleteBucket([]byte(lease))
	})
}

// blob writes a document into the content store and returns its digest.
func (n *node) blob(text string) (string, error) {
	sum := sha256.Sum256([]byte(text))
	name := hex.EncodeToString(sum[:])
	return "sha256:" + name, os.WriteFile(n.path(root, "io.containerd.content.v1.content/blobs/sha256", name), []byte(text), 0o444)
}

// unpack commits a layer's snapshot.
func (n *node) unpack(chain string) error {
	n.seq++
	key := fmt.Sprintf("k8s.io/%d/%s", 2*n.seq, chain)
	if err := n.snap.Update(func(tx *bolt.Tx) error {
		id, err := buckets(tx, "v1", "snapshots").NextSequence()
		if err != nil {
			return err
		}
		b := buckets(tx, "v1", "snapshots", key)
		put(b, "id", binary.AppendUvarint(nil, id))
		put(b, "kind", []byte{3})
		put(b, "createdat", stamp(n.now()))
		put(b, "updatedat", stamp(n.now()))
		return os.MkdirAll(n.path(root, "io.containerd.snapshotter.v1.overlayfs/snapshots", fmt.Sprint(id), "fs"), 0o755)
	}); err != nil {
		return err
	}
	return n.meta.Update(func(tx *bolt.Tx) error {
		b := buckets(tx, "v1", "k8s.io", "snapshots", "overlayfs", chain)
		put(b, "name", []byte(key))
		put(b, "createdat", stamp(n.now()))
		put(b, "updatedat", stamp(n.now()))
		return nil
	})
}

// create makes a container as the CRI plugin does: the snapshot, the record, the task.
func (n *node) create() (container, error) {
	n.seq++
	c := container{id: n.hex(32), name: "app", pod: "web-" + n.hex(4), uid: n.hex(4) + "-0000-4000-8000-" + n.hex(6), sandbox: n.hex(32), image: images[n.rnd.IntN(len(images))]}
	var id uint64
	key := fmt.Sprintf("k8s.io/%d/%s", 2*n.seq, c.id)
	err := n.snap.Update(func(tx *bolt.Tx) error {
		all := buckets(tx, "v1", "snapshots")
		var err error
		if id, err = all.NextSequence(); err != nil {
			return err
		}
		b := buckets(tx, "v1", "snapshots", key)
		put(b, "id", binary.AppendUvarint(nil, id))
		put(b, "kind", []byte{2})
		put(b, "parent", []byte(n.chains[c.image]))
		put(b, "createdat", stamp(n.now()))
		put(b, "updatedat", stamp(n.now()))
		return nil
	})
	if err == nil {
		err = os.MkdirAll(n.path(root, "io.containerd.snapshotter.v1.overlayfs/snapshots", fmt.Sprint(id), "fs"), 0o755)
	}
	if err != nil {
		return c, err
	}
	err = n.meta.Update(func(tx *bolt.Tx) error {
		b := buckets(tx, "v1", "k8s.io", "snapshots", "overlayfs", c.id)
		put(b, "name", []byte(key))
		put(b, "createdat", stamp(n.now()))
		put(b, "updatedat", stamp(n.now()))
		buckets(tx, "v1", "k8s.io", "snapshots", "overlayfs", c.id, "children")
		return nil
	})
	if err != nil {
		return c, err
	}
	c.made = n.now()
	if err := n.meta.Update(func(tx *bolt.Tx) error { return n.record(tx, c) }); err != nil {
		return c, err
	}
	if err := n.folders(c); err != nil {
		return c, err
	}
	return c, nil
}

// record writes the container's bucket: core/metadata/containers.go.
func (n *node) record(tx *bolt.Tx, c container) error {
	b := buckets(tx, "v1", "k8s.io", "containers", c.id)
	put(b, "createdat", stamp(c.made))
	put(b, "updatedat", stamp(c.made))
	put(b, "image", []byte(c.image))
	put(b, "snapshotter", []byte("overlayfs"))
	put(b, "snapshotKey", []byte(c.id))
	put(b, "sandboxid", []byte(c.sandbox))
	labels(b, map[string]string{"io.cri-containerd.kind": "container", "io.kubernetes.container.name": c.name, "io.kubernetes.pod.name": c.pod,
		"io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.uid": c.uid})
	r := buckets(tx, "v1", "k8s.io", "containers", c.id, "runtime")
	put(r, "name", []byte("io.containerd.runc.v2"))
	put(b, "spec", anyOf("types.containerd.io/opencontainers/runtime-spec/1/Spec", n.spec(c)))
	e := buckets(tx, "v1", "k8s.io", "containers", c.id, "extensions")
	put(e, "io.cri-containerd.container.metadata", anyOf("github.com/containerd/cri/pkg/store/container/Metadata", json.RawMessage(fmt.Sprintf(
		`{"Version":"v1","Metadata":{"ID":%q,"Name":%q,"SandboxID":%q,"Config":{"metadata":{"name":%q},"image":{"image":%q}},"ImageRef":"sha256:%s","LogPath":"/var/log/pods/default_%s_%s/app/0.log"}}`,
		c.id, "app_"+c.pod+"_default_"+c.uid+"_0", c.sandbox, c.name, c.image, n.hex(32), c.pod, c.uid))))
	return nil
}

// specification has the members of runtime-spec's Spec, in its order.
type specification struct {
	Version string `json:"ociVersion"`
	Process struct {
		Args []string `json:"args"`
		Env  []string `json:"env"`
		Cwd  string   `json:"cwd"`
	} `json:"process"`
	Mounts      []mount           `json:"mounts"`
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		Resources struct {
			CPU map[string]int `json:"cpu"`
		} `json:"resources"`
		CgroupsPath string              `json:"cgroupsPath"`
		Namespaces  []map[string]string `json:"namespaces"`
		Masked      []string            `json:"maskedPaths"`
	} `json:"linux"`
}

type mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

// spec is a container's specification as the CRI plugin makes it: internal/cri/server/container_create.go.
func (n *node) spec(c container) *specification {
	s := &specification{Version: "1.2.0"}
	s.Process.Args, s.Process.Cwd, s.Process.Env = []string{"/bin/app", n.hex(n.rnd.IntN(2000))}, "/", []string{"A=" + n.hex(200)}
	for i := range 10 + n.rnd.IntN(20) {
		s.Mounts = append(s.Mounts, mount{fmt.Sprintf("/mnt/%d", i), "bind", "/var/lib/kubelet/pods/" + c.uid + "/volumes/" + n.hex(16), []string{"rbind", "rprivate", "rw"}})
	}
	s.Annotations = map[string]string{"io.kubernetes.cri.container-name": c.name, "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.image-name": c.image,
		"io.kubernetes.cri.sandbox-id": c.sandbox, "io.kubernetes.cri.sandbox-name": c.pod, "io.kubernetes.cri.sandbox-namespace": "default", "io.kubernetes.cri.sandbox-uid": c.uid}
	s.Linux.Resources.CPU = map[string]int{"shares": 256}
	s.Linux.CgroupsPath = fmt.Sprintf("kubepods-burstable-pod%s.slice:cri-containerd:%s", strings.ReplaceAll(c.uid, "-", "_"), c.id)
	for _, kind := range []string{"pid", "ipc", "uts", "mount", "network"} {
		s.Linux.Namespaces = append(s.Linux.Namespaces, map[string]string{"type": kind})
	}
	s.Linux.Masked = []string{"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}
	return s
}

// folders writes the files beside the databases: internal/cri/store/container/status.go writes the status
// to a temporary file and renames it, at the creation and at the start; the kubelet links the log.
func (n *node) folders(c container) error {
	at := n.path(root, "io.containerd.grpc.v1.cri/containers", c.id)
	logs := n.path("var/log/pods", fmt.Sprintf("default_%s_%s", c.pod, c.uid), c.name)
	for _, d := range []string{at, logs, n.path(root, "io.containerd.runtime.v2.task/k8s.io", c.id)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, started := range []int64{0, c.made.UnixNano() + 1e8} {
		if err := writeStatus(at, c, started, 0); err != nil {
			return err
		}
	}
	if err := os.WriteFile(logs+"/0.log", []byte("2026-05-04T03:02:01.000000000Z stdout F hello\n"), 0o640); err != nil {
		return err
	}
	return os.Symlink(strings.TrimPrefix(logs, n.top)+"/0.log", n.link(c))
}

func (n *node) link(c container) string {
	return n.path("var/log/containers", fmt.Sprintf("%s_default_%s-%s.log", c.pod, c.name, c.id))
}

func writeStatus(at string, c container, started, finished int64) error {
	text := fmt.Sprintf(`{"Version":"v1","Pid":4711,"CreatedAt":%d,"StartedAt":%d,"FinishedAt":%d,"ExitCode":0,"Reason":"","Message":""}`, c.made.UnixNano(), started, finished)
	if err := os.WriteFile(at+"/.tmp-status", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(at+"/.tmp-status", at+"/status")
}

// remove takes a container away as the kubelet and containerd do: the record at once,
// then, at the collection of garbage, its snapshot; folders, log and link.
func (n *node) remove(c container) error {
	at := n.path(root, "io.containerd.grpc.v1.cri/containers", c.id)
	if err := writeStatus(at, c, c.made.UnixNano()+1e8, n.now().UnixNano()); err != nil {
		return err
	}
	err := n.meta.Update(func(tx *bolt.Tx) error {
		return buckets(tx, "v1", "k8s.io", "containers").DeleteBucket([]byte(c.id))
	})
	if err == nil {
		err = n.meta.Update(func(tx *bolt.Tx) error {
			return buckets(tx, "v1", "k8s.io", "snapshots", "overlayfs").DeleteBucket([]byte(c.id))
		})
	}
	if err == nil {
		err = n.snap.Update(func(tx *bolt.Tx) error {
			all := buckets(tx, "v1", "snapshots")
			var name, id []byte
			all.ForEachBucket(func(k []byte) error {
				if strings.HasSuffix(string(k), "/"+c.id) {
					name, id = append([]byte(nil), k...), append([]byte(nil), all.Bucket(k).Get([]byte("id"))...)
				}
				return nil
			})
			num, _ := binary.Uvarint(id)
			return errors.Join(all.DeleteBucket(name), os.RemoveAll(n.path(root, "io.containerd.snapshotter.v1.overlayfs/snapshots", fmt.Sprint(num))))
		})
	}
	return errors.Join(err, os.RemoveAll(at), os.RemoveAll(n.path(root, "io.containerd.runtime.v2.task/k8s.io", c.id)), os.Remove(n.link(c)),
		os.RemoveAll(n.path("var/log/pods", fmt.Sprintf("default_%s_%s", c.pod, c.uid))))
}

// change is one transaction of everyday life: a lease that comes and goes, or a label.
func (n *node) change(living []container) error {
	if len(living) > 0 && n.rnd.IntN(2) == 0 {
		c := living[n.rnd.IntN(len(living))]
		return n.meta.Update(func(tx *bolt.Tx) error {
			b := buckets(tx, "v1", "k8s.io", "containers", c.id)
			put(b, "updatedat", stamp(n.now()))
			labels(b, map[string]string{"seen": n.hex(4)})
			return nil
		})
	}
	return n.meta.Update(func(tx *bolt.Tx) error {
		all := buckets(tx, "v1", "k8s.io", "leases")
		if k, _ := all.Cursor().First(); k != nil {
			return all.DeleteBucket(k)
		}
		put(buckets(tx, "v1", "k8s.io", "leases", n.hex(8)), "createdat", stamp(n.now()))
		return nil
	})
}
