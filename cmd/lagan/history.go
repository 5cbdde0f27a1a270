package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/internal/text"
	"lagan/layers"
)

type historyOptions struct{ files, dockerfile bool }

func newHistoryCommand(u *ui) *cobra.Command {
	var o historyOptions
	cmd := u.command(verb{
		use:   "history EVIDENCE IMAGE",
		short: "list the steps of an image's build, with the layer that each made",
		long: `List the steps of an image's build, the last first as docker history does: when,
the size and diff id of the layer that it made, and its command. The history is
what the image claims: its layers, and what --files lists, are what is on the disk.

--dockerfile prints the steps as a Dockerfile, the first first. Sources of COPY and
ADD are known by their hashes only, and the steps of base images are among the others.`,
		examples: `
  lagan history node.img.zst nginx:1.25.3
  lagan history node.img.zst nginx:1.25.3 --files
  lagan history node.img.zst sha256:215c909a5b0c --dockerfile`,
		min: 2, max: 2,
		run: func(n *analyzer.Node, args []string) error {
			if o.files && o.dockerfile {
				return usageError{fmt.Errorf("--files and --dockerfile exclude each other")}
			}
			i, err := n.FindImage(args[1])
			if err != nil {
				return err
			}
			if o.dockerfile {
				return u.write(func(w io.Writer) error { return writeDockerfile(w, i) })
			}
			return u.history(n, i, o)
		},
	})
	cmd.Flags().BoolVar(&o.files, "files", false, "add the files that each layer brought")
	cmd.Flags().BoolVar(&o.dockerfile, "dockerfile", false, "print the steps as a Dockerfile")
	return cmd
}

func (u *ui) history(n *analyzer.Node, i *analyzer.Image, o historyOptions) error {
	return u.write(func(w io.Writer) error {
		p := u.newPrinter(w, stepColumns)
		for _, s := range slices.Backward(i.Steps()) {
			if err := p.print(&stepRecord{s}); err != nil {
				return err
			}
			if !o.files || s.Layer == "" {
				continue
			}
			err := n.LayerFiles(u.ctx, i, s, func(f analyzer.LayerFile) error {
				return p.print(&layerFileRecord{s, fileRecord{File: f.File, change: f.Kind}})
			})
			if err != nil {
				return err
			}
		}
		return p.close(n)
	})
}

var stepColumns = columns{
	table: []string{"STEP", "CREATED", "SIZE", "LAYER", "COMMAND"},
	wide:  append([]string{"record", "step", "created", "size", "layer", "empty_layer", "command", "created_by", "author", "comment", "dir", "change"}, fileColumns...),
}

type stepRecord struct{ s analyzer.Step }

func (r *stepRecord) appendJSON(dst []byte) ([]byte, error) {
	s := &r.s
	out := struct {
		Record    string `json:"record"`
		Step      int    `json:"step"`
		Created   string `json:"created,omitempty"`
		Command   string `json:"command"`
		CreatedBy string `json:"created_by,omitempty"`
		Author    string `json:"author,omitempty"`
		Comment   string `json:"comment,omitempty"`
		Empty     bool   `json:"empty_layer"`
		Size      *int64 `json:"size,omitempty"`
		Layer     string `json:"layer,omitempty"`
		Dir       string `json:"dir,omitempty"`
	}{
		Record: "step", Step: s.Number, Created: formatTime(s.Created), Command: s.Instruction(), CreatedBy: s.CreatedBy,
		Author: s.Author, Comment: s.Comment, Empty: s.Empty, Layer: s.Layer, Dir: s.Dir,
	}
	if s.Size >= 0 {
		out.Size = &s.Size
	}
	return appendValue(dst, out)
}

func (r *stepRecord) row(wide bool) []string {
	s := &r.s
	size := ""
	if s.Size >= 0 {
		size = fmt.Sprint(s.Size)
	}
	if wide {
		row := []string{"step", fmt.Sprint(s.Number), formatTime(s.Created), size, s.Layer, fmt.Sprint(s.Empty), s.Instruction(), s.CreatedBy, s.Author, s.Comment, s.Dir, ""}
		return append(row, make([]string, len(fileColumns))...)
	}
	return []string{fmt.Sprint(s.Number), shortTime(formatTime(s.Created)), size, shortDigest(s.Layer), s.Instruction()}
}

// layerFileRecord is a file of a step's layer.
type layerFileRecord struct {
	s    analyzer.Step
	file fileRecord
}

func (r *layerFileRecord) appendJSON(dst []byte) ([]byte, error) {
	dst = fmt.Appendf(dst, `{"record":"file","step":%d,`, r.s.Number)
	file, err := r.file.appendJSON(nil)
	return append(dst, file[1:]...), err
}

func (r *layerFileRecord) row(wide bool) []string {
	if wide {
		f := r.file
		f.change = ""
		return append([]string{"file", fmt.Sprint(r.s.Number), "", "", r.s.Layer, "", "", "", "", "", "", string(r.file.change)}, f.wideRow()...)
	}
	size := ""
	if r.file.change != layers.Deleted {
		size = fmt.Sprint(r.file.Info.Size)
	}
	return []string{"", "", size, "", "  " + r.file.change.Letter() + " " + r.file.Path}
}

// writeDockerfile prints the steps. What an attacker put into the history stays in
// its lines.
func writeDockerfile(w io.Writer, i *analyzer.Image) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# reconstructed from the history of %s\n# %s\nFROM scratch\n", text.ForTerminal(i.DisplayName()), text.ForTerminal(i.ID))
	for _, s := range i.Steps() {
		if s.Layer != "" {
			fmt.Fprintf(&b, "# %s", text.ForTerminal(s.Layer))
			if s.Size >= 0 {
				fmt.Fprintf(&b, ", %d bytes", s.Size)
			}
			b.WriteByte('\n')
		}
		if s.Comment != "" && s.Comment != "buildkit.dockerfile.v0" {
			fmt.Fprintf(&b, "# %s\n", text.ForTerminal(s.Comment))
		}
		lines := strings.Split(s.Instruction(), "\n")
		for k, line := range lines {
			b.WriteString(text.ForTerminal(line))
			if k < len(lines)-1 && !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, "\\") {
				b.WriteString(" \\")
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
