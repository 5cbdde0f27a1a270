package overlay

import (
	"errors"
	"io/fs"
	"iter"
	"strconv"
	"strings"
	"sync"

	"lagan/evidence"
)

// Style is how a program that isn't the kernel's overlayfs marks what was deleted.
type Style int

// The styles of marks.
const (
	// StyleAUFS is that of AUFS, which Docker used up to version 23: ".wh.x"
	// stands for the deleted x, ".wh..wh..opq" makes a directory opaque, other
	// names that begin with ".wh..wh." are its own (aufs4-standalone,
	// include/uapi/linux/aufs_type.h, AUFS_WH_PFX and AUFS_WH_DIROPQ).
	StyleAUFS Style = iota + 1
	// StyleFuse is that of fuse-overlayfs: as the kernel's or as StyleAUFS, or by
	// user.fuseoverlayfs.opaque; owners and modes may stand in an attribute
	// (fuse-overlayfs main.c, utils.c).
	StyleFuse
)

const (
	whPrefix = ".wh."
	whOwn    = ".wh..wh."
	whOpaque = ".wh..wh..opq"

	fusePrefix       = "user.fuseoverlayfs."
	fuseOpaque       = fusePrefix + "opaque"
	overrideFuse     = fusePrefix + "override_stat"
	overrideSecurity = "security.fuseoverlayfs.override_stat"
	overrideStorage  = "user.containers.override_stat" // containers/storage pkg/idtools/idtools.go
)

// Styled returns fsys with marks of a style turned into the kernel's, so that
// directories of it can be layers for a Merge with the given UserXattr. Use one
// for all layers of a tree: what is kept of directories is then shared.
func Styled(fsys evidence.FS, style Style, userXattr bool) evidence.FS {
	s := &styled{FS: fsys, style: style, prefix: trustedPrefix, deleted: make(map[evidence.Ino]bool)}
	if userXattr {
		s.prefix = userPrefix
	}
	return s
}

type styled struct {
	evidence.FS
	style  Style
	prefix string // of the mark that Merge looks for

	mu sync.RWMutex
	// deleted holds the files that stand for whiteouts. AUFS links them all to
	// one inode; nothing else has it.
	deleted map[evidence.Ino]bool
}

// ReadDir implements evidence.FS.
func (s *styled) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		var marks []evidence.Entry
		real := make(map[string]bool)
		for e, err := range s.FS.ReadDir(dir) {
			if err == nil && strings.HasPrefix(e.Name, whPrefix) {
				if name := e.Name[len(whPrefix):]; !strings.HasPrefix(e.Name, whOwn) && name != "" {
					marks = append(marks, evidence.Entry{Name: name, Ino: e.Ino})
				}
				continue
			}
			real[e.Name] = true
			if !yield(e, err) {
				return
			}
		}
		for _, m := range marks {
			if !real[m.Name] && !yield(s.whiteout(m), nil) {
				return
			}
		}
	}
}

func (s *styled) whiteout(e evidence.Entry) evidence.Entry {
	s.mu.Lock()
	s.deleted[e.Ino] = true
	s.mu.Unlock()
	e.Type = evidence.TypeChar
	return e
}

// Lookup implements evidence.Lookuper.
func (s *styled) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	if strings.HasPrefix(name, whPrefix) {
		return evidence.Entry{}, fs.ErrNotExist
	}
	e, err := evidence.Lookup(s.FS, dir, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	mark, markErr := evidence.Lookup(s.FS, dir, whPrefix+name)
	if markErr != nil {
		return e, err
	}
	return s.whiteout(evidence.Entry{Name: name, Ino: mark.Ino}), nil
}

// Stat implements evidence.FS.
func (s *styled) Stat(ino evidence.Ino) (evidence.Info, error) {
	info, err := s.FS.Stat(ino)
	if err != nil {
		return info, err
	}
	s.mu.RLock()
	deleted := s.deleted[ino]
	s.mu.RUnlock()
	if deleted {
		info.Type, info.Major, info.Minor, info.Size = evidence.TypeChar, 0, 0, 0
		return info, nil
	}
	if s.style == StyleFuse {
		all, err := s.FS.Xattrs(ino)
		for _, name := range []string{overrideFuse, overrideSecurity, overrideStorage} {
			if v, ok := all[name]; ok && err == nil {
				override(&info, string(v))
				break
			}
		}
	}
	return info, nil
}

// override takes an owner and a mode that a user who may not set them kept in
// an attribute: "uid:gid:mode" and, since containers/storage 1.55, ":type". What
// isn't one is left alone.
func override(info *evidence.Info, text string) {
	f := strings.Split(text, ":")
	if len(f) < 3 {
		return
	}
	uid, err1 := strconv.ParseUint(f[0], 10, 32)
	gid, err2 := strconv.ParseUint(f[1], 10, 32)
	mode, err3 := strconv.ParseUint(f[2], 8, 16)
	if err1 != nil || err2 != nil || err3 != nil {
		return
	}
	info.UID, info.GID, info.Perm = uint32(uid), uint32(gid), uint16(mode&0o7777)
	if typ := evidence.TypeOfMode(uint16(mode)); typ == evidence.TypeUnknown && len(f) > 3 {
		overrideType(info, f[3:])
	}
}

// overrideType takes "file", "dir", "symlink", "pipe", "socket", "block-8-0" or "block8:0".
func overrideType(info *evidence.Info, f []string) {
	name := strings.Join(f, "-")
	for _, t := range [...]struct {
		name string
		typ  evidence.Type
	}{{"block", evidence.TypeBlock}, {"char", evidence.TypeChar}} {
		rest, ok := strings.CutPrefix(name, t.name)
		if !ok {
			continue
		}
		major, minor, _ := strings.Cut(strings.TrimPrefix(rest, "-"), "-")
		a, err1 := strconv.ParseUint(major, 10, 32)
		b, err2 := strconv.ParseUint(minor, 10, 32)
		if err1 == nil && err2 == nil {
			info.Type, info.Major, info.Minor, info.Size = t.typ, uint32(a), uint32(b), 0
		}
		return
	}
	switch name {
	case "pipe":
		info.Type = evidence.TypeFIFO
	case "socket":
		info.Type = evidence.TypeSocket
	}
}

// Xattrs implements evidence.FS: a directory that is opaque in the style has the
// kernel's mark, and what the style doesn't know is no mark.
func (s *styled) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	all, err := s.FS.Xattrs(ino)
	if all == nil {
		all = make(map[string][]byte)
	}
	opaque := s.style == StyleFuse && (isYes(all[fuseOpaque]) || isYes(all[trustedPrefix+xattrOpaque]) || isYes(all[userPrefix+xattrOpaque]))
	for name := range all {
		if strings.HasPrefix(name, trustedPrefix) || strings.HasPrefix(name, userPrefix) || strings.HasPrefix(name, fusePrefix) ||
			name == overrideSecurity || name == overrideStorage {
			delete(all, name)
		}
	}
	if !opaque {
		if info, statErr := s.FS.Stat(ino); statErr == nil && info.Type == evidence.TypeDir {
			_, lookErr := evidence.Lookup(s.FS, ino, whOpaque)
			opaque = lookErr == nil
		}
	}
	if opaque {
		all[s.prefix+xattrOpaque] = []byte{opaqueYes}
	}
	return all, err
}

func isYes(v []byte) bool { return len(v) > 0 && v[0] == opaqueYes }
