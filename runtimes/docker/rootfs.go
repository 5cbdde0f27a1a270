package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
)

// mountOf is what layerdb/mounts says of a container.
type mountOf struct{ mount, init, parent string }

func (s *Store) mount(d *driver, id string) (mountOf, error) {
	var m mountOf
	var failed error
	at := s.files(join(d.db, mountDir+"/"+id))
	for _, f := range []struct {
		name string
		to   *string
	}{{"mount-id", &m.mount}, {"init-id", &m.init}, {"parent", &m.parent}} {
		text, err := at.short(f.name)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		*f.to = text
	}
	if failed == nil && m.mount == "" {
		failed = fmt.Errorf("%s/mount-id: %w", at.path, fs.ErrNotExist)
	}
	if m.mount != "" && !folderName(m.mount) || m.init != "" && !folderName(m.init) {
		failed = errors.Join(failed, fmt.Errorf("%s: mount-id %q or init-id %q names no folder: %w", at.path, m.mount, m.init, evidence.ErrCorrupt))
		m.mount, m.init = "", ""
	}
	return m, failed
}

// rootfs names the folders of a container's root filesystem. The second error
// is of what is contradictory and was read past.
func (s *Store) rootfs(d *driver, m mountOf) (runtimes.Rootfs, error) {
	switch d.name {
	case driverOverlay2:
		return s.overlay2(d, m)
	case driverFuse:
		r, err := s.overlay2(d, m)
		r.Marks = runtimes.MarksFuse
		return r, err
	case driverOverlay:
		return s.overlay1(d, m), nil
	case driverVFS, driverBtrfs, driverDevicemapper:
		return s.wholeTrees(d, m)
	case driverAUFS:
		return s.aufs(d, m), nil
	}
	return runtimes.Rootfs{Problem: s.elsewhere(d, m.mount)}, nil
}

// aufs names the branches of an AUFS mount, a driver that was removed in Docker
// 24: aufs/layers/<id> lists the parents, nearest first.
func (s *Store) aufs(d *driver, m mountOf) runtimes.Rootfs {
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, Marks: runtimes.MarksAUFS, Upper: d.layerOf(m.mount)}
	at := d.dir + "/layers/" + m.mount
	b, err := evidence.ReadFile(s.fsys, s.node, at, maxLower)
	if err != nil {
		r.Problem = err
		return r
	}
	for _, parent := range strings.Fields(string(b)) {
		if !folderName(parent) || len(r.Lower) >= maxDepth {
			r.Problem = fmt.Errorf("%s: %q names no layer: %w", at, parent, evidence.ErrCorrupt)
			return r
		}
		if parent == m.init {
			r.InitLayers = 1
		}
		r.Lower = append(r.Lower, d.layerOf(parent))
	}
	return r
}

// overlay2 names the layers of an overlay2 mount: daemon/graphdriver/overlay2/overlay.go.
func (s *Store) overlay2(d *driver, m mountOf) (runtimes.Rootfs, error) {
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, Upper: d.layerOf(m.mount), UserXattr: s.userMark}
	var folders []string
	if m.init != "" {
		folders = append(folders, m.init)
		r.InitLayers = 1
	}
	chain, chainErr := d.chain(m.parent)
	for _, l := range chain {
		if l.cache == "" {
			chainErr = errors.Join(chainErr, fmt.Errorf("layer %q has no cache-id: %w", l.chain, evidence.ErrCorrupt))
			continue
		}
		folders = append(folders, l.cache)
	}
	mounted, lowerErr := s.lower(d, m.mount)
	var contradiction error
	switch {
	case chainErr != nil && lowerErr == nil:
		// The image store is damaged; what was mounted is still told by the driver.
		folders, contradiction = mounted, chainErr
		if !slices.Contains(folders, m.init) {
			r.InitLayers = 0
		}
	case chainErr != nil:
		r.Problem = errors.Join(chainErr, lowerErr)
	case lowerErr != nil:
		contradiction = lowerErr
	case !slices.Equal(folders, mounted):
		contradiction = fmt.Errorf("%s: the file lower names other layers (%s) than the image store (%s): %w",
			join(d.dir, m.mount), strings.Join(mounted, " "), strings.Join(folders, " "), evidence.ErrCorrupt)
	}
	for _, f := range folders {
		r.Lower = append(r.Lower, d.layerOf(f))
	}
	if len(r.Lower) == 0 {
		r.Kind = runtimes.RootfsBind
	}
	return r, contradiction
}

// layerOf names a folder of the driver, with what the image store knows of it.
func (d *driver) layerOf(folder string) runtimes.Layer {
	if known := d.cached[folder]; known != nil {
		return known.named
	}
	return d.nameLayer(folder)
}

