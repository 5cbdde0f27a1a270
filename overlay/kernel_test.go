//go:build linux

package overlay_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/internal/needs"
	"lagan/overlay"
)

var kernelRounds = flag.Int("overlay.rounds", 60, "random overlays to compare with the kernel's")
var kernelFirst = flag.Int("overlay.first", 0, "")

// TestKernel puts layers together at random, with marks that overlayfs would
// write and marks that it would not, mounts them, and compares. What the
// kernel refuses must be a problem of ours too, and the other way around.
func TestKernel(t *testing.T) {
	needs.Root(t, "mounting an overlay")
	top := t.TempDir()
	if err := unix.Mount("tmpfs", top, "tmpfs", 0, "size=64m"); err != nil {
		needs.Lack(t, "mounting tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(top, unix.MNT_DETACH) })
	for round := range *kernelRounds {
		if round < *kernelFirst {
			continue
		}
		dir := filepath.Join(top, fmt.Sprint(round))
		k := newKernelRound(t, rand.New(rand.NewPCG(1, uint64(round))), dir)
		bad := k.run()
		if len(bad) > 0 {
			t.Errorf("round %d, %s:\n  %s\nlayers:\n%s", round, k.options, strings.Join(bad[:min(len(bad), 6)], "\n  "), k.describe())
			return
		}
		os.RemoveAll(dir)
	}
}

type kernelRound struct {
	t       *testing.T
	rng     *rand.Rand
	dir     string
	layers  []string // top first
	upper   bool     // the first is an upper directory
	user    bool
	data    int
	options string
	bad     []string
	claims  map[evidence.Ino]map[evidence.Ino]bool
}

func newKernelRound(t *testing.T, rng *rand.Rand, dir string) *kernelRound {
	k := &kernelRound{t: t, rng: rng, dir: dir}
	k.user = rng.IntN(5) == 0
	k.upper = rng.IntN(2) == 0
	n := 2 + rng.IntN(4)
	if !k.user && !k.upper && rng.IntN(3) == 0 {
		k.data = 1 + rng.IntN(2)
	}
	for i := range n + k.data {
		layer := filepath.Join(dir, fmt.Sprintf("l%d", i))
		k.check(os.MkdirAll(layer, 0o755))
		k.layers = append(k.layers, layer)
		k.fill(layer, layer, 0, i)
	}
	k.check(os.MkdirAll(filepath.Join(dir, "merged"), 0o755))
	k.check(os.MkdirAll(filepath.Join(dir, "work"), 0o755))
	return k
}

func (k *kernelRound) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernelRound) pick(of ...string) string { return of[k.rng.IntN(len(of))] }

func (k *kernelRound) set(path, name, value string) {
	prefix := "trusted.overlay."
	// Now and then the other kind, which means nothing.
	if k.user != (k.rng.IntN(12) == 0) {
		prefix = "user.overlay."
	}
	err := unix.Lsetxattr(path, prefix+name, []byte(value), 0)
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) {
		k.t.Fatal(path, name, err)
	}
}

func (k *kernelRound) redirect() string {
	switch k.rng.IntN(12) {
	case 0:
		return k.pick("", "/", "a/b", "//a", "/a/", "..", "/a/../b", ".", "no", "/no/where")
	case 1, 2, 3, 4:
		return k.pick("a", "b", "c", "d")
	}
	path := ""
	for range 1 + k.rng.IntN(3) {
		path += "/" + k.pick("a", "b", "c", "d")
	}
	return path
}

func (k *kernelRound) fill(layer, dir string, depth, number int) {
	for _, name := range []string{"a", "b", "c", "d"} {
		if k.rng.IntN(3) == 0 {
			continue
		}
		path := filepath.Join(dir, name)
		content := fmt.Sprintf("%d %s", number, path[len(layer):])
		what := k.rng.IntN(20)
		if depth > 2 && what < 11 {
			what = 11
		}
		switch {
		case what < 11:
			k.check(os.Mkdir(path, 0o755))
			k.marksOnDir(path)
			k.fill(layer, path, depth+1, number)
		case what < 14:
			k.check(os.WriteFile(path, []byte(content), 0o644))
		case what == 14:
			k.check(os.WriteFile(path, nil, 0o600))
			if k.rng.IntN(2) == 0 {
				k.set(path, "whiteout", k.pick("", "y"))
			}
		case what == 15:
			k.check(unix.Mknod(path, unix.S_IFCHR, 0))
		case what == 16:
			k.check(os.Symlink(content, path))
		case what == 17:
			k.check(unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, uint32(k.rng.IntN(2))))))
		case what == 18:
			k.metacopy(path, content)
		case what == 19:
			if os.Link(filepath.Join(dir, "a"), path) != nil {
				k.check(unix.Mkfifo(path, 0o640))
			}
		}
		k.dress(path)
	}
}

