package overlay

import (
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"lagan/evidence"
)

var errNotExist = fs.ErrNotExist

// Lookup implements evidence.Lookuper.
func (f *FS) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	n, err := f.node(dir)
	if err != nil {
		return evidence.Entry{}, err
	}
	e, ok, err := f.lookup(n.stack, nil, name, nil)
	if ok {
		if err != nil {
			f.warning(err)
		}
		return e, nil
	}
	if err == nil {
		err = fs.ErrNotExist
	}
	return evidence.Entry{}, err
}

// ReadDir implements evidence.FS: the names of all directories that this one is
// made of, each as Lookup finds it. What could not be read of them, and a
// problem that keeps the merge from being known, comes as an error at the end.
func (f *FS) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		n, err := f.node(dir)
		if err != nil {
			yield(evidence.Entry{}, err)
			return
		}
		lists := make([]*listing, len(n.stack))
		for i, l := range n.stack {
			lists[i] = f.list(l)
		}
		var seen map[string]bool
		if len(lists) > 1 {
			seen = map[string]bool{}
		}
		for i, list := range lists {
			for _, e := range list.entries {
				if len(lists) > 1 {
					if seen[e.Name] {
						continue
					}
					if i < len(lists)-1 {
						seen[e.Name] = true
					}
				}
				child, ok, err := f.found(n.stack[i:], lists[i:], e)
				if err != nil {
					f.warning(err)
				}
				if ok && !yield(child, nil) {
					return
				}
			}
		}
		for i, list := range lists {
			if list.err != nil && !yield(evidence.Entry{}, fmt.Errorf("%s: %w", f.where(n.stack[i]), list.err)) {
				return
			}
		}
		if n.problem != nil {
			yield(evidence.Entry{}, n.problem)
		}
	}
}

// found is lookup for a name whose first entry is known already: the common
// cases need nothing else.
func (f *FS) found(stack []Location, lists []*listing, e evidence.Entry) (evidence.Entry, bool, error) {
	switch e.Type {
	case evidence.TypeSymlink, evidence.TypeBlock, evidence.TypeFIFO, evidence.TypeSocket:
		return f.entry(e.Name, e.Type, node{stack: []Location{{stack[0].Layer, e.Ino}}}), true, nil
	}
	return f.lookup(stack, lists, e.Name, &e)
}

func (f *FS) entry(name string, typ evidence.Type, n node) evidence.Entry {
	return evidence.Entry{Name: name, Ino: f.handle(n), Type: typ}
}

// search is struct ovl_lookup_data (namei.c): what is known so far of a name
// that is looked up in one layer after another.
type search struct {
	f *FS
	// want is the name, or the path from the layers' roots, to look for in the
	// next layer: redirects change it.
	want       string
	isDir      bool
	stop       bool
	last       bool // no layer follows: marks that concern those needn't be read
	metacopy   bool // the content is still to be found
	absolute   bool // the last redirect was a path
	redirects  int
	followed   bool // a redirect was
	pending    bool // a redirect was read and no layer looked at since
	problem    error
	unreadable error           // a directory that was read in part didn't have the name
	first      *evidence.Entry // what the first directory has under the name, where known
}

// lookup finds a name in the directories of stack, as ovl_lookup does. lists,
// where given, are those directories. The error says what could not be read on
// the way; the entry may be found all the same.
func (f *FS) lookup(stack []Location, lists []*listing, name string, first *evidence.Entry) (evidence.Entry, bool, error) {
	s := search{f: f, want: name, first: first}
	var n node
	var typ evidence.Type
	var data Location
	rooted := false
	for i := 0; i < len(stack) && !s.stop; i++ {
		dir := stack[i]
		s.enter(dir, i == len(stack)-1)
		var list *listing
		if lists != nil && !rooted {
			list = lists[i]
		}
		e, t, ok := s.layer(dir, list)
		if !ok {
			continue
		}
		at := Location{dir.Layer, e.Ino}
		if len(n.stack) == 0 {
			typ = t
			n.stack = []Location{at}
			n.metacopy = s.metacopy
		} else if s.isDir {
			n.stack = append(n.stack, at)
		} else {
			data = at
		}
		if !s.stop && !rooted && strings.HasPrefix(s.want, "/") {
			// An absolute redirect goes on from the roots of the layers below.
			stack, rooted = f.roots, true
			i = dir.Layer
		}
	}
	if len(n.stack) == 0 {
		return evidence.Entry{}, false, s.unreadable
	}
	n.redirected, n.problem = s.followed, s.problem
	if n.metacopy {
		n.data = data
		if s.metacopy && n.problem == nil {
			s.dataOnly(&n)
		}
	}
	return f.entry(name, typ, n), true, s.unreadable
}

