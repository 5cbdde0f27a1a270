package docker_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	bolt "go.etcd.io/bbolt"

	"lagan/runtimes/docker"
	"lagan/runtimes/internal/treetest"
)

// pb writes a message of Protocol Buffers: numbers and texts by turns with their fields.
func pb(fields ...any) string {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		number := uint64(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = binary.AppendUvarint(binary.AppendUvarint(b, number<<3), uint64(v))
		case string:
			b = binary.AppendUvarint(binary.AppendUvarint(b, number<<3|2), uint64(len(v)))
			b = append(b, v...)
		}
	}
	return string(b)
}

// history is a BuildHistoryRecord.
var history = pb(1, "ref1", 2, "dockerfile.v0", 3, pb(1, "filename", 2, "Dockerfile.prod"), 3, pb(1, "target", 2, "app"), 3, pb(1, "build-arg:TOKEN", 2, "x"),
	5, pb(1, 2, 2, "process did not complete"), 6, pb(1, 1767323045, 2, 6), 7, pb(1, 1767323050), 9, pb(1, "image.name", 2, "docker.io/acme/app:1,docker.io/acme/app:2"), 13, pb(2, "x"))

func buildTree(tb testing.TB) fstest.MapFS {
	db := func(fill func(*bolt.Tx) error) *fstest.MapFile {
		return &fstest.MapFile{Data: treetest.Bolt(tb, fill)}
	}
	return fstest.MapFS{
		"containers/" + strings.Repeat("c", 64) + "/config.v2.json": {Data: []byte("{}")},
		"buildkit/history_c8d.db": db(func(tx *bolt.Tx) error {
			return treetest.Put(tx, "_records", map[string]string{"ref1": history, "ref2": history[:len(history)-3]})
		}),
		"buildkit/metadata_v2.db": db(func(tx *bolt.Tx) error {
			for id, values := range map[string]map[string]string{
				"a": {"cache.description": `{"value":"[2/3] RUN curl evil"}`, "cache.createdAt": `{"value":1767323045000000006}`, "cache.parent": `{"value":"p"}`, "cache.imageRefs": `{"value":["x:1"]}`},
				"b": {"cache.description": `{"value":7}`, "cache.recordType": `{"value":"exec.cachemount"}`, "cache.blobsize": `{"value":9}`, "cache.deleted": `{"value":true}`},
				"c": {"cache.equalMutable": `{"value":"a"}`, "snapshot.size": `{"value":11}`},
				"d": {"cache.equalMutable": `{"value":"gone"}`},
			} {
				if err := treetest.Put(tx, "_main|"+id, values); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339Nano)
}

func TestBuilds(t *testing.T) {
	fsys := treetest.New(buildTree(t))
	s, err := docker.Open(fsys, fsys.Root(), "/")
	if err != nil {
		t.Fatal(err)
	}
	builds, said := treetest.Collect(s.Builds())
	var got []string
	for _, b := range builds {
		got = append(got, fmt.Sprint(b.Kind, " ", b.ID, " ", b.Type, " ", b.Name, " ", b.Size, " ", b.Images, " ", b.Parents, " ", b.Options["build-arg:TOKEN"], " ", b.Error, " ", stamp(b.Created), " ", b.Deleted))
	}
	want := `build ref1 dockerfile.v0 Dockerfile.prod target app -1 [docker.io/acme/app:1 docker.io/acme/app:2] [] x process did not complete 2026-01-02T03:04:05.000000006Z false
build ref2 dockerfile.v0 Dockerfile.prod target app -1 [docker.io/acme/app:1 docker.io/acme/app:2] [] x process did not complete 2026-01-02T03:04:05.000000006Z false
cache b exec.cachemount  9 [] []   - true
cache d regular  -1 [] []   - false
cache a regular [2/3] RUN curl evil 11 [x:1] [p]   2026-01-02T03:04:05.000000006Z false`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	for _, problem := range []string{`build "ref2": protobuf message, offset`, `record "b": cache.description: decoding JSON`} {
		if !strings.Contains(said, problem) {
			t.Errorf("said %s, not %s", said, problem)
		}
	}
}

func TestSwarmDamaged(t *testing.T) {
	tree := buildTree(t)
	tree["swarm/docker-state.json"] = &fstest.MapFile{Data: []byte(`{"LocalAddr":"10.0.0.1"`)}
	tree["swarm/state.json"] = &fstest.MapFile{Data: []byte(`[{"node_id":"m","addr":"10.0.0.2:2377"}]`)}
	tree["swarm/certificates/swarm-node.crt"] = &fstest.MapFile{Data: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}
	tree["swarm/worker/tasks.db"] = &fstest.MapFile{Data: treetest.Bolt(t, func(tx *bolt.Tx) error {
		for id, values := range map[string]map[string]string{
			"t1": {"data": pb(4, "s", 5, 2, 8, pb(1, "web"), 3, pb(1, pb(1, "nginx", 4, "-g")), 10, 512), "status": pb(2, 704, 4, "task: non-zero exit (137)", 5, pb(1, "c1", 3, 137)), "assigned": "x"},
			"t2": {"data": pb(8, pb(1, "web"), 10, 9999) + "\xff"},
			"t3": {"status": "x"},
		} {
			if err := treetest.Put(tx, "v1|tasks|"+id, values); err != nil {
				return err
			}
		}
		return nil
	})}
	fsys := treetest.New(tree)
	s, err := docker.Open(fsys, fsys.Root(), "/")
	if err != nil {
		t.Fatal(err)
	}
	nodes, said := treetest.Collect(s.SwarmNodes())
	if len(nodes) != 1 || len(nodes[0].Managers) != 1 || !strings.Contains(said, "docker-state.json: decoding JSON") || !strings.Contains(said, "swarm-node.crt: x509") {
		t.Errorf("%+v; said %s", nodes, said)
	}
	tasks, said := treetest.Collect(s.SwarmTasks())
	if len(tasks) != 3 || !strings.Contains(said, `task "t2": protobuf`) || !strings.Contains(said, `task "t3"`) {
		t.Fatalf("%+v; said %s", tasks, said)
	}
	failed := tasks[2]
	treetest.Equal(t, "task", fmt.Sprint(failed.Service, failed.Slot, failed.Image, failed.Command, failed.State, failed.Error, failed.Container, *failed.ExitCode, failed.Assigned, tasks[1].Desired),
		"web2nginx[-g]failedtask: non-zero exit (137)c1137 true9999")
}

// FuzzEngine reads a swarm's tasks, its certificate and builds out of any bytes.
func FuzzEngine(f *testing.F) {
	f.Add([]byte(history), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte(`{"value":1}`))
	f.Fuzz(func(t *testing.T, message, certificate, value []byte) {
		tree := fstest.MapFS{"containers/" + strings.Repeat("c", 64) + "/config.v2.json": {Data: []byte("{}")},
			"swarm/certificates/swarm-node.crt": {Data: certificate}, "swarm/state.json": {Data: value}, "plugins/" + strings.Repeat("a", 64) + "/config.json": {Data: value}}
		for name, bucket := range map[string]string{"swarm/worker/tasks.db": "v1|tasks|t", "buildkit/history.db": "_records", "buildkit/metadata_v2.db": "_main|r"} {
			tree[name] = &fstest.MapFile{Data: treetest.Bolt(t, func(tx *bolt.Tx) error {
				return treetest.Put(tx, bucket, map[string]string{"data": string(message), "status": string(message), "cache.createdAt": string(value), "cache.parent": string(value)})
			})}
		}
		fsys := treetest.New(tree)
		s, err := docker.Open(fsys, fsys.Root(), "/")
		if err != nil {
			t.Fatal(err)
		}
		treetest.Collect(s.SwarmNodes())
		treetest.Collect(s.SwarmTasks())
		treetest.Collect(s.Plugins())
		treetest.Collect(s.Builds())
	})
}
