// Remnants measures how much of removed containers is found again. Each round
// makes a small ext4 filesystem, lets containers be made and removed on it as
// containerd, its CRI plugin and a kubelet do it (meta.db and metadata.db through
// bbolt, status files by renaming, links to logs), goes on with further changes,
// and asks the analyzer what was removed. It takes root, for loop mounts.
//
//	go run ./scripts/remnants [-rounds 50] [-real] [-mutants 10000]
//
// -real lets a containerd of this machine do it, through ctr. -mutants damages one
// page each of so many copies of databases of each kind, containerd's, dockerd's,
// BuildKit's and Podman's, and counts what is still found; it needs sqlite3, not root.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/runtimes"
)

// scenario is how many of how many containers are removed, 0 for all.
type scenario struct{ remove, of int }

var scenarios = []scenario{{1, 10}, {5, 40}, {10, 10}}

var changes = []int{0, 5, 50}

// tally counts what was found.
type tally struct {
	removed, left, database, any, ids, invented int
}

func main() {
	rounds := flag.Int("rounds", 50, "rounds of each kind")
	realOne := flag.Bool("real", false, "let this machine's containerd do it")
	seed := flag.Uint64("seed", 1, "of the random numbers")
	damaged := flag.Int("mutants", 0, "read so many damaged databases instead")
	flag.Parse()
	if *damaged > 0 {
		if err := mutants(*damaged, *seed); err != nil {
			fmt.Fprintln(os.Stderr, "remnants:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*rounds, *realOne, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "remnants:", err)
		os.Exit(1)
	}
}

func run(rounds int, realOne bool, seed uint64) error {
	fmt.Println("| removed | further changes | containers | id anywhere in the databases' bytes | id, image and a time from the database | from any source | id and a time from any source | invented |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	invented := 0
	for _, s := range scenarios {
		for _, further := range changes {
			var t tally
			for r := range rounds {
				rnd := rand.New(rand.NewPCG(seed, uint64(r)<<16|uint64(s.of)<<8|uint64(further)))
				if err := round(rnd, s, further, realOne, &t); err != nil {
					return fmt.Errorf("%d of %d, %d further, round %d: %w", s.remove, s.of, further, r, err)
				}
			}
			fmt.Printf("| %d of %d | %d | %d | %.0f %% | %.0f %% | %.0f %% | %.0f %% | %d |\n", s.remove, s.of, further, t.removed, t.share(t.left), t.share(t.database), t.share(t.any), t.share(t.ids), t.invented)
			invented += t.invented
		}
	}
	if invented > 0 {
		return fmt.Errorf("%d containers were invented", invented)
	}
	return nil
}

func (t *tally) share(n int) float64 { return 100 * float64(n) / float64(max(t.removed, 1)) }

// round makes one disk and measures.
func round(rnd *rand.Rand, s scenario, further int, realOne bool, t *tally) error {
	dir, err := os.MkdirTemp("", "remnants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "disk")
	top, umount, err := disk(image, filepath.Join(dir, "mnt"))
	if err != nil {
		return err
	}
	var all, gone []container
	if realOne {
		all, gone, err = live(rnd, dir, top, s, further)
	} else {
		all, gone, err = story(rnd, top, s, further)
	}
	if failed := umount(); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return t.measure(image, all, gone)
}

// measure asks the analyzer, and compares.
func (t *tally) measure(image string, all, gone []container) error {
	n, err := analyzer.Open(context.Background(), image, analyzer.Options{})
	if err != nil {
		return err
	}
	defer n.Close()
	found, err := n.Removed(context.Background())
	if err != nil {
		return err
	}
	bytesLeft, err := databaseBytes(n)
	if err != nil {
		return err
	}
	known := map[string]container{}
	for _, c := range gone {
		known[c.id] = c
		if bytes.Contains(bytesLeft, []byte(c.id)) {
			t.left++
		}
	}
	for _, r := range found {
		if r.Object != runtimes.ObjectContainer {
			continue
		}
		c, ok := known[r.ID]
		if !ok {
			t.invented++
			fmt.Fprintf(os.Stderr, "invented: %s %q, there: %v\n", r.ID, r.Name, slices.ContainsFunc(all, func(c container) bool { return c.id == r.ID }))
			continue
		}
		delete(known, r.ID)
		bounded := !r.ExistedBy.IsZero() || !r.GoneBy.IsZero()
		if bounded {
			t.ids++
		}
		if r.Container.Image == c.image && bounded {
			t.any++
		} else if r.Container.Image != "" && r.Container.Image != c.image {
			t.invented++
		}
		if slices.ContainsFunc(r.Traces, func(tr runtimes.Remnant) bool {
			return strings.HasSuffix(tr.Source, ".db") && tr.Container != nil && tr.Container.Image == c.image && (!tr.Existed.IsZero() || !tr.Gone.IsZero())
		}) {
			t.database++
		}
	}
	t.removed += len(gone)
	return nil
}

// databaseBytes returns the files of the databases: what no byte of them says of a
// container, no reader finds there.
func databaseBytes(n *analyzer.Node) ([]byte, error) {
	var out []byte
	for _, name := range []string{metaFile, overlayfs + "/metadata.db", "io.containerd.snapshotter.v1.native/metadata.db"} {
		ino, err := evidence.Resolve(n.Tree, n.Tree.Root(), "/"+root+"/"+name, true)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r, err := n.Tree.Open(ino)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}
