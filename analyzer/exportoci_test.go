package analyzer

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/internal/needs"
	"lagan/layers"
	"lagan/overlay"
)

// TestExportOCI unpacks exported images with the reader of layers, and compares
// what comes out with the merged view.
func TestExportOCI(t *testing.T) {
	needs.Time(t)
	for _, tc := range []struct {
		disk, name string
		exact      int // layers that keep their digests
		init       bool
	}{
		{"docker-ext4", "tomcat-prod", 5, true},
		{"docker-ext4", "feat", 6, true},
		{"docker-ext4", "@image:shop:1.0", 12, false},
		{"podman-ext4", "@image:docker.io/library/features:1", 6, false},
		{"eks-xfs", "default/web-7c5ddbdf54-x2k9q/nginx", 8, false},
		{"eks-xfs", "@image:docker.io/library/features:1", 2, false},
	} {
		t.Run(tc.disk+" "+strings.ReplaceAll(tc.name, "/", "_"), func(t *testing.T) {
			n := openFixture(t, tc.disk, Options{})
			view, err := n.FindTree(tc.name)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "oci")
			if err := n.ExportOCI(t.Context(), view, dir, ExportOptions{}); err != nil {
				t.Fatal(err)
			}
			image, diffs := unpackOCI(t, dir)
			var promised []string
			for _, i := range n.Images() {
				if i == view.Image || view.Container != nil && i.made(view.Container) {
					promised = i.Layers
				}
			}
			exact := 0
			for k, d := range promised {
				if diffs[k] == d {
					exact++
				}
			}
			if exact != tc.exact {
				t.Errorf("%d layers keep their digests, not %d", exact, tc.exact)
			}
			if view.Container != nil && len(diffs) != len(promised)+1 {
				t.Errorf("%d layers of an image of %d", len(diffs), len(promised))
			}
			want, got := viewLines(t, n, view), viewLines(t, n, image)
			missing := 0
			for path, line := range want {
				if tc.init && (path == "/dev" || path == "/etc") {
					continue // Docker's own layer changes their times
				}
				if got[path] != line && !(tc.init && got[path] == "") {
					t.Errorf("%s:\n got %s\nwant %s", path, got[path], line)
				}
				if got[path] == "" {
					missing++ // of Docker's own layer, which no image has
				}
			}
			if missing > 10 || len(got)+missing != len(want) {
				t.Errorf("%d files, %d are missing of %d", len(got), missing, len(want))
			}
			noGaps(t, n)
		})
	}
}

// TestExportPulled: layers that were pulled file by file keep their digests where
// there is a tar-split, although their folders lack times that the tars have.
func TestExportPulled(t *testing.T) {
	for disk, exact := range map[string]int{"podman-chunked": 0, "podman-chunked5": 3} {
		n := openFixture(t, disk, Options{})
		view, err := n.FindTree("@image:docker.io/library/web:1")
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "oci")
		if err := n.ExportOCI(t.Context(), view, dir, ExportOptions{}); err != nil {
			t.Fatal(err)
		}
		kept := 0
		_, diffs := unpackOCI(t, dir)
		for k, d := range view.Image.Layers {
			if diffs[k] == d {
				kept++
			}
		}
		if kept != exact || len(diffs) != 3 {
			t.Errorf("%s: %d of %d layers keep their digests, not %d", disk, kept, len(diffs), exact)
		}
		noGaps(t, n)
	}
}

// unpackOCI reads a layout as its one image's tree.
func unpackOCI(t *testing.T, dir string) (*Tree, []string) {
	t.Helper()
	blob := func(digest string) string { return filepath.Join(dir, "blobs", strings.ReplaceAll(digest, ":", "/")) }
	document := func(path string, v any) {
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var index struct{ Manifests []struct{ Digest string } }
	document(filepath.Join(dir, "index.json"), &index)
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct {
			Digest string
			Size   int64
		}
	}
	document(blob(index.Manifests[0].Digest), &manifest)
	var config struct {
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
		History []struct {
			Empty bool `json:"empty_layer"`
		}
	}
	document(blob(manifest.Config.Digest), &config)
	steps := 0
	for _, h := range config.History {
		if !h.Empty {
			steps++
		}
	}
	if steps != len(manifest.Layers) || len(config.Rootfs.DiffIDs) != steps {
		t.Errorf("%d steps, %d diff ids, %d layers", steps, len(config.Rootfs.DiffIDs), len(manifest.Layers))
	}
	var all []overlay.Layer
	for k, l := range manifest.Layers {
		f, err := os.Open(blob(l.Digest))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		want, err := layers.ParseDigest(l.Digest)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := os.Create(filepath.Join(t.TempDir(), "layer"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { plain.Close() })
		sums, err := layers.ReadBlob(f, want, -1, func(r io.Reader) error { _, err := io.Copy(plain, r); return err })
		if err != nil || sums.Digest != want || sums.Size != l.Size || sums.DiffID.String() != config.Rootfs.DiffIDs[k] {
			t.Fatalf("layer %d: %v %+v", k, err, sums)
		}
		tree, err := layers.OpenTar(plain, sums.Unpacked, layers.TarOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, overlay.Layer{FS: tree, Root: tree.Root()})
	}
	slices.Reverse(all)
	fsys, err := overlay.Merge(all, overlay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &Tree{FS: fsys, Name: "exported"}, config.Rootfs.DiffIDs
}

// TestExportOCITools has skopeo and podman take an exported image.
func TestExportOCITools(t *testing.T) {
	n := openFixture(t, "docker-ext4", Options{TempDir: t.TempDir()})
	view, err := n.FindTree("feat")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	oci, archive := filepath.Join(dir, "oci"), filepath.Join(dir, "oci.tar")
	if err := n.ExportOCI(t.Context(), view, oci, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := n.ExportOCIArchive(t.Context(), view, f, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Run("skopeo", func(t *testing.T) {
		tool(t, "skopeo", "copy", "--insecure-policy", "-q", "oci:"+oci, "docker-archive:"+filepath.Join(dir, "docker.tar")+":feat:1")
		tool(t, "skopeo", "copy", "--insecure-policy", "-q", "oci-archive:"+archive, "dir:"+filepath.Join(dir, "dir"))
	})
	t.Run("podman", func(t *testing.T) {
		if _, err := exec.LookPath("podman"); err != nil || os.Getuid() != 0 {
			t.Skip("podman is missing, or root")
		}
		at := []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
		tool(t, "podman", append(at, "load", "-q", "-i", archive)...)
		out, err := exec.Command("podman", append(at, "images", "--format", "{{.Repository}}")...).Output()
		if err != nil || strings.TrimSpace(string(out)) != "localhost/lagan/feat" {
			t.Errorf("podman images: %v %s", err, out)
		}
	})
}
