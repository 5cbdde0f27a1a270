package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

func newWhichCommand(u *ui) *cobra.Command {
	return u.command(verb{
		use:   "which EVIDENCE PATH",
		short: "say which container, pod, image or layer a place on the node belongs to",
		long: `Say what a path of the node belongs to, and where it is seen inside a container. In place of a path: a
snapshot's number or key, or a layer's digest. Of a CONTAINER, a pod or @image:NAME it says the reverse: which
places on the node belong to it.`,
		examples: `
  lagan which node.img.zst /var/lib/docker/overlay2/01f816f2de88.../diff/etc/passwd
  lagan which node.img.zst 27
  lagan which node.img.zst web-front`,
		min: 2, max: 2,
		run: func(n *analyzer.Node, args []string) error {
			found, err := n.Which(args[1])
			if err != nil {
				return err
			}
			return u.write(func(w io.Writer) error {
				p := u.newPrinter(w, whichColumns)
				for _, b := range found {
					if err := p.print(&whichRecord{b.Kind, b.Role, b.Path, b.Inside, b.ID, b.Name, b.Pod, string(b.Runtime), b.Layer, b.Snapshot, b.StorePath}); err != nil {
						return err
					}
				}
				return p.close(n)
			})
		},
	})
}

type whichRecord struct {
	Kind     string `json:"kind"`
	Role     string `json:"role"`
	Path     string `json:"path"`
	Inside   string `json:"inside,omitempty"`
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	Pod      string `json:"pod,omitempty"`
	Runtime  string `json:"runtime,omitempty"`
	Layer    string `json:"layer,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
	DataRoot string `json:"data_root,omitempty"`
}

var whichColumns = columns{
	table: []string{"KIND", "ROLE", "NAME", "ID", "INSIDE", "PATH"},
	wide:  []string{"kind", "role", "path", "inside", "id", "name", "pod", "runtime", "layer", "snapshot", "data_root"},
}

func (r *whichRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *whichRecord) row(wide bool) []string {
	if wide {
		return []string{r.Kind, r.Role, r.Path, r.Inside, r.ID, r.Name, r.Pod, r.Runtime, r.Layer, r.Snapshot, r.DataRoot}
	}
	name := r.Name
	if r.Kind == "store" {
		name = fmt.Sprintf("%s's data root", r.Runtime)
	}
	return []string{r.Kind, r.Role, name, strings.TrimPrefix(shortKey(r.ID), "sha256:"), r.Inside, r.Path}
}
