package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lagan/analyzer"
	"lagan/internal/confine"
	"lagan/runtimes"
)

const deExamples = `  lagan de -r node.img.zst list running_containers
  lagan de -r node.img.zst list repositories
`

const deHelp = `lagan as docker-explorer: de.py [-d] [-r DOCKER_DIRECTORY] COMMAND

  list all_containers|running_containers|repositories   JSON; -F domain,domain leaves these images out
  history ID                                            how the container's image was built
  mount ID DIR                                          its files, until umount DIR (FUSE)

-r takes Docker's data root, /var/lib/docker by default; a disk, an image of one or a
mounted root too. Images are not downloaded: lagan uses no network.
`

// de is one call of docker-explorer.
type de struct {
	u       *ui
	root    string
	filter  string
	empty   bool
	debug   bool
	version bool
	help    bool
	n       *analyzer.Node
}

func newDeCommand(u *ui) *cobra.Command {
	return &cobra.Command{
		Use: "de", Aliases: []string{"de.py"}, Short: "take docker-explorer's command line",
		Long: deHelp, Example: deExamples, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return (&de{u: u}).run(args) },
	}
}

func (d *de) run(args []string) error {
	defer func() { d.u.gaps = 0 }() // callers take any status but 0 for a failure
	s := pflag.NewFlagSet("de", pflag.ContinueOnError)
	s.BoolVarP(&d.debug, "debug", "d", false, "")
	s.BoolVarP(&d.help, "help", "h", false, "")
	s.BoolVarP(&d.version, "version", "V", false, "")
	s.StringVarP(&d.root, "docker-directory", "r", "/var/lib/docker", "")
	s.StringVarP(&d.filter, "filter_repositories", "F", "", "")
	s.BoolVar(&d.empty, "show-empty", false, "")
	if err := s.Parse(args); err != nil {
		return usageError{fmt.Errorf("%w; see `lagan de --help`", err)}
	}
	args = s.Args()
	switch {
	case d.help:
		fmt.Fprint(d.u.stdout, deHelp, "\nExamples:\n", deExamples)
		return nil
	case d.version:
		fmt.Fprintln(d.u.stdout, version())
		return nil
	case len(args) == 0:
		args = []string{"list", "all_containers"}
	}
	d.u.quiet = d.u.quiet || !d.debug
	switch {
	case args[0] == "mount" && len(args) == 3:
		return d.mount(args[1], args[2])
	case args[0] == "download":
		return errors.New("lagan uses no network: download is not offered")
	case args[0] == "list" && len(args) == 2, args[0] == "history" && len(args) == 2:
	default:
		return usageError{errors.New("usage: de.py [-r DOCKER_DIRECTORY] list KIND | history ID | mount ID DIR; see `lagan de --help`")}
	}
	if err := d.open(); err != nil {
		return err
	}
	defer d.n.Close()
	if args[0] == "history" {
		return d.history(args[1])
	}
	return d.list(args[1])
}

// open opens what -r names, confined as other commands are.
func (d *de) open() (err error) {
	if d.u.sandbox && !d.u.noSandbox {
		a := confine.Access{Read: append(readable(d.root, false), "/proc/self/uid_map"), Write: []string{d.u.spoolDir()}}
		reach(&a, d.root)
		if _, err := confine.Apply(a); err != nil {
			return err
		}
	}
	d.n, err = d.u.open(d.root)
	return err
}

func (d *de) print(v any) error {
	b, err := json.MarshalIndent(v, "", "    ")
	if err == nil {
		_, err = d.u.stdout.Write(append(b, '\n'))
	}
	return err
}

// deContainer is a container as docker-explorer prints it.
type deContainer struct {
	Image   string              `json:"image_name"`
	ID      string              `json:"container_id"`
	ImageID string              `json:"image_id"`
	Labels  map[string]string   `json:"labels,omitempty"`
	Start   string              `json:"start_date"`
	MountID string              `json:"mount_id,omitempty"`
	Mounts  []deMount           `json:"mount_points,omitempty"`
	Upper   string              `json:"upper_dir,omitempty"`
	Log     string              `json:"log_path,omitempty"`
	Ports   map[string]struct{} `json:"exposed_ports,omitempty"`
}

type deMount struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
}