func (k *kernelRound) marksOnDir(path string) {
	if k.rng.IntN(6) == 0 {
		k.set(path, "opaque", k.pick("y", "y", "x", "x", "n", "yes", ""))
	}
	if k.rng.IntN(4) == 0 {
		k.set(path, "redirect", k.redirect())
	}
	if k.rng.IntN(8) == 0 {
		k.set(path, "overlay.opaque", "inner")
		k.set(path, "impure", "y")
	}
}

func (k *kernelRound) metacopy(path, content string) {
	k.check(os.WriteFile(path, []byte(content), 0o644))
	k.set(path, "metacopy", k.pick("", "", "", "\x00\x04\x00\x00", "xx"))
	if k.rng.IntN(2) == 0 {
		k.set(path, "redirect", k.redirect())
	}
}

func (k *kernelRound) dress(path string) {
	when := time.Unix(1.5e9+int64(k.rng.IntN(1e8)), int64(k.rng.IntN(1e9)))
	ts := []unix.Timespec{unix.NsecToTimespec(when.UnixNano()), unix.NsecToTimespec(when.UnixNano())}
	k.check(unix.Lchown(path, k.rng.IntN(3), k.rng.IntN(3)))
	k.check(unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
}

// run mounts and compares.
func (k *kernelRound) run() []string {
	merged := filepath.Join(k.dir, "merged")
	lower, upper := k.layers, ""
	if k.upper {
		lower, upper = lower[1:], ",upperdir="+k.layers[0]+",workdir="+filepath.Join(k.dir, "work")
	}
	n := len(lower) - k.data
	o := "lowerdir=" + strings.Join(lower[:n], ":")
	for _, d := range lower[n:] {
		o += "::" + d
	}
	o += upper
	o += ",index=off"
	if k.user {
		o += ",userxattr"
	} else {
		o += ",redirect_dir=on,metacopy=on"
	}
	k.options = strings.ReplaceAll(o, k.dir, "")
	if err := unix.Mount("overlay", merged, "overlay", 0, o); err != nil {
		k.t.Fatalf("mounting %s: %v", o, err)
	}
	defer unix.Unmount(merged, unix.MNT_DETACH)

	host := newHostFS()
	var layers []overlay.Layer
	for _, l := range k.layers {
		ino, _, err := host.add(l)
		k.check(err)
		layers = append(layers, overlay.Layer{FS: host, Root: ino, Name: filepath.Base(l)})
	}
	view, err := overlay.Merge(layers, overlay.Options{UserXattr: k.user, DataOnly: k.data})
	k.check(err)
	k.claim(view)
	k.compareDir(view, merged, "", view.Root())
	return k.bad
}

// claim notes which inodes of the layers several inodes of the view are made
// of: for files, what the kernel shows then depends on what was looked up first,
// as it keeps one inode for both (ovl_get_inode, hashed by the lower one).
func (k *kernelRound) claim(view *overlay.FS) {
	k.claims = map[evidence.Ino]map[evidence.Ino]bool{}
	evidence.Walk(view, view.Root(), func(_ string, e evidence.Entry, info evidence.Info, err error) error {
		if err == nil && info.Type == evidence.TypeFile {
			for _, ino := range k.madeOf(view, e.Ino) {
				if k.claims[ino] == nil {
					k.claims[ino] = map[evidence.Ino]bool{}
				}
				k.claims[ino][e.Ino] = true
			}
		}
		return nil
	})
}

func (k *kernelRound) madeOf(view *overlay.FS, ino evidence.Ino) []evidence.Ino {
	_, top, _ := view.Origin(ino)
	_, data, _ := view.Data(ino)
	return []evidence.Ino{top, data}
}

func (k *kernelRound) shared(view *overlay.FS, e evidence.Entry) bool {
	return e.Type == evidence.TypeFile && slices.ContainsFunc(k.madeOf(view, e.Ino), func(ino evidence.Ino) bool { return len(k.claims[ino]) > 1 })
}

func (k *kernelRound) differ(path, format string, args ...any) {
	k.bad = append(k.bad, path+": "+fmt.Sprintf(format, args...))
}

func (k *kernelRound) compareDir(view *overlay.FS, merged, path string, dir evidence.Ino) {
	ours := map[string]evidence.Entry{}
	for e, err := range view.ReadDir(dir) {
		if err != nil {
			k.differ(path, "ReadDir: %v", err)
			continue
		}
		ours[e.Name] = e
		if again, err := view.Lookup(dir, e.Name); err != nil || again.Ino != e.Ino {
			k.differ(path+"/"+e.Name, "Lookup gives %v, %v, ReadDir %v", again, err, e)
		}
	}
	list, err := os.Open(filepath.Join(merged, path))
	k.check(err)
	names, err := list.Readdirnames(-1)
	list.Close()
	if err != nil {
		// The kernel looks up some entries for their inode numbers, and gives up
		// on the directory where it refuses one.
		if !errors.Is(err, unix.ESTALE) && !slices.ContainsFunc(slices.Collect(maps.Values(ours)), func(e evidence.Entry) bool { return !k.accepted(view, e) }) {
			k.differ(path, "readdir: %v, and we accept all of it", err)
		}
		names = []string{"a", "b", "c", "d"}
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		e, ok := ours[name]
		delete(ours, name)
		p := path + "/" + name
		var st unix.Stat_t
		err := unix.Lstat(filepath.Join(merged, p), &st)
		switch {
		case errors.Is(err, unix.ENOENT):
			if ok {
				k.differ(p, "shown, and deleted for the kernel")
			}
		case errors.Is(err, unix.ESTALE):
			// Two names lead to one directory below: the kernel shows the one that
			// was looked up first (ovl_verify_inode), we show both.
		case ok && k.shared(view, e):
		case !ok:
			k.differ(p, "missing; lstat: %v", err)
		case err != nil:
			if k.accepted(view, e) {
				k.differ(p, "the kernel says %v, we accept it", err)
			}
		default:
			k.compareInode(view, merged, p, e, &st)
		}
	}
	for name, e := range ours {
		// In directories marked x the kernel looks files up, and passes over
		// those that it refuses (ovl_cache_update).
		var st unix.Stat_t
		stale := errors.Is(unix.Lstat(filepath.Join(merged, path, name), &st), unix.ESTALE)
		if k.accepted(view, e) && !stale {
			k.differ(path+"/"+name, "not in the kernel's directory")
		}
	}
}

// accepted says whether we have nothing against an entry.
func (k *kernelRound) accepted(view *overlay.FS, e evidence.Entry) bool {
	info, err := view.Stat(e.Ino)
	if err != nil || view.Problem(e.Ino) != nil {
		return false
	}
	if info.Type == evidence.TypeFile {
		_, err = view.Open(e.Ino)
	}
	return err == nil
}

func (k *kernelRound) compareInode(view *overlay.FS, merged, path string, e evidence.Entry, st *unix.Stat_t) {
	if err := view.Problem(e.Ino); err != nil {
		k.differ(path, "a problem that the kernel doesn't have: %v", err)
	}
	info, err := view.Stat(e.Ino)
	if err != nil {
		k.differ(path, "%v", err)
		return
	}
	if info.Type != e.Type || info.Type != evidence.TypeOfMode(uint16(st.Mode)) || info.Perm != uint16(st.Mode)&0o7777 || info.UID != st.Uid || info.GID != st.Gid ||
		info.Mtime.UnixNano() != st.Mtim.Nano() || info.Major != unix.Major(st.Rdev) || info.Minor != unix.Minor(st.Rdev) {
		k.differ(path, "%+v, entry %+v, the kernel says %+v", info, e, *st)
	}
	real := filepath.Join(merged, path)
	if info.Type != evidence.TypeDir && (info.Size != st.Size || uint64(info.Nlink) != uint64(st.Nlink)) {
		k.differ(path, "size %d, nlink %d, the kernel says %d, %d", info.Size, info.Nlink, st.Size, st.Nlink)
	}
	x, err := view.Xattrs(e.Ino)
	k.check(err)
	want, err := hostXattrs(real)
	k.check(err)
	if !maps.EqualFunc(x, want, bytes.Equal) {
		k.differ(path, "xattrs %q, the kernel says %q", x, want)
	}
	switch info.Type {
	case evidence.TypeDir:
		k.compareDir(view, merged, path, e.Ino)
	case evidence.TypeFile:
		want, err := os.ReadFile(real)
		r, ourErr := view.Open(e.Ino)
		if err != nil || ourErr != nil {
			if err == nil || ourErr == nil {
				k.differ(path, "opened: %v, the kernel says %v", ourErr, err)
			}
			return
		}
		have, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(have, want) {
			k.differ(path, "content %q, the kernel says %q, %v", have, want, err)
		}
	case evidence.TypeSymlink:
		have, err := view.ReadLink(e.Ino)
		k.check(err)
		want, err := os.Readlink(real)
		k.check(err)
		if have != want {
			k.differ(path, "target %q, the kernel says %q", have, want)
		}
	}
}

// describe lists the layers, for a failure's message.
func (k *kernelRound) describe() string {
	var b strings.Builder
	for _, l := range k.layers {
		filepath.WalkDir(l, func(path string, d os.DirEntry, err error) error {
			x, _ := hostXattrs(path)
			fmt.Fprintf(&b, "%s %v", path[len(k.dir):], d.Type())
			for _, name := range slices.Sorted(maps.Keys(x)) {
				fmt.Fprintf(&b, " %s=%q", name, x[name])
			}
			b.WriteByte('\n')
			return nil
		})
	}
	return b.String()
}
