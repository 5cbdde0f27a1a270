package analyzer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/runtimes"
)

var errNoRecord = errors.New("no record")

const placeNerdctl = "nerdctl's folder"

// removedPlaces are the folders that containers have on a node, by what they are called.
// Deletion leaves their names in the slack of folders and in journals.
var removedPlaces = []struct {
	what    string
	runtime runtimes.Name
	path    *regexp.Regexp // id, and what is below it
}{
	{"CRI folder", runtimes.Containerd, regexp.MustCompile(`/io\.containerd\.grpc\.v1\.cri/containers/\.?([0-9a-f]{64})(?:[./].*)?$`)},
	{"CRI sandbox folder", runtimes.Containerd, regexp.MustCompile(`/io\.containerd\.grpc\.v1\.cri/sandboxes/\.?([0-9a-f]{64})(?:[./].*)?$`)},
	{"task folder", runtimes.Containerd, regexp.MustCompile(`/io\.containerd\.runtime\.v[12]\.[a-z]+/[^/]+/\.?([0-9a-f]{64})(?:/.*)?$`)},
	{"container folder", runtimes.Docker, regexp.MustCompile(`/containers/([0-9a-f]{64})(?:/.*)?$`)},
	{"mount of layers", runtimes.Docker, regexp.MustCompile(`/layerdb/mounts/([0-9a-f]{64})(?:/.*)?$`)},
	{placeNerdctl, runtimes.Containerd, regexp.MustCompile(`/nerdctl/[0-9a-f]{8}/containers/[^/]+/([0-9a-f]{64})(?:/.*)?$`)},
	{"container folder", runtimes.Podman, regexp.MustCompile(`/(?:overlay|vfs|btrfs|fuse-overlayfs)-containers/([0-9a-f]{64})(?:/.*)?$`)},
}

// podLog is how the kubelet calls the links to containers' logs: pkg/kubelet/kuberuntime/legacy.go.
var podLog = regexp.MustCompile(`/([^/_]+)_([^/_]+)_([^/]+)-([0-9a-f]{64})\.log$`)

// cniResult is how libcni calls its notes: libcni/api.go.
var cniResult = regexp.MustCompile(`/cni/(?:cache/)?results/.+-([0-9a-f]{64})-[^/]+$`)

// fromNode takes what the node's own folders keep of containers and pods that
// their runtime lists no longer: links to logs, folders of the kubelet, CNI's notes.
func (c *removedCollector) fromNode() {
	if c.n.Tree == nil {
		return
	}
	c.n.guard(0, "links to logs", func() error { return c.logLinks("/var/log/containers") })
	state := c.n.kubernetes()
	for _, r := range state.Results {
		note := "it had the address " + strings.Join(r.IP, ", ")
		if r.Pod != "" {
			note = "the sandbox of a pod: " + strings.Join(r.IP, ", ")
		}
		c.fromCNI(r.Container, r.File, "CNI's note", note, runtimes.Pod{Name: r.Pod, Namespace: r.Namespace, UID: r.UID})
	}
	for _, l := range state.Leases {
		c.fromCNI(l.Container, l.File, "address", "it had the address "+l.IP, runtimes.Pod{})
	}
	for _, p := range c.n.Pods() {
		c.fromPod(p)
	}
}

// cniContainer is how CNI's callers name a container to it: by its id, nerdctl with
// the namespace before it (pkg/ocihook of nerdctl).
var cniContainer = regexp.MustCompile(`^(?:(.+)-)?([0-9a-f]{64})$`)

// fromCNI takes a note of CNI's on a container that no runtime lists.
func (c *removedCollector) fromCNI(named, file, what, note string, pod runtimes.Pod) {
	m := cniContainer.FindStringSubmatch(named)
	if m == nil || c.live[m[2]] {
		return // names of other forms are those of tests and of other programs' networks
	}
	c.add(Store{}, runtimes.Remnant{Object: runtimes.ObjectContainer, ID: m[2], Namespace: m[1], Existed: c.stat(file).Mtime, Source: file, Place: what, Offset: -1, Sure: runtimes.Sure,
		Pod: pod, Note: note})
}

