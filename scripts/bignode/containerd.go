//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

const (
	containerdRoot = "containerd/var/lib/containerd"
	snapshotter    = containerdRoot + "/io.containerd.snapshotter.v1.overlayfs"
)

// put makes a bucket and puts values into it.
func put(tx *bolt.Tx, path []string, values map[string]string) error {
	b, err := tx.CreateBucketIfNotExists([]byte(path[0]))
	for _, name := range path[1:] {
		if err == nil {
			b, err = b.CreateBucketIfNotExists([]byte(name))
		}
	}
	for k, v := range values {
		if err == nil {
			err = b.Put([]byte(k), []byte(v))
		}
	}
	return err
}

// database writes a bolt file as containerd does, without its freelist.
func (n node) database(name string, fill func(*bolt.Tx) error) error {
	name = filepath.Join(n.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	db, err := bolt.Open(name, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		return err
	}
	if err := db.Update(fill); err != nil {
		return err
	}
	return db.Close()
}

// anyOf is a google.protobuf.Any.
func anyOf(url string, value []byte) string {
	b := append([]byte{1<<3 | 2}, binary.AppendUvarint(nil, uint64(len(url)))...)
	b = append(append(b, url...), 2<<3|2)
	return string(append(binary.AppendUvarint(b, uint64(len(value))), value...))
}

func stamp() string {
	b, _ := began.MarshalBinary()
	return string(b)
}

// snapshot is one entry of both databases.
type snapshot struct{ key, parent, kind string }

// writeContainerd writes pods of Kubernetes: every fifth container is a sandbox.
func writeContainerd(n node) error {
	var snapshots []snapshot
	err := n.database(containerdRoot+"/io.containerd.metadata.v1.bolt/meta.db", func(tx *bolt.Tx) error {
		for i := range n.images {
			_, chains := n.chains(i)
			parent := ""
			for _, c := range chains {
				snapshots = append(snapshots, snapshot{c, parent, "\x03"})
				parent = c
			}
			if err := n.containerdImage(tx, i); err != nil {
				return err
			}
		}
		for i := range n.containers {
			_, chains := n.chains(i % n.images)
			snapshots = append(snapshots, snapshot{hex("container %d", i), chains[len(chains)-1], "\x02"})
			if err := n.containerdContainer(tx, i); err != nil {
				return err
			}
		}
		for i, s := range snapshots {
			if err := put(tx, []string{"v1", "k8s.io", "snapshots", "overlayfs", s.key}, map[string]string{"name": fmt.Sprintf("k8s.io/%d/%s", i+1, s.key), "parent": s.parent, "createdat": stamp(), "updatedat": stamp()}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	names := make(map[string]string)
	for i, s := range snapshots {
		names[s.key] = fmt.Sprintf("k8s.io/%d/%s", i+1, s.key)
	}
	return n.database(snapshotter+"/metadata.db", func(tx *bolt.Tx) error {
		for i, s := range snapshots {
			v := map[string]string{"id": string(binary.AppendUvarint(nil, uint64(i+1))), "kind": s.kind, "createdat": stamp(), "updatedat": stamp(), "size": string(binary.AppendVarint(nil, 4096))}
			if s.parent != "" {
				v["parent"] = names[s.parent]
			}
			if err := put(tx, []string{"v1", "snapshots", names[s.key]}, v); err != nil {
				return err
			}
			dir := fmt.Sprintf("%s/snapshots/%d/fs", snapshotter, i+1)
			if err := os.MkdirAll(filepath.Join(n.dir, dir), 0o755); err != nil {
				return err
			}
			if err := n.snapshotFiles(dir, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// snapshotFiles fills the folder of the i-th snapshot: those of the images come first.
func (n node) snapshotFiles(dir string, i int) error {
	if of := n.images * n.layers; i >= of {
		return n.upperFiles(dir, i-of)
	}
	return n.layerFiles(dir, i%n.layers)
}

func (n node) containerdImage(tx *bolt.Tx, i int) error {
	config, id := n.config(i)
	diffs, _ := n.chains(i)
	var layers []map[string]any
	for _, d := range diffs {
		layers = append(layers, map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + hex("packed %s", d), "size": 5000})
	}
	manifest, _ := json.Marshal(map[string]any{"schemaVersion": 2, "config": map[string]any{"digest": id, "size": len(config)}, "layers": layers})
	for _, raw := range [][]byte{config, manifest} {
		digest := hex("%s", raw)
		if err := n.write(containerdRoot+"/io.containerd.content.v1.content/blobs/sha256/"+digest, raw); err != nil {
			return err
		}
		if err := put(tx, []string{"v1", "k8s.io", "content", "blob", "sha256:" + digest}, map[string]string{"createdat": stamp(), "updatedat": stamp(), "size": string(binary.AppendVarint(nil, int64(len(raw))))}); err != nil {
			return err
		}
	}
	at := []string{"v1", "k8s.io", "images", imageName(i)}
	if err := put(tx, at, map[string]string{"createdat": stamp(), "updatedat": stamp()}); err != nil {
		return err
	}
	return put(tx, append(at, "target"), map[string]string{"digest": "sha256:" + hex("%s", manifest), "mediatype": "application/vnd.oci.image.manifest.v1+json", "size": string(binary.AppendVarint(nil, int64(len(manifest))))})
}

func (n node) containerdContainer(tx *bolt.Tx, i int) error {
	id, sandbox := hex("container %d", i), hex("container %d", i/5*5)
	kind, extension := "container", "io.cri-containerd.container.metadata"
	if id == sandbox {
		kind, extension = "sandbox", "io.cri-containerd.sandbox.metadata"
	}
	pod := fmt.Sprintf("app-%d", i/5)
	labels := map[string]string{"io.cri-containerd.kind": kind, "io.kubernetes.pod.name": pod, "io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.uid": hex("uid %s", pod)[:32], "io.kubernetes.container.name": fmt.Sprint("c", i%5)}
	spec, _ := json.Marshal(map[string]any{"process": map[string]any{"args": []string{"serve"}, "env": []string{"A=" + filler(500)}}, "hostname": pod,
		"linux": map[string]any{"seccomp": filler(7000), "maskedPaths": []string{"/proc/kcore"}}, "mounts": []map[string]any{{"destination": "/etc/hosts", "type": "bind", "source": "/var/lib/kubelet/pods/x/etc-hosts"}}})
	metadata, _ := json.Marshal(map[string]any{"Version": "v1", "Metadata": map[string]any{"ID": id, "Name": strings.Join([]string{fmt.Sprint("c", i%5), pod, "default", "u", "0"}, "_"), "SandboxID": sandbox,
		"Config": map[string]any{"metadata": map[string]any{"name": fmt.Sprint("c", i%5)}, "annotations": map[string]string{"a": filler(2000)}}}})
	at := []string{"v1", "k8s.io", "containers", id}
	values := map[string]string{"createdat": stamp(), "updatedat": stamp(), "image": imageName(i % n.images), "snapshotter": "overlayfs", "snapshotKey": id, "sandboxid": sandbox,
		"spec": anyOf("types.containerd.io/opencontainers/runtime-spec/1/Spec", spec)}
	if err := put(tx, at, values); err != nil {
		return err
	}
	if err := put(tx, append(at[:4:4], "labels"), labels); err != nil {
		return err
	}
	if err := put(tx, append(at[:4:4], "runtime"), map[string]string{"name": "io.containerd.runc.v2"}); err != nil {
		return err
	}
	if err := put(tx, append(at[:4:4], "extensions"), map[string]string{extension: anyOf("github.com/containerd/cri/pkg/store/container/Metadata", metadata)}); err != nil {
		return err
	}
	status := fmt.Sprintf(`{"Version":"v1","Pid":%d,"CreatedAt":%d,"StartedAt":%d,"FinishedAt":0,"ExitCode":0,"Reason":"","Message":""}`, 1000+i, began.UnixNano(), began.UnixNano())
	return n.write(containerdRoot+"/io.containerd.grpc.v1.cri/containers/"+id+"/status", []byte(status))
}
