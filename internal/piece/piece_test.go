package piece

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

func TestReadAt(t *testing.T) {
	disk := make([]byte, 100)
	for i := range disk {
		disk[i] = byte(i)
	}
	bad := errors.New("bad piece")
	read := func(p []byte, off int64) (int, error) {
		if off >= 70 && off < 80 {
			return 0, bad
		}
		n := min(len(p), int(10-off%10))
		return copy(p[:n], disk[off:]), nil
	}
	for _, c := range []struct {
		off, length int64
		n           int
		err         error
	}{
		{0, 100, 70, bad}, {0, 5, 5, nil}, {3, 40, 40, nil}, {80, 20, 20, nil}, {80, 21, 20, io.EOF}, {85, 100, 15, io.EOF},
		{100, 1, 0, io.EOF}, {1 << 62, 1, 0, io.EOF}, {69, 1, 1, nil}, {69, 2, 1, bad}, {20, 0, 0, nil}, {35, 50, 35, bad},
	} {
		for name, f := range map[string]func([]byte, int64) (int, error){
			"one":  func(p []byte, off int64) (int, error) { return ReadAt(p, off, 100, read) },
			"many": func(p []byte, off int64) (int, error) { return ReadAtOnAllCores(p, off, 100, 10, read) },
		} {
			p := make([]byte, c.length)
			n, err := f(p, c.off)
			if n != c.n || !errors.Is(err, c.err) || n > 0 && !bytes.Equal(p[:n], disk[c.off:c.off+int64(n)]) {
				t.Errorf("%s %d+%d: %d, %v; want %d, %v", name, c.off, c.length, n, err, c.n, c.err)
			}
		}
	}
	if _, err := ReadAt(nil, -1, 100, read); err == nil {
		t.Error("a negative offset is read")
	}
}

func TestPanicInAPart(t *testing.T) {
	_, err := ReadAtOnAllCores(make([]byte, 100), 0, 100, 10, func([]byte, int64) (int, error) { panic("no") })
	if err == nil {
		t.Error("no error")
	}
}

func TestCache(t *testing.T) {
	c := NewCache[int](10 * (100 + entryCost))
	loads := map[int]int{}
	var mu sync.Mutex
	get := func(k int) error {
		b, err := c.Get(k, func() ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			loads[k]++
			if k == 7 {
				return nil, errors.New("seven")
			}
			return bytes.Repeat([]byte{byte(k)}, 100), nil
		})
		if err == nil && b[99] != byte(k) {
			t.Errorf("piece %d is %d", k, b[99])
		}
		return err
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for k := range 9 {
				if err := get(k); (err != nil) != (k == 7) {
					t.Errorf("piece %d: %v", k, err)
				}
			}
		}()
	}
	wg.Wait()
	if s := fmt.Sprint(loads); s != "map[0:1 1:1 2:1 3:1 4:1 5:1 6:1 7:1 8:1]" {
		t.Errorf("loaded %s", s)
	}
	for k := range 200 {
		get(k)
	}
	if c.held > c.max || c.order.Len() != len(c.byKey) {
		t.Errorf("%d bytes of %d held, %d and %d entries", c.held, c.max, c.order.Len(), len(c.byKey))
	}
}

func TestTable(t *testing.T) {
	b := make([]byte, 2*pageSize+6)
	binary.BigEndian.PutUint64(b[pageSize-3:], 0x1122334455667788)
	tab := NewTable(bytes.NewReader(b), binary.BigEndian, 1<<20)
	if v, err := tab.U64(pageSize - 3); v != 0x1122334455667788 || err != nil {
		t.Errorf("%x, %v", v, err)
	}
	if v, err := tab.U32(pageSize + 1); v != 0x55667788 || err != nil {
		t.Errorf("%x, %v", v, err)
	}
	for _, off := range []int64{2*pageSize + 4, 2*pageSize + 6, 1 << 62, -4} {
		if _, err := tab.U32(off); err == nil {
			t.Errorf("offset %d was read", off)
		}
	}
}
