package boltdb_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"lagan/internal/needs"
	"lagan/runtimes/boltdb"
)

// build writes a database with the real library and returns its bytes.
func build(t testing.TB, pageSize int, noFreelist bool, txs ...func(*bolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: pageSize, NoFreelistSync: noFreelist})
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range txs {
		if err := db.Update(tx); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// containers writes n buckets that look like containerd's: sub-buckets, small and multi-page values.
func containers(from, n int) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		v1, err := tx.CreateBucketIfNotExists([]byte("v1"))
		if err != nil {
			return err
		}
		cs, err := v1.CreateBucketIfNotExists([]byte("containers"))
		if err != nil {
			return err
		}
		for i := from; i < from+n; i++ {
			b, err := cs.CreateBucket(fmt.Appendf(nil, "%064x", i*7919))
			if err != nil {
				return err
			}
			if _, err := cs.NextSequence(); err != nil {
				return err
			}
			l, err := b.CreateBucket([]byte("labels"))
			if err != nil {
				return err
			}
			for k := range 3 {
				if err := l.Put(fmt.Appendf(nil, "label%d", k), fmt.Appendf(nil, "value %d", i)); err != nil {
					return err
				}
			}
			if err := b.Put([]byte("spec"), bytes.Repeat([]byte{byte(i)}, 100+i*97%20000)); err != nil {
				return err
			}
		}
		return nil
	}
}

// dump is every path with its value or sequence number.
func dump(t testing.TB, b *boltdb.Bucket, prefix string, out map[string]string) {
	t.Helper()
	for kv, err := range b.All() {
		if err != nil {
			t.Fatal(err)
		}
		name := prefix + "/" + string(kv.Key)
		if kv.IsBucket() {
			sub, err := kv.Bucket()
			if err != nil {
				t.Fatal(err)
			}
			out[name] = fmt.Sprint("bucket ", sub.Sequence())
			dump(t, sub, name, out)
			continue
		}
		v, err := kv.Value()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(v)
	}
}

func dumpBolt(t testing.TB, raw []byte) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	out := map[string]string{}
	var walk func(b *bolt.Bucket, prefix string) error
	walk = func(b *bolt.Bucket, prefix string) error {
		return b.ForEach(func(k, v []byte) error {
			name := prefix + "/" + string(k)
			if v == nil {
				sub := b.Bucket(k)
				out[name] = fmt.Sprint("bucket ", sub.Sequence())
				return walk(sub, name)
			}
			out[name] = string(v)
			return nil
		})
	}
	if err := db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			out["/"+string(name)] = fmt.Sprint("bucket ", b.Sequence())
			return walk(b, "/"+string(name))
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func open(t testing.TB, raw []byte) *boltdb.DB {
	t.Helper()
	db, err := boltdb.Open(bytes.NewReader(raw), int64(len(raw)), func(err error) { t.Log("warning:", err) })
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestSameAsLibrary(t *testing.T) {
	for _, ps := range []int{1024, 4096, 16384, 65536} {
		for _, n := range []int{0, 1, 30, needs.Rounds(400, 100)} {
			t.Run(fmt.Sprintf("page %d, %d containers", ps, n), func(t *testing.T) {
				raw := build(t, ps, n%2 == 0, containers(0, n), containers(n, n/3), containers(2*n, 1))
				db := open(t, raw)
				if db.Meta().PageSize != ps || db.Damaged() != 0 {
					t.Errorf("page size %d, %d faults", db.Meta().PageSize, db.Damaged())
				}
				got, want := map[string]string{}, dumpBolt(t, raw)
				dump(t, db.Root(), "", got)
				if len(got) != len(want) {
					t.Errorf("%d keys, the library has %d", len(got), len(want))
				}
				for k, v := range want {
					if got[k] != v {
						t.Errorf("%q: %d bytes differ from the library's %d", k, len(got[k]), len(v))
					}
				}
				cs, err := db.Bucket("v1", "containers")
				if err != nil {
					t.Fatal(err)
				}
				for kv := range cs.All() {
					if found, err := cs.Find(string(kv.Key)); err != nil || !found.IsBucket() {
						t.Fatalf("Find(%q): %v", kv.Key, err)
					}
				}
				if n%2 == 1 {
					free, err := db.Freelist()
					if err != nil {
						t.Fatal(err)
					}
					for _, id := range free {
						if db.Reachable(id) {
							t.Errorf("free page %d is said to be reachable", id)
						}
					}
				}
			})
		}
	}
}

func TestOlderMetaAfterTornWrite(t *testing.T) {
	first := build(t, 4096, true, containers(0, 40))
	raw := build(t, 4096, true, containers(0, 40), func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("v1")).Put([]byte("late"), []byte("x"))
	})
	db := open(t, raw)
	newest := db.Meta()
	// The newest root page was not written before the copy was taken.
	at := int(newest.Root) * 4096
	clear(raw[at : at+4096])
	db = open(t, raw)
	if db.Meta().TxID != newest.TxID-1 || db.Damaged() != 0 {
		t.Errorf("transaction %d with %d faults, want %d with none", db.Meta().TxID, db.Damaged(), newest.TxID-1)
	}
	got := map[string]string{}
	dump(t, db.Root(), "", got)
	if want := dumpBolt(t, first); len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
}

