package ext4

import (
	"bytes"
	"fmt"
	"io"

	"lagan/evidence"
)

// ReadLink returns the target of a symbolic link: bytes of any kind but NUL.
// An encrypted one is as the kernel shows it without the key.
func (fs *FS) ReadLink(ino evidence.Ino) (string, error) {
	in, err := fs.get(ino)
	if err != nil {
		return "", err
	}
	if in.typ() != evidence.TypeSymlink {
		return "", fmt.Errorf("inode %d is no symbolic link but a %s", ino, in.typ())
	}
	if err := fs.checkTarget(in); err != nil {
		return "", err
	}
	if b := fs.fastTarget(in); b != nil {
		return fs.target(in, b)
	}
	b := make([]byte, in.size)
	if _, err := io.ReadFull(fs.content(in), b); err != nil {
		return "", fmt.Errorf("inode %d: reading link: %w", ino, err)
	}
	return fs.target(in, b)
}

// checkTarget refuses a target that is longer than a block, as ext4_get_link does.
func (fs *FS) checkTarget(in *inode) error {
	if in.size < 0 || in.size > int64(fs.sb.blockSize()) {
		return fmt.Errorf("inode %d: link of %d bytes: %w", in.ino, in.size, evidence.ErrCorrupt)
	}
	return nil
}

// fastTarget returns the bytes of a target that is kept in i_block, else nil
// (ext4_inode_is_fast_symlink in inode.c).
func (fs *FS) fastTarget(in *inode) []byte {
	if in.size >= iBlockSize || in.flags&flagInlineData != 0 {
		return nil
	}
	if in.flags&flagExtents != 0 && le.Uint16(in.block[:]) == extMagic {
		return nil
	}
	own := in.sectors
	if in.xattrBlock != 0 {
		unit := uint64(1) << (fs.sb.clusterBits - 9)
		if in.flags&flagHugeFile != 0 {
			unit = 1 << (fs.sb.clusterBits - fs.sb.blockBits)
		}
		own -= min(own, unit)
	}
	// With ea_inode, values that live in inodes of their own count too.
	if own != 0 && fs.sb.incompat&incompatEAInode == 0 {
		return nil
	}
	return in.block[:in.size]
}

// target makes the bytes of a link into what readlink(2) returns.
func (fs *FS) target(in *inode, b []byte) (string, error) {
	if in.flags&flagEncrypt == 0 {
		if i := bytes.IndexByte(b, 0); i >= 0 {
			fs.warn(object{inName, uint64(in.ino)}, fmt.Errorf("inode %d: link of %d bytes ends after %d: %w", in.ino, len(b), i, evidence.ErrCorrupt))
			b = b[:i]
		}
		return string(b), nil
	}
	// struct fscrypt_symlink_data: a length, then the ciphertext and a NUL
	// that need not be there (fscrypt_get_symlink in fs/crypto/hooks.c).
	if len(b) > 2 {
		if n := int(le.Uint16(b)); n+2 <= len(b) {
			if name, ok := nokeyName(0, 0, b[2:2+n]); ok {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("inode %d: encrypted link of %d bytes: %w", in.ino, len(b), evidence.ErrCorrupt)
}
