package checkpoint

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"lagan/evidence"
)

// Bounds on an archive. A checkpoint of a container with ten thousand
// processes has some fifty thousand images.
const (
	maxMembers = 500_000
	maxMember  = 256 << 20 // of what is kept
	maxKept    = 1 << 30
	maxChanged = 1_000_000
)

// archive is what is kept of a tar: its documents and images, by name.
type archive struct {
	c     *Checkpoint
	files map[string][]byte
	kept  int64
	pages map[string]int64 // sizes of the files of pages

	descriptorCount int
}

// Read reads an archive. evidence.ErrFormat says that it is none.
func Read(open Source) (*Checkpoint, error) {
	a := &archive{c: &Checkpoint{}, files: make(map[string][]byte), pages: make(map[string]int64)}
	r, done, err := open()
	if err != nil {
		return nil, err
	}
	err = a.read(r)
	done()
	if err != nil && (len(a.files) == 0 || errors.Is(err, evidence.ErrFormat)) {
		return nil, err
	}
	if err != nil {
		a.problem("archive", err)
	}
	if a.files["config.dump"] == nil && a.files["checkpoint/pstree.img"] == nil && a.files["spec.dump"] == nil {
		return nil, fmt.Errorf("it holds neither config.dump nor checkpoint/pstree.img: %w", evidence.ErrFormat)
	}
	a.documents()
	a.processes()
	if err := a.memory(open); err != nil {
		a.problem("memory pages", err)
	}
	return a.c, nil
}

func (a *archive) problem(what string, err error) {
	const most = 200
	if len(a.c.Problems) < most {
		a.c.Problems = append(a.c.Problems, fmt.Errorf("%s: %w", what, err))
	}
}

// clean is a member's name without ./ before it; "" for one that leaves the archive.
func clean(name string) string {
	name = path.Clean(strings.TrimPrefix(name, "./"))
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, "..") {
		return ""
	}
	return name
}

func (a *archive) read(r io.Reader) error {
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if n == 0 {
				return fmt.Errorf("%w: %w", err, evidence.ErrFormat)
			}
			return err
		}
		if n > maxMembers {
			return fmt.Errorf("more than %d members: %w", maxMembers, evidence.ErrUnsupported)
		}
		if name := clean(h.Name); h.Typeflag == tar.TypeReg && name != "" {
			if err := a.member(name, h, t); err != nil {
				return err
			}
		}
	}
}

func (a *archive) member(name string, h *tar.Header, r io.Reader) error {
	if rest, ok := strings.CutPrefix(name, "checkpoint/"); ok {
		a.c.Size += h.Size
		if strings.HasPrefix(rest, "pages-") || strings.HasPrefix(rest, "amdgpu-pages-") {
			if strings.HasPrefix(rest, "pages-") {
				a.c.PagesSize += h.Size
			}
			a.pages[name] = h.Size
			return nil // read when it is known what is wanted of it
		}
	}
	switch {
	case name == "rootfs-diff.tar":
		a.c.DiffSize = h.Size
		if err := a.diff(r); err != nil {
			a.problem(name, err)
		}
		return nil
	case strings.HasPrefix(name, "checkpoint/"):
		if !strings.HasSuffix(name, ".img") || strings.HasPrefix(name, "checkpoint/ghost-file-") || strings.HasPrefix(name, "checkpoint/tmpfs-") {
			return nil
		}
	case strings.HasPrefix(name, "volumes/"), strings.HasSuffix(name, ".tar"), strings.HasSuffix(name, ".log"):
		return nil
	}
	if h.Size > maxMember || a.kept+h.Size > maxKept {
		a.problem(name, fmt.Errorf("its %d bytes are too many: %w", h.Size, evidence.ErrUnsupported))
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r, maxMember))
	if err != nil {
		return err
	}
	a.kept += int64(len(b))
	a.files[name] = b
	return nil
}

// diff lists what the container changed: a tar in the tar.
func (a *archive) diff(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(a.c.Changed) >= maxChanged {
			return fmt.Errorf("more than %d changed files: %w", maxChanged, evidence.ErrUnsupported)
		}
		name := path.Clean("/" + h.Name)
		if name == "/" {
			continue
		}
		c := Changed{Path: name, Type: h.Typeflag, Mode: h.Mode, UID: h.Uid, GID: h.Gid, Size: h.Size, Mtime: h.ModTime.UTC(), Target: h.Linkname}
		if base := path.Base(name); strings.HasPrefix(base, ".wh.") && base != ".wh..wh..opq" {
			c.Path, c.Deleted = path.Join(path.Dir(name), base[len(".wh."):]), true
		}
		a.c.Changed = append(a.c.Changed, c)
	}
}

