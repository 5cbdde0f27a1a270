package packtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fill makes the tree: what readers of compressed files get wrong above all.
func (s Shape) fill(t *testing.T, top string) {
	rng := rand.New(rand.NewPCG(7, 7))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	j := func(p string) string { return filepath.Join(top, p) }
	for _, d := range []string{"sizes", "deep/er/est", "many", "sticky", "empty", "x"} {
		must(os.MkdirAll(j(d), 0o755))
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	text := func(n int) []byte {
		var b bytes.Buffer
		for b.Len() < n {
			fmt.Fprintf(&b, "line %d of %x\n", b.Len()%977, rng.Uint32()%5000)
		}
		return b.Bytes()[:n]
	}
	sizes, turns, names := s.Sizes, s.Turns, s.Names
	if *big {
		sizes, turns, names = append(slices.Clone(sizes), 200001, 1<<20, 3_000_001), 300, 3000
	}
	for _, n := range sizes {
		must(os.WriteFile(j(fmt.Sprintf("sizes/random-%d", n)), random(n), 0o644))
		must(os.WriteFile(j(fmt.Sprintf("sizes/text-%d", n)), text(n), 0o600))
		must(os.WriteFile(j(fmt.Sprintf("sizes/zeros-%d", n)), make([]byte, n), 0o640))
	}
	// Blocks that compress and blocks that don't, by turns; the same again, for deduplication.
	var mixed []byte
	for i := range turns {
		if i%3 == 0 {
			mixed = append(mixed, random(5000)...)
		} else {
			mixed = append(mixed, text(7000)...)
		}
	}
	must(os.WriteFile(j("mixed"), mixed, 0o644))
	must(os.WriteFile(j("mixed-again"), append(random(777), mixed...), 0o644))
	sparse, err := os.Create(j("sparse"))
	must(err)
	_, err = sparse.WriteAt([]byte("in the middle"), 1<<20)
	must(err)
	must(sparse.Truncate(3 << 20))
	must(sparse.Close())
	for i := range names {
		must(os.WriteFile(j(fmt.Sprintf("many/a-rather-long-name-of-a-file-%05d", i)), fmt.Appendf(nil, "%d", i), 0o644))
	}
	fillOdd(t, j, random)

}

// fillOdd makes what is no plain file: odd names, links, devices, owners,
// attributes and times.
func fillOdd(t *testing.T, j func(string) string, random func(int) []byte) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(j("deep/er/est/\xff\xfe bad name \n"), []byte("x"), 0o4755))
	must(os.Link(j("mixed"), j("deep/hardlink")))
	must(os.Symlink("../../etc/shadow", j("link")))
	must(os.Symlink("/"+strings.Repeat("l/", 1500), j("longlink")))
	must(unix.Mknod(j("x/whiteout"), unix.S_IFCHR, 0))
	must(unix.Mknod(j("x/big"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(unix.Mkfifo(j("x/fifo"), 0o640))
	must(os.Chmod(j("sticky"), os.ModeSticky|0o777))
	must(os.Chown(j("mixed"), 100000, 165536))
	for i := range 40 {
		must(unix.Lsetxattr(j(fmt.Sprintf("many/a-rather-long-name-of-a-file-%05d", i)), "user.note.shared", []byte("the same for all"), 0))
	}
	for i := range 16 { // what a block of ext4 holds
		must(unix.Lsetxattr(j("x"), fmt.Sprintf("user.note.%d", i), random(i*9), 0))
	}
	must(unix.Lsetxattr(j("deep"), "trusted.overlay.opaque", []byte("y"), 0))
	must(unix.Lsetxattr(j("mixed"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	must(unix.Lsetxattr(j("mixed"), "user.empty", nil, 0))
	for i, p := range []string{"mixed", "many", "link", "x/fifo", "sizes/zeros-0"} {
		ts := unix.NsecToTimespec(time.Date(1975+20*i, 1, 2, 3, 4, 5, 678901234, time.UTC).UnixNano())
		must(unix.UtimesNanoAt(unix.AT_FDCWD, j(p), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// fillGolden makes the small tree of the images in testdata.
func fillGolden(t *testing.T, top string) {
	rng := rand.New(rand.NewPCG(9, 9))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	j := func(p string) string { return filepath.Join(top, p) }
	must(os.MkdirAll(j("many"), 0o755))
	must(os.MkdirAll(j("d"), 0o1777))
	var text bytes.Buffer
	for text.Len() < 36_000 {
		fmt.Fprintf(&text, "line %d of %d\n", text.Len()%37, rng.Uint32()%9)
	}
	random := make([]byte, 2600)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	must(os.WriteFile(j("text"), text.Bytes(), 0o644))
	must(os.WriteFile(j("random"), random, 0o4755))
	must(os.WriteFile(j("mixed"), slices.Concat(text.Bytes()[:9999], random[:2500], text.Bytes()[5000:14_001]), 0o644))
	must(os.WriteFile(j("again"), text.Bytes()[:20_000], 0o600))
	must(os.WriteFile(j("zeros"), make([]byte, 40_000), 0o644))
	must(os.WriteFile(j("empty"), nil, 0o644))
	must(os.WriteFile(j("d/small"), []byte("small"), 0o644))
	for i := range 120 {
		must(os.WriteFile(j(fmt.Sprintf("many/a-name-that-takes-its-place-%03d", i)), fmt.Appendf(nil, "%d", i*i), 0o644))
	}
	must(os.Link(j("text"), j("d/hardlink")))
	must(os.Symlink("../../etc/shadow", j("link")))
	must(unix.Mknod(j("d/gone"), unix.S_IFCHR, 0))
	must(unix.Mknod(j("d/disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	must(unix.Mkfifo(j("d/fifo"), 0o640))
	must(os.Chown(j("random"), 100000, 165536))
	must(unix.Lsetxattr(j("text"), "user.note.one", []byte("1"), 0))
	must(unix.Lsetxattr(j("d"), "trusted.overlay.opaque", []byte("y"), 0))
	for _, p := range []string{"random", "mixed", "again", "zeros", "many"} {
		must(unix.Lsetxattr(j(p), "user.note.all", []byte("the same for all of them"), 0))
	}
	must(filepath.WalkDir(top, func(p string, _ os.DirEntry, err error) error {
		ts := unix.NsecToTimespec(1_600_000_000_123456789)
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}
