package analyzer

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"lagan/evidence"
)

// SelectRecovered lists the deleted files that spec means: "" all, @node those
// of the node's tree, else those that lay in a container's own layer, with their
// paths as the container saw them.
func (n *Node) SelectRecovered(ctx context.Context, spec string) ([]*RecoveredFile, error) {
	all, err := n.recoveredFiles(ctx)
	if err != nil || spec == "" || spec == "@node" {
		return all, err
	}
	c, err := n.FindContainer(spec)
	if err != nil {
		return nil, err
	}
	dir := strings.TrimSuffix(c.Rootfs.Upper.Dir, "/")
	if dir == "" {
		return nil, fmt.Errorf("deleted files of %s: no folder of its own is known: %w", c.DisplayName(), errNoRecovered)
	}
	var out []*RecoveredFile
	for _, f := range all {
		for _, p := range append([]string{f.Path}, f.Paths...) {
			if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
				inside := *f
				inside.Path, inside.Paths = "/"+rest, nil
				out = append(out, &inside)
				break
			}
		}
	}
	return out, nil
}

// RecoveredTree makes a tree of deleted files that have content, so that they
// can be written as any tree. A name that several have is told apart by the
// inode's number; files without a name lie in the folder "nameless".
func (n *Node) RecoveredTree(files []*RecoveredFile) *Tree { return recoveredTreeOf(files, hasContent) }

func hasContent(f *RecoveredFile) bool { return f.Content != nil || f.Target != "" }

func recoveredTreeOf(files []*RecoveredFile, wanted func(*RecoveredFile) bool) *Tree {
	t := &recoveredTree{}
	t.root = t.folder("")
	for _, f := range files {
		if !wanted(f) {
			continue
		}
		path := f.Path
		if path == "" {
			path = fmt.Sprintf("/nameless/volume-%d/inode-%d", f.Volume, f.Ino)
		}
		t.add(evidence.Split(strings.ReplaceAll(path, "\x00", "?")), f)
	}
	for _, f := range files {
		if f.Info.Type == evidence.TypeDir && f.Path != "" {
			t.describe(evidence.Split(f.Path), f)
		}
	}
	return &Tree{FS: t, Name: "@deleted"}
}

// recoveredTree is an evidence.FS of deleted files.
type recoveredTree struct {
	nodes []*recoveredNode
	root  *recoveredNode
}

type recoveredNode struct {
	ino      evidence.Ino
	file     *RecoveredFile // nil: a folder
	was      *RecoveredFile // of a folder: what is known of it, nil nothing
	children map[string]*recoveredNode
	names    []string
}

func (t *recoveredTree) folder(string) *recoveredNode {
	n := &recoveredNode{ino: evidence.Ino(len(t.nodes) + 1), children: map[string]*recoveredNode{}}
	t.nodes = append(t.nodes, n)
	return n
}

func (n *recoveredNode) put(name string, child *recoveredNode) {
	n.children[name] = child
	n.names = append(n.names, name)
}

func (t *recoveredTree) add(elements []string, f *RecoveredFile) {
	at := t.root
	for i, e := range elements {
		if e == ".." {
			e = "%2e%2e"
		}
		last := i == len(elements)-1
		next := at.children[e]
		for try := 0; next != nil && (last || next.file != nil); try++ {
			e = fmt.Sprintf("%s (inode %d)", e, f.Ino)
			if try > 0 {
				e = fmt.Sprintf("%s (%d)", e, try)
			}
			next = at.children[e]
		}
		if last {
			leaf := &recoveredNode{ino: evidence.Ino(len(t.nodes) + 1), file: f}
			t.nodes = append(t.nodes, leaf)
			at.put(e, leaf)
			return
		}
		if next == nil {
			next = t.folder("")
			at.put(e, next)
		}
		at = next
	}
}

// describe gives a folder that deleted files lay in the mode, owner and times that
// are left of it, the newest.
func (t *recoveredTree) describe(elements []string, f *RecoveredFile) {
	at := t.root
	for _, e := range elements {
		if at = at.children[e]; at == nil || at.file != nil {
			return
		}
	}
	if at.was == nil || f.Info.Ctime.After(at.was.Info.Ctime) {
		at.was = f
	}
}

func (t *recoveredTree) node(ino evidence.Ino) (*recoveredNode, error) {
	if ino == 0 || int(ino) > len(t.nodes) {
		return nil, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	return t.nodes[ino-1], nil
}

// Root implements evidence.FS.
func (t *recoveredTree) Root() evidence.Ino { return t.root.ino }

// Stat implements evidence.FS.
func (t *recoveredTree) Stat(ino evidence.Ino) (evidence.Info, error) {
	n, err := t.node(ino)
	if err != nil {
		return evidence.Info{}, err
	}
	if n.file == nil && n.was != nil {
		info := n.was.Info
		info.Nlink = 1
		return info, nil
	}
	if n.file == nil {
		return evidence.Info{Inode: uint64(ino), Type: evidence.TypeDir, Perm: 0o700, Nlink: 1}, nil
	}
	info := n.file.Info
	info.Nlink = 1
	switch {
	case n.file.Content != nil:
		info.Type, info.Size = evidence.TypeFile, n.file.Content.Size()
	case n.file.Target != "":
		info.Type = evidence.TypeSymlink
	}
	return info, nil
}

// ReadDir implements evidence.FS.
func (t *recoveredTree) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		n, err := t.node(ino)
		if err != nil || n.file != nil {
			yield(evidence.Entry{}, fmt.Errorf("inode %d is no folder: %w", ino, fs.ErrNotExist))
			return
		}
		for _, name := range slices.Sorted(slices.Values(n.names)) {
			child := n.children[name]
			typ := evidence.TypeDir
			if child.file != nil {
				info, _ := t.Stat(child.ino)
				typ = info.Type
			}
			if !yield(evidence.Entry{Name: name, Ino: child.ino, Type: typ}, nil) {
				return
			}
		}
	}
}

// ReadLink implements evidence.FS.
func (t *recoveredTree) ReadLink(ino evidence.Ino) (string, error) {
	n, err := t.node(ino)
	if err != nil || n.file == nil {
		return "", fmt.Errorf("inode %d is no symbolic link: %w", ino, fs.ErrNotExist)
	}
	return n.file.Target, nil
}

// Xattrs implements evidence.FS. The manifest of an extraction has them: how
// much of a file was left, and where its last state was found.
func (t *recoveredTree) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	n, err := t.node(ino)
	if err != nil || n.file == nil {
		return nil, err
	}
	out := map[string][]byte{
		"lagan.content": []byte(n.file.State), "lagan.source": []byte(n.file.Source), "lagan.inode": fmt.Append(nil, n.file.Ino), "lagan.volume": fmt.Append(nil, n.file.Volume),
	}
	if at := n.file.gone(); !at.IsZero() {
		out["lagan.deleted"] = []byte(stampOf(at))
	}
	return out, nil
}

// Open implements evidence.FS.
func (t *recoveredTree) Open(ino evidence.Ino) (*io.SectionReader, error) {
	n, err := t.node(ino)
	if err != nil || n.file == nil || n.file.Content == nil {
		return nil, fmt.Errorf("inode %d is no regular file: %w", ino, fs.ErrNotExist)
	}
	return io.NewSectionReader(n.file.Content, 0, n.file.Content.Size()), nil
}
