package analyzer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/docker"
)

// Container is a container with the store that it comes from.
type Container struct {
	runtimes.Container
	// Removed says that the runtime lists it no longer: it was put together from traces.
	Removed bool
	store   Store
}

// Image is an image with its store and the containers made from it.
type Image struct {
	runtimes.Image
	Containers []string // ids
	store      Store
	configID   string // digest of the configuration, which ID mostly is too
}

// ErrNoContainer says that no container answers to a name.
var ErrNoContainer = errors.New("no such container")

// ErrAmbiguous says that several containers answer to a name.
var ErrAmbiguous = errors.New("more than one container")

// Containers returns every container and sandbox of every runtime, by runtime,
// namespace, pod and name. A container that Docker handed to containerd is one
// container, Docker's.
func (n *Node) Containers() []*Container { return n.containers() }

func (n *Node) listContainers() []*Container {
	var out []*Container
	inDocker := make(map[string]bool)
	for _, s := range n.Stores {
		n.guard(s.Volume, fmt.Sprintf("%s store %s", s.Runtime(), s.Path()), func() error {
			for c, err := range s.Containers() {
				if err != nil {
					n.gap(s.Volume, fmt.Sprintf("%s store %s", s.Runtime(), s.Path()), err)
					continue
				}
				if c.Runtime == runtimes.Docker {
					inDocker[c.ID] = true
				}
				if docker.InContainerd(&c) {
					c.Rootfs = n.inContainerd(s, &c)
				}
				relocate(s, &c)
				out = append(out, &Container{Container: c, store: s})
			}
			return nil
		})
	}
	out = slices.DeleteFunc(out, func(c *Container) bool { return c.Runtime == runtimes.Containerd && inDocker[c.ID] })
	slices.SortStableFunc(out, func(a, b *Container) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	return out
}

func (c *Container) sortKey() string {
	return strings.Join([]string{string(c.Runtime), c.StorePath, c.Namespace, c.Pod.Namespace, c.Pod.Name, string(c.Kind), c.Name, c.ID}, "\x00")
}

// DisplayName is how records name the container: NAMESPACE/POD/CONTAINER, or
// its name where it has no pod.
func (c *Container) DisplayName() string {
	if c.Pod.Name != "" && c.Pod.Namespace != "" { // a pod of Podman's has no namespace
		name := firstOf(c.Pod.Container, c.Name)
		if c.Kind == runtimes.KindSandbox {
			name = "POD" // as the kubelet names sandboxes
		}
		return c.Pod.Namespace + "/" + c.Pod.Name + "/" + name
	}
	return firstOf(c.Name, c.ID)
}

// minPrefix is the shortest prefix of an id that names a container.
const minPrefix = 4

// FindContainer returns the container that spec means: a full id, a name,
// NAMESPACE/POD/CONTAINER, or an unambiguous prefix of an id. ErrAmbiguous
// lists the matches.
func (n *Node) FindContainer(spec string) (*Container, error) {
	all := n.Containers()
	var exact, prefix []*Container
	for _, c := range all {
		switch {
		case c.ID == spec:
			return c, nil
		case c.Name == spec || c.DisplayName() == spec:
			exact = append(exact, c)
		case len(spec) >= minPrefix && strings.HasPrefix(c.ID, spec):
			prefix = append(prefix, c)
		}
	}
	matches := exact
	if len(matches) == 0 {
		matches = prefix
	}
	if len(matches) == 0 {
		matches = n.findRemoved(spec)
	}
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		if strings.HasPrefix(spec, "@") {
			return nil, fmt.Errorf("%w: %q is a tree of another kind; `lagan containers` lists the %d there are", ErrNoContainer, spec, len(all))
		}
		return nil, fmt.Errorf("%w: %q; `lagan containers` lists the %d there are", ErrNoContainer, spec, len(all))
	}
	var b strings.Builder
	for _, c := range matches {
		fmt.Fprintf(&b, "\n  %s  %s  %s", c.ID, c.DisplayName(), c.State)
	}
	return nil, fmt.Errorf("%w is called %q:%s", ErrAmbiguous, spec, b.String())
}

// Images returns every image of every store, by runtime, namespace, name and id.
func (n *Node) Images() []*Image { return n.images() }

