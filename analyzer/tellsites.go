package analyzer

import "lagan/evidence"

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
		if s := t.containerSite(c); s != nil {
			out = append(out, s)
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
