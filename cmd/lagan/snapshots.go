package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

func newSnapshotsCommand(u *ui) *cobra.Command {
	var sizes bool
	return u.list(listing{
		verb: verb{
			use:   "snapshots EVIDENCE",
			short: "list the snapshots of every snapshotter and storage driver",
			long: `List the snapshots (layers and containers' writable folders) of every snapshotter of containerd and
every storage driver of Docker, Podman and CRI-O, as their own databases have them.
`,
			examples: `
  lagan snapshots node.img.zst
  lagan snapshots node.img.zst --filter kind=active --size
  lagan snapshots node.img.zst --output jsonl | jq 'select(.container == null)'`,
		},
		columns: snapshotColumns, like: &snapshotRecord{},
		choose: []string{"since", "namespace"},
		more: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&sizes, "size", false, "measure what has no recorded size, by walking its folder")
		},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, s := range n.Snapshots(sizes) {
				out = append(out, newSnapshotRecord(s))
			}
			return out, nil
		},
	})
}

type snapshotRecord struct {
	Key         string            `json:"key"`
	ID          string            `json:"id,omitempty"`
	Name        string            `json:"name,omitempty"`
	Runtime     string            `json:"runtime"`
	Namespace   string            `json:"namespace,omitempty"`
	Snapshotter string            `json:"snapshotter"`
	Kind        string            `json:"kind,omitempty"`
	Parent      string            `json:"parent,omitempty"`
	Created     string            `json:"created,omitempty"`
	Updated     string            `json:"updated,omitempty"`
	Size        *int64            `json:"size,omitempty"`
	Inodes      *int64            `json:"inodes,omitempty"`
	Container   string            `json:"container,omitempty"`
	Leases      []string          `json:"leases,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Dir         string            `json:"dir,omitempty"`
	DataRoot    string            `json:"data_root,omitempty"`
}

func newSnapshotRecord(s *analyzer.Snapshot) *snapshotRecord {
	r := &snapshotRecord{
		Key: s.Key, ID: s.ID, Name: s.Name, Runtime: string(s.Runtime), Namespace: s.Namespace, Snapshotter: s.Snapshotter, Kind: s.Kind,
		Parent: s.Parent, Created: formatTime(s.Created), Updated: formatTime(s.Updated), Leases: s.Leases, Labels: s.Labels, Dir: s.Dir, DataRoot: s.StorePath,
	}
	if s.Size >= 0 {
		r.Size = &s.Size
	}
	if s.Inodes >= 0 {
		r.Inodes = &s.Inodes
	}
	if s.Container != nil {
		r.Container = s.Container.ID
	}
	return r
}

func (r *snapshotRecord) traits(*analyzer.Infra) traits {
	return traits{namespaces: []string{r.Namespace}, times: []string{r.Created}}
}

var snapshotColumns = columns{
	table: []string{"KEY", "ID", "SNAPSHOTTER", "KIND", "PARENT", "CREATED", "SIZE"},
	wide: []string{"key", "id", "name", "runtime", "namespace", "snapshotter", "kind", "parent", "created", "updated", "size", "inodes",
		"container", "leases", "labels", "dir", "data_root"},
}

func (r *snapshotRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *snapshotRecord) row(wide bool) []string {
	if wide {
		return []string{r.Key, r.ID, r.Name, r.Runtime, r.Namespace, r.Snapshotter, r.Kind, r.Parent, r.Created, r.Updated, numberText(r.Size), numberText(r.Inodes),
			r.Container, joinTexts(r.Leases), joinLabels(r.Labels), r.Dir, r.DataRoot}
	}
	id := shortKey(r.ID)
	if r.ID == r.Key {
		id = ""
	}
	return []string{shortKey(r.Key), id, r.Snapshotter, r.Kind, shortKey(r.Parent), shortTime(r.Created), numberText(r.Size)}
}

// shortKey cuts ids and digests as docker does, and leaves names whole.
func shortKey(s string) string {
	const digest = "sha256:"
	if len(s) == len(digest)+64 && s[:len(digest)] == digest {
		return s[:len(digest)+12]
	}
	if bare := strings.TrimSuffix(s, "-init"); len(bare) == 64 {
		return bare[:12] + s[64:]
	}
	return s
}

func numberText(n *int64) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}
