package analyzer

import (
	"math"
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
		sec, nsec, known := x.time(n, 3)
		if known == want.IsZero() || known && !time.Unix(sec, int64(nsec)).Equal(want) {
			t.Errorf("%v: got %d.%09d, %v", want, sec, nsec, known)
		}
		if _, _, known := x.time(n, 0); known {
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
