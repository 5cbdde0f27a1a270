package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/internal/text"
)

var exportFormats = []string{"tar", "dir", "oci", "oci-archive", "raw"}

func newExportCommand(u *ui) *cobra.Command {
	var o analyzer.ExportOptions
	var format string
	var mounts, all bool
	cmd := u.command(verb{
		use:   "export EVIDENCE CONTAINER | EVIDENCE --all",
		short: "write a container's files as a tar, an image or a folder",
		long: `Write the merged view as a tar, in the order and with the names of docker export:
owners, modes, times with nanoseconds, file capabilities and the users' attributes, hard
links, devices; of a Docker container no other attributes, as there: the other formats have
them. Sockets have no place in a tar, -v names them. A file that can't be read in
whole has zeros in place of what is missing, and is a warning.

--format dir writes regular files and folders to rootfs in a new folder, readable by you alone,
and all that is known of every file, devices and links too, to MANIFEST.jsonl beside it. A
name that this machine can't hold, or has already, is written under an escaped one. --links
makes the links, which may lead anywhere on this machine once you follow them.

--format oci writes an OCI image layout, oci-archive the same as a tar: the image's layers, and
the changes as one more. A layer has the digest that it had where the disk still proves it;
where a folder was tampered with, the image holds what is in the folder.

--format raw writes the image of an ext4 filesystem to be mounted, with all attributes, change
and birth times too. It is sparse.

--all writes each container to a file of its own in a new folder (tar, oci-archive or raw), with a manifest of
their hashes. A container that can't be put together is a warning.`,
		examples: `
  lagan export node.img.zst web-front -o web-front.tar
  lagan export node.img.zst tomcat-prod --upper -o changes.tar
  lagan export node.img.zst @node --path /etc | tar -tv
  lagan export node.img.zst tomcat-prod --format dir -o tomcat-prod.files
  lagan export node.img.zst web-front --format oci -o web && skopeo inspect oci:web
  lagan export node.img.zst web-front --format oci-archive | podman load`,
		min: 1, max: 2,
		check: func() error {
			if !slices.Contains(exportFormats, format) {
				return usageError{fmt.Errorf("--format takes %s, not %q", strings.Join(exportFormats, ", "), format)}
			}
			if all && exportEndings[format] == "" {
				return usageError{errors.New("--all takes --format tar, oci-archive or raw")}
			}
			if all && u.outFile == "" {
				return usageError{errors.New("--all needs -o FOLDER")}
			}
			return u.checkExport(format, o)
		},
		run: func(n *analyzer.Node, args []string) error {
			if all != (len(args) == 1) {
				return usageError{errors.New("name a CONTAINER, or --all")}
			}
			if all {
				return u.exportAll(n, format, mounts, o)
			}
			tree, err := findTree(n, args[1], mounts)
			if err != nil {
				return err
			}
			return u.export(n, tree, format, o)
		},
	})
	cmd.Flags().StringVar(&format, "format", "tar", strings.Join(exportFormats, ", "))
	cmd.Flags().BoolVar(&all, "all", false, "each container, to a file of its own in the folder of -o")
	cmd.Flags().BoolVar(&o.Upper, "upper", false, "only what the container changed, with .wh. entries for what it deleted")
	cmd.Flags().StringVar(&o.Path, "path", "/", "only this file or folder; names still begin at the root")
	cmd.Flags().BoolVar(&mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	cmd.Flags().BoolVar(&o.Links, "links", false, "dir: make symbolic and hard links too")
	cmd.Flags().BoolVar(&o.Preserve, "preserve", false, "dir: set modes, without setuid and setgid, and times")
	cmd.MarkFlagsMutuallyExclusive("upper", "mounts")
	return cmd
}

// checkExport finds flags that don't go together.
func (u *ui) checkExport(format string, o analyzer.ExportOptions) error {
	switch {
	case isFolder(format) && u.outFile == "":
		return usageError{fmt.Errorf("--format %s needs -o FOLDER", format)}
	case format != "dir" && (o.Links || o.Preserve):
		return usageError{errors.New("--links and --preserve are for --format dir: the others have links, modes and times")}
	case strings.HasPrefix(format, "oci") && o.Path != "/":
		return usageError{errors.New("--path is not for an image, which has whole layers")}
	case format == "raw" && u.outFile == "":
		return usageError{errors.New("--format raw needs -o FILE, which is written here and there")}
	case u.outFile == "" && u.onTerminal():
		return usageError{fmt.Errorf("%s is not for a terminal: name a file with -o, or pipe it", format)}
	}
	if isFolder(format) {
		u.outFile = filepath.Clean(u.outFile)
	}
	return nil
}

// isFolder says whether a format is written to a folder.
func isFolder(format string) bool { return format == "dir" || format == "oci" }

func (u *ui) export(n *analyzer.Node, tree *analyzer.Tree, format string, o analyzer.ExportOptions) error {
	if o.Upper && tree.Container == nil {
		return usageError{fmt.Errorf("--upper: %s %w", tree.Name, analyzer.ErrNoUpper)}
	}
	if format == "dir" {
		return n.ExportDir(u.ctx, tree, u.outFile, o)
	}
	o.Left = u.leftOut()
	switch format {
	case "oci":
		return n.ExportOCI(u.ctx, tree, u.outFile, o)
	case "raw":
		return u.writeFiles([]string{u.outFile}, func(files []*os.File) error { return n.ExportRaw(u.ctx, tree, files[0], o) })
	case "oci-archive":
		return u.write(func(w io.Writer) error { return n.ExportOCIArchive(u.ctx, tree, w, o) })
	}
	return u.write(func(w io.Writer) error { return n.ExportTar(u.ctx, tree, w, o) })
}

// leftOut tells, with -v, which files a tar has no place for.
func (u *ui) leftOut() func(path string, info evidence.Info) {
	if !u.verbose {
		return nil
	}
	return func(path string, info evidence.Info) {
		u.endProgress()
		fmt.Fprintf(u.stderr, "lagan: left out, a %s has no place in a tar: %s\n", info.Type, text.ForTerminal(path))
	}
}
