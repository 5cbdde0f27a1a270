package analyzer

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
	"lagan/runtimes"
)

// outsideBits mark the handles of what is mounted into a view. A merged view's
// own handles never have both: those with the highest bit count from zero.
const outsideBits = 3 << 62

// mountedView is a container's view with what was mounted into it.
type mountedView struct {
	view    evidence.FS
	outside evidence.FS // the node's tree

	at map[mountPoint]mountedThing
	in map[evidence.Ino][]string // names in a directory that are mount points

	mu    sync.RWMutex
	inos  []evidence.Ino
	index map[evidence.Ino]evidence.Ino
}

type mountPoint struct {
	dir  evidence.Ino
	name string
}

type mountedThing struct {
	handle evidence.Ino
	typ    evidence.Type
}

// dockerFiles are those that dockerd mounts into every container beside its mounts: daemon/container/container_unix.go.
var dockerFiles = []string{"hosts", "hostname", "resolv.conf"}

// WithMounts returns a container's view with its volumes and bind mounts in their
// places, as its processes saw it. What was mounted from memory (tmpfs, /run) isn't
// on a disk: its place shows what the layers have there. Files out of a mount
// have the layer "mount".
func (n *Node) WithMounts(t *Tree) (*Tree, error) {
	c := t.Container
	if c == nil {
		return nil, fmt.Errorf("%s is no container: only they have mounts", t.Name)
	}
	m := n.mountAll(t, func(mount runtimes.Mount, err error) {
		n.gap(c.store.Volume, "container "+c.DisplayName(), fmt.Errorf("mount of %s at %s: %w", mount.Source, mount.Destination, err))
	})
	out := *t
	out.FS = m
	return &out, nil
}

// mountAll mounts what a container had mounted, as far as it is on a disk.
func (n *Node) mountAll(t *Tree, wrong func(runtimes.Mount, error)) *mountedView {
	c := t.Container
	m := &mountedView{view: t.FS, outside: c.store.Tree, at: make(map[mountPoint]mountedThing),
		in: make(map[evidence.Ino][]string), index: make(map[evidence.Ino]evidence.Ino)}
	mounts := slices.Clone(c.Mounts)
	if c.Runtime == runtimes.Docker {
		for _, name := range dockerFiles {
			mounts = append(mounts, runtimes.Mount{Source: path.Join(c.StorePath, "containers", c.ID, name), Destination: "/etc/" + name})
		}
	}
	// As runc mounts them: what lies above comes first.
	slices.SortStableFunc(mounts, func(a, b runtimes.Mount) int {
		return cmp.Compare(len(evidence.Split(a.Destination)), len(evidence.Split(b.Destination)))
	})
	for _, mount := range mounts {
		if mount.Source == "" || !strings.HasPrefix(mount.Source, "/") || inMemory(mount.Source) {
			continue
		}
		if err := m.mount(mount); err != nil {
			wrong(mount, err)
		}
	}
	return m
}

// inMemory says whether a source lies where a node keeps nothing on a disk.
func inMemory(source string) bool {
	for _, top := range []string{"/run/", "/var/run/", "/dev/", "/proc/", "/sys/", "/tmp/.X11-unix/"} {
		if strings.HasPrefix(source+"/", top) {
			return true
		}
	}
	return false
}

func (m *mountedView) mount(mount runtimes.Mount) error {
	source, err := evidence.Resolve(m.outside, m.outside.Root(), mount.Source, true)
	if err != nil {
		return err
	}
	info, err := m.outside.Stat(source)
	if err != nil {
		return err
	}
	dir, name := path.Split(path.Clean("/" + mount.Destination))
	if name == "" {
		return fmt.Errorf("over the whole root filesystem: %w", evidence.ErrUnsupported)
	}
	above, err := evidence.Resolve(m, m.Root(), dir, true)
	if err != nil {
		return err
	}
	// A symbolic link at the end is followed, as runc does.
	if e, err := evidence.Lookup(m, above, name); err == nil && e.Type == evidence.TypeSymlink {
		target, err := m.ReadLink(e.Ino)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(target, "/") {
			target = path.Join(dir, target)
		}
		if dir, name = path.Split(path.Clean(target)); name == "" {
			return fmt.Errorf("its place links to the root: %w", evidence.ErrUnsupported)
		}
		if above, err = evidence.Resolve(m, m.Root(), dir, true); err != nil {
			return err
		}
	}
	key := mountPoint{above, name}
	if _, again := m.at[key]; !again {
		m.in[above] = append(m.in[above], name)
	}
	m.at[key] = mountedThing{m.handle(source), info.Type}
	return nil
}

