package xfs

import (
	"bytes"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
)

// badDisk can't read some of its bytes.
type badDisk struct {
	b        []byte
	from, to int64 // what can't be read
	reads    atomic.Int64
}

func (d *badDisk) ReadAt(p []byte, off int64) (int, error) {
	d.reads.Add(1)
	n, err := bytes.NewReader(d.b).ReadAt(p, off)
	if bad := d.from - off; off < d.to && bad < int64(n) {
		return int(max(bad, 0)), errors.New("bad sector")
	}
	return n, err
}

// What lies beside the pieces is given once, in its order among them, and where that can't be read
// the pieces are told all the same.
func TestReadAheadPassed(t *testing.T) {
	const k = 1 << 10
	disk := &badDisk{b: make([]byte, 1<<20)}
	for i := range disk.b {
		disk.b[i] = byte(i / 512 * 7)
	}
	pieces := []piece{{off: 8 * k, n: 4 * k}, {off: 14 * k, n: 2 * k}, {off: 200 * k, n: 4 * k}, {off: 1020 * k, n: 4 * k}}
	beside := [][2]int64{{0, 8 * k}, {12 * k, 14 * k}, {16 * k, 20 * k}, {184 * k, 200 * k}, {204 * k, 208 * k}, {1004 * k, 1020 * k}}
	for name, c := range map[string]struct {
		from, to int64
		reads    int64
		want     [][2]int64
	}{
		"all can be read":                     {0, 0, 3, beside},
		"what is before the first can't":      {2 * k, 3 * k, 4, beside[1:]},
		"what is behind the second can't":     {17 * k, 18 * k, 3, slices.Concat(beside[:2], [][2]int64{{16 * k, 17 * k}}, beside[3:])},
		"what is between the first two can't": {13 * k, 14 * k, 4, slices.Concat(beside[:1], [][2]int64{{12 * k, 13 * k}}, beside[3:])},
	} {
		disk.from, disk.to = c.from, c.to
		disk.reads.Store(0)
		var got [][2]int64
		last := int64(0)
		readAhead(disk, int64(len(disk.b)), pieces, func(off int64, b []byte) {
			if off < last || !bytes.Equal(b, disk.b[off:off+int64(len(b))]) {
				t.Errorf("%s: %d bytes at %#x, after %#x, are not the disk's", name, len(b), off, last)
			}
			last = off + int64(len(b))
			got = append(got, [2]int64{off, last})
		}, func(p piece, b []byte, err error) bool {
			if err != nil || !bytes.Equal(b, disk.b[p.off:p.off+int64(p.n)]) {
				t.Errorf("%s: the piece at %#x: %v", name, p.off, err)
			}
			last = max(last, p.off)
			return true
		})
		if !slices.Equal(got, c.want) || disk.reads.Load() != c.reads {
			t.Errorf("%s: %d reads, beside the pieces %v, want %d and %v", name, disk.reads.Load(), got, c.reads, c.want)
		}
	}
}
