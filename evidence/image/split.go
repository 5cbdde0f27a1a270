package image

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"lagan/evidence"
	"lagan/internal/piece"
)

// maxParts bounds the files of a split image: three digits are usual.
const maxParts = 10_000

// Names of the first part: .001, .000 and the like; .aa as split(1) writes it.
var (
	digitsPart  = regexp.MustCompile(`^(.*[._-]|x)(0\d+)$`)
	lettersPart = regexp.MustCompile(`^(.*[._-]|x)(a[a-z]+)$`)
)

// partName returns the name of part n of a split image, from 0 on, of which
// path is one, and which it is; ok is false for a name that no part has.
func partName(path string) (name func(n int) string, number int, ok bool) {
	dir, base := filepath.Split(path)
	if m := digitsPart.FindStringSubmatch(base); m != nil {
		number, err := strconv.Atoi(m[2])
		first := 1
		if exists(dir + m[1] + strings.Repeat("0", len(m[2]))) {
			first = 0
		}
		name := func(n int) string { return fmt.Sprintf("%s%s%0*d", dir, m[1], len(m[2]), n+first) }
		return name, number - first, err == nil && number >= first
	}
	if m := lettersPart.FindStringSubmatch(base); m != nil {
		for _, c := range m[2] {
			number = number*26 + int(c-'a')
		}
		name := func(n int) string {
			suffix := make([]byte, len(m[2]))
			for i := range suffix {
				suffix[len(suffix)-1-i] = byte('a' + n%26)
				n /= 26
			}
			return dir + m[1] + string(suffix)
		}
		return name, number, true
	}
	return nil, 0, false
}

// parts is a disk that was split into files.
type parts struct {
	io.ReaderAt
	size   int64
	files  []*file
	starts []int64
}

func (p *parts) Size() int64 { return p.size }

// join adds the parts that lie beside first, if it is the first of several.
func (op *opener) join(first *file) (blob, error) {
	name, number, ok := partName(op.path)
	if !ok {
		return first, nil
	}
	if number > 0 {
		if exists(name(0)) && exists(name(number-1)) {
			return nil, fmt.Errorf("%q is part %d of a split image: give the first part, %q: %w", op.path, number+1, name(0), evidence.ErrUnsupported)
		}
		return first, nil
	}
	p := &parts{files: []*file{first}, starts: []int64{0}, size: first.size}
	for n := 1; n < maxParts && exists(name(n)); n++ {
		f, err := openFile(name(n))
		if err != nil {
			return nil, err
		}
		op.open = append(op.open, f)
		op.about.Files = append(op.about.Files, name(n))
		p.files, p.starts, p.size = append(p.files, f), append(p.starts, p.size), p.size+f.size
	}
	if n := len(p.files); exists(name(n + 1)) {
		op.o.warn(fmt.Errorf("part %q of the split image is missing; the parts after it are not used: %w", name(n), evidence.ErrCorrupt))
	}
	if len(p.files) == 1 {
		return first, nil
	}
	p.ReaderAt = piece.Unpacked(func(b []byte, off int64) (int, error) {
		return piece.ReadAt(b, off, p.size, p.read)
	})
	return p, nil
}

func (p *parts) read(b []byte, off int64) (int, error) {
	return piece.ReadExtents(b, off, func(off int64) (piece.Extent, error) {
		i := sort.Search(len(p.starts), func(i int) bool { return p.starts[i] > off }) - 1
		within := off - p.starts[i]
		return piece.Extent{Len: p.files[i].size - within, From: p.files[i], Off: within}, nil
	})
}
