//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

var (
	ext4 = []string{"mkfs.ext4", "-q", "-F"}
	xfs  = []string{"mkfs.xfs", "-q", "-f"}
	// Metadata once, as on the disks of nodes in clouds.
	btrfs = []string{"mkfs.btrfs", "-q", "-f", "-m", "single"}
)

// disks are an ext4 and an XFS disk of a container node, read as a whole.
func (b *bench) disks() error {
	for _, d := range []struct {
		name, options string
		mkfs          []string
	}{{"ext4", "ro,noatime", ext4}, {"xfs", "ro,noatime,norecovery", xfs}} {
		image, err := b.disk(d.name+".img", "6G", d.mkfs, b.node)
		if err != nil {
			return err
		}
		mount := fmt.Sprintf("mount -o loop,%s %s %s && ", d.options, image, b.mnt)
		find := shell("%s find %s -printf '%%p\\t%%y\\t%%m\\t%%U\\t%%G\\t%%s\\t%%A@\\t%%T@\\t%%C@\\t%%B@\\t%%l\\n' > %s/find.out; umount %s", mount, b.mnt, b.work, b.mnt)
		fls := shell("fls -m / -r -p %s > %s/fls.out", image, b.work)
		sums := shell("%s find %s -type f -print0 | xargs -0 -P 2 -n 500 sha256sum > %s/sums.out; umount %s", mount, b.mnt, b.work, b.mnt)
		bodyfile := []string{b.lagan, "timeline", image, "--scope", "node", "--format", "bodyfile", "-o", b.work + "/out.body"}
		jsonl := []string{b.lagan, "timeline", image, "--scope", "node", "-o", b.work + "/out.jsonl"}
		hash := []string{b.lagan, "ls", image, "@node", "-R", "--hash", "--output", "jsonl", "-o", b.work + "/out.ls"}
		for _, cold := range []bool{true, false} {
			wanted := map[bool]string{true: "0.15", false: "0.3"}[cold]
			if err := b.row("bodyfile, "+d.name, cold, bodyfile, "mount + `find`", find, wanted); err != nil {
				return err
			}
			if d.name == "ext4" {
				if err := b.row("bodyfile, ext4", cold, bodyfile, "`fls`", fls, "0.25"); err != nil {
					return err
				}
				if err := b.row("JSONL, ext4", cold, jsonl, "`fls` (a bodyfile)", fls, "0.8"); err != nil {
					return err
				}
			} else if err := b.row("JSONL, xfs", cold, jsonl, "mount + `find`", find, ""); err != nil {
				return err
			}
			if err := b.row("SHA-256 of all files, "+d.name, cold, hash, "mount + `sha256sum`, two at a time", sums, "0.8"); err != nil {
				return err
			}
		}
		if err := b.reads(d.name, bodyfile); err != nil {
			return err
		}
	}
	return nil
}

// btrfs is the same tree on btrfs: a bodyfile of it, and what is read for that.
func (b *bench) btrfs() error {
	image, err := b.disk("btrfs.img", "6G", btrfs, b.node)
	if err != nil {
		return err
	}
	find := shell("mount -o loop,ro,noatime %s %s && find %s -printf '%%p\\t%%s\\t%%A@\\t%%T@\\t%%C@\\n' > %s/find.out; umount %s", image, b.mnt, b.mnt, b.work, b.mnt)
	bodyfile := []string{b.lagan, "timeline", image, "--scope", "node", "--format", "bodyfile", "-o", b.work + "/out.body"}
	for _, cold := range []bool{true, false} {
		if err := b.row("bodyfile, btrfs", cold, bodyfile, "mount + `find`", find, ""); err != nil {
			return err
		}
	}
	return b.reads("btrfs", bodyfile)
}

