package analyzer

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"lagan/evidence"
	"lagan/findings"
	"lagan/runtimes"
)

// maxMounted bounds the files that are looked at below one folder that is
// mounted into a container: a database's folder may hold millions.
const maxMounted = 200_000

// ownMount says whether a mount is one that the runtime or the kubelet makes
// for every container: /etc/hosts, secrets and the like.
func ownMount(c *Container, m *runtimes.Mount) bool {
	switch m.Destination {
	case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log", "/dev/shm", "/run/.containerenv", "/run/secrets", "/etc/mtab":
		return true
	}
	return m.Type != "bind" && m.Type != "volume" && m.Type != "" || m.Source == "" || strings.HasPrefix(m.Source, "/proc/") ||
		strings.Contains(m.Source, "/volumes/kubernetes.io~") && !strings.Contains(m.Source, "~empty-dir/") && !strings.Contains(m.Source, "~csi/") ||
		strings.Contains(m.Source, "/sandboxes/") || strings.HasPrefix(m.Destination, "/var/run/secrets/kubernetes.io/")
}

// ownVolume says whether a folder is a volume, made for containers, rather than a part of the node.
func ownVolume(c *Container, m *runtimes.Mount) bool {
	return m.Type == "volume" || strings.HasPrefix(m.Source, c.StorePath+"/") || strings.Contains(m.Source, "/kubernetes.io~") || strings.Contains(m.Source, "/volume-subpaths/")
}

// mounts looks at the folders of the node and the volumes that a container may
// write to.
func (f *finder) mounts(c *Container) error {
	if c.Kind != runtimes.KindContainer {
		return nil
	}
	for i := range c.Mounts {
		m := &c.Mounts[i]
		if m.ReadOnly || ownMount(c, m) {
			continue
		}
		tree, ino, err := f.n.inNode(c, m.Source)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				f.n.gap(c.store.Volume, placeOf(c, m.Destination), err)
			}
			continue // of another disk, or gone
		}
		key := place{tree, ino}
		if f.lines.mounted == nil {
			f.lines.mounted = make(map[place]bool)
		}
		if f.lines.mounted[key] {
			continue // of another container too: told once
		}
		f.lines.mounted[key] = true
		if err := f.mount(c, m, tree, ino); err != nil {
			return err
		}
	}
	return nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

func (f *finder) mount(c *Container, m *runtimes.Mount, tree evidence.FS, top evidence.Ino) error {
	cf := f.of(c)
	kind := "bind"
	if ownVolume(c, m) {
		kind = "volume"
	}
	skip := make(map[place]bool)
	for _, s := range f.n.Stores {
		if at, err := evidence.Resolve(tree, tree.Root(), s.Path(), true); err == nil && at != top {
			skip[locate(tree, at)] = true // what containers themselves keep is told as theirs
		}
	}
	count := 0
	err := evidence.Walk(tree, top, func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			return nil // the telling of the node's files says so
		}
		if info.Type == evidence.TypeDir && rel != "" && skip[locate(tree, e.Ino)] {
			return evidence.SkipDir
		}
		if count++; count > maxMounted {
			return errEnough
		}
		if rel != "" {
			f.mountedFile(cf, m, kind, tree, e.Ino, rel, &info)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		f.n.gap(c.store.Volume, "NODE:"+m.Source, errors.New("only the first 200,000 files of this folder, which a container writes to, were held against rules"))
		return nil
	}
	return err
}

// mountedFile looks at a file in a mounted folder that was written since the container was made.
func (f *finder) mountedFile(cf *containerFinder, m *runtimes.Mount, kind string, tree evidence.FS, ino evidence.Ino, rel string, info *evidence.Info) {
	born, _ := when(info, "added")
	if cf.c.Created.IsZero() || born.Before(cf.c.Created) && info.Mtime.Before(cf.c.Created) {
		return
	}
	if kind == "bind" && strings.Contains(rel, "volumes/kubernetes.io~") {
		return // a pod's volume below the kubelet's folder: told with its container
	}
	inside, outside := path.Join(m.Destination, rel), path.Join(m.Source, rel)
	target := ""
	if info.Type == evidence.TypeSymlink {
		target, _ = tree.ReadLink(ino)
	}
	s := fileSubject("mount", inside, info, target)
	s.Set("mount", m.Source)
	s.Set("mount_kind", kind)
	change := "added"
	if born.Before(cf.c.Created) {
		change = "modified"
	}
	s.Set("change", change)
	s.Flag("recent", true)
	if !cf.began.IsZero() {
		s.Set("after_start", seconds(born.Sub(cf.began)))
	}
	e := findings.Evidence{Place: placeOf(nil, outside), Path: outside, Container: cf.of, Offset: -1, File: fileEvidence(info, change, target)}
	e.Time, e.TimeOf = when(info, change)
	if info.Type == evidence.TypeFile {
		xattrs, _ := tree.Xattrs(ino)
		e.Open = openAt(tree, outside)
		f.file(s, e.Open, outside, info, xattrs, true)
		s.Flag("gained", gained(info, xattrs, nil, nil))
		s.Lazy("added_text", func() string { return s.First(findings.TextField) })
	}
	f.match(s, e)
}
