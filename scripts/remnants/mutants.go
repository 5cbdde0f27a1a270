package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"lagan/evidence"
	"lagan/evidence/hostdir"
	"lagan/runtimes/boltdb"
	"lagan/runtimes/containerd"
)

// pageSize is that of the databases that are made here.
const pageSize = 4096

// mutants damages databases from which containers were removed, one page each: half
// of them of bolt, half of SQLite. It counts what stands on the pages that were
// left alone and is found.
func mutants(count int, seed uint64) error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rnd := rand.New(rand.NewPCG(seed, 99))
	if _, _, err := story(rnd, dir, scenario{15, 40}, 20); err != nil {
		return err
	}
	file := filepath.Join(dir, root, "io.containerd.metadata.v1.bolt/meta.db")
	bolt, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	db, err := boltdb.Open(bytes.NewReader(bolt), int64(len(bolt)), nil)
	if err != nil {
		return err
	}
	var pages []boltdb.PageInfo
	for p := range db.Pages() {
		pages = append(pages, p)
	}
	sqlite, err := removedRows(filepath.Join(dir, "db.sql"))
	if err != nil {
		return err
	}
	return errors.Join(
		damaged{"bolt", bolt, leftOfBolt, func(page uint64) uint64 {
			for _, p := range pages {
				if p.ID <= page && page <= p.ID+uint64(p.Overflow) {
					return p.ID // the page that it continues loses its keys too
				}
			}
			return page
		}, func(raw []byte) error { // and the store above it
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				return err
			}
			return readStore(dir)
		}}.measure(rnd, count-count/2),
		damaged{"SQLite", sqlite, leftOfSQLite, func(page uint64) uint64 { return page }, func([]byte) error { return nil }}.measure(rnd, count/2))
}

// damaged is a database that is damaged again and again.
type damaged struct {
	kind  string
	good  []byte
	left  func(raw []byte) map[leftKey]bool // nil where it is refused as a whole
	first func(page uint64) uint64          // the page whose records are lost with a page
	above func(raw []byte) error            // reads it as what is above it does, now and then
}

// measure damages count copies and prints what is found of them.
func (d damaged) measure(rnd *rand.Rand, count int) error {
	want := d.left(d.good)
	kept, possible, refused, slowest := 0, 0, 0, time.Duration(0)
	for n := range count {
		raw := bytes.Clone(d.good)
		page := 2 + rnd.IntN(len(raw)/pageSize-2)
		damage(rnd, raw, page, n%4)
		start := time.Now()
		got := d.left(raw)
		if got == nil {
			refused++
		}
		lost := d.first(uint64(page))
		for k := range want {
			if k.page != lost {
				possible++
				if got[k] {
					kept++
				}
			}
		}
		if n%100 == 0 {
			if err := d.above(raw); err != nil {
				return err
			}
		}
		slowest = max(slowest, time.Since(start))
	}
	share := 100 * float64(kept) / float64(max(possible, 1))
	fmt.Printf("%s: %d mutants, %d refused: %d of %d records on untouched pages found (%.2f %%), the slowest took %v\n", d.kind, count, refused, kept, possible, share, slowest.Round(time.Millisecond))
	if share < 95 {
		return fmt.Errorf("%s: less than 95 %%", d.kind)
	}
	return nil
}

type leftKey struct {
	page uint64
	key  string
}

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
				out[leftKey{r.Page, string(kv.Key)}] = true
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
				out[leftKey{p.ID, string(kv.Key)}] = true
			}
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
		other := 2 + rnd.IntN(len(raw)/pageSize-2)
		copy(raw[at:at+pageSize], raw[other*pageSize:])
	default:
		for range 1 + rnd.IntN(64) {
			raw[at+rnd.IntN(pageSize)] = byte(rnd.Uint32())
		}
	}
}

func readStore(dir string) error {
	fsys, err := hostdir.Open(dir, evidence.Options{})
	if err != nil {
		return err
	}
	defer fsys.Close()
	s, err := containerd.Open(fsys, fsys.Root(), "/"+root)
	if err != nil {
		return nil // refused as a whole
	}
	for range s.Containers() {
	}
	for range s.Remnants() {
	}
	return nil
}