// reads counts what can still be read, errors counted apart.
func reads(b *boltdb.Bucket) (keys, failed int) {
	for kv, err := range b.All() {
		if err != nil {
			failed++
			continue
		}
		keys++
		if !kv.IsBucket() {
			if _, err := kv.Value(); err != nil {
				failed++
			}
			continue
		}
		sub, err := kv.Bucket()
		if err != nil {
			failed++
			continue
		}
		k, f := reads(sub)
		keys, failed = keys+k, failed+f
	}
	return keys, failed
}

// loseOlder blanks the older meta page, so that Open has no other tree to turn to.
func loseOlder(t testing.TB, raw []byte) {
	m := open(t, raw).Meta()
	older := int(m.TxID+1) % 2 * m.PageSize // meta page of a transaction: its number modulo 2 (tx.go)
	clear(raw[older : older+m.PageSize])
}

func TestDamage(t *testing.T) {
	good := build(t, 4096, true, containers(0, 60), containers(60, 60))
	loseOlder(t, good)
	all, _ := reads(open(t, good).Root())
	var leaves []uint64
	for p, err := range open(t, good).Pages() {
		if err != nil {
			t.Fatal(err)
		}
		if p.Leaf && p.Reachable && p.ID != open(t, good).Meta().Root {
			leaves = append(leaves, p.ID)
		}
	}
	for name, harm := range map[string]func(raw []byte) []byte{
		"blank leaf":   func(raw []byte) []byte { clear(raw[leaves[3]*4096 : leaves[3]*4096+4096]); return raw },
		"wrong id":     func(raw []byte) []byte { raw[leaves[3]*4096]++; return raw },
		"far position": func(raw []byte) []byte { raw[leaves[3]*4096+16+7] = 4; return raw },
		"cut short":    func(raw []byte) []byte { return raw[:open(t, good).Meta().High*4096-100] },
	} {
		t.Run(name, func(t *testing.T) {
			db, err := boltdb.Open(bytes.NewReader(harm(bytes.Clone(good))), int64(len(harm(bytes.Clone(good)))), nil)
			if err != nil {
				t.Fatal(err)
			}
			keys, failed := reads(db.Root())
			if failed == 0 && keys < all || keys < all/3 || db.Damaged() == 0 {
				t.Errorf("%d of %d keys, %d errors, %d faults", keys, all, failed, db.Damaged())
			}
		})
	}
}

// TestLoop has a branch page whose children are all itself, on which the library doesn't return.
func TestLoop(t *testing.T) {
	raw := build(t, 1024, true, containers(0, 300))
	loseOlder(t, raw)
	db := open(t, raw)
	for p := range db.Pages() {
		if !p.Branch {
			continue
		}
		for i := range p.Count {
			binary.LittleEndian.PutUint64(raw[p.Offset+16+int64(i)*16+8:], p.ID)
		}
	}
	db, err := boltdb.Open(bytes.NewReader(raw), int64(len(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, failed := reads(db.Root()); failed == 0 {
		t.Error("no error")
	}
}

func FuzzOpen(f *testing.F) {
	small := func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("v1"))
		if err != nil {
			return err
		}
		for i := range 12 {
			in, err := b.CreateBucketIfNotExists([]byte{'a' + byte(i)})
			if err != nil {
				return err
			}
			if err := in.Put([]byte("key"), bytes.Repeat([]byte{'v'}, i*29)); err != nil {
				return err
			}
		}
		return nil
	}
	f.Add(build(f, 1024, true, small))
	f.Add(build(f, 1024, false, small, small))
	f.Fuzz(func(t *testing.T, raw []byte) {
		db, err := boltdb.Open(bytes.NewReader(raw), int64(len(raw)), nil)
		if err != nil {
			if db != nil {
				t.Error("a database beside an error")
			}
			return
		}
		reads(db.Root())
		for p := range db.Pages() {
			if p.Leaf && p.Count < 100 {
				for kv, err := range db.Leaf(p.ID) {
					if err == nil {
						kv.Value()
					}
				}
			}
		}
		db.Freelist()
		if old, err := db.Previous(); err == nil {
			reads(old.Root())
		}
	})
}