// nameLayer names a folder of the driver.
func (d *driver) nameLayer(folder string) runtimes.Layer {
	l := runtimes.Layer{Key: folder, ID: folder, Size: -1}
	switch d.name {
	case driverVFS:
		l.Dir = d.dir + "/dir/" + folder
	case driverBtrfs:
		l.Dir = d.dir + "/subvolumes/" + folder
	case driverAUFS:
		l.Dir = d.dir + "/diff/" + folder
	case driverDevicemapper:
		_ = d.store.thinLayer(d, &l) // whoever needs the device is told that there is none
	case driverZFS:
		l.Dir = d.dir + "/graph/" + folder // where the dataset was mounted
	case driverWindows:
		l.Dir = d.dir + "/" + folder + "/Files"
	default:
		l.Dir = d.dir + "/" + folder + "/diff"
	}
	return l
}

// overlay1 names the layers of the driver "overlay", which was removed in
// Docker 24: an image is one whole tree in root/, and a container's upper
// folder began as a copy of its init layer's.
func (s *Store) overlay1(d *driver, m mountOf) runtimes.Rootfs {
	at := join(d.dir, m.mount)
	lower, err := s.short(join(at, "lower-id"))
	if err == nil && !folderName(lower) {
		err = fmt.Errorf("%s/lower-id %q names no folder: %w", at, lower, evidence.ErrCorrupt)
	}
	if err != nil {
		return runtimes.Rootfs{Problem: err}
	}
	r := runtimes.Rootfs{Kind: runtimes.RootfsOverlay, UserXattr: s.userMark}
	r.Upper = runtimes.Layer{Dir: at + "/upper", Key: m.mount, ID: m.mount}
	if m.init != "" {
		r.Lower = append(r.Lower, runtimes.Layer{Dir: join(d.dir, m.init) + "/upper", Key: m.init, ID: m.init})
		r.InitLayers = 1
	}
	base := d.layerOf(lower)
	base.Dir = join(d.dir, lower) + "/root"
	r.Lower = append(r.Lower, base)
	return r
}

// lower returns the folders that a mount's file "lower" names, uppermost first.
func (s *Store) lower(d *driver, folder string) ([]string, error) {
	at := join(d.dir, folder+"/lower")
	b, err := evidence.ReadFile(s.fsys, s.node, at, maxLower)
	if err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSpace(string(b)), ":")
	if len(names) > maxDepth {
		return nil, fmt.Errorf("%s names %d layers, more than %d: %w", at, len(names), maxDepth, evidence.ErrCorrupt)
	}
	var out []string
	for _, n := range names {
		short, ok := strings.CutPrefix(n, "l/")
		if !ok || !shortName(short) {
			return nil, fmt.Errorf("%s: %q is no short name of a layer: %w", at, n, evidence.ErrCorrupt)
		}
		folder, err := s.byShort(d, short)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		out = append(out, folder)
	}
	return out, nil
}

// shortName says whether s is a short name: 26 characters of base 32 (idLength, overlay.go).
func shortName(s string) bool {
	return len(s) == 26 && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
}

// byShort returns the folder that a short name stands for: by the link in l/
// or, where that is missing, by the "link" file of the folder itself.
func (s *Store) byShort(d *driver, short string) (string, error) {
	if folder, ok := d.links.Load(short); ok {
		return folder.(string), nil
	}
	if ino, err := evidence.Resolve(s.fsys, s.node, d.dir+"/l/"+short, false); err == nil {
		if target, err := s.fsys.ReadLink(ino); err == nil {
			if folder, ok := linkTarget(target); ok {
				d.links.Store(short, folder) // containers of one image ask for the same
				return folder, nil
			}
		}
	}
	d.scan.Do(func() {
		d.short = make(map[string]string)
		for _, e := range list(s.fsys, s.node, d.dir) {
			if e.Name == "l" || !folderName(e.Name) {
				continue
			}
			if own, err := s.short(d.dir + "/" + e.Name + "/link"); err == nil && shortName(own) {
				d.short[own] = e.Name
			}
		}
	})
	if folder := d.short[short]; folder != "" {
		return folder, nil
	}
	return "", fmt.Errorf("short name %s of a layer: neither a link nor a folder for it: %w", short, fs.ErrNotExist)
}

// linkTarget returns the folder of a link "../<folder>/diff".
func linkTarget(target string) (string, bool) {
	dir, diff := path.Split(target)
	dir = strings.TrimSuffix(dir, "/")
	folder, ok := strings.CutPrefix(dir, "../")
	return folder, ok && diff == "diff" && folderName(folder)
}
