package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newNamespacesCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "namespaces EVIDENCE",
			short: "list the namespaces of every containerd",
			long:  "List containerd's namespaces with what each holds: its users keep apart by them (k8s.io, moby, default, ...). JSON has their leases.\n",
			examples: `
  lagan namespaces node.img.zst
  lagan namespaces node.img.zst --output json | jq '.[].leases'`,
		},
		columns: namespaceColumns, like: &namespaceRecord{},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, ns := range n.Namespaces() {
				out = append(out, newNamespaceRecord(ns))
			}
			return out, nil
		},
	})
}

type namespaceRecord struct {
	Name       string            `json:"name"`
	Runtime    string            `json:"runtime"`
	Labels     map[string]string `json:"labels,omitempty"`
	Containers int               `json:"containers"`
	Images     int               `json:"images"`
	Snapshots  int               `json:"snapshots"`
	Blobs      int               `json:"contents"`
	Leases     []leaseRecord     `json:"leases,omitempty"`
	DataRoot   string            `json:"data_root,omitempty"`
}

type leaseRecord struct {
	ID        string            `json:"id"`
	Created   string            `json:"created,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Blobs     []string          `json:"contents,omitempty"`
	Snapshots []string          `json:"snapshots,omitempty"`
	Ingests   []string          `json:"ingests,omitempty"`
	Images    []string          `json:"images,omitempty"`
}

func newNamespaceRecord(ns runtimes.Namespace) *namespaceRecord {
	r := &namespaceRecord{Name: ns.Name, Runtime: string(ns.Runtime), Labels: ns.Labels, Containers: ns.Containers, Images: ns.Images,
		Snapshots: ns.Snapshots, Blobs: ns.Blobs, DataRoot: ns.StorePath}
	for _, l := range ns.Leases {
		r.Leases = append(r.Leases, leaseRecord{l.ID, formatTime(l.Created), l.Labels, l.Blobs, l.Snapshots, l.Ingests, l.Images})
	}
	return r
}

var namespaceColumns = columns{
	table: []string{"NAME", "CONTAINERS", "IMAGES", "SNAPSHOTS", "CONTENTS", "LEASES", "LABELS", "DATA ROOT"},
	wide:  []string{"name", "runtime", "containers", "images", "snapshots", "contents", "leases", "labels", "data_root"},
}

func (r *namespaceRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *namespaceRecord) row(wide bool) []string {
	cells := []string{r.Name, fmt.Sprint(r.Containers), fmt.Sprint(r.Images), fmt.Sprint(r.Snapshots), fmt.Sprint(r.Blobs), fmt.Sprint(len(r.Leases)), joinLabels(r.Labels), r.DataRoot}
	if wide {
		return append([]string{cells[0], r.Runtime}, cells[1:]...)
	}
	return cells
}
