package analyzer

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
)

// Belonging says what a place on the node belongs to.
type Belonging struct {
	Kind string // container, image, pod, volume, snapshot, store
	// Role is what the place is to it: upper, lower, init, layer, state, log,
	// mount, blob, folder, database.
	Role      string
	Path      string // the place, as the node names it
	Inside    string // where what was asked for is seen in the container, image or volume
	ID, Name  string
	Pod       string
	Runtime   runtimes.Name
	Layer     string // its diff id, or its store's name
	Snapshot  string
	StorePath string
}

// errNothing says that a place belongs to nothing that any runtime keeps.
var errNothing = errors.New("belongs to no container, image, pod or volume")

// Which says what a path of the node belongs to, or a snapshot's number or key,
// a layer's digest, an id. Of a container, an image (@image:NAME) or a pod it
// says which places belong to it. The nearest come first.
func (n *Node) Which(spec string) ([]Belonging, error) {
	places := n.places()
	var out []Belonging
	switch {
	case strings.HasPrefix(spec, "/"):
		for _, p := range n.spellings(path.Clean(spec)) {
			out = append(out, under(places, p)...)
		}
		out = append(out, n.byElements(spec)...)
	case strings.HasPrefix(spec, "@image:"):
		i, err := n.FindImage(strings.TrimPrefix(spec, "@image:"))
		if err != nil {
			return nil, err
		}
		out = of(places, "image", i.ID)
	default:
		out = n.byName(places, spec)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q %w", spec, errNothing)
	}
	return distinctBelongings(out), nil
}

func distinctBelongings(all []Belonging) []Belonging {
	met := make(map[Belonging]bool)
	var out []Belonging
	for _, b := range all {
		known := b.Role == "named" && slices.ContainsFunc(out, func(o Belonging) bool { return o.Kind == b.Kind && o.ID == b.ID })
		if !met[b] && !known {
			met[b] = true
			out = append(out, b)
		}
	}
	return out
}

// of returns the places of one thing.
func of(places []Belonging, kind, id string) []Belonging {
	var out []Belonging
	for _, b := range places {
		if b.Kind == kind && b.ID == id {
			out = append(out, b)
		}
	}
	return out
}

// under returns what a path lies in, the deepest place first.
func under(places []Belonging, p string) []Belonging {
	var out []Belonging
	for _, b := range places {
		rest, ok := strings.CutPrefix(p+"/", strings.TrimSuffix(b.Path, "/")+"/")
		if !ok || b.Path == "" {
			continue
		}
		switch b.Role {
		case "upper", "lower", "init", "mount", "folder":
			b.Inside = path.Join(firstOf(b.Inside, "/"), rest)
		}
		out = append(out, b)
	}
	slices.SortStableFunc(out, func(a, b Belonging) int { return cmp.Compare(len(b.Path), len(a.Path)) })
	return out
}

