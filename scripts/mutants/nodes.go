package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lagan/analyzer"
	"lagan/evidence/memfs"
	"lagan/runtimes"
	"lagan/runtimes/nspawn"
	"lagan/timeline"
)

// nodeDisks are whole disks of nodes, small ones: of containerd with erofs, and of Podman.
var nodeDisks = packed("fixtures/[cp]*-[es][rq]*.img.zst")

// onDisk is the file that holds a seed between mutants, with its patches undone.
var onDisk = struct {
	sync.Mutex
	path string
	base *byte
}{}

// place writes a mutant to a file, and returns what undoes it.
func place(m *mutant) (path string, undo func() error, err error) {
	onDisk.Lock()
	if onDisk.path == "" {
		onDisk.path = filepath.Join(os.TempDir(), fmt.Sprintf("mutants-%d.img", os.Getpid()))
	}
	defer onDisk.Unlock()
	if onDisk.base != &m.base[0] {
		if err := os.WriteFile(onDisk.path, m.base, 0o600); err != nil {
			return "", nil, err
		}
		onDisk.base = &m.base[0]
	}
	f, err := os.OpenFile(onDisk.path, os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	for _, p := range m.patches {
		if _, err := f.WriteAt(p.data, int64(p.at)); err != nil {
			return "", nil, err
		}
	}
	if err := f.Truncate(m.Size()); err != nil {
		return "", nil, err
	}
	return onDisk.path, func() error {
		defer f.Close()
		for _, p := range m.patches {
			if _, err := f.WriteAt(m.base[p.at:p.at+len(p.data)], int64(p.at)); err != nil {
				return err
			}
		}
		if m.size < len(m.base) {
			_, err := f.WriteAt(m.base[m.size:], int64(m.size))
			return err
		}
		return nil
	}, nil
}

// readNode reads a node as the commands do: everything of every runtime, each
// container's changes, what was deleted, and a timeline.
func readNode(m *mutant, told func(error)) {
	path, undo, err := place(m)
	if err != nil {
		told(err)
		return
	}
	defer func() { told(undo()) }()
	n, err := analyzer.Open(background(), path, analyzer.Options{Timeout: maxSeconds / 2 * time.Second})
	if err != nil {
		told(err)
		return
	}
	defer n.Close()
	n.System()
	n.Images()
	for _, c := range n.Containers() {
		_, err := n.View(c)
		told(err)
	}
	told(n.Recovered(background(), func(*analyzer.RecoveredFile) error { return nil }))
	_, err = n.Findings(background(), analyzer.FindOptions{})
	told(err)
	told(n.Timeline(background(), analyzer.TimelineOptions{}, func(*timeline.Record) error { return nil }))
	for _, g := range n.Gaps() {
		told(fmt.Errorf("%s", g.String()))
	}
}

const nspawnSettings = "[Exec]\nBoot=yes\nUser=u\nPrivateUsers=pick\nEnvironment=\"A=1 2\"\n[Files]\nBind=/srv:/data\nOverlay=/a:/b:/c\n[Network]\nVirtualEthernet=yes\nPort=tcp:80:80\n"

// readMachine reads a machine of systemd-nspawn by its settings.
func readMachine(m *mutant, told func(error)) {
	f := memfs.New()
	f.File("var/lib/machines/web/etc/os-release", "ID=debian\n")
	f.File("etc/systemd/nspawn/web.nspawn", string(m.bytes()))
	var s runtimes.Store
	s, err := nspawn.Open(f, f.Root(), "/var/lib/machines")
	if err != nil {
		told(err)
		return
	}
	drain(s.Containers(), told)
}
