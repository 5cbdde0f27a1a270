package xfs

import (
	"fmt"

	"lagan/evidence"
)

// ReadLink returns the target of a symbolic link.
func (f *FS) ReadLink(ino evidence.Ino) (string, error) {
	d, err := f.inode(uint64(ino))
	if err != nil {
		return "", err
	}
	if d.typ() != evidence.TypeSymlink {
		return "", fmt.Errorf("inode %d is a %s, not a symbolic link", ino, d.typ())
	}
	return f.target(&d)
}

// target returns the target of a link, which stands in the inode or in blocks
// of its own (xfs_symlink_remote_read, fs/xfs/libxfs/xfs_symlink_remote.c).
func (f *FS) target(d *dinode) (string, error) {
	if d.size == 0 || d.size > symlinkMax {
		return "", fmt.Errorf("symbolic link inode %d: target of %d bytes: %w", d.ino, d.size, evidence.ErrCorrupt)
	}
	if d.format == fmtLocal {
		b := d.dataFork()
		if d.size > uint64(len(b)) {
			return "", fmt.Errorf("symbolic link inode %d: target of %d bytes in the inode: %w", d.ino, d.size, evidence.ErrCorrupt)
		}
		return string(b[:d.size]), nil
	}
	k, err := f.dataBlocks(d)
	if err != nil {
		return "", err
	}
	out := make([]byte, 0, symlinkMax)
	for e, err := range k.all(0) {
		if err != nil {
			return "", err
		}
		part, err := f.targetPart(&k, e, int(d.size)-len(out))
		if err != nil {
			return "", err
		}
		out = append(out, part...)
		if uint64(len(out)) == d.size {
			return string(out), nil
		}
	}
	return "", fmt.Errorf("symbolic link inode %d: only %d of %d bytes: %w", d.ino, len(out), d.size, evidence.ErrCorrupt)
}

// targetPart reads up to want bytes of a target from one extent, which begins
// with a header on v5 (struct xfs_dsymlink_hdr).
func (f *FS) targetPart(k *fork, e extent, want int) ([]byte, error) {
	blocks := (uint64(symlinkHdr+want) + uint64(f.sb.blockSize) - 1) >> f.sb.blockLog
	blocks = min(blocks, e.count)
	off, err := f.blockOffset(e.start, blocks)
	if err != nil || e.unwritten || blocks == 0 {
		return nil, k.corrupt("extent at block %#x: start %#x, %d blocks", e.off, e.start, e.count)
	}
	b, err := f.cache.read(off, int(blocks)<<f.sb.blockLog)
	if err != nil {
		return nil, fmt.Errorf("symbolic link inode %d: %w", k.ino, err)
	}
	if !f.sb.v5() {
		return b[:min(want, len(b))], nil
	}
	if be.Uint32(b) != magicSymlink {
		return nil, k.corrupt("target at offset %#x: bad magic number", off)
	}
	if blocks == e.count {
		if err := f.verify(b, off, remoteLayout, k.ino, "symbolic link target"); err != nil {
			return nil, err
		}
	}
	n := int(min(uint64(be.Uint32(b[remoteBytes:])), uint64(len(b)-symlinkHdr), uint64(want)))
	if n == 0 {
		return nil, k.corrupt("target at offset %#x is empty", off)
	}
	return b[symlinkHdr:][:n], nil
}
