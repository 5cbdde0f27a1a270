package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

func newImagesCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "images EVIDENCE",
			short: "list every image of every runtime",
			long:  "List the images of every runtime and namespace, with their layers and the containers made from them.\n",
			examples: `
  lagan images node.img.zst
  lagan images node.img.zst --since 2026-11-22 --filter containers=
  lagan images node.img.zst --output jsonl | jq -r '.layers[]' | sort | uniq -c`,
		},
		columns: imageColumns, like: &imageRecord{},
		choose: []string{"since", "image", "namespace", "no-infra"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, i := range n.Images() {
				out = append(out, newImageRecord(i))
			}
			return out, nil
		},
	})
}

type imageRecord struct {
	ID           string            `json:"id,omitempty"`
	Names        []string          `json:"names,omitempty"`
	NamesHistory []string          `json:"names_history,omitempty"`
	Digest       string            `json:"digest,omitempty"`
	Runtime      string            `json:"runtime"`
	Namespace    string            `json:"namespace,omitempty"`
	Created      string            `json:"created,omitempty"`
	Pulled       string            `json:"pulled,omitempty"`
	Size         *int64            `json:"size,omitempty"`
	Architecture string            `json:"architecture,omitempty"`
	OS           string            `json:"os,omitempty"`
	Layers       []string          `json:"layers,omitempty"`
	Containers   []string          `json:"containers,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	DataRoot     string            `json:"data_root,omitempty"`

	image *analyzer.Image
}

func (r *imageRecord) traits(infra *analyzer.Infra) traits {
	return traits{images: append([]string{r.ID, r.Digest}, r.Names...), namespaces: []string{r.Namespace}, times: []string{r.Created, r.Pulled}, infra: infra.Image(r.image)}
}

func newImageRecord(i *analyzer.Image) *imageRecord {
	r := &imageRecord{
		ID: i.ID, Names: i.Names, NamesHistory: i.NamesHistory, Digest: i.Digest, Runtime: string(i.Runtime), Namespace: i.Namespace,
		Created: formatTime(i.Created), Pulled: formatTime(i.Pulled), Architecture: i.Architecture, OS: i.OS,
		Layers: i.Layers, Containers: i.Containers, Labels: i.Labels, DataRoot: i.StorePath, image: i,
	}
	if i.Size >= 0 {
		r.Size = &i.Size
	}
	return r
}

var imageColumns = columns{
	table: []string{"NAME", "ID", "RUNTIME", "CREATED", "SIZE", "LAYERS", "CONTAINERS"},
	wide:  []string{"id", "names", "names_history", "digest", "runtime", "namespace", "created", "pulled", "size", "architecture", "os", "layers", "containers", "labels"},
}

func (r *imageRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *imageRecord) row(wide bool) []string {
	size := ""
	if r.Size != nil {
		size = fmt.Sprint(*r.Size)
	}
	if wide {
		return []string{r.ID, strings.Join(r.Names, " "), strings.Join(r.NamesHistory, " "), r.Digest, r.Runtime, r.Namespace, r.Created, r.Pulled, size, r.Architecture, r.OS,
			strings.Join(r.Layers, " "), strings.Join(r.Containers, " "), joinLabels(r.Labels)}
	}
	name := "<none>"
	if len(r.Names) > 0 {
		name = r.Names[0]
	}
	id := strings.TrimPrefix(r.ID, "sha256:")
	return []string{name, id[:min(len(id), 12)], r.Runtime, shortTime(r.Created), size, fmt.Sprint(len(r.Layers)), fmt.Sprint(len(r.Containers))}
}
