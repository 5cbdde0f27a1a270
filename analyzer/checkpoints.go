package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"lagan/artifacts/lines"
	"lagan/checkpoint"
	"lagan/evidence"
	"lagan/evidence/image"
	"lagan/timeline"
)

// Checkpoint is a checkpoint of a container, with the archive that it was read from.
type Checkpoint struct {
	*checkpoint.Checkpoint
	Name      string     // of the archive: a file of the analyst's, or NODE:/path
	Path      string     // on the node; "" for a file of the analyst's
	Container *Container // of the node, where it is still known
	open      checkpoint.Source
	close     func() error
}

// OpenCheckpoint opens an archive of the analyst's, packed or not. It is
// evidence.ErrFormat for what is no archive of a checkpoint. Close it.
func OpenCheckpoint(ctx context.Context, name string, o Options) (*Checkpoint, error) {
	im, err := image.Open(ctx, name, image.Options{TempDir: o.TempDir, CacheDir: o.CacheDir})
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Name: path.Base(name), close: im.Close}
	c.open = func() (io.Reader, func(), error) { return io.NewSectionReader(im, 0, im.Size()), func() {}, nil }
	if c.Checkpoint, err = readCheckpoint(c.open); err != nil {
		im.Close()
		return nil, err
	}
	return c, nil
}

// readCheckpoint reads an archive; a panic of the reader is an error of it.
func readCheckpoint(open checkpoint.Source) (c *checkpoint.Checkpoint, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v", r)
		}
	}()
	return checkpoint.Read(open)
}

// Close releases the archive.
func (c *Checkpoint) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// Source opens the archive again, for memory.
func (c *Checkpoint) Source() checkpoint.Source { return c.open }

// DisplayName is how records name the container: NAMESPACE/POD/CONTAINER, or its name.
func (c *Checkpoint) DisplayName() string {
	name := firstOf(c.Checkpoint.Name, c.ID)
	if c.Pod != "" && c.Namespace != "" {
		return c.Namespace + "/" + c.Pod + "/" + name
	}
	return name
}

// checkpointGlobs are where the kubelet has checkpoints put (its --root-dir and checkpoints),
// and where Podman keeps the images of those that were not exported.
var checkpointGlobs = []string{
	"var/lib/kubelet/checkpoints/*.tar*", "var/lib/k0s/kubelet/checkpoints/*.tar*", "var/snap/microk8s/common/var/lib/kubelet/checkpoints/*.tar*",
}

// Checkpoints returns the checkpoints that lie on the node. What can't be read is a gap.
func (n *Node) Checkpoints() []*Checkpoint { return n.kept() }

func (n *Node) listCheckpoints() []*Checkpoint {
	if n.Tree == nil {
		return nil
	}
	var out []*Checkpoint
	for _, pattern := range checkpointGlobs {
		for name, ino := range glob(n.Tree, pattern) {
			c := &Checkpoint{Name: "NODE:/" + name, Path: "/" + name}
			c.open = func() (io.Reader, func(), error) {
				file, err := n.Tree.Open(ino)
				if err != nil {
					return nil, nil, err
				}
				r, done := lines.Unpack(file)
				return r, done, nil
			}
			n.guard(0, c.Name, func() (err error) {
				c.Checkpoint, err = checkpoint.Read(c.open)
				return err
			})
			if c.Checkpoint == nil {
				continue
			}
			for _, p := range c.Problems {
				n.gap(0, c.Name, p)
			}
			for _, x := range n.Containers() {
				if c.ID != "" && x.ID == c.ID {
					c.Container = x
				}
			}
			out = append(out, c)
		}
	}
	return out
}

var processMessage = timeline.NewTemplate("Process {pid} of container {container_name} at its checkpoint: {command}, executable {executable}")

