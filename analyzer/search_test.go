package analyzer

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/runtimes"
)

func TestSearchSigns(t *testing.T) {
	f := memfs.New()
	id := strings.Repeat("a", 64)
	for _, p := range []string{
		"srv/a/containers/" + id + "/config.v2.json", "srv/a/containers/" + strings.Repeat("b", 64) + "/config.v2.json",
		"srv/a/volumes/kind/_data/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
		"srv/a/overlay2/" + id + "/diff/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", // in a container
		"srv/c/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/x/overlay-layers/layers.json", // in a layer
		"home/kim/.store/libpod/bolt_state.db", "opt/s/overlay-images/images.json", "opt/s/overlay-layers/layers.json",
		"data/app/db.sql", "old/graph/x", "proc-layers/x",
		"srv/b/runc-overlayfs/containerdmeta.db", "srv/a/buildkit/containerdmeta.db",
	} {
		f.File(p, "")
	}
	want := []string{"buildkit /srv/b", "containerd /srv/a/volumes/kind/_data/lib/containerd", "docker /old", "docker /srv/a", "podman /", "podman /data/app", "podman /home/kim/.store", "podman /opt/s"}
	x, err := newIndex(f, f.Root(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*index{nil, x} {
		s := search(f, x)
		var got []string
		for _, h := range s.sorted() {
			p, _ := s.path(h.folder, func(evidence.Ino) (string, bool) { return "", false })
			got = append(got, string(h.kind)+" "+p)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("with an index %v: got  %q\nwant %q", x != nil, got, want)
		}
	}
}

// TestSearchStores moves a real containerd's databases to where nothing names
// them, and finds them in a folder and, where mkfs is, on a filesystem.
func TestSearchStores(t *testing.T) {
	from, err := Open(t.Context(), fixtures.Disk(t, "eks-xfs"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	dir := t.TempDir()
	const root = "/var/lib/containerd/"
	at := "/srv/docker/volumes/kind/_data/lib/containerd/"
	for _, name := range []string{"io.containerd.metadata.v1.bolt/meta.db", "io.containerd.snapshotter.v1.overlayfs/metadata.db"} {
		b, err := evidence.ReadFile(from.Tree, from.Tree.Root(), root+name, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, at, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.MkdirAll(filepath.Join(dir, "etc"), 0o755)
	os.MkdirAll(filepath.Join(dir, "usr/lib"), 0o755)
	os.WriteFile(filepath.Join(dir, "etc/os-release"), []byte("ID=x\n"), 0o644)
	disk := filepath.Join(t.TempDir(), "x.img")
	paths := []string{dir}
	if out, err := exec.Command("mkfs.ext4", "-q", "-d", dir, disk, "32M").CombinedOutput(); err == nil {
		paths = append(paths, disk)
	} else if needs.All() {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	for _, path := range paths {
		n, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Stores) != 1 || n.Stores[0].Runtime() != runtimes.Containerd || n.Stores[0].Found != FoundSearch || n.Stores[0].Path()+"/" != at {
			t.Errorf("%s: %d stores: %+v", path, len(n.Stores), n.Stores)
		} else if len(n.Containers()) != len(from.Containers()) {
			t.Errorf("%s: %d containers", path, len(n.Containers()))
		}
		n.Close()
		n, err = Open(t.Context(), path, Options{NoScan: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Stores) != 0 {
			t.Errorf("%s: found without a search: %+v", path, n.Stores)
		}
		n.Close()
	}
}
