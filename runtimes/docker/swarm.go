package docker

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/internal/wire"
	"lagan/runtimes/oci"
)

// A node's part of a swarm: daemon/cluster of moby, and of swarmkit node/node.go,
// ca/config.go, agent/storage.go.
//
//	swarm/docker-state.json              addresses of the node itself
//	swarm/state.json                     the managers that it knows
//	swarm/certificates/swarm-node.crt    its certificate: organisation the cluster, unit the role, name the node
//	swarm/worker/tasks.db                v1/tasks/<id>/{data,status,assigned}
//	swarm/raft/wal-v3-encrypted/         of a manager: the log of all changes, encrypted
const (
	swarmDir   = "swarm"
	swarmState = "swarm/docker-state.json"
	swarmPeers = "swarm/state.json"
	swarmCert  = "swarm/certificates/swarm-node.crt"
	swarmTasks = "swarm/worker/tasks.db"
	swarmLog   = "swarm/raft"
)

// SwarmNodes yields the node's place in a swarm, nothing where it was in none.
func (s *Store) SwarmNodes() iter.Seq2[runtimes.SwarmNode, error] {
	return func(yield func(runtimes.SwarmNode, error) bool) {
		n := runtimes.SwarmNode{Runtime: runtimes.Docker, StorePath: s.root, File: join(s.root, swarmState)}
		var failed []error
		there := false
		read := func(name string, take func([]byte) error) {
			raw, err := evidence.ReadFile(s.fsys, s.node, join(s.root, name), maxConfig)
			if isMissing(err) {
				return
			}
			there = true
			if err == nil {
				err = take(raw)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", join(s.root, name), err))
			}
		}
		read(swarmState, func(raw []byte) error { return takeSwarmState(&n, raw) })
		read(swarmPeers, func(raw []byte) error { return takePeers(&n, raw) })
		read(swarmCert, func(raw []byte) error { return takeCertificate(&n, raw) })
		if exists(s.fsys, s.node, join(s.root, swarmLog)) {
			n.Log = join(s.root, swarmLog)
		}
		if there && !yield(n, nil) {
			return
		}
		if err := errors.Join(failed...); err != nil {
			yield(runtimes.SwarmNode{}, err)
		}
	}
}

// takeSwarmState reads nodeStartConfig of daemon/cluster/noderunner.go.
func takeSwarmState(n *runtimes.SwarmNode, raw []byte) error {
	var doc struct{ LocalAddr, RemoteAddr, ListenAddr, AdvertiseAddr string }
	err := oci.Decode(raw, &doc)
	n.Address, n.Listen, n.Joined = doc.AdvertiseAddr, doc.ListenAddr, doc.RemoteAddr
	if n.Address == "" {
		n.Address = doc.LocalAddr
	}
	return err
}

func takePeers(n *runtimes.SwarmNode, raw []byte) error {
	var peers []struct {
		ID      string `json:"node_id"`
		Address string `json:"addr"`
	}
	err := oci.Decode(raw, &peers)
	for _, p := range peers {
		n.Managers = append(n.Managers, runtimes.SwarmPeer{ID: p.ID, Address: p.Address})
	}
	return err
}

func takeCertificate(n *runtimes.SwarmNode, raw []byte) error {
	block, _ := pem.Decode(raw)
	if block == nil {
		return fmt.Errorf("no certificate: %w", evidence.ErrCorrupt)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%w: %w", err, evidence.ErrCorrupt)
	}
	n.ID, n.Cluster = c.Subject.CommonName, strings.Join(c.Subject.Organization, " ")
	n.Role = strings.TrimPrefix(strings.Join(c.Subject.OrganizationalUnit, " "), "swarm-")
	n.ValidFrom, n.Expires = c.NotBefore.UTC(), c.NotAfter.UTC()
	return nil
}

// taskStates are TaskState of swarmkit's api/types.proto.
var taskStates = map[uint64]string{0: "new", 64: "pending", 192: "assigned", 256: "accepted", 320: "preparing", 384: "ready", 448: "starting", 512: "running",
	576: "complete", 640: "shutdown", 704: "failed", 768: "rejected", 800: "remove", 832: "orphaned"}

