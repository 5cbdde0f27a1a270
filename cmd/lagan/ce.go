package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lagan/analyzer"
	"lagan/internal/text"
	"lagan/runtimes"
)

const ceHelp = `lagan as container-explorer: ce [FLAGS] COMMAND [ARGUMENT...]

  list containers|images|namespaces   what there is
  info ID, inspect ID                 all of one container, --spec its OCI specification
  drift [ID], diff [ID]               what containers changed against their images
  mount ID DIR, mount-all DIR         files of a container, or of each in DIR/ID, until umount DIR (FUSE)
  export ID DIR, export-all DIR       --image an ext4 image DIR/ID.raw, --archive a tar DIR/ID.tar.gz

Flags may stand before and after the command, with one dash or two. --image-root takes
a mounted root, as the original does, and a disk or an image of one too. As in 0.4, without
--docker-managed the containers are containerd's, with it Docker's; the flags and commands of
0.6 (--container-engine, --all, inspect, --engines all) mean all runtimes unless they say which.
`

// ceFlags are container-explorer's flags, of 0.4 and 0.6.
type ceFlags struct {
	debug, help                              bool
	imageRoot, containerdRoot, dockerRoot    string
	metadata, namespace, support             string
	dockerManaged, all                       bool
	engine, output, outputFile, filter       string
	spec, image, archive                     bool
	noLabels, updated, ports, running        bool
	showSupport, mountSupport, exportSupport bool
}

func (f *ceFlags) set() *pflag.FlagSet {
	s := pflag.NewFlagSet("ce", pflag.ContinueOnError)
	s.BoolVarP(&f.debug, "debug", "d", false, "")
	s.BoolVarP(&f.help, "help", "h", false, "")
	s.StringVarP(&f.imageRoot, "image-root", "i", "", "")
	s.StringVarP(&f.containerdRoot, "containerd-root", "c", "", "")
	s.StringVarP(&f.dockerRoot, "docker-root", "D", "", "")
	s.StringVarP(&f.metadata, "metadata-file", "m", "", "")
	s.StringVarP(&f.namespace, "namespace", "n", "", "")
	s.StringVar(&f.support, "support-container-data", "", "")
	s.BoolVar(&f.dockerManaged, "docker-managed", false, "")
	s.BoolVar(&f.all, "all", false, "")
	s.StringVarP(&f.engine, "container-engine", "e", "", "")
	s.StringVar(&f.output, "output", "table", "")
	s.StringVarP(&f.outputFile, "output-file", "o", "", "")
	s.StringVarP(&f.filter, "filter", "f", "", "")
	s.BoolVar(&f.spec, "spec", false, "")
	s.BoolVar(&f.image, "image", false, "")
	s.BoolVarP(&f.archive, "archive", "a", false, "")
	s.BoolVarP(&f.noLabels, "no-labels", "L", false, "")
	s.BoolVar(&f.updated, "updated", false, "")
	s.BoolVarP(&f.ports, "ports", "p", false, "")
	s.BoolVarP(&f.running, "running", "r", false, "")
	s.BoolVar(&f.showSupport, "show-support-containers", false, "")
	s.BoolVar(&f.mountSupport, "mount-support-containers", false, "")
	s.BoolVar(&f.exportSupport, "export-support-containers", false, "")
	return s
}

// ceCommands begin container-explorer's commands.
var ceCommands = []string{"list", "ls", "info", "inspect", "drift", "diff", "mount", "mount-all", "mount_all", "export", "export-all", "export_all"}

// ceArgs spells the arguments as pflag takes them: two dashes before long names,
// and -s, which means a different thing in three places, by its name there.
func ceArgs(args []string) []string {
	var out []string
	command := ""
	for _, a := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case a == "-s" && command == "":
			a = "--support-container-data"
		case a == "-s" && (command == "list" || command == "ls" || command == "drift" || command == "diff"):
			a = "--show-support-containers"
		case a == "-s" && (command == "info" || command == "inspect"):
			a = "--spec"
		case a == "-s" && strings.HasPrefix(command, "mount"):
			a = "--mount-support-containers"
		case a == "-s":
			a = "--export-support-containers"
		case a == "-i" && strings.HasPrefix(command, "export"):
			a = "--image"
		case strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && len(name) > 1:
			a = "-" + a
		case command == "" && slices.Contains(ceCommands, a):
			command = a
		}
		out = append(out, a)
	}
	return out
}

func newCeCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use: "ce", Aliases: []string{"container-explorer"}, Short: "take container-explorer's command line",
		Long: ceHelp, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return u.ce(args) },
	}
}

