package btrfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// needs skips the test where a tool is missing; with CI_REQUIRE_TOOLS set that is a failure.
func needs(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI_REQUIRE_TOOLS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// thorough says whether the comparisons that take long are wanted.
func thorough() bool { return os.Getenv("CI_REQUIRE_TOOLS") == "1" }

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// makeImage makes files full of 0xaa, which a zeroed one would hide reads of
// the wrong block from, and a filesystem on them.
func makeImage(t testing.TB, mib, devices int, options ...string) []string {
	t.Helper()
	needs(t, "mkfs.btrfs")
	var paths []string
	for i := range devices {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("disk%d.img", i))
		if err := os.WriteFile(path, bytes.Repeat([]byte{0xaa}, mib<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	run(t, "mkfs.btrfs", append(append([]string{"-q", "-f", "-K"}, options...), paths...)...)
	return paths
}

// mount mounts images until the returned function is called.
func mount(t testing.TB, images []string, options string) (string, func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	needs(t, "losetup")
	var loops []string
	detach := func() {
		for _, l := range loops {
			exec.Command("losetup", "-d", l).Run()
		}
		if len(loops) > 1 {
			exec.Command("btrfs", "device", "scan", "--forget").Run()
		}
		loops = nil
	}
	all := "noatime" + options
	for _, image := range images {
		out, err := exec.Command("losetup", "-f", "--show", image).Output()
		if err != nil {
			detach()
			t.Skipf("no loop device: %v", err)
		}
		loops = append(loops, strings.TrimSpace(string(out)))
		all += ",device=" + loops[len(loops)-1]
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "btrfs", "-o", all, loops[0], dir).CombinedOutput(); err != nil {
		detach()
		t.Skipf("this kernel does not mount it: %v: %s", err, out)
	}
	done := false
	umount := func() {
		if !done {
			done = true
			run(t, "umount", dir)
			detach()
		}
	}
	t.Cleanup(umount)
	return dir, umount
}

// open opens images; warnings fail the test unless they are wanted.
func open(t testing.TB, images []string, o evidence.Options) *FS {
	t.Helper()
	var devices []Device
	for _, path := range images {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, Device{f, info.Size()})
	}
	if o.Warn == nil {
		o.Warn = func(err error) { t.Errorf("warning: %v", err) }
	}
	f, err := OpenDevices(devices, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

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
	if len(met) != len(scanned) {
		t.Errorf("%d inodes met, %d scanned", len(met), len(scanned))
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

// fill makes the shapes that readers get wrong.
func fill(t testing.TB, top string, rng *rand.Rand) {
	t.Helper()
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	at := func(p string) string { return filepath.Join(top, p) }
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	write := func(p string, b []byte) { must(os.WriteFile(at(p), b, 0o644)) }
	for _, d := range []string{"small", "large", "x", "x/opaque", "deep"} {
		must(os.Mkdir(at(d), 0o755))
	}
	deep := "deep"
	for range 40 {
		deep += "/d"
		must(os.Mkdir(at(deep), 0o700))
	}
	for i := range 1200 {
		write(fmt.Sprintf("large/an-entry-of-a-large-folder-%06d", i), nil)
	}
	for i := 0; i < 1200; i += 3 {
		must(os.Remove(at(fmt.Sprintf("large/an-entry-of-a-large-folder-%06d", i))))
	}
	for _, size := range []int{0, 1, 60, 1000, 2047, 2048, 2049, 4095, 4096, 4097, 8192, 200_000} {
		write(fmt.Sprintf("x/size%d", size), random(size))
		write(fmt.Sprintf("x/text%d", size), bytes.Repeat([]byte("again and again "), size/16+1)[:size])
	}
	write("x/long-text", bytes.Repeat([]byte("the same line again and again "), 60_000))
	must(os.Chmod(at("x/size60"), 0o4755|os.ModeSetuid))
	must(os.Lchown(at("x/size60"), 100000, 165536))
	for _, size := range []int{1, 60, 200, 1000, 3900} {
		must(os.Symlink(strings.Repeat("l", size), at(fmt.Sprintf("link%d", size))))
	}
	for i := range 120 { // more than fit one item of references: extended ones
		must(os.Link(at("x/size1"), at(fmt.Sprintf("small/a-hard-link-with-a-name-that-is-rather-long-%s-%d", strings.Repeat("x", 100), i))))
	}
	must(unix.Mknod(at("x/whiteout"), unix.S_IFCHR, 0))
	must(unix.Mknod(at("x/large-device"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(unix.Mknod(at("x/fifo"), unix.S_IFIFO|0o644, 0))
	must(unix.Setxattr(at("x/opaque"), "trusted.overlay.opaque", []byte("y"), 0))
	for i := range 60 {
		must(unix.Setxattr(at("x/size60"), fmt.Sprintf("user.key-%d", i), random(i*3), 0))
	}
	if err := unix.Setxattr(at("x/size1000"), "user.large", random(12000), 0); err != nil && err != unix.ENOSPC { // more than a small node holds
		t.Fatal(err)
	}
	sparse, err := os.Create(at("x/sparse"))
	must(err)
	for i := range 300 {
		_, err := sparse.WriteAt(bytes.Repeat([]byte{byte(i)}, 4096), int64(i)*12288)
		must(err)
	}
	must(sparse.Truncate(8 << 20))
	must(unix.Fallocate(int(sparse.Fd()), 0, 5<<20, 1<<20))
	must(unix.Fallocate(int(sparse.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 100_000, 50_000))
	must(sparse.Close())
	for name, ns := range map[string]int64{"y1960": -300_000_000_000_000_005, "y2100": 4102444800123456789, "now": 1700000000123456789} {
		write("x/"+name, nil)
		must(unix.UtimesNanoAt(unix.AT_FDCWD, at("x/"+name), []unix.Timespec{unix.NsecToTimespec(ns), unix.NsecToTimespec(ns)}, 0))
	}
	for _, name := range []string{"\xff\xfe-bad", "new\nline", "文件-🐳", `back\slash`, strings.Repeat("n", 255)} {
		write("small/"+name, []byte(name))
	}
	unix.Sync()
	f, err := os.OpenFile(at("x/long-text"), os.O_RDWR, 0)
	must(err)
	_, err = f.WriteAt(random(50_000), 300_001)
	must(err)
	must(f.Close())
}

// TestKernel compares filesystems of many kinds with what the kernel shows.
func TestKernel(t *testing.T) {
	tests := []struct {
		name    string
		devices int
		mkfs    []string
		mount   string
	}{
		{"zstd", 1, nil, ",compress-force=zstd"},
		// The others where there is time: all tools are asked for.
		{"mixed", 1, []string{"-M"}, ",compress-force=lzo"},
		{"plain", 1, nil, ""},
		{"lzo", 1, nil, ",compress-force=lzo"},
		{"zlib", 1, nil, ",compress-force=zlib"},
		{"holes", 1, []string{"-O", "^no-holes,^skinny-metadata", "-n", "4096"}, ""},
		{"xxhash", 1, []string{"--csum", "xxhash", "-n", "65536"}, ""},
		{"sha256", 1, []string{"--csum", "sha256"}, ""},
		{"blake2", 1, []string{"--csum", "blake2"}, ""},
		{"raid0", 2, []string{"-d", "raid0", "-m", "raid1"}, ""},
		{"raid10", 4, []string{"-d", "raid10", "-m", "raid10"}, ""},
		{"raid5", 3, []string{"-d", "raid5", "-m", "raid1c3"}, ""},
	}
	for i, test := range tests {
		if i > 0 && !thorough() {
			break
		}
		t.Run(test.name, func(t *testing.T) {
			images := makeImage(t, 140, test.devices, test.mkfs...)
			dir, umount := mount(t, images, test.mount)
			fill(t, dir, rand.New(rand.NewPCG(1, 2)))
			umount()
			dir, umount = mount(t, images, ",ro")
			want := truth(t, dir)
			umount()
			compare(t, readAll(t, open(t, images, evidence.Options{})), want, time.Time{})
		})
	}
}

func TestSubvolumes(t *testing.T) {
	needs(t, "btrfs")
	images := makeImage(t, 128, 1)
	dir, umount := mount(t, images, "")
	at := func(p string) string { return filepath.Join(dir, p) }
	create := func(p string) { run(t, "btrfs", "subvolume", "create", at(p)) }
	create("a")
	if err := os.MkdirAll(at("d/e"), 0o755); err != nil {
		t.Fatal(err)
	}
	create("d/e/b")
	create("a/nested")
	for i := range 300 {
		os.WriteFile(at(fmt.Sprintf("d/e/b/f%d", i)), []byte("x"), 0o600)
	}
	os.WriteFile(at("a/nested/f"), []byte("nested"), 0o600)
	run(t, "btrfs", "subvolume", "snapshot", at("a"), at("d/snap"))
	run(t, "btrfs", "subvolume", "snapshot", "-r", dir, at("ro"))
	run(t, "btrfs", "subvolume", "snapshot", at("d/e/b"), at("other"))
	os.Remove(at("d/e/b/f7"))
	umount()
	dir, umount = mount(t, images, ",ro")
	want := truth(t, dir)
	umount()
	f := open(t, images, evidence.Options{})
	compare(t, readAll(t, f), want, time.Time{})
	var got []string
	for s, err := range f.Subvolumes() {
		if err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprint(s.ID, s.Parent, s.Path, s.ReadOnly, s.ParentUUID != ""))
		if n, err := f.Stat(s.Root); err != nil || n.Inode != 256 || n.Type != evidence.TypeDir {
			t.Errorf("%s: root %+v, %v", s.Path, n, err)
		}
		if s.ID != 5 {
			ino, err := evidence.Resolve(f, f.Root(), s.Path, false)
			if err != nil || ino != s.Root {
				t.Errorf("%s: %#x, %v, want %#x", s.Path, ino, err, s.Root)
			}
		}
	}
	wantVolumes := []string{"5 0 false false", "256 5a false false", "257 5d/e/b false false", "258 256a/nested false false", "259 5d/snap false true", "260 5ro true true", "261 5other false true"}
	if !slices.Equal(squeeze(got), squeeze(wantVolumes)) {
		t.Errorf("%q", got)
	}
	if d := f.Describe(); d.Type != "btrfs" || d.UUID != run(t, "blkid", "-o", "value", "-s", "UUID", images[0]) || d.Size != 128<<20 || d.Journal.State != evidence.JournalClean {
		t.Errorf("%+v", d)
	}

	dir, umount = mount(t, images, "")
	run(t, "btrfs", "subvolume", "set-default", "257", dir)
	umount()
	dir, umount = mount(t, images, ",ro")
	want = truth(t, dir)
	umount()
	compare(t, readAll(t, open(t, images, evidence.Options{})), want, time.Time{})
}

func squeeze(all []string) (out []string) {
	for _, s := range all {
		out = append(out, strings.ReplaceAll(s, " ", ""))
	}
	return out
}

// TestDegraded reads RAID1 without its first device, and with a device whose
// blocks are overwritten.
func TestDegraded(t *testing.T) {
	if !thorough() {
		t.Skip("CI_REQUIRE_TOOLS=1 asks for all comparisons")
	}
	images := makeImage(t, 140, 2, "-d", "raid1", "-m", "raid1")
	dir, umount := mount(t, images, "")
	fill(t, dir, rand.New(rand.NewPCG(3, 4)))
	umount()
	dir, umount = mount(t, images, ",ro")
	want := truth(t, dir)
	umount()
	quiet := evidence.Options{Warn: func(error) {}}
	compare(t, readAll(t, open(t, images[1:], quiet)), want, time.Time{})

	f, err := os.OpenFile(images[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	junk := bytes.Repeat([]byte("junk"), 1<<18)
	for at := int64(1 << 20); at < 140<<20; at += 1 << 20 {
		if _, err := f.WriteAt(junk, at); err != nil {
			t.Fatal(err)
		}
	}
	warned := 0
	both := open(t, images, evidence.Options{Warn: func(error) { warned++ }})
	compare(t, readAll(t, both), want, time.Time{})
	if warned == 0 {
		t.Error("nothing is said of the copies that are bad")
	}
}

// TestCrashes makes copies of a busy filesystem and compares them with what
// the kernel recovers. LAGAN_CRASHES is how many.
func TestCrashes(t *testing.T) {
	needs(t, "cp", "fallocate", "btrfs")
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("LAGAN_CRASHES")); err == nil {
		rounds = n
	}
	kinds := []struct {
		mkfs  []string
		mount string
	}{{nil, ""}, {[]string{"-O", "^no-holes"}, ""}, {nil, ",compress-force=lzo"}}
	for i := range rounds {
		seed, _ := strconv.Atoi(os.Getenv("LAGAN_SEED"))
		seed += i
		kind := kinds[seed%len(kinds)]
		t.Run(fmt.Sprint(seed), func(t *testing.T) { crash(t, uint64(seed), kind.mkfs, kind.mount) })
	}
}

func crash(t *testing.T, seed uint64, mkfs []string, options string) {
	rng := rand.New(rand.NewPCG(seed, 7))
	image := makeImage(t, 128, 1, mkfs...)[0]
	dir, umount := mount(t, []string{image}, ",commit=300"+options)
	c := churner{rng: rng, top: dir, name: "early"}
	c.run(100)
	run(t, "btrfs", "subvolume", "create", filepath.Join(dir, "subvolume"))
	c.run(50)
	run(t, "btrfs", "filesystem", "sync", dir)
	c.name = "late"
	c.run(20 + rng.IntN(200))
	copied := image + ".copy"
	run(t, "cp", "--sparse=always", image, copied)
	umount()
	scratch := image + ".scratch"
	run(t, "cp", "--sparse=always", copied, scratch)
	start := time.Now().Add(-20 * time.Millisecond) // the kernel's clock is coarse
	dir, umount = mount(t, []string{scratch}, "")
	want := truth(t, dir)
	umount()
	// A copy that took a while may have a newer second superblock.
	f := open(t, []string{copied}, evidence.Options{Warn: func(err error) {
		if !strings.Contains(err.Error(), "superblock at") {
			t.Error(err)
		}
	}})
	compare(t, readAll(t, f), want, start)
	t.Logf("%d paths, journal %+v", len(want), f.Describe().Journal)
}

// churner does at random what changes a filesystem, and fsyncs some of it.
type churner struct {
	rng         *rand.Rand
	top, name   string
	dirs, files []string
	made        int
}

func (c *churner) list() {
	c.dirs, c.files = nil, nil
	filepath.WalkDir(c.top, func(p string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
		case d.IsDir():
			c.dirs = append(c.dirs, p)
		case d.Type().IsRegular():
			c.files = append(c.files, p)
		}
		return nil
	})
}

func (c *churner) run(n int) {
	for i := range n {
		if i%10 == 0 {
			c.list()
		}
		c.step()
	}
}

func (c *churner) pick(all []string) string {
	if len(all) == 0 {
		return filepath.Join(c.top, "nothing")
	}
	return all[c.rng.IntN(len(all))]
}

func (c *churner) fresh() string {
	c.made++
	return filepath.Join(c.pick(c.dirs), fmt.Sprintf("%s-%d", c.name, c.made))
}

func fsync(path string) {
	if f, err := os.Open(path); err == nil {
		f.Sync()
		f.Close()
	}
}

// step does one thing. What fails, because something isn't there, doesn't matter.
func (c *churner) step() {
	rng := c.rng
	data := make([]byte, []int{0, 10, 1000, 5000, 70000}[rng.IntN(5)])
	pattern := rng.Uint64() // packs well, and is another each time
	for i := range data {
		data[i] = byte(pattern >> (i % 8 * 8))
	}
	file, other, fresh := c.pick(c.files), c.pick(c.files), c.fresh()
	at := int64([]int{0, 100, 4096, 8192, 300000}[rng.IntN(5)])
	sync := []string{file}
	switch rng.IntN(20) {
	case 0, 1, 2:
		os.WriteFile(fresh, data, 0o644)
		c.files = append(c.files, fresh)
		sync = []string{fresh}
	case 3:
		os.Mkdir(fresh, 0o755)
		c.dirs = append(c.dirs, fresh)
		sync = []string{fresh}
	case 4:
		os.Remove(file)
		sync = []string{filepath.Dir(file)}
	case 5:
		os.Rename(file, fresh)
		sync = []string{fresh, filepath.Dir(fresh), filepath.Dir(file)}
	case 6:
		os.Rename(file, other)
		sync = []string{other}
	case 7:
		os.Link(file, fresh)
		sync = []string{file, fresh, filepath.Dir(fresh)}
	case 8:
		os.Symlink(strings.Repeat("t", 1+rng.IntN(2000)), fresh)
		sync = []string{filepath.Dir(fresh)}
	case 9:
		unix.Setxattr(file, fmt.Sprint("user.k", rng.IntN(4)), data[:min(len(data), 200)], 0)
	case 10:
		unix.Removexattr(file, fmt.Sprint("user.k", rng.IntN(4)))
	case 11:
		os.Truncate(file, at+int64(rng.IntN(5000)))
	case 12:
		if f, err := os.OpenFile(file, os.O_RDWR, 0); err == nil {
			f.WriteAt(data, at)
			f.Close()
		}
	case 13:
		exec.Command("fallocate", "-p", "-o", fmt.Sprint(at), "-l", fmt.Sprint(1+rng.IntN(20000)), file).Run()
	case 14:
		exec.Command("fallocate", "-o", fmt.Sprint(at), "-l", fmt.Sprint(1+rng.IntN(200000)), file).Run()
	case 15:
		os.Rename(c.pick(c.dirs), fresh)
		sync = []string{fresh, filepath.Dir(fresh)}
		c.list()
	case 16:
		os.Chmod(file, os.FileMode(rng.IntN(0o1000)))
	case 17:
		os.Lchown(file, rng.IntN(1000), 5)
	case 18:
		unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
	case 19:
		for i := range 1 + rng.IntN(40) {
			os.Link(file, fmt.Sprintf("%s-%s-%d", fresh, strings.Repeat("x", 100), i))
		}
	}
	if rng.IntN(2) == 0 {
		fsync(sync[rng.IntN(len(sync))])
	}
}
