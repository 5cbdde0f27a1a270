package analyzer

import (
	"context"
	"fmt"
	"testing"
)

// TestHashAhead lists whole nodes with hashes that were made ahead, and file by file.
func TestHashAhead(t *testing.T) {
	from := "/"
	if testing.Short() {
		from = "/var" // without the sparse file of 5 GiB
	}
	for _, name := range []string{"podman-ext4", "containerd-btrfs", "docker-vfs"} {
		t.Run(name, func(t *testing.T) {
			list := func(o Options) (lines []string) {
				n := openFixture(t, name, o)
				tree, err := n.FindTree("@node")
				if err != nil {
					t.Fatal(err)
				}
				if err := n.List(context.Background(), tree, from, ListOptions{Recursive: true, Hash: true}, func(f File) error {
					lines = append(lines, fmt.Sprintf("%s %s %d", f.Path, f.SHA256, f.Info.Size))
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				for _, g := range n.Gaps() {
					lines = append(lines, fmt.Sprint(g))
				}
				return lines
			}
			// Where each object is read by itself, nothing is hashed ahead.
			alone := list(Options{Begin: func(string) (func(), error) { return func() {}, nil }})
			ahead := list(Options{})
			if len(alone) < 100 || len(alone) != len(ahead) {
				t.Fatalf("%d lines, with hashes ahead %d", len(alone), len(ahead))
			}
			for i := range alone {
				if alone[i] != ahead[i] {
					t.Errorf("got  %s\nwant %s", ahead[i], alone[i])
				}
			}
		})
	}
}
