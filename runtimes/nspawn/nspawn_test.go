package nspawn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence/memfs"
	"lagan/runtimes"
)

const settings = `# made for a test
[Exec]
Boot=yes
Parameters=/usr/bin/app --serve \
  --port 80
Environment=A=1 "B=2"
Hostname=shop
Capability=CAP_NET_ADMIN CAP_SYS_ADMIN
[Files]
Bind=/srv/data:/data:rbind
BindReadOnly=/etc/ssl
TemporaryFileSystem=/tmp:mode=1777
[Network]
VirtualEthernet=no
Port=udp:5353
Port=8080:80
Port=nonsense
`

func machines(t *testing.T, tree *memfs.FS) []runtimes.Container {
	t.Helper()
	roots, err := Roots(tree, tree.Root())
	if err != nil || !slices.Equal(roots, []string{machinesDir}) {
		t.Fatalf("roots %q, %v", roots, err)
	}
	s, err := Open(tree, tree.Root(), roots[0])
	if err != nil {
		t.Fatal(err)
	}
	var out []runtimes.Container
	for c, err := range s.Containers() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func TestMachines(t *testing.T) {
	tree := memfs.New()
	born := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	tree.Dir("/var/lib/machines/web").Info.Btime = born
	tree.File("/var/lib/machines/web/etc/os-release", "ID=debian\n")
	tree.File("/var/lib/machines/db.raw", "no disk")
	tree.File("/var/lib/machines/web.nspawn", "[Exec]\nHostname=weaker\n")
	tree.File("/var/lib/machines/notes.txt", "x")
	tree.Dir("/var/lib/machines/.#machine.lck")
	tree.File("/etc/systemd/nspawn/web.nspawn", settings)
	tree.File("/etc/systemd/system/machines.target.wants/systemd-nspawn@web.service", "")
	tree.File("/run/systemd/machines/web", "STATE=running\n")
	got := machines(t, tree)
	if len(got) != 2 || got[0].Name != "db" || got[1].Name != "web" {
		t.Fatalf("%+v", got)
	}
	db, web := got[0], got[1]
	if !db.Rootfs.Upper.Image || db.Rootfs.Upper.Dir != "/var/lib/machines/db.raw" || db.State != runtimes.StateExited {
		t.Errorf("%+v", db)
	}
	if web.Rootfs.Kind != runtimes.RootfsBind || web.Rootfs.Upper.Image || web.Rootfs.Upper.Dir != "/var/lib/machines/web" || web.State != runtimes.StateRunning ||
		!web.Created.Equal(born) || web.Hostname != "shop" || !web.Privileged || !web.HostNetwork || web.Annotations["starts"] == "" {
		t.Errorf("%+v", web)
	}
	said := fmt.Sprint(web.Command, web.Env, web.Mounts, web.Ports)
	want := "[/usr/bin/app --serve --port 80] [A=1 B=2] [{bind  /srv/data /data false rbind} {bind  /etc/ssl /etc/ssl true } {tmpfs   /tmp false mode=1777}] [{ 5353 5353 udp} { 8080 80 tcp}]"
	if said != want {
		t.Errorf("got  %s\nwant %s", said, want)
	}
	if !strings.Contains(string(web.Records["/etc/systemd/nspawn/web.nspawn"]), "made for a test") {
		t.Errorf("records %q", web.Records)
	}
}

func TestNoMachines(t *testing.T) {
	tree := memfs.New()
	tree.Dir("/var/lib/machines")
	if roots, err := Roots(tree, tree.Root()); len(roots) != 0 || err != nil {
		t.Errorf("%q, %v", roots, err)
	}
	if _, err := Open(tree, tree.Root(), "/none"); err == nil {
		t.Error("opened what isn't there")
	}
}

func FuzzSettings(f *testing.F) {
	f.Add(settings)
	f.Fuzz(func(t *testing.T, s string) {
		var c runtimes.Container
		apply(&c, s)
		if len(c.Mounts) > 2*maxSettings || len(c.Env) > maxSettings || len(c.Ports) > maxSettings {
			t.Error("no bound")
		}
	})
}
