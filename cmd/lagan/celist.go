package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"lagan/internal/text"
	"lagan/runtimes"
)

// cePrint writes what JSON and a table are made of.
func cePrint[T any](c *ce, all []T, table func(w io.Writer) error) error {
	switch c.f.output {
	case "json":
		return c.u.write(func(w io.Writer) error {
			b, err := json.MarshalIndent(all, "", "    ")
			if err == nil {
				_, err = w.Write(append(b, '\n'))
			}
			return err
		})
	case "json_line":
		return c.u.write(func(w io.Writer) error {
			e := json.NewEncoder(w)
			for _, one := range all {
				if s, ok := any(one).(interface{ support() bool }); ok && s.support() && !c.f.showSupport {
					continue // as in tables
				}
				if err := e.Encode(one); err != nil {
					return err
				}
			}
			return nil
		})
	}
	t := tabwriter.NewWriter(c.u.stdout, 1, 8, 1, '\t', 0) // as the original, for who cuts its columns
	if err := table(t); err != nil {
		return err
	}
	return t.Flush()
}

func row(w io.Writer, cells ...string) error {
	for i := range cells {
		cells[i] = text.ForTerminal(cells[i])
	}
	_, err := fmt.Fprintln(w, strings.Join(cells, "\t"))
	return err
}

func (c *ce) list(args []string) error {
	switch args[0] {
	case "containers", "container":
		return c.listContainers()
	case "content", "contents":
		return c.listContent()
	case "snapshots", "snapshot":
		return c.listSnapshots()
	case "tasks", "task":
		return c.listTasks()
	case "images", "image":
		return c.listImages()
	case "namespaces", "namespace", "ns":
		fmt.Fprintln(c.u.stdout, "NAMESPACE")
		for _, n := range c.n.Namespaces() {
			if err := row(c.u.stdout, n.Name); err != nil {
				return err
			}
		}
		return nil
	}
	return usageError{fmt.Errorf("ce lists containers, images, namespaces, content, snapshots and tasks, not %q", args[0])}
}

func (c *ce) listContainers() error {
	all := []ceContainer{}
	for _, x := range c.containers(true) {
		all = append(all, newCeContainer(x, c.s.has(x)))
	}
	return cePrint(c, all, func(w io.Writer) error {
		head := []string{"CONTAINER TYPE", "NAMESPACE", "CONTAINER ID", "CONTAINER NAME", "IMAGE", "CREATED AT", "PID", "STATUS"}
		if c.old() {
			head[0], head[1], head[3] = "NAMESPACE", "TYPE", "CONTAINER HOSTNAME"
		}
		if err := row(w, c.columns(head, "UPDATED AT", "EXPOSED PORTS", "NAME", "LABELS")...); err != nil {
			return err
		}
		for _, x := range all {
			if x.SupportContainer && !c.f.showSupport {
				continue
			}
			cells := []string{x.ContainerType, x.Namespace, x.ID, x.Name, x.Image, ceSeconds(x.CreatedAt), fmt.Sprint(x.ProcessID), x.Status}
			if c.old() {
				cells[0], cells[1], cells[3] = x.Namespace, x.ContainerType, x.Hostname
			}
			name := strings.TrimPrefix(x.Runtime.Name, "/")
			if err := row(w, c.columns(cells, ceSeconds(x.UpdatedAt), strings.Join(x.ExposedPorts, ","), name, ceLabels(x.Labels))...); err != nil {
				return err
			}
		}
		return nil
	})
}

// none is a column that a table never has.
const none = "\x00"

// columns adds those that the flags ask for.
func (c *ce) columns(cells []string, updated, ports, name, labels string) []string {
	if c.f.updated && updated != none {
		cells = append(cells, updated)
	}
	if c.f.ports && ports != none {
		cells = append(cells, ports)
	}
	if c.f.dockerManaged && name != none {
		cells = append(cells, name)
	}
	if !c.f.noLabels {
		cells = append(cells, labels)
	}
	return cells
}

// typed takes the first column away, the kind of runtime, which only 0.6 has.
func (c *ce) typed(cells []string) []string {
	if c.old() {
		return cells[1:]
	}
	return cells
}

