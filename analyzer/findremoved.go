package analyzer

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/findings"
	"lagan/runtimes"
)

// kubeletFolder is how the kubelet calls the folder of a pod: a uid of the API, or
// the hash of a static pod's manifest.
var kubeletFolder = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})$`)

// gone tells the containers of which only traces are left, and what the
// kubelet did not put among its pods.
func (f *finder) gone() {
	for _, p := range f.n.Pods() {
		known := make(map[string]bool)
		for _, c := range p.Containers {
			known[c.Pod.Container] = true
		}
		for _, name := range p.Names {
			if known[name] || name == "" {
				continue
			}
			e := findings.Evidence{Kind: findings.KindContainer, Place: "CONTAINER:" + p.DisplayName() + "/" + name, Path: join(p.LogDir, name), Offset: -1,
				Field: "found", Value: "its runtime knows it no longer; named by " + strings.Join(p.Found, ", ")}
			if f.n.Tree != nil {
				if ino, err := evidence.Resolve(f.n.Tree, f.n.Tree.Root(), e.Path, true); err == nil {
					if info, err := f.n.Tree.Stat(ino); err == nil {
						e.Time, e.TimeOf = info.Mtime, "logged last"
					}
				}
			}
			f.computed("container-gone", e)
		}
	}
	if f.n.Tree == nil {
		return
	}
	for _, link := range f.danglingLogs() {
		f.computed("container-gone", link)
	}
	for name, ino := range glob(f.n.Tree, "var/lib/kubelet/pods/*") {
		if kubeletFolder.MatchString(path.Base(name)) {
			continue
		}
		if info, err := f.n.Tree.Stat(ino); err == nil {
			e := findings.Evidence{Kind: findings.KindFile, Place: placeOf(nil, "/"+name), Path: "/" + name, Offset: -1, Field: "name", Value: path.Base(name), File: fileEvidence(&info, "", "")}
			e.Time, e.TimeOf = when(&info, "added")
			f.computed("kubelet-unknown-folder", e)
		}
	}
}

// danglingLogs are the links of /var/log/containers to logs of containers that no runtime knows.
func (f *finder) danglingLogs() []findings.Evidence {
	var out []findings.Evidence
	for name, ino := range glob(f.n.Tree, "var/log/containers/*.log") {
		m := logLink.FindStringSubmatch(name)
		if m == nil || f.byID[m[1]] != nil {
			continue
		}
		e := findings.Evidence{Kind: findings.KindContainer, Place: placeOf(nil, "/"+name), Path: "/" + name, Offset: -1, Field: "id", Value: m[1]}
		if info, err := f.n.Tree.Stat(ino); err == nil {
			e.Time, e.TimeOf = when(&info, "added")
			e.File = fileEvidence(&info, "", "")
		}
		out = append(out, e)
	}
	return out
}

// removed tells the containers, images and pods that were removed, by the traces
// that databases, journals and logs have of them.
func (f *finder) removed() error {
	if f.o.NoRecover {
		return nil
	}
	all, err := f.n.Removed(f.ctx)
	if err != nil {
		return err
	}
	told, err := f.unnamedImages(all)
	if err != nil {
		return err
	}
	for _, r := range all {
		switch r.Object {
		case runtimes.ObjectContainer, runtimes.ObjectImage, runtimes.ObjectPod:
		default:
			continue // snapshots and content go with them: see unnamed
		}
		if r.Sure == runtimes.Doubtful || r.ID != "" && f.byID[r.ID] != nil {
			continue
		}
		if r.Object == runtimes.ObjectImage && r.Name == "" && told[storeOf(r)] {
			continue // with the keys of its layers already
		}
		e := findings.Evidence{
			Kind: findings.KindContainer, Place: strings.ToUpper(string(r.Object)) + ":" + r.DisplayName(), Offset: -1, Field: "removed",
			Container: &findings.Container{ID: r.ID, Name: r.DisplayName(), Runtime: string(r.Runtime), Pod: r.Pod.Name, PodUID: r.Pod.UID, Namespace: firstOf(r.Pod.Namespace, r.Namespace)},
		}
		e.Time, e.TimeOf = r.GoneBy, "gone"
		if e.Time.IsZero() {
			e.Time, e.TimeOf = r.LastSeen, "seen last"
		}
		e.Value = fmt.Sprintf("%d traces, sure: %s", len(r.Traces), r.Sure)
		if r.ID != "" && r.ID != r.DisplayName() {
			e.Value = r.ID + ", " + e.Value
		}
		if r.Container != nil {
			e.Container.Image = r.Container.Image
			if r.Container.Image != "" {
				e.Value += "; image " + r.Container.Image
			}
			if len(r.Container.Command) > 0 {
				e.Value += "; command " + strings.Join(r.Container.Command, " ")
			}
		}
		f.computed("container-gone", e)
	}
	return nil
}

// imageStore is where images share their layers.
type imageStore struct {
	runtime         runtimes.Name
	namespace, path string
}

func storeOf(r *Removed) imageStore { return imageStore{r.Runtime, r.Namespace, r.StorePath} }

// removedSnapshots are the numbers that containerd gave to snapshots that are gone.
var removedSnapshots = regexp.MustCompile(`^([^/]+)/([0-9]+)(?:-([0-9]+))?$`)

// unnamedImages tells the images of which no name is left, but keys of their
// layers: containerd calls a layer's snapshot by its chain id, and removes it
// with the last image that has it. It returns the stores whose images are told.
func (f *finder) unnamedImages(all []*Removed) (map[imageStore]bool, error) {
	told := make(map[imageStore]bool)
	layers := make(map[imageStore][]*Removed)
	named := make(map[imageStore]bool)
	for _, r := range all {
		in := storeOf(r)
		switch {
		case r.Object == runtimes.ObjectImage && r.Name != "":
			named[in] = true
		case r.Object == runtimes.ObjectSnapshot && strings.HasPrefix(r.Name, "sha256:") && r.Sure != runtimes.Doubtful:
			layers[in] = append(layers[in], r)
		}
	}
	for _, in := range slices.SortedFunc(maps.Keys(layers), func(a, b imageStore) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.namespace, b.namespace))
	}) {
		if named[in] {
			continue
		}
		files, err := f.removedLayerFiles(in, all)
		if err != nil {
			return nil, err
		}
		keys := make([]string, 0, len(layers[in]))
		for _, r := range layers[in] {
			keys = append(keys, r.Name)
		}
		first := layers[in][0]
		e := findings.Evidence{
			Kind: findings.KindImage, Place: "IMAGE:(no name is left) of " + string(in.runtime) + " " + firstOf(in.namespace, in.path), Offset: -1, Field: "removed",
			Time: first.GoneBy, TimeOf: "gone",
			Value: fmt.Sprintf("%d layers of an image that its runtime knows no longer, sure: %s: %s", len(keys), first.Sure, strings.Join(keys, " ")),
		}
		if len(files) > 0 {
			e.Value += "; deleted from snapshots that are gone: " + strings.Join(files, " ")
		}
		f.computed("container-gone", e)
		told[in] = true
	}
	return told, nil
}

// shownRemoved is how many deleted files are named as what was in a removed image.
const shownRemoved = 12

// removedLayerFiles names deleted files of snapshots that are gone and were no
// container's: they tell what kind of image it was.
func (f *finder) removedLayerFiles(in imageStore, all []*Removed) ([]string, error) {
	gone := make(map[string]bool)
	for _, r := range all {
		m := removedSnapshots.FindStringSubmatch(r.ID)
		if r.Object != runtimes.ObjectSnapshot || r.StorePath != in.path || m == nil {
			continue
		}
		from, _ := strconv.Atoi(m[2])
		to, err := strconv.Atoi(m[3])
		if err != nil {
			to = from
		}
		const most = 10_000 // a store that removed more has had more than one image
		for k := from; k <= min(to, from+most); k++ {
			gone[fmt.Sprintf("io.containerd.snapshotter.v1.%s/snapshots/%d", m[1], k)] = true
		}
	}
	files, err := f.n.recoveredFiles(f.ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, file := range files {
		snapshot, name, ok := strings.Cut(file.Path, "/fs/")
		if !ok || file.Info.Type != evidence.TypeFile || !gone[strings.TrimPrefix(snapshot, in.path+"/")] {
			continue
		}
		if name = "/" + name; !slices.Contains(out, name) {
			out = append(out, name)
		}
		if len(out) >= shownRemoved {
			break
		}
	}
	return out, nil
}
