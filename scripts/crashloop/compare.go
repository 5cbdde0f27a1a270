//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// compare returns one line for each difference; times that the recovery made don't count.
func compare(want, got map[string]record, recovered func(int64) bool) []string {
	var out []string
	all := map[string]bool{}
	for p := range want {
		all[p] = true
	}
	for p := range got {
		all[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		w, inKernel := want[p]
		g, inReader := got[p]
		switch {
		case !inReader:
			out = append(out, fmt.Sprintf("%q: missing (%s, inode %d)", p, w.Type, w.Inode))
		case !inKernel:
			out = append(out, fmt.Sprintf("%q: not there (%s, inode %d)", p, g.Type, g.Inode))
		default:
			out = append(out, differences(p, w, g, recovered)...)
		}
	}
	return out
}

func differences(path string, w, g record, recovered func(int64) bool) []string {
	var out []string
	diff := func(what string, w, g any) {
		out = append(out, fmt.Sprintf("%q: %s is %v, the kernel says %v", path, what, g, w))
	}
	for _, f := range []struct {
		what string
		w, g any
	}{
		{"type", w.Type, g.Type}, {"mode", w.Mode, g.Mode}, {"uid", w.UID, g.UID}, {"gid", w.GID, g.GID},
		{"nlink", w.Nlink, g.Nlink}, {"inode", w.Inode, g.Inode}, {"size", w.Size, g.Size}, {"btime", w.Btime, g.Btime},
		{"target", w.Target, g.Target}, {"rdev", w.Rdev, g.Rdev}, {"sha256", w.SHA256, g.SHA256},
	} {
		if f.w != f.g {
			diff(f.what, f.w, f.g)
		}
	}
	if w.Mtime != g.Mtime && !recovered(w.Mtime) {
		diff("mtime", w.Mtime, g.Mtime)
	}
	if w.Ctime != g.Ctime && !recovered(w.Ctime) {
		diff("ctime", w.Ctime, g.Ctime)
	}
	hidden := func(k, _ string) bool { return strings.HasPrefix(k, "system.") }
	maps.DeleteFunc(w.Xattrs, hidden)
	maps.DeleteFunc(g.Xattrs, hidden)
	if !maps.Equal(w.Xattrs, g.Xattrs) {
		diff("xattrs", w.Xattrs, g.Xattrs)
	}
	return out
}
