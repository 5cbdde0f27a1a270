package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newContentsCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "contents EVIDENCE",
			short: "list the blobs of every content store, and unfinished downloads",
			long: `List what containerd's content stores hold: manifests, configurations and layers by their digests, with the
namespaces that record them, and downloads that were not finished (kind ingest). on_disk is missing where a
record's blob is gone; namespace is missing where no record names a blob that is there.
`,
			examples: `
  lagan contents node.img.zst
  lagan contents node.img.zst --filter kind=ingest --output json`,
		},
		columns: contentColumns, like: &contentRecord{},
		choose: []string{"since", "namespace"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, c := range n.Contents() {
				out = append(out, newContentRecord(c))
			}
			return out, nil
		},
	})
}

type contentRecord struct {
	Digest    string            `json:"digest,omitempty"`
	Kind      string            `json:"kind"`
	MediaType string            `json:"media_type,omitempty"`
	Size      *int64            `json:"size,omitempty"`
	OnDisk    *int64            `json:"on_disk,omitempty"`
	Runtime   string            `json:"runtime"`
	Namespace string            `json:"namespace,omitempty"`
	Ref       string            `json:"ref,omitempty"`
	Created   string            `json:"created,omitempty"`
	Updated   string            `json:"updated,omitempty"`
	Expires   string            `json:"expires,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Leases    []string          `json:"leases,omitempty"`
	Path      string            `json:"path,omitempty"`
	DataRoot  string            `json:"data_root,omitempty"`
}

func newContentRecord(c runtimes.Content) *contentRecord {
	r := &contentRecord{
		Digest: c.Digest, Kind: string(c.Kind), MediaType: c.MediaType, Runtime: string(c.Runtime), Namespace: c.Namespace, Ref: c.Ref,
		Created: formatTime(c.Created), Updated: formatTime(c.Updated), Expires: formatTime(c.Expires), Labels: c.Labels, Leases: c.Leases,
		Path: c.Path, DataRoot: c.StorePath,
	}
	if c.Size >= 0 {
		r.Size = &c.Size
	}
	if c.OnDisk >= 0 {
		r.OnDisk = &c.OnDisk
	}
	return r
}

func (r *contentRecord) traits(*analyzer.Infra) traits {
	return traits{namespaces: []string{r.Namespace}, times: []string{r.Created}}
}

var contentColumns = columns{
	table: []string{"DIGEST", "KIND", "SIZE", "ON DISK", "NAMESPACE", "CREATED", "TYPE"},
	wide: []string{"digest", "kind", "media_type", "size", "on_disk", "runtime", "namespace", "ref", "created", "updated", "expires",
		"labels", "leases", "path", "data_root"},
}

func (r *contentRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *contentRecord) row(wide bool) []string {
	if wide {
		return []string{r.Digest, r.Kind, r.MediaType, numberText(r.Size), numberText(r.OnDisk), r.Runtime, r.Namespace, r.Ref, r.Created, r.Updated, r.Expires,
			joinLabels(r.Labels), joinTexts(r.Leases), r.Path, r.DataRoot}
	}
	there := fmt.Sprint(r.OnDisk != nil)
	if r.OnDisk != nil && r.Size != nil && *r.OnDisk != *r.Size {
		there = numberText(r.OnDisk)
	}
	return []string{shortKey(firstText(r.Digest, r.Ref)), r.Kind, numberText(r.Size), there, r.Namespace, shortTime(r.Created), r.MediaType}
}

func joinTexts(list []string) string { return strings.Join(list, " ") }
