package volume

import (
	"bytes"
	"io/fs"
	"math/rand"
	"strings"
	"testing"
	"time"

	diskgpt "github.com/diskfs/go-diskfs/partition/gpt"
	diskmbr "github.com/diskfs/go-diskfs/partition/mbr"
)

// memory is a disk in memory as go-diskfs takes one.
type memory struct {
	*bytes.Reader
}

func (memory) Close() error                 { return nil }
func (m memory) Stat() (fs.FileInfo, error) { return m, nil }
func (memory) Name() string                 { return "disk" }
func (m memory) Size() int64                { return m.Reader.Size() }
func (memory) Mode() fs.FileMode            { return 0o444 }
func (memory) ModTime() time.Time           { return time.Time{} }
func (memory) IsDir() bool                  { return false }
func (memory) Sys() any                     { return nil }

// TestAgainstDiskfs compares random whole tables with what go-diskfs reads of them.
func TestAgainstDiskfs(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 50 {
		var parts []part
		for at := uint64(40); at < 1500 && len(parts) < 20; {
			n := uint64(1 + rng.Intn(100))
			parts = append(parts, part{linuxType, at, at + n - 1, strings.Repeat("ж", rng.Intn(36))})
			at += n + uint64(rng.Intn(3))
		}
		d := craftGPT(512, 2048, parts...)
		table, err := diskgpt.Read(memory{bytes.NewReader(d)}, 512, 512)
		if err != nil {
			t.Fatal(err)
		}
		vols, err := Scan(bytes.NewReader(d), int64(len(d)), func(err error) { t.Error(err) })
		if err != nil || len(vols) != len(table.Partitions) {
			t.Fatalf("%d volumes, go-diskfs has %d, %v", len(vols), len(table.Partitions), err)
		}
		for i, p := range table.Partitions {
			v := vols[i]
			if v.Number != p.Index || v.Start != int64(p.Start)*512 || v.Size != int64(p.Size) || v.Name != p.Name ||
				!strings.EqualFold(v.UUID, p.GUID) || !strings.EqualFold(v.Type, string(p.Type)) {
				t.Errorf("%+v, go-diskfs has %+v", v, p)
			}
		}
	}
	for range 50 {
		d := make([]byte, 1<<20)
		var recs []record
		for at := uint32(1); len(recs) < mbrRecords; {
			n := uint32(1 + rng.Intn(400))
			recs = append(recs, record{byte(rng.Intn(2)) << 7, 0x83, at, n})
			at += n
		}
		putMBR(d, 512, 0, recs...)
		table, err := diskmbr.Read(memory{bytes.NewReader(d)}, 512, 512)
		if err != nil {
			t.Fatal(err)
		}
		vols, err := Scan(bytes.NewReader(d), int64(len(d)), func(err error) { t.Error(err) })
		if err != nil || len(vols) != len(table.Partitions) {
			t.Fatalf("%d volumes, go-diskfs has %d, %v", len(vols), len(table.Partitions), err)
		}
		for i, p := range table.Partitions {
			if v := vols[i]; v.Start != int64(p.Start)*512 || v.Size != int64(p.Size)*512 {
				t.Errorf("%+v, go-diskfs has %+v", v, p)
			}
		}
	}
}
