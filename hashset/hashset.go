// Package hashset reads lists of the hashes of files, known good or known bad:
// NSRL's RDSv3 (SQLite) and RDSv2 (NSRLFile.txt), hashdeep's output, the output of
// sha256sum, sha1sum, md5sum and of BSD's tools, and plain lists of SHA-256, SHA-1
// and MD5.
//
// A list is kept as sorted numbers, 16 bytes a file: of a SHA-256 and SHA-1 the
// first 16, which is more than anyone can search a collision with a given file
// for. Of a line with several hashes the strongest is kept.
//
// Lists come from anywhere and may be hostile: a line that is none of a list's is
// said, never a panic, and no number in a database sizes memory.
package hashset

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/internal/sqlite"
)

// Algorithm is a hash of a list.
type Algorithm int

// The algorithms, by rising strength.
const (
	MD5 Algorithm = iota
	SHA1
	SHA256
	algorithms
)

// sizes are the algorithms' in bytes.
var sizes = [algorithms]int{16, 20, 32}

// keySize is what is kept of a hash.
const keySize = 16

type key [keySize]byte

// maxHashes bounds one list: NSRL's largest, of 2026, has 70 million distinct ones.
const maxHashes = 256 << 20

// maxLine bounds a line of a list.
const maxLine = 64 << 10

// Set is one list.
type Set struct {
	Name string
	// Ignored is how many lines or rows held no hash.
	Ignored int64
	keys    [algorithms][]key
	full    [algorithms]int // so many are sorted before more are added
}

// firstFull is how many hashes are kept before the same ones are first thrown out.
const firstFull = 4 << 20

func (s *Set) sort(a Algorithm) {
	slices.SortFunc(s.keys[a], func(x, y key) int { return bytes.Compare(x[:], y[:]) })
	s.keys[a] = slices.Compact(s.keys[a])
}

// File is what a list is read from.
type File interface {
	io.ReaderAt
	Size() int64
}

// Read reads a list. warn is told what of a database couldn't be read.
func Read(name string, f File, warn func(error)) (*Set, error) {
	s := &Set{Name: name}
	db, err := sqlite.Open(f, nil, nil, warn)
	switch {
	case err == nil:
		err = s.rows(db, warn)
	case errors.Is(err, evidence.ErrFormat):
		err = s.lines(io.NewSectionReader(f, 0, f.Size()))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if s.Len() == 0 {
		return nil, fmt.Errorf("%s: no line begins with a hash (32, 40 or 64 hexadecimal digits), and it is no database that has them: %w", name, evidence.ErrFormat)
	}
	for a := range s.keys {
		s.sort(Algorithm(a))
	}
	return s, nil
}

// Len is the number of hashes.
func (s *Set) Len() int {
	n := 0
	for _, k := range s.keys {
		n += len(k)
	}
	return n
}

// Uses says whether the list has hashes of an algorithm.
func (s *Set) Uses(a Algorithm) bool { return len(s.keys[a]) > 0 }

// Has says whether the list has a hash, whose length is the algorithm's.
func (s *Set) Has(a Algorithm, sum []byte) bool {
	if len(sum) != sizes[a] {
		return false
	}
	_, found := slices.BinarySearchFunc(s.keys[a], key(sum[:keySize]), func(x, y key) int { return bytes.Compare(x[:], y[:]) })
	return found
}

// add keeps a hash; false: it is none.
func (s *Set) add(text string) bool {
	a, ok := algorithmOf(text)
	if !ok {
		return false
	}
	var sum [32]byte
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil {
		return false
	}
	if s.keys[a] = append(s.keys[a], key(sum[:keySize])); len(s.keys[a]) > max(s.full[a], firstFull) {
		s.sort(a)
		s.full[a] = 2 * len(s.keys[a])
	}
	return true
}

// algorithmOf tells a hash by its length.
func algorithmOf(text string) (Algorithm, bool) {
	for a, size := range sizes {
		if len(text) == 2*size {
			return Algorithm(a), strings.IndexFunc(text, func(r rune) bool {
				return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
			}) < 0
		}
	}
	return 0, false
}

// strongest adds the strongest hash of several texts.
func (s *Set) strongest(texts []string) bool {
	best := ""
	for _, t := range texts {
		if _, ok := algorithmOf(t); ok && len(t) > len(best) {
			best = t
		}
	}
	return s.add(best)
}

// lines reads a list of text.
func (s *Set) lines(r io.Reader) error {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine)
	var columns []string // of hashdeep
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSuffix(strings.TrimPrefix(scan.Text(), "\ufeff"), "\r")
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "%%%%"):
			if rest := strings.TrimSpace(line[4:]); strings.Contains(rest, ",") {
				columns = strings.Split(strings.ToLower(rest), ",")
			}
			continue
		case columns != nil:
			fields := strings.SplitN(line, ",", len(columns))
			var hashes []string
			for k, f := range fields {
				if c := columns[k]; c == "md5" || c == "sha1" || c == "sha256" {
					hashes = append(hashes, f)
				}
			}
			if !s.strongest(hashes) {
				s.Ignored++
			}
		case !s.line(line):
			s.Ignored++
		}
		if s.Len() > maxHashes {
			return fmt.Errorf("line %d: more than %d hashes: %w", n, maxHashes, evidence.ErrUnsupported)
		}
	}
	return scan.Err()
}

// line reads a line of no list with columns: HASH NAME, "HASH","HASH",... or
// ALGORITHM (NAME) = HASH. A hash in a file's name is none.
func (s *Set) line(line string) bool {
	if line[0] == '"' { // NSRLFile.txt: SHA-1 and MD5 come first
		fields := strings.SplitN(line, ",", 4)
		for k := range fields {
			fields[k] = strings.Trim(fields[k], `"`)
		}
		return s.strongest(fields[:min(len(fields), 3)])
	}
	if _, hash, ok := cutLast(line, ") = "); ok {
		return s.add(strings.TrimSpace(hash))
	}
	line = strings.TrimPrefix(line, `\`) // sha256sum, of a name with escapes
	if end := strings.IndexAny(line, " \t,;"); end >= 0 {
		line = line[:end]
	}
	return s.add(line)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if k := strings.LastIndex(s, sep); k >= 0 {
		return s[:k], s[k+len(sep):], true
	}
	return s, "", false
}

// rows reads the tables of a database that have hashes: RDSv3's FILE.
func (s *Set) rows(db *sqlite.DB, warn func(error)) error {
	for t, err := range db.Tables() {
		if err != nil {
			warn(fmt.Errorf("%s: %w", s.Name, err))
			continue
		}
		var columns []string
		for _, c := range t.Columns {
			switch strings.ReplaceAll(strings.ToLower(c), "-", "") {
			case "sha256", "sha1", "md5":
				columns = append(columns, c)
			}
		}
		if columns == nil {
			continue
		}
		texts := make([]string, len(columns))
		for row, err := range db.Rows(t.Name) {
			if err != nil {
				warn(fmt.Errorf("%s: table %q: %w", s.Name, t.Name, err))
				continue
			}
			for k, c := range columns {
				texts[k] = row.Text(c)
			}
			if !s.strongest(texts) {
				s.Ignored++
			}
			if s.Len() > maxHashes {
				return fmt.Errorf("table %q: more than %d hashes: %w", t.Name, maxHashes, evidence.ErrUnsupported)
			}
		}
	}
	return nil
}
