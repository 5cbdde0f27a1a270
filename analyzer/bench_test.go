package analyzer

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/timeline"
)

// shape is a filesystem without content of so many inodes, from 2 on: each has
// one name, in the directory that parent says.
type shape struct {
	evidence.FS // of one empty directory: nothing but the scan is asked for
	inodes      int
	isDir       func(i int) bool
	parent      func(i int) int
}

func (s *shape) Root() evidence.Ino { return 2 }

func (s *shape) Inodes() iter.Seq2[evidence.Inode, error] {
	return func(yield func(evidence.Inode, error) bool) {
		t := time.Unix(1_790_000_000, 0)
		for i := range s.inodes {
			typ := evidence.TypeFile
			if i == 0 || s.isDir(i) {
				typ = evidence.TypeDir
			}
			at := t.Add(time.Duration(i%1000) * time.Millisecond)
			info := evidence.Info{Inode: uint64(i) + 2, Type: typ, Perm: 0o644, Nlink: 1, Size: int64(i), Mtime: t, Atime: at, Ctime: at, Btime: at}
			if !yield(evidence.Inode{Ino: evidence.Ino(i) + 2, Info: info}, nil) {
				return
			}
		}
	}
}

func (s *shape) Entries([]evidence.Ino) iter.Seq2[evidence.DirEntry, error] {
	return func(yield func(evidence.DirEntry, error) bool) {
		for i := 1; i < s.inodes; i++ {
			e := evidence.Entry{Name: fmt.Sprintf("a-name-of-some-length-%07d", i), Ino: evidence.Ino(i) + 2}
			if !yield(evidence.DirEntry{Dir: evidence.Ino(s.parent(i)) + 2, Entry: e}, nil) {
				return
			}
		}
	}
}

// shapes are those that are hard on an index.
var shapes = map[string]*shape{
	// One folder of a million names.
	"wide": {inodes: 1_000_000, isDir: func(int) bool { return false }, parent: func(int) int { return 0 }},
	// 4,000 folders in each other, each with a file.
	"deep": {inodes: 8_000, isDir: func(i int) bool { return i%2 == 0 }, parent: func(i int) int { return (i - 1) / 2 * 2 }},
	// A million files whose names come folder by folder in turns, as they do of
	// folders that grew side by side.
	"turns": {inodes: 1_000_000, isDir: func(i int) bool { return i <= 1000 }, parent: func(i int) int {
		if i <= 1000 {
			return 0
		}
		return 1 + i%1000
	}},
}

func BenchmarkIndex(b *testing.B) {
	for _, name := range []string{"wide", "deep", "turns"} {
		b.Run(name, func(b *testing.B) {
			s := shapes[name]
			s.FS = memfs.New()
			b.ReportAllocs()
			var x *index
			for b.Loop() {
				x = indexOf(b, s)
				search(s, x)
			}
			b.ReportMetric(float64(x.bytes())/float64(s.inodes), "bytes/inode")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(s.inodes), "ns/inode")
		})
	}
}

func indexOf(tb testing.TB, s *shape) *index {
	x, err := newIndex(s, s.Root(), func(err error) { tb.Fatal(err) })
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func BenchmarkTell(b *testing.B) {
	for _, name := range []string{"wide", "deep", "turns"} {
		b.Run(name, func(b *testing.B) {
			s := shapes[name]
			s.FS = memfs.New()
			x := indexOf(b, s)
			v := &Volume{Index: 1, FS: s, Evidence: &Evidence{Name: "disk"}}
			b.ReportAllocs()
			told := 0
			for b.Loop() {
				told = 0
				n := newNode(b.Context(), Options{})
				n.Volumes = []*Volume{v}
				t := &teller{n: n, ctx: b.Context(), o: TimelineOptions{Scope: ScopeNode}, pipe: newPipe(func(*timeline.Record) error { told++; return nil })}
				t.r = t.pipe.record()
				if err := t.volume(v, x, nil); err != nil {
					b.Fatal(err)
				}
				if err := t.pipe.close(); err != nil {
					b.Fatal(err)
				}
			}
			if told != s.inodes {
				b.Fatalf("%d of %d inodes were told", told, s.inodes)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(s.inodes), "ns/inode")
		})
	}
}
