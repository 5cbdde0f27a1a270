package timeline

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"
)

// benchRecords calls add for n files as a node's disk has them, four times each.
func benchRecords(n int, add func(*Record)) {
	var base Record
	base.Reset(Unknown, nil)
	base.String(FieldParser, "lagan/ext4")
	base.String(FieldFileSystemType, "ext4")
	base.String(FieldEvidence, "node.img, volume 1")
	base.String(FieldHostname, "ip-10-0-1-17")
	common := base.Common()
	paths := make([]string, 1024)
	for i := range paths {
		paths[i] = fmt.Sprintf("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/%d/fs/usr/lib/d%d/file-", i/60, i%60)
	}
	start := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	var r Record
	name := make([]byte, 0, 200)
	for i := range n {
		name = append(append(name[:0], paths[i/50%len(paths)]...), "00000.py"...)
		for d, j := i, len(name)-4; d > 0 && j > len(name)-9; d, j = d/10, j-1 {
			name[j] = byte('0' + d%10)
		}
		r.Reset(FSStat, common)
		r.Path("NODE:", string(name))
		r.File(RegularFile, 0o644)
		r.Int(FieldFileSize, int64(i%9000))
		r.Uint(FieldInode, uint64(i+12))
		r.Bool(FieldIsAllocated, true)
		r.Int(FieldNumberOfLinks, 1)
		r.Int(FieldOwnerIdentifier, 0)
		r.Int(FieldGroupIdentifier, 0)
		r.Template(FileMessage)
		t := start.Add(time.Duration(i/100) * 4 * time.Millisecond)
		r.Time(Modified, t)
		r.Time(Accessed, start.Add(time.Duration(i*7919%1000000)*time.Millisecond))
		r.Time(MetadataChanged, t)
		r.Time(Created, t)
		add(&r)
	}
}

// BenchmarkWriter is the whole way of 300,000 files to a file of JSON lines.
func BenchmarkWriter(b *testing.B) {
	b.ReportAllocs()
	var events int64
	for b.Loop() {
		w, err := NewWriter(Options{}, Output{io.Discard, JSONL})
		if err != nil {
			b.Fatal(err)
		}
		benchRecords(300_000, func(r *Record) {
			if err := w.Add(r); err != nil {
				b.Fatal(err)
			}
		})
		if err := w.Finish(context.Background()); err != nil {
			b.Fatal(err)
		}
		events += w.Written()
		w.Close()
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

func filled(b *testing.B, n int, memory int64) *Sorter {
	s := NewSorter(memory, b.TempDir())
	benchRecords(n, func(r *Record) {
		if err := s.Add(r); err != nil {
			b.Fatal(err)
		}
	})
	return s
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		filled(b, 100_000, 0).Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/record")
}

func BenchmarkSorter(b *testing.B) {
	for _, mode := range []struct {
		name   string
		memory int64
	}{{"memory", 0}, {"spill", 4 << 20}} {
		b.Run(mode.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s := filled(b, 100_000, mode.memory)
				b.StartTimer()
				n := 0
				for _, err := range s.All() {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != 400_000 {
					b.Fatal(n)
				}
				s.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/400_000, "ns/event")
		})
	}
}

func benchmarkFormat(b *testing.B, f Format) {
	s := filled(b, 50_000, 0)
	defer s.Close()
	var items []item
	for batch, err := range s.batches(context.Background(), func() *batch { return &batch{} }) {
		if err != nil {
			b.Fatal(err)
		}
		items = append(items, batch.items...)
	}
	e, err := newEncoder(f, s)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	buf := make([]byte, 0, 4<<20)
	size := 0
	for b.Loop() {
		size = 0
		for i := 0; i+2000 <= len(items); i += 2000 {
			buf, err = e.append(buf[:0], items[i:i+2000])
			if err != nil {
				b.Fatal(err)
			}
			size += len(buf)
		}
	}
	b.SetBytes(int64(size))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(items)), "ns/event")
	b.ReportMetric(float64(b.N)*float64(len(items))/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkJSONL(b *testing.B) { benchmarkFormat(b, JSONL) }

func BenchmarkBodyfile(b *testing.B) {
	var recs []Record
	benchRecords(10_000, func(r *Record) {
		c := *r
		c.name = append([]byte(nil), r.name...)
		c.body = append([]byte(nil), r.body...)
		c.stamps = append([]stamp(nil), r.stamps...)
		recs = append(recs, c)
	})
	b.ReportAllocs()
	var e bodyfile
	buf := make([]byte, 0, 4<<20)
	for b.Loop() {
		buf = buf[:0]
		for i := range recs {
			buf, _ = e.record(buf, &recs[i])
		}
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(recs)), "ns/record")
}
