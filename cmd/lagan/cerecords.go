package main

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/internal/text"
	"lagan/layers"
	"lagan/runtimes"
)

// ceContainer has the names of container-explorer's JSON (explorers.Container).
type ceContainer struct {
	Namespace        string
	Name             string
	Hostname         string
	ImageBase        string
	SupportContainer bool
	ContainerType    string
	ProcessID        int
	Status           string
	ID               string
	Labels           map[string]string
	Image            string
	Runtime          ceRuntime
	Spec             *ceAny
	SnapshotKey      string
	Snapshotter      string
	CreatedAt        string
	UpdatedAt        string
	Extensions       map[string]*ceAny
	SandboxID        string
	Running          bool
	ExposedPorts     []string
}

type ceRuntime struct {
	Name    string
	Options *ceAny
}

// ceAny is a protobuf Any as Go's encoding/json writes it.
type ceAny struct {
	Type  string `json:"type_url,omitempty"`
	Value string `json:"value,omitempty"`
}

func (x ceContainer) support() bool { return x.SupportContainer }

// ceExtensions are what the CRI plugin keeps beside a container: its name in
// containerd's database, its type there, and where the reader keeps it.
var ceExtensions = []struct{ name, typ, record string }{
	{"io.cri-containerd.container.metadata", "github.com/containerd/cri/pkg/store/container/Metadata", "cri/container"},
	{"io.cri-containerd.sandbox.metadata", "github.com/containerd/cri/pkg/store/sandbox/Metadata", "cri/sandbox"},
}

// specType is the type of an OCI runtime specification in containerd's database.
const specType = "types.containerd.io/opencontainers/runtime-spec/1/Spec"

var ceStates = map[runtimes.State]string{
	runtimes.StateRunning: "RUNNING", runtimes.StateExited: "STOPPED", runtimes.StatePaused: "PAUSED", runtimes.StateCreated: "CREATED",
}

func newCeContainer(c *analyzer.Container, support bool) ceContainer {
	out := ceContainer{
		Namespace: c.Namespace, Name: firstNonEmpty(c.Pod.Container, c.Name), Hostname: c.Hostname, ImageBase: c.Image, SupportContainer: support,
		ContainerType: string(c.Runtime), ProcessID: c.PID, Status: firstNonEmpty(ceStates[c.State], "UNKNOWN"), ID: c.ID, Labels: c.Labels, Image: c.Image,
		SnapshotKey: c.Snapshot, Snapshotter: c.Snapshotter, CreatedAt: ceTime(c.Created), UpdatedAt: ceTime(c.Updated),
		SandboxID: c.Pod.SandboxID, Running: c.State == runtimes.StateRunning,
	}
	if c.Runtime == runtimes.Containerd {
		// Without its tag or digest; a port of the registry is none.
		name, _, _ := strings.Cut(c.Image, "@")
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			name = name[:i]
		}
		out.ImageBase = name
		out.addRecord(c)
	} else {
		out.Runtime.Name = "/" + c.Name // as the original has it
	}
	for _, p := range c.Ports {
		if s := fmt.Sprintf("%d/%s", p.ContainerPort, firstNonEmpty(p.Protocol, "tcp")); !slices.Contains(out.ExposedPorts, s) {
			out.ExposedPorts = append(out.ExposedPorts, s)
		}
	}
	return out
}

// addRecord adds what containerd's database has of a container.
func (x *ceContainer) addRecord(c *analyzer.Container) {
	x.Hostname = firstNonEmpty(c.Pod.Name, firstNonEmpty(c.Hostname, environment(c, "HOSTNAME"))) // in the original's order
	var runtime struct {
		Name    string
		Type    string `json:"options_type"`
		Options string
	}
	if json.Unmarshal(c.Records["runtime"], &runtime) == nil {
		x.Runtime.Name = runtime.Name
		if runtime.Type != "" {
			x.Runtime.Options = &ceAny{runtime.Type, runtime.Options}
		}
	}
	if len(c.Spec) > 0 {
		x.Spec = &ceAny{specType, base64.StdEncoding.EncodeToString(c.Spec)}
	}
	for _, e := range ceExtensions {
		if value := c.Records[e.record]; value != nil {
			if x.Extensions == nil {
				x.Extensions = map[string]*ceAny{}
			}
			x.Extensions[e.name] = &ceAny{e.typ, base64.StdEncoding.EncodeToString(value)}
		}
	}
}

