package analyzer

import (
	"slices"

	"lagan/evidence"
	"lagan/runtimes"
)

// sites are the places whose logs are told: the node, and what each container
// wrote. always adds the node where its own traces were not asked for, for logs of
// the node that hold containers' lines.
func (t *teller) sites(always bool) []*site {
	var out []*site
	if t.n.Tree != nil && (always || !t.onlyContainers()) {
		out = append(out, &site{tree: t.n.Tree, written: t.n.Tree, prefix: "NODE:"})
	}
	if t.o.Scope == ScopeNode {
		return out
	}
	containers := t.o.Containers
	if len(containers) == 0 {
		containers = t.n.Containers()
	}
	for _, c := range containers {
		out = append(out, t.containerSites(c)...)
	}
	return out
}

// containerSites are what a container wrote, and what was mounted into it.
func (t *teller) containerSites(c *Container) []*site {
	var out []*site
	if s := t.containerSite(c); s != nil {
		out = append(out, s)
	}
	if s := t.mountSite(c); s != nil {
		out = append(out, s)
	}
	return out
}

// mountSite is what a container saw in its volumes and bind mounts, nil where
// there is none. What is the node's own stays the node's: many containers mount
// its /var/log. A file that several containers share is told once, of the first.
func (t *teller) mountSite(c *Container) *site {
	if len(c.Mounts) == 0 || c.Rootfs.Problem != nil {
		return nil
	}
	view, err := t.n.View(c)
	if err != nil {
		return nil // the telling of its files has said so
	}
	m := t.n.mountAll(view, func(runtimes.Mount, error) {}) // what isn't on a disk has no logs there
	if len(m.at) == 0 {
		return nil
	}
	s := &site{tree: m, written: m, volume: c.store.Volume, container: c, prefix: "CONTAINER:" + c.DisplayName() + ":"}
	if t.mounted == nil {
		t.mounted = t.nodesOwn()
	}
	s.keep = func(ino evidence.Ino) bool {
		fsys, inner, outside := m.part(ino)
		if !outside {
			return false
		}
		at := locate(fsys, inner)
		if by, known := t.mounted[at]; known && by != c {
			return false
		}
		t.mounted[at] = c
		return true
	}
	return s
}

// nodesOwn are the files that are told as the node's, where those are told or not.
func (t *teller) nodesOwn() map[place]*Container {
	own := make(map[place]*Container)
	if t.n.Tree == nil {
		return own
	}
	s := &site{tree: t.n.Tree, homes: homesOf(t.n.Tree)}
	for _, src := range t.allSources(s) {
		for _, pattern := range s.patterns(&src) {
			for _, ino := range glob(t.n.Tree, pattern.glob) {
				own[locate(t.n.Tree, ino)] = nil
			}
		}
	}
	return own
}

// allSources are all kinds of artifacts of a place.
func (t *teller) allSources(s *site) []artifactSource {
	return slices.Concat(artifactSources, setupSources, []artifactSource{keysElsewhere(s), {globs: journalGlobs}}, auditSources(s))
}

// sitePattern is where files are looked for, and whose they are.
type sitePattern struct{ glob, user string }

// patterns are the places of a source, in a tree as a whole and in each home.
func (s *site) patterns(src *artifactSource) []sitePattern {
	var out []sitePattern
	for _, g := range src.globs {
		out = append(out, sitePattern{g, ""})
	}
	for _, h := range s.homes {
		for _, name := range src.homes {
			out = append(out, sitePattern{join(h.path, name), h.user})
		}
	}
	return out
}

// containerSite is what a container wrote, nil where that can't be found: its
// view has said why.
func (t *teller) containerSite(c *Container) *site {
	if c.Rootfs.Upper.Dir == "" || c.Rootfs.Problem != nil {
		return nil
	}
	root, err := t.n.layerRoot(c.store, c.Rootfs.Upper.Dir)
	if err != nil {
		return nil
	}
	s := &site{written: evidence.Sub(c.store.Tree, root), volume: c.store.Volume, container: c, prefix: "CONTAINER:" + c.DisplayName() + ":"}
	s.tree = s.written
	if view, err := t.n.View(c); err == nil {
		s.tree = view
	}
	return s
}
