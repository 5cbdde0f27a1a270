package analyzer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestComposefs has a container of Podman's whose image's layers are EROFS
// images that lead to their contents by digest, as composefs lays them out.
func TestComposefs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("trusted attributes take root")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "node/var/lib/containers/storage")
	layer := func(id string, files map[string]string, deleted string) {
		src := filepath.Join(dir, id)
		for name, content := range files {
			object := fmt.Sprintf("%02x/%x", len(content), content)
			put(t, filepath.Join(root, "overlay", id, "diff", object), content)
			p := filepath.Join(src, name)
			put(t, p, "")
			attrs := map[string]string{"trusted.overlay.metacopy": "", "trusted.overlay.redirect": "/" + object}
			for k, v := range attrs {
				if err := unix.Setxattr(p, k, []byte(v), 0); err != nil {
					t.Skipf("setting %s: %v", k, err)
				}
			}
			if err := os.Truncate(p, int64(len(content))); err != nil {
				t.Fatal(err)
			}
		}
		if deleted != "" {
			if err := unix.Mknod(filepath.Join(src, deleted), unix.S_IFCHR, 0); err != nil {
				t.Skipf("making a whiteout: %v", err)
			}
		}
		blob := filepath.Join(root, "overlay", id, "composefs-data/composefs.blob")
		put(t, blob, "")
		if out, err := exec.Command("mkfs.erofs", "--quiet", blob, src).CombinedOutput(); err != nil {
			if os.Getenv("CI_REQUIRE_TOOLS") == "1" {
				t.Fatalf("mkfs.erofs: %v: %s", err, out)
			}
			t.Skipf("mkfs.erofs: %v: %s", err, out)
		}
	}
	layer("a1", map[string]string{"etc/low": "one", "etc/gone": "two"}, "")
	layer("b2", map[string]string{"etc/top": "three"}, "etc/gone")
	put(t, filepath.Join(root, "overlay/c3/diff/etc/new"), "four")
	put(t, filepath.Join(root, "overlay/c3/lower"), "l/BBBBBBBBBBBBBBBBBBBBBBBBBB:l/AAAAAAAAAAAAAAAAAAAAAAAAAA")
	for id, short := range map[string]string{"a1": "A", "b2": "B"} {
		put(t, filepath.Join(root, "overlay", id, "link"), strings.Repeat(short, 26))
	}
	put(t, filepath.Join(root, "overlay-layers/layers.json"), `[{"id":"a1"},{"id":"b2","parent":"a1"},{"id":"c3","parent":"b2"}]`)
	put(t, filepath.Join(root, "overlay-images/images.json"), `[{"id":"`+strings.Repeat("d", 64)+`","layer":"b2","names":["i:1"]}]`)
	put(t, filepath.Join(root, "overlay-containers/containers.json"), `[{"id":"`+strings.Repeat("e", 64)+`","names":["web"],"image":"`+strings.Repeat("d", 64)+`","layer":"c3"}]`)
	n, err := Open(t.Context(), filepath.Join(dir, "node"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if got := viewOf(t, n); got != "etc/low=one etc/new=four etc/top=three" {
		t.Errorf("container: %s; %v", got, n.Gaps())
	}
	image, err := n.ImageView(n.Images()[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := filesOf(t, image.FS, nil); got != "etc/low=one etc/top=three" {
		t.Errorf("image: %s; %v", got, n.Gaps())
	}
	if gaps := n.Gaps(); len(gaps) > 0 {
		t.Error(gaps)
	}
}
