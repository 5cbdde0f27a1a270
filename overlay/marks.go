package overlay

import (
	"bytes"
	"fmt"
	"strings"

	"lagan/evidence"
)

// marks are the overlay's attributes on an inode.
type marks struct {
	opaque   byte // 'y', 'x', or 0
	whiteout bool
	metacopy bool
	redirect string
	seal     Seal // of a metadata-only copy
	// err says that attributes can't be read or that metacopy is invalid,
	// badRedirect that redirect is, which matters only where it is followed.
	err, badRedirect error
	// badSeal says that the copy has a digest which isn't one, which matters only
	// where it is checked.
	badSeal error
}

// marks reads them. Those of directories are kept: every container of an image
// asks for them again.
func (f *FS) marks(l Location, typ evidence.Type) marks {
	fsys := f.layers[l.Layer].FS
	k := cacheKey{fs: fsys, ino: l.Ino, prefix: f.prefix}
	keep := typ == evidence.TypeDir && f.keyed[l.Layer]
	if keep {
		if c := f.cache.get(k); c != nil {
			return c.mark
		}
	}
	all, err := fsys.Xattrs(l.Ino)
	m := f.parse(l, all)
	if err != nil {
		m.err = fmt.Errorf("%s: overlay attributes: %w", f.where(l), err)
	}
	if keep {
		f.cache.put(&cached{key: k, mark: m, cost: entryCost})
	}
	return m
}

// attributes are what overlayfs keeps on an inode, and how each becomes a mark.
// An error is about the inode; the others are read all the same.
var attributes = []struct {
	name string
	read func(m *marks, v []byte) error
}{
	{xattrOpaque, readOpaque},
	{xattrWhiteout, func(m *marks, _ []byte) error { m.whiteout = true; return nil }},
	{xattrMetacopy, readMetacopy},
	{xattrRedirect, readRedirect},
	{xattrMetacopy, readSeal},
}

func (f *FS) parse(l Location, all map[string][]byte) marks {
	var m marks
	if len(all) == 0 {
		return m
	}
	for _, a := range attributes {
		v, ok := all[f.prefix+a.name]
		if !ok {
			continue
		}
		if err := a.read(&m, v); err != nil {
			m.err = fmt.Errorf("%s: %w", f.where(l), err)
		}
	}
	if m.badRedirect != nil {
		m.badRedirect = fmt.Errorf("%s: %w", f.where(l), m.badRedirect)
	}
	return m
}

// readOpaque is ovl_get_dir_xattr_val (util.c): any but a one-byte value is none.
func readOpaque(m *marks, v []byte) error {
	if len(v) == 1 {
		m.opaque = v[0]
	}
	return nil
}

// readMetacopy is ovl_check_metacopy_xattr. Version and length are looked at by
// the kernel only where a digest is to be verified: readSeal.
func readMetacopy(m *marks, v []byte) error {
	m.metacopy = true
	if len(v) > 0 && len(v) < metacopyMinSize {
		return fmt.Errorf("metacopy attribute of %d bytes: %w", len(v), evidence.ErrCorrupt)
	}
	return nil
}

func readRedirect(m *marks, v []byte) error {
	if !validRedirect(v) {
		m.badRedirect = fmt.Errorf("redirect %q is invalid: %w", truncate(v), evidence.ErrCorrupt)
	} else {
		m.redirect = cString(v)
	}
	return nil
}

// cString cuts a value at the first NUL, where the kernel's string ends.
func cString(v []byte) string {
	if i := bytes.IndexByte(v, 0); i >= 0 {
		v = v[:i]
	}
	return string(v)
}

// validRedirect is ovl_get_redirect_xattr: a name, or a path from the root
// without empty elements. That . and .. are no names shows when they are
// looked up.
func validRedirect(v []byte) bool {
	s := cString(v)
	if s == "" || len(s) > maxRedirect {
		return false
	}
	rest, absolute := strings.CutPrefix(s, "/")
	if !absolute {
		return !strings.Contains(s, "/")
	}
	for _, e := range strings.Split(rest, "/") {
		if e == "" {
			return false
		}
	}
	return true
}

func truncate(v []byte) []byte {
	const shown = 100
	if len(v) > shown {
		return v[:shown]
	}
	return v
}
