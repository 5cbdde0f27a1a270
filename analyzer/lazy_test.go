package analyzer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"lagan/timeline"
)

// TestLazy has a container of a snapshotter that mounts layers from a registry:
// its lower layer's folder is empty. The layer comes from a file of the
// analyst's, from the content store, or is a gap that names it.
func TestLazy(t *testing.T) {
	var unpacked bytes.Buffer
	w := tar.NewWriter(&unpacked)
	for name, content := range map[string]string{"etc/a": "1"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(unpacked.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	digest := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	diff, blob := digest(unpacked.Bytes()), digest(packed.Bytes())
	const root, snapshotter = "var/lib/containerd/", "var/lib/containerd-stargz-grpc/snapshotter/"
	for _, c := range []struct {
		name   string
		stored bool
		layer  string // what --layer calls the file
		want   string
		gap    string
	}{
		{"by the diff id", false, diff, "etc/a=1 etc/b=2", ""},
		{"by the blob's digest", false, blob, "etc/a=1 etc/b=2", ""},
		{"in the content store", true, "", "etc/a=1 etc/b=2", ""},
		{"nowhere", false, "", "etc/b=2", diff},
	} {
		dir := filepath.Join(t.TempDir(), "node")
		writeBolt(t, dir, map[string]map[string]map[string]string{
			root + "io.containerd.metadata.v1.bolt/meta.db": {
				"v1|ns|containers|c":             {"snapshotter": "stargz", "snapshotKey": "c"},
				"v1|ns|snapshots|stargz|c":       {"name": "ns/2/c", "parent": diff},
				"v1|ns|snapshots|stargz|" + diff: {"name": "ns/1/" + diff},
				"v1|ns|content|blob|" + blob:     {},
			},
			snapshotter + "metadata.db": {
				"v1|snapshots|ns/1/" + diff:             {"id": "\x01", "kind": "\x03"},
				"v1|snapshots|ns/1/" + diff + "|labels": {"containerd.io/snapshot/remote": "remote snapshot", "containerd.io/snapshot/cri.layer-digest": blob},
				"v1|snapshots|ns/2/c":                   {"id": "\x02", "kind": "\x02", "parent": "ns/1/" + diff},
			},
		})
		put(t, filepath.Join(dir, snapshotter, "snapshots/2/fs/etc/b"), "2")
		var o Options
		if c.layer != "" {
			file := filepath.Join(dir, "..", "layer.tar.gz")
			put(t, file, packed.String())
			o.Layers = []LayerOption{{Digest: c.layer, Path: file}}
		}
		if c.stored {
			put(t, filepath.Join(dir, root, "io.containerd.content.v1.content/blobs/sha256", blob[len("sha256:"):]), packed.String())
		}
		n, err := Open(t.Context(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if got := viewOf(t, n); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		var said []string
		for _, g := range n.Gaps() {
			said = append(said, g.String())
		}
		told := 0
		err = n.Timeline(t.Context(), TimelineOptions{Scope: ScopeAll}, func(r *timeline.Record) error {
			told++
			var x timeline.Reader
			if err := x.Read(r); err != nil {
				return err
			}
			if x.Text(timeline.FieldLayerSource) == "lower" {
				t.Errorf("%s: %s is told as of the layer, which has no folder", c.name, x.Text(timeline.FieldDisplayName))
			}
			return nil
		})
		if err != nil || told == 0 {
			t.Errorf("%s: %d records, %v", c.name, told, err)
		}
		if all := strings.Join(said, "; "); (c.gap == "") != (all == "") || !strings.Contains(all, c.gap) {
			t.Errorf("%s: gaps %s", c.name, all)
		}
	}
}