// fromPod finds the containers that a pod's folders name and no runtime lists,
// and the pod itself where no runtime lists any of it.
func (c *removedCollector) fromPod(p *Pod) {
	pod := runtimes.Pod{Name: p.Name, Namespace: p.Namespace, UID: p.UID}
	if len(p.Sandboxes) == 0 && len(p.Containers) == 0 && p.Manifest == "" && !slices.Contains(p.Found, string(runtimes.Podman)) {
		for _, dir := range []string{p.Dir, p.LogDir} {
			if dir != "" {
				c.add(Store{}, runtimes.Remnant{Object: runtimes.ObjectPod, Runtime: p.Runtime, Pod: pod, Existed: born(c.stat(dir)), Source: dir, Place: "folder", Offset: -1, Sure: runtimes.Sure})
			}
		}
	}
	for _, name := range p.Names {
		if slices.ContainsFunc(p.Containers, func(o *Container) bool { return o.Pod.Container == name || o.Name == name }) {
			continue
		}
		for _, dir := range []string{p.LogDir + "/" + name, p.Dir + "/containers/" + name} {
			if strings.HasPrefix(dir, "/"+name) || strings.HasPrefix(dir, "/containers/") {
				continue
			}
			info := c.stat(dir)
			if info.Type != evidence.TypeDir {
				continue
			}
			of := pod
			of.Container = name
			c.add(Store{}, runtimes.Remnant{Object: runtimes.ObjectContainer, Pod: of, Name: name, Existed: born(info), Source: dir, Place: "folder", Offset: -1, Sure: runtimes.Sure,
				Note: "a folder of a container in a pod"})
		}
	}
}

// born is when a folder was made, or, where that isn't recorded, when it was changed last.
func born(i evidence.Info) time.Time {
	if !i.Btime.IsZero() {
		return i.Btime
	}
	return i.Mtime
}

func (c *removedCollector) stat(path string) evidence.Info {
	ino, err := evidence.Resolve(c.n.Tree, c.n.Tree.Root(), path, false)
	if err != nil {
		return evidence.Info{}
	}
	info, _ := c.n.Tree.Stat(ino)
	return info
}

// logLinks reads the links of /var/log/containers, which outlive their containers.
func (c *removedCollector) logLinks(dir string) error {
	ino, err := evidence.Resolve(c.n.Tree, c.n.Tree.Root(), dir, true)
	if err != nil {
		return nil
	}
	entries, err := evidence.List(c.n.Tree, ino)
	for _, e := range entries {
		at := dir + "/" + e.Name
		r, ok := removedLogLink(at)
		if !ok {
			continue
		}
		info, err := c.n.Tree.Stat(e.Ino)
		if err == nil {
			r.Existed = info.Mtime
		}
		if target, err := c.n.Tree.ReadLink(e.Ino); err == nil {
			linkTarget(&r, target)
		}
		r.Place, r.Note = "link to a log", ""
		c.add(Store{}, r)
	}
	return err
}

// removedLogLink reads the name of a link to a container's log.
func removedLogLink(at string) (runtimes.Remnant, bool) {
	m := podLog.FindStringSubmatch(at)
	if m == nil {
		return runtimes.Remnant{}, false
	}
	r := runtimes.Remnant{Object: runtimes.ObjectContainer, ID: m[4], Name: m[3], Source: at, Offset: -1, Sure: runtimes.Sure,
		Pod: runtimes.Pod{Name: m[1], Namespace: m[2], Container: m[3]}}
	return r, true
}

// linkTarget takes the pod's UID from where a link leads: /var/log/pods/NAMESPACE_NAME_UID/CONTAINER/N.log.
func linkTarget(r *runtimes.Remnant, target string) {
	elements := evidence.Split(target)
	if len(elements) < 3 {
		return
	}
	if parts := strings.Split(elements[len(elements)-3], "_"); len(parts) == 3 && parts[0] == r.Pod.Namespace && parts[1] == r.Pod.Name {
		r.Pod.UID = parts[2]
	}
}

// maxDocument bounds a deleted document that is read whole.
const maxRemovedDocument = 16 << 20

// fromFiles takes what deleted files and the names of deleted folders tell.
func (c *removedCollector) fromFiles(files []*RecoveredFile) error {
	for _, f := range files {
		for _, path := range append([]string{f.Path}, f.Paths...) {
			c.fromPath(f, path)
		}
		c.document(f)
	}
	return nil
}

