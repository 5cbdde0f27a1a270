package btrfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
	folder, err := os.Open(top)
	must(err)
	must(unix.Syncfs(int(folder.Fd())))
	must(folder.Close())
	f, err := os.OpenFile(at("x/long-text"), os.O_RDWR, 0)
	must(err)
	_, err = f.WriteAt(random(50_000), 300_001)
	must(err)
	must(f.Close())
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
		// Not too many: Linux 6.18 dies of a log that makes an item of
		// references outgrow half a leaf (BUG in btrfs_extend_item).
		for i := range 1 + rng.IntN(8) {
			os.Link(file, fmt.Sprintf("%s-%d", fresh, i))
		}
	}
	if rng.IntN(2) == 0 {
		fsync(sync[rng.IntN(len(sync))])
	}
}
