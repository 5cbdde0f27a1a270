// Package ebs reads a snapshot of an Amazon EBS volume through the EBS direct
// APIs (API version 2019-11-02: ListSnapshotBlocks, GetSnapshotBlock) as the bytes of a disk. Only
// the blocks that are read are fetched, each once: they are kept in a sparse
// file, for the next run too where a folder is given for that.
//
// A snapshot holds blocks of 512 KiB; one that it doesn't list was never written
// and reads as zeros. Which blocks there are is asked for in segments, when the
// first block of one is read, so that neither the time nor the memory of opening
// depends on the size of the volume. The data of each block is compared with the
// SHA-256 that came with it, and with the one that was kept whenever it is read
// again from an earlier run's file.
//
// What answers is a service of others: tokens expire and are asked for again,
// requests are refused for a while, connections break, data is damaged on the
// way. All these are tried again, after a pause that grows. A service that stays away, or
// denies access, ends all further reading at once. Answers may be hostile: no number in one sizes memory.
//
// The network is in none of lagan's programs but the one that is built with the
// tag ebs; in the others Open says so.
package ebs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"lagan/evidence"
)

// Location says which snapshot is meant.
type Location struct {
	Region   string // "" is that of the environment
	Snapshot string
}

// form is how a location is written: ebs:snap-0123456789abcdef0, with the
// region before it if need be (ebs:eu-central-1/snap-...), with // or without.
var form = regexp.MustCompile(`^ebs:(?://)?(?:([a-z]{2,4}(?:-[a-z0-9]+){1,4})/)?(snap-[0-9a-f]{8,32})$`)

// Parse tells a location from the path of a file.
func Parse(s string) (Location, bool) {
	m := form.FindStringSubmatch(s)
	if m == nil {
		return Location{}, false
	}
	return Location{m[1], m[2]}, true
}

// The errors of an API that ask for something else than to fail: to wait and
// try again, to ask for new tokens, to give all up.
var (
	ErrTemporary = errors.New("the service didn't answer as it should")
	ErrToken     = errors.New("the token is no longer valid")
	ErrDenied    = errors.New("the service denies access")
)

// ErrNotBuilt says that this program has no network.
var ErrNotBuilt = fmt.Errorf("this lagan has no network: use lagan-ebs, or attach or download the snapshot (scripts/ebs/README.md): %w", evidence.ErrUnsupported)

// API is what of the service is used.
type API interface {
	// List returns a page of the snapshot's blocks from start on, in order, or the
	// page that the last one's Next stands for.
	List(ctx context.Context, snapshot string, start int64, most int, next string) (*Page, error)
	// Get returns a block's data, no more than most bytes, with its SHA-256.
	Get(ctx context.Context, snapshot string, block int64, token string, most int64) (data, sum []byte, err error)
}

// Page is a part of the list of a snapshot's blocks.
type Page struct {
	Blocks    []Block
	Next      string // "": there are no more
	Expires   time.Time
	BlockSize int64
	Size      int64 // of the volume, in bytes
}

// Block is one block that the snapshot has.
type Block struct {
	Index int64
	Token string
}

// Options say where fetched blocks go.
type Options struct {
	TempDir  string // for a file without a name; "" is the system's folder
	CacheDir string // keeps them for the next run, in the place of TempDir
}

const (
	// maxVolume is the size of EBS's largest volumes, 64 TiB.
	maxVolume = 64 << 40
	// A block is of 512 KiB; the API says how large, and may say another power of two.
	minBlock, maxBlock = 64 << 10, 4 << 20

	attempts     = 8 // at one request: with the pauses, a minute and a half
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
	patience     = 60 * time.Second // for one answer
	// lostAfter blocks in a row that could not be fetched, the service is away.
	lostAfter = 3
	// parallel requests at a time: the service takes 1,000 a second of an account,
	// and one connection gives about 10.
	parallel = 8
)

// Snapshot is the disk. It is an image.Image.
type Snapshot struct {
	ctx   context.Context
	api   API
	at    Location
	store *store
	block int64 // bytes of one
	size  int64

	slots chan struct{}
	wait  func(context.Context, time.Duration) error

	mu       sync.Mutex
	segments map[int64]*segment
	recent   []*segment        // with tokens, the latest last
	inFlight map[int64]*flight // blocks that are being fetched
	lost     int               // blocks in a row
	end      error             // nothing is asked for any more
	counts   Counts
}

// Counts tells what was asked of the service.
type Counts struct {
	Blocks   int64 // of the volume, there or not
	Fetched  int64
	Bytes    int64 // of these
	Kept     int64 // taken from an earlier run
	Lists    int64 // requests for lists
	Repeated int64 // requests that were made again
}

// Open opens a snapshot. The context is that of all later reading.
func Open(ctx context.Context, at Location, o Options) (*Snapshot, error) {
	api, err := dial(ctx, at.Region)
	if errors.Is(err, ErrNotBuilt) && o.CacheDir != "" {
		api, err = nowhere{}, nil // what was fetched before can be read
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.Snapshot, err)
	}
	return OpenAPI(ctx, api, at, o)
}

// nowhere is the API of a program without a network.
type nowhere struct{}

func (nowhere) List(context.Context, string, int64, int, string) (*Page, error) {
	return nil, fmt.Errorf("%w: %w", ErrDenied, ErrNotBuilt)
}

func (nowhere) Get(context.Context, string, int64, string, int64) (data, sum []byte, err error) {
	return nil, nil, fmt.Errorf("%w: %w", ErrDenied, ErrNotBuilt)
}