func (d *de) list(kind string) error {
	if kind == "repositories" {
		return d.repositories()
	}
	if kind != "all_containers" && kind != "running_containers" {
		return usageError{fmt.Errorf("list takes all_containers, running_containers or repositories, not %q", kind)}
	}
	var chosen []*analyzer.Container
	for _, c := range d.n.Containers() {
		if c.Runtime == runtimes.Docker && (kind == "all_containers" || c.State == runtimes.StateRunning) && d.wanted(c.Image) {
			chosen = append(chosen, c)
		}
	}
	slices.SortStableFunc(chosen, func(a, b *analyzer.Container) int { return a.Started.Compare(b.Started) })
	out := []deContainer{}
	for _, c := range chosen {
		x := deContainer{Image: c.Image, ID: c.ID, ImageID: strings.TrimPrefix(c.ImageID, "sha256:"), Labels: c.Labels, MountID: c.Snapshot,
			Upper: d.place(c.Rootfs.Upper.Dir), Log: c.LogPath, Start: deTime(c.Started)}
		for _, port := range newCeContainer(c, false).ExposedPorts {
			if x.Ports == nil {
				x.Ports = map[string]struct{}{}
			}
			x.Ports[port] = struct{}{}
		}
		for _, m := range c.Mounts {
			x.Mounts = append(x.Mounts, deMount{d.place(m.Source), m.Destination})
		}
		out = append(out, x)
	}
	return d.print(out)
}

// deTime is a time as Python's isoformat has it: microseconds, where there are
// any. One that isn't known is the year 1, as Docker itself writes it.
func deTime(t time.Time) string {
	t = t.UTC().Truncate(time.Microsecond)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05-07:00")
	}
	return t.Format("2006-01-02T15:04:05.000000-07:00")
}

// place is a folder of Docker's as its users reach it: below the folder that -r
// names. Of a disk, and outside that folder, it is as the node named it.
func (d *de) place(path string) string {
	if len(d.n.Evidence) == 0 || d.n.Evidence[0].Format != "folder" || len(d.n.Volumes) == 0 {
		return path
	}
	inside, ok := strings.CutPrefix(path, strings.TrimSuffix(d.n.Volumes[0].MountPoint, "/")+"/")
	if !ok {
		return path
	}
	return filepath.Join(d.root, inside)
}

// wanted says whether an image is none of the repositories that -F leaves out: what
// stands before the name's first slash.
func (d *de) wanted(image string) bool {
	repository, _, _ := strings.Cut(image, "/")
	return d.filter == "" || !slices.Contains(strings.Split(d.filter, ","), repository)
}

// repositories prints tags and digests by repository, as repositories.json has them.
func (d *de) repositories() error {
	out := map[string]map[string]string{}
	for _, i := range d.n.Images() {
		if i.Runtime != runtimes.Docker {
			continue
		}
		for _, name := range i.Names {
			repository, _, _ := strings.Cut(name, "@")
			if at := strings.LastIndexByte(repository, ':'); at > strings.LastIndexByte(repository, '/') {
				repository = repository[:at]
			}
			if out[repository] == nil {
				out[repository] = map[string]string{}
			}
			out[repository][name] = i.ID
		}
	}
	return d.print([]map[string]any{{"Repositories": out, "path": d.root}})
}

func (d *de) find(id string) (*analyzer.Container, error) { return d.n.FindContainer(id) }

// history prints the steps that made layers of the container's image, the last
// first; --show-empty those too that made none.
func (d *de) history(id string) error {
	c, err := d.find(id)
	if err != nil {
		return err
	}
	i, err := d.n.FindImage(c.ImageID)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("{")
	shown := 0
	for n, h := range slices.Backward(i.History) {
		if h.Empty && !d.empty {
			continue
		}
		layer := firstNonEmpty(h.DiffID, fmt.Sprintf("step %d", n+1))
		step, err := json.MarshalIndent(map[string]any{"created_at": deTime(h.Created), "container_cmd": h.CreatedBy, "comment": h.Comment, "size": 0}, "    ", "    ")
		if err != nil {
			return err
		}
		if shown++; shown > 1 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n    %q: %s", layer, step)
	}
	b.WriteString("\n}\n")
	_, err = io.WriteString(d.u.stdout, b.String())
	return err
}

// mount mounts a container's files with its volumes, and returns.
func (d *de) mount(id, folder string) error {
	return d.u.inBackground(folder, func(o analyzer.ServeOptions) error {
		if err := d.open(); err != nil {
			return err
		}
		defer d.n.Close()
		c, err := d.find(id)
		if err != nil {
			return err
		}
		view, err := d.n.View(c)
		if err != nil {
			return err
		}
		o.Mounts = true
		return d.n.Serve(d.u.ctx, folder, view, o)
	})
}
