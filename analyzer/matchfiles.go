package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/find"
)

// Match is a file that an expression matches.
type Match struct {
	find.File
	Action find.Action
	Text   string // of find.ActionPrintf
	// Record reads all that is known of the file. false says that MatchOptions.Sets
	// leave it out.
	Record func() (File, bool, error)
}

// MatchOptions say how files are found.
type MatchOptions struct {
	// Now is what ages count from; its zero value is the time at which the node's
	// root was last written, as far as that is known, else the present.
	Now  time.Time
	Sets *HashSets // lists that files are compared with; nil: none
}

// Find calls fn for what the expression tells of the files at and below each of
// the starts. What can't be read is a gap, and so is a start that isn't there,
// unless it leaves nothing to do.
func (n *Node) Find(ctx context.Context, t *Tree, starts []string, e *find.Expr, o MatchOptions, fn func(Match) error) error {
	m, err := n.matcher(t, e, o.Now)
	if err != nil {
		return err
	}
	m.sets = o.Sets
	missing := 0
	for _, start := range starts {
		ino, err := evidence.Resolve(t, t.Root(), start, strings.HasSuffix(start, "/"))
		switch {
		case err != nil && len(starts) == 1:
			return fmt.Errorf("%s: %w", t.Name, err)
		case err != nil:
			n.gap(0, t.Name, err)
			missing++
			continue
		}
		if stop, err := m.below(ctx, start, ino, fn); stop || err != nil {
			return err
		}
	}
	if missing > 0 && missing == len(starts) {
		return fmt.Errorf("%s: none of the %d paths to begin at is there", t.Name, missing)
	}
	return nil
}

// FindEnv returns what the lines of find.Ls need.
func (n *Node) FindEnv(t *Tree, now time.Time) *find.Env { return n.findEnv(t, now) }

// matcher evaluates an expression for files of one tree.
type matcher struct {
	n   *Node
	t   *Tree
	e   *find.Expr
	env *find.Env

	sets *HashSets
}

func (n *Node) matcher(t *Tree, e *find.Expr, now time.Time) (*matcher, error) {
	m := &matcher{n: n, t: t, e: e, env: n.findEnv(t, now)}
	if err := e.Bind(m.env); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return m, nil
}

func (n *Node) findEnv(t *Tree, now time.Time) *find.Env {
	if now.IsZero() {
		now = n.lastWritten()
	}
	return &find.Env{
		Now: now, Users: accounts(t, "/etc/passwd"), Groups: accounts(t, "/etc/group"),
		Stat: func(path string) (evidence.Info, error) {
			ino, err := evidence.Resolve(t, t.Root(), path, false)
			if err != nil {
				return evidence.Info{}, err
			}
			return t.Stat(ino)
		},
	}
}

// lastWritten is when the node's root was last written, the present where no
// superblock says.
func (n *Node) lastWritten() time.Time {
	for _, v := range n.Volumes {
		if v.MountPoint == "/" && !v.Description.Written.IsZero() {
			return v.Description.Written
		}
	}
	return time.Now()
}

// accounts reads the ids of /etc/passwd or /etc/group by name; none where the tree has no such file.
func accounts(t *Tree, path string) map[string]uint32 {
	b, err := evidence.ReadFile(t, t.Root(), path, maxAccounts)
	if err != nil {
		return nil
	}
	out := make(map[string]uint32)
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 3 {
			continue
		}
		if id, err := strconv.ParseUint(f[2], 10, 32); err == nil && f[0] != "" {
			if _, ok := out[f[0]]; !ok {
				out[f[0]] = uint32(id)
			}
		}
	}
	return out
}

// headSize is how much a test of a file's kind looks at.
const headSize = 64

