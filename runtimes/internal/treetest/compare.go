package treetest

import (
	"iter"
	"reflect"
	"strings"
	"testing"

	"lagan/runtimes"
)

// Equal compares what was read with what the live node said.
func Equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v, the live node said %v", what, got, want)
	}
}

// Dirs joins the folders of layers as overlayfs' options do.
func Dirs(layers []runtimes.Layer) string {
	var out []string
	for _, l := range layers {
		out = append(out, l.Dir)
	}
	return strings.Join(out, ":")
}

// Collect returns what a sequence yields, and what it says of the rest, a line each.
func Collect[T any](seq iter.Seq2[T, error]) (items []T, said string) {
	for i, err := range seq {
		if err != nil {
			said += err.Error() + "\n"
		} else {
			items = append(items, i)
		}
	}
	return items, said
}
