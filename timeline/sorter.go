package timeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"sync"
)

// defaultMemory bounds what a Sorter keeps in memory, where Options don't say.
const defaultMemory = 160 << 20

// chunkSize is the size of the blocks that records are kept in. A key has 20
// bits for the place in a block; a larger record gets a block of its own.
const (
	chunkBits = 20
	chunkSize = 1 << chunkBits
)

// key orders one event, in 16 bytes that the garbage collector needn't look at.
type key struct {
	// a: 39 bits of seconds since the year 1, 25 bits of nanoseconds / 32.
	a uint64
	// b: 5 bits of nanoseconds % 32, 5 of nothing, 40 for the record's place,
	// 5 for what happened, 4 for macb.
	b uint64
}

func newKey(s stamp, macb uint8, place uint64) key {
	return key{
		a: uint64(s.sec-minSec)<<25 | uint64(s.nsec>>5),
		b: uint64(s.nsec&31)<<59 | place<<9 | uint64(s.desc)<<4 | uint64(macb),
	}
}

func (k key) sec() int64    { return int64(k.a>>25) + minSec }
func (k key) nsec() uint32  { return uint32(k.a&(1<<25-1))<<5 | uint32(k.b>>59) }
func (k key) place() uint64 { return k.b >> 9 & (1<<40 - 1) }
func (k key) desc() Desc    { return Desc(k.b >> 4 & 31) }
func (k key) macb() uint8   { return uint8(k.b & 15) }

// Sorter collects events and gives them back in order: by time to the
// nanosecond; events of one time by display_name, then offset, then the rest
// of the record, then what happened. The order doesn't depend on the order in
// which they came. Add may be called from several goroutines.
//
// Records are kept in memory up to a limit. Past it they are sorted and
// written to a temporary file, which has no name from the start where the
// system allows it, and All merges what was written.
type Sorter struct {
	mu      sync.Mutex
	limit   int64
	tempDir string
	chunks  [][]byte
	last    int // the chunk that is being filled
	keys    []key
	used    int64 // bytes of chunks and keys
	commons []*Common
	ids     map[*Common]uint64
	fields  fieldSet // that any record has
	spool   *spool
	events  int64
	records int64
	seeds   [2]maphash.Seed // of what tells records apart
}

