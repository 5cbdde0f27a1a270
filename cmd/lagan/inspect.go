package main

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/internal/text"
	"lagan/runtimes"
)

func newInspectCommand(u *ui) *cobra.Command {
	var asDocker, asCRI bool
	cmd := u.command(verb{
		use:   "inspect EVIDENCE CONTAINER",
		short: "print everything known of one container",
		long:  "Print one JSON object: the container's record, its layers, the OCI specification and the runtime's own documents. (@image:NAME prints an image.)",
		examples: `
  lagan inspect node.img.zst web-front
  lagan inspect node.img.zst web-front --docker | jq '.[0].HostConfig.Binds'
  lagan inspect node.img.zst b631c6c9 | jq .spec.process.env
  lagan inspect node.img.zst @image:nginx:1.25.3 | jq .history`,
		min: 2, max: 2,
		check: func() error {
			if asDocker && asCRI {
				return usageError{errors.New("--docker and --cri are two shapes of output: choose one")}
			}
			return nil
		},
		run: func(n *analyzer.Node, args []string) error {
			var v any
			name, isImage := imageName(args[1])
			switch {
			case isImage && (asDocker || asCRI):
				return usageError{errors.New("--docker and --cri are for containers")}
			case isImage:
				i, err := n.FindImage(name)
				if err != nil {
					return err
				}
				v = newImageDetails(i)
			default:
				c, err := n.FindContainer(args[1])
				if err != nil {
					return err
				}
				switch {
				case asDocker:
					v = []any{newDockerInspect(c)}
				case asCRI:
					v = newCRIInspect(n, c)
				default:
					v = newContainerDetails(c)
				}
			}
			return u.write(func(w io.Writer) error {
				e := json.NewEncoder(text.JSON{W: w})
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				return e.Encode(v)
			})
		},
	})
	cmd.Flags().BoolVar(&asDocker, "docker", false, "print what docker inspect would, as far as the disk tells")
	cmd.Flags().BoolVar(&asCRI, "cri", false, "print what crictl inspect (of a sandbox, inspectp) would, as far as the disk tells")
	return cmd
}

func imageName(spec string) (string, bool) {
	const prefix = "@image:"
	if len(spec) > len(prefix) && spec[:len(prefix)] == prefix {
		return spec[len(prefix):], true
	}
	return "", false
}

// layerRecord is one folder of a root filesystem.
type layerRecord struct {
	Dir     string `json:"dir,omitempty"` // without one, the blob is all there may be
	Blob    string `json:"blob,omitempty"`
	DiffID  string `json:"diff_id,omitempty"`
	ChainID string `json:"chain_id,omitempty"`
	Key     string `json:"key,omitempty"`
	ID      string `json:"id,omitempty"`
	Inside  string `json:"inside,omitempty"` // where Dir is a filesystem's image
}

func newLayerRecords(layers []runtimes.Layer) []layerRecord {
	var out []layerRecord
	for _, l := range layers {
		out = append(out, layerRecord{l.Dir, l.Blob, l.DiffID, l.ChainID, l.Key, l.ID, l.Inside})
	}
	return out
}

type containerDetails struct {
	*containerRecord
	Annotations map[string]string          `json:"annotations,omitempty"`
	Env         []string                   `json:"env,omitempty"`
	Addresses   []string                   `json:"addresses,omitempty"`
	LogDriver   string                     `json:"log_driver,omitempty"`
	Command     []string                   `json:"create_command,omitempty"`
	Health      *runtimes.Health           `json:"health,omitempty"`
	Secrets     []string                   `json:"secrets,omitempty"`
	Rootfs      rootfsRecord               `json:"rootfs"`
	Spec        json.RawMessage            `json:"spec,omitempty"`
	Records     map[string]json.RawMessage `json:"records,omitempty"`
}

type rootfsRecord struct {
	Kind       string        `json:"kind,omitempty"`
	Upper      *layerRecord  `json:"upper,omitempty"`
	Lower      []layerRecord `json:"lower,omitempty"`
	InitLayers int           `json:"init_layers,omitempty"`
	UserXattr  bool          `json:"userxattr,omitempty"`
	Problem    string        `json:"problem,omitempty"`
}

func newRootfsRecord(r runtimes.Rootfs) rootfsRecord {
	out := rootfsRecord{Kind: string(r.Kind), Lower: newLayerRecords(r.Lower), InitLayers: r.InitLayers, UserXattr: r.UserXattr}
	if r.Upper.Dir != "" {
		out.Upper = &newLayerRecords([]runtimes.Layer{r.Upper})[0]
	}
	if r.Problem != nil {
		out.Problem = r.Problem.Error()
	}
	return out
}

func newContainerDetails(c *analyzer.Container) *containerDetails {
	return &containerDetails{
		containerRecord: newContainerRecord(c), Annotations: c.Annotations, Env: c.Env, Addresses: c.IP, LogDriver: c.LogDriver,
		Command: c.CreateCommand, Health: c.Health, Secrets: c.Secrets,
		Rootfs: newRootfsRecord(c.Rootfs), Spec: c.Spec, Records: c.Records,
	}
}

type imageDetails struct {
	*imageRecord
	Author  string          `json:"author,omitempty"`
	Updated string          `json:"updated,omitempty"`
	Rootfs  rootfsRecord    `json:"rootfs"`
	History []historyRecord `json:"history,omitempty"`
	Config  json.RawMessage `json:"config,omitempty"`
}

type historyRecord struct {
	Created   string `json:"created,omitempty"`
	CreatedBy string `json:"created_by,omitempty"`
	Author    string `json:"author,omitempty"`
	Comment   string `json:"comment,omitempty"`
	Empty     bool   `json:"empty_layer,omitempty"`
	DiffID    string `json:"diff_id,omitempty"`
}

func newImageDetails(i *analyzer.Image) *imageDetails {
	d := &imageDetails{imageRecord: newImageRecord(i), Author: i.Author, Updated: formatTime(i.Updated), Rootfs: newRootfsRecord(i.Rootfs), Config: i.Config}
	for _, h := range i.History {
		d.History = append(d.History, historyRecord{formatTime(h.Created), h.CreatedBy, h.Author, h.Comment, h.Empty, h.DiffID})
	}
	return d
}
