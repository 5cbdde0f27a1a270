package rpm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"lagan/evidence"
)

// Tags of a header's lists of files: include/rpm/rpmtag.h.
const (
	tagOldFileNames   = 1027
	tagFileModes      = 1030
	tagFileDigests    = 1035
	tagFileFlags      = 1037
	tagDirIndexes     = 1116
	tagBaseNames      = 1117
	tagDirNames       = 1118
	typeInt16         = 3
	typeStringArray   = 8
	flagConfig        = 1 << 0 // include/rpm/rpmfiles.h: RPMFILE_CONFIG
	flagGhost         = 1 << 6 // RPMFILE_GHOST: not in the package's payload
	maxFilesOfPackage = 1 << 20
)

// File is a file that a package brought.
type File struct {
	Path   string
	Mode   uint16 // with the type
	Digest string // hex, its length tells which; "" for what is no regular file
	Config bool   // meant to be changed
	Ghost  bool   // made later, not by the package
}

// Files returns what the package says of its files. The digests are MD5, SHA-1 or
// SHA-2 (RPMTAG_FILEDIGESTALGO), and their lengths differ.
func (p *Package) Files() iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		l := fileLists{}
		if err := eachEntry(p.header, l.entry); err != nil {
			yield(File{}, err)
			return
		}
		for i := range l.count() {
			f := File{Path: l.path(i)}
			if i < len(l.digests) {
				f.Digest = string(l.digests[i])
			}
			if i < len(l.flags) {
				f.Config, f.Ghost = l.flags[i]&flagConfig != 0, l.flags[i]&flagGhost != 0
			}
			if i < len(l.modes) {
				f.Mode = uint16(l.modes[i])
			}
			if f.Path == "" {
				if !yield(f, fmt.Errorf("file %d of package %s has no folder: %w", i, p.Name, evidence.ErrCorrupt)) {
					return
				}
				continue
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

// fileLists are the parallel lists of a header.
type fileLists struct {
	old, bases, dirs, digests [][]byte
	indexes, flags, modes     []uint32
}

func (l *fileLists) entry(tag, typ, count uint32, data []byte) {
	switch tag {
	case tagOldFileNames:
		l.old = texts(typ, count, data)
	case tagBaseNames:
		l.bases = texts(typ, count, data)
	case tagDirNames:
		l.dirs = texts(typ, count, data)
	case tagFileDigests:
		l.digests = texts(typ, count, data)
	case tagDirIndexes:
		l.indexes = numbers(typ, count, data)
	case tagFileFlags:
		l.flags = numbers(typ, count, data)
	case tagFileModes:
		l.modes = numbers(typ, count, data)
	}
}

func (l *fileLists) count() int { return max(len(l.old), len(l.bases)) }

// path joins a name with its folder: rpm keeps each folder once.
func (l *fileLists) path(i int) string {
	if i < len(l.old) {
		return string(l.old[i])
	}
	if i >= len(l.indexes) || uint64(l.indexes[i]) >= uint64(len(l.dirs)) {
		return ""
	}
	return string(l.dirs[l.indexes[i]]) + string(l.bases[i])
}

// texts cuts a list of texts that end with a zero each.
func texts(typ, count uint32, data []byte) [][]byte {
	if typ != typeStringArray {
		return nil
	}
	var out [][]byte
	for range min(count, maxFilesOfPackage) {
		text, rest, ok := bytes.Cut(data, []byte{0})
		if !ok {
			break
		}
		out, data = append(out, text), rest
	}
	return out
}

// numbers reads a list of numbers of two or four bytes.
func numbers(typ, count uint32, data []byte) []uint32 {
	size := map[uint32]int{typeInt16: 2, typeInt32: 4}[typ]
	if size == 0 {
		return nil
	}
	var out []uint32
	for range min(count, maxFilesOfPackage) {
		if len(data) < size {
			break
		}
		if size == 2 {
			out = append(out, uint32(binary.BigEndian.Uint16(data)))
		} else {
			out = append(out, binary.BigEndian.Uint32(data))
		}
		data = data[size:]
	}
	return out
}
