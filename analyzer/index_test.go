package analyzer

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
)

func TestPackedTime(t *testing.T) {
	x := &index{extras: make([]extra, 1)}
	for k, want := range []time.Time{
		{}, time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(1700000000, 123456789), time.Unix(math.MinInt32, 0),
		time.Unix(timeRange+timeBase-1, 999999999), time.Unix(timeRange+timeBase, 1), time.Unix(timeBase-1, 5), time.Unix(1<<40, 7), time.Unix(-1<<40, 0),
	} {
		info := evidence.Info{Inode: uint64(k), Type: evidence.TypeFile, Btime: want}
		if err := x.add(evidence.Ino(k), &info, "", nil); err != nil {
			t.Fatal(err)
		}
		n := x.node(int32(k))
		sec, nsec, known := x.time(n.node, 3)
		if known == want.IsZero() || known && !time.Unix(sec, int64(nsec)).Equal(want) {
			t.Errorf("%v: got %d.%09d, %v", want, sec, nsec, known)
		}
		if _, _, known := x.time(n.node, 0); known {
			t.Errorf("%v: an unknown time became known", want)
		}
	}
}

// TestIndexOrder checks that nodes are found by handles that come in any order.
func TestIndexOrder(t *testing.T) {
	x := &index{extras: make([]extra, 1)}
	for _, ino := range []evidence.Ino{7, 3, 9, 1 << 60, 2} {
		if err := x.add(ino, &evidence.Info{Inode: uint64(ino) + 1, Type: evidence.TypeDir}, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	x.sort()
	for i, ino := range []evidence.Ino{7, 3, 9, 1 << 60, 2} {
		if got := x.place(ino); got != int32(i) {
			t.Errorf("%d: got %d, want %d", ino, got, i)
		}
		if got := x.inode(int32(i)); got != uint64(ino)+1 {
			t.Errorf("inode of %d: got %d", ino, got)
		}
	}
	if got := x.place(4); got != -1 {
		t.Errorf("a handle that is not there: got %d", got)
	}
}

// TestIndexNames fills directories in turns, past the end of a block.
func TestIndexNames(t *testing.T) {
	const dirs, each = 3, 20_000
	x := &index{extras: make([]extra, 1)}
	for ino := range dirs + each {
		if err := x.add(evidence.Ino(ino), &evidence.Info{Type: evidence.TypeFile, UID: uint32(ino)}, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	x.sort()
	name := func(dir, i int) string { return strings.Repeat("n", (i+dir)%200) + strconv.Itoa(i) }
	for i := range each {
		for dir := range dirs {
			if err := x.link(int32(dir), int32(dirs+i), name(dir, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(x.names.blocks) < 2 {
		t.Fatalf("%d blocks: too few for the test", len(x.names.blocks))
	}
	for dir := range dirs {
		e := x.names.of(int32(dir))
		for i := range each {
			child, got, ok := x.names.next(&e)
			if !ok || child != int32(dirs+i) || string(got) != name(dir, i) {
				t.Fatalf("directory %d, entry %d: got %d %q %v", dir, i, child, got, ok)
			}
		}
		if _, _, ok := x.names.next(&e); ok {
			t.Errorf("directory %d has too many entries", dir)
		}
	}
	if got := x.node(dirs + each - 1).uid; got != dirs+each-1 {
		t.Errorf("owner: got %d", got)
	}
	if err := x.link(0, 0, strings.Repeat("x", 256)); err == nil {
		t.Error("a name of 256 bytes was taken")
	}
}