// OpenAPI opens a snapshot through an API of the caller's.
func OpenAPI(ctx context.Context, api API, at Location, o Options) (*Snapshot, error) {
	s := &Snapshot{
		ctx: ctx, api: api, at: at, slots: make(chan struct{}, parallel), wait: pause,
		segments: map[int64]*segment{}, inFlight: map[int64]*flight{},
	}
	var err error
	if s.store, err = newStore(at, o); err != nil {
		return nil, err
	}
	if s.block, s.size = s.store.block, s.store.size; s.size == 0 {
		if err := s.measure(); err != nil {
			s.store.close()
			return nil, fmt.Errorf("%s: %w", at.Snapshot, err)
		}
	}
	s.counts.Blocks = (s.size + s.block - 1) / s.block
	return s, nil
}

// measure asks how large the volume is: any page of the list says so.
func (s *Snapshot) measure() error {
	page, err := s.list(0, 0, "")
	if err != nil {
		return err
	}
	switch b := page.BlockSize; {
	case b < minBlock || b > maxBlock || b&(b-1) != 0:
		return fmt.Errorf("blocks of %d bytes: %w", b, evidence.ErrUnsupported)
	case page.Size <= 0 || page.Size > maxVolume:
		return fmt.Errorf("a volume of %d bytes: %w", page.Size, evidence.ErrUnsupported)
	}
	s.block, s.size = page.BlockSize, page.Size
	return s.store.measured(s.block, s.size)
}

// Size implements image.Image.
func (s *Snapshot) Size() int64 { return s.size }

// Format implements image.Image.
func (s *Snapshot) Format() string { return "ebs" }

// Close implements image.Image.
func (s *Snapshot) Close() error { return s.store.close() }

// Counts returns what was asked of the service so far.
func (s *Snapshot) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Usage is Counts in words.
func (s *Snapshot) Usage() string {
	c := s.Counts()
	return fmt.Sprintf("%s: %d of %d blocks of %d KiB fetched (%.1f MiB), %d kept from before, %d requests for lists, %d requests made again",
		s.at.Snapshot, c.Fetched, c.Blocks, s.block>>10, float64(c.Bytes)/(1<<20), c.Kept, c.Lists, c.Repeated)
}

// ReadAt implements io.ReaderAt: what could be read up to the first block that
// couldn't, and why.
func (s *Snapshot) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: reading at %d: negative offset", s.at.Snapshot, off)
	}
	var short error
	if int64(len(p)) > s.size-off {
		p, short = p[:max(0, s.size-off)], io.EOF
	}
	for n := 0; n < len(p); {
		// As many blocks as are fetched at once.
		at := off + int64(n)
		first := at / s.block
		part := p[n:min(len(p), n+int((first+parallel)*s.block-at))]
		good, err := s.readBlocks(part, at)
		if n += good; err != nil {
			return n, err
		}
	}
	return len(p), short
}

// readBlocks reads p, which is not empty and of a few blocks.
func (s *Snapshot) readBlocks(p []byte, off int64) (int, error) {
	first, last := off/s.block, (off+int64(len(p))-1)/s.block
	states := make([]state, last-first+1)
	errs := make([]error, len(states))
	var wg sync.WaitGroup
	for i := range states[1:] {
		wg.Go(func() { states[i+1], errs[i+1] = s.need(first + int64(i) + 1) })
	}
	states[0], errs[0] = s.need(first)
	wg.Wait()
	done := 0
	for i, st := range states {
		block := first + int64(i)
		part := p[done:min(len(p), int((block+1)*s.block-off))]
		if errs[i] != nil {
			return done, fmt.Errorf("%s, block %d at offset %#x: %w", s.at.Snapshot, block, block*s.block, errs[i])
		}
		if st == absent {
			clear(part)
		} else if _, err := s.store.data.ReadAt(part, off+int64(done)); err != nil {
			return done, fmt.Errorf("reading the file of fetched blocks: %w", err)
		}
		done += len(part)
	}
	return done, nil
}

// flight is a block on its way.
type flight struct {
	done  chan struct{}
	state state
	err   error
}

// need has a block in the store, or knows that the snapshot has none. Several
// who need the same one wait for one request.
func (s *Snapshot) need(block int64) (state, error) {
	s.mu.Lock()
	if g := s.segments[block/segmentBlocks]; g != nil {
		if st := g.states[block%segmentBlocks]; st == absent || st == stored {
			s.mu.Unlock()
			return st, nil
		}
	}
	if f := s.inFlight[block]; f != nil {
		s.mu.Unlock()
		<-f.done
		return f.state, f.err
	}
	f := &flight{done: make(chan struct{})}
	s.inFlight[block] = f
	s.mu.Unlock()

	s.slots <- struct{}{}
	f.state, f.err = s.obtain(block)
	<-s.slots

	s.mu.Lock()
	delete(s.inFlight, block)
	s.mu.Unlock()
	close(f.done)
	return f.state, f.err
}

// try makes a request until it succeeds, fails for good, or was made often enough.
func (s *Snapshot) try(request func(context.Context) error) error {
	delay := firstPause
	for n := 1; ; n++ {
		if err := s.ended(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		err := request(ctx)
		late := ctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			return nil
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case errors.Is(err, ErrDenied):
			return s.giveUp(err)
		case !errors.Is(err, ErrTemporary) && !late:
			return err
		case n == attempts:
			return fmt.Errorf("after %d attempts: %w", n, err)
		}
		// Between half the pause and all of it, so that those who were refused together don't come again together.
		if err := s.wait(s.ctx, delay/2+rand.N(delay/2)); err != nil {
			return err
		}
		delay = min(2*delay, longestPause)
		s.mu.Lock()
		s.counts.Repeated++
		s.mu.Unlock()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *Snapshot) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// giveUp ends all further requests: the first reason is the one that is told.
func (s *Snapshot) giveUp(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = fmt.Errorf("nothing more is asked for: %w", err)
	}
	return s.end
}
