package btrfs

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
)

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// described is how both sides of a comparison tell of an inode.
type described struct {
	what  string // all but times
	times [3]string
	dir   bool
}

func describeInode(i evidence.Info, detail string, xattrs map[string][]byte) described {
	var x strings.Builder
	for _, k := range slices.Sorted(maps.Keys(xattrs)) {
		fmt.Fprintf(&x, " %q=%x", k, sha256.Sum256(xattrs[k]))
	}
	d := described{dir: i.Type == evidence.TypeDir}
	d.what = fmt.Sprintf("%s %04o %d:%d links %d inode %d size %d %s%s", i.Type, i.Perm, i.UID, i.GID, i.Nlink, i.Inode, i.Size, detail, x.String())
	d.times = [3]string{stamp(i.Mtime), stamp(i.Ctime), stamp(i.Btime)}
	return d
}

// readAll describes every path of f, and compares what the scan says of it.
func readAll(t testing.TB, f *FS) map[string]described {
	t.Helper()
	scanned := map[evidence.Ino]evidence.Inode{}
	var dirs []evidence.Ino
	for i, err := range f.Inodes() {
		if err != nil {
			t.Errorf("scan: %v", err)
			continue
		}
		if _, twice := scanned[i.Ino]; twice {
			t.Errorf("scan: inode %#x twice", i.Ino)
		}
		scanned[i.Ino] = i
		if i.Info.Type == evidence.TypeDir {
			dirs = append(dirs, i.Ino)
		}
	}
	entries := map[evidence.Ino]map[string]evidence.Ino{}
	for e, err := range f.Entries(dirs) {
		if err != nil {
			t.Errorf("scan: %v", err)
			continue
		}
		if entries[e.Dir] == nil {
			entries[e.Dir] = map[string]evidence.Ino{}
		}
		entries[e.Dir][e.Name] = e.Ino
	}
	out := map[string]described{}
	met := map[evidence.Ino]bool{}
	err := evidence.Walk(f, f.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			t.Errorf("%q: %v", path, err)
			return nil
		}
		met[e.Ino] = true
		xattrs, err := f.Xattrs(e.Ino)
		if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		s := scanned[e.Ino]
		if s.Info != info || !slices.Equal(s.Xattrs, slices.Sorted(maps.Keys(xattrs))) {
			t.Errorf("%q: scan says %+v, stat %+v", path, s.Info, info)
		}
		detail := ""
		switch info.Type {
		case evidence.TypeSymlink:
			target, err := f.ReadLink(e.Ino)
			if err != nil || s.Target != target {
				t.Errorf("%q: target %q, %v, scan says %q", path, target, err, s.Target)
			}
			detail = fmt.Sprintf("-> %q", target)
		case evidence.TypeChar, evidence.TypeBlock:
			detail = fmt.Sprintf("%d:%d", info.Major, info.Minor)
		case evidence.TypeFile:
			b, err := evidence.ReadInode(f, e.Ino, 1<<30)
			if err != nil {
				t.Errorf("%q: %v", path, err)
			}
			detail = fmt.Sprintf("%x", sha256.Sum256(b))
		case evidence.TypeDir:
			for n, err := range f.ReadDir(e.Ino) {
				if ino, ok := entries[e.Ino][n.Name]; err != nil || !ok || ino != n.Ino {
					t.Errorf("%q: entry %q is %#x, %v, scan says %#x", path, n.Name, n.Ino, err, ino)
				}
				if l, err := f.Lookup(e.Ino, n.Name); err != nil || l != n {
					t.Errorf("%q: lookup of %q: %+v, %v", path, n.Name, l, err)
				}
			}
		}
		out[path] = describeInode(info, detail, xattrs)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for ino := range met {
		if _, ok := scanned[ino]; !ok {
			t.Errorf("inode %#x is met, not scanned", ino)
		}
	}
	return out
}

// unnamed returns the inodes that have links and that no path leads to: there
// are none, but for what the kernel's own replay of a log forgets.
func unnamed(f *FS) []evidence.Ino {
	met := map[evidence.Ino]bool{}
	evidence.Walk(f, f.Root(), func(_ string, e evidence.Entry, _ evidence.Info, _ error) error {
		met[e.Ino] = true
		return nil
	})
	var out []evidence.Ino
	for i := range f.Inodes() {
		if i.Ino != 0 && !met[i.Ino] {
			out = append(out, i.Ino)
		}
	}
	return out
}

// truth describes what the kernel shows.
func truth(t testing.TB, top string) map[string]described {
	t.Helper()
	out := map[string]described{}
	err := filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		out[strings.TrimPrefix(strings.TrimPrefix(path, top), "/")] = truthOf(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func truthOf(t testing.TB, path string) described {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_ALL, &st); err != nil {
		t.Fatal(err)
	}
	when := func(s unix.StatxTimestamp) time.Time { return known(time.Unix(s.Sec, int64(s.Nsec)).UTC()) }
	i := evidence.Info{
		Inode: st.Ino, Type: evidence.TypeOfMode(st.Mode), Perm: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Nlink: st.Nlink, Size: int64(st.Size),
		Mtime: when(st.Mtime), Ctime: when(st.Ctime), Btime: when(st.Btime),
	}
	detail := ""
	switch i.Type {
	case evidence.TypeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		detail = fmt.Sprintf("-> %q", target)
	case evidence.TypeChar, evidence.TypeBlock:
		detail = fmt.Sprintf("%d:%d", st.Rdev_major, st.Rdev_minor)
	case evidence.TypeFile:
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		detail = fmt.Sprintf("%x", sha256.Sum256(b))
	}
	xattrs := map[string][]byte{}
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		n = 0
	}
	for _, k := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		if n, err := unix.Lgetxattr(path, k, value); k != "" && err == nil {
			xattrs[k] = value[:n]
		}
	}
	return describeInode(i, detail, xattrs)
}

// compare reports differences. Times from since on, if that is set, are those
// of the kernel's own replay.
func compare(t testing.TB, got, want map[string]described, since time.Time) {
	t.Helper()
	failed := 0
	for _, path := range slices.Sorted(maps.Keys(want)) {
		g, ok := got[path]
		w := want[path]
		for i := range w.times {
			if since.IsZero() || w.times[i] < stamp(since) {
				continue
			}
			w.times[i] = g.times[i]
		}
		if w.dir && !since.IsZero() {
			w.times = g.times
		}
		if strings.HasPrefix(w.what, "dir 0755 0:0 links 1 inode 2 size 0") {
			w.times = g.times // made up by the kernel when it is looked at
		}
		if !ok || g != w {
			if failed++; failed < 10 {
				t.Errorf("%q:\nread   %+v\nkernel %+v", path, g, w)
			}
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			if failed++; failed < 10 {
				t.Errorf("%q is not there", path)
			}
		}
	}
}
