package main

import (
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

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/containerd"
	"lagan/runtimes/docker"
	"lagan/runtimes/storage"
)

// Data roots of Docker and Podman, below the folder that a disk is made in.
const (
	dockerRoot = "var/lib/docker"
	podmanRoot = "var/lib/containers/storage"
	overlayfs  = "io.containerd.snapshotter.v1.overlayfs"
	metaFile   = "io.containerd.metadata.v1.bolt/meta.db"
)

// databases makes one of each kind below dir, in which a third of the objects were
// removed, and reads them. Each kind has a root of its own.
func databases(rnd *rand.Rand, dir string) ([]*database, error) {
	containers := func(fsys evidence.FS) (runtimes.RemnantStore, error) {
		return containerd.Open(fsys, fsys.Root(), "/"+root)
	}
	engine := func(fsys evidence.FS) (runtimes.RemnantStore, error) {
		return docker.Open(fsys, fsys.Root(), "/"+dockerRoot)
	}
	podman := func(fsys evidence.FS) (runtimes.RemnantStore, error) {
		return storage.Open(fsys, fsys.Root(), "/"+podmanRoot)
	}
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	if _, _, err := story(rnd, a, scenario{15, 40}, 20); err != nil {
		return nil, err
	}
	if err := errors.Join(engineState(rnd, filepath.Join(b, dockerRoot)), podmanBolt(rnd, filepath.Join(b, podmanRoot)), podmanSQL(rnd, filepath.Join(c, podmanRoot))); err != nil {
		return nil, err
	}
	out := []*database{
		{name: root + "/" + metaFile, dir: a, left: leftOfBolt, open: containers},
		{name: root + "/" + overlayfs + "/metadata.db", dir: a, left: leftOfBolt, open: containers},
		{name: dockerRoot + "/network/files/local-kv.db", dir: b, left: leftOfBolt, open: engine},
		{name: dockerRoot + "/volumes/metadata.db", dir: b, left: leftOfBolt, open: engine},
		{name: dockerRoot + "/buildkit/metadata_v2.db", dir: b, left: leftOfBolt, open: engine},
		{name: podmanRoot + "/libpod/bolt_state.db", dir: b, left: leftOfBolt, open: podman},
		{name: podmanRoot + "/db.sql", dir: c, left: leftOfSQLite, open: podman},
	}
	for _, d := range out {
		var err error
		if d.good, err = os.ReadFile(filepath.Join(d.dir, d.name)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// changed runs steps in a bolt file, each a transaction of its own.
func changed(file string, steps ...func(*bolt.Tx) error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err = db.Update(step); err != nil {
			break
		}
	}
	return errors.Join(err, db.Close())
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func hexOf(rnd *rand.Rand, digits int) string {
	b := make([]byte, digits)
	for i := range b {
		b[i] = "0123456789abcdef"[rnd.IntN(16)]
	}
	return string(b)
}

// engineState makes dockerd's databases of networks, volumes and BuildKit's cache.
func engineState(rnd *rand.Rand, top string) error {
	if err := os.MkdirAll(filepath.Join(top, "containers"), 0o755); err != nil {
		return err
	}
	var networks, volumes, builds []func(*bolt.Tx) error
	for i := range 60 {
		cid, sandbox, endpoint := hexOf(rnd, 64), hexOf(rnd, 64), hexOf(rnd, 64)
		sandboxKey, endpointKey := "docker/network/v1.0/sandbox/"+sandbox+"/", "docker/network/v1.0/endpoint/"+hexOf(rnd, 64)+"/"+endpoint+"/"
		networks = append(networks, func(tx *bolt.Tx) error {
			b := buckets(tx, "libnetwork")
			put(b, sandboxKey, []byte("01234567"+text(map[string]any{"ID": sandbox, "Cid": cid, "Eps": []string{endpoint}})))
			put(b, endpointKey, []byte("01234567"+text(map[string]any{"id": endpoint, "name": fmt.Sprint("name-", i), "sandbox": sandbox, "x": hexOf(rnd, 300)})))
			return nil
		})
		volume := fmt.Sprint("volume-", hexOf(rnd, 8))
		volumes = append(volumes, func(tx *bolt.Tx) error {
			put(buckets(tx, "volumes"), volume, []byte(text(map[string]any{"Name": volume, "Driver": "local", "Labels": map[string]string{"x": hexOf(rnd, 100)}})))
			return nil
		})
		id := hexOf(rnd, 25)
		builds = append(builds, func(tx *bolt.Tx) error {
			b := buckets(tx, "_main", id)
			put(b, "cache.description", []byte(text(map[string]any{"value": "RUN step " + hexOf(rnd, 900)})))
			put(b, "cache.createdAt", []byte(text(map[string]any{"value": time.Date(2026, 5, 4, 3, 2, i, 0, time.UTC).UnixNano()})))
			return nil
		})
		if i%3 == 0 {
			networks = append(networks, func(tx *bolt.Tx) error {
				b := buckets(tx, "libnetwork")
				return errors.Join(b.Delete([]byte(sandboxKey)), b.Delete([]byte(endpointKey)))
			})
			volumes = append(volumes, func(tx *bolt.Tx) error { return buckets(tx, "volumes").Delete([]byte(volume)) })
			builds = append(builds, func(tx *bolt.Tx) error { return buckets(tx, "_main").DeleteBucket([]byte(id)) })
		}
	}
	return errors.Join(changed(filepath.Join(top, "network/files/local-kv.db"), networks...), changed(filepath.Join(top, "volumes/metadata.db"), volumes...),
		changed(filepath.Join(top, "buildkit/metadata_v2.db"), builds...))
}

// podmanConfig is a container's configuration, as far as Podman's reader asks for it.
func podmanConfig(rnd *rand.Rand, id, name string) string {
	return text(map[string]any{"id": id, "name": name, "rootfsImageName": images[rnd.IntN(len(images))], "createdTime": "2026-05-04T03:02:01.123456789Z",
		"staticDir": "/" + podmanRoot + "/overlay-containers/" + id + "/userdata", "spec": map[string]any{"ociVersion": "1.2.0", "x": hexOf(rnd, 100+rnd.IntN(2000))}})
}

// podmanBolt makes a bolt_state.db: libpod/boltdb_state_internal.go.
func podmanBolt(rnd *rand.Rand, top string) error {
	var steps []func(*bolt.Tx) error
	for i := range 60 {
		id, name := hexOf(rnd, 64), fmt.Sprint("name-", i)
		config := podmanConfig(rnd, id, name)
		steps = append(steps, func(tx *bolt.Tx) error {
			b := buckets(tx, "ctr", id)
			put(b, "config", []byte(config))
			put(b, "state", []byte(text(map[string]any{"state": 5, "startedTime": "2026-05-04T03:02:02.1Z", "finishedTime": "2026-05-04T03:02:03.1Z"})))
			put(buckets(tx, "all-ctrs"), id, []byte(name))
			put(buckets(tx, "id-registry"), id, []byte(name))
			put(buckets(tx, "name-registry"), name, []byte(id))
			return nil
		})
		if i%3 == 0 {
			steps = append(steps, func(tx *bolt.Tx) error {
				return errors.Join(buckets(tx, "ctr").DeleteBucket([]byte(id)), buckets(tx, "all-ctrs").Delete([]byte(id)),
					buckets(tx, "id-registry").Delete([]byte(id)), buckets(tx, "name-registry").Delete([]byte(name)))
			})
		}
	}
	return changed(filepath.Join(top, "libpod/bolt_state.db"), steps...)
}

// podmanSQL makes a db.sql through sqlite3: libpod/sqlite_state_internal.go.
func podmanSQL(rnd *rand.Rand, top string) error {
	if err := os.MkdirAll(top, 0o755); err != nil {
		return err
	}
	var sql strings.Builder
	sql.WriteString("PRAGMA page_size=4096;\nPRAGMA secure_delete=OFF;\nCREATE TABLE ContainerConfig(ID TEXT PRIMARY KEY NOT NULL, Name TEXT UNIQUE NOT NULL, PodID TEXT, JSON TEXT NOT NULL);\n" +
		"CREATE TABLE ContainerState(ID TEXT PRIMARY KEY NOT NULL, State INTEGER NOT NULL, ExitCode INTEGER, JSON TEXT NOT NULL);\n" +
		"CREATE TABLE ContainerExitCode(ID TEXT PRIMARY KEY NOT NULL, Timestamp INTEGER NOT NULL, ExitCode INTEGER NOT NULL);\n")
	for i := range 60 {
		id, name := hexOf(rnd, 64), fmt.Sprint("name-", i)
		fmt.Fprintf(&sql, "INSERT INTO ContainerConfig VALUES('%s','%s',NULL,'%s');\n", id, name, podmanConfig(rnd, id, name))
		fmt.Fprintf(&sql, "INSERT INTO ContainerState VALUES('%s',5,0,'{\"state\":5,\"x\":\"%s\"}');\n", id, hexOf(rnd, 200))
		fmt.Fprintf(&sql, "INSERT INTO ContainerExitCode VALUES('%s',%d,%d);\n", id, 1777863721+i, i%3)
	}
	sql.WriteString("DELETE FROM ContainerConfig WHERE rowid % 3 = 0;\nDELETE FROM ContainerState WHERE rowid % 3 = 0;\nDELETE FROM ContainerConfig WHERE rowid BETWEEN 20 AND 30;\n")
	cmd := exec.Command("sqlite3", "-batch", filepath.Join(top, "db.sql"))
	cmd.Stdin = strings.NewReader(sql.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sqlite3: %w: %s", err, out)
	}
	return nil
}