func (n *Node) listImages() []*Image {
	var out []*Image
	for _, s := range n.Stores {
		n.guard(s.Volume, fmt.Sprintf("%s store %s", s.Runtime(), s.Path()), func() error {
			for i, err := range s.Images() {
				if err != nil {
					n.gap(s.Volume, fmt.Sprintf("%s store %s", s.Runtime(), s.Path()), err)
					continue
				}
				config := i.ID
				asDocker(&i)
				out = append(out, &Image{Image: i, store: s, configID: config})
			}
			return nil
		})
	}
	slices.SortStableFunc(out, func(a, b *Image) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	n.matchContainers(out)
	return out
}

// matchContainers gives each image the containers made from it, in their order.
// Only containers that name the image in one way or another are looked at: a
// node has thousands of the one and hundreds of the other.
func (n *Node) matchContainers(images []*Image) {
	all := n.Containers()
	naming := make(map[string][]int)
	for at, c := range all {
		for _, name := range []string{c.ImageID, c.ImageDigest, c.Image} {
			if name != "" {
				naming[name] = append(naming[name], at)
			}
		}
	}
	for _, i := range images {
		var at []int
		for _, name := range append([]string{i.ID, i.Digest}, i.Names...) {
			at = append(at, naming[name]...)
		}
		slices.Sort(at)
		for _, k := range slices.Compact(at) {
			if i.made(all[k]) {
				i.Containers = append(i.Containers, all[k].ID)
			}
		}
	}
}

// made says whether container c was created from the image.
func (i *Image) made(c *Container) bool {
	if i.madeInDocker(c) {
		return true
	}
	if c.Runtime != i.Runtime || c.Namespace != i.Namespace || c.StorePath != i.StorePath {
		return false
	}
	if c.ImageID != "" {
		return c.ImageID == i.ID
	}
	return c.Image != "" && slices.Contains(i.Names, c.Image)
}

func (i *Image) sortKey() string {
	return strings.Join([]string{string(i.Runtime), i.StorePath, i.Namespace, strings.Join(i.Names, " "), i.ID}, "\x00")
}

// DisplayName is the image's first name, else its id.
func (i *Image) DisplayName() string {
	if len(i.Names) > 0 {
		return i.Names[0]
	}
	return i.ID
}

// FindImage returns the image that spec means: a name, an id or a digest, with
// or without its algorithm, or an unambiguous prefix of either.
func (n *Node) FindImage(spec string) (*Image, error) {
	var matches []*Image
	bare := strings.TrimPrefix(spec, "sha256:")
	for _, i := range n.Images() {
		id, digest := strings.TrimPrefix(i.ID, "sha256:"), strings.TrimPrefix(i.Digest, "sha256:")
		switch {
		case slices.Contains(i.Names, spec) || id == bare || digest == bare || strings.TrimPrefix(i.configID, "sha256:") == bare:
			return i, nil
		case slices.ContainsFunc(i.Names, func(name string) bool { return strings.HasSuffix(name, "/"+spec) }),
			len(bare) >= minPrefix && (strings.HasPrefix(id, bare) || strings.HasPrefix(digest, bare)):
			matches = append(matches, i)
		}
	}
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		return nil, fmt.Errorf("no such image: %q; `lagan images` lists them", spec)
	}
	var b strings.Builder
	for _, i := range matches {
		fmt.Fprintf(&b, "\n  %s  %s", i.ID, i.DisplayName())
	}
	return nil, fmt.Errorf("more than one image is called %q:%s", spec, b.String())
}

// Tree is what a command looks at: a container's merged view, an image's, the
// node's own or one volume's.
type Tree struct {
	evidence.FS
	Name      string     // "@node", "@image:...", or the container's display name
	Container *Container // nil unless it is one
	Image     *Image
	layers    []layerName
	upper     evidence.FS // what a removed container wrote, as far as it comes back; nil: its folder is there
}

// FindTree returns the tree that spec means: a container (see FindContainer),
// @node, @image:NAME, or @volume:N.
func (n *Node) FindTree(spec string) (*Tree, error) {
	switch {
	case spec == "@node":
		if n.Tree == nil {
			return nil, ErrNoFilesystem
		}
		return &Tree{FS: n.Tree, Name: spec}, nil
	case strings.HasPrefix(spec, "@image:"):
		i, err := n.FindImage(strings.TrimPrefix(spec, "@image:"))
		if err != nil {
			return nil, err
		}
		return n.ImageView(i)
	case strings.HasPrefix(spec, "@volume:"):
		for _, v := range n.Volumes {
			if fmt.Sprint(v.Index) == strings.TrimPrefix(spec, "@volume:") && v.FS != nil {
				return &Tree{FS: v.FS, Name: spec}, nil
			}
		}
		return nil, fmt.Errorf("no volume with a filesystem answers to %q; see `lagan info`", spec)
	case strings.HasPrefix(spec, "@"):
		return nil, fmt.Errorf("%q is none of @node, @image:NAME, @volume:N", spec)
	}
	c, err := n.FindContainer(spec)
	if err != nil {
		return nil, err
	}
	return n.View(c)
}
