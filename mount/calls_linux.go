package mount

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"lagan/evidence"
)

// Lookup implements fuse.RawFileSystem.
func (f *filesystem) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	status := f.do(h.NodeId, name, func(dir *entry) error {
		k, err := f.lookup(dir, name)
		if err != nil {
			return err
		}
		info, err := f.stat(k)
		if err != nil {
			return err
		}
		f.learn(out, k, &info, dir, name)
		return nil
	})
	if status == fuse.ENOENT { // inode 0 says that there is nothing, and for how long
		out.SetEntryTimeout(forever)
		return fuse.OK
	}
	return status
}

// Forget implements fuse.RawFileSystem.
func (f *filesystem) Forget(id, lookups uint64) { f.table.forget(id, lookups) }

// GetAttr implements fuse.RawFileSystem.
func (f *filesystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.do(in.NodeId, "", func(e *entry) error {
		info, err := f.stat(e.key)
		if err != nil {
			return err
		}
		out.SetTimeout(forever)
		f.attributes(&out.Attr, e.key, &info)
		return nil
	})
}

// Statx implements fuse.RawFileSystem: the one call that has a birth time, and
// that can leave out what is not known.
func (f *filesystem) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	return f.do(in.NodeId, "", func(e *entry) error {
		info, err := f.stat(e.key)
		if err != nil {
			return err
		}
		out.SetTimeout(forever)
		out.Mask = unix.STATX_BASIC_STATS
		out.Ino, out.Mode, out.Nlink, out.Uid, out.Gid = f.number(e.key), uint16(mode(&info)), info.Nlink, info.UID, info.GID
		out.Size, out.Blocks, out.Blksize = uint64(info.Size), blocks(info.Size), blockSize
		out.RdevMajor, out.RdevMinor = info.Major, info.Minor
		for _, t := range []struct {
			at   time.Time
			to   *fuse.SxTime
			mask uint32
		}{
			{info.Mtime, &out.Mtime, unix.STATX_MTIME}, {info.Atime, &out.Atime, unix.STATX_ATIME},
			{info.Ctime, &out.Ctime, unix.STATX_CTIME}, {info.Btime, &out.Btime, unix.STATX_BTIME},
		} {
			t.to.Sec, t.to.Nsec = seconds(t.at)
			if t.at.IsZero() {
				out.Mask &^= t.mask
			} else {
				out.Mask |= t.mask
			}
		}
		return nil
	})
}

// Access implements fuse.RawFileSystem: whoever mounted may read all.
func (f *filesystem) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

// Readlink implements fuse.RawFileSystem.
func (f *filesystem) Readlink(_ <-chan struct{}, h *fuse.InHeader) (target []byte, status fuse.Status) {
	status = f.do(h.NodeId, "", func(e *entry) error {
		v, ino, err := f.view(e.key)
		if err != nil {
			return err
		}
		s, err := v.FS.ReadLink(ino)
		target = []byte(s)
		return err
	})
	return target, status
}

// trusted begins the names of attributes that the kernel shows to root alone.
const trusted = "trusted."

// xattrs reads attributes. What could be read is used, and the rest told.
func (f *filesystem) xattrs(h *fuse.InHeader, use func(map[string][]byte) error) fuse.Status {
	return f.do(h.NodeId, "", func(e *entry) error {
		if e.tree == folder {
			return use(nil)
		}
		v, ino, err := f.view(e.key)
		if err != nil {
			return err
		}
		all, err := v.FS.Xattrs(ino)
		if err != nil {
			f.gap(e, "", fmt.Errorf("reading attributes: %w", err))
		}
		if h.Uid != 0 {
			maps.DeleteFunc(all, func(name string, _ []byte) bool { return strings.HasPrefix(name, trusted) })
		}
		return use(all)
	})
}

// GetXAttr implements fuse.RawFileSystem.
func (f *filesystem) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (n uint32, status fuse.Status) {
	status = f.xattrs(h, func(all map[string][]byte) error {
		value, ok := all[name]
		if !ok {
			return answer(fuse.ENOATTR)
		}
		n = uint32(len(value))
		if copy(dest, value) < len(value) {
			return answer(fuse.ERANGE)
		}
		return nil
	})
	return n, status
}

// ListXAttr implements fuse.RawFileSystem.
func (f *filesystem) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (n uint32, status fuse.Status) {
	status = f.xattrs(h, func(all map[string][]byte) error {
		var list []byte
		for _, name := range slices.Sorted(maps.Keys(all)) {
			list = append(append(list, name...), 0)
		}
		n = uint32(len(list))
		if copy(dest, list) < len(list) {
			return answer(fuse.ERANGE)
		}
		return nil
	})
	return n, status
}

// Open implements fuse.RawFileSystem.
func (f *filesystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.do(in.NodeId, "", func(e *entry) error {
		v, ino, err := f.view(e.key)
		if err != nil {
			return err
		}
		r, err := v.FS.Open(ino)
		if err != nil {
			return err
		}
		out.Fh = f.open(r)
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
		return nil
	})
}

