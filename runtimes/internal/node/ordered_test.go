package node

import (
	"iter"
	"runtime"
	"slices"
	"sync"
	"testing"
)

func upTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestOrdered(t *testing.T) {
	var got []int
	for i, square := range Ordered(upTo(1000), func(i int) int { return i * i }) {
		if square != i*i {
			t.Errorf("%d has the result %d", i, square)
		}
		got = append(got, i)
	}
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Errorf("%d items, in order: %v", len(got), slices.IsSorted(got))
	}
}

func TestOrderedStops(t *testing.T) {
	n := 0
	for range Ordered(upTo(1000), func(i int) int { return i }) {
		if n++; n == 10 {
			break
		}
	}
	if n != 10 {
		t.Errorf("went on to item %d", n)
	}
}

func TestOrderedPanics(t *testing.T) {
	n := 0
	defer func() {
		if caught := recover(); caught != "seven" || n != 7 {
			t.Errorf("caught %v after %d items", caught, n)
		}
	}()
	for range Ordered(upTo(1000), func(i int) int {
		if i == 7 {
			panic("seven")
		}
		return i
	}) {
		n++
	}
	t.Error("the panic was lost")
}

// TestOrderedSlow has the first item wait until all others were worked on: one that is
// slow does not hold those behind it.
func TestOrderedSlow(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // with one worker there is nothing to see
	const items = 8
	var others sync.WaitGroup
	others.Add(items - 1)
	want := 0
	for i := range Ordered(upTo(items), func(i int) int {
		if i == 0 {
			others.Wait()
		} else {
			others.Done()
		}
		return i
	}) {
		if i != want {
			t.Fatalf("item %d came in the place of %d", i, want)
		}
		want++
	}
}
