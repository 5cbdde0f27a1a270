package main

import (
	"errors"
	"io"
	"os"

	"lagan/analyzer"
)

// exportEndings are the endings of one container's file, by format.
var exportEndings = map[string]string{"tar": ".tar", "oci-archive": ".oci.tar", "raw": ".img"}

// containerFile begins the name of what is written of a container: its name, and
// enough of its id to tell it from others.
func containerFile(c *analyzer.Container) string {
	return safeName(string(c.Runtime), c.Namespace, c.DisplayName()) + "-" + safeName(c.ID[:min(len(c.ID), 12)])
}

func (f *outFolder) record(c *analyzer.Container, ending, format string) folderRecord {
	return folderRecord{File: f.free(containerFile(c), ending), Container: c.ID, Name: c.DisplayName(), Runtime: string(c.Runtime), Image: c.Image, Format: format}
}

// exportAll writes each container into a folder. One that can't be put together
// is a gap, and the others follow.
func (u *ui) exportAll(n *analyzer.Node, format string, mounts bool, o analyzer.ExportOptions) error {
	out, err := newOutFolder(u.outFile)
	if err != nil {
		return err
	}
	for _, c := range n.Containers() {
		r := out.record(c, exportEndings[format], format)
		err := u.exportOne(n, out, r, c, mounts, o)
		var gap *analyzer.GapError
		if errors.As(err, &gap) {
			n.ReportGap(gap)
			err = out.drop(r.File)
		}
		if err != nil {
			return errors.Join(err, out.discard())
		}
	}
	return out.finish()
}

func (u *ui) exportOne(n *analyzer.Node, out *outFolder, r folderRecord, c *analyzer.Container, mounts bool, o analyzer.ExportOptions) error {
	tree, err := n.View(c)
	if err == nil && mounts {
		tree, err = n.WithMounts(tree)
	}
	if err != nil {
		return &analyzer.GapError{Object: c.DisplayName(), Err: err}
	}
	if r.Format == "raw" {
		return out.file(r, func(f *os.File) error { return n.ExportRaw(u.ctx, tree, f, o) })
	}
	return out.stream(r, func(w io.Writer) error {
		if r.Format == "oci-archive" {
			return n.ExportOCIArchive(u.ctx, tree, w, o)
		}
		return n.ExportTar(u.ctx, tree, w, o)
	})
}
