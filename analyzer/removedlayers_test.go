package analyzer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/runtimes"
)

// TestRemovedImageByItsLayers: of the image that was removed from eks-xfs no record
// and no name is left. Its layers' folders and its documents went at once, within the
// scenario's removal; the files of the layers say what it was.
func TestRemovedImageByItsLayers(t *testing.T) {
	_, all := removedFrom(t, "eks-xfs")
	all = slices.DeleteFunc(all, func(r *Removed) bool { return r.Object != runtimes.ObjectImage })
	if len(all) != 1 {
		t.Fatalf("%d removed images, want one", len(all))
	}
	r := all[0]
	var files, blobs []string
	for _, v := range r.Values {
		switch v.Field {
		case "file":
			files = append(files, v.Value)
		case "blob":
			blobs = append(blobs, v.Value)
		}
	}
	if !slices.Contains(files, "/usr/local/tomcat/webapps/examples/index.html") || !slices.Contains(files, "/etc/tomcat") {
		t.Errorf("files %q", files)
	}
	if len(blobs) != 2 { // the layers' own are dropped once they are unpacked: discard_unpacked_layers
		t.Errorf("blobs %q, want the manifest and the configuration", blobs)
	}
	removal := time.Date(2026, 11, 22, 9, 24, 16, 0, time.UTC)
	if r.Name != "" || r.GoneBy.Truncate(time.Second) != removal || !r.ExistedBy.Before(r.GoneBy) || r.Sure == runtimes.Sure {
		t.Errorf("name %q, from %v to %v, %s", r.Name, r.ExistedBy, r.GoneBy, r.Sure)
	}
}

// TestLayerFolders: what is taken for a folder of a layer, and for what lay in it.
func TestLayerFolders(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for _, c := range []struct{ path, dir, file string }{
		{"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/17", "17", ""},
		{"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/17/fs/etc/x", "17", "etc/x"},
		{"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/17/work/x", "", ""},
		{"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-17/fs/x", "", ""},
		{"/var/lib/docker/overlay2/" + id + "/diff/a/b", id, "a/b"},
		{"/var/lib/docker/overlay2/" + id + "-init/diff/a", "", ""},
		{"/var/lib/docker/overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ", "", ""},
		{"/var/lib/containers/storage/overlay/" + id + "/diff/etc", id, "etc"},
		{"/home/overlay/readme", "", ""},
	} {
		dir, file := "", ""
		for _, p := range layerFolders {
			if m := p.path.FindStringSubmatch(c.path); m != nil {
				dir, file = m[2], m[3]
			}
		}
		if dir != c.dir || file != c.file {
			t.Errorf("%s: %q, %q, want %q, %q", c.path, dir, file, c.dir, c.file)
		}
	}
}
