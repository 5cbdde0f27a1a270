package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newBuildsCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "builds EVIDENCE",
			short: "list what BuildKit built, and what it kept of the steps",
			long: `List the builds that BuildKit's history has, with what they were told, the records of its cache (a step of a Dockerfile each,
in the builder's words, with when it ran first and was used last), and the steps that ran when the disk was copied. The
BuildKit inside of Docker is read, and data roots of its own: of buildkitd, of nerdctl's builder, of docker buildx.
recover has the records that were pruned.
`,
			examples: `
  lagan builds node.img.zst
  lagan builds node.img.zst --filter type=exec.cachemount --output jsonl`,
		},
		columns: buildColumns, like: &buildRecord{},
		choose: []string{"since", "image"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, v := range n.Builds() {
				out = append(out, newBuildRecord(&v))
			}
			return out, nil
		},
	})
}

type buildRecord struct {
	Kind      string            `json:"kind"`
	ID        string            `json:"id"`
	Name      string            `json:"name,omitempty"`
	Runtime   string            `json:"runtime"`
	Type      string            `json:"type,omitempty"`
	Created   string            `json:"created,omitempty"`
	Used      string            `json:"used,omitempty"`
	Completed string            `json:"completed,omitempty"`
	Uses      int               `json:"uses,omitempty"`
	Size      *int64            `json:"size,omitempty"`
	Parents   []string          `json:"parents,omitempty"`
	DiffID    string            `json:"diff_id,omitempty"`
	ChainID   string            `json:"chain_id,omitempty"`
	Blob      string            `json:"blob,omitempty"`
	Images    []string          `json:"images,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	Error     string            `json:"error,omitempty"`
	Log       string            `json:"log,omitempty"`
	Snapshot  string            `json:"snapshot,omitempty"`
	Deleted   bool              `json:"deleted,omitempty"`
	File      string            `json:"file,omitempty"`
	DataRoot  string            `json:"data_root,omitempty"`
}

func newBuildRecord(v *runtimes.Build) *buildRecord {
	r := &buildRecord{Kind: string(v.Kind), ID: v.ID, Name: v.Name, Runtime: string(v.Runtime), Type: v.Type, Created: formatTime(v.Created), Used: formatTime(v.Used),
		Completed: formatTime(v.Completed), Uses: v.Uses, Parents: v.Parents, DiffID: v.DiffID, ChainID: v.ChainID, Blob: v.Blob, Images: v.Images, Options: v.Options,
		Error: v.Error, Log: v.Log, Snapshot: v.Snapshot, Deleted: v.Deleted, File: v.File, DataRoot: v.StorePath}
	if v.Size >= 0 {
		r.Size = &v.Size
	}
	return r
}

func (r *buildRecord) traits(*analyzer.Infra) traits {
	return traits{images: r.Images, times: []string{r.Created, r.Used, r.Completed}}
}

var buildColumns = columns{
	table: []string{"KIND", "ID", "NAME", "TYPE", "CREATED", "USED", "SIZE"},
	wide: []string{"kind", "id", "name", "runtime", "type", "created", "used", "completed", "uses", "size", "parents", "diff_id", "chain_id", "images", "options", "error",
		"log", "snapshot", "file", "data_root"},
}

func (r *buildRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *buildRecord) row(wide bool) []string {
	size := ""
	if r.Size != nil {
		size = fmt.Sprint(*r.Size)
	}
	if !wide {
		return []string{r.Kind, shortKey(r.ID), firstText(r.Name, strings.Join(r.Images, ",")), r.Type, shortTime(r.Created), shortTime(firstText(r.Used, r.Completed)), size}
	}
	return []string{r.Kind, r.ID, r.Name, r.Runtime, r.Type, r.Created, r.Used, r.Completed, fmt.Sprint(r.Uses), size, joinTexts(r.Parents), r.DiffID, r.ChainID,
		joinTexts(r.Images), joinLabels(r.Options), r.Error, r.Log, r.Snapshot, r.File, r.DataRoot}
}
