package analyzer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// TestVerifyTamperedDisk has the kernel change copies of the fixtures as an
// attacker on the node would, all changes at once, and takes exactly these to be
// named.
func TestVerifyTamperedDisk(t *testing.T) {
	needs.Time(t)
	needs.Root(t, "mounting a copy of a disk")
	for name, proven := range map[string]int{"docker-ext4": 6, "podman-ext4": 6, "eks-xfs": 2} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			disk, mnt := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
			tool(t, "cp", "--sparse=always", fixtures.Disk(t, name), disk)
			tool(t, "chmod", "u+w", disk)
			n := openFixture(t, name, Options{})
			at := n.Volumes[slices.IndexFunc(n.Volumes, func(v *Volume) bool { return v.MountPoint == "/" })]
			if err := os.Mkdir(mnt, 0o700); err != nil {
				t.Fatal(err)
			}
			tool(t, "mount", "-o", fmt.Sprintf("loop,offset=%d,sizelimit=%d", at.Start, at.Size), disk, mnt)
			mounted := true
			umount := func() {
				if mounted {
					mounted = false
					tool(t, "umount", mnt)
				}
			}
			defer umount()
			i, err := n.FindImage("features:1")
			if err != nil {
				t.Fatal(err)
			}
			a := &attacker{t: t, root: mnt}
			for k := range proven {
				a.layers = append(a.layers, i.Rootfs.Lower[len(i.Rootfs.Lower)-1-k].Dir)
			}
			a.change()
			if proven > 2 {
				a.flip(i.Rootfs.Lower[3].TarSplit)
			}
			umount()
			compareFindings(t, disk, a.want)
		})
	}
}

func compareFindings(t *testing.T, disk string, want []string) {
	t.Helper()
	n, err := Open(context.Background(), disk, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var have []string
	for _, v := range verdicts(t, n, "features:1") {
		if v.Finding() && v.Check != CheckImage {
			have = append(have, strings.TrimSpace(fmt.Sprintf("%s %s%s %s", v.Result, v.Object, v.Path, v.Field)))
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(needs.Tool(t, name), args...).CombinedOutput()
	switch {
	case err == nil:
	case name == "umount":
		t.Fatalf("%s: %v: %s", name, err, out)
	default:
		needs.Lack(t, "%s: %v: %s", name, err, out)
	}
}

// attacker changes layers of a mounted disk and notes what is to be found.
type attacker struct {
	t      *testing.T
	root   string
	layers []string // from below
	want   []string
}

// at returns a path of the k-th layer on this machine, and notes that result and field are to be found there.
func (a *attacker) at(k int, path, result, field string) string {
	a.want = append(a.want, strings.TrimSpace(fmt.Sprintf("%s %s%s %s", result, a.layers[k], path, field)))
	return a.root + a.layers[k] + path
}

func (a *attacker) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// keepTime runs what changes a file and sets its time of modification back.
func (a *attacker) keepTime(path string, change func() error) {
	a.t.Helper()
	var before unix.Stat_t
	a.must(unix.Lstat(path, &before))
	a.must(change())
	a.must(unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{before.Atim, before.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

func (a *attacker) flip(path string) {
	a.t.Helper()
	a.want = append(a.want, "changed "+path)
	a.flipAt(a.root+path, 100)
}

func (a *attacker) flipAt(path string, at int64) {
	a.t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	a.must(err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	a.must(err)
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	a.must(err)
}

func (a *attacker) change() {
	p := a.at(0, "/bin/busybox", "changed", "content")
	a.keepTime(p, func() error { a.flipAt(p, 700_000); return nil })
	p = a.at(0, "/etc/passwd", "changed", "content")
	a.keepTime(p, func() error {
		b, err := os.ReadFile(p)
		a.must(err)
		return os.WriteFile(p, []byte(strings.Repeat("x", len(b))), 0)
	})
	p = a.at(0, "/etc/group", "changed", "size")
	a.keepTime(p, func() error { return os.WriteFile(p, []byte("wheel:x:0:evil\n"), 0) })
	a.must(unix.Chmod(a.at(0, "/bin/bash", "changed", "mode"), 0o4755))
	a.must(os.Lchown(a.at(0, "/etc/shadow", "changed", "owner"), 1000, 0))
	a.must(os.Chtimes(a.at(0, "/etc/os-release", "changed", "mtime"), time.Now(), time.Unix(1_700_000_000, 0)))
	a.must(os.Chtimes(a.at(0, "/etc/skel", "changed", "mtime"), time.Now(), time.Unix(1_700_000_000, 0)))
	a.must(os.WriteFile(a.at(0, "/etc/ld.so.preload", "added", "file"), []byte("/lib/evil.so"), 0o644))
	a.must(os.Mkdir(a.at(0, "/opt/.x", "added", "dir"), 0o755))
	a.must(os.WriteFile(a.at(0, "/opt/.x/y", "added", "file"), nil, 0o644))
	a.must(os.Remove(a.at(0, "/etc/debian_version", "missing", "file")))
	a.must(unix.Setxattr(a.at(0, "/root/.bashrc", "changed", "xattr user.x"), "user.x", []byte("y"), 0))
	a.must(unix.Mknod(a.at(0, "/home/gone", "added", "whiteout"), unix.S_IFCHR, 0))
	p = a.at(1, "/bin/cat", "changed", "target")
	a.keepTime(p, func() error {
		a.must(os.Remove(p))
		return os.Symlink("/tmp/evil", p)
	})
	p = a.at(1, "/bin/ash", "changed", "type")
	a.must(os.Remove(p))
	a.must(os.WriteFile(p, []byte("x"), 0o755))
	a.must(unix.Setxattr(a.at(1, "/bin", "changed", "opaque"), "trusted.overlay.opaque", []byte("y"), 0))
	if len(a.layers) > 2 {
		a.changeMarks()
	}
}

// changeMarks changes layers that have links and whiteouts.
func (a *attacker) changeMarks() {
	p := a.at(3, "/f/hard2", "changed", "link")
	a.keepTime(p, func() error {
		b, err := os.ReadFile(p)
		a.must(err)
		a.must(os.Remove(p))
		return os.WriteFile(p, b, 0o644)
	})
	a.must(os.Remove(a.at(3, "/f/fifo", "missing", "fifo")))
	a.must(unix.Chmod(a.at(3, "/f/latin1-\xe9\xe8", "changed", "mode"), 0o600))
	a.must(os.Remove(a.at(4, "/f/gone", "missing", "whiteout")))
	a.must(unix.Removexattr(a.at(4, "/f/opq", "changed", "opaque"), "trusted.overlay.opaque"))
	a.must(os.Rename(a.at(5, "/f/renamed", "missing", "file"), a.at(5, "/f/renamed-again", "added", "file")))
}
