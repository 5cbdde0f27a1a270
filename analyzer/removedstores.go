package analyzer

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
)

// storeSigns are the files by which a data root that was deleted as a whole, or a
// database that another one took the place of, is known among the deleted files.
var storeSigns = []struct {
	runtime runtimes.Name
	path    *regexp.Regexp // the data root
}{
	{runtimes.Docker, regexp.MustCompile(`^(/.+)/containers/[0-9a-f]{64}/config\.v2\.json$`)},
	{runtimes.Containerd, regexp.MustCompile(`^(/.+)/io\.containerd\.metadata\.v1\.bolt/meta\.db$`)},
	{runtimes.Podman, regexp.MustCompile(`^(/.+)/(?:db\.sql|libpod/db\.sql|libpod/bolt_state\.db|overlay-containers/containers\.json)$`)},
}

// deletedRoot is a data root of which files were deleted.
type deletedRoot struct {
	runtime runtimes.Name
	path    string
}

// maxDeletedRoots bounds the data roots that are looked for.
const maxDeletedRoots = 64

// fromDeletedStores opens the data roots that were deleted, as far as their files
// come back whole, and takes what they listed: an attacker's rm -rf of a runtime's
// folder, or a node that was set up anew.
func (c *removedCollector) fromDeletedStores(files []*RecoveredFile) error {
	roots := map[deletedRoot]bool{}
	for _, f := range files {
		for _, sign := range storeSigns {
			if m := sign.path.FindStringSubmatch(f.Path); m != nil && wholeContent(f) && len(roots) < maxDeletedRoots {
				roots[deletedRoot{sign.runtime, m[1]}] = true
			}
		}
	}
	sorted := slices.SortedFunc(maps.Keys(roots), func(a, b deletedRoot) int { // Docker first: containerd runs its containers
		return cmp.Or(cmp.Compare(readerOf(a.runtime), readerOf(b.runtime)), cmp.Compare(a.path, b.path))
	})
	for _, root := range sorted {
		if _, there := c.storeOf(root.runtime, root.path+"/"); there && root.runtime == runtimes.Docker {
			continue // a document a container: the store has understood them
		}
		c.n.guard(0, "deleted store "+root.path, func() error { return c.deletedStore(root, files) })
	}
	return nil
}

// readerOf returns the place of a runtime among its readers.
func readerOf(name runtimes.Name) int {
	return slices.IndexFunc(runtimeReaders, func(r runtimeReader) bool { return r.name == name })
}

// wholeContent says whether a deleted file came back as it was, as far as can be told.
func wholeContent(f *RecoveredFile) bool {
	return f.Content != nil && (f.State == evidence.ContentWhole || f.State == evidence.ContentUnproven)
}

// deletedStore takes what a deleted data root listed.
func (c *removedCollector) deletedStore(root deletedRoot, files []*RecoveredFile) error {
	last := map[string]*RecoveredFile{}
	for _, f := range files {
		if !wholeContent(f) || !strings.HasPrefix(f.Path, root.path+"/") {
			continue
		}
		if old := last[f.Path]; old == nil || f.gone().After(old.gone()) {
			last[f.Path] = f
		}
	}
	var kept []*RecoveredFile
	for _, path := range slices.Sorted(maps.Keys(last)) {
		kept = append(kept, last[path])
	}
	tree := c.n.RecoveredTree(kept)
	s, err := runtimeReaders[readerOf(root.runtime)].open(tree.FS, tree.FS.Root(), root.path)
	if err != nil {
		return nil // a sign of it came back, and not enough else
	}
	at := Store{Store: s, Tree: c.n.Tree, Found: FoundSearch}
	from := func(r runtimes.Remnant) runtimes.Remnant {
		f := newestSign(root, kept)
		r.Runtime, r.StorePath, r.Source, r.Offset, r.Gone = s.Runtime(), root.path, f.Path, -1, endOf(f.gone())
		r.Place = fmt.Sprintf("deleted file, inode %d of volume %d, %s", f.Ino, f.Volume, f.State)
		r.Sure = runtimes.Sure
		if f.State != evidence.ContentWhole {
			r.Sure = runtimes.Likely
		}
		return r
	}
	for one, err := range s.Containers() {
		if err != nil && one.ID == "" {
			continue // what is missing of deleted files is no gap
		}
		if one.Started.IsZero() && one.Finished.IsZero() {
			one.State, one.Reason = runtimes.StateUnknown, "" // its other files may be gone, which says nothing
		}
		c.add(at, from(runtimes.Remnant{Object: runtimes.ObjectContainer, Namespace: one.Namespace, ID: one.ID, Name: one.Name, Container: &one, Pod: one.Pod, Existed: one.Created, Note: "listed in a deleted store"}))
	}
	for one, err := range s.Images() {
		if err == nil {
			c.deletedImage(at, &one, from)
		}
	}
	c.leftInDeleted(at, root, from)
	return nil
}

// newestSign returns the file of a data root that lists its objects and was deleted last.
func newestSign(root deletedRoot, files []*RecoveredFile) *RecoveredFile {
	var out *RecoveredFile
	for _, f := range files {
		for _, sign := range storeSigns {
			if sign.runtime == root.runtime && sign.path.MatchString(f.Path) && (out == nil || f.gone().After(out.gone())) {
				out = f
			}
		}
	}
	return out
}

// deletedImage takes an image of a deleted store that no store lists by any of its names.
func (c *removedCollector) deletedImage(at Store, i *runtimes.Image, from func(runtimes.Remnant) runtimes.Remnant) {
	for _, there := range c.n.Images() {
		if there.ID == i.ID || there.Digest != "" && there.Digest == i.Digest {
			return
		}
	}
	r := runtimes.Remnant{Object: runtimes.ObjectImage, Namespace: i.Namespace, ID: cmp.Or(i.ID, i.Digest), Image: i, Existed: i.Pulled, Note: "listed in a deleted store"}
	if len(i.Names) > 0 {
		r.Name = i.Names[0]
		if at.Runtime() == runtimes.Containerd {
			r.ID = r.Name // as freed pages call it
		}
	}
	c.add(at, from(r))
}

// leftInDeleted takes what the databases of a deleted store had left behind themselves.
func (c *removedCollector) leftInDeleted(at Store, root deletedRoot, from func(runtimes.Remnant) runtimes.Remnant) {
	s, ok := at.Store.(runtimes.RemnantStore)
	if !ok {
		return
	}
	for r, err := range s.Remnants() {
		if err != nil || r.Offset < 0 || r.Object == runtimes.ObjectImage && c.imageThere(r.ID) {
			continue // folders without a record are no orphans: few of the store's files came back
		}
		told := from(r)
		told.Source, told.Offset, told.Place, told.Sure = r.Source, r.Offset, "in a deleted file, "+r.Place, r.Sure
		c.add(at, told)
	}
}

// imageThere says whether a store lists an image by a name.
func (c *removedCollector) imageThere(name string) bool {
	return slices.ContainsFunc(c.n.Images(), func(i *Image) bool { return slices.Contains(i.Names, name) || i.ID == name || i.Digest == name })
}
