//go:build linux

// Command crashloop compares the reader's replay of a journal with the kernel's,
// over and over: it makes a filesystem on an image full of 0xAA, mounts it,
// keeps several writers busy, and at a random moment copies the image in an
// instant, as a snapshot of a running node's disk does, or stops the filesystem
// dead (FS_IOC_SHUTDOWN, as a power cut would) and copies it then. It lets the
// kernel recover a copy of the copy, and compares what the kernel then shows with
// what the reader shows of the untouched image: every path, in all that a walk tells.
//
//	go run ./scripts/crashloop -fs ext4 -n 50
//	go run ./scripts/crashloop -fs xfs -variant xfs-1k -n 10 -lagan ./lagan
//	go run ./scripts/crashloop -fs btrfs -n 50
//
// It needs root (loop mounts), e2fsprogs, xfsprogs and btrfs-progs; -tools names
// a folder with newer ones, for what mkfs of the system doesn't know. Exit status 1
// says that there was a difference; the images of such a round are kept.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

type options struct {
	fs, variant, lagan, work, tools string
	n                               int
	seed                            uint64
	longest                         time.Duration
	golden                          string
	small                           bool
}

func main() {
	var o options
	flag.StringVar(&o.fs, "fs", "ext4", "filesystem: ext4, xfs or btrfs")
	flag.StringVar(&o.variant, "variant", "", "one variant only (default: each in turn)")
	flag.StringVar(&o.tools, "tools", "", "folder of mkfs programs to be used before the system's")
	flag.IntVar(&o.n, "n", 50, "rounds")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "seed of the writers and of the moment")
	flag.StringVar(&o.lagan, "lagan", "", "compare the output of this lagan instead of the packages")
	flag.StringVar(&o.work, "work", "", "folder for the images (default: a temporary one)")
	flag.StringVar(&o.golden, "golden", "", "keep each round's image and what the kernel showed of it in this folder")
	flag.BoolVar(&o.small, "small", false, "small images and few files, as testdata wants them (ext4)")
	flag.DurationVar(&o.longest, "longest", 1500*time.Millisecond, "longest time that the writers run")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "crashloop:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	var names []string
	for _, v := range variants {
		if v.fs == o.fs && (o.variant == v.name || o.variant == "" && !v.hangs) {
			names = append(names, v.name)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("no variant %q of %q", o.variant, o.fs)
	}
	if o.work == "" {
		dir, err := os.MkdirTemp("", "crashloop-")
		if err != nil {
			return err
		}
		defer os.Remove(dir) // stays where images of a difference stay
		o.work = dir
	}
	mnt := filepath.Join(o.work, "mnt")
	if err := os.MkdirAll(mnt, 0o700); err != nil {
		return err
	}
	defer os.Remove(mnt)
	h, err := newHost(o.work)
	if err != nil {
		return err
	}
	defer h.close()
	if o.tools != "" {
		os.Setenv("PATH", o.tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	fmt.Printf("seed %d\n", o.seed)
	bad, refused, missing := 0, 0, 0
	for i := range o.n {
		v := variantNamed(names[i%len(names)])
		r := &round{options: o, host: h, variant: v, mnt: mnt, rng: rand.New(rand.NewPCG(o.seed, uint64(i))),
			image: filepath.Join(h.dir, fmt.Sprintf("%s-%d.img", v.name, i))}
		problems, err := r.run()
		switch {
		case errors.Is(err, errRefused):
			refused++
			fmt.Printf("%3d %-16s %v; %s; %s\n", i, v.name, err, r.how, r.said)
		case errors.Is(err, errNotMade):
			missing++
			fmt.Printf("%3d %-16s %v\n", i, v.name, err)
		case err != nil:
			return fmt.Errorf("round %d, %s: %w", i, v.name, err)
		case len(problems) > 0:
			bad++
			fmt.Printf("%3d %-16s FAIL %d differences in %d paths; %s; %s\n", i, v.name, len(problems), r.paths, r.how, r.said)
			for _, p := range problems[:min(len(problems), 12)] {
				fmt.Println("      " + p)
			}
			if err := command("cp", "--sparse=always", r.image, o.work); err != nil {
				return err
			}
		default:
			fmt.Printf("%3d %-16s ok   %d paths; %s; %s\n", i, v.name, r.paths, r.how, r.said)
		}
		os.Remove(r.image)
	}
	fmt.Printf("%d rounds, %d with differences, %d that the kernel refused, %d not made here\n", o.n, bad, refused, missing)
	if bad > 0 {
		return fmt.Errorf("%d rounds differ; their images are in %s", bad, o.work)
	}
	return nil
}
