package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"lagan/analyzer"
	"lagan/internal/text"
)

func (c *ce) info(args []string) error {
	x, err := c.find(args[len(args)-1])
	if err != nil {
		return err
	}
	var v any = struct {
		ceContainer
		Spec json.RawMessage
	}{newCeContainer(x, c.s.has(x)), x.Spec}
	if config := x.Records["config.v2.json"]; config != nil {
		v = config // of Docker's, with --spec and without
	} else if c.f.spec {
		v = x.Spec
	}
	b, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return err
	}
	_, err = c.u.stdout.Write(append(b, '\n'))
	return err
}

func (c *ce) drift(args []string) error {
	chosen := c.containers(c.f.mountSupport || c.f.showSupport)
	if len(args) == 1 {
		x, err := c.find(args[0])
		if err != nil {
			return err
		}
		chosen = []*analyzer.Container{x}
	}
	all := []ceDrift{}
	for _, x := range chosen {
		d := ceDrift{ContainerID: x.ID, ContainerType: string(x.Runtime), AddedOrModified: []ceFile{}, InaccessibleFiles: []ceFile{}}
		err := c.n.Changes(c.u.ctx, x, analyzer.ChangeOptions{Hash: true}, d.add)
		if c.u.ctx.Err() != nil {
			return c.u.ctx.Err()
		}
		if err != nil {
			c.n.Gap("container "+x.DisplayName(), err)
			continue
		}
		all = append(all, d)
	}
	return cePrint(c, all, func(w io.Writer) error {
		if err := row(w, c.typed([]string{"CONTAINER TYPE", "CONTAINER ID", "ADDED/MODIFIED", "DELETED"})...); err != nil {
			return err
		}
		for _, d := range all {
			if err := row(w, c.typed([]string{d.ContainerType, d.ContainerID, ceNames(d.AddedOrModified), ceNames(d.InaccessibleFiles)})...); err != nil {
				return err
			}
		}
		return nil
	})
}

// export writes containers as ID.raw and ID.tar.gz into a folder. One that can't
// be written doesn't stop the others; where none can, it is an error.
func (c *ce) export(args []string) error {
	folder := args[len(args)-1]
	chosen := c.containers(c.f.exportSupport)
	if len(args) == 2 {
		x, err := c.find(args[0])
		if err != nil {
			return err
		}
		chosen = []*analyzer.Container{x}
	}
	var failed []error
	for _, x := range chosen {
		if err := c.exportOne(c.u.ctx, x, folder); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", x.ID, err))
			fmt.Fprintf(c.u.stderr, "lagan: %s\n", errorText(failed[len(failed)-1]))
		}
	}
	if len(failed) > 0 && (len(failed) == len(chosen) || c.u.ctx.Err() != nil) {
		return errors.Join(failed...)
	}
	return nil
}

func (c *ce) exportOne(ctx context.Context, x *analyzer.Container, folder string) error {
	view, err := c.n.View(x)
	if err != nil {
		return err
	}
	name := filepath.Join(folder, text.ForTerminal(strings.ReplaceAll(x.ID, "/", "_")))
	if c.f.image || !c.f.archive {
		err := c.u.writeFiles([]string{name + ".raw"}, func(files []*os.File) error {
			return c.n.ExportRaw(ctx, view, files[0], analyzer.ExportOptions{})
		})
		if err != nil {
			return err
		}
	}
	if !c.f.archive {
		return nil
	}
	return c.u.writeFiles([]string{name + ".tar.gz"}, func(files []*os.File) error {
		return writeGzip(files[0], func(w io.Writer) error { return c.n.ExportTar(ctx, view, w, analyzer.ExportOptions{}) })
	})
}
