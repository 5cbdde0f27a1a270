package treetest

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Bolt returns the bytes of a database that the real library writes, without a
// freelist as containerd has it.
func Bolt(tb testing.TB, fill ...func(*bolt.Tx) error) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true, InitialMmapSize: 512 << 20})
	for _, f := range fill {
		if err == nil {
			err = db.Update(f)
		}
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// Put makes the bucket at a path of names joined by "|" and puts values into it.
func Put(tx *bolt.Tx, path string, values map[string]string) error {
	names := strings.Split(path, "|")
	b, err := tx.CreateBucketIfNotExists([]byte(names[0]))
	for _, n := range names[1:] {
		if err != nil {
			return err
		}
		b, err = b.CreateBucketIfNotExists([]byte(n))
	}
	for k, v := range values {
		if err == nil {
			err = b.Put([]byte(k), []byte(v))
		}
	}
	return err
}

// Stamp is a time in the binary form of containerd's databases.
func Stamp(t time.Time) string {
	b, _ := t.MarshalBinary()
	return string(b)
}

// Any is a google.protobuf.Any.
func Any(url, value string) string {
	b := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(url)))
	b = append(b, url...)
	b = binary.AppendUvarint(append(b, 2<<3|2), uint64(len(value)))
	return string(append(b, value...))
}

// Uvarint is an unsigned number as containerd keeps snapshots' ids.
func Uvarint(n uint64) string { return string(binary.AppendUvarint(nil, n)) }
