package ebs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const testBlock = 64 << 10

// cloud is a service of ours: blocks of a disk, of which those that are zeros don't exist.
type cloud struct {
	mu          sync.Mutex
	disk        []byte
	page        int           // blocks of one page at most
	life        time.Duration // of tokens, as pages say
	generation  int           // of tokens: only the latest are taken
	got         map[int64]int
	lists       int
	disturb     func(n int, block int64) error                              // before the nth answer to Get
	damage      func(n int, block int64, data, sum []byte) ([]byte, []byte) // to it
	listFailure func(n int) error
	gets        int
}

func newCloud(blocks ...int64) *cloud {
	c := &cloud{page: 3, life: time.Hour, got: map[int64]int{}, disk: make([]byte, 40*testBlock-1000)}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, b := range blocks {
		part := c.disk[b*testBlock : min(int64(len(c.disk)), (b+1)*testBlock)]
		for i := range part {
			part[i] = byte(rng.Uint32())
		}
	}
	return c
}

func (c *cloud) exists(b int64) bool {
	part := c.disk[b*testBlock : min(int64(len(c.disk)), (b+1)*testBlock)]
	return !bytes.Equal(part, make([]byte, len(part)))
}

func (c *cloud) List(_ context.Context, _ string, start int64, most int, next string) (*Page, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists++
	if c.listFailure != nil {
		if err := c.listFailure(c.lists); err != nil {
			return nil, err
		}
	}
	if next != "" {
		fmt.Sscan(next, &start)
	} else {
		c.generation++
	}
	p := &Page{BlockSize: testBlock, Size: int64(len(c.disk)), Expires: time.Now().Add(c.life)}
	for b := start; b*testBlock < int64(len(c.disk)); b++ {
		if !c.exists(b) {
			continue
		}
		if len(p.Blocks) == min(c.page, max(most, 100)) {
			p.Next = fmt.Sprint(b)
			break
		}
		p.Blocks = append(p.Blocks, Block{b, fmt.Sprintf("%d/%d", c.generation, b)})
	}
	return p, nil
}

func (c *cloud) Get(_ context.Context, _ string, block int64, token string, _ int64) (data, sum []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gets++
	if c.disturb != nil {
		if err := c.disturb(c.gets, block); err != nil {
			return nil, nil, err
		}
	}
	if token != fmt.Sprintf("%d/%d", c.generation, block) {
		return nil, nil, fmt.Errorf("%q: %w", token, ErrToken)
	}
	c.got[block]++
	data = make([]byte, testBlock)
	copy(data, c.disk[block*testBlock:])
	s := sha256.Sum256(data)
	sum = s[:]
	if c.damage != nil {
		data, sum = c.damage(c.gets, block, data, sum)
	}
	return data, sum, nil
}

// open opens the cloud's disk, and waits for nothing.
func (c *cloud) open(t *testing.T, o Options) (*Snapshot, *[]time.Duration) {
	t.Helper()
	s, err := OpenAPI(t.Context(), c, Location{Snapshot: "snap-0123456789abcdef0"}, o)
	if err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	var mu sync.Mutex
	s.wait = func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, d)
		return ctx.Err()
	}
	t.Cleanup(func() { s.Close() })
	return s, &waits
}

// same reads the whole disk in pieces of odd sizes, and compares.
func (c *cloud) same(t *testing.T, s *Snapshot) {
	t.Helper()
	for _, size := range []int{1000, 7*testBlock + 123} {
		var got []byte
		r := io.NewSectionReader(s, 0, s.Size())
		buf := make([]byte, size)
		for {
			n, err := r.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, c.disk) {
			t.Fatal("the disk is read as another one")
		}
	}
}

func TestParse(t *testing.T) {
	for path, want := range map[string]Location{
		"ebs:snap-0123456789abcdef0":                 {"", "snap-0123456789abcdef0"},
		"ebs:eu-central-1/snap-01234567":             {"eu-central-1", "snap-01234567"},
		"ebs://us-gov-west-1/snap-0123456789abcdef0": {"us-gov-west-1", "snap-0123456789abcdef0"},
	} {
		if got, ok := Parse(path); got != want || !ok {
			t.Errorf("%s: %v", path, got)
		}
	}
	for _, path := range []string{"", "snap-0123456789abcdef0", "ebs:snap-", "./ebs:snap-0123456789abcdef0", "ebs:snap-0123456789ABCDEF0", "ebs:../snap-0123456789abcdef0", "ebs:eu-west-1/x/snap-01234567"} {
		if got, ok := Parse(path); ok {
			t.Errorf("%q: %v", path, got)
		}
	}
}

