package overlay_test

import (
	"fmt"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/overlay"
)

func walkAll(b *testing.B, f *overlay.FS) (entries int) {
	err := evidence.Walk(f, f.Root(), func(path string, _ evidence.Entry, _ evidence.Info, err error) error {
		entries++
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return entries
}

func benchmarkWalk(b *testing.B, want int, layers ...*memfs.FS) {
	b.ReportAllocs()
	for b.Loop() {
		if n := walkAll(b, merge(b, overlay.Options{}, layers...)); n != want {
			b.Fatalf("%d entries", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(want), "ns/entry")
}

// BenchmarkWalkLayers: 100 layers with one tree of 2,000 folders, each layer with files of its own.
func BenchmarkWalkLayers(b *testing.B) {
	var layers []*memfs.FS
	for i := range 100 {
		l := memfs.New()
		for j := range 2000 {
			if j%10 == i%10 || i == 99 {
				l.File(fmt.Sprintf("d%d/e%d/f%d", j/50, j%50, i), "")
			}
		}
		layers = append(layers, l)
	}
	benchmarkWalk(b, 1+40+2000+20_000+1800, layers...)
}

// BenchmarkWalkBase: a big image under a container that wrote little.
func BenchmarkWalkBase(b *testing.B) {
	low, up := memfs.New(), memfs.New()
	for i := range 50_000 {
		low.File(fmt.Sprintf("d%d/e%d/f%d", i/1000, i/20%50, i), "content")
	}
	up.File("d1/e1/new", "")
	benchmarkWalk(b, 1+50+2500+50_000+1, up, low)
}

// BenchmarkWalkDeep: 10 layers of one path of 1,000 folders.
func BenchmarkWalkDeep(b *testing.B) {
	var layers []*memfs.FS
	for range 10 {
		l := memfs.New()
		l.Dir(strings.Repeat("d/", 1000))
		layers = append(layers, l)
	}
	benchmarkWalk(b, 1001, layers...)
}

// BenchmarkWalkHuge: one folder of 100,000 files, half of them deleted.
func BenchmarkWalkHuge(b *testing.B) {
	low, up := memfs.New(), memfs.New()
	for i := range 100_000 {
		low.File(fmt.Sprintf("d/file-%06d", i), "x")
		if i%2 == 0 {
			up.Device(fmt.Sprintf("d/file-%06d", i), evidence.TypeChar, 0, 0)
		}
	}
	benchmarkWalk(b, 2+50_000, up, low)
}
