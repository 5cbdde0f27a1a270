package analyzer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
)

// RecoveredFile is a deleted file of one volume, with the path that it had.
type RecoveredFile struct {
	evidence.Recovered
	Volume int
	// Path is where it stood in the node's tree, of a volume that isn't joined on
	// the volume; "" where no name is left. A folder that isn't known is "<inode N>".
	Path  string
	Paths []string // further paths: other links, earlier names
}

// maxRecovered bounds the deleted files that are kept to be put together; those
// of which nothing but times is left are not.
const maxRecovered = 1 << 20

// Recovered calls fn for every deleted inode of every volume: those with a name
// or content first, in the order of their paths, then those of which only times are left.
func (n *Node) Recovered(ctx context.Context, fn func(*RecoveredFile) error) error {
	files, err := n.recoveredFiles(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := fn(f); err != nil {
			return err
		}
	}
	return n.nameless(ctx, fn)
}

// nameless calls fn for the deleted inodes that recoveredFiles leaves out.
func (n *Node) nameless(ctx context.Context, fn func(*RecoveredFile) error) error {
	for _, v := range n.Volumes {
		var failed error
		for r, err := range deletedOf(v.FS) {
			if err != nil || keptRecovered(&r) {
				continue // told before
			}
			if failed = ctx.Err(); failed == nil {
				failed = fn(&RecoveredFile{Recovered: r, Volume: v.Index})
			}
			if failed != nil {
				return failed
			}
		}
	}
	return nil
}

func keptRecovered(r *evidence.Recovered) bool {
	return len(r.Names) > 0 || r.Content != nil || r.Open || r.Target != ""
}

// deletedOf yields what a filesystem can bring back, or at least its deleted inodes.
func deletedOf(fsys evidence.FS) func(func(evidence.Recovered, error) bool) {
	switch d := fsys.(type) {
	case evidence.Recoverer:
		return d.Recovered()
	case evidence.Deleter:
		return func(yield func(evidence.Recovered, error) bool) {
			for i, err := range d.Deleted() {
				r := evidence.Recovered{DeletedInode: i, State: evidence.ContentTimes}
				if i.Open && err == nil {
					if c, failed := fsys.Open(i.Ino); failed == nil {
						r.State, r.Content = evidence.ContentWhole, c
					}
				}
				if !yield(r, err) {
					return
				}
			}
		}
	}
	return func(func(evidence.Recovered, error) bool) {}
}

// recoveredFiles lists, once, the deleted files of all volumes that have a name or content.
func (n *Node) recoveredFiles(ctx context.Context) ([]*RecoveredFile, error) {
	n.recoverMu.Lock()
	defer n.recoverMu.Unlock()
	if n.recoveredDone {
		return n.recoveredAll, nil
	}
	var all []*RecoveredFile
	for _, v := range n.Volumes {
		if v.FS == nil {
			continue
		}
		var stopped error
		n.guard(v.Index, "deleted files", func() error {
			var files []*RecoveredFile
			for r, err := range deletedOf(v.FS) {
				if stopped = ctx.Err(); stopped != nil {
					return nil
				}
				if err != nil {
					n.gap(v.Index, "deleted files", err)
					continue
				}
				if !keptRecovered(&r) {
					continue
				}
				if len(all)+len(files) >= maxRecovered {
					return fmt.Errorf("more than %d deleted files, the rest is left out: %w", maxRecovered, evidence.ErrUnsupported)
				}
				files = append(files, &RecoveredFile{Recovered: r, Volume: v.Index})
			}
			if len(files) > 0 {
				n.nameRecovered(v, files)
			}
			all = append(all, files...)
			return nil
		})
		if stopped != nil {
			return nil, stopped
		}
	}
	slices.SortStableFunc(all, func(a, b *RecoveredFile) int {
		return cmp.Or(cmp.Compare(a.Volume, b.Volume), strings.Compare(a.Path, b.Path), cmp.Compare(a.Ino, b.Ino))
	})
	n.recoveredAll, n.recoveredDone = all, true
	return all, nil
}

// folderName is a folder's own entry: where it stands and since when it is there.
type folderEntry struct {
	parent evidence.Ino
	name   string
	born   time.Time
}

// pathFinder knows the folders of a volume, those that are there and those that were deleted.
type pathFinder struct {
	root    evidence.Ino
	mount   string
	live    map[evidence.Ino]folderEntry
	deleted map[evidence.Ino][]*RecoveredFile
}

// nameRecovered gives the deleted files of a volume their paths.
func (n *Node) nameRecovered(v *Volume, files []*RecoveredFile) {
	p := &pathFinder{root: v.FS.Root(), mount: strings.TrimSuffix(v.MountPoint, "/"), live: n.folders(v), deleted: map[evidence.Ino][]*RecoveredFile{}}
	for _, f := range files {
		if f.Info.Type == evidence.TypeDir {
			p.deleted[f.Ino] = append(p.deleted[f.Ino], f)
		}
	}
	for _, f := range files {
		for _, name := range p.names(f) {
			path := p.folder(name.Dir, f.span(), 0) + "/" + name.Name
			if f.Path == "" {
				f.Path = path
			} else if path != f.Path && !slices.Contains(f.Paths, path) {
				f.Paths = append(f.Paths, path)
			}
		}
	}
}

