package analyzer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/timeline"
)

// volumeTeller tells the files of one volume, directory by directory, each with
// its path on the node or in its layer.
type volumeTeller struct {
	*teller
	v       *Volume
	x       *index
	owned   map[int32]folder // by place in the index
	shared  map[int32]folder // the folders of volumes that containers mount, likewise
	node    folder
	seen    []bool         // told, under whatever name
	covered map[int32]bool // directories that something else is mounted over
	roots   map[int32]bool // directories that the node's tree shows at a path of their own
	hidden  []hidden
	path    []byte
}

// hidden is a directory that is not empty below what is mounted over it: a
// place to hide things, told under the volume's own name.
type hidden struct {
	node int32
	path string
}

// step is a directory that is being told.
type step struct {
	left   entries // to be told
	length int     // of the path up to and with it
	in     folder
}

func (t *teller) volume(v *Volume, x *index, folders map[place]folder) error {
	r := t.begin("filesystem", v.Index)
	r.String(timeline.FieldFileSystemType, v.Description.Type)
	vt := &volumeTeller{
		teller: t, v: v, x: x, owned: make(map[int32]folder), shared: make(map[int32]folder),
		node: folder{common: r.Common(), prefix: "NODE:"},
		seen: make([]bool, x.len()), covered: make(map[int32]bool), roots: make(map[int32]bool),
	}
	if t.o.Scope == ScopeContainers {
		vt.node = folder{}
	}
	for at, f := range folders {
		if at.fsys != v.FS {
			continue
		}
		if i := x.place(at.ino); i >= 0 {
			vt.owned[i] = f
		}
	}
	for at, say := range t.dataVolumes {
		if i := x.place(at.ino); at.fsys == v.FS && i >= 0 {
			r := t.begin("filesystem", v.Index)
			r.String(timeline.FieldFileSystemType, v.Description.Type)
			say(r)
			vt.shared[i] = folder{common: r.Common(), prefix: "NODE:"}
		}
	}
	vt.findMounts()
	if err := vt.mounted(); err != nil {
		return err
	}
	for _, i := range slices.Sorted(maps.Keys(vt.owned)) {
		if err := vt.tree(i, "", vt.owned[i]); err != nil {
			return err
		}
	}
	return vt.nameless()
}

// mounted tells what the node's tree shows of this volume, each directory under
// the path where it is mounted, and then what is mounted nowhere.
func (t *volumeTeller) mounted() error {
	var roots []mounted
	for _, m := range t.n.mounts {
		if i := t.x.place(m.ino); m.fsys == t.v.FS && i >= 0 && !t.roots[i] {
			t.roots[i] = true
			roots = append(roots, m)
		}
	}
	for _, m := range roots {
		if err := t.tree(t.x.place(m.ino), strings.TrimSuffix(m.path, "/"), t.node); err != nil {
			return err
		}
	}
	root := t.x.place(t.v.FS.Root())
	if root < 0 {
		t.n.gap(t.v.Index, "", fmt.Errorf("the root directory can't be read: %w", evidence.ErrCorrupt))
		return nil
	}
	aside := t.node
	if len(t.n.mounts) > 0 {
		aside.prefix = fmt.Sprintf("VOLUME:%d:", t.v.Index)
	}
	for i := 0; i < len(t.hidden); i++ {
		h := t.hidden[i]
		t.covered[h.node] = false
		if err := t.tree(h.node, h.path, aside); err != nil {
			return err
		}
	}
	if t.roots[root] {
		return nil
	}
	return t.tree(root, "", aside)
}

// findMounts notes the directories of this volume that another is mounted over.
func (t *volumeTeller) findMounts() {
	j, ok := t.n.Tree.(*joined)
	if !ok {
		return
	}
	for over := range j.mounts {
		if fsys, _, ino, err := j.part(over); err == nil && fsys == t.v.FS {
			if i := t.x.place(ino); i >= 0 {
				t.covered[i] = true
			}
		}
	}
}

