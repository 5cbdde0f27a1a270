package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

func newSecretsCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "secrets EVIDENCE",
			short: "list the secrets that runtimes keep for containers",
			long: `List the secrets of Podman by name, with the containers that were given them. What a secret says is not
printed: the file that has it is, as Podman keeps it, in secrets/filedriver below its data root. (Secrets of
Kubernetes that pods have mounted are among the volumes.)
`,
			examples: `
  lagan secrets node.img.zst
  lagan secrets node.img.zst --since 2026-11-22 --output json`,
		},
		columns: secretColumns, like: &secretRecord{},
		choose: []string{"since"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, s := range n.Secrets() {
				out = append(out, &secretRecord{ID: s.ID, Name: s.Name, Runtime: string(s.Runtime), Driver: s.Driver, Created: formatTime(s.Created), Updated: formatTime(s.Updated),
					Containers: s.Containers, Labels: s.Labels, Options: s.Options, Problem: s.Problem, DataRoot: s.StorePath})
			}
			return out, nil
		},
	})
}

type secretRecord struct {
	ID         string            `json:"id"`
	Name       string            `json:"name,omitempty"`
	Runtime    string            `json:"runtime"`
	Driver     string            `json:"driver,omitempty"`
	Created    string            `json:"created,omitempty"`
	Updated    string            `json:"updated,omitempty"`
	Containers []string          `json:"containers,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Options    map[string]string `json:"options,omitempty"`
	Problem    string            `json:"problem,omitempty"`
	DataRoot   string            `json:"data_root,omitempty"`
}

func (r *secretRecord) traits(*analyzer.Infra) traits {
	return traits{times: []string{r.Created, r.Updated}}
}

var secretColumns = columns{
	table: []string{"ID", "NAME", "RUNTIME", "DRIVER", "CREATED", "CONTAINERS", "PROBLEM"},
	wide:  []string{"id", "name", "runtime", "driver", "created", "updated", "containers", "labels", "options", "problem", "data_root"},
}

func (r *secretRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *secretRecord) row(wide bool) []string {
	if wide {
		return []string{r.ID, r.Name, r.Runtime, r.Driver, r.Created, r.Updated, joinTexts(r.Containers), joinLabels(r.Labels), joinLabels(r.Options), r.Problem, r.DataRoot}
	}
	return []string{shortKey(r.ID), r.Name, r.Runtime, r.Driver, r.Created, fmt.Sprint(len(r.Containers)), r.Problem}
}