// enter notes that a layer is looked at. As in ovl_lookup: where redirects
// aren't followed the last directory of the stack ends the search, else the last
// layer; with data-only layers a file's redirect matters there too.
func (s *search) enter(dir Location, lastOfStack bool) {
	switch dataOnly := s.f.merged < len(s.f.layers); {
	case s.f.user && !dataOnly:
		s.last = lastOfStack
	case s.isDir || !dataOnly:
		s.last = dir.Layer == s.f.merged-1
	}
	if s.pending {
		s.followed, s.pending = true, false
	}
}

// dataOnly looks for the content of a metadata-only copy in the data-only
// layers, which only an absolute redirect leads to (ovl_lookup_data_layers). The
// kernel does so when the file is opened, so that only then it is an error; a
// copy that leads nowhere it refuses outright.
func (s *search) dataOnly(n *node) {
	f := s.f
	if !s.absolute || f.merged == len(f.layers) {
		n.problem = f.noData(n.stack[0])
		return
	}
	for i := f.merged; i < len(f.layers); i++ {
		if ino, ok := f.plainFile(i, s.want); ok {
			n.data = Location{i, ino}
			return
		}
	}
	n.noData = f.noData(n.stack[0])
}

// plainFile resolves a path in one layer, as vfs_path_lookup does with
// LOOKUP_BENEATH and LOOKUP_NO_SYMLINKS: no link is followed, .. never leads out
// of the layer, and only a regular file will do.
func (f *FS) plainFile(layer int, path string) (evidence.Ino, bool) {
	l := f.layers[layer]
	above := []evidence.Ino{l.Root}
	typ := evidence.TypeDir
	for _, name := range evidence.Split(path) {
		if typ != evidence.TypeDir {
			return 0, false
		}
		if name == ".." {
			above = above[:len(above)-1]
			if len(above) == 0 {
				return 0, false
			}
			continue
		}
		e, ok, err := f.find(Location{layer, above[len(above)-1]}, name)
		if err != nil || !ok {
			return 0, false
		}
		above = append(above, e.Ino)
		if typ = e.Type; typ == evidence.TypeUnknown {
			info, err := l.FS.Stat(e.Ino)
			if err != nil {
				return 0, false
			}
			typ = info.Type
		}
	}
	return above[len(above)-1], typ == evidence.TypeFile
}

// layer looks for s.want in one layer: ovl_lookup_layer. A path is walked from
// dir, which is the layer's root then; a redirect on the way replaces what was
// walked of it, for the layers below.
func (s *search) layer(dir Location, list *listing) (evidence.Entry, evidence.Type, bool) {
	if !strings.HasPrefix(s.want, "/") {
		return s.single(dir, list, s.want, 0, "")
	}
	for rest := len(s.want) - 1; ; {
		start := len(s.want) - rest
		name, post := s.want[start:], ""
		if i := strings.IndexByte(name, '/'); i >= 0 {
			name, post = name[:i], name[i:]
		}
		e, typ, ok := s.single(dir, nil, name, start, post)
		if !ok || post == "" {
			return e, typ, ok
		}
		dir.Ino = e.Ino
		rest = len(post) - 1
	}
}

