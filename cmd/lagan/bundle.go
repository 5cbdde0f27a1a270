package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/internal/text"
	"lagan/runtimes"
)

func newBundleCommand(u *ui) *cobra.Command {
	return u.command(verb{
		use:   "bundle EVIDENCE CONTAINER|POD",
		short: "write what a case needs of one container or pod into a folder",
		long: `Write into a new folder what kube-forensics stores of a live pod, from the disk: of each container inspect.json (in the
shape of docker inspect or crictl inspect), details.json (all that lagan inspect prints), diff.txt (as docker diff), export.tar
and its logs; of a pod a description and the pod as YAML, as far as the disk tells of it; and MANIFEST.jsonl with
each file's SHA-256. A part that can't be had is a warning, and the others are there.`,
		examples: `
  lagan bundle node.img.zst tomcat-prod -o tomcat-prod.case
  lagan bundle node.img.zst default/web-7c5ddbdf54-x2k9q -o web.case`,
		min: 2, max: 2,
		check: func() error {
			if u.outFile == "" {
				return usageError{errors.New("bundle needs -o FOLDER")}
			}
			return nil
		},
		run: func(n *analyzer.Node, args []string) error {
			c, err := n.FindContainer(args[1])
			if err == nil {
				return u.bundle(n, n.PodOf(c), []*analyzer.Container{c})
			}
			pod, podErr := n.FindPod(args[1])
			if podErr != nil {
				return err
			}
			return u.bundle(n, pod, pod.Containers)
		},
	})
}

func (u *ui) bundle(n *analyzer.Node, pod *analyzer.Pod, list []*analyzer.Container) error {
	out, err := newOutFolder(u.outFile)
	if err != nil {
		return err
	}
	b := bundler{u: u, n: n, out: out}
	if pod != nil {
		err = b.pod(pod)
	}
	for _, c := range list {
		if err == nil {
			err = b.container(c)
		}
	}
	if err != nil {
		return errors.Join(err, out.discard())
	}
	return out.finish()
}

type bundler struct {
	u   *ui
	n   *analyzer.Node
	out *outFolder
}

// pod describes a pod as text and as the object that Kubernetes had.
func (b *bundler) pod(p *analyzer.Pod) error {
	name := safeName(p.Namespace, firstName(p.Name, p.UID, p.ID))
	object := podObject(p)
	return errors.Join(
		b.out.stream(folderRecord{File: name + ".txt", Name: p.DisplayName()}, func(w io.Writer) error { return describe(w, object, "") }),
		b.out.stream(folderRecord{File: name + ".yaml", Name: p.DisplayName()}, func(w io.Writer) error { return writeYAML(w, object, "") }),
	)
}

func firstName(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// container writes all parts of one container.
func (b *bundler) container(c *analyzer.Container) error {
	record := func(ending string) folderRecord { return b.out.record(c, "-"+ending, "") }
	var inspect any = newContainerDetails(c)
	switch {
	case c.Runtime == runtimes.Docker:
		inspect = []any{newDockerInspect(c)}
	case c.Pod.UID != "":
		inspect = newCRIInspect(b.n, c)
	}
	if err := errors.Join(b.out.json(record("inspect.json"), inspect), b.out.json(record("details.json"), newContainerDetails(c))); err != nil {
		return err
	}
	for _, part := range []struct {
		ending string
		write  func(io.Writer) error
	}{
		{"diff.txt", func(w io.Writer) error { return b.diff(w, c) }},
		{"export.tar", func(w io.Writer) error { return b.tar(w, c) }},
		{"logs.txt", func(w io.Writer) error { return b.logs(w, c) }},
	} {
		r := record(part.ending)
		err := b.out.stream(r, part.write)
		var gap *analyzer.GapError
		if errors.As(err, &gap) {
			b.n.ReportGap(gap)
			err = b.out.drop(r.File)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// missing makes an error of the evidence a gap of the container.
func missing(c *analyzer.Container, part string, err error) error {
	return &analyzer.GapError{Object: c.DisplayName(), Err: fmt.Errorf("%s is left out of the bundle: %w", part, err)}
}

func (b *bundler) diff(w io.Writer, c *analyzer.Container) error {
	out := bufio.NewWriter(w)
	err := b.n.Changes(b.u.ctx, c, analyzer.ChangeOptions{}, func(ch analyzer.Change) error {
		_, err := fmt.Fprintln(out, text.ForTerminal(strings.Join(newChangeRecord(ch).row(false), " ")))
		return err
	})
	if err != nil && b.u.ctx.Err() == nil {
		return missing(c, "diff.txt", err)
	}
	return errors.Join(err, out.Flush())
}

func (b *bundler) tar(w io.Writer, c *analyzer.Container) error {
	tree, err := b.n.View(c)
	if err != nil {
		return missing(c, "export.tar", err)
	}
	return b.n.ExportTar(b.u.ctx, tree, w, analyzer.ExportOptions{})
}

func (b *bundler) logs(w io.Writer, c *analyzer.Container) error {
	p := logPrinter{f: &logsFlags{timestamps: true}, out: w, errs: w, together: true}
	err := b.n.Logs(b.u.ctx, c, p.print)
	if err != nil && b.u.ctx.Err() == nil {
		return missing(c, "logs.txt", err)
	}
	return err
}