// ce does what container-explorer would do with the arguments. A gap doesn't
// change the exit status, which its callers take for a failure.
func (u *ui) ce(args []string) error {
	defer func() { u.gaps = 0 }()
	var f ceFlags
	set := f.set()
	if err := set.Parse(ceArgs(args)); err != nil {
		return usageError{fmt.Errorf("%w; see `lagan ce --help`", err)}
	}
	args = set.Args()
	if f.help || len(args) == 0 {
		fmt.Fprint(u.stdout, ceHelp)
		return nil
	}
	if f.output != "table" && f.output != "json" && f.output != "json_line" {
		return usageError{fmt.Errorf("--output takes table or json, not %q", f.output)}
	}
	c := &ce{u: u, f: &f}
	command, rest := args[0], args[1:]
	if command == "mount" && f.all {
		command = "mount-all"
	} else if command == "export" && f.all {
		command = "export-all"
	}
	c.command = command
	do, ok := c.commands()[strings.ReplaceAll(command, "_", "-")]
	switch {
	case !ok:
		return usageError{fmt.Errorf("ce has no command %q; see `lagan ce --help`", command)}
	case len(rest) < do.min || len(rest) > do.max:
		return usageError{fmt.Errorf("usage: ce %s; see `lagan ce --help`", do.usage)}
	}
	if strings.HasPrefix(command, "mount") {
		return c.mount(rest)
	}
	if err := c.open(rest); err != nil {
		return err
	}
	defer c.n.Close()
	return do.run(rest)
}

// ce is one call.
type ce struct {
	command string
	u       *ui
	f       *ceFlags
	n       *analyzer.Node
	s       *support
}

type ceCommand struct {
	usage    string
	min, max int
	run      func(args []string) error
}

func (c *ce) commands() map[string]ceCommand {
	info := ceCommand{"info ID", 1, 2, c.info}
	drift := ceCommand{"drift [ID]", 0, 1, c.drift}
	list := ceCommand{"list containers|images|namespaces", 1, 1, c.list}
	return map[string]ceCommand{
		"list": list, "ls": list, "info": info, "inspect": info, "drift": drift, "diff": drift,
		"mount": {"mount ID DIR", 2, 2, nil}, "mount-all": {"mount-all DIR", 1, 1, nil},
		"export": {"export ID DIR", 2, 2, c.export}, "export-all": {"export-all DIR", 1, 1, c.export},
	}
}

// open opens what the flags name, confined as other commands are.
func (c *ce) open(args []string) error {
	evidence, err := c.evidence()
	if err != nil {
		return err
	}
	c.u.outFile, c.u.outFiles = c.f.outputFile, nil
	if c.f.outputFile != "" {
		c.u.outFiles = []string{c.f.outputFile}
		if err := c.u.outside(evidence, "--output-file", c.f.outputFile); err != nil {
			return err
		}
	}
	if c.s, err = readSupport(c.f.support); err != nil {
		fmt.Fprintf(c.u.stderr, "lagan: no container is one of support: %v\n", err)
		c.f.support = ""
	}
	c.u.quiet = c.u.quiet || !c.f.debug
	if strings.HasPrefix(c.command, "export") {
		folder := args[len(args)-1]
		if err := c.makeFolder(evidence, folder); err != nil {
			return err
		}
		err = c.confine(evidence, folder)
	} else if !strings.HasPrefix(c.command, "mount") {
		err = c.confine(evidence)
	}
	if err != nil {
		return err
	}
	c.n, err = c.u.open(evidence)
	if err == nil && c.n.Tree == nil && len(c.n.Stores) == 0 {
		err = fmt.Errorf("%s: %w", evidence, analyzer.ErrNoFilesystem)
	}
	return err
}

// evidence returns what is opened, and adds the data roots that lie in it.
func (c *ce) evidence() (string, error) {
	roots := map[string]string{"containerd": c.f.containerdRoot, "docker": c.f.dockerRoot}
	if roots["containerd"] == "" && c.f.metadata != "" {
		roots["containerd"] = filepath.Dir(filepath.Dir(c.f.metadata)) // ROOT/io.containerd.metadata.v1.bolt/meta.db
	}
	if c.f.imageRoot == "" {
		kind := "containerd"
		if roots[kind] == "" || c.f.dockerManaged && roots["docker"] != "" {
			kind = "docker"
		}
		if roots[kind] == "" {
			return "", usageError{errors.New("--image-root, --containerd-root or --docker-root says where the evidence is")}
		}
		return roots[kind], nil
	}
	for kind, root := range roots {
		if root == "" {
			continue
		}
		inside, ok := strings.CutPrefix(filepath.Clean(root), strings.TrimSuffix(filepath.Clean(c.f.imageRoot), "/")+"/")
		if !ok {
			inside = strings.TrimPrefix(root, "/") // as the node named it
		}
		c.u.dataRoots = append(c.u.dataRoots, kind+"=/"+inside)
	}
	slices.Sort(c.u.dataRoots)
	return c.f.imageRoot, nil
}

// engines returns the runtimes that are meant, nil for all.
func (c *ce) engines() []runtimes.Name {
	switch e := c.f.engine; {
	case e == "containerd", e == "docker", e == "podman":
		return []runtimes.Name{runtimes.Name(e)}
	case e != "" || c.f.all || os.Getenv("LAGAN_CE") == "0.6":
		return nil
	case c.f.dockerManaged, c.f.imageRoot == "" && c.f.containerdRoot == "" && c.f.metadata == "":
		return []runtimes.Name{runtimes.Docker}
	}
	return []runtimes.Name{runtimes.Containerd}
}

