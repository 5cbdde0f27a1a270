package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lagan/analyzer"
	"lagan/runtimes"
)

const ceExamples = `  lagan ce --image-root node.img.zst list containers
  lagan ce --image-root node.img.zst --docker-managed list images
`

const ceHelp = `lagan as container-explorer: ce [FLAGS] COMMAND [ARGUMENT...]

  list containers|images|namespaces   what there is
  list content|snapshots|tasks        of containerd, as its databases have it; processes
  info ID, inspect ID                 all of one container, --spec its OCI specification
  drift [ID], diff [ID]               what containers changed against their images
  mount ID DIR, mount-all DIR         files of a container, or of each in DIR/ID, until umount DIR (FUSE)
  export ID DIR, export-all DIR       --image an ext4 image DIR/ID.raw, --archive a tar DIR/ID.tar.gz

Flags may stand before and after the command, with one dash or two. --image-root takes
a mounted root, as the original does, and a disk or an image of one too. As in 0.4, without
--docker-managed the containers are containerd's, with it Docker's; the flags and commands of
0.6 (--container-engine, --all) mean all runtimes unless they say which; export-all means all. Tables are those
of 0.6, and with --docker-managed, --namespace or --metadata-file, which 0.6 has not, those of 0.4. Layers that are links into
a cache are read from there with and without --use-layer-cache.
`

// ceFlags are container-explorer's flags, of 0.4 and 0.6.
type ceFlags struct {
	debug, help, version, fullPath, useCache bool
	cache                                    string
	imageRoot, containerdRoot, dockerRoot    string
	metadata, snapshotMetadata               string
	namespace, support                       string
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
	s.StringVar(&f.snapshotMetadata, "snapshot-metadata-file", "", "")
	s.BoolVarP(&f.useCache, "use-layer-cache", "u", false, "")
	s.StringVarP(&f.cache, "layer-cache", "l", layerCache, "")
	s.BoolVarP(&f.fullPath, "full-overlay-path", "P", false, "")
	s.BoolVarP(&f.version, "version", "v", false, "")
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

// layerCache is where snapshots of streamed images are, beside their links: the
// only place that lagan's reader of containerd knows, as the original's default is.
const layerCache = "layers"

// ceCommands begin container-explorer's commands.
var ceCommands = []string{"list", "ls", "info", "inspect", "drift", "diff", "mount", "mount-all", "mount_all", "export", "export-all", "export_all"}

// ceArgs spells the arguments as pflag takes them: two dashes before long names,
// and -s, which means a different thing in three places, by its name there.
func ceArgs(args []string) []string {
	var out []string
	command := ""
	for i, a := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case a == "-s" && command == "" && i+1 < len(args) && strings.HasSuffix(args[i+1], ".db"):
			a = "--snapshot-metadata-file" // in 0.4
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
		Long: ceHelp, Example: ceExamples, DisableFlagParsing: true,
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
	switch {
	case f.version:
		fmt.Fprintln(u.stdout, "lagan version", version())
		return nil
	case f.help || len(args) == 0 || args[0] == "help":
		fmt.Fprint(u.stdout, ceHelp, "\nExamples:\n", ceExamples)
		return nil
	case f.cache != layerCache:
		return usageError{fmt.Errorf("--layer-cache: cached layers are looked for in %q beside the snapshots, not in %q", layerCache, f.cache)}
	}
	f.output = strings.ToLower(f.output)
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
	list := ceCommand{"list containers|images|namespaces|content|snapshots|tasks", 1, 1, c.list}
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
	} else {
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
	if roots["containerd"] == "" && c.f.snapshotMetadata != "" {
		roots["containerd"] = filepath.Dir(filepath.Dir(c.f.snapshotMetadata)) // ROOT/io.containerd.snapshotter.v1.overlayfs/metadata.db
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

// old says whether the call is one of 0.4, whose tables have other columns.
func (c *ce) old() bool {
	f := c.f
	return os.Getenv("LAGAN_CE") == "0.4" || f.dockerManaged || f.namespace != "" || f.metadata != "" || f.snapshotMetadata != ""
}

// engines returns the runtimes that are meant, nil for all.
func (c *ce) engines() []runtimes.Name {
	switch e := strings.ToLower(c.f.engine); {
	case e == "containerd", e == "docker", e == "podman":
		return []runtimes.Name{runtimes.Name(e)}
	case e != "" || c.f.all || os.Getenv("LAGAN_CE") == "0.6", strings.HasPrefix(c.command, "export"): // which means all in 0.4 too
		return nil
	case c.f.dockerManaged, c.f.imageRoot == "" && c.f.containerdRoot == "" && c.f.metadata == "" && c.f.snapshotMetadata == "":
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