// checkpointed tells which processes ran when containers were checkpointed, and the files
// that those had changed. That and when it was done is told with the node's objects.
func (t *teller) checkpointed() error {
	if t.onlyContainers() && len(t.o.Containers) == 0 || t.o.Scope == ScopeNode {
		return nil
	}
	for _, c := range t.n.Checkpoints() {
		if len(t.o.Containers) > 0 && (c.Container == nil || !t.wanted(c.Container)) {
			continue
		}
		if err := t.contents(c); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) checkpointCommon(c *Checkpoint) *timeline.Common {
	if c.Container != nil {
		return t.containerCommon(c.Container, "checkpoint")
	}
	r := t.begin("checkpoint", 0)
	r.String(timeline.FieldContainerID, c.ID)
	r.String(timeline.FieldContainerIdentifier, c.ID)
	r.String(timeline.FieldContainerName, c.DisplayName())
	r.String(timeline.FieldImageName, c.Image)
	r.String(timeline.FieldKubernetesNamespace, c.Namespace)
	r.String(timeline.FieldKubernetesPodName, c.Pod)
	return r.Common()
}

func (t *teller) contents(c *Checkpoint) error {
	common := t.checkpointCommon(c)
	for _, p := range c.Processes {
		t.r.Reset(timeline.ContainerExec, common)
		t.r.String(timeline.FieldDisplayName, fmt.Sprintf("CHECKPOINT:%s:process %d", c.DisplayName(), p.PID))
		t.r.String(timeline.FieldAction, "running at the checkpoint")
		t.r.Int(timeline.FieldPID, int64(p.PID))
		t.r.String(timeline.FieldCommand, firstOf(strings.Join(p.Cmdline, " "), p.Comm))
		t.r.String(timeline.FieldExecutable, p.Exe)
		t.r.String(timeline.FieldWorkingDirectory, p.Cwd)
		t.r.Int(timeline.FieldOwnerIdentifier, int64(p.UID))
		t.r.Time(timeline.Recorded, c.Checkpointed)
		t.r.Template(processMessage)
		if err := t.tell(); err != nil {
			return err
		}
	}
	for i := range c.Changed {
		if err := t.checkpointFile(c, common, &c.Changed[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) checkpointFile(c *Checkpoint, common *timeline.Common, ch *checkpoint.Changed) error {
	t.r.Reset(timeline.FSStat, common)
	t.r.Path("CHECKPOINT:"+c.DisplayName()+":", ch.Path)
	typ := timeline.RegularFile
	switch {
	case ch.Deleted:
		typ = timeline.Whiteout
	case ch.Type == '5':
		typ = timeline.Directory
	case ch.Type == '2':
		typ = timeline.Link
	}
	t.r.File(typ, uint16(ch.Mode&0o7777))
	t.r.Bool(timeline.FieldIsAllocated, !ch.Deleted)
	t.r.String(timeline.FieldChangeKind, map[bool]string{true: "deleted", false: "modified"}[ch.Deleted])
	t.r.Int(timeline.FieldFileSize, ch.Size)
	t.r.Int(timeline.FieldOwnerIdentifier, int64(ch.UID))
	t.r.Int(timeline.FieldGroupIdentifier, int64(ch.GID))
	t.r.String(timeline.FieldSymbolicLinkTarget, ch.Target)
	if !ch.Mtime.IsZero() && ch.Mtime.Unix() != 0 {
		t.r.Time(timeline.Modified, ch.Mtime)
	}
	t.r.Template(timeline.FileMessage)
	return t.tell()
}

// ErrNoProcess says that a checkpoint has no process with a number.
var ErrNoProcess = errors.New("no such process")

// ProcessesOf returns the process with a number, or all for 0.
func (c *Checkpoint) ProcessesOf(pid uint32) ([]*checkpoint.Process, error) {
	if pid == 0 {
		return c.Processes, nil
	}
	for _, p := range c.Processes {
		if p.PID == pid {
			return []*checkpoint.Process{p}, nil
		}
	}
	return nil, fmt.Errorf("%w: %d in %s", ErrNoProcess, pid, c.Name)
}

// IsCheckpoint says whether an error means that a file is no archive of a checkpoint, so that it may be other evidence.
func IsCheckpoint(err error) bool {
	return !errors.Is(err, evidence.ErrFormat) && !errors.Is(err, image.ErrDirectory) && !errors.Is(err, evidence.ErrUnsupported)
}