// handle returns the handle of an inode of the node's tree.
func (m *mountedView) handle(ino evidence.Ino) evidence.Ino {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.index[ino]
	if !ok {
		h = outsideBits | evidence.Ino(len(m.inos))
		m.inos = append(m.inos, ino)
		m.index[ino] = h
	}
	return h
}

// part returns the tree that a handle is of, and its own handle there.
func (m *mountedView) part(h evidence.Ino) (evidence.FS, evidence.Ino, bool) {
	if h&outsideBits != outsideBits {
		return m.view, h, false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if i := h &^ outsideBits; i < evidence.Ino(len(m.inos)) {
		return m.outside, m.inos[i], true
	}
	return m.outside, h, true
}

// Root implements evidence.FS.
func (m *mountedView) Root() evidence.Ino { return m.view.Root() }

// Stat implements evidence.FS.
func (m *mountedView) Stat(h evidence.Ino) (evidence.Info, error) {
	fsys, ino, _ := m.part(h)
	return fsys.Stat(ino)
}

// ReadDir implements evidence.FS: mount points stand in the place of what they hide.
func (m *mountedView) ReadDir(h evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		fsys, ino, out := m.part(h)
		met := make(map[string]bool)
		for e, err := range fsys.ReadDir(ino) {
			if err == nil {
				met[e.Name] = true
				e = m.entry(h, e, out)
			}
			if !yield(e, err) {
				return
			}
		}
		for _, name := range m.in[h] {
			if t := m.at[mountPoint{h, name}]; !met[name] && !yield(evidence.Entry{Name: name, Ino: t.handle, Type: t.typ}, nil) {
				return
			}
		}
	}
}

func (m *mountedView) entry(dir evidence.Ino, e evidence.Entry, out bool) evidence.Entry {
	if t, ok := m.at[mountPoint{dir, e.Name}]; ok {
		return evidence.Entry{Name: e.Name, Ino: t.handle, Type: t.typ}
	}
	if out {
		e.Ino = m.handle(e.Ino)
	}
	return e
}

// Lookup implements evidence.Lookuper.
func (m *mountedView) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	if t, ok := m.at[mountPoint{dir, name}]; ok {
		return evidence.Entry{Name: name, Ino: t.handle, Type: t.typ}, nil
	}
	fsys, ino, out := m.part(dir)
	e, err := evidence.Lookup(fsys, ino, name)
	if err != nil {
		return e, err
	}
	return m.entry(dir, e, out), nil
}

// ReadLink implements evidence.FS.
func (m *mountedView) ReadLink(h evidence.Ino) (string, error) {
	fsys, ino, _ := m.part(h)
	return fsys.ReadLink(ino)
}

// Xattrs implements evidence.FS.
func (m *mountedView) Xattrs(h evidence.Ino) (map[string][]byte, error) {
	fsys, ino, _ := m.part(h)
	return fsys.Xattrs(ino)
}

// Open implements evidence.FS.
func (m *mountedView) Open(h evidence.Ino) (*io.SectionReader, error) {
	fsys, ino, _ := m.part(h)
	return fsys.Open(ino)
}

var errMounted = errors.New("not in a layer: mounted")

// Origin tells the layer of what is the view's own.
func (m *mountedView) Origin(h evidence.Ino) (int, evidence.Ino, error) {
	fsys, ino, out := m.part(h)
	if out {
		return -1, 0, errMounted
	}
	o, ok := fsys.(stacked)
	if !ok {
		return 0, ino, nil
	}
	return o.Origin(ino)
}
