package analyzer

import (
	"testing"

	"lagan/evidence/memfs"
	"lagan/runtimes"
)

func TestMovedRoot(t *testing.T) {
	for root, want := range map[string]moved{
		"/var/lib/containerd":       {},
		"/srv/ctrd":                 {},
		"/srv/containerd":           {},
		"/lib/containerd":           {"/var", "/"},
		"/local/var/lib/containerd": {"/", "/local"},
		"/mnt/old/var/lib/docker":   {"/", "/mnt/old"},
		"/var/lib/docker/volumes/x/_data/lib/containerd":  {"/var", "/var/lib/docker/volumes/x/_data"},
		"/data/rancher/k3s/agent/containerd":              {"/var/lib", "/data"},
		"/ostree/deploy/rhcos/var/lib/containers/storage": {"/", "/ostree/deploy/rhcos"},
	} {
		if got, ok := movedRoot(root); ok != (want != moved{}) || ok && got != want {
			t.Errorf("%s: %v, %v; want %v", root, got, ok, want)
		}
	}
}

// TestRelocate has a node within a node, as kind makes one: what its container
// names lies in a volume of Docker's.
func TestRelocate(t *testing.T) {
	const data = "/var/lib/docker/volumes/x/_data"
	f := memfs.New()
	f.File("var/lib/docker/volumes/x/_data/log/pods/p/c/0.log", "x")
	f.Dir("var/lib/docker/volumes/x/_data/lib/kubelet/pods/u/volumes/v")
	f.Dir("etc/ssl")
	c := runtimes.Container{LogPath: "/var/log/pods/p/c/0.log", Mounts: []runtimes.Mount{
		{Source: "/var/lib/kubelet/pods/u/volumes/v"}, {Source: "/etc/ssl"}, {Source: "/var/gone"}, {Source: "tmpfs"},
	}}
	relocate(Store{Store: rootOf{path: data + "/lib/containerd"}, Tree: f}, &c)
	got := c.LogPath
	for _, m := range c.Mounts {
		got += " " + m.Source
	}
	if want := data + "/log/pods/p/c/0.log " + data + "/lib/kubelet/pods/u/volumes/v /etc/ssl /var/gone tmpfs"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// rootOf is a store of which only its place is asked.
type rootOf struct {
	runtimes.Store
	path string
}

func (r rootOf) Path() string { return r.path }
