package boltdb_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"lagan/internal/needs"
	"lagan/runtimes/boltdb"
)

// TestMutants damages databases at random, the seed fixed: nothing panics, and
// what stands on pages that were left alone is read. LAGAN_MUTANTS sets how
// many; the figure to reach is 10,000.
func TestMutants(t *testing.T) {
	count := needs.Rounds(300, 60)
	if n, err := strconv.Atoi(os.Getenv("LAGAN_MUTANTS")); err == nil {
		count = n
	}
	good := build(t, 4096, true, containers(0, 40), containers(40, 20), containers(60, 1))
	want := map[string]string{}
	dump(t, open(t, good).Root(), "", want)
	rnd := rand.New(rand.NewPCG(7, 11))
	kept, possible := 0, 0
	for n := range count {
		raw := bytes.Clone(good)
		touched := mutate(rnd, raw, n%4)
		db, err := boltdb.Open(bytes.NewReader(raw), int64(len(raw)), nil)
		if err != nil {
			continue // both meta pages
		}
		got := map[string]bool{}
		salvage(db.Root(), "", got, 0)
		if touched < 2 {
			continue
		}
		// One page was touched: all keys that it and its children don't hold must be there.
		lost := lostWith(t, good, uint64(touched))
		for k := range want {
			if !lost[k] {
				possible++
				if got[k] {
					kept++
				}
			}
		}
	}
	t.Logf("%d of %d records on untouched pages read (%.2f %%)", kept, possible, 100*float64(kept)/float64(max(possible, 1)))
	if kept*100 < possible*95 {
		t.Errorf("%d of %d records on untouched pages read, less than 95 %%", kept, possible)
	}
}

// mutate damages raw and returns the page that was touched, or -1 for several.
func mutate(rnd *rand.Rand, raw []byte, how int) int {
	page := 2 + rnd.IntN(len(raw)/4096-2)
	at := page * 4096
	switch how {
	case 0: // a few bytes of a page's header and elements
		for range 1 + rnd.IntN(8) {
			raw[at+rnd.IntN(200)] = byte(rnd.Uint32())
		}
	case 1: // a blank page
		clear(raw[at : at+4096])
	case 2: // another page in its place
		other := 2 + rnd.IntN(len(raw)/4096-2)
		copy(raw[at:at+4096], raw[other*4096:])
	default: // anywhere, meta pages too
		for range 1 + rnd.IntN(64) {
			raw[rnd.IntN(len(raw))] = byte(rnd.Uint32())
		}
		return -1
	}
	return page
}

// salvage notes every path that can be read, values included.
func salvage(b *boltdb.Bucket, prefix string, out map[string]bool, depth int) {
	for kv, err := range b.All() {
		if err != nil {
			continue
		}
		name := prefix + "/" + string(kv.Key)
		if !kv.IsBucket() {
			if _, err := kv.Value(); err == nil {
				out[name] = true
			}
			continue
		}
		if sub, err := kv.Bucket(); err == nil && depth < 8 {
			out[name] = true
			salvage(sub, name, out, depth+1)
		}
	}
}

// lostWith returns the paths that can't be read once a page is blank.
func lostWith(t *testing.T, good []byte, page uint64) map[string]bool {
	raw := bytes.Clone(good)
	db := open(t, good)
	lost := map[string]bool{}
	if !db.Reachable(page) {
		return lost
	}
	before := map[string]bool{}
	salvage(db.Root(), "", before, 0)
	// The page of a run counts with its first one.
	first := page
	for p := range db.Pages() {
		if p.ID <= page && page <= p.ID+uint64(p.Overflow) && p.Reachable && p.ID >= 2 {
			first = p.ID
		}
	}
	clear(raw[first*4096 : first*4096+4096])
	loseOlder(t, raw)
	after := map[string]bool{}
	if db, err := boltdb.Open(bytes.NewReader(raw), int64(len(raw)), nil); err == nil {
		salvage(db.Root(), "", after, 0)
	}
	for k := range before {
		if !after[k] {
			lost[k] = true
		}
	}
	return lost
}
