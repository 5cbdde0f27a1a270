package treetest

import (
	"maps"
	"slices"
	"testing/fstest"
)

// Harm is what becomes of a file; nil: the file is gone.
type Harm func(content []byte) []byte

// Cut leaves the first half of a file.
func Cut(b []byte) []byte { return b[:len(b)/2] }

// Gone removes a file.
func Gone([]byte) []byte { return nil }

// To puts another content in the place of a file's.
func To(s string) Harm { return func([]byte) []byte { return []byte(s) } }

// Harmed returns a tree in which one file is harmed.
func Harmed(good fstest.MapFS, file string, harm Harm) *Tree {
	tree := maps.Clone(good)
	f := *tree[file]
	if f.Data = harm(slices.Clone(f.Data)); f.Data == nil {
		delete(tree, file)
	} else {
		tree[file] = &f
	}
	return New(tree)
}
