package analyzer

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/evidence/hostdir"
	"lagan/internal/needs"
)

// TestExportExtracted has GNU tar extract containers' tars as root, and compares
// what the kernel then says of every file with the merged view.
func TestExportExtracted(t *testing.T) {
	needs.Root(t, "making owners and devices")
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !bytes.Contains(out, []byte("GNU tar")) {
		needs.Lack(t, "GNU tar is missing")
	}
	n := openFixture(t, "docker-ext4", Options{})
	compared, linked := 0, 0
	for _, name := range []string{"tomcat-prod", "web-front", "@image:tomcat:8.5.19"} {
		view, err := n.FindTree(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		extract(t, n, view, dir)
		inodes := make(map[uint64]uint64) // the view's, by the kernel's
		err = n.List(context.Background(), view, "/", ListOptions{Recursive: true}, func(f File) error {
			if f.Path == "/" || f.Info.Type == evidence.TypeSocket {
				return nil
			}
			got, ino := extracted(t, filepath.Join(dir, f.Path))
			if want := statLine(&f); got != want {
				t.Errorf("%s %s:\n got %s\nwant %s", name, f.Path, got, want)
			}
			if f.Info.Type == evidence.TypeFile && f.Info.Nlink > 1 {
				if old, ok := inodes[ino]; ok {
					if linked++; old != f.Info.Inode {
						t.Errorf("%s is linked to another file", f.Path)
					}
				}
				inodes[ino] = f.Info.Inode
			}
			compared++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if compared < 500 || linked == 0 {
		t.Fatalf("only %d files and %d hard links were compared", compared, linked)
	}
	t.Logf("%d files, %d hard links", compared, linked)
}

func extract(t *testing.T, n *Node, view *Tree, dir string) {
	t.Helper()
	var b bytes.Buffer
	if err := n.ExportTar(context.Background(), view, &b, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-", "-C", dir)
	cmd.Stdin = &b
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("tar: %v: %s", err, out)
	}
}

// statLine is what stat and listxattr must say of an extracted file.
func statLine(f *File) string {
	size := f.Info.Size
	if f.Info.Type != evidence.TypeFile {
		size = 0
	}
	caps := string(f.Xattrs["security.capability"])
	return fmt.Sprintf("%s %04o %d:%d %d %d %q %d:%d %x", f.Info.Type, f.Info.Perm, f.Info.UID, f.Info.GID, size, f.Info.Mtime.UnixNano(),
		f.Target, f.Info.Major, f.Info.Minor, caps)
}

func extracted(t *testing.T, path string) (line string, ino uint64) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("%s: %v", path, err)
		return "", 0
	}
	typ, target, size, major, minor := evidence.TypeOfMode(uint16(st.Mode)), "", int64(0), uint32(0), uint32(0)
	switch typ {
	case evidence.TypeFile:
		size = st.Size
	case evidence.TypeSymlink:
		target, _ = os.Readlink(path)
	case evidence.TypeChar, evidence.TypeBlock:
		major, minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	caps := make([]byte, 64)
	got, err := unix.Lgetxattr(path, "security.capability", caps)
	if err != nil {
		if err != syscall.ENODATA && !strings.Contains(err.Error(), "not supported") {
			t.Error(err)
		}
		got = 0
	}
	return fmt.Sprintf("%s %04o %d:%d %d %d %q %d:%d %x", typ, st.Mode&0o7777, st.Uid, st.Gid, size, unix.TimespecToNsec(st.Mtim),
		target, major, minor, caps[:got]), st.Ino
}

// TestExportRawMounted has e2fsck check raw exports and the kernel mount them, and
// compares what it shows with the merged views.
func TestExportRawMounted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	compared := 0
	for _, tc := range [][2]string{
		{"docker-ext4", "tomcat-prod"}, {"docker-ext4", "feat"}, {"docker-ext4", "@image:shop:1.0"},
		{"podman-ext4", "@image:docker.io/library/features:1"}, {"eks-xfs", "default/web-7c5ddbdf54-x2k9q/nginx"},
	} {
		n := openFixture(t, tc[0], Options{})
		view, err := n.FindTree(tc[1])
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		path, mnt := filepath.Join(dir, "raw.img"), filepath.Join(dir, "mnt")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.ExportRaw(t.Context(), view, f, ExportOptions{}); err != nil {
			t.Fatal(err)
		}
		f.Close()
		tool(t, "e2fsck", "-fn", path)
		if err := os.Mkdir(mnt, 0o700); err != nil {
			t.Fatal(err)
		}
		tool(t, "mount", "-o", "ro,loop", path, mnt)
		seen, err := hostdir.Open(mnt, evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want, got := rawLines(t, n, view), rawLines(t, n, &Tree{FS: seen})
		seen.Close()
		tool(t, "umount", mnt)
		for path, line := range want {
			if got[path] != line {
				t.Errorf("%s %s:\n got %s\nwant %s", tc[1], path, got[path], line)
			}
			compared++
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d files, not %d", tc[1], len(got), len(want))
		}
	}
	if compared < 1000 {
		t.Fatalf("only %d files were compared", compared)
	}
	t.Logf("%d files", compared)
}

// rawLines is all that an image keeps of a tree: beside what a tar has, the times
// of access, change and birth.
func rawLines(t *testing.T, n *Node, view *Tree) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := n.List(t.Context(), view, "/", ListOptions{Recursive: true, Hash: true}, func(f File) error {
		var x []string
		for _, k := range slices.Sorted(maps.Keys(f.Xattrs)) {
			x = append(x, fmt.Sprintf("%s=%x", k, f.Xattrs[k]))
		}
		i := &f.Info
		size := i.Size
		if i.Type != evidence.TypeFile {
			size = 0
		}
		out[f.Path] = fmt.Sprintf("%s %04o %d:%d %d %q %s %d:%d %d %d %d %d %s", i.Type, i.Perm, i.UID, i.GID, size, f.Target, f.SHA256, i.Major, i.Minor,
			i.Mtime.UnixNano(), i.Atime.UnixNano(), i.Ctime.UnixNano(), i.Btime.UnixNano(), x)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
