package layers_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/layers"
	"lagan/overlay"
)

// whole is a view that never says which names alone can differ.
type whole struct{ *overlay.FS }

func (whole) Own(evidence.Ino, evidence.FS, evidence.Ino) ([]string, bool) { return nil, false }

// randomLayer fills a layer with few names, so that layers meet each other.
func randomLayer(r *rand.Rand, things int) *memfs.FS {
	f := memfs.New()
	made := map[string]bool{}
	name := func() string {
		p := fmt.Sprintf("d%d", r.IntN(3))
		for range r.IntN(3) {
			p += fmt.Sprintf("/d%d", r.IntN(3))
		}
		return p
	}
	for range things {
		p := name()
		leaf := fmt.Sprintf("%s/x%d", p, r.IntN(4))
		if made[leaf] {
			continue
		}
		made[leaf] = true
		switch r.IntN(8) {
		case 0:
			f.Device(leaf, evidence.TypeChar, 0, 0)
		case 1:
			f.Dir(leaf)
		case 2:
			f.Dir(p).Set(opaque, "y")
		case 3:
			f.Dir(p).Set("trusted.overlay.redirect", []string{"/d0", "d1", "/d1/d2"}[r.IntN(3)])
		case 4:
			f.File(leaf, "").Set("trusted.overlay.metacopy", "")
		default:
			f.File(leaf, fmt.Sprint(r.IntN(2)))
		}
	}
	return f
}

// TestDiffOwn compares what is found by looking at the upper layer's names with
// what is found by listing both sides whole.
func TestDiffOwn(t *testing.T) {
	collect := func(base, cur evidence.FS, o layers.DiffOptions) (out []layers.Change) {
		for c, err := range layers.Diff(base, cur, o) {
			if err == nil {
				out = append(out, c)
			}
		}
		return out
	}
	total := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := []*memfs.FS{randomLayer(r, 8)}
		for range 1 + r.IntN(3) {
			all = append(all, randomLayer(r, 12))
		}
		base, cur := view(t, all[1:]...), view(t, all...)
		for _, o := range []layers.DiffOptions{{}, {Root: true}, {Native: true}} {
			want, got := collect(base, whole{cur}, o), collect(base, cur, o)
			total += len(want)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, %+v:\ngot  %+v\nwant %+v", seed, o, got, want)
			}
		}
	}
	if total < 1000 {
		t.Errorf("only %d changes were compared", total)
	}
}

// BenchmarkDiffContainers: what 20 containers of one image of 100 layers changed,
// 60 files each, under one cache.
func BenchmarkDiffContainers(b *testing.B) {
	var image []overlay.Layer
	for i := range 100 {
		l := memfs.New()
		for j := range 500 {
			l.File(fmt.Sprintf("usr/lib/d%d/f%d-%d", j/50, i, j), "x")
		}
		image = append(image, overlay.Layer{FS: l, Root: l.Root()})
	}
	var uppers []overlay.Layer
	for range 20 {
		l := memfs.New()
		for j := range 60 {
			l.File(fmt.Sprintf("usr/lib/d%d/f%d-%d", j%10, j, j*7%500), "y")
		}
		uppers = append(uppers, overlay.Layer{FS: l, Root: l.Root()})
	}
	b.ReportAllocs()
	for b.Loop() {
		o := overlay.Options{Cache: overlay.NewCache(0)}
		base, err := overlay.Merge(image, o)
		if err != nil {
			b.Fatal(err)
		}
		for _, up := range uppers {
			cur, err := overlay.Merge(append([]overlay.Layer{up}, image...), o)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for _, err := range layers.Diff(base, cur, layers.DiffOptions{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n < 60 {
				b.Fatalf("%d changes", n)
			}
		}
	}
}
