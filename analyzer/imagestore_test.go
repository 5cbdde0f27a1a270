package analyzer

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// boltPut makes the bucket at a path of names joined by "|" and puts values into it.
func boltPut(tx *bolt.Tx, path string, values map[string]string) error {
	names := strings.Split(path, "|")
	b, err := tx.CreateBucketIfNotExists([]byte(names[0]))
	for _, n := range names[1:] {
		if err == nil {
			b, err = b.CreateBucketIfNotExists([]byte(n))
		}
	}
	for k, v := range values {
		if err == nil {
			err = b.Put([]byte(k), []byte(v))
		}
	}
	return err
}

// TestDockerOverContainerd has a container of Docker 29, whose files containerd
// keeps: built state, by daemon/containerd/image_snapshot.go of moby.
func TestDockerOverContainerd(t *testing.T) {
	root := t.TempDir()
	id := strings.Repeat("c", 64)
	base := "sha256:" + strings.Repeat("1", 64)
	at, _ := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).MarshalBinary()
	write := func(name, content string) { t.Helper(); putFile(t, root, name, content) }
	database := func(name string, fill func(*bolt.Tx) error) {
		t.Helper()
		write(name, "")
		db, err := bolt.Open(filepath.Join(root, name), 0o600, nil)
		if err == nil {
			err = db.Update(fill)
		}
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("var/lib/docker/containers/"+id+"/config.v2.json", `{"ID":"`+id+`","Name":"/c29","Driver":"overlayfs","Image":"`+base+`","ImageManifest":{"digest":"`+base+`"},"Config":{"Image":"x:1"},"State":{"Running":true,"StartedAt":"2026-01-02T03:04:05Z"}}`)
	write("var/lib/docker/engine-id", "x")
	snapshots := []struct{ key, parent, kind, file string }{
		{base, "", "\x03", "etc/base"}, {id + "-init", base, "\x03", "etc/hosts"}, {id, id + "-init", "\x02", "etc/new"},
	}
	name := map[string]string{"": ""}
	for i, s := range snapshots {
		name[s.key] = "moby/" + string(rune('1'+i)) + "/" + s.key
		write("var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/"+string(rune('1'+i))+"/fs/"+s.file, s.file)
	}
	database("var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", func(tx *bolt.Tx) error {
		for _, s := range snapshots {
			if err := boltPut(tx, "v1|moby|snapshots|overlayfs|"+s.key, map[string]string{"name": name[s.key], "parent": s.parent, "createdat": string(at)}); err != nil {
				return err
			}
		}
		return nil
	})
	database("var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/metadata.db", func(tx *bolt.Tx) error {
		for i, s := range snapshots {
			v := map[string]string{"id": string(rune(1 + i)), "kind": s.kind, "createdat": string(at)}
			if s.parent != "" {
				v["parent"] = name[s.parent]
			}
			if err := boltPut(tx, "v1|snapshots|"+name[s.key], v); err != nil {
				return err
			}
		}
		return nil
	})
	n, err := Open(context.Background(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	containers := n.Containers()
	if len(containers) != 1 {
		t.Fatalf("%d containers", len(containers))
	}
	c := containers[0]
	var ids []string
	for _, l := range c.Rootfs.Lower {
		ids = append(ids, l.ID)
	}
	if c.Name != "c29" || c.Rootfs.Problem != nil || c.Rootfs.InitLayers != 1 || c.Rootfs.Upper.ID != "3" || !slices.Equal(ids, []string{"2", "1"}) {
		t.Errorf("%s: %+v", c.Name, c.Rootfs)
	}
}