func TestReads(t *testing.T) {
	c := newCloud(0, 1, 5, 6, 7, 8, 9, 39)
	s, _ := c.open(t, Options{TempDir: t.TempDir()})
	p := make([]byte, 10)
	if n, err := s.ReadAt(p, s.Size()-4); n != 4 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := s.ReadAt(p, s.Size()+4); n != 0 || err != io.EOF {
		t.Errorf("past the end: %d, %v", n, err)
	}
	if got := s.Counts(); got.Fetched != 1 || got.Blocks != 40 {
		t.Errorf("one block was read, and %+v", got)
	}
	c.same(t, s)
	if got := s.Counts(); got.Fetched != 8 || got.Bytes != 8*testBlock {
		t.Errorf("all of it was read, and %+v", got)
	}
	for b, n := range c.got {
		if n != 1 {
			t.Errorf("block %d was fetched %d times", b, n)
		}
	}
	if !strings.HasPrefix(s.Usage(), "snap-0123456789abcdef0: 8 of 40 blocks of 64 KiB fetched (0.5 MiB), 0 kept from before, ") {
		t.Error(s.Usage())
	}
}

// TestTogether reads the same blocks from many goroutines.
func TestTogether(t *testing.T) {
	c := newCloud(0, 1, 2, 3, 4, 5, 20, 39)
	s, _ := c.open(t, Options{TempDir: t.TempDir()})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { c.same(t, s) })
	}
	wg.Wait()
	if got := s.Counts(); got.Fetched != 8 {
		t.Errorf("%+v", got)
	}
}

func TestDisturbed(t *testing.T) {
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[3] ^= 1
		return b
	}
	for name, set := range map[string]func(c *cloud){
		"throttled": func(c *cloud) {
			c.disturb = func(n int, _ int64) error {
				if n%3 != 0 {
					return fmt.Errorf("slow down: %w", ErrTemporary)
				}
				return nil
			}
		},
		"damaged": func(c *cloud) {
			c.damage = func(n int, _ int64, data, sum []byte) ([]byte, []byte) {
				switch n % 4 {
				case 0:
					return flip(data), sum
				case 1:
					return data, flip(sum)
				case 2:
					return data[:100], sum
				}
				return data, sum
			}
		},
		"tokens change": func(c *cloud) {
			c.disturb = func(n int, _ int64) error {
				if n%2 == 0 {
					c.generation++
				}
				return nil
			}
		},
		"tokens end": func(c *cloud) { c.life = time.Second },
		"lists fail": func(c *cloud) {
			c.listFailure = func(n int) error {
				if n%3 == 2 {
					return fmt.Errorf("later: %w", ErrTemporary)
				}
				return nil
			}
		},
		"empty pages": func(c *cloud) { c.page = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(0, 1, 2, 5, 9, 22, 39)
			set(c)
			s, waits := c.open(t, Options{TempDir: t.TempDir()})
			s.slots = make(chan struct{}, 1) // what is disturbed is the same each time
			c.same(t, s)
			if got := s.Counts(); got.Fetched != 7 {
				t.Errorf("%+v", got)
			}
			for _, d := range *waits {
				if d < firstPause/2 || d > longestPause {
					t.Errorf("waits %v", d)
				}
			}
		})
	}
}

