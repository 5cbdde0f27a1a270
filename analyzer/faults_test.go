package analyzer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/timeline"
)

// every is how many reads lie between two faults; 1 is each of them.
var every = flag.Int64("every", 0, "TestFaults: let every so manieth read fail (0: about 25 of an image's)")

// TestFaults lets one read after the other fail, or end early, while an image
// is opened and all of it is told. The rest must be told as without the fault,
// and where anything differs, a gap must say so.
func TestFaults(t *testing.T) {
	needs.Time(t)
	for name, make := range map[string]func(*testing.T) []byte{
		"docker on ext4": dockerImage,
		"xfs":            func(t *testing.T) []byte { return fixtures.Unpack(t, "../evidence/xfs/testdata/shapes.img.zst") },
		"btrfs":          func(t *testing.T) []byte { return fixtures.Unpack(t, "../evidence/btrfs/testdata/plain.img.zst") },
	} {
		t.Run(name, func(t *testing.T) { testFaults(t, make(t)) })
	}
}

func testFaults(t *testing.T, disk []byte) {
	clean := &faulty{data: disk, at: -1}
	want, gaps := tellAll(t, clean)
	if len(want) < 20 {
		t.Fatalf("only %d lines: there is too little to lose", len(want))
	}
	reads := clean.reads.Load()
	step := *every
	if step == 0 {
		step = max(reads/25, 1)
	}
	silent, refused := 0, 0
	for at := int64(0); at < reads; at += step {
		for _, short := range []bool{false, true} {
			f := &faulty{data: disk, at: at, short: short}
			got, told := tellAll(t, f)
			switch {
			case got == nil:
				refused++ // nothing could be opened, and the error says so
			case slices.ContainsFunc(told, func(g string) bool { return strings.Contains(g, "internal error, please report") }):
				t.Errorf("read %d (short %v): a panic: %q", at, short, told)
			case len(told) <= len(gaps) && !slices.Equal(got, want):
				silent++
				t.Errorf("read %d at 0x%x (short %v): something else is told, and no gap: %s", at, f.failed.Load(), short, firstDifference(want, got))
			}
		}
	}
	t.Logf("%d reads, every %d. failed: %d silent, %d refused", reads, step, silent, refused)
}

func firstDifference(want, got []string) string {
	for _, w := range want {
		if !slices.Contains(got, w) {
			return "missing " + w
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			return "new " + g
		}
	}
	return "the order"
}

// TestTruncations cuts a disk short at many places: no reader panics, and what
// is lost is said.
func TestTruncations(t *testing.T) {
	needs.Time(t)
	disk := dockerImage(t)
	want, gaps := tellAll(t, &faulty{data: disk, at: -1})
	cuts := 10
	if *every == 1 {
		cuts = 200
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range cuts {
		size := r.IntN(len(disk))
		got, told := tellAll(t, &faulty{data: disk[:size], at: -1})
		if slices.ContainsFunc(told, func(g string) bool { return strings.Contains(g, "internal error, please report") }) {
			t.Errorf("cut at 0x%x: a panic: %q", size, told)
		}
		if len(told) <= len(gaps) && !slices.Equal(got, want) {
			t.Errorf("cut at 0x%x: something else is told, and no gap: %s", size, firstDifference(want, got))
		}
	}
}

var errFault = errors.New("input/output error")

// faulty is a disk whose read number at fails.
type faulty struct {
	data   []byte
	at     int64
	short  bool
	reads  atomic.Int64
	failed atomic.Int64
}

func (f *faulty) ReadAt(p []byte, off int64) (int, error) {
	n := f.reads.Add(1) - 1
	if n == f.at {
		f.failed.Store(off)
		if !f.short || off >= int64(len(f.data)) {
			return 0, errFault
		}
		return copy(p[:len(p)/2], f.data[off:]), errFault
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *faulty) Size() int64    { return int64(len(f.data)) }
func (f *faulty) Format() string { return "raw" }
func (f *faulty) Close() error   { return nil }

// tellAll opens the disk and returns a sorted line for everything in it, and
// the gaps; no lines where it can't be opened.
func tellAll(t *testing.T, f *faulty) (lines, gaps []string) {
	n, err := OpenImage(t.Context(), "disk", f, Options{})
	if err != nil {
		return nil, []string{err.Error()}
	}
	defer n.Close()
	if n.Tree != nil {
		walkAll(n, n.Tree, "node", &lines)
	}
	for _, c := range n.Containers() {
		lines = append(lines, fmt.Sprintf("container %s %s %s %s", c.ID, c.Name, c.State, c.Image))
		if tree, err := n.View(c); err != nil {
			n.gap(0, c.ID, err)
		} else {
			walkAll(n, tree.FS, c.ID, &lines)
		}
	}
	for _, i := range n.Images() {
		lines = append(lines, fmt.Sprintf("image %s %s", i.ID, i.Names))
	}
	err = n.Timeline(t.Context(), TimelineOptions{Scope: ScopeAll}, func(*timeline.Record) error { return nil })
	if err != nil {
		t.Errorf("timeline: %v", err)
	}
	for _, g := range n.Gaps() {
		gaps = append(gaps, g.String())
	}
	slices.Sort(lines)
	return lines, gaps
}

func walkAll(n *Node, fsys evidence.FS, name string, lines *[]string) {
	err := evidence.Walk(fsys, fsys.Root(), func(p string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			n.gap(0, name+":"+p, err)
			return nil
		}
		sum := sha256.New()
		if info.Type == evidence.TypeFile {
			r, err := fsys.Open(e.Ino)
			if err == nil {
				_, err = io.Copy(sum, r)
			}
			if err != nil {
				n.gap(0, name+":"+p, err)
				return nil
			}
		}
		*lines = append(*lines, fmt.Sprintf("%s %s %v %d %s %x", name, p, info.Type, info.Size, info.Mtime, sum.Sum(nil)[:6]))
		return nil
	})
	if err != nil {
		n.gap(0, name, err)
	}
}

// dockerImage is a small ext4 with what a fixture's dockerd kept: its records,
// and of each layer the small files.
func dockerImage(t *testing.T) []byte {
	needs.Tool(t, "mke2fs")
	n := openFixture(t, "docker-ext4", Options{NoScan: true})
	top := t.TempDir()
	err := evidence.Walk(n.Tree, n.Tree.Root(), func(p string, e evidence.Entry, info evidence.Info, err error) error {
		to := filepath.Join(top, filepath.FromSlash(p))
		switch {
		case err != nil:
			return err
		case info.Type == evidence.TypeDir:
			return os.MkdirAll(to, 0o755)
		case info.Type != evidence.TypeFile || info.Size > 20_000:
			return nil
		}
		b, err := evidence.ReadInode(n.Tree, e.Ino, 20_000)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", top, image, "48M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
