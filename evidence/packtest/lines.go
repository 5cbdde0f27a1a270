package packtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
)

// shownContent is how much of a file a line of Lines has.
const shownContent = 40

// Lines has what a test compares of a tree, below its root, a line for each path:
// type, rights, owner, links, and its content, target, device and attributes.
func Lines(tb testing.TB, fsys evidence.FS) string {
	tb.Helper()
	var b strings.Builder
	err := evidence.Walk(fsys, fsys.Root(), func(path string, e evidence.Entry, i evidence.Info, err error) error {
		if err != nil || path == "" {
			return err
		}
		fmt.Fprintf(&b, "/%s %s %04o %d:%d x%d", path, i.Type, i.Perm, i.UID, i.GID, i.Nlink)
		switch i.Type {
		case evidence.TypeFile:
			content, err := evidence.ReadInode(fsys, e.Ino, 1<<20)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", content[:min(len(content), shownContent)])
		case evidence.TypeSymlink:
			target, err := fsys.ReadLink(e.Ino)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", target)
		case evidence.TypeChar, evidence.TypeBlock:
			fmt.Fprintf(&b, " %d:%d", i.Major, i.Minor)
		}
		x, err := fsys.Xattrs(e.Ino)
		for _, name := range slices.Sorted(maps.Keys(x)) {
			fmt.Fprintf(&b, " %s=%q", name, x[name])
		}
		b.WriteByte('\n')
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return b.String()
}