// fromPath takes the container that a deleted path belonged to.
func (c *removedCollector) fromPath(f *RecoveredFile, path string) {
	r := runtimes.Remnant{Object: runtimes.ObjectContainer, Source: path, Offset: -1, Sure: runtimes.Sure, Note: string(f.State)}
	if len(f.Names) > 0 {
		r.Place = "deleted, its name in: " + f.Names[0].Source
	}
	if f.Info.Type != evidence.TypeUnknown || !f.Info.Btime.IsZero() {
		r.Existed = f.Info.Btime
	}
	if strings.HasPrefix(path, "/var/log/containers/") || strings.HasPrefix(path, "/log/containers/") {
		if l, ok := removedLogLink(path); ok {
			r.ID, r.Pod, r.Name = l.ID, l.Pod, l.Name
			linkTarget(&r, f.Target)
			c.add(Store{}, r)
		}
		return
	}
	if m := cniResult.FindStringSubmatch(path); m != nil {
		r.ID = m[1]
		c.add(Store{}, r)
		return
	}
	for _, p := range removedPlaces {
		m := p.path.FindStringSubmatch(path)
		if m == nil || c.live[m[1]] {
			continue
		}
		s, ok := c.storeOf(p.runtime, path)
		if !ok && p.what == placeNerdctl { // beside the store
			s = c.runtimeStore(p.runtime)
			ok = s.Store != nil
		}
		if !ok {
			continue
		}
		r.ID, r.Runtime, r.StorePath = m[1], s.Runtime(), s.Path()
		r.Note = p.what + ", " + r.Note
		if strings.HasSuffix(path, m[1]) && f.Info.Type == evidence.TypeDir {
			r.Gone = f.gone() // the folder itself
			if !r.Gone.IsZero() && r.Gone.Nanosecond() == 0 {
				r.Gone = r.Gone.Add(time.Second - 1) // ext4 keeps whole seconds: it may have been their end
			}
		}
		c.add(s, r)
		return
	}
}

// layerMount is what Docker notes of a container's mount of layers: daemon/internal/layer/filestore.go.
var layerMount = regexp.MustCompile(`/image/([^/]+)/layerdb/mounts/([0-9a-f]{64})/(mount-id|parent)$`)

// mount keeps what a deleted note said of a container's layers.
func (c *removedCollector) mount(f *RecoveredFile, driver, id, what string) {
	const most = 256
	b, err := io.ReadAll(io.NewSectionReader(f.Content, 0, min(f.Content.Size(), most)))
	if err != nil || f.State != evidence.ContentWhole {
		return
	}
	m := c.mounts[id]
	m.driver = driver
	if text := strings.TrimSpace(string(b)); what == "mount-id" {
		m.id = text
	} else {
		m.parent = text
	}
	if c.mounts == nil {
		c.mounts = map[string]removedMount{}
	}
	c.mounts[id] = m
}

// sqliteJournal begins a rollback journal, which Podman's database leaves at every
// transaction: fileformat2.html, section 3.
var sqliteJournal = []byte{0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7}

type removedMount struct{ driver, id, parent string }

// storeOf finds the store of a kind that a path lies in.
func (c *removedCollector) storeOf(kind runtimes.Name, path string) (Store, bool) {
	var found Store
	for _, s := range c.n.Stores {
		r := s.Runtime()
		if r == runtimes.CRIO {
			r = runtimes.Podman
		}
		if r == kind && strings.HasPrefix(path, strings.TrimSuffix(s.Path(), "/")+"/") && (found.Store == nil || len(s.Path()) > len(found.Path())) {
			found = s
		}
	}
	return found, found.Store != nil
}

// document hands a deleted file to the stores whose document it may be.
func (c *removedCollector) document(f *RecoveredFile) {
	if f.Content == nil || f.Content.Size() < 8 || f.Content.Size() > maxRemovedDocument {
		return
	}
	if m := layerMount.FindStringSubmatch(f.Path); m != nil {
		c.mount(f, m[1], m[2], m[3])
		return
	}
	head := make([]byte, 64)
	k, _ := f.Content.ReadAt(head, 0)
	journal := bytes.HasPrefix(head, sqliteJournal)
	if k < 16 || head[0] != '{' && head[0] != '[' && !journal {
		return
	}
	raw, err := io.ReadAll(io.NewSectionReader(f.Content, 0, f.Content.Size()))
	if err != nil && len(raw) == 0 {
		return
	}
	if i := bytes.IndexByte(raw, 0); i >= 0 && !journal {
		raw = raw[:i] // behind the end of a file whose size isn't known
	}
	for _, s := range c.n.Stores {
		d, ok := s.Store.(runtimes.DocumentStore)
		if !ok {
			continue
		}
		// Without a path, a store of its kind may have written it; with one, it lies in the store.
		if f.Path != "" && !strings.Contains(f.Path, "<inode") && !strings.HasPrefix(f.Path, strings.TrimSuffix(s.Path(), "/")+"/") {
			continue
		}
		for _, r := range d.Document(f.Path, raw) {
			if r.Source == "" {
				r.Source = fmt.Sprintf("deleted inode %d of volume %d", f.Ino, f.Volume)
			}
			r.Place = "deleted " + r.Place + ", " + string(f.State) + ", " + f.Source
			if f.State != evidence.ContentWhole && r.Sure == runtimes.Sure {
				r.Sure = runtimes.Likely
			}
			c.add(s, r)
		}
	}
}