// Read implements fuse.RawFileSystem. The evidence's bytes go into the buffer
// that the kernel is answered from.
func (f *filesystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	r, ok := f.handle(in.Fh).(*io.SectionReader)
	if !ok {
		return nil, fuse.EBADF
	}
	n := 0
	status := f.do(in.NodeId, "", func(*entry) (err error) {
		n, err = read(r, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
		return err
	})
	if status != fuse.OK {
		return nil, status
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Release implements fuse.RawFileSystem.
func (f *filesystem) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { f.close(in.Fh) }

// Flush implements fuse.RawFileSystem.
func (f *filesystem) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// StatFs implements fuse.RawFileSystem: a full filesystem of the evidence's size.
func (f *filesystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Blocks = uint64(max(f.o.Size, 0)+blockSize-1) / blockSize
	return fuse.OK
}

// listing is an open directory: its entries are read once, and in name order,
// so that an offset means the same in every call.
type listing struct {
	dir     *entry
	entries []listed
}

type listed struct {
	name string
	typ  evidence.Type
	key  key
}

// OpenDir implements fuse.RawFileSystem.
func (f *filesystem) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	l := &listing{}
	status := f.do(in.NodeId, "", func(e *entry) error {
		l.dir = e
		if e.tree == folder {
			for _, name := range f.folders[e.ino].names {
				l.entries = append(l.entries, listed{name: name, typ: evidence.TypeDir, key: f.folders[e.ino].inside[name]})
			}
			return nil
		}
		v, ino, err := f.view(e.key)
		if err != nil {
			return err
		}
		f.list(l, v.FS, ino)
		return nil
	})
	if status == fuse.OK {
		out.Fh = f.open(l)
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	}
	return status
}

// list reads a directory. What can't be read of it, or shown, is told, and the rest listed.
func (f *filesystem) list(l *listing, fsys evidence.FS, ino evidence.Ino) {
	all, err := evidence.List(fsys, ino)
	if err != nil {
		f.gap(l.dir, "", fmt.Errorf("reading directory: %w", err))
	}
	for _, c := range all {
		if !validName(c.Name) {
			f.gap(l.dir, "", fmt.Errorf("left out, as no file can be called so: %q: %w", c.Name, evidence.ErrCorrupt))
			continue
		}
		l.entries = append(l.entries, listed{c.Name, c.Type, key{tree: l.dir.tree, ino: c.Ino}})
	}
}

func (f *filesystem) gap(e *entry, name string, err error) {
	f.o.Guard(func() string { return f.table.path(e, name) }, func() error { return err })
}

// ReleaseDir implements fuse.RawFileSystem.
func (f *filesystem) ReleaseDir(in *fuse.ReleaseIn) { f.close(in.Fh) }

// dots are the two entries that every directory begins with.
var dots = [...]string{".", ".."}

// ReadDir implements fuse.RawFileSystem.
func (f *filesystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, func(_ *listing, e fuse.DirEntry, _ *listed) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus implements fuse.RawFileSystem: with each entry, what Lookup would say.
func (f *filesystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, func(l *listing, e fuse.DirEntry, c *listed) bool {
		known := out.AddDirLookupEntry(e)
		if known != nil && c != nil {
			f.plus(known, l.dir, c)
		}
		return known != nil
	})
}

// plus fills in an entry. Where that fails it stays empty: the kernel then looks
// the name up, and finds the error.
func (f *filesystem) plus(out *fuse.EntryOut, dir *entry, c *listed) {
	if dir.tree == folder && c.key.tree != folder {
		return // opening every tree for a list of their names would take long
	}
	f.o.Guard(func() string { return f.table.path(dir, c.name) }, func() error {
		info, err := f.stat(c.key)
		if err == nil {
			f.learn(out, c.key, &info, dir, c.name)
		}
		return nil
	})
}

func (f *filesystem) readDir(in *fuse.ReadIn, add func(*listing, fuse.DirEntry, *listed) bool) fuse.Status {
	l, ok := f.handle(in.Fh).(*listing)
	if !ok {
		return fuse.EBADF
	}
	for i := in.Offset; i < uint64(len(dots)+len(l.entries)); i++ {
		d := fuse.DirEntry{Off: i + 1, Mode: unix.S_IFDIR}
		var c *listed
		if i < uint64(len(dots)) {
			d.Name = dots[i]
			if i == 0 {
				d.Ino = f.number(l.dir.key)
			}
		} else {
			c = &l.entries[i-uint64(len(dots))]
			d.Name, d.Mode = c.name, modeOf[c.typ]
			if l.dir.tree != folder || c.key.tree == folder {
				d.Ino = f.number(c.key)
			}
		}
		if !add(l, d, c) {
			break
		}
	}
	return fuse.OK
}