// gone is when a file was deleted, as far as is known.
func (f *RecoveredFile) gone() time.Time {
	if f.Deleted.IsZero() {
		return f.DeletedBy
	}
	return f.Deleted
}

// maxFolderDepth bounds the folders above a deleted file: PATH_MAX bytes hold at most 2048.
const maxFolderDepth = 2048

// span is when a file was there: since its birth, until its deletion. Either may be unknown.
type span struct{ born, gone time.Time }

func (f *RecoveredFile) span() span { return span{f.Info.Btime, f.gone()} }

// folder returns the path of the folder with a number that was there when a
// file was deleted from it. Numbers are used again: of several folders that
// had it, the one that lived then is meant.
func (p *pathFinder) folder(ino evidence.Ino, at span, depth int) string {
	if ino == p.root && ino != 0 {
		return p.mount
	}
	unknown := p.mount + fmt.Sprintf("/<inode %d>", ino)
	if depth > maxFolderDepth || ino == 0 {
		return unknown
	}
	e, alive := p.live[ino]
	alive = alive && fits(at, e.born, time.Time{})
	best := e.born
	var was *RecoveredFile
	for _, d := range p.deleted[ino] {
		if len(d.Names) == 0 || d.Names[0].Dir == ino || !fits(at, d.Info.Btime, d.gone()) {
			continue
		}
		if was == nil && !alive || nearer(at, d.Info.Btime, best) {
			was, best = d, d.Info.Btime
		}
	}
	switch {
	case was != nil:
		name := p.names(was)[0]
		return p.folder(name.Dir, was.span(), depth+1) + "/" + name.Name
	case alive:
		return p.folder(e.parent, at, depth+1) + "/" + e.name
	}
	return unknown
}

// fits says whether a folder that lived from born to gone was there when the
// file was deleted. Times of deletion may be in whole seconds.
func fits(at span, born, gone time.Time) bool {
	if at.gone.IsZero() {
		return true
	}
	return (born.IsZero() || !born.After(at.gone.Add(time.Second))) && (gone.IsZero() || !gone.Before(at.gone.Add(-time.Second)))
}

// nearer says whether a folder made at a is more likely the one that the file
// lay in than one made at b: the last that was made before the file.
func nearer(at span, a, b time.Time) bool {
	if at.born.IsZero() || a.IsZero() || b.IsZero() {
		return false
	}
	before, other := !a.After(at.born), !b.After(at.born)
	if before != other {
		return before
	}
	return a.After(b) == before
}

// names are the names of a deleted file, the newest first. overlayfs moves a
// folder that it removes into its work folder (fs/overlayfs/dir.c,
// ovl_clear_empty): such a name comes last, for the one before says where it stood.
func (p *pathFinder) names(f *RecoveredFile) []evidence.OldName {
	if len(f.Names) < 2 {
		return f.Names
	}
	var names, work []evidence.OldName
	for _, name := range f.Names {
		if p.called(name.Dir, "work", f.span()) {
			work = append(work, name)
		} else {
			names = append(names, name)
		}
	}
	return append(names, work...)
}

// called says whether a folder had a name when a file in it was there.
func (p *pathFinder) called(ino evidence.Ino, name string, at span) bool {
	if e, ok := p.live[ino]; ok && fits(at, e.born, time.Time{}) {
		return e.name == name
	}
	for _, d := range p.deleted[ino] {
		if len(d.Names) > 0 {
			return d.Names[0].Name == name
		}
	}
	return false
}

// folders lists the folders of a volume.
func (n *Node) folders(v *Volume) map[evidence.Ino]folderEntry {
	out := map[evidence.Ino]folderEntry{}
	s, ok := v.FS.(evidence.Scanner)
	if !ok {
		return out
	}
	born := map[evidence.Ino]time.Time{}
	dirs := []evidence.Ino{}
	for i, err := range s.Inodes() {
		if err == nil && i.Info.Type == evidence.TypeDir {
			born[i.Ino] = i.Info.Btime
			dirs = append(dirs, i.Ino)
		}
	}
	for e, err := range s.Entries(dirs) {
		if err != nil {
			continue // the timeline and lists tell of damaged folders
		}
		if b, ok := born[e.Ino]; ok && e.Type != evidence.TypeFile {
			out[e.Ino] = folderEntry{e.Dir, e.Name, b}
		}
	}
	return out
}

// errNoRecovered says that nothing of the kind was found.
var errNoRecovered = errors.New("no deleted file was found")
