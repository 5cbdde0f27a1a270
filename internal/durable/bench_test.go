package durable

import (
	"os"
	"testing"
)

// BenchmarkTree is what keeping a folder costs: of few files, each is synced, of
// many the filesystem. Per file the first takes longer.
func BenchmarkTree(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
	}{{"few", fewFiles - 1}, {"many", 2000}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				root, err := os.OpenRoot(dir)
				if err != nil {
					b.Fatal(err)
				}
				if err := files(c.n, 0o600)(root); err != nil {
					b.Fatal(err)
				}
				root.Close()
				b.StartTimer()
				if err := Tree(dir); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.n), "ns/file")
		})
	}
}