// single looks for one element: ovl_lookup_single. prefix is the length of the
// path before it, post the path after it.
func (s *search) single(dir Location, list *listing, name string, prefix int, post string) (evidence.Entry, evidence.Type, bool) {
	none := evidence.Entry{}
	if name == "." || name == ".." {
		// Only a redirect can ask for them: lookup_noperm_common (fs/namei.c) refuses.
		s.refuse(fmt.Errorf("%s: redirected to %q: %w", s.f.where(dir), s.want, evidence.ErrCorrupt))
		return none, 0, false
	}
	e, ok := s.child(dir, list, name)
	if !ok {
		return none, 0, false
	}
	at, final := Location{dir.Layer, e.Ino}, post == ""
	typ, m, whiteout := s.f.inspect(at, e.Type, s.last && !s.metacopy)
	switch {
	case whiteout:
		s.stop = true
		return none, 0, false
	case final && s.metacopy && typ != evidence.TypeFile:
		s.stop = true
		return none, 0, false
	case typ != evidence.TypeDir:
		if s.isDir || !final {
			s.stop = true
			return none, 0, false
		}
		s.file(at, m)
		if s.stop || s.last {
			return e, typ, true
		}
	default:
		if final {
			s.isDir = true
		}
		if s.last {
			return e, typ, true
		}
		s.note(m.err)
		if m.opaque == opaqueYes {
			s.stop = true
			return e, typ, true
		}
	}
	s.redirect(at, m, prefix, post)
	return e, typ, true
}

// file notes what a file is: all there is, or a metadata-only copy.
func (s *search) file(at Location, m marks) {
	s.note(m.err)
	s.metacopy = m.metacopy && !s.f.user
	s.stop = !s.metacopy
	if m.metacopy && s.f.user {
		s.refuse(s.f.refused(at))
	}
}

// redirect takes a redirect over into the name to look for: ovl_check_redirect.
func (s *search) redirect(at Location, m marks, prefix int, post string) {
	s.absolute = false
	if m.badRedirect != nil {
		s.refuse(m.badRedirect)
		return
	}
	if m.redirect == "" {
		return
	}
	if s.f.user {
		s.refuse(fmt.Errorf("%s: redirect %q, which mounts with userxattr refuse: %w", s.f.where(at), m.redirect, evidence.ErrUnsupported))
		return
	}
	want := m.redirect + post
	if strings.HasPrefix(m.redirect, "/") {
		s.absolute = true
		// An opaque ancestor on the path had ended the search; this path leads elsewhere.
		s.stop = false
	} else {
		want = s.want[:prefix] + want
	}
	if s.redirects++; s.redirects > maxRedirects || len(want) > 2*maxRedirect {
		s.refuse(fmt.Errorf("%s: redirects without end: %w", s.f.where(at), evidence.ErrCorrupt))
		return
	}
	s.want, s.pending = want, true
}

// refuse notes what the kernel would answer with an error; the layers below are
// not looked at.
func (s *search) refuse(err error) {
	s.stop = true
	s.note(err)
}

// note notes what makes the entry uncertain: where an opaque mark can't be
// read, what it may hide is shown rather than lost.
func (s *search) note(err error) {
	if s.problem == nil {
		s.problem = err
	}
}

// child returns an entry of a layer's directory.
func (s *search) child(dir Location, list *listing, name string) (evidence.Entry, bool) {
	if s.first != nil {
		e := *s.first
		s.first = nil
		return e, true
	}
	if list != nil {
		return list.find(name)
	}
	e, ok, err := s.f.find(dir, name)
	if err != nil && s.unreadable == nil {
		s.unreadable = fmt.Errorf("%s: looking up %q: %w", s.f.where(dir), name, err)
	}
	return e, ok
}

// inspect finds out what an entry is to the overlay. Attributes are read only
// where they can matter: of directories and files that may have something
// below, and of empty files, which may be whiteouts.
func (f *FS) inspect(at Location, typ evidence.Type, last bool) (evidence.Type, marks, bool) {
	fsys := f.layers[at.Layer].FS
	var info evidence.Info
	if typ == evidence.TypeUnknown || typ == evidence.TypeChar || typ == evidence.TypeFile {
		var err error
		if info, err = fsys.Stat(at.Ino); err != nil {
			// Shown as it stands: Stat will say why it can't be read.
			return typ, marks{}, false
		}
		typ = info.Type
	}
	switch typ {
	case evidence.TypeChar:
		return typ, marks{}, info.Major == 0 && info.Minor == 0
	case evidence.TypeFile:
		if info.Size > 0 && last {
			return typ, marks{}, false
		}
		m := f.marks(at, typ)
		return typ, m, m.whiteout && info.Size == 0
	case evidence.TypeDir:
		if last {
			return typ, marks{}, false
		}
		return typ, f.marks(at, typ), false
	}
	return typ, marks{}, false
}
