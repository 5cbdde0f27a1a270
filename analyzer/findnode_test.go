package analyzer

import (
	"testing"
	"time"

	"lagan/evidence"
)

// TestLate tells what came to a node after its first container from what was there before.
func TestLate(t *testing.T) {
	at := func(minutes int) time.Time { return time.Unix(1790000000, 0).Add(time.Duration(minutes) * time.Minute) }
	f := &finder{first: at(0)}
	for name, c := range map[string]struct {
		info evidence.Info
		want bool
	}{
		"born before":              {evidence.Info{Btime: at(-5), Mtime: at(-5), Ctime: at(30)}, false},
		"born after":               {evidence.Info{Btime: at(5), Mtime: at(-900), Ctime: at(5)}, true},
		"written after":            {evidence.Info{Btime: at(-5), Mtime: at(5), Ctime: at(5)}, true},
		"without a birth, before":  {evidence.Info{Mtime: at(-5), Ctime: at(-5)}, false},
		"without a birth, after":   {evidence.Info{Mtime: at(-5), Ctime: at(5)}, true},
		"with the first container": {evidence.Info{Btime: at(0), Mtime: at(0), Ctime: at(0)}, false},
	} {
		if got := f.late(&c.info); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	f.first = time.Time{}
	if f.late(&evidence.Info{Btime: at(5)}) {
		t.Error("late without any container")
	}
}

// TestWatched holds paths that rules ask for against what is looked at: candidate passes all that watched does.
func TestWatched(t *testing.T) {
	for _, p := range []string{
		"/etc/hosts", "/etc/containerd/config.toml", "/etc/modules", "/etc/modules-load.d/x.conf", "/usr/lib/modules-load.d/x.conf", "/usr/share/containers/oci/hooks.d/x.json", "/root/.bash_history",
		"/home/a/.zsh_history", "/usr/lib/x86_64-linux-gnu/security/pam_x.so", "/root/.ssh/authorized_keys", "/etc/rsyslog.d/a.conf", "/usr/lib/systemd/system-shutdown/x", "/etc/iptables/rules.v4",
		"/lib/modules/6.1/extra/x.ko", "/etc/kubernetes/manifests/a.yaml", "/var/www/html/a.php", "/var/spool/cron/root",
	} {
		if !watched(p, evidence.TypeFile, 0o644, nil) || !candidate([]byte(p), evidence.TypeFile, 0o644, nil) {
			t.Errorf("%s is not looked at", p)
		}
	}
	for _, p := range []string{"/usr/share/doc/x", "/var/lib/a", "/etc/fstab", "/home/a/notes.txt"} {
		if watched(p, evidence.TypeFile, 0o644, nil) {
			t.Errorf("%s is looked at", p)
		}
	}
}
