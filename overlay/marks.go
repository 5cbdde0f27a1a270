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
	// err says that attributes can't be read or that metacopy is invalid,
	// badRedirect that redirect is, which matters only where it is followed.
	err, badRedirect error
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

func (f *FS) parse(l Location, all map[string][]byte) marks {
	var m marks
	if len(all) == 0 {
		return m
	}
	// ovl_get_dir_xattr_val (util.c): any but a one-byte value is none.
	if v := all[f.prefix+xattrOpaque]; len(v) == 1 {
		m.opaque = v[0]
	}
	_, m.whiteout = all[f.prefix+xattrWhiteout]
	if v, ok := all[f.prefix+xattrMetacopy]; ok {
		// ovl_check_metacopy_xattr. Version and length are looked at by the
		// kernel only where a digest is to be verified.
		m.metacopy = true
		if len(v) > 0 && len(v) < metacopyMinSize {
			m.err = fmt.Errorf("%s: metacopy attribute of %d bytes: %w", f.where(l), len(v), evidence.ErrCorrupt)
		}
	}
	if v, ok := all[f.prefix+xattrRedirect]; ok {
		if !validRedirect(v) {
			m.badRedirect = fmt.Errorf("%s: redirect %q is invalid: %w", f.where(l), truncate(v), evidence.ErrCorrupt)
		} else {
			m.redirect = cString(v)
		}
	}
	return m
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