// places returns every place that something of a runtime's or the kubelet's is known by.
func (n *Node) places() []Belonging {
	var out []Belonging
	for _, c := range n.Containers() {
		if c.store.Volume == 0 {
			out = append(out, containerPlaces(c)...)
		}
	}
	for _, i := range n.Images() {
		if i.store.Volume != 0 {
			continue
		}
		base := Belonging{Kind: "image", ID: i.ID, Name: i.DisplayName(), Runtime: i.Runtime, StorePath: i.StorePath}
		out = append(out, layerPlaces(base, i.Rootfs)...)
		for _, digest := range []string{i.configID, i.Digest} {
			if hex, ok := strings.CutPrefix(digest, "sha256:"); ok && i.store.Runtime() == runtimes.Containerd {
				b := base
				b.Role, b.Path = "blob", path.Join(i.StorePath, "io.containerd.content.v1.content/blobs/sha256", hex)
				out = append(out, b)
			}
		}
	}
	for _, p := range n.Pods() {
		base := Belonging{Kind: "pod", ID: firstOf(p.UID, p.ID), Name: p.DisplayName(), Pod: p.DisplayName(), Runtime: p.Runtime, StorePath: p.StorePath}
		for _, place := range [...][2]string{{"state", p.Dir}, {"log", p.LogDir}, {"manifest", p.Manifest}} {
			if place[1] != "" {
				b := base
				b.Role, b.Path = place[0], place[1]
				out = append(out, b)
			}
		}
	}
	for _, v := range n.DataVolumes() {
		if v.Mountpoint != "" && v.store.Volume == 0 {
			out = append(out, Belonging{Kind: "volume", Role: "folder", Path: v.Mountpoint, ID: v.Name, Name: v.Name, Runtime: v.Runtime, StorePath: v.StorePath, Pod: firstOf(v.Pod.Name, v.Pod.UID)})
		}
	}
	known := make(map[string]bool, len(out))
	for _, b := range out {
		known[b.Path] = true
	}
	for _, s := range n.Snapshots(false) { // of no container and no image: steps of builds, leftovers
		if s.Dir != "" && !known[s.Dir] && s.store.Volume == 0 {
			b := Belonging{Kind: "snapshot", ID: s.ID, Name: firstOf(s.Name, s.Key), Runtime: s.Runtime, StorePath: s.StorePath}
			out = append(out, layerPlaces(b, runtimes.Rootfs{Lower: []runtimes.Layer{{Key: s.Key, ID: s.ID, Dir: s.Dir}}})...)
		}
	}
	for _, s := range n.Stores {
		if s.Volume == 0 {
			out = append(out, Belonging{Kind: "store", Role: "folder", Path: s.Path(), Runtime: s.Runtime(), StorePath: s.Path()})
		}
	}
	slices.SortStableFunc(out, func(a, b Belonging) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return out
}

// containerPlaces returns a container's layers, log, mounts and state.
func containerPlaces(c *Container) []Belonging {
	base := Belonging{Kind: "container", ID: c.ID, Name: c.DisplayName(), Runtime: c.Runtime, StorePath: c.StorePath, Snapshot: c.Snapshot}
	if c.Pod.Name != "" {
		base.Pod = strings.TrimPrefix(c.Pod.Namespace+"/"+c.Pod.Name, "/")
	}
	out := layerPlaces(base, c.Rootfs)
	add := func(role, dir, inside string) {
		if strings.HasPrefix(dir, "/") {
			b := base
			b.Role, b.Path, b.Inside = role, path.Clean(dir), inside
			out = append(out, b)
		}
	}
	add("log", c.LogPath, "")
	for _, m := range c.Mounts {
		add("mount", m.Source, m.Destination)
	}
	switch c.Runtime {
	case runtimes.Docker:
		add("state", path.Join(c.StorePath, "containers", c.ID), "")
	case runtimes.Containerd:
		kind := "containers"
		if c.Kind == runtimes.KindSandbox {
			kind = "sandboxes"
		}
		add("state", path.Join(c.StorePath, "io.containerd.grpc.v1.cri", kind, c.ID), "")
		add("state", path.Join(c.StorePath, "io.containerd.runtime.v2.task", c.Namespace, c.ID), "")
	default:
		add("state", path.Join(c.StorePath, firstOf(c.Snapshotter, "overlay")+"-containers", c.ID), "")
	}
	return out
}

func layerPlaces(base Belonging, r runtimes.Rootfs) []Belonging {
	var out []Belonging
	add := func(role string, l runtimes.Layer) {
		if l.Dir == "" {
			return
		}
		b := base
		b.Role, b.Path, b.Layer, b.Snapshot = role, l.Dir, nameLayer(l, false).name, firstOf(l.Key, l.ID)
		out = append(out, b)
		if above, last := path.Split(l.Dir); last == "fs" || last == "diff" || last == "upper" { // what the driver keeps beside it
			b.Role, b.Path = "layer", path.Clean(above)
			out = append(out, b)
		}
	}
	add("upper", r.Upper)
	for i, l := range r.Lower {
		role := "lower"
		if i < r.InitLayers {
			role = "init"
		}
		add(role, l)
	}
	return out
}

// byName takes what isn't a path: a container, a pod, a snapshot, a layer.
func (n *Node) byName(places []Belonging, spec string) []Belonging {
	if c, err := n.FindContainer(spec); err == nil {
		return of(places, "container", c.ID)
	}
	var out []Belonging
	bare := strings.TrimPrefix(spec, "sha256:")
	matches := func(name string) bool {
		name = strings.TrimPrefix(name, "sha256:")
		return name == bare || len(bare) >= minPrefix && len(name) == 64 && strings.HasPrefix(name, bare)
	}
	for _, s := range n.Snapshots(false) {
		if !matches(s.Key) && s.ID != spec && s.Name != spec && !strings.HasSuffix(s.Dir, "/"+spec+"/diff") {
			continue
		}
		out = append(out, Belonging{Kind: "snapshot", Role: s.Kind, Path: s.Dir, ID: s.ID, Name: firstOf(s.Name, s.Key), Runtime: s.Runtime, Snapshot: s.Key, StorePath: s.StorePath})
		for _, b := range places {
			if b.Snapshot == s.Key && b.StorePath == s.StorePath && b.Path == s.Dir {
				out = append(out, b)
			}
		}
	}
	for _, b := range places {
		if b.Layer != "" && matches(b.Layer) && b.Role != "layer" {
			out = append(out, b)
		}
	}
	if p, err := n.FindPod(spec); err == nil {
		out = append(out, of(places, "pod", firstOf(p.UID, p.ID))...)
		for _, c := range append(slices.Clone(p.Sandboxes), p.Containers...) {
			out = append(out, of(places, "container", c.ID)...)
		}
	}
	if len(out) == 0 {
		if i, err := n.FindImage(spec); err == nil {
			out = of(places, "image", i.ID)
		}
	}
	return out
}

// byElements takes ids and digests that stand in a path.
func (n *Node) byElements(p string) []Belonging {
	elements := strings.FieldsFunc(p, func(r rune) bool { return r == '/' || r == '_' })
	has := func(id string) bool {
		id = strings.TrimPrefix(id, "sha256:")
		return len(id) >= 32 && slices.ContainsFunc(elements, func(e string) bool {
			return e == id || strings.TrimSuffix(e, "-init") == id || strings.Contains(e, "-"+id+"-") || strings.HasSuffix(e, "-"+id+".log")
		})
	}
	var out []Belonging
	for _, c := range n.Containers() {
		if has(c.ID) || has(c.Pod.UID) && c.Pod.UID != "" {
			base := containerPlaces(c)[:1]
			b := Belonging{Kind: "container", ID: c.ID, Name: c.DisplayName(), Runtime: c.Runtime, StorePath: c.StorePath, Snapshot: c.Snapshot, Role: "named", Path: p}
			if len(base) > 0 {
				b.Pod = base[0].Pod
			}
			out = append(out, b)
		}
	}
	for _, i := range n.Images() {
		named := has(i.ID) || has(i.configID) || has(i.Digest) || slices.ContainsFunc(i.Layers, has) ||
			slices.ContainsFunc(i.Rootfs.Lower, func(l runtimes.Layer) bool { return has(l.ChainID) })
		if named {
			out = append(out, Belonging{Kind: "image", ID: i.ID, Name: i.DisplayName(), Runtime: i.Runtime, StorePath: i.StorePath, Role: "named", Path: p})
		}
	}
	return out
}

// spellings returns the path and the one that it leads to by symbolic links.
func (n *Node) spellings(p string) []string {
	if n.Tree == nil {
		return []string{p}
	}
	real := p
	for range 40 { // as the kernel: MAXSYMLINKS, include/linux/namei.h
		next, ok := n.followOne(real)
		if !ok {
			break
		}
		real = next
	}
	if real == p {
		return []string{p}
	}
	return []string{p, real}
}

// followOne replaces the first symbolic link in a path by its target.
func (n *Node) followOne(p string) (string, bool) {
	dir := n.Tree.Root()
	names := evidence.Split(p)
	for i, name := range names {
		e, err := evidence.Lookup(n.Tree, dir, name)
		if err != nil {
			return p, false
		}
		info, err := n.Tree.Stat(e.Ino)
		if err != nil {
			return p, false
		}
		if info.Type == evidence.TypeSymlink {
			target, err := n.Tree.ReadLink(e.Ino)
			if err != nil {
				return p, false
			}
			above := "/" + strings.Join(names[:i], "/")
			if strings.HasPrefix(target, "/") {
				above = "/"
			}
			return path.Join(append([]string{above, target}, names[i+1:]...)...), true
		}
		dir = e.Ino
	}
	return p, false
}