func (c *ce) listImages() error {
	all := []ceImage{}
	blobs := map[string]runtimes.Content{}
	for _, x := range c.n.Contents() {
		blobs[x.Digest] = x
	}
	for _, i := range c.n.Images() {
		if !c.engine(i.Runtime) || c.otherNamespace(i.Namespace) {
			continue
		}
		for _, name := range append(slices.Clone(i.Names), i.ID)[:max(len(i.Names), 1)] {
			all = append(all, newCeImage(i, name, blobs[i.Digest], c.s.hasImage(name)))
		}
	}
	return cePrint(c, all, func(w io.Writer) error {
		head := []string{"CONTAINER TYPE", "NAMESPACE", "NAME", "CREATED AT", "DIGEST", "TYPE"}
		if err := row(w, c.typed(c.columns(head, "UPDATED AT", none, none, "LABELS"))...); err != nil {
			return err
		}
		for _, i := range all {
			if i.SupportContainerImage && !c.f.showSupport {
				continue
			}
			cells := []string{i.ContainerType, i.Namespace, i.Name, ceSeconds(i.CreatedAt), i.Target.Digest, i.Target.MediaType}
			if err := row(w, c.typed(c.columns(cells, ceSeconds(i.UpdatedAt), none, none, ceLabels(i.Labels)))...); err != nil {
				return err
			}
		}
		return nil
	})
}

// engine says whether a runtime is one of those that are meant.
func (c *ce) engine(r runtimes.Name) bool {
	engines := c.engines()
	return engines == nil || slices.Contains(engines, r)
}

func (c *ce) otherNamespace(name string) bool { return c.f.namespace != "" && name != c.f.namespace }

func (c *ce) listContent() error {
	all := []ceContent{}
	for _, x := range c.n.Contents() {
		if x.Kind != runtimes.ContentBlob || x.Namespace == "" || !c.engine(x.Runtime) || c.otherNamespace(x.Namespace) {
			continue // what no database of containerd's records
		}
		all = append(all, ceContent{x.Namespace, string(x.Runtime), x.Digest, max(x.Size, 0), ceTime(x.Created), ceTime(x.Updated), x.Labels})
	}
	return cePrint(c, all, func(w io.Writer) error {
		if err := row(w, c.typed([]string{"CONTAINER TYPE", "NAMESPACE", "DIGEST", "SIZE", "CREATED AT", "UPDATED AT", "LABELS"})...); err != nil {
			return err
		}
		for _, x := range all {
			cells := []string{x.ContainerType, x.Namespace, x.Digest, fmt.Sprint(x.Size), ceSeconds(x.CreatedAt), ceSeconds(x.UpdatedAt), ceLabels(x.Labels)}
			if err := row(w, c.typed(cells)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// listSnapshots lists containerd's: the original has none of other runtimes.
func (c *ce) listSnapshots() error {
	all := []ceSnapshot{}
	children := map[[3]string][]string{}
	for _, x := range c.n.Snapshots(false) {
		if x.Runtime != runtimes.Containerd || !c.engine(x.Runtime) || c.otherNamespace(x.Namespace) {
			continue
		}
		all = append(all, newCeSnapshot(x, c.f.fullPath))
		parent := [3]string{x.Namespace, x.Snapshotter, x.Parent}
		children[parent] = append(children[parent], x.Key)
	}
	for i, x := range all {
		all[i].Children = children[[3]string{x.Namespace, x.Snapshotter, x.Key}]
	}
	return cePrint(c, all, func(w io.Writer) error {
		head := []string{"CONTAINER TYPE", "NAMESPACE", "SNAPSHOTTER", "CREATED AT", "UPDATED AT", "KIND", "NAME", "PARENT", "LAYER PATH"}
		if err := row(w, c.typed(c.columns(head, none, none, none, "LABELS"))...); err != nil {
			return err
		}
		for _, x := range all {
			cells := []string{x.ContainerType, x.Namespace, x.Snapshotter, ceSeconds(x.CreatedAt), ceSeconds(x.UpdatedAt), x.Kind, x.Key, x.Parent, x.OverlayPath}
			if err := row(w, c.typed(c.columns(cells, none, none, none, ceLabels(x.Labels)))...); err != nil {
				return err
			}
		}
		return nil
	})
}

// listTasks lists all containers, as the original does, with what the disk says of their processes.
func (c *ce) listTasks() error {
	all := []ceTask{}
	for _, x := range c.containers(true) {
		all = append(all, ceTask{x.Namespace, x.ID, x.PID, string(x.Runtime), firstNonEmpty(ceStates[x.State], "UNKNOWN")})
	}
	return cePrint(c, all, func(w io.Writer) error {
		head := []string{"CONTAINER TYPE", "NAMESPACE", "CONTAINER ID", "PID", "STATUS"}
		if c.old() {
			head = []string{"NAMESPACE", "CONTAINER ID", "CONTAINER TYPE", "PID", "STATUS"}
		}
		if err := row(w, head...); err != nil {
			return err
		}
		for _, x := range all {
			cells := []string{x.ContainerType, x.Namespace, x.Name, fmt.Sprint(x.PID), x.Status}
			if c.old() {
				cells = []string{x.Namespace, x.Name, x.ContainerType, fmt.Sprint(x.PID), x.Status}
			}
			if err := row(w, cells...); err != nil {
				return err
			}
		}
		return nil
	})
}
