package main

import (
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lagan/evidence"
	"lagan/evidence/tarfs"
	"lagan/evidence/volume"
)

// arrayDisks are the disks of arrays and volume groups that Linux wrote.
var arrayDisks = sync.OnceValues(func() (map[string][]byte, error) {
	b, err := unpack(filepath.Join(root(), "evidence/volume/testdata/linux-6.1.tar.zst"))
	if err != nil {
		return nil, err
	}
	t, err := tarfs.Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		return nil, err
	}
	entries, err := evidence.List(t, t.Root())
	if err != nil {
		return nil, err
	}
	disks := map[string][]byte{}
	for _, e := range entries {
		if e.Name == "SUMS" {
			continue
		}
		if disks[e.Name], err = evidence.ReadInode(t, e.Ino, maxSeed); err != nil {
			return nil, err
		}
	}
	return disks, nil
})

// members makes each disk whose name ends so a seed: a mutant is one damaged
// disk among its whole neighbours.
func members(endings ...string) func() ([]seed, error) {
	return func() ([]seed, error) {
		disks, err := arrayDisks()
		var seeds []seed
		for name, b := range disks {
			if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) }) {
				s := newSeed(name, b)
				s.used = slices.DeleteFunc(s.used, func(at int) bool { return !aboutMembers(at, len(b)) })
				seeds = append(seeds, s)
			}
		}
		slices.SortFunc(seeds, func(a, b seed) int { return strings.Compare(a.name, b.name) })
		return seeds, err
	}
}

// aboutMembers says whether a place of a disk holds what its array or group is:
// the first mebibyte, and the end, where superblocks of version 1.0 stand. Thin
// pools' metadata lie in the middle, so that some of the rest is kept.
func aboutMembers(at, size int) bool {
	return at < 1<<20 || at > size-128<<10 || at%(64<<10) < 4096
}

// readMembers puts together what the mutant and its neighbours are parts of,
// and reads the beginning, the middle and the end of each.
func readMembers(m *mutant, told func(error)) {
	disks, err := arrayDisks()
	if err != nil {
		told(err)
		return
	}
	kind := ""
	for name, b := range disks {
		if &b[0] == &m.base[0] {
			kind = name[strings.Index(name, "-"):]
		}
	}
	var parts []volume.Volume
	for name, b := range disks {
		var disk io.ReaderAt = bytes.NewReader(b)
		size := int64(len(b))
		switch {
		case !strings.HasSuffix(name, kind):
			continue
		case &b[0] == &m.base[0]:
			disk, size = m, m.Size()
		}
		found, err := volume.Scan(disk, size, told)
		told(err)
		parts = append(parts, found...)
	}
	made := volume.Assemble(parts, told).Made
	block := make([]byte, 64<<10)
	for _, v := range made {
		for _, at := range []int64{0, v.Size / 2, v.Size - int64(len(block))} {
			if at >= 0 && at < v.Size {
				_, err := v.ReadAt(block, at)
				told(err)
			}
		}
	}
}
