package boltdb_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"lagan/internal/needs"
	"lagan/runtimes/boltdb"
)

// TestRemnants removes a container: its page is found, with the names that led
// to it, its small values and its buckets.
func TestRemnants(t *testing.T) {
	id := func(i int) string { return fmt.Sprintf("%064x", i*7919) }
	raw := build(t, 4096, true, containers(0, 20), func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("v1")).Bucket([]byte("containers")).DeleteBucket([]byte(id(3)))
	})
	db := open(t, raw)
	found := false
	for r, err := range db.Remnants() {
		if err != nil {
			t.Fatal(err)
		}
		if db.Reachable(r.Page) {
			t.Errorf("page %d is part of the tree", r.Page)
		}
		if !slices.ContainsFunc(r.Paths, func(p []string) bool { return p[len(p)-1] == id(3) }) {
			continue
		}
		for kv, err := range r.Bucket.All() {
			if err != nil {
				t.Error(err)
				continue
			}
			if string(kv.Key) == "labels" {
				l, err := kv.Bucket()
				if err != nil {
					t.Fatal(err)
				}
				v, err := l.Get("label1")
				found = err == nil && string(v) == "value 3"
			}
			if string(kv.Key) == "spec" && r.Whole {
				v, err := kv.Value()
				if err != nil || !bytes.Equal(v, bytes.Repeat([]byte{3}, len(v))) {
					t.Errorf("specification of %d bytes: %v", len(v), err)
				}
			}
		}
	}
	if !found {
		t.Error("the removed container's page is not found by its name")
	}
}

// walkRemnants reads all that was left behind, and says how many keys of which pages there are.
func walkRemnants(db *boltdb.DB) map[string]bool {
	out := map[string]bool{}
	for r, err := range db.Remnants() {
		if err != nil {
			continue
		}
		for kv, err := range r.Bucket.All() {
			if err != nil {
				continue
			}
			if b, err := kv.Bucket(); err == nil {
				for range b.All() {
				}
			}
			out[fmt.Sprintf("%d/%s", r.Page, kv.Key)] = true
		}
	}
	for range db.Fragments() {
	}
	return out
}

// TestRemnantsOfMutants damages databases with freed pages: what stands on
// pages that were left alone is found. scripts/remnants -mutants has many more.
func TestRemnantsOfMutants(t *testing.T) {
	kept, possible := boltMutants(t, needs.Rounds(60, 15))
	if kept*100 < possible*95 {
		t.Errorf("%d of %d records on untouched pages, less than 95 %%", kept, possible)
	}
}

func boltMutants(t *testing.T, count int) (kept, possible int) {
	t.Helper()
	good := build(t, 4096, true, containers(0, 30), containers(30, 10), func(tx *bolt.Tx) error {
		cs := tx.Bucket([]byte("v1")).Bucket([]byte("containers"))
		for i := range 12 {
			if err := cs.DeleteBucket(fmt.Appendf(nil, "%064x", i*2*7919)); err != nil {
				return err
			}
		}
		return nil
	})
	want := walkRemnants(open(t, good))
	if len(want) == 0 {
		t.Fatal("nothing was left behind")
	}
	rnd := rand.New(rand.NewPCG(13, 17))
	for n := range count {
		raw := bytes.Clone(good)
		touched := mutate(rnd, raw, n%3)
		db, err := boltdb.Open(bytes.NewReader(raw), int64(len(raw)), nil)
		if err != nil {
			continue
		}
		got := walkRemnants(db)
		// A page that was touched loses its own keys, and those of the run that it continues.
		run := uint64(touched)
		for p := range open(t, good).Pages() {
			if p.ID <= uint64(touched) && uint64(touched) <= p.ID+uint64(p.Overflow) {
				run = p.ID
			}
		}
		for k := range want {
			var page uint64
			fmt.Sscanf(k, "%d/", &page)
			if page == run {
				continue
			}
			possible++
			if got[k] {
				kept++
			}
		}
	}
	t.Logf("%d of %d records on untouched freed pages found", kept, possible)
	return kept, possible
}
