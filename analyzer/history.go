package analyzer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/layers"
	"lagan/runtimes"
)

// Step is one step of an image's build, as the image claims it, with what is
// known of the layer that it made.
type Step struct {
	runtimes.History
	Number int    // from 1, in the order of the build
	Layer  string // diff id; "" where the step made none
	Size   int64  // bytes of the layer, as the runtime counted them; -1 unknown, 0 without a layer
	Dir    string // the layer's folder, as the node named it; "" where there is none

	index int // of the layer, from below; -1 none
}

// Steps returns the steps of an image's build, the first first. Layers that
// the history doesn't tell of follow as steps of their own.
func (i *Image) Steps() []Step {
	var out []Step
	next := 0
	for _, h := range i.History {
		s := Step{History: h, Layer: h.DiffID, index: -1}
		if h.DiffID != "" {
			s.index = next
			next++
		}
		out = append(out, s)
	}
	for ; next < len(i.Layers); next++ {
		out = append(out, Step{Layer: i.Layers[next], index: next})
	}
	for k := range out {
		out[k].Number = k + 1
		out[k].Size, out[k].Dir = i.layerSize(out[k].index)
	}
	return out
}

// layerSize returns what is recorded of the k-th layer from below.
func (i *Image) layerSize(k int) (int64, string) {
	lower := i.Rootfs.Lower
	switch {
	case k < 0:
		return 0, ""
	case len(lower) != len(i.Layers) || i.wholeTrees():
		return -1, ""
	}
	l := lower[len(lower)-1-k]
	return l.Size, l.Dir
}

// LayerFile is a file that a layer brought or took.
type LayerFile struct {
	File
	Kind layers.Kind
}

// LayerFiles calls fn for what a step's layer brought, in the order of the paths:
// Added where no layer below has the path, Modified where one has, Deleted for
// whiteouts. A folder that hides what is below it is Modified with what it hides
// unnamed. Of a layer that isn't unpacked the blob is read.
func (n *Node) LayerFiles(ctx context.Context, i *Image, s Step, fn func(LayerFile) error) error {
	if s.index < 0 {
		return nil
	}
	fsys, root, err := n.stepTree(i, s)
	if err != nil {
		return err
	}
	var below evidence.FS
	if s.Dir != "" && s.index > 0 {
		lower := i.Rootfs.Lower
		if below, _, err = n.stack(i.store, "image "+i.DisplayName(), i.Rootfs, lower[len(lower)-s.index:], false); err != nil {
			return err
		}
	}
	l := lister{n: n, t: &Tree{FS: fsys, Name: "layer " + s.Layer}}
	return evidence.Walk(fsys, root, func(path string, e evidence.Entry, info evidence.Info, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			n.gap(i.store.Volume, "layer "+s.Layer, fmt.Errorf("%q: %w", "/"+path, err))
			return nil
		case path == "":
			return nil
		}
		out := LayerFile{Kind: layers.Added}
		if below != nil {
			if _, err := evidence.Resolve(below, below.Root(), path, false); err == nil {
				out.Kind = layers.Modified
			}
		}
		if info.Type == evidence.TypeChar && info.Major == 0 && info.Minor == 0 {
			out.Kind = layers.Deleted
		}
		l.fn = func(f File) error { out.File = f; return nil }
		if err := l.file("/"+path, e.Ino, info); err != nil {
			return err
		}
		out.File.Layer = s.Layer
		return fn(out)
	})
}

// stepTree returns a step's layer: its folder or, where that isn't there, the tree of its blob.
func (n *Node) stepTree(i *Image, s Step) (evidence.FS, evidence.Ino, error) {
	fsys, root, err := n.layerPlace(i.store, runtimes.Layer{Dir: s.Dir, DiffID: s.Layer}, i.Rootfs)
	if err != nil {
		err = fmt.Errorf("layer %s: %w", s.Layer, err)
	}
	return fsys, root, err
}

// Instruction returns the step as a line of a Dockerfile would say it, as far as
// the history keeps it. Docker's classic builder wraps what runs nothing in a shell
// comment (#(nop), daemon/builder/dockerfile/dispatchers.go of moby), BuildKit
// ends its lines in "# buildkit" (frontend/dockerfile/dockerfile2llb of buildkit),
// and a build's arguments stand before the shell as |COUNT NAME=VALUE... .
// What fits none of these is given as a comment.
func (s *Step) Instruction() string {
	text := strings.TrimSpace(s.CreatedBy)
	text = strings.TrimSpace(strings.TrimSuffix(text, "# buildkit"))
	const untold = "# a step that the history doesn't tell"
	if text == "" {
		return untold
	}
	text, args := buildArguments(text)
	const shell = "/bin/sh -c "
	if rest, ok := strings.CutPrefix(text, shell); ok {
		rest = strings.TrimSpace(rest)
		nop, ok := strings.CutPrefix(rest, "#(nop)")
		switch nop = strings.TrimSpace(nop); {
		case ok && nop == "":
			return untold
		case ok:
			return tidy(nop)
		}
		return args + "RUN " + rest
	}
	if rest, ok := strings.CutPrefix(text, "RUN "); ok {
		rest, more := buildArguments(strings.TrimSpace(rest))
		return args + more + "RUN " + strings.TrimPrefix(rest, shell)
	}
	if word, _, _ := strings.Cut(text, " "); slices.Contains(instructions, word) {
		return tidy(text)
	}
	return "# " + text
}

var instructions = []string{"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
	"ONBUILD", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}

// buildArguments takes |COUNT NAME=VALUE... from before a command and gives the
// arguments as a comment.
func buildArguments(text string) (rest, comment string) {
	if !strings.HasPrefix(text, "|") {
		return text, ""
	}
	before, after, ok := strings.Cut(text, " /bin/sh -c ")
	if !ok {
		return text, ""
	}
	_, args, _ := strings.Cut(before, " ")
	if args == "" {
		return "/bin/sh -c " + after, ""
	}
	return "/bin/sh -c " + after, "# with build arguments: " + args + "\n"
}

// tidy turns what builders print of their own structures into what a Dockerfile has.
func tidy(text string) string {
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "CMD", "ENTRYPOINT", "SHELL", "VOLUME":
		if strings.HasPrefix(rest, "[") {
			rest = strings.ReplaceAll(rest, `" "`, `", "`)
		}
	case "ADD", "COPY":
		if i := strings.LastIndex(rest, " in "); i > 0 { // "dir:HASH in /path"
			rest = rest[:i] + " " + rest[i+len(" in "):]
		}
	case "EXPOSE":
		if ports, ok := strings.CutPrefix(rest, "map["); ok {
			rest = strings.ReplaceAll(strings.TrimSuffix(ports, "]"), ":{}", "")
		}
	}
	return word + " " + rest
}