// file gives a file as the expression's tests look at it.
func (m *matcher) file(path, start string, depth int, ino evidence.Ino, info evidence.Info) find.File {
	read := func(what string, read func() error) {
		m.n.guardFile(m.t, path, func() error {
			if err := read(); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	return find.File{
		Path: path, Start: start, Depth: depth, Info: info,
		Target: func() (target string) {
			read("reading link", func() (err error) { target, err = m.t.ReadLink(ino); return err })
			return target
		},
		Head: func() (head []byte) {
			if info.Type != evidence.TypeFile || info.Size == 0 {
				return nil
			}
			read("reading", func() error {
				r, err := m.t.Open(ino)
				if err != nil {
					return err
				}
				b := make([]byte, min(headSize, r.Size()))
				k, err := r.ReadAt(b, 0)
				if head = b[:k]; k == len(b) {
					err = nil
				}
				return err
			})
			return head
		},
		Empty: func() (empty bool) {
			read("reading directory", func() error {
				for _, err := range m.t.ReadDir(ino) {
					return err // an entry, or what can't be read
				}
				empty = true
				return nil
			})
			return empty
		},
	}
}

// keeps says whether the expression matches a file, whatever it would tell of it.
func (m *matcher) keeps(path string, ino evidence.Ino, info evidence.Info) bool {
	f := m.file(path, "/", strings.Count(path, "/"), ino, info)
	kept := false
	m.e.Match(&f, m.env, func(find.Action, string) { kept = true })
	return kept
}

// errStop ends a walk that has found what it was to find.
var errStop = errors.New("stopped")

// below walks one start.
func (m *matcher) below(ctx context.Context, start string, ino evidence.Ino, fn func(Match) error) (stop bool, err error) {
	err = evidence.Walk(m.t.FS, ino, func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		path, depth := start, 0
		if rel != "" {
			path, depth = strings.TrimSuffix(start, "/")+"/"+rel, strings.Count(rel, "/")+1
		}
		if err != nil {
			m.n.gap(0, m.t.Name, fmt.Errorf("%q: %w", path, err))
			return nil
		}
		f := m.file(path, start, depth, e.Ino, info)
		var failed error
		prune, quit := m.e.Match(&f, m.env, func(a find.Action, text string) {
			if failed == nil {
				failed = fn(Match{File: f, Action: a, Text: text, Record: func() (File, bool, error) { return m.record(path, e.Ino, info) }})
			}
		})
		switch {
		case failed != nil:
			return failed
		case quit:
			return errStop
		case prune && info.Type == evidence.TypeDir:
			return evidence.SkipDir
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return true, nil
	}
	return false, err
}

func (m *matcher) record(path string, ino evidence.Ino, info evidence.Info) (out File, kept bool, err error) {
	l := lister{n: m.n, t: m.t, o: ListOptions{Sets: m.sets}, fn: func(f File) error { out, kept = f, true; return nil }}
	err = l.file("/"+strings.Join(evidence.Split(path), "/"), ino, info)
	return out, kept, err
}

// maxGlob bounds what one pattern stands for.
const maxGlob = 1 << 20

// Glob returns the paths of a tree that a pattern stands for, in name order:
// *, ? and [...] within an element, names that begin with a dot among them. A
// path that is no pattern, or is there as it stands, is itself.
func (n *Node) Glob(t *Tree, pattern string) ([]string, error) {
	if !find.HasMeta(pattern) {
		return []string{pattern}, nil
	}
	if _, err := evidence.Resolve(t, t.Root(), pattern, false); err == nil {
		return []string{pattern}, nil
	}
	paths := []string{""}
	elements := evidence.Split(pattern)
	for k, element := range elements {
		var next []string
		for _, dir := range paths {
			found, err := n.globIn(t, dir, element, k == len(elements)-1)
			if err != nil {
				return nil, err
			}
			if next = append(next, found...); len(next) > maxGlob {
				return nil, fmt.Errorf("%q stands for more than %d paths", pattern, maxGlob)
			}
		}
		paths = next
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: nothing matches %q", t.Name, pattern)
	}
	return paths, nil
}

// globIn finds the names of one directory that match; of those, unless they are
// last, what may lead on.
func (n *Node) globIn(t *Tree, dir, element string, last bool) ([]string, error) {
	if !find.HasMeta(element) {
		path := dir + "/" + element
		if _, err := evidence.Resolve(t, t.Root(), path, !last); err != nil {
			return nil, nil
		}
		return []string{path}, nil
	}
	ino, err := evidence.Resolve(t, t.Root(), dir, true)
	if err != nil {
		return nil, nil // it isn't a directory, or leads to none
	}
	list, err := evidence.List(t, ino)
	if err != nil {
		info, statErr := t.Stat(ino)
		if statErr == nil && info.Type != evidence.TypeDir {
			return nil, nil
		}
		n.gap(0, t.Name, fmt.Errorf("%q: reading directory: %w", dir, err))
	}
	var out []string
	for _, e := range list {
		if find.Glob(element, e.Name, false) {
			out = append(out, dir+"/"+e.Name)
		}
	}
	return out, nil
}

// WriteFiles writes the contents of the regular file at a path, or with
// o.Recursive of all that are below it and that o.Where matches, one after
// another. One that can't be read is a gap, and so is what is missing of it.
func (n *Node) WriteFiles(ctx context.Context, t *Tree, path string, o ListOptions, w io.Writer) error {
	start, err := evidence.Resolve(t, t.Root(), path, true)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	var m *matcher
	if o.Where != nil {
		if m, err = n.matcher(t, o.Where, time.Time{}); err != nil {
			return err
		}
	}
	return evidence.Walk(t.FS, start, func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		full := strings.TrimSuffix(path, "/")
		if rel != "" {
			full += "/" + rel
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			n.gap(0, t.Name, fmt.Errorf("%q: %w", full, err))
			return nil
		case info.Type == evidence.TypeDir && !o.Recursive:
			return evidence.SkipDir
		case info.Type != evidence.TypeFile, m != nil && !m.keeps(full, e.Ino, info):
			return nil
		}
		return n.writeFile(t, full, e.Ino, w)
	})
}

// writeFile copies one file. The error is w's.
func (n *Node) writeFile(t *Tree, path string, ino evidence.Ino, w io.Writer) error {
	kept := &keepingWriter{w: w}
	n.guardFile(t, path, func() error {
		r, err := t.Open(ino)
		if err != nil {
			return err
		}
		_, err = io.Copy(kept, r)
		return err
	})
	return kept.err
}
