package analyzer

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
	"lagan/runtimes"
)

// TestImageLayers merges an EROFS layer and an upper folder in an ext4 image, as
// containerd's snapshotter erofs keeps them, and reads a whole tree in an image, as blockfile does.
func TestImageLayers(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"low/etc/a": "1", "low/etc/b": "1", "up/upper/etc/b": "22", "up/work/x": "", "s/7/keep": "", "s/8/keep": ""} {
		p := filepath.Join(dir, "src", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	node := filepath.Join(dir, "node")
	os.MkdirAll(node, 0o755)
	for _, c := range [][]string{
		{"mkfs.erofs", "--quiet", node + "/layer.erofs", dir + "/src/low"},
		{"mkfs.ext4", "-q", "-d", dir + "/src/up", node + "/rwlayer.img", "8M"},
	} {
		if out, err := exec.Command(needs.Tool(t, c[0]), c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c[0], err, out)
		}
	}
	os.WriteFile(node+"/broken", make([]byte, 1<<20), 0o644)
	n, err := Open(t.Context(), node, Options{NoScan: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s := Store{Tree: n.Volumes[0].FS}
	upper := runtimes.Layer{Dir: "/rwlayer.img", Image: true, Inside: "upper"}
	lower := runtimes.Layer{Dir: "/layer.erofs", Image: true}
	for _, c := range []struct {
		kind runtimes.RootfsKind
		all  []runtimes.Layer
		want []string
	}{
		{runtimes.RootfsOverlay, []runtimes.Layer{upper, lower}, []string{"etc", "etc/a", "etc/b"}},
		{runtimes.RootfsBind, []runtimes.Layer{lower}, []string{"etc", "etc/a", "etc/b"}},
		{runtimes.RootfsBind, []runtimes.Layer{upper}, []string{"etc", "etc/b"}},
		{runtimes.RootfsOverlay, []runtimes.Layer{upper, {Dir: "/broken", Image: true}, lower}, []string{"etc", "etc/a", "etc/b"}},
	} {
		fsys, _, err := n.stack(s, "x", runtimes.Rootfs{Kind: c.kind}, c.all, true)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = evidence.Walk(fsys, fsys.Root(), func(p string, _ evidence.Entry, info evidence.Info, err error) error {
			if p != "" {
				got = append(got, p)
			}
			if p == "etc/b" && (info.Size == 2) != (c.all[0] == upper) {
				t.Errorf("etc/b has %d bytes", info.Size)
			}
			return err
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, %v; want %q", c.all, got, err, c.want)
		}
	}
	if gaps := n.Gaps(); len(gaps) != 1 {
		t.Errorf("gaps: %v", gaps)
	}
	if _, _, err := n.stack(s, "x", runtimes.Rootfs{Kind: runtimes.RootfsBind}, []runtimes.Layer{{Dir: "/broken", Image: true}}, false); err == nil {
		t.Error("an image of nothing was opened")
	}
}
