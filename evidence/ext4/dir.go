package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"lagan/evidence"
)

// maxDirErrors ends the reading of a directory that is damaged all over.
const maxDirErrors = 4096

// fileTypes are the directory entries' (EXT4_FT_*).
var fileTypes = [...]evidence.Type{evidence.TypeUnknown, evidence.TypeFile, evidence.TypeDir, evidence.TypeChar,
	evidence.TypeBlock, evidence.TypeFIFO, evidence.TypeSocket, evidence.TypeSymlink}

// dirent is a struct ext4_dir_entry_2; name is not copied.
type dirent struct {
	ino         uint32
	typ         evidence.Type
	name        []byte
	hash, minor uint32 // where they stand behind the name (casefolded and encrypted)
}

// dir is what is needed of a directory's inode to read its blocks.
type dir struct {
	fs        *FS
	ino       uint32
	seed      uint32
	encrypted bool
	folded    bool
	hashed    bool  // the kernel reads it by hash
	version   uint8 // of the hash
}

// recLen decodes rec_len, whose two low bits are the high ones in blocks of
// 64 KiB (ext4_rec_len_from_disk).
func recLen(b []byte, blockSize int) int {
	n := int(le.Uint16(b))
	if blockSize < 1<<16 {
		return n
	}
	if n == 1<<16-1 || n == 0 {
		return blockSize
	}
	return n&^3 | n&3<<16
}

// newDir prepares the reading of a directory. The hash is what the kernel
// would use: the tree's own in an indexed directory, else the filesystem's
// (is_dx_dir in dir.c, ext4_htree_fill_tree in namei.c).
func (fs *FS) newDir(in *inode) *dir {
	d := &dir{fs: fs, ino: in.ino, seed: in.seed(fs.sb),
		encrypted: in.flags&flagEncrypt != 0, folded: in.flags&flagCasefold != 0}
	if !d.encrypted || d.folded || fs.sb.compat&compatDirIndex == 0 {
		return d
	}
	d.version = fs.sb.hashVersion
	if in.flags&flagIndex != 0 {
		if r, err := fs.mapping(in).find(0); err == nil && r.pblk != 0 {
			if b, err := fs.block(r.pblk); err == nil && dxCountAt(b) == dxRootCountAt {
				d.hashed, d.version = true, b[28] // dx_root_info.hash_version
			}
		}
	} else {
		d.hashed = in.size == int64(fs.sb.blockSize())
	}
	if d.version <= dxHashTEA && fs.sb.flags&flagUnsignedHash != 0 {
		d.version += dxHashLegacyUnsigned
	}
	return d
}

// each calls fn with the entries in one block, or one part of inline data, in
// use, without . and .. ; a block that contradicts itself is read up to there
// (__ext4_check_dir_entry in dir.c).
func (d *dir) each(b []byte, fn func(dirent) bool) error {
	fs := d.fs
	filetype := fs.sb.incompat&incompatFiletype != 0
	hashes := d.encrypted && d.folded
	for at := 0; at < len(b); {
		if at+dirEntryHeader > len(b) {
			return fmt.Errorf("entry at offset %#x is cut short: %w", at, evidence.ErrCorrupt)
		}
		e := b[at:]
		n, nameLen := recLen(e[4:], len(b)), int(e[6])
		if n < dirEntryHeader+nameLen || n < 12 || n&3 != 0 || n > len(e) {
			return fmt.Errorf("entry at offset %#x of %d bytes with a name of %d: %w", at, n, nameLen, evidence.ErrCorrupt)
		}
		at += n
		ent := dirent{ino: le.Uint32(e), name: e[dirEntryHeader : dirEntryHeader+nameLen]}
		if ent.ino == 0 || isDot(ent.name) {
			continue
		}
		if filetype && int(e[7]&0xf) < len(fileTypes) {
			ent.typ = fileTypes[e[7]&0xf]
		}
		if h := (dirEntryHeader + nameLen + 3) &^ 3; hashes && h+8 <= n {
			ent.hash, ent.minor = le.Uint32(e[h:]), le.Uint32(e[h+4:])
		}
		if !fn(ent) {
			return nil
		}
	}
	return nil
}

func isDot(name []byte) bool {
	return len(name) == 1 && name[0] == '.' || len(name) == 2 && name[0] == '.' && name[1] == '.'
}

// check says why an entry can't be given to anyone (ext4 and verify_dirent_name in fs/readdir.c).
func (d *dir) check(e dirent) error {
	switch {
	case e.ino > d.fs.sb.inodes:
		return fmt.Errorf("directory inode %d: entry %q: inode %d of %d: %w", d.ino, e.name, e.ino, d.fs.sb.inodes, evidence.ErrCorrupt)
	case d.encrypted:
		if len(e.name) < minCiphertext {
			return fmt.Errorf("directory inode %d: encrypted entry %q of %d bytes: %w", d.ino, e.name, len(e.name), evidence.ErrCorrupt)
		}
	case len(e.name) == 0 || bytes.IndexByte(e.name, '/') >= 0 || bytes.IndexByte(e.name, 0) >= 0:
		return fmt.Errorf("directory inode %d: entry %q of inode %d is no name: %w", d.ino, e.name, e.ino, evidence.ErrCorrupt)
	}
	return nil
}

// shown returns the name as the kernel shows it.
func (d *dir) shown(e dirent) string {
	if !d.encrypted {
		return string(e.name)
	}
	hash, minor := e.hash, e.minor
	if d.hashed {
		hash, minor = dirHash(d.version, d.fs.sb.hashSeed, e.name)
	}
	name, _ := nokeyName(hash, minor, e.name)
	return name
}