// environment returns a variable of a container's first process.
func environment(c *analyzer.Container, name string) string {
	var spec struct{ Process struct{ Env []string } }
	if json.Unmarshal(c.Spec, &spec) != nil {
		return ""
	}
	for _, v := range spec.Process.Env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ceTime is a time as Go's encoding/json has it; one that isn't known is Go's zero time.
func ceTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// ceSeconds is a time in a table; one that isn't known is the year 1 there too.
func ceSeconds(s string) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return ""
	}
	return t.Format("2006-01-02T15:04:05Z")
}

func ceLabels(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ",")
}

type ceImage struct {
	Namespace             string
	ContainerType         string
	SupportContainerImage bool
	Name                  string
	Labels                map[string]string
	Target                ceTarget
	CreatedAt, UpdatedAt  string
}

func (i ceImage) support() bool { return i.SupportContainerImage }

type ceTarget struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// newCeImage is an image under one of its names; blob is what the name points to. an
// image is as old as the store's record of that name, and where it has none as the image says itself.
func newCeImage(i *analyzer.Image, name string, blob runtimes.Content, support bool) ceImage {
	t := ceTarget{blob.MediaType, firstNonEmpty(i.Digest, i.ID), max(i.Size, 0)}
	r := runtimes.Reference{Created: i.Created, Updated: i.Updated, Labels: i.Labels}
	if n := slices.IndexFunc(i.References, func(r runtimes.Reference) bool { return r.Name == name }); n >= 0 {
		r, t.Size = i.References[n], max(blob.Size, 0)
	}
	return ceImage{i.Namespace, string(i.Runtime), support, name, r.Labels, t, ceTime(r.Created), ceTime(r.Updated)}
}

// ceContent is a blob (explorers.Content).
type ceContent struct {
	Namespace            string
	ContainerType        string
	Digest               string
	Size                 int64
	CreatedAt, UpdatedAt string
	Labels               map[string]string
}

// ceSnapshot is a snapshot (explorers.SnapshotKeyInfo).
type ceSnapshot struct {
	ContainerType        string
	Namespace            string
	Snapshotter          string
	Key                  string
	ID                   uint64
	Name                 string
	Parent               string
	Kind                 string
	Inodes               []int64
	Size                 uint64
	OverlayPath          string
	Labels               map[string]string
	Children             []string
	CreatedAt, UpdatedAt string
}

// ceKinds are snapshots' kinds as containerd's JSON has them.
var ceKinds = map[string]string{"active": "Active", "committed": "Committed", "view": "View"}

// newCeSnapshot has the folder as the node named it, or from the snapshotter's own folder on.
func newCeSnapshot(s *analyzer.Snapshot, fullPath bool) ceSnapshot {
	out := ceSnapshot{
		ContainerType: string(s.Runtime), Namespace: s.Namespace, Snapshotter: s.Snapshotter, Key: s.Key, Name: s.Name, Parent: s.Parent,
		Kind: firstNonEmpty(ceKinds[s.Kind], "Unknown"), Size: uint64(max(s.Size, 0)), OverlayPath: s.Dir, Labels: s.Labels,
		CreatedAt: ceTime(s.Created), UpdatedAt: ceTime(s.Updated),
	}
	out.ID, _ = strconv.ParseUint(s.ID, 10, 64)
	if s.Inodes >= 0 {
		out.Inodes = []int64{s.Inodes}
	}
	if _, inside, ok := strings.Cut(s.Dir, "/snapshots/"); ok && !fullPath {
		out.OverlayPath = "snapshots/" + inside
	}
	return out
}

// ceTask is a container's process (explorers.Task).
type ceTask struct {
	Namespace     string
	Name          string
	PID           int
	ContainerType string
	Status        string
}

// ceDrift is what a container changed (explorers.Drift).
type ceDrift struct {
	ContainerID, ContainerType string
	AddedOrModified            []ceFile
	InaccessibleFiles          []ceFile
}

