package overlay

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"lagan/evidence"
)

// A metadata-only copy may hold the fs-verity digest of the content that it was
// made of: struct ovl_metacopy (fs/overlayfs/overlayfs.h), as
// Documentation/filesystems/overlayfs.rst has it under "fs-verity support". Whether
// it is checked is the mount's to say and not the layer's: verity=off doesn't,
// verity=on checks the digests that are there, verity=require refuses copies
// without one.
const (
	metacopyVersion    = 0
	metacopyVersionAt  = 0
	metacopyLengthAt   = 1
	metacopyHashAt     = 3 // digest_algo, an FS_VERITY_HASH_ALG_*
	verityDescriptor   = 256
	verityRootAt       = 16 // root_hash, struct fsverity_descriptor (include/uapi/linux/fsverity.h)
	verityDefaultBlock = 12
	// verityMinBlock and verityMaxBlock are the block sizes that fs-verity takes: 1 KiB to a page.
	verityMinBlock, verityMaxBlock = 10, 16
)

// verityHashes are fs-verity's, by their number (FS_VERITY_HASH_ALG_*).
var verityHashes = map[byte]struct {
	name string
	new  func() hash.Hash
}{
	1: {"sha256", sha256.New},
	2: {"sha512", sha512.New},
}

// Seal is the fs-verity digest that a metadata-only copy demands of its content.
// Its zero value demands none.
type Seal struct {
	algorithm byte
	digest    string // bytes
}

// IsZero says whether nothing is demanded.
func (s Seal) IsZero() bool { return s.digest == "" }

// String returns the digest as fsverity(1) prints it: sha256:...
func (s Seal) String() string {
	if s.IsZero() {
		return ""
	}
	return verityHashes[s.algorithm].name + ":" + hex.EncodeToString([]byte(s.digest))
}

// readSeal is the rest of ovl_check_metacopy_xattr and ovl_get_verity_xattr.
func readSeal(m *marks, v []byte) error {
	if len(v) < metacopyMinSize || v[metacopyHashAt] == 0 {
		return nil
	}
	h, ok := verityHashes[v[metacopyHashAt]]
	switch {
	case v[metacopyVersionAt] != metacopyVersion:
		m.badSeal = fmt.Errorf("metacopy attribute of version %d: %w", v[metacopyVersionAt], evidence.ErrUnsupported)
	case !ok:
		m.badSeal = fmt.Errorf("metacopy attribute with fs-verity algorithm %d: %w", v[metacopyHashAt], evidence.ErrUnsupported)
	case int(v[metacopyLengthAt]) != len(v) || len(v) != metacopyMinSize+h.new().Size():
		m.badSeal = fmt.Errorf("metacopy attribute of %d bytes with a %s digest: %w", len(v), h.name, evidence.ErrCorrupt)
	default:
		m.seal = Seal{v[metacopyHashAt], string(v[metacopyMinSize:])}
	}
	return nil
}

// Seal returns what a file's uppermost copy demands of the content.
func (f *FS) Seal(ino evidence.Ino) (Seal, error) {
	n, err := f.node(ino)
	if err != nil || !n.metacopy {
		return Seal{}, err
	}
	m := f.marks(n.stack[0], evidence.TypeFile)
	if m.badSeal != nil {
		return Seal{}, fmt.Errorf("%s: %w", f.where(n.stack[0]), m.badSeal)
	}
	return m.seal, m.err
}

// Check says whether content has the digest that the seal demands. The size of
// fs-verity's blocks is not in the copy: where the usual one doesn't match, the
// others are tried. A salt is not in it either: content sealed with one doesn't match.
func (s Seal) Check(r io.ReaderAt, size int64) (bool, error) {
	logs := []int{verityDefaultBlock}
	for log := verityMinBlock; log <= verityMaxBlock; log++ {
		if log != verityDefaultBlock {
			logs = append(logs, log)
		}
	}
	for _, log := range logs {
		got, err := measure(io.NewSectionReader(r, 0, size), size, s.algorithm, log)
		if err != nil || string(got) == s.digest {
			return err == nil, err
		}
	}
	return false, nil
}

// measure computes a file's fs-verity digest: Documentation/filesystems/fsverity.rst,
// "File digest computation", without a salt.
func measure(r io.Reader, size int64, algorithm byte, log int) ([]byte, error) {
	tree := merkle{hash: verityHashes[algorithm].new(), block: 1 << log}
	block := make([]byte, tree.block)
	for rest := size; rest > 0; rest -= int64(len(block)) {
		n, err := io.ReadFull(r, block[:min(rest, int64(len(block)))])
		if err != nil {
			return nil, fmt.Errorf("measuring: %w", err)
		}
		clear(block[n:])
		tree.add(0, tree.sum(block))
	}
	d := make([]byte, verityDescriptor)
	d[0], d[1], d[2] = 1, algorithm, byte(log) // version, hash_algorithm, log_blocksize
	binary.LittleEndian.PutUint64(d[8:], uint64(size))
	copy(d[verityRootAt:], tree.root())
	return tree.sum(d), nil
}

// merkle is the tree of hashes, of each level the block that isn't full yet.
type merkle struct {
	hash   hash.Hash
	block  int
	levels [][]byte
}

func (m *merkle) sum(b []byte) []byte {
	m.hash.Reset()
	m.hash.Write(b)
	return m.hash.Sum(nil)
}

func (m *merkle) add(level int, sum []byte) {
	if level == len(m.levels) {
		m.levels = append(m.levels, nil)
	}
	m.levels[level] = append(m.levels[level], sum...)
	if len(m.levels[level]) == m.block {
		full := m.sum(m.levels[level])
		m.levels[level] = m.levels[level][:0]
		m.add(level+1, full)
	}
}

// root closes the tree; nothing has a root of zeros.
func (m *merkle) root() []byte {
	for i := 0; i < len(m.levels); i++ {
		b := m.levels[i]
		if i == len(m.levels)-1 && len(b) == m.hash.Size() {
			return b
		}
		if len(b) > 0 {
			m.add(i+1, m.sum(append(bytes.Clone(b), make([]byte, m.block-len(b))...)))
		}
	}
	return nil
}