// verify warns of a bad checksum, and of a first block that doesn't begin with
// the directory itself and its parent.
func (d *dir) verify(lblk, pblk uint64, b []byte) {
	if lblk == 0 && !d.begins(b) {
		d.fs.warn(object{inDots, uint64(d.ino)}, fmt.Errorf("directory inode %d: doesn't begin with . and .. : %w", d.ino, evidence.ErrCorrupt))
	}
	if d.fs.sb.metadataCsum() && !dirSum(d.seed, b) {
		d.fs.warn(object{inDir, pblk}, fmt.Errorf("directory inode %d: block %d at %#x: bad checksum: %w", d.ino, lblk, pblk, evidence.ErrCorrupt))
	}
}

// begins says whether a block begins with . and .. as that of a directory does.
func (d *dir) begins(b []byte) bool {
	n := recLen(b[4:], len(b))
	return le.Uint32(b) == d.ino && n == 12 && b[6] == 1 && b[8] == '.' &&
		le.Uint32(b[n:]) != 0 && b[n+6] == 2 && b[n+8] == '.' && b[n+9] == '.'
}

// hole warns of a part of a directory that no block, or none written, is for.
func (d *dir) hole(r run) {
	d.fs.warn(object{inHoles, uint64(d.ino)}, fmt.Errorf("directory inode %d: hole of %d blocks at block %d: %w", d.ino, r.n, r.lblk, evidence.ErrCorrupt))
}

// blocks calls fn with each block of a directory, or the error in its place.
func (d *dir) blocks(in *inode, fn func(lblk uint64, b []byte, err error) bool) {
	fs := d.fs
	if in.flags&flagInlineData != 0 {
		for i, part := range fs.inlineDir(in) {
			if !fn(uint64(i), part, nil) {
				return
			}
		}
		return
	}
	failures := 0
	seen := map[uint64]struct{}{} // a block is part of a directory once
	give := func(lblk, pblk uint64, err error) bool {
		if _, again := seen[pblk]; again && err == nil {
			err = fmt.Errorf("block %#x is in the directory twice: %w", pblk, evidence.ErrCorrupt)
		}
		var b []byte
		if err == nil {
			seen[pblk] = struct{}{}
			b, err = fs.block(pblk)
		}
		if err != nil {
			failures++
			return fn(lblk, nil, err) && failures < maxDirErrors
		}
		d.verify(lblk, pblk, b)
		return fn(lblk, b, nil)
	}
	for r, err := range fs.mapping(in).runs(in.blocks(fs.sb)) {
		switch {
		case err != nil:
			if !give(r.lblk, 0, err) {
				return
			}
		case r.pblk == 0:
			d.hole(r)
		default:
			for i := range r.n {
				if !give(r.lblk+i, r.pblk+i, nil) {
					return
				}
			}
		}
	}
}

// inlineDir returns the two lists of entries of an inline directory: behind
// the parent's number in i_block, and in the attribute (ext4_read_inline_dir).
func (fs *FS) inlineDir(in *inode) [][]byte {
	head, tail := fs.inline(in)
	head = head[4:min(int64(len(head)), max(in.size, 4))]
	if len(tail) == 0 {
		return [][]byte{head}
	}
	return [][]byte{head, tail}
}

// scanDir calls fn with each entry of a directory, or the error in the place
// of what can't be read.
func (fs *FS) scanDir(ino evidence.Ino, fn func(*dir, dirent, error) bool) {
	in, err := fs.get(ino)
	if err == nil && in.typ() != evidence.TypeDir {
		err = fmt.Errorf("inode %d is no directory but a %s", ino, in.typ())
	}
	if err != nil {
		fn(nil, dirent{}, err)
		return
	}
	d := fs.newDir(in)
	d.blocks(in, func(lblk uint64, b []byte, err error) bool {
		more := true
		if err == nil {
			err = d.each(b, func(e dirent) bool {
				more = fn(d, e, d.check(e))
				return more
			})
		}
		if err != nil && more {
			more = fn(d, dirent{}, fmt.Errorf("directory inode %d: block %d: %w", ino, lblk, err))
		}
		return more
	})
}

// ReadDir yields the entries in the order of the directory's blocks. Names of
// an encrypted directory are as the kernel shows them without the key.
func (fs *FS) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		fs.scanDir(ino, func(d *dir, e dirent, err error) bool {
			if err != nil {
				return yield(evidence.Entry{}, err)
			}
			return yield(evidence.Entry{Name: d.shown(e), Ino: evidence.Ino(e.ino), Type: e.typ}, nil)
		})
	}
}

// Lookup finds a name. In a casefolded directory a name that differs only in
// case is found where there is none that is the same; Unicode's canonical
// equivalents are not.
func (fsys *FS) Lookup(ino evidence.Ino, name string) (evidence.Entry, error) {
	var found, folded evidence.Entry
	var failed error
	fsys.scanDir(ino, func(d *dir, e dirent, err error) bool {
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case d.encrypted:
			if shown := d.shown(e); shown == name {
				found = evidence.Entry{Name: shown, Ino: evidence.Ino(e.ino), Type: e.typ}
			}
		case string(e.name) == name:
			found = evidence.Entry{Name: name, Ino: evidence.Ino(e.ino), Type: e.typ}
		case d.folded && folded.Name == "" && strings.EqualFold(string(e.name), name):
			folded = evidence.Entry{Name: string(e.name), Ino: evidence.Ino(e.ino), Type: e.typ}
		}
		return found.Name == ""
	})
	switch {
	case found.Name != "":
		return found, nil
	case folded.Name != "":
		return folded, nil
	case failed != nil:
		return evidence.Entry{}, failed
	}
	return evidence.Entry{}, fs.ErrNotExist
}
