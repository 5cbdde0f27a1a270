package overlay_test

import (
	"slices"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/overlay"
)

func TestStyled(t *testing.T) {
	f := memfs.New()
	f.File("low/a", "1")
	f.File("low/b", "1")
	f.File("low/.wh.plain", "1") // in a layer of this style: a mark, whatever is in it
	f.File("low/d/x", "1")
	f.File("low/d/y", "1")
	f.File("low/e/x", "1")
	f.File("low/f/x", "1")
	mark := f.File("up/.wh.a", "")
	f.Link("up/d/.wh.x", mark) // AUFS links all its marks
	f.File("up/e/.wh..wh..opq", "")
	f.File("up/e/new", "2")
	f.File("up/.wh..wh.plnk/1", "")
	f.File("up/.wh.c", "") // made again
	f.File("up/c", "2").Set("user.fuseoverlayfs.override_stat", "5:6:4755")
	f.Dir("up/f").Set("user.fuseoverlayfs.opaque", "y").Set("user.fuseoverlayfs.origin", "z")
	f.Device("up/d/y", evidence.TypeChar, 0, 0)
	for _, c := range []struct {
		style overlay.Style
		want  []string
	}{
		{overlay.StyleAUFS, []string{"", "b", "c", "d", "e", "e/new", "f", "f/x"}},
		{overlay.StyleFuse, []string{"", "b", "c", "d", "e", "e/new", "f"}},
	} {
		for _, user := range []bool{false, true} {
			fsys := overlay.Styled(f, c.style, user)
			var layers []overlay.Layer
			for _, dir := range []string{"up", "low"} {
				ino, err := evidence.Resolve(f, f.Root(), dir, false)
				if err != nil {
					t.Fatal(err)
				}
				layers = append(layers, overlay.Layer{FS: fsys, Root: ino, Name: dir})
			}
			view, err := overlay.Merge(layers, overlay.Options{UserXattr: user})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			err = evidence.Walk(view, view.Root(), func(p string, e evidence.Entry, info evidence.Info, err error) error {
				got = append(got, p)
				if p == "c" && c.style == overlay.StyleFuse && (info.UID != 5 || info.GID != 6 || info.Perm != 0o4755) {
					t.Errorf("c: %+v", info)
				}
				all, _ := view.Xattrs(e.Ino)
				if len(all) > 0 {
					t.Errorf("%s: %v", p, all)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("style %d, userxattr %v:\ngot  %q\nwant %q", c.style, user, got, c.want)
			}
		}
	}
}
