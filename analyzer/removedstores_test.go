package analyzer

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/runtimes"
)

// TestDeletedStores: a runtime's folder that was deleted as a whole lists its
// containers and images as it did. The files are those of the fixtures, as if they
// had stood elsewhere and come back whole.
func TestDeletedStores(t *testing.T) {
	for _, d := range []struct {
		disk, root, was string
		files           func(path string) bool
	}{
		{"eks-xfs", "/var/lib/containerd", "/srv/old/containerd", func(p string) bool { return strings.HasSuffix(p, ".db") || strings.Contains(p, "/blobs/") }},
		{"podman-sql", "/var/lib/containers/storage", "/srv/old/storage", func(p string) bool { return !strings.Contains(p, "/diff/") }},
		{"podman-ext4", "/var/lib/containers/storage", "/srv/old/storage", func(p string) bool { return strings.HasSuffix(p, ".db") || strings.HasSuffix(p, ".json") }},
		{"docker-ext4", "/var/lib/docker", "/srv/old/docker", func(p string) bool {
			return strings.Contains(p, "/containers/") || strings.Contains(p, "/image/") || strings.HasSuffix(p, ".db")
		}},
	} {
		n, err := Open(context.Background(), fixtures.Disk(t, d.disk), Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		at := time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC)
		files := deletedCopy(t, n, d.root, d.was, at, d.files)
		c := &removedCollector{n: n, by: map[string]*Removed{}, live: map[string]bool{}}
		images := n.images
		n.images = func() []*Image { return nil } // else all are there
		if err := c.fromDeletedStores(files); err != nil {
			t.Fatal(err)
		}
		n.images = images
		found := func(object runtimes.Object, id string) *Removed {
			i := slices.IndexFunc(c.all, func(r *Removed) bool { return r.Object == object && (r.ID == id || r.Name == id) })
			if i < 0 {
				return nil
			}
			return c.all[i]
		}
		for _, want := range n.Containers() {
			r := found(runtimes.ObjectContainer, want.ID)
			switch {
			case r == nil:
				t.Errorf("%s: container %s is not found in the deleted store", d.disk, want.DisplayName())
			case r.Container.Name != want.Name || r.Container.Image != want.Image || !r.GoneBy.Equal(at) || r.StorePath != d.was || !strings.HasPrefix(r.Traces[0].Source, d.was+"/") || !r.Container.Removed:
				t.Errorf("%s: container %s: %q of %q in %q, gone by %v, from %q", d.disk, want.DisplayName(), r.Container.Name, r.Container.Image, r.StorePath, r.GoneBy, r.Traces[0].Source)
			}
		}
		for _, want := range n.Images() {
			if len(want.Names) > 0 && found(runtimes.ObjectImage, want.Names[0]) == nil && found(runtimes.ObjectImage, want.ID) == nil {
				t.Errorf("%s: image %s is not found in the deleted store", d.disk, want.Names[0])
			}
		}
		if len(n.Containers()) == 0 || len(n.Images()) == 0 {
			t.Errorf("%s: nothing to compare with", d.disk)
		}
		c = &removedCollector{n: n, by: map[string]*Removed{}, live: map[string]bool{}}
		for _, f := range files {
			f.State = evidence.ContentPartly
		}
		if err := c.fromDeletedStores(files); err != nil || len(c.all) > 0 {
			t.Errorf("%s: %d objects of files that are partly overwritten, %v", d.disk, len(c.all), err)
		}
	}
}

// deletedCopy gives the files below a folder as deleted ones of another folder.
func deletedCopy(t *testing.T, n *Node, from, to string, at time.Time, wanted func(string) bool) []*RecoveredFile {
	t.Helper()
	start, err := evidence.Resolve(n.Tree, n.Tree.Root(), from, true)
	if err != nil {
		t.Fatal(err)
	}
	var out []*RecoveredFile
	err = evidence.Walk(n.Tree, start, func(path string, e evidence.Entry, info evidence.Info, err error) error {
		path = to + "/" + strings.Trim(path, "/")
		if err != nil || info.Type != evidence.TypeFile || !wanted(path) {
			return err
		}
		content, err := n.Tree.Open(e.Ino)
		if err != nil {
			return err
		}
		f := &RecoveredFile{Volume: 1, Path: path}
		f.Ino, f.Info, f.State, f.Deleted = e.Ino, info, evidence.ContentWhole, at
		f.Content = io.NewSectionReader(content, 0, content.Size())
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
