package analyzer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/evidence/btrfs"
)

// MountOption says where a volume belongs, in place of what the node's own
// mount table says.
type MountOption struct {
	Volume int // as info numbers them
	Path   string
}

// mounted is a directory of a volume that the node's tree shows at a path.
type mounted struct {
	place
	path string
	from string // who says so: "/etc/fstab", a unit, a layout, "--mount"
	what string // the source as the table has it
	v    *Volume
}

// join builds the node's one tree out of its volumes: the one that holds the
// operating system, and those that its mount table, the layout of a known
// distribution, or the user names.
func (n *Node) join() {
	root, top, data := n.findRoot()
	if root == nil {
		return
	}
	j := &joiner{n: n, tree: newJoined(root.FS, top)}
	j.note(root, top, mountEntry{where: "/", from: "what it holds"})
	if data.where != "" {
		j.mount(data.v, data.mountEntry)
	}
	for _, m := range n.options.Mounts {
		if m.Path != "/" && m.Path != data.where && m.Volume <= len(n.Volumes) && n.Volumes[m.Volume-1].FS != nil {
			j.mount(n.Volumes[m.Volume-1], mountEntry{where: m.Path, from: "--mount"})
		}
	}
	table := append(n.mountTable(root, top), n.layout()...)
	slices.SortStableFunc(table, func(a, b mountEntry) int {
		return cmp.Compare(len(evidence.Split(a.where)), len(evidence.Split(b.where)))
	})
	for _, m := range table {
		j.entry(m)
	}
	j.dataDisks()
	n.Tree = j.tree
	if len(j.tree.parts) == 1 && len(j.tree.mounts) == 0 && top == root.FS.Root() {
		n.Tree = root.FS
	}
}

type joiner struct {
	n    *Node
	tree *joined
}

// note remembers where a directory of a volume is shown.
func (j *joiner) note(v *Volume, dir evidence.Ino, m mountEntry) {
	if v.MountPoint == "" {
		v.MountPoint = m.where
	}
	j.n.mounts = append(j.n.mounts, mounted{place{v.FS, dir}, m.where, m.from, shown(m), v})
}

// shown names what an entry shows, beside its volume.
func shown(m mountEntry) string {
	if o, ok := subvolumeOption(m); ok {
		return o
	}
	return m.dir
}

// entry mounts what one line of a mount table names, if it is among the evidence.
func (j *joiner) entry(m mountEntry) {
	switch {
	case m.where == "/" || m.fstype == "swap":
	case m.has("bind") || m.has("rbind"):
		j.bind(m)
	default:
		v := j.n.volumeNamed(m.source)
		if v == nil || v.FS == nil {
			return // pseudo filesystems, network shares, disks that are not here: info lists what is joined
		}
		if _, isSub := subvolumeOption(m); v.MountPoint != "" && !isSub && m.dir == "" {
			return
		}
		j.mount(v, m)
	}
}

func (j *joiner) mount(v *Volume, m mountEntry) {
	dir, err := subvolume(v, m)
	if err == nil {
		var at evidence.Ino
		if at, err = evidence.Resolve(j.tree, j.tree.Root(), m.where, true); err == nil {
			err = j.tree.mount(at, v.FS, dir)
		}
	}
	if err != nil {
		j.n.gap(v.Index, "mounting at "+m.where, err)
		return
	}
	j.note(v, dir, m)
}

// bind shows a directory of the tree in a second place.
func (j *joiner) bind(m mountEntry) {
	src, err := evidence.Resolve(j.tree, j.tree.Root(), m.source, true)
	if err != nil {
		return // the source is on a disk that is not here
	}
	at, err := evidence.Resolve(j.tree, j.tree.Root(), m.where, true)
	if err != nil {
		j.n.gap(0, fmt.Sprintf("bind mount of %q at %q", m.source, m.where), err)
		return
	}
	if at == src {
		return
	}
	fsys, _, dir, err := j.tree.part(src)
	if err != nil {
		return
	}
	j.tree.mounts[at] = src
	j.n.mounts = append(j.n.mounts, mounted{place{fsys, dir}, m.where, m.from, m.source, nil})
}

// dataDisks places volumes that no table names and whose content says what
// they are, where the usual folder for that is there and empty.
func (j *joiner) dataDisks() {
	for _, v := range j.n.Volumes {
		if v.FS == nil || v.MountPoint != "" {
			continue
		}
		for _, d := range []struct{ sign, path string }{
			{"io.containerd.metadata.v1.bolt", "/var/lib/containerd"},
			{"image/overlay2/layerdb", "/var/lib/docker"},
			{"overlay-layers", "/var/lib/containers/storage"},
			{"pods", "/var/lib/kubelet"},
		} {
			if _, err := evidence.Resolve(v.FS, v.FS.Root(), d.sign, false); err != nil {
				continue
			}
			at, err := evidence.Resolve(j.tree, j.tree.Root(), d.path, true)
			if err != nil {
				break
			}
			if there, err := evidence.List(j.tree, at); err != nil || len(there) > 0 {
				break
			}
			j.mount(v, mountEntry{where: d.path, from: "what it holds"})
			break
		}
	}
}

// root is a directory that may be an operating system's /.
type root struct {
	v     *Volume
	dir   evidence.Ino
	score int
}