// node fills a filesystem as a node's is: many small files in the folders of
// snapshots, a folder of 20,000 names, a long log.
func (b *bench) node(top string) error {
	rng := rand.New(rand.NewPCG(7, 7))
	blob := make([]byte, 1<<20)
	for i := range blob {
		blob[i] = byte(rng.Uint32())
	}
	sizes := []int{0, 120, 700, 1500, 3000, 5000, 9000}
	for made, snapshot := 0, 0; made < b.files; snapshot++ {
		for d := range 60 {
			dir := fmt.Sprintf("%s/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/%d/fs/usr/lib/d%d", top, snapshot, d)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			for f := range 50 {
				at := made % 1000
				if err := os.WriteFile(fmt.Sprintf("%s/file-%05d.py", dir, f), blob[at:at+sizes[rng.IntN(len(sizes))]], 0o644); err != nil {
					return err
				}
				if made++; f%25 != 0 {
					continue
				}
				if err := os.Symlink(fmt.Sprintf("../d%d/file-%05d.py", (d+1)%60, f), fmt.Sprintf("%s/link-%d", dir, f)); err != nil {
					return err
				}
				made++
			}
		}
	}
	return others(top, blob)
}

func others(top string, blob []byte) error {
	for _, dir := range []string{"/big", "/var/log"} {
		if err := os.MkdirAll(top+dir, 0o755); err != nil {
			return err
		}
	}
	for i := range 20_000 {
		if err := os.WriteFile(fmt.Sprintf("%s/big/entry-with-a-longish-name-%08d.log", top, i), nil, 0o644); err != nil {
			return err
		}
	}
	f, err := os.Create(top + "/var/log/large.log")
	if err != nil {
		return err
	}
	for range 400 {
		if _, err := f.Write(blob); err != nil {
			return err
		}
	}
	return f.Close()
}

// pread finds what a read of the disk got, in a trace.
var pread = regexp.MustCompile(`pread64\(.*= (\d+)$|pread64 resumed.*= (\d+)$`)

// reads counts what is read of a disk, where strace is there.
func (b *bench) reads(name string, argv []string) error {
	trace := filepath.Join(b.work, "trace")
	if exec.Command("strace", append([]string{"-f", "-e", "trace=pread64", "-o", trace}, argv...)...).Run() != nil {
		return nil
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		return err
	}
	count, total := 0, 0
	for line := range lines(string(text)) {
		if m := pread.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1] + m[2]) // digits
			count, total = count+1, total+n
		}
	}
	_, err = fmt.Printf("| reads of a bodyfile, %s | %d MiB in %d, on average %d KiB | | | | | | | | 256 KiB |\n", name, total>>20, count, total/max(count, 1)>>10)
	return err
}

// sparse is the start on a disk of 1 TB.
func (b *bench) sparse() error {
	for _, d := range []struct {
		name string
		mkfs []string
	}{{"sparse-ext4.img", ext4}, {"sparse-xfs.img", xfs}} {
		image, err := b.disk(d.name, "1T", d.mkfs, func(string) error { return nil })
		if err != nil {
			return err
		}
		if err := b.row("`info` of 1 TB, "+d.name, true, []string{b.lagan, "info", image}, "", nil, "0.2 s"); err != nil {
			return err
		}
	}
	return nil
}

// million are disks of very many files; the first has them in 1,000 folders.
func (b *bench) million() error {
	for _, d := range []struct {
		name, files, inodes, shape string
	}{{"1m-flat.img", "1000000", "1200000", "flat"}, {"1m.img", "1000000", "1200000", "node"}, {"3m.img", "3000000", "3400000", "node"}} {
		image, err := b.disk(d.name, "50G", []string{"mkfs.ext4", "-q", "-F", "-N", d.inodes}, func(dir string) error {
			return do("go", "run", "./scripts/manyfiles", "-o", dir, "-files", d.files, "-shape", d.shape)
		})
		if err != nil {
			return err
		}
		for _, format := range []string{"bodyfile", "jsonl"} {
			mine := []string{b.lagan, "timeline", image, "--scope", "node", "--format", format, "-o", b.work + "/out.large"}
			if err := b.row(fmt.Sprintf("%s of %s files (%s)", format, d.files, d.shape), false, mine, "", nil, "400 MiB"); err != nil {
				return err
			}
		}
	}
	return nil
}