// config is what is read of config.dump: libpod's container configuration, as
// CRI-O and containerd write it too.
type config struct {
	ID, Name        string
	RootfsImage     string    `json:"rootfsImage"`
	RootfsImageRef  string    `json:"rootfsImageRef"`
	RootfsImageName string    `json:"rootfsImageName"`
	Runtime         string    `json:"runtime"`
	CreatedTime     time.Time `json:"createdTime"`
	Checkpointed    time.Time `json:"checkpointedTime"`
}

type spec struct {
	Annotations map[string]string `json:"annotations"`
	Process     struct {
		Args []string `json:"args"`
	} `json:"process"`
	Mounts []Mount `json:"mounts"`
}

// documents reads the JSON documents.
func (a *archive) documents() {
	c := a.c
	var cfg config
	a.json("config.dump", &cfg)
	c.ID, c.Name, c.Runtime = cfg.ID, cfg.Name, cfg.Runtime
	c.Image, c.ImageRef = first(cfg.RootfsImageName, cfg.RootfsImage), first(cfg.RootfsImageRef, cfg.RootfsImage)
	c.Created, c.Checkpointed = known(cfg.CreatedTime), known(cfg.Checkpointed)
	var s spec
	a.json("spec.dump", &s)
	c.Annotations, c.Command, c.Mounts = s.Annotations, s.Process.Args, s.Mounts
	a.json("deleted.files", &c.Deleted)
	switch manager := s.Annotations["io.container.manager"]; manager {
	case "libpod":
		c.Engine = "Podman"
	case "cri-o":
		a.crio(s.Annotations)
	default:
		if s.Annotations["io.kubernetes.cri.container-name"] != "" || s.Annotations["io.kubernetes.cri.sandbox-id"] != "" {
			c.Engine = "containerd"
			c.Name = first(s.Annotations["io.kubernetes.cri.container-name"], c.Name)
			c.Pod, c.Namespace = s.Annotations["io.kubernetes.cri.sandbox-name"], s.Annotations["io.kubernetes.cri.sandbox-namespace"]
		}
	}
	a.network()
	for e, err := range entries(a.files["stats-dump"], magicStats) {
		if a.files["stats-dump"] == nil {
			break
		}
		if err != nil {
			a.problem("stats-dump", err)
			break
		}
		if d, err := e.sub(statsDump); err == nil && e.has(statsDump) {
			c.Stats = &Stats{d.num(dumpFreezing), d.num(dumpFrozen), d.num(dumpMemdump), d.num(dumpMemwrite), d.num(dumpScanned), d.num(dumpWritten)}
		}
	}
}

func (a *archive) crio(an map[string]string) {
	c := a.c
	c.Engine = "CRI-O"
	var meta struct {
		Name string `json:"name"`
	}
	if json.Unmarshal([]byte(an["io.kubernetes.cri-o.Metadata"]), &meta) == nil {
		c.Name = first(meta.Name, c.Name)
	}
	c.Pod, c.Namespace, c.IP = an["io.kubernetes.pod.name"], an["io.kubernetes.pod.namespace"], an["io.kubernetes.cri-o.IP.0"]
	if t, err := time.Parse(time.RFC3339Nano, an["io.kubernetes.cri-o.Created"]); err == nil {
		c.Created = t.UTC()
	}
}

// network reads Podman's network.status: CNI's or netavark's.
func (a *archive) network() {
	b := a.files["network.status"]
	if b == nil || a.c.IP != "" {
		return
	}
	var cni []struct {
		Interfaces map[string]struct {
			Subnets []struct {
				IPNet string `json:"ipnet"`
			} `json:"subnets"`
			MAC string `json:"mac_address"`
		} `json:"interfaces"`
	}
	var byName map[string]json.RawMessage
	if json.Unmarshal(b, &cni) != nil && json.Unmarshal(b, &byName) == nil {
		for _, raw := range byName {
			one := cni[:0:0]
			if json.Unmarshal([]byte("["+string(raw)+"]"), &one) == nil {
				cni = append(cni, one...)
			}
		}
	}
	for _, n := range cni {
		for _, i := range n.Interfaces {
			a.c.MAC = first(a.c.MAC, i.MAC)
			for _, s := range i.Subnets {
				ip, _, _ := strings.Cut(s.IPNet, "/")
				a.c.IP = first(a.c.IP, ip)
			}
		}
	}
}

func (a *archive) json(name string, v any) {
	if b := a.files[name]; b != nil {
		if err := json.Unmarshal(b, v); err != nil {
			a.problem(name, fmt.Errorf("%w: %w", err, evidence.ErrCorrupt))
		}
	}
}

func known(t time.Time) time.Time {
	if t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}
