package timeline

import (
	"bytes"
	"context"
	"iter"
)

// item is one event on its way to the writers.
type item struct {
	k   key // its place means nothing here
	rec []byte
}

// batch is a stretch of the ordered events. Where one ends, the next begins
// with another time or another record, so that events of one record and time
// are never apart.
type batch struct {
	items []item
	data  []byte // records that came from a temporary file
	outs  [][]byte
	err   error
	done  chan struct{}
}

const (
	batchEvents = 2048
	batchBytes  = 1 << 20
)

// batches yields the ordered events. next gives the batch to fill, whose
// former content is lost; the last that it gave was not filled.
func (s *Sorter) batches(ctx context.Context, next func() *batch) iter.Seq2[*batch, error] {
	return func(yield func(*batch, error) bool) {
		s.sort()
		if s.spool == nil {
			s.memoryBatches(ctx, next, yield)
			return
		}
		s.mergedBatches(ctx, next, yield)
	}
}

func (s *Sorter) memoryBatches(ctx context.Context, next func() *batch, yield func(*batch, error) bool) {
	for i := 0; i < len(s.keys); {
		if ctx.Err() != nil {
			yield(nil, ctx.Err())
			return
		}
		end := min(i+batchEvents, len(s.keys))
		for end < len(s.keys) && sameTime(s.keys[end-1], s.keys[end]) && s.keys[end-1].place() == s.keys[end].place() {
			end++
		}
		b := next()
		b.items = b.items[:0]
		for _, k := range s.keys[i:end] {
			b.items = append(b.items, item{k, s.record(k.place())})
		}
		i = end
		if !yield(b, nil) {
			return
		}
	}
}

func sameTime(x, y key) bool { return x.a == y.a && x.b>>59 == y.b>>59 }

func (s *Sorter) mergedBatches(ctx context.Context, next func() *batch, yield func(*batch, error) bool) {
	m, err := s.newMerge()
	if err != nil {
		yield(nil, err)
		return
	}
	b := next()
	b.items, b.data = b.items[:0], b.data[:0]
	for {
		k, rec, ok, err := m.next()
		if err == nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(nil, err)
			return
		}
		if full := len(b.items) >= batchEvents || len(b.data) >= batchBytes; !ok || full {
			if !ok || !b.continues(k, rec) {
				if len(b.items) > 0 && !yield(b, nil) || !ok {
					return
				}
				b = next()
				b.items, b.data = b.items[:0], b.data[:0]
			}
		}
		b.append(k, rec)
	}
}

// continues says whether an event is of the last one's time and record.
func (b *batch) continues(k key, rec []byte) bool {
	last := b.items[len(b.items)-1]
	return sameTime(last.k, k) && bytes.Equal(last.rec, rec)
}

// append copies an event. A record that is the same as the last is kept once;
// when data moves, the items before still point to the old copy.
func (b *batch) append(k key, rec []byte) {
	if n := len(b.items); n > 0 && bytes.Equal(b.items[n-1].rec, rec) {
		b.items = append(b.items, item{k, b.items[n-1].rec})
		return
	}
	at := len(b.data)
	b.data = append(b.data, rec...)
	b.items = append(b.items, item{k, b.data[at:len(b.data):len(b.data)]})
}
