package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"lagan/evidence"
	"lagan/evidence/hostdir"
	"lagan/internal/sqlite"
	"lagan/runtimes"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/oci"
)

// pageSize is that of the databases that are made here.
const pageSize = 4096

// oneIn says of how many damaged databases one is read by its store too.
const oneIn = 10

// mutants damages databases of each kind from which objects were removed, one page
// each. It counts what stands on the pages that were left alone and is found.
func mutants(count int, seed uint64) error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rnd := rand.New(rand.NewPCG(seed, 99))
	all, err := databases(rnd, dir)
	if err != nil {
		return err
	}
	var failed []error
	start := time.Now()
	for i, d := range all {
		n := count*(i+1)/len(all) - count*i/len(all)
		failed = append(failed, d.measure(seed, n))
	}
	fmt.Printf("%d mutants in %v\n", count, time.Since(start).Round(time.Second))
	return errors.Join(failed...)
}

// database is one that is damaged again and again.
type database struct {
	name string // below the folder of its store
	dir  string // a root, in which the store lies
	good []byte
	left func(raw []byte) map[leftKey]bool // nil where it is refused as a whole
	open func(evidence.FS) (runtimes.RemnantStore, error)
}

// outcome counts what was found.
type outcome struct {
	kept, possible, refused, read, slowest atomic.Int64
}

// measure damages count copies and prints what is found of them.
func (d *database) measure(seed uint64, count int) error {
	want := d.left(d.good)
	if len(want) == 0 {
		return fmt.Errorf("%s: nothing is found of it as it was", d.name)
	}
	first := d.firstPages()
	var o outcome
	var next atomic.Int64
	var group sync.WaitGroup
	failed := make([]error, runtime.GOMAXPROCS(0))
	var file sync.Mutex
	for w := range failed {
		group.Go(func() {
			for n := next.Add(1) - 1; n < int64(count) && failed[w] == nil; n = next.Add(1) - 1 {
				rnd := rand.New(rand.NewPCG(seed, uint64(n)))
				raw := bytes.Clone(d.good)
				page := firstFree + rnd.IntN(len(raw)/pageSize-firstFree)
				damage(rnd, raw, page, int(n%4))
				d.compare(&o, raw, want, first(uint64(page)))
				if n%oneIn == 0 {
					file.Lock()
					failed[w] = d.above(raw)
					o.read.Add(1)
					file.Unlock()
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	kept, possible := o.kept.Load(), o.possible.Load()
	share := 100 * float64(kept) / float64(max(possible, 1))
	fmt.Printf("%s: %d mutants, %d refused: %d of %d records on untouched pages found (%.2f %%), %d read by the store, the slowest took %v\n",
		d.name, count, o.refused.Load(), kept, possible, share, o.read.Load(), time.Duration(o.slowest.Load()).Round(time.Millisecond))
	if share < 95 {
		return fmt.Errorf("%s: less than 95 %%", d.name)
	}
	return nil
}

// firstFree is the first page that is damaged: those before it say what the file is.
const firstFree = 2

// compare counts what of a damaged copy is found as it was.
func (d *database) compare(o *outcome, raw []byte, want map[leftKey]bool, lost uint64) {
	start := time.Now()
	got := d.left(raw)
	for took := int64(time.Since(start)); ; {
		if old := o.slowest.Load(); took <= old || o.slowest.CompareAndSwap(old, took) {
			break
		}
	}
	if got == nil {
		o.refused.Add(1)
	}
	kept, possible := int64(0), int64(0)
	for k := range want {
		if k.page != lost {
			possible++
			if got[k] {
				kept++
			}
		}
	}
	o.kept.Add(kept)
	o.possible.Add(possible)
}

// firstPages returns the page whose records are lost with a page: of bolt, the one
// that it continues.
func (d *database) firstPages() func(uint64) uint64 {
	var pages []boltdb.PageInfo
	if db, err := boltdb.Open(bytes.NewReader(d.good), int64(len(d.good)), nil); err == nil {
		for p := range db.Pages() {
			pages = append(pages, p)
		}
	}
	return func(page uint64) uint64 {
		for _, p := range pages {
			if p.ID <= page && page <= p.ID+uint64(p.Overflow) {
				return p.ID
			}
		}
		return page
	}
}

// above reads a damaged copy as the store that it belongs to does.
func (d *database) above(raw []byte) error {
	if err := os.WriteFile(filepath.Join(d.dir, d.name), raw, 0o600); err != nil {
		return err
	}
	fsys, err := hostdir.Open(d.dir, evidence.Options{})
	if err != nil {
		return err
	}
	defer fsys.Close()
	s, err := d.open(fsys)
	if err != nil {
		return nil // refused as a whole
	}
	for range s.Remnants() {
	}
	return nil
}

type leftKey struct {
	page uint64
	key  uint64
}

var hashSeed = maphash.MakeSeed()

// leftOfBolt is every key of every leaf page, of the tree or left behind.
func leftOfBolt(raw []byte) map[leftKey]bool {
	db, err := boltdb.Open(bytes.NewReader(raw), int64(len(raw)), nil)
	if err != nil {
		return nil
	}
	out := map[leftKey]bool{}
	for r, err := range db.Remnants() {
		if err != nil {
			continue
		}
		for kv, err := range r.Bucket.All() {
			if err == nil {
				out[leftKey{r.Page, maphash.Bytes(hashSeed, kv.Key)}] = true
			}
		}
	}
	for range db.Fragments() {
	}
	for p, err := range db.Pages() {
		if err != nil || !p.Leaf {
			continue
		}
		for kv, err := range db.Leaf(p.ID) {
			if err == nil {
				out[leftKey{p.ID, maphash.Bytes(hashSeed, kv.Key)}] = true
			}
		}
	}
	return out
}

// leftOfSQLite is every row of an object that was deleted and is found again.
func leftOfSQLite(raw []byte) map[leftKey]bool {
	db, err := sqlite.Open(bytes.NewReader(raw), nil, nil, nil)
	if err != nil {
		return nil
	}
	out := map[leftKey]bool{}
	for row, err := range db.Remnants() {
		if err != nil {
			continue
		}
		id, _ := row.Values[0].(string)
		if !oci.IsHex64(id) {
			continue // pieces of documents look like rows; the store takes none without an id
		}
		if values, err := json.Marshal(row.Values); err == nil {
			out[leftKey{uint64(row.Offset / pageSize), maphash.Bytes(hashSeed, values)}] = true
		}
	}
	return out
}

func damage(rnd *rand.Rand, raw []byte, page, how int) {
	at := page * pageSize
	switch how {
	case 0:
		for range 1 + rnd.IntN(8) {
			raw[at+rnd.IntN(200)] = byte(rnd.Uint32())
		}
	case 1:
		clear(raw[at : at+pageSize])
	case 2:
		other := firstFree + rnd.IntN(len(raw)/pageSize-firstFree)
		copy(raw[at:at+pageSize], raw[other*pageSize:])
	default:
		for range 1 + rnd.IntN(64) {
			raw[at+rnd.IntN(pageSize)] = byte(rnd.Uint32())
		}
	}
}