// TestLost ends soon where the service stays away, or denies.
func TestLost(t *testing.T) {
	for name, cause := range map[string]error{"away": ErrTemporary, "denied": ErrDenied} {
		c := newCloud(0, 1, 2, 3, 4, 5, 6, 7, 20, 30)
		c.disturb = func(n int, block int64) error {
			if block > 0 {
				return fmt.Errorf("no: %w", cause)
			}
			return nil
		}
		s, _ := c.open(t, Options{TempDir: t.TempDir()})
		s.slots = make(chan struct{}, 1)
		b := make([]byte, len(c.disk))
		if _, err := s.ReadAt(b[:1], 0); err != nil { // by itself: beside others it may come after the denial of one
			t.Fatal(err)
		}
		n, err := s.ReadAt(b, 0)
		if n != testBlock || !errors.Is(err, cause) || !bytes.Equal(b[:n], c.disk[:n]) || !strings.Contains(err.Error(), "block 1 at offset 0x10000") {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		before := c.gets
		if _, err := s.ReadAt(b[:10], 30*testBlock); !errors.Is(err, cause) || c.gets != before {
			t.Errorf("%s: asks on: %v", name, err)
		}
		if _, err := s.ReadAt(b[:10], 10*testBlock); !errors.Is(err, cause) && err != nil {
			t.Errorf("%s: a block that isn't there: %v", name, err)
		}
		if c.gets > 1+(lostAfter+1)*attempts { // one may be on its way when the others gave up
			t.Errorf("%s: asks %d times", name, c.gets)
		}
	}
}

func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newCloud(0)
	s, err := OpenAPI(ctx, c, Location{Snapshot: "snap-01234567"}, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.disturb = func(int, int64) error { cancel(); return ErrTemporary }
	if _, err := s.ReadAt(make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestKept reads what an earlier run fetched, without the service; what was
// damaged since is fetched again.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	c := newCloud(0, 1, 5, 39)
	s, _ := c.open(t, Options{CacheDir: dir})
	c.same(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	away := newCloud()
	away.disk, away.listFailure = c.disk, func(int) error { return ErrDenied }
	s, _ = away.open(t, Options{CacheDir: dir})
	c.same(t, s)
	if got := s.Counts(); got.Fetched != 0 || got.Kept != 4 || got.Lists != 0 {
		t.Errorf("%+v", got)
	}
	s.Close()

	path := filepath.Join(dir, "lagan-snap-0123456789abcdef0.blocks")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("other"), 5*testBlock+100)
	f.Close()
	s, _ = c.open(t, Options{CacheDir: dir})
	c.same(t, s)
	if got := s.Counts(); got.Fetched != 1 || got.Kept != 3 {
		t.Errorf("%+v", got)
	}
	s.Close()

	for name, damage := range map[string]func(){
		"cut":       func() { os.Truncate(strings.TrimSuffix(path, "blocks")+"sums", 200) },
		"no head":   func() { os.WriteFile(strings.TrimSuffix(path, "blocks")+"sums", bytes.Repeat([]byte{7}, 3000), 0o600) },
		"no blocks": func() { os.Truncate(path, 0) },
		"nothing":   func() { os.Remove(path) },
	} {
		damage()
		s, err := OpenAPI(t.Context(), c, Location{Snapshot: "snap-0123456789abcdef0"}, Options{CacheDir: dir})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.same(t, s)
		s.Close()
	}
	os.Chmod(path, 0o666)
	if _, err := OpenAPI(t.Context(), c, Location{Snapshot: "snap-0123456789abcdef0"}, Options{CacheDir: dir}); err == nil {
		t.Error("a file that anyone may write is taken")
	}
}

// TestNotBuilt is of a program without a network.
func TestNotBuilt(t *testing.T) {
	if Built {
		t.Skip("this program has a network")
	}
	at, _ := Parse("ebs:snap-0123456789abcdef0")
	if _, err := Open(t.Context(), at, Options{}); !errors.Is(err, ErrNotBuilt) {
		t.Error(err)
	}
	dir := t.TempDir()
	if _, err := Open(t.Context(), at, Options{CacheDir: dir}); !errors.Is(err, ErrNotBuilt) {
		t.Error(err)
	}
	c := newCloud(0, 1, 5, 39)
	s, _ := c.open(t, Options{CacheDir: dir})
	c.same(t, s)
	s.Close()
	s, err := Open(t.Context(), at, Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.same(t, s)
}

// FuzzAnswers opens and reads what a service says that makes no sense.
func FuzzAnswers(f *testing.F) {
	f.Add(int64(testBlock), int64(1<<30), int64(0), int64(5), "t", []byte("data"))
	f.Add(int64(0), int64(-1), int64(-7), int64(1<<62), "", []byte{})
	f.Fuzz(func(t *testing.T, block, size, first, second int64, next string, data []byte) {
		a := nonsense{&Page{BlockSize: block, Size: size, Next: next, Blocks: []Block{{first, "a"}, {second, "b"}}}, data}
		s, err := OpenAPI(t.Context(), a, Location{Snapshot: "snap-01234567"}, Options{TempDir: t.TempDir()})
		if err != nil {
			if s != nil {
				t.Error("an error and a disk")
			}
			return
		}
		defer s.Close()
		s.wait = func(context.Context, time.Duration) error { return nil }
		for _, off := range []int64{0, size / 2, size - 1} {
			s.ReadAt(make([]byte, 100), off)
		}
	})
}

type nonsense struct {
	page *Page
	data []byte
}

func (n nonsense) List(context.Context, string, int64, int, string) (*Page, error) {
	return n.page, nil
}

func (n nonsense) Get(context.Context, string, int64, string, int64) (data, sum []byte, err error) {
	s := sha256.Sum256(n.data)
	return n.data, s[:], nil
}