// findRoot returns the volume and directory that look most like an operating
// system's root; of equals the first, and of volumes of which none does the
// largest. Where that one wasn't the node's root the root is an empty one, and
// data says what belongs where in it.
func (n *Node) findRoot() (v *Volume, dir evidence.Ino, data placed) {
	for _, m := range n.options.Mounts {
		if m.Path == "/" && m.Volume <= len(n.Volumes) && n.Volumes[m.Volume-1].FS != nil {
			v := n.Volumes[m.Volume-1]
			return v, v.FS.Root(), placed{}
		}
	}
	var best root
	for _, v := range n.Volumes {
		if v.FS == nil {
			continue
		}
		for _, dir := range n.rootDirs(v) {
			r := root{v, dir, rootScore(v.FS, dir)}
			if n.standsBy(v) {
				r.score-- // of two equal systems the one that was in use
			}
			if best.v == nil || r.score > best.score || (r.score == 0 && best.score == 0 && v.Size > best.v.Size) {
				best = r
			}
		}
	}
	switch {
	case best.v == nil || best.score > 0:
	case n.isTalos():
		v, dir := n.emptyRoot("var", "system", "system/state")
		return v, dir, placed{}
	case len(n.options.DataRoots) == 0:
		if at := n.placeOf(best.v); at.where != "" {
			v, dir := n.emptyRoot(at.where)
			return v, dir, placed{best.v, at}
		}
	}
	return best.v, best.dir, placed{}
}

// placed is a volume with its place in the node's tree.
type placed struct {
	v *Volume
	mountEntry
}

// placeOf returns where on the node a volume was that is no root: where the
// user says, or where it must have been by what it holds.
func (n *Node) placeOf(v *Volume) mountEntry {
	for _, m := range n.options.Mounts {
		if m.Volume == v.Index {
			return mountEntry{where: m.Path, from: "--mount"}
		}
	}
	for _, f := range wrapping(v) {
		if where := bare(v.FS, f.ino); where != "" {
			return mountEntry{where: where, dir: f.path, from: "what it holds"}
		}
	}
	return mountEntry{}
}

// rootDirs lists the directories of a filesystem that may be a node's root: its
// own, one that a copied tree lies in, that of each btrfs subvolume, and each
// ostree deployment.
func (n *Node) rootDirs(v *Volume) []evidence.Ino {
	fsys := v.FS
	var dirs []evidence.Ino
	for _, f := range wrapping(v) {
		dirs = append(dirs, f.ino)
	}
	if b, ok := fsys.(*btrfs.FS); ok {
		for s, err := range b.Subvolumes() {
			if err == nil && !s.Deleted && s.Root != fsys.Root() {
				dirs = append(dirs, s.Root)
			}
		}
	}
	return append(dirs, n.ostreeDeployments(fsys)...)
}

// rootSigns are what an operating system's root has, and how much each says.
var rootSigns = []struct {
	path   string
	points int
}{{"etc/fstab", 4}, {"etc/os-release", 8}, {"usr/lib/os-release", 8}, {"etc", 2}, {"var", 1}, {"usr", 1}}

func rootScore(fsys evidence.FS, dir evidence.Ino) int {
	score := 0
	for _, s := range rootSigns {
		if _, err := evidence.Resolve(fsys, dir, s.path, true); err == nil {
			score += s.points
		}
	}
	return score
}

// subvolumeOption returns the subvol= or subvolid= of a mount entry.
func subvolumeOption(m mountEntry) (string, bool) {
	for _, o := range m.options {
		if strings.HasPrefix(o, "subvol=") || strings.HasPrefix(o, "subvolid=") {
			return o, true
		}
	}
	return "", false
}

// subvolume returns the directory of a volume that a mount entry shows.
func subvolume(v *Volume, m mountEntry) (evidence.Ino, error) {
	if m.dir != "" {
		return evidence.Resolve(v.FS, v.FS.Root(), m.dir, false)
	}
	option, ok := subvolumeOption(m)
	b, isBtrfs := v.FS.(*btrfs.FS)
	if !ok || !isBtrfs {
		return v.FS.Root(), nil
	}
	key, value, _ := strings.Cut(option, "=")
	for s, err := range b.Subvolumes() {
		if err != nil {
			continue
		}
		if key == "subvol" && s.Path == strings.Trim(value, "/") || key == "subvolid" && strconv.FormatUint(s.ID, 10) == value {
			return s.Root, nil
		}
	}
	return 0, fmt.Errorf("there is no subvolume %q", value)
}

// Mount says what the node's tree shows at a path.
type Mount struct {
	Path   string
	Volume int    // its index; 0 for a folder of the tree that is shown a second time
	What   string // of the volume: a folder or subvolume; the folder of the tree; "" all of the volume
	From   string // who says so: "/etc/fstab", a unit, "--mount", a distribution's layout, "what it holds"
}

// Mounts returns what the node's tree is made of, "/" first.
func (n *Node) Mounts() []Mount {
	var out []Mount
	for _, m := range n.mounts {
		if m.v != nil && m.v.Index == 0 {
			continue // an empty root, made to show the others in
		}
		x := Mount{Path: m.path, What: m.what, From: m.from}
		if m.v != nil {
			x.Volume = m.v.Index
		}
		out = append(out, x)
	}
	return out
}