func taskState(n uint64) string {
	if name := taskStates[n]; name != "" {
		return name
	}
	return fmt.Sprint(n)
}

// SwarmTasks yields the tasks that the node was given, by service, slot and id.
func (s *Store) SwarmTasks() iter.Seq2[runtimes.SwarmTask, error] {
	return func(yield func(runtimes.SwarmTask, error) bool) {
		var out []runtimes.SwarmTask
		var failed []error
		fail := func(err error) { failed = append(failed, fmt.Errorf("%s: %w", join(s.root, swarmTasks), err)) }
		for id, b := range s.buckets(swarmTasks, fail, "v1", "tasks") {
			t, err := s.swarmTask(id, b)
			if err != nil {
				fail(fmt.Errorf("task %q: %w", id, err))
			}
			out = append(out, t)
		}
		slices.SortFunc(out, func(a, b runtimes.SwarmTask) int {
			return strings.Compare(fmt.Sprintf("%s\x00%09d%s", a.Service, a.Slot, a.ID), fmt.Sprintf("%s\x00%09d%s", b.Service, b.Slot, b.ID))
		})
		for _, t := range out {
			if !yield(t, nil) {
				return
			}
		}
		if err := errors.Join(failed...); err != nil {
			yield(runtimes.SwarmTask{}, err)
		}
	}
}

// buckets yields the buckets below one of a database of the store, which may be missing.
func (s *Store) buckets(name string, fail func(error), path ...string) iter.Seq2[string, *boltdb.Bucket] {
	return func(yield func(string, *boltdb.Bucket) bool) {
		db, err := s.openBolt(join(s.root, name), fail)
		var b *boltdb.Bucket
		if err == nil {
			b, err = db.Bucket(path...)
		}
		if err != nil {
			if !isMissing(err) || db != nil && db.Damaged() > 0 {
				fail(err)
			}
			return
		}
		for kv, err := range b.All() {
			var sub *boltdb.Bucket
			if err == nil {
				sub, err = kv.Bucket()
			}
			if err != nil {
				fail(err)
				continue
			}
			if !yield(string(kv.Key), sub) {
				return
			}
		}
	}
}

// swarmTask reads Task of swarmkit's api/objects.proto, TaskSpec and
// ContainerSpec of specs.proto, TaskStatus of types.proto.
func (s *Store) swarmTask(id string, b *boltdb.Bucket) (runtimes.SwarmTask, error) {
	out := runtimes.SwarmTask{Runtime: runtimes.Docker, StorePath: s.root, ID: id}
	raw, err := b.Get("data")
	if err != nil {
		return out, err
	}
	t, err := wire.Decode(raw)
	meta, container := t.Sub(2), t.Sub(3).Sub(1)
	out.ServiceID, out.Slot, out.Node = t.Text(4), int(min(t.Num(5), 1<<31)), t.Text(6)
	out.Created, out.Updated = meta.Time(2), meta.Time(3)
	out.Name, out.Service, out.Labels = t.Sub(7).Text(1), t.Sub(8).Text(1), t.Sub(8).Table(2)
	out.Image, out.Env = container.Text(1), container.Texts(5)
	out.Command = append(container.Texts(3), container.Texts(4)...)
	out.Desired = taskState(t.Num(10))
	status := t.Sub(9)
	if raw, statusErr := b.Get("status"); statusErr == nil { // what the node itself has seen of it since
		status, statusErr = wire.Decode(raw)
		err = errors.Join(err, statusErr)
	} else if !isMissing(statusErr) {
		err = errors.Join(err, statusErr)
	}
	out.State, out.Message, out.Error, out.Reported = taskState(status.Num(2)), status.Text(3), status.Text(4), status.Time(1)
	ran := status.Sub(5)
	out.Container, out.PID = ran.Text(1), int(min(ran.Num(2), 1<<31))
	if status.Num(2) > 512 && out.Container != "" {
		code := int(int32(ran.Num(3)))
		out.ExitCode = &code
	}
	_, assigned := b.Get("assigned")
	out.Assigned = assigned == nil
	return out, err
}
