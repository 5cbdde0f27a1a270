package btrfs

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/evidence/iofstest"
	"lagan/fixtures"
	"lagan/internal/needs"
)

var update = flag.Bool("update", false, "make testdata anew (root)")

// goldens are small filesystems, kept with what the kernel showed of them.
var goldens = []struct {
	name string
	mkfs []string
	make func(t *testing.T, image string)
}{
	{"plain", []string{"-M"}, makePlain},
	{"log", []string{"-M", "-O", "^no-holes"}, makeLog},
}

// load unpacks an image of testdata.
func load(tb testing.TB, name string) []byte {
	tb.Helper()
	return fixtures.Unpack(tb, filepath.Join("testdata", name+".img.zst"))
}

func openBytes(tb testing.TB, b []byte, o evidence.Options) *FS {
	tb.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestGolden(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			if *update {
				remake(t, g.name, g.mkfs, g.make)
			}
			want, err := os.ReadFile(filepath.Join("testdata", g.name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			f := openBytes(t, load(t, g.name), evidence.Options{Warn: func(err error) { t.Error(err) }})
			if got := listing(readAll(t, f)); got != string(want) {
				t.Errorf("%s", difference(got, string(want)))
			}
		})
	}
}

func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\nread   %s\nkernel %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// listing is what a golden file holds.
func listing(all map[string]described) string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(all)) {
		d := all[path]
		if d.dir {
			d.times[0], d.times[1] = "", "" // the kernel's replay sets them anew
		}
		fmt.Fprintf(&b, "%q %s %v\n", path, d.what, d.times)
	}
	return b.String()
}

func remake(t *testing.T, name string, mkfs []string, fill func(*testing.T, string)) {
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 48<<20); err != nil {
		t.Fatal(err)
	}
	needs.Tool(t, "mkfs.btrfs", "btrfs", "cp")
	run(t, "mkfs.btrfs", append(append([]string{"-q", "-f", "-L", "lagan-" + name}, mkfs...), image)...)
	fill(t, image)
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	dir, umount := mount(t, []string{image}, "") // replays a log
	all := truth(t, dir)
	umount()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	os.MkdirAll("testdata", 0o755)
	for ending, content := range map[string][]byte{".img.zst": z.EncodeAll(b, nil), ".txt": []byte(listing(all))} {
		if err := os.WriteFile(filepath.Join("testdata", name+ending), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// makePlain has a file of each kind of extent and compression, and subvolumes.
func makePlain(t *testing.T, image string) {
	same := bytes.Repeat([]byte("the same line again and again "), 1200)
	for i, kind := range []string{"zlib", "lzo", "zstd"} {
		dir, umount := mount(t, []string{image}, ",compress-force="+kind)
		sub := filepath.Join(dir, "sub")
		if i == 0 {
			run(t, "btrfs", "subvolume", "create", sub)
		}
		for _, size := range []int{10, 1000, 5000, 36000} {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(kind, "-", size)), same[:size], 0o640); err != nil {
				t.Fatal(err)
			}
		}
		umount()
	}
	dir, umount := mount(t, []string{image}, "")
	at := func(p string) string { return filepath.Join(dir, p) }
	os.WriteFile(at("file"), same[:9000], 0o4755)
	os.Link(at("file"), at("sub/../hard-link"))
	os.Symlink("target/of/a link", at("symlink"))
	unix.Mknod(at("whiteout"), unix.S_IFCHR, 0)
	unix.Mknod(at("device"), unix.S_IFBLK|0o600, int(unix.Mkdev(8, 1)))
	unix.Setxattr(at("file"), "user.name", []byte("value"), 0)
	unix.Setxattr(at("file"), "trusted.overlay.metacopy", nil, 0)
	if f, err := os.Create(at("sparse")); err == nil {
		f.WriteAt(same[:5000], 100_000)
		unix.Fallocate(int(f.Fd()), 0, 200_000, 20_000)
		f.Truncate(300_000)
		f.Close()
	}
	for i := range 150 {
		os.WriteFile(at(fmt.Sprintf("entry-%03d-%s", i, strings.Repeat("x", 40))), nil, 0o600)
	}
	run(t, "btrfs", "subvolume", "snapshot", at("sub"), at("snapshot"))
	os.Remove(at("sub/lzo-10"))
	umount()
}

// makeLog leaves a log tree to be replayed.
func makeLog(t *testing.T, image string) {
	dir, umount := mount(t, []string{image}, ",commit=300")
	c := churner{rng: rand.New(rand.NewPCG(11, 5)), top: dir, name: "early"}
	c.run(60)
	run(t, "btrfs", "filesystem", "sync", dir)
	c.name = "late"
	c.run(60)
	time.Sleep(10 * time.Millisecond)
	run(t, "cp", "--sparse=always", image, image+".copy")
	umount()
	if err := os.Rename(image+".copy", image); err != nil {
		t.Fatal(err)
	}
}

// TestNoJournal shows the stale view, and says so.
func TestNoJournal(t *testing.T) {
	b := load(t, "log")
	warned := 0
	stale := openBytes(t, b, evidence.Options{NoJournal: true, Warn: func(error) { warned++ }})
	fresh := openBytes(t, b, evidence.Options{Warn: func(err error) { t.Error(err) }})
	if s := stale.Describe().Journal.State; s != evidence.JournalDirty || warned == 0 {
		t.Errorf("%s, %d warnings", s, warned)
	}
	if j := fresh.Describe().Journal; j.State != evidence.JournalReplayed || j.Blocks == 0 {
		t.Errorf("%+v", j)
	}
	marked := 0
	for i, err := range fresh.Inodes() {
		if err != nil {
			t.Error(err)
		}
		if i.Info.FromJournal {
			marked++
		}
	}
	if a, b := listing(readAll(t, stale)), listing(readAll(t, fresh)); a == b || marked == 0 {
		t.Errorf("the same with and without the log, %d inodes are marked", marked)
	}
}

func TestIOFS(t *testing.T) {
	iofstest.Test(t, openBytes(t, load(t, "plain"), evidence.Options{}))
}
