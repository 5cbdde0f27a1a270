package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/internal/text"
)

func newVerifyCommand(u *ui) *cobra.Command {
	return u.command(verb{
		use:   "verify EVIDENCE [IMAGE]",
		short: "compare each image's layers on the disk with what their digests promise",
		long: `Compare what is on the disk of an image, or of all of them, with what its
digests promise: documents and packed layers by their digests, what a layer
unpacks to by its diff id, and each layer's folder, which is what containers run
from, with the layer's tar entry by entry: names, types, modes, owners, sizes,
targets, attributes, contents, times. Where the packed layer was discarded, the
tar is built again from what Docker and Podman keep of it (tar-split), or another
copy on the disk takes its place, or the table of contents of a blob that was
pulled file by file, which proves nothing; where nothing is left, that is said.

The table has a line for each image and each finding; -v and the other formats
have every check. OBJECT is the file or folder of the node, PATH the path in the
layer. There are findings where the exit status is 3.`,
		examples: `
  lagan verify node.img.zst
  lagan verify node.img.zst nginx:1.25.3 --output jsonl | jq 'select(.result == "changed")'`,
		min: 1, max: 2,
		run: func(n *analyzer.Node, args []string) error {
			var images []*analyzer.Image
			if len(args) > 1 {
				i, err := n.FindImage(args[1])
				if err != nil {
					return err
				}
				images = []*analyzer.Image{i}
			}
			return u.verify(n, images)
		},
	})
}

func (u *ui) verify(n *analyzer.Node, images []*analyzer.Image) error {
	return u.write(func(w io.Writer) error {
		p := u.newPrinter(w, verdictColumns)
		done := int64(0)
		err := n.Verify(u.ctx, images, func(v analyzer.Verdict) error {
			done++
			u.progress("checks made", done, 0)
			if v.Finding() && v.Check != analyzer.CheckImage {
				u.findings++
			}
			if u.output == "table" && !u.verbose && v.Check != analyzer.CheckImage && !v.Finding() {
				return nil
			}
			return p.print(&verdictRecord{v})
		})
		if err != nil {
			return err
		}
		return p.close(n)
	})
}

type verdictRecord struct{ v analyzer.Verdict }

var verdictColumns = columns{
	table: []string{"RESULT", "CHECK", "IMAGE", "LAYER", "PATH", "FIELD", "WANT", "GOT", "OBJECT"},
	wide: []string{"result", "check", "runtime", "namespace", "image", "image_id", "layer", "object", "path", "field", "want", "got",
		"type", "mtime", "atime", "ctime", "btime", "note"},
}

func (r *verdictRecord) appendJSON(dst []byte) ([]byte, error) {
	v := &r.v
	dst = append(dst, '{')
	dst = appendField(dst, "result", string(v.Result))
	for _, f := range [...]struct{ name, value string }{
		{"check", v.Check}, {"runtime", string(v.Runtime)}, {"namespace", v.Namespace}, {"image", v.Image}, {"image_id", v.ImageID}, {"layer", v.Layer},
	} {
		if f.value != "" {
			s, _ := text.ForJSON(f.value)
			dst = append(dst, ',')
			dst = appendField(dst, f.name, s)
		}
	}
	for _, f := range [...]struct{ name, value string }{
		{"object", v.Object}, {"path", v.Path}, {"field", v.Field}, {"want", v.Want}, {"got", v.Got}, {"note", v.Note},
	} {
		if f.value != "" {
			dst = append(dst, ',')
			dst = appendName(dst, f.name, f.value)
		}
	}
	if v.Info.Inode != 0 {
		dst = append(dst, `,"file":{`...)
		dst = append(dst, appendInfo(nil, &v.Info)[1:]...)
		dst = append(dst, '}')
	}
	return append(dst, '}'), nil
}

func (r *verdictRecord) row(wide bool) []string {
	v := &r.v
	if wide {
		typ := ""
		if v.Info.Inode != 0 {
			typ = v.Info.Type.String()
		}
		i := &v.Info
		return []string{string(v.Result), v.Check, string(v.Runtime), v.Namespace, v.Image, v.ImageID, v.Layer, v.Object, v.Path, v.Field, v.Want, v.Got,
			typ, formatTime(i.Mtime), formatTime(i.Atime), formatTime(i.Ctime), formatTime(i.Btime), v.Note}
	}
	if v.Check == analyzer.CheckImage {
		return []string{string(v.Result), v.Check, shortDigest(v.Image), "", "", "", "", "", v.Note}
	}
	object := v.Object
	if v.Note != "" {
		object += fmt.Sprintf(" (%s)", v.Note)
	}
	return []string{string(v.Result), v.Check, shortDigest(v.Image), shortDigest(v.Layer), v.Path, v.Field, shortDigest(v.Want), shortDigest(v.Got), object}
}

// shortDigest gives 12 digits of a digest, as runtimes print them.
func shortDigest(s string) string {
	if hexed, ok := strings.CutPrefix(s, "sha256:"); ok && len(hexed) == 64 {
		return hexed[:12]
	}
	return s
}
