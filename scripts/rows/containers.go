//go:build linux

package main

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
)

func lines(s string) iter.Seq[string] { return strings.SplitSeq(s, "\n") }

// bignode makes the disks of a node of so many containers, one a runtime.
func (b *bench) bignode(name string, arguments ...string) (containerd, docker string, err error) {
	at := func(runtime string) string { return filepath.Join(b.work, name+"-"+runtime+".img") }
	if _, err := os.Stat(at("docker")); err == nil {
		return at("containerd"), at("docker"), nil
	}
	dir := filepath.Join(b.work, name)
	if err := do(append([]string{"go", "run", "./scripts/bignode", "-o", dir}, arguments...)...); err != nil {
		return "", "", err
	}
	for _, runtime := range []string{"containerd", "docker"} {
		if err := do("mkfs.ext4", "-q", "-F", "-d", dir+"/"+runtime, at(runtime), "3G"); err != nil {
			return "", "", err
		}
	}
	return at("containerd"), at("docker"), os.RemoveAll(dir)
}

// beside is container-explorer on a disk that must be mounted first. Mounting
// costs its user as much as the program itself, so both are measured: with the
// mount, and on one that stands. It is nil where the program isn't there.
func (b *bench) beside(image string, mounted bool, arguments ...string) []string {
	if b.explorer == "" {
		return nil
	}
	run := fmt.Sprintf("%s --image-root %s %s", b.explorer, b.mnt, strings.Join(arguments, " "))
	if mounted {
		return shell("%s", run)
	}
	return shell("mount -o loop,ro,noload %s %s && { %s; umount %s; }", image, b.mnt, run, b.mnt)
}

// pair is a row beside container-explorer with the mount, and one without.
func (b *bench) pair(task, image string, mine []string, wanted string, arguments ...string) error {
	if err := b.row(task, false, mine, "mount + container-explorer", b.beside(image, false, arguments...), wanted); err != nil {
		return err
	}
	if b.explorer == "" {
		return nil
	}
	if err := do("mount", "-o", "loop,ro,noload", image, b.mnt); err != nil {
		return err
	}
	err := b.row(task, false, mine, "container-explorer, mounted before", b.beside(image, true, arguments...), wanted)
	if undo := do("umount", b.mnt); err == nil {
		err = undo
	}
	return err
}

// containers lists 1,000 of them, and begins with what starting costs.
func (b *bench) containers() error {
	var start []string
	if b.explorer != "" {
		start = []string{b.explorer, "--version"}
	}
	if err := b.row("start", false, []string{b.lagan, "version"}, "container-explorer", start, ""); err != nil {
		return err
	}
	containerd, docker, err := b.bignode("thousand", "-containers", "1000", "-images", "50", "-layers", "10")
	if err != nil {
		return err
	}
	if err := b.pair("`containers`, 1,000 of containerd", containerd, []string{b.lagan, "containers", containerd}, "0.3", "list", "containers"); err != nil {
		return err
	}
	return b.pair("`containers`, 1,000 of Docker", docker, []string{b.lagan, "containers", docker}, "0.3", "--docker-managed", "list", "containers")
}

// changes are those of 100 containers over the same 20 layers, and the timeline of
// one of them beside that of all.
func (b *bench) changes() error {
	shape := []string{"-images", "1", "-layers", "20", "-files", "2000", "-changes", "60"}
	containerd, docker, err := b.bignode("hundred", append(shape, "-containers", "100")...)
	if err != nil {
		return err
	}
	one, dockerOne, err := b.bignode("one", append(shape, "-containers", "1")...)
	if err != nil {
		return err
	}
	drift := []string{b.lagan, "ce", "--image-root", docker, "--docker-managed", "drift"}
	if err := b.pair("what 100 containers changed, Docker", docker, drift, "0.2", "--docker-managed", "drift"); err != nil {
		return err
	}
	timeline := func(image string) []string {
		return []string{b.lagan, "timeline", image, "--scope", "containers", "-o", b.work + "/out.containers"}
	}
	if err := b.row("timeline of 100 containers over 20 layers, containerd", false, timeline(containerd), "of one with the same layers", timeline(one), "1.9"); err != nil {
		return err
	}
	return b.row("timeline of 100 containers over 20 layers, Docker", false, timeline(docker), "of one with the same layers", timeline(dockerOne), "1.9")
}
