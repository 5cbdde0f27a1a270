package analyzer

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
)

// TestBare has copies of data roots, and of folders above them: each is shown
// where the node had it.
func TestBare(t *testing.T) {
	docker := func(at string) *memfs.FS {
		f := memfs.New()
		f.Dir(at + "image/overlay2/layerdb")
		f.Dir(at + "containers")
		return f
	}
	storage, containerd, vfs, user := memfs.New(), memfs.New(), memfs.New(), docker("")
	storage.Dir("storage/overlay-layers")
	containerd.Dir("io.containerd.metadata.v1.bolt")
	for _, d := range []string{"containers", "image", "network", "volumes"} {
		vfs.Dir("docker/" + d)
	}
	user.Dir("").Info.UID = 1000
	for _, c := range []struct {
		name  string
		fsys  *memfs.FS
		opts  Options
		where string
	}{
		{"docker", docker(""), Options{}, "/var/lib/docker"},
		{"the folder above docker", docker("docker/"), Options{}, "/var/lib"},
		{"/var", docker("lib/docker/"), Options{}, "/var"},
		{"docker with another driver", vfs, Options{}, "/var/lib"},
		{"containers", storage, Options{}, "/var/lib/containers"},
		{"containerd", containerd, Options{}, "/var/lib/containerd"},
		{"a user's docker", user, Options{}, "/"},
		{"another place, by the user", docker(""), Options{Mounts: []MountOption{{Volume: 1, Path: "/srv/docker"}}}, "/srv/docker"},
		{"left alone, by the user", docker(""), Options{Mounts: []MountOption{{Volume: 1, Path: "/"}}}, "/"},
		{"named as it is", docker(""), Options{DataRoots: []DataRoot{{"docker", "/"}}}, "/"},
		{"something else", memfs.New(), Options{}, "/"},
	} {
		n := nodeOf(t, c.opts, c.fsys)
		if got := n.Volumes[0].MountPoint; got != c.where || len(n.Gaps()) > 0 {
			t.Errorf("%s: mounted at %s, want %s; %v", c.name, got, c.where, n.Gaps())
		}
	}
}

// TestWrapped has archives of a root and of a data root with folders above them
// that the node didn't have.
func TestWrapped(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string // of the first name, in the node's tree
	}{
		{[]string{"mnt/case/etc/os-release", "mnt/case/var/x"}, "/etc/os-release"},
		{[]string{"mnt/case/docker/image/overlay2/layerdb/x", "mnt/case/docker/containers/x"}, "/var/lib/docker/image/overlay2/layerdb/x"},
		{[]string{"a/b/c", "a/d"}, "/a/b/c"},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range c.names {
			if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		path := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Tree.Stat(mustResolve(t, n, c.want)); err != nil || n.Evidence[0].Format != "tar" {
			t.Errorf("%q: %v, format %s", c.names, err, n.Evidence[0].Format)
		}
		n.Close()
	}
}

func mustResolve(t *testing.T, n *Node, path string) evidence.Ino {
	t.Helper()
	ino, err := evidence.Resolve(n.Tree, n.Tree.Root(), path, false)
	if err != nil {
		t.Error(err)
		return n.Tree.Root()
	}
	return ino
}
