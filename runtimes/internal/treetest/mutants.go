package treetest

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/fstest"
)

// mostOfASmallTree is what may be read of any mutant, in bytes: of a tree that is
// hardly read, four times that is nothing.
const mostOfASmallTree = 64 << 20

// Mutants damages one file of a tree at a time, at random with a fixed seed,
// and calls read with each damaged tree. What read must not do is panic, or read
// many times what it does of the whole tree; that it ends is for the test's time
// limit to say. LAGAN_MUTANTS sets how many there are; count is what ordinary tests have
// time for.
func Mutants(t *testing.T, tree fstest.MapFS, count int, read func(*Tree)) {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("LAGAN_MUTANTS")); err == nil {
		count = n
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if len(tree[name].Data) > 0 {
			names = append(names, name)
		}
	}
	whole := New(tree)
	read(whole)
	most := 4*whole.read.Load() + mostOfASmallTree
	rnd := rand.New(rand.NewPCG(3, 5))
	for n := range count {
		name := names[rnd.IntN(len(names))]
		good := tree[name]
		bad := *good
		bad.Data = mutate(rnd, slices.Clone(good.Data))
		tree[name] = &bad
		mutant := New(tree)
		read(mutant)
		if got := mutant.read.Load(); got > most {
			t.Errorf("mutant %d of %s: %d bytes were read, of the whole tree %d", n, name, got, whole.read.Load())
		}
		tree[name] = good
	}
}

// mutate changes, cuts or repeats bytes.
func mutate(rnd *rand.Rand, b []byte) []byte {
	switch at := rnd.IntN(len(b)); rnd.IntN(5) {
	case 0:
		return b[:at]
	case 1:
		return append(b[:at:at], b[at/2:]...)
	case 2:
		clear(b[at:min(at+512, len(b))])
	case 3: // digits and quotes, which keep JSON alive
		for range 1 + rnd.IntN(6) {
			b[rnd.IntN(len(b))] = `0123456789"{}[],:-etrnul`[rnd.IntN(24)]
		}
	default:
		for range 1 + rnd.IntN(16) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
	}
	return b
}
