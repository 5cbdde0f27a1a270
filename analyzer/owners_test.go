package analyzer

import (
	"testing"

	"lagan/evidence/memfs"
	"lagan/runtimes"
)

// rootedStore is a Store of which only the data root is asked for.
type rootedStore struct {
	runtimes.Store
	path string
}

func (s rootedStore) Path() string { return s.path }

func TestOwners(t *testing.T) {
	f := memfs.New()
	f.File("etc/passwd", "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
	f.File("etc/subuid", "bob:1:1\nann:100000:65536\nbroken\nann:-1:5\n1000:300000:10\n")
	f.File("etc/subgid", "ann:200000:65536\n")
	d := f.Dir("layer")
	d.Info.UID, d.Info.GID = 1000, 1001
	rootless := ownersOf(Store{Store: rootedStore{path: "/home/ann/.local/share/docker"}, Tree: f}, d.Ino, true)
	remapped := ownersOf(Store{Store: rootedStore{path: "/var/lib/docker/165536.231072"}, Tree: f}, d.Ino, false)
	for _, c := range []struct {
		o        *owners
		id       uint32
		uid, gid uint32
		okUID    bool
		okGID    bool
	}{
		{rootless, 0, 1000, 1001, true, true},
		{rootless, 1, 100000, 200000, true, true},
		{rootless, 65536, 165535, 265535, true, true},
		{rootless, 65537, 300000, 0, true, false},
		{rootless, 4294967295, 0, 0, false, false},
		{remapped, 0, 165536, 231072, true, true},
		{remapped, 33, 165569, 231105, true, true},
		{remapped, 65536, 0, 0, false, false},
	} {
		uid, okUID := c.o.uid(c.id)
		gid, okGID := c.o.gid(c.id)
		if uid != c.uid || gid != c.gid || okUID != c.okUID || okGID != c.okGID {
			t.Errorf("%d: %d %v, %d %v", c.id, uid, okUID, gid, okGID)
		}
	}
	if o := ownersOf(Store{Store: rootedStore{path: "/var/lib/docker"}, Tree: f}, d.Ino, false); o != nil {
		t.Errorf("%+v", o)
	}
}