// NewSorter returns a sorter that keeps at most so many bytes in memory (0:
// 160 MiB) and writes what is more to a file in tempDir ("": the system's).
func NewSorter(memory int64, tempDir string) *Sorter {
	if memory <= 0 {
		memory = defaultMemory
	}
	return &Sorter{limit: memory, tempDir: tempDir, ids: map[*Common]uint64{}, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// Add copies a record, once, with each of its times.
func (s *Sorter) Add(r *Record) error {
	stamps := r.stamps
	if len(stamps) == 0 {
		stamps = []stamp{{desc: NotATime}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	place := s.store(r)
	s.growKeys(len(stamps))
	for i, t := range stamps {
		s.keys = append(s.keys, newKey(t, macbOf(stamps, i), place))
	}
	s.used += int64(len(stamps)) * 16
	s.events += int64(len(stamps))
	s.records++
	if s.used >= s.limit {
		return s.spill()
	}
	return nil
}

// growKeys makes room for n more keys. It grows in large steps, the last of
// them to what the limit is expected to hold: each step leaves garbage behind,
// while memory that is not used yet costs nothing.
func (s *Sorter) growKeys(n int) {
	if len(s.keys)+n <= cap(s.keys) {
		return
	}
	most := int64(1 << 12)
	if len(s.keys) > 0 {
		perKey := max(s.used/int64(len(s.keys)), 16)
		most = max(s.limit/perKey*9/8, int64(len(s.keys))*5/4)
	}
	size := min(max(int64(cap(s.keys))*4, 1<<12), most) + int64(n)
	s.keys = append(make([]key, 0, size), s.keys...)
}

// macbOf says which of a file's times are the i-th, if that is one of them.
func macbOf(stamps []stamp, i int) uint8 {
	set := stamps[i].desc.macb()
	if set == 0 {
		return 0
	}
	for _, t := range stamps {
		if t.sec == stamps[i].sec && t.nsec == stamps[i].nsec {
			set |= t.desc.macb()
		}
	}
	return set
}

// store appends the record to the chunks and returns its place.
func (s *Sorter) store(r *Record) uint64 {
	common := uint64(0)
	if r.common != nil {
		if common = s.ids[r.common]; common == 0 {
			s.commons = append(s.commons, r.common)
			common = uint64(len(s.commons))
			s.ids[r.common] = common
			s.fields.union(&r.common.mask)
		}
	}
	s.fields.union(&r.mask)
	most := len(r.name) + len(r.body) + 6*binary.MaxVarintLen64
	for s.last < len(s.chunks) && len(s.chunks[s.last])+most > cap(s.chunks[s.last]) {
		s.last++
	}
	if s.last == len(s.chunks) {
		s.chunks = append(s.chunks, make([]byte, 0, max(chunkSize, most)))
	}
	if most > maxText/2 {
		s.fields.add(uint8(FieldTruncated)) // its message may be cut
	}
	chunk := s.chunks[s.last]
	at := len(chunk)
	// The record's length, in front of it, is written after it: three bytes
	// hold lengths of up to 16 MiB, and a record's fields are bounded.
	chunk = append(chunk, 0, 0, 0, 0)
	chunk = appendRecord(chunk, r, common)
	binary.LittleEndian.PutUint32(chunk[at:], uint32(len(chunk)-at-4))
	s.chunks[s.last] = chunk
	s.used += int64(len(chunk) - at)
	return uint64(s.last)<<chunkBits | uint64(at)
}

// record returns the record at a place.
func (s *Sorter) record(place uint64) []byte {
	b := s.chunks[place>>chunkBits][place&(chunkSize-1):]
	return b[4 : 4+binary.LittleEndian.Uint32(b)]
}

// compare orders two events in memory.
func (s *Sorter) compare(x, y key) int {
	if x.a != y.a {
		return cmp.Compare(x.a, y.a)
	}
	if x.b>>59 != y.b>>59 {
		return cmp.Compare(x.b>>59, y.b>>59)
	}
	if x.place() != y.place() {
		if c := s.compareRecords(s.record(x.place()), s.record(y.place())); c != 0 {
			return c
		}
	}
	return cmp.Compare(x.b&511, y.b&511)
}

// compareRecords orders records of one time.
func (s *Sorter) compareRecords(x, y []byte) int {
	nx, ax := binary.Uvarint(x)
	ny, ay := binary.Uvarint(y)
	nx, ny = nx>>1+uint64(ax), ny>>1+uint64(ay)
	if nx > uint64(ax) && ny > uint64(ay) && nx <= uint64(len(x)) && ny <= uint64(len(y)) {
		if c := bytes.Compare(x[ax:nx], y[ay:ny]); c != 0 {
			return c
		}
	}
	// The same names, or a name that only the common fields have.
	var vx, vy view
	if errors.Join(vx.parse(x, s.commons), vy.parse(y, s.commons)) != nil {
		return bytes.Compare(x, y)
	}
	return cmp.Or(
		bytes.Compare(vx.name, vy.name),
		cmp.Compare(vx.offset, vy.offset),
		cmp.Compare(vx.kind, vy.kind),
		bytes.Compare(vx.body, vy.body),
		compareCommons(vx.common, vy.common),
		cmp.Compare(vx.template.number(), vy.template.number()))
}

func compareCommons(x, y *Common) int {
	switch {
	case x == y:
		return 0
	case x == nil:
		return -1
	case y == nil:
		return 1
	}
	return cmp.Or(bytes.Compare(x.name, y.name), bytes.Compare(x.body, y.body))
}

// sort orders what is in memory, on two cores where it is worth it.
func (s *Sorter) sort() {
	const worth = 1 << 14
	if len(s.keys) < worth {
		slices.SortFunc(s.keys, s.compare)
		return
	}
	m := s.partition()
	var wg sync.WaitGroup
	wg.Go(func() { s.sortKeys(s.keys[:m]) })
	s.sortKeys(s.keys[m:])
	wg.Wait()
}

const (
	// radixBits is how many buckets one round of sortKeys makes: their counts
	// stay in a processor's first cache.
	radixBits = 11
	// radixWorth is how many keys are worth a round.
	radixWorth = 1 << 9
)

// sortKeys orders keys: in rounds by the highest bits of the time in which they
// differ, in place, and what is left in a bucket by comparison. Each round
// divides the range of times by the number of buckets, so that a few end it.
func (s *Sorter) sortKeys(keys []key) {
	if len(keys) < radixWorth {
		slices.SortFunc(keys, s.compare)
		return
	}
	low, high := keys[0].a, keys[0].a
	for i := range keys {
		low, high = min(low, keys[i].a), max(high, keys[i].a)
	}
	if low == high {
		slices.SortFunc(keys, s.compare)
		return
	}
	shift := max(0, bits.Len64(high-low)-radixBits)
	var next, end [1 << radixBits]int
	for i := range keys {
		end[(keys[i].a-low)>>shift]++
	}
	sum := 0
	for b := range end {
		next[b] = sum
		sum += end[b]
		end[b] = sum
	}
	for b := range next {
		for next[b] < end[b] {
			k := keys[next[b]]
			to := (k.a - low) >> shift
			for to != uint64(b) { // follow what each key drives out of its place
				keys[next[to]], k = k, keys[next[to]]
				next[to]++
				to = (k.a - low) >> shift
			}
			keys[next[b]] = k
			next[b]++
		}
	}
	from := 0
	for _, to := range end {
		if to-from > 1 {
			s.sortKeys(keys[from:to])
		}
		from = to
	}
}

// partition moves the keys before about the median to the front, and returns
// how many they are. Only the time is looked at.
func (s *Sorter) partition() int {
	const samples = 1001
	sample := make([]uint64, samples)
	for i := range sample {
		sample[i] = s.keys[i*(len(s.keys)-1)/(samples-1)].a
	}
	slices.Sort(sample)
	pivot := sample[samples/2]
	m := 0
	for i, k := range s.keys {
		if k.a < pivot {
			s.keys[i], s.keys[m] = s.keys[m], k
			m++
		}
	}
	return m
}

// spill writes what is in memory to the spool and forgets it.
func (s *Sorter) spill() error {
	if s.spool == nil {
		sp, err := newSpool(s.tempDir)
		if err != nil {
			return err
		}
		s.spool = sp
	}
	s.sort()
	if err := s.spool.writeRun(s); err != nil {
		return err
	}
	s.keys, s.used, s.last = s.keys[:0], 0, 0
	kept := s.chunks[:0]
	for _, c := range s.chunks {
		if cap(c) == chunkSize { // not the blocks of large records
			kept = append(kept, c[:0])
		}
	}
	clear(s.chunks[len(kept):])
	s.chunks = kept
	return nil
}

// Len returns the number of events, and of records, that were added.
func (s *Sorter) Len() (events, records int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events, s.records
}

// Close gives up memory and temporary files. It may be called more than once.
func (s *Sorter) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks, s.keys = nil, nil
	if s.spool == nil {
		return nil
	}
	err := s.spool.close()
	s.spool = nil
	return err
}

// All yields the events in order. An Event is valid until the next one; Add
// must not be called meanwhile or afterwards. An error ends the sequence.
func (s *Sorter) All() iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		e := &Event{}
		for b, err := range s.batches(context.Background(), func() *batch { return &batch{} }) {
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range b.items {
				if err := e.set(&b.items[i], s.commons); err != nil {
					yield(nil, err)
					return
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}