// tree tells a directory, whose path is given without a slash at its end, and
// all below it but what is a layer's or an upper's own.
func (t *volumeTeller) tree(root int32, path string, in folder) error {
	t.path = append(t.path[:0], path...)
	name := path
	if name == "" {
		name = "/"
	}
	if err := t.file(root, in, []byte(name)); err != nil {
		return err
	}
	if f, ok := t.shared[root]; ok {
		in = f
	}
	stack := []step{{t.x.names.of(root), len(t.path), in}}
	for len(stack) > 0 {
		s := &stack[len(stack)-1]
		child, name, ok := t.x.names.next(&s.left)
		if !ok {
			stack = stack[:len(stack)-1]
			continue
		}
		t.path = append(append(t.path[:s.length], '/'), name...)
		isDir := t.x.node(child).typ == evidence.TypeDir
		if _, ok := t.owned[child]; ok && isDir {
			continue
		}
		if isDir && t.roots[child] {
			continue // told under the path where it is mounted
		}
		if isDir && t.seen[child] {
			t.n.gap(t.v.Index, "", fmt.Errorf("directory inode %d has a second name, %q: %w", t.x.inode(child), t.path, evidence.ErrCorrupt))
			continue
		}
		in := s.in
		if isDir && len(t.shared) > 0 {
			if f, ok := t.shared[child]; ok {
				in = f
			}
		}
		if err := t.file(child, in, t.path); err != nil {
			return err
		}
		switch {
		case isDir && t.covered[child] && t.x.names.head[child] != 0:
			t.hidden = append(t.hidden, hidden{child, string(t.path)})
		case isDir && !t.covered[child]:
			stack = append(stack, step{t.x.names.of(child), len(t.path), in})
		}
	}
	return nil
}

// orphanFolder is where The Sleuth Kit shows inodes without a name.
const orphanFolder = "/$OrphanFiles/"

// nameless tells the inodes that are in use and that no directory names: files
// that were deleted while they were open, or whose directory is damaged.
func (t *volumeTeller) nameless() error {
	for i := range int32(t.x.len()) {
		if t.seen[i] {
			continue
		}
		t.path = fmt.Appendf(t.path[:0], "%sOrphanFile-%d", orphanFolder, t.x.inode(i))
		if err := t.file(i, t.node, t.path); err != nil {
			return err
		}
	}
	return nil
}

// file tells one name of one inode.
func (t *volumeTeller) file(i int32, in folder, path []byte) error {
	t.seen[i] = true
	if in.common == nil {
		return nil // told elsewhere, or out of scope
	}
	if t.teller.find != nil {
		t.find(i, in, path)
	}
	n := t.x.node(i)
	r := t.r
	r.Reset(timeline.FSStat, in.common)
	r.PathBytes(in.prefix, path)
	typ := fileTypes[n.typ]
	x := &t.x.extras[n.extra]
	whiteout := in.layer && n.typ == evidence.TypeChar && x.major == 0 && x.minor == 0
	if whiteout {
		typ = timeline.Whiteout
		r.String(timeline.FieldChangeKind, "deleted")
	}
	r.Stat(&timeline.FileStat{
		Type: typ, Perm: n.perm, Allocated: n.nlink > 0 && !whiteout, Inode: t.x.inode(i),
		Size: n.size, UID: n.uid, GID: n.gid, Links: n.nlink,
	})
	if n.extra != 0 {
		r.String(timeline.FieldSymbolicLinkTarget, x.target)
		r.Strings(timeline.FieldAttributeNames, x.xattrs)
		if n.typ == evidence.TypeChar || n.typ == evidence.TypeBlock {
			r.String(timeline.FieldDeviceNumber, fmt.Sprintf("%d:%d", x.major, x.minor))
		}
	}
	if n.journal {
		r.Bool(timeline.FieldFromJournal, true)
	}
	if t.o.Hash && n.typ == evidence.TypeFile {
		at := place{t.v.FS, t.x.inos.at(i)}
		r.String(timeline.FieldSHA256Hash, t.hash(at, t.v.Index, string(path), n.nlink > 1))
	}
	for k, desc := range [4]timeline.Desc{timeline.Modified, timeline.Accessed, timeline.MetadataChanged, timeline.Created} {
		if sec, nsec, known := t.x.time(n.node, k); known {
			r.Unix(desc, sec, nsec)
		}
	}
	r.Template(timeline.FileMessage)
	return t.tell()
}
