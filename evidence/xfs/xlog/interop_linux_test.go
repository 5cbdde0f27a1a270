package xlog

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/needs"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fixture opens the root filesystem of the node disk whose log is dirty.
func fixture(t testing.TB) (*io.SectionReader, Geometry) {
	t.Helper()
	f, err := os.Open(fixtures.Disk(t, "eks-xfs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const start = 24576 * 512 // partition 1
	dev := io.NewSectionReader(f, start, st.Size()-start)
	sb := make([]byte, basicBlock)
	if _, err := dev.ReadAt(sb, 0); err != nil {
		t.Fatal(err)
	}
	g, err := GeometryOf(sb)
	if err != nil {
		t.Fatal(err)
	}
	return dev, g
}

// TestFixture replays the log of a real node.
func TestFixture(t *testing.T) {
	dev, g := fixture(t)
	r, err := Replay(dev, dev.Size(), g, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if r.State != evidence.JournalReplayed || r.Transactions != 161 || r.Note != "" || r.First.IsZero() || r.Last.Before(r.First) {
		t.Errorf("%+v", r)
	}
	if dirty, note, err := Check(dev, dev.Size(), g); !dirty || note != "" || err != nil {
		t.Errorf("Check: %v, %q, %v", dirty, note, err)
	}
}

// TestLogprint compares the items of the fixture's log, by type, with what xfs_logprint finds.
func TestLogprint(t *testing.T) {
	needs.Tool(t, "xfs_logprint")
	dev, g := fixture(t)
	l, err := openLog(dev, dev.Size(), g, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := l.locate()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	names := map[uint16]string{itemBuf: "BUF", itemInode: "INO", itemICreate: "ICR"}
	rp := newReplayer(l, dev, dev.Size(), func(error) {})
	if _, err := rp.pass(e.tail, e.head, false, func(tr *trans) error {
		got["TRANS"]++
		for _, it := range tr.items {
			got[names[it.typ(tr.order)]]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// The tool wants superblock and log alone, at their places.
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][2]int64{{0, basicBlock}, {l.start, l.blocks * basicBlock}} {
		if _, err := io.Copy(io.NewOffsetWriter(f, part[0]), io.NewSectionReader(dev, part[0], part[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(dev.Size()); err != nil {
		t.Fatal(err)
	}
	f.Close()
	want := map[string]int{}
	out := run(t, "xfs_logprint", "-t", path)
	for _, m := range regexp.MustCompile(`(?m)^(TRANS|BUF|INO|ICR): `).FindAllStringSubmatch(out, -1) {
		want[m[1]]++
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, xfs_logprint %v", got, want)
	}
	if !strings.Contains(out, fmt.Sprintf("log tail: %d head: %d state: <DIRTY>", e.tail, e.head)) {
		t.Errorf("tail %d head %d, xfs_logprint differs", e.tail, e.head)
	}
}

// TestKernelRecovers lets the kernel drop a filesystem in the middle of work, and compares
// what the kernel's own recovery of one copy shows with what replay of another
// shows when it is mounted without recovery.
func TestKernelRecovers(t *testing.T) {
	needs.Root(t, "mounting")
	needs.Tool(t, "mkfs.xfs", "xfs_io", "mount", "umount", "cp")
	for i, v := range []struct {
		name  string
		mkfs  []string
		mount string
		down  string
	}{
		{"default", nil, "", "shutdown -f"},
		{"1k blocks, long records", []string{"-b", "size=1024"}, ",logbsize=256k", "shutdown"},
		{"old features, stripe", []string{"-m", "bigtime=0,reflink=0,rmapbt=0,finobt=0,inobtcount=0", "-l", "su=32k"}, "", "shutdown -f"},
	} {
		if i > 0 && !needs.All() {
			break // one is enough to notice; the loop in scripts runs many
		}
		t.Run(v.name, func(t *testing.T) { crashAndCompare(t, int64(i), v.mkfs, v.mount, v.down) })
	}
}

func crashAndCompare(t *testing.T, seed int64, mkfs []string, options string, shutdown string) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("crashed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path("crashed"), 320<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.xfs", append(append([]string{"-q", "-f"}, mkfs...), path("crashed"))...)
	mounted(t, path("crashed"), path("m"), "noatime"+options, func(root string) { crash(t, root, seed, shutdown) })
	run(t, "cp", "--sparse=always", path("crashed"), path("kernel"))
	run(t, "cp", "--sparse=always", path("crashed"), path("ours"))
	replayInto(t, path("crashed"), path("ours"))
	var want, got map[string]string
	mounted(t, path("kernel"), path("m"), "noatime,nouuid", func(root string) { want = walk(t, root) })
	mounted(t, path("ours"), path("m"), "ro,norecovery,nouuid", func(root string) { got = walk(t, root) })
	differences := 0
	for _, p := range keys(want, got) {
		if want[p] != got[p] {
			if differences++; differences < 10 {
				t.Errorf("%q:\nkernel %s\nours   %s", p, want[p], got[p])
			}
		}
	}
	t.Logf("%d paths, %d differences", len(want), differences)
}

// mounted mounts an image for the time that fn runs; nodev, because churn makes
// device nodes at random and opens what it finds.
func mounted(t *testing.T, image, dir, options string, fn func(root string)) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "xfs", "-o", "loop,nodev,nosuid,"+options, image, dir).CombinedOutput(); err != nil {
		t.Skipf("this machine can't mount XFS: %v: %s", err, out)
	}
	defer run(t, "umount", dir)
	fn(dir)
}

// crash works on the filesystem from several goroutines and then shuts it down.
func crash(t *testing.T, root string, seed int64, shutdown string) {
	stop := make(chan struct{})
	var busy, wg sync.WaitGroup
	for w := range 3 {
		busy.Add(1)
		wg.Go(func() { churn(root, rand.New(rand.NewSource(seed*10+int64(w))), busy.Done, stop) })
	}
	busy.Wait()
	out, err := exec.Command("xfs_io", "-x", "-c", shutdown, root).CombinedOutput()
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatalf("shutting down: %v\n%s", err, out)
	}
}

// churn makes, changes and removes files at random until stop, and says when there
// are many. Errors are part of it.
func churn(root string, r *rand.Rand, busy func(), stop chan struct{}) {
	name := func() string {
		return fmt.Sprintf("%s/d%d/f%d%s", root, r.Intn(4), r.Intn(200), strings.Repeat("n", r.Intn(3)*30))
	}
	for d := range 4 {
		os.Mkdir(fmt.Sprintf("%s/d%d", root, d), 0o755)
	}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		if i == 2000 {
			busy()
		}
		p := name()
		switch r.Intn(14) {
		case 0, 1, 2, 3:
			os.WriteFile(p, bytes.Repeat([]byte{byte(i)}, r.Intn(9000)), 0o644)
		case 4:
			os.Remove(p)
		case 5:
			os.Rename(p, name())
		case 6:
			os.Link(p, name())
		case 7:
			os.Symlink(strings.Repeat("t", 1+r.Intn(1000)), p)
		case 8:
			syscall.Setxattr(p, fmt.Sprintf("user.a%d", r.Intn(30)), make([]byte, r.Intn(4000)), 0)
		case 9:
			os.Mkdir(p, 0o700)
		case 10: // enough extents for a btree
			if f, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
				for j := range r.Intn(60) {
					f.WriteAt([]byte("x"), int64(j)*8192)
				}
				if r.Intn(4) == 0 {
					f.Sync()
				}
				f.Close()
			}
		case 11:
			os.Truncate(p, int64(r.Intn(100000)))
		case 12:
			syscall.Mknod(p, syscall.S_IFCHR|0o600, r.Intn(65536))
		case 13:
			os.Chtimes(p, time.Unix(r.Int63n(1<<31), 5), time.Unix(r.Int63n(1<<31)-1<<30, 7))
		}
	}
}

// replayInto writes what replay of one image changes into a copy of it.
func replayInto(t *testing.T, crashed, target string) {
	t.Helper()
	in, err := os.Open(crashed)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	st, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, pageSize)
	if _, err := in.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	g, err := GeometryOf(b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Replay(in, st.Size(), g, func(err error) { t.Errorf("warning: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d transactions, %d objects, %q", r.Transactions, r.Objects, r.Note)
	for off := int64(0); off < st.Size(); off += pageSize {
		if !r.Changed(off, pageSize) {
			continue
		}
		if _, err := r.Image.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		if _, err := out.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
	}
}

// walk describes every path below root: all of its inode, content, attributes.
func walk(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.Walk(root, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			out[p] = err.Error()
			return nil
		}
		s := info.Sys().(*syscall.Stat_t)
		d := fmt.Sprintf("ino %d mode %o nlink %d uid %d size %d blocks %d rdev %x times %v %v %v", s.Ino, s.Mode, s.Nlink, s.Uid, s.Size, s.Blocks, s.Rdev, s.Atim, s.Mtim, s.Ctim)
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(p)
			d += fmt.Sprintf(" content %x %v", sha256.Sum256(b), err)
			fallthrough
		case info.IsDir():
			d += " attributes " + attributes(p)
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			d += fmt.Sprintf(" target %q %v", target, err)
		}
		out[strings.TrimPrefix(p, root)] = d
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func attributes(p string) string {
	b := make([]byte, 64<<10)
	n, err := syscall.Listxattr(p, b)
	if err != nil {
		return err.Error()
	}
	names := strings.Split(string(b[:n]), "\x00")
	sort.Strings(names)
	var out strings.Builder
	for _, name := range names {
		n, err := syscall.Getxattr(p, name, b)
		fmt.Fprintf(&out, "%s=%x,%v ", name, sha256.Sum256(b[:max(n, 0)]), err)
	}
	return out.String()
}

// keys returns the keys of two maps, sorted.
func keys(a, b map[string]string) []string {
	var out []string
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	sort.Strings(out)
	return out
}

// BenchmarkReplay replays the log of a real node.
func BenchmarkReplay(b *testing.B) {
	dev, g := fixture(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Replay(dev, dev.Size(), g, nil); err != nil {
			b.Fatal(err)
		}
	}
}