// ceFile is a file (explorers.FileInfo). Times are right where the original's
// are not: changed is the change time, and birth is Go's zero time, which none
// is there, where the filesystem keeps none.
type ceFile struct {
	Name     string `json:"file_name"`
	Path     string `json:"full_path"`
	Size     int64  `json:"file_size"`
	Modified string `json:"file_modified"`
	Accessed string `json:"file_accessed"`
	Changed  string `json:"file_changed"`
	Birth    string `json:"file_birth"`
	UID      string `json:"file_uid,omitempty"`
	GID      string `json:"file_gid,omitempty"`
	Type     string `json:"file_type,omitempty"`
	SHA256   string `json:"file_sha256,omitempty"`
}

// add takes a change. Folders are left out, as the original leaves them out, but
// for those that were deleted.
func (d *ceDrift) add(c analyzer.Change) error {
	if c.Info.Type == evidence.TypeDir && c.Kind != layers.Deleted {
		return nil
	}
	full, _ := text.ForJSON(c.Path)
	f := ceFile{
		Name: path.Base(full), Path: full, Size: c.Info.Size, Modified: ceTime(c.Info.Mtime), Accessed: ceTime(c.Info.Atime),
		Changed: ceTime(c.Info.Ctime), Birth: ceTime(c.Info.Btime), UID: fmt.Sprint(c.Info.UID), GID: fmt.Sprint(c.Info.GID), SHA256: c.SHA256,
	}
	if c.Kind == layers.Deleted {
		d.InaccessibleFiles = append(d.InaccessibleFiles, f)
		return nil
	}
	switch {
	case c.Info.Type != evidence.TypeFile:
		f.Type = c.Info.Type.String()
	case c.Info.Perm&0o111 != 0:
		f.Type = "executable"
	}
	d.AddedOrModified = append(d.AddedOrModified, f)
	return nil
}

func ceNames(files []ceFile) string {
	var out []string
	for _, f := range files {
		if f.Type == "executable" {
			out = append(out, f.Path+" (executable)")
		} else {
			out = append(out, f.Path)
		}
	}
	return strings.Join(out, ", ")
}

// support says which containers keep a cluster running, as a file says:
// parts of pods' names, parts of images' names, and labels.
type support struct{ names, images, labels []string }

// maxSupport bounds such a file.
const maxSupport = 1 << 20

// readSupport reads a file of three lists, the one shape of YAML that
// container-explorer's has.
func readSupport(name string) (*support, error) {
	s := &support{}
	if name == "" {
		return s, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return s, err
	}
	defer f.Close()
	lists := map[string]*[]string{"names:": &s.names, "images:": &s.images, "labels:": &s.labels}
	var list *[]string
	lines := bufio.NewScanner(io.LimitReader(f, maxSupport))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), " #")
		line = strings.TrimSpace(line)
		switch item, ok := strings.CutPrefix(line, "- "); {
		case line == "" || line[0] == '#' || line == "---":
		case ok && list != nil:
			*list = append(*list, strings.Trim(strings.TrimSpace(item), `"'`))
		case lists[line] != nil:
			list = lists[line]
		default:
			list = nil
		}
	}
	return s, lines.Err()
}

func (s *support) has(c *analyzer.Container) bool {
	if s == nil {
		return false
	}
	if anyIn(c.Pod.Name, s.names) || anyIn(c.Hostname, s.names) {
		return true
	}
	for _, l := range s.labels {
		if k, v, ok := strings.Cut(l, "="); ok && strings.EqualFold(c.Labels[k], v) && v != "" {
			return true
		}
	}
	return s.hasImage(c.Image)
}

func (s *support) hasImage(name string) bool {
	return s != nil && anyIn(name, s.images)
}

// anyIn says whether one of the parts is in a name, in whatever case.
func anyIn(name string, parts []string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(name, strings.ToLower(part)) })
}

// writeGzip packs what write writes; the same content gives the same bytes.
func writeGzip(w io.Writer, write func(io.Writer) error) error {
	z := gzip.NewWriter(w)
	if err := write(z); err != nil {
		return err
	}
	return z.Close()
}