// containers returns those that the flags mean.
func (c *ce) containers(supported bool) []*analyzer.Container {
	engines := c.engines()
	var out []*analyzer.Container
	for _, x := range c.n.Containers() {
		switch {
		case engines != nil && !slices.Contains(engines, x.Runtime),
			c.f.namespace != "" && x.Runtime == runtimes.Containerd && x.Namespace != c.f.namespace,
			c.f.running && x.State != runtimes.StateRunning,
			!hasLabels(x.Labels, c.f.filter),
			!supported && c.s.has(x):
		default:
			out = append(out, x)
		}
	}
	return out
}

// hasLabels says whether labels have all of k=v,k=v.
func hasLabels(labels map[string]string, filter string) bool {
	for pair := range strings.SplitSeq(filter, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok && labels[strings.TrimSpace(k)] != strings.TrimSpace(v) {
			return false
		}
	}
	return true
}

// find returns the container that is named: of all runtimes, where those that
// the flags mean don't have it.
func (c *ce) find(id string) (*analyzer.Container, error) { return c.n.FindContainer(id) }

// print writes what JSON and a table are made of.
func (c *ce) print(v any, table func(w io.Writer) error) error {
	switch c.f.output {
	case "json":
		return c.u.write(func(w io.Writer) error {
			b, err := json.MarshalIndent(v, "", "    ")
			if err == nil {
				_, err = w.Write(append(b, '\n'))
			}
			return err
		})
	case "json_line":
		return c.u.write(func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
	}
	t := tabwriter.NewWriter(c.u.stdout, 0, 8, 2, ' ', 0)
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
	return usageError{fmt.Errorf("ce lists containers, images and namespaces here; for %s see `lagan help`", text.ForTerminal(args[0]))}
}

func (c *ce) listContainers() error {
	all := []ceContainer{}
	for _, x := range c.containers(true) {
		all = append(all, newCeContainer(x, c.s.has(x)))
	}
	return c.print(all, func(w io.Writer) error {
		head := []string{"CONTAINER TYPE", "NAMESPACE", "CONTAINER ID", "CONTAINER NAME", "IMAGE", "CREATED AT", "PID", "STATUS"}
		if err := row(w, c.columns(head, "UPDATED AT", "EXPOSED PORTS", "LABELS")...); err != nil {
			return err
		}
		for _, x := range all {
			if x.SupportContainer && !c.f.showSupport {
				continue
			}
			cells := []string{x.ContainerType, x.Namespace, x.ID, x.Name, x.Image, ceSeconds(x.CreatedAt), fmt.Sprint(x.ProcessID), x.Status}
			if err := row(w, c.columns(cells, ceSeconds(x.UpdatedAt), strings.Join(x.ExposedPorts, ","), ceLabels(x.Labels))...); err != nil {
				return err
			}
		}
		return nil
	})
}

// columns adds those that the flags ask for.
func (c *ce) columns(cells []string, updated, ports, labels string) []string {
	if c.f.updated {
		cells = append(cells, updated)
	}
	if c.f.ports {
		cells = append(cells, ports)
	}
	if !c.f.noLabels {
		cells = append(cells, labels)
	}
	return cells
}

func (c *ce) listImages() error {
	engines := c.engines()
	all := []ceImage{}
	for _, i := range c.n.Images() {
		if engines != nil && !slices.Contains(engines, i.Runtime) || c.f.namespace != "" && i.Namespace != c.f.namespace {
			continue
		}
		for _, name := range append(slices.Clone(i.Names), i.ID)[:max(len(i.Names), 1)] {
			all = append(all, ceImage{i.Namespace, string(i.Runtime), c.s.hasImage(name), name, i.Labels, ceTarget{"", i.Digest, max(i.Size, 0)}, ceTime(i.Created), ceTime(i.Updated)})
		}
	}
	return c.print(all, func(w io.Writer) error {
		if err := row(w, "CONTAINER TYPE", "NAMESPACE", "NAME", "CREATED AT", "DIGEST"); err != nil {
			return err
		}
		for _, i := range all {
			if i.SupportContainerImage && !c.f.showSupport {
				continue
			}
			if err := row(w, i.ContainerType, i.Namespace, i.Name, ceSeconds(i.CreatedAt), i.Target.Digest); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *ce) info(args []string) error {
	x, err := c.find(args[len(args)-1])
	if err != nil {
		return err
	}
	var v any = struct {
		ceContainer
		Spec json.RawMessage
	}{newCeContainer(x, c.s.has(x)), x.Spec}
	if c.f.spec {
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
	chosen := c.containers(false)
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
	return c.print(all, func(w io.Writer) error {
		if err := row(w, "CONTAINER TYPE", "CONTAINER ID", "ADDED/MODIFIED", "DELETED"); err != nil {
			return err
		}
		for _, d := range all {
			if err := row(w, d.ContainerType, d.ContainerID, ceNames(d.AddedOrModified), ceNames(d.InaccessibleFiles)); err != nil {
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
