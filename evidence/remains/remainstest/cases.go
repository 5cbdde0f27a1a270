// Package remainstest has the cases of deleted files that NIST's CFTT project tests
// tools with, as far as they speak of filesystems of Linux: numbers and subjects are
// those of J. Lyle, "Deleted File Recovery Tool Testing Results" (NIST), DFR-01 to
// DFR-17 with braid and nest; the variants for recycle bins and NTFS (compressed files,
// files in the MFT) are left out. It is for tests alone: each makes its files on a mounted filesystem and
// deletes them; Check compares what is found with them.
package remainstest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"testing"
	"time"
)

// Case is one of them.
type Case struct {
	Name string
	MiB  int
	Fill func(d *Dir)
	// Lossy: others overwrite some of the files. What is called whole must be; how many are is chance.
	Lossy bool
}

// Cases lists them by their numbers, and behind them what they lack.
var Cases = []Case{
	{"DFR-01 one file in one piece", 64, func(d *Dir) { d.write("file", 100<<10); d.remove("file") }, false},
	{"DFR-02 a file in two fragments", 64, func(d *Dir) {
		d.turns(2, 64<<10, "file", "between")
		d.remove("file")
	}, false},
	{"DFR-03 a file in many fragments", 64, func(d *Dir) {
		d.turns(20, 8<<10, "file", "between")
		d.remove("file")
	}, false},
	{"DFR-04 names that are not Latin", 64, func(d *Dir) {
		names := []string{"na\u00efve", "\u0444\u0430\u0439\u043b", "\u6587\u4ef6", "\u05e7\u05d5\u05d1\u05e5", "a\xffb", strings.Repeat("n", 255)}
		d.turns(1, 5000, names...)
		d.remove(names...)
	}, false},
	{"DFR-05 several fragmented files", 64, func(d *Dir) {
		d.turns(5, 12<<10, "a", "x", "b", "y", "c")
		d.remove("a", "b", "c")
	}, false},
	{"DFR-05-braid files with each other's fragments between theirs", 64, func(d *Dir) {
		d.turns(12, 8<<10, "a", "b")
		d.remove("a", "b")
	}, false},
	{"DFR-05-nest a file between the fragments of another", 64, func(d *Dir) {
		d.write("outer", 32<<10)
		d.write("inner", 32<<10)
		d.write("outer", 32<<10)
		d.remove("outer", "inner")
	}, false},
	{"DFR-06 a large file", 96, func(d *Dir) { d.write("large", 24<<20); d.remove("large") }, false},
	{"DFR-07 an overwritten file", 64, func(d *Dir) { d.overwritten(1) }, true},
	{"DFR-08 several overwritten files", 64, func(d *Dir) { d.overwritten(6) }, true},
	{"DFR-09 a thousand files", 96, func(d *Dir) { d.thousand(); d.remove(d.names("many")...) }, false},
	{"DFR-10 a thousand files, some overwritten", 96, func(d *Dir) {
		d.thousand()
		d.remove(d.names("many")...)
		d.fill(4000, 400_000)
	}, true},
	{"DFR-11 a folder", 64, func(d *Dir) { d.folder("folder"); d.removeAll("folder") }, false},
	{"DFR-12 folders in folders", 64, func(d *Dir) {
		for _, at := range []string{"a", "a/b", "a/b/c", "d"} {
			d.folder(at)
		}
		d.removeAll("a")
		d.removeAll("d")
	}, false},
	{"DFR-13 random activity", 64, func(d *Dir) { d.random(400) }, true},
	{"DFR-14 links and devices", 64, func(d *Dir) {
		d.write("linked", 9000)
		d.link("linked", "kept-link")
		d.symlink("short", "target")
		d.symlink("long", strings.Repeat("t/", 400))
		d.fifo("fifo")
		d.remove("short", "long", "fifo")
		d.removeName("linked") // its other name is there: nothing is deleted
	}, false},
	{"empty files, files with holes, times", 64, func(d *Dir) {
		d.write("empty", 0)
		d.holes("holes")
		d.write("times", 700)
		d.times("times", Stamp)
		d.remove("empty", "holes", "times")
	}, false},
}

// Stamp is the time that the file "times" of the last case had.
var Stamp = time.Date(2021, 3, 4, 5, 6, 7, 891011000, time.UTC)

// Listed makes what DFR-15 to DFR-17 list, none of it deleted: an object of each
// kind, thousands of files, and a deep path. It returns their number.
func Listed(d *Dir) int {
	d.write("file", 10)
	d.symlink("symlink", "file")
	d.fifo("fifo")
	d.mkdir("folder")
	d.link("file", "hard link")
	n := 5
	for i := range 3000 {
		d.write(fmt.Sprintf("folder/%04d", i), 1)
		n++
	}
	deep := "deep"
	for range 100 {
		d.mkdir(deep)
		deep = path.Join(deep, "folder")
		n++
	}
	d.write(deep, 3)
	return n + 1
}

// turns writes pieces of files one after the other, so that they lie between each other.
func (d *Dir) turns(rounds, size int, names ...string) {
	for range rounds {
		for _, name := range names {
			d.write(name, size)
		}
	}
}

// overwritten deletes files of 1 MiB and fills the filesystem; every second of the
// files that fill it is deleted again.
func (d *Dir) overwritten(n int) {
	for i := range n {
		d.write(fmt.Sprint("victim-", i), 1<<20)
	}
	d.remove(d.names("victim-")...)
	d.fill(1<<20, 1<<20)
	for i := 0; i < 200; i += 2 {
		os.Remove(d.at(fmt.Sprint("filler-", i)))
	}
	d.Sync()
}

// thousand makes a thousand small files in folders.
func (d *Dir) thousand() {
	for i := range 1000 {
		d.quick(fmt.Sprintf("many-%d/file-%d", i%10, i), 100+i*7)
	}
	d.Sync()
}

func (d *Dir) folder(at string) {
	for i := range 5 {
		d.write(fmt.Sprintf("%s/file-%d", at, i), 3000+i)
	}
}

// random makes, lengthens and deletes files.
func (d *Dir) random(steps int) {
	for i := range steps {
		name := fmt.Sprintf("random-%d", d.rnd.IntN(40))
		if _, there := d.sums[name]; there && d.rnd.IntN(3) == 0 {
			d.remove(name)
			continue
		}
		if d.Want[name] != "" {
			name = fmt.Sprintf("later-%d", i) // one name, one content
		}
		d.quick(name, d.rnd.IntN(60_000))
		if i%20 == 0 {
			d.Sync()
		}
	}
	d.Sync()
}

// New returns a case's folder: a mounted filesystem.
func New(t *testing.T, dir string) *Dir {
	t.Helper()
	return &Dir{t: t, dir: dir, rnd: rand.New(rand.NewPCG(8, 9)), sums: map[string]string{}, Want: map[string]string{}, Targets: map[string]string{}}
}
