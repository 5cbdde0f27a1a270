package analyzer

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"sync"

	"lagan/evidence"
	"lagan/evidence/image"
	"lagan/hashset"
	"lagan/overlay"
)

// HashSets are lists of hashes that files are compared with.
type HashSets struct {
	Known, Match []*hashset.Set
	HideKnown    bool // leave out what a known list has
	OnlyMatches  bool // keep only what a list of matches has
}

// OpenHashSets reads lists of hashes from files of the analyst's.
func (n *Node) OpenHashSets(known, match []string) (*HashSets, error) {
	var s HashSets
	for _, l := range [...]struct {
		paths []string
		to    *[]*hashset.Set
	}{{known, &s.Known}, {match, &s.Match}} {
		for _, path := range l.paths {
			f, err := image.OpenBytes(path)
			if err != nil {
				return nil, err
			}
			set, err := hashset.Read(filepath.Base(path), f, func(err error) { n.gaps.add(Gap{Evidence: filepath.Base(path), Message: err.Error()}) })
			f.Close()
			if err != nil {
				return nil, err
			}
			if set.Ignored > 1 { // a headline is no news
				n.gaps.add(Gap{Evidence: filepath.Base(path), Message: fmt.Sprintf("%d lines hold no hash and are left out", set.Ignored)})
			}
			*l.to = append(*l.to, set)
		}
	}
	return &s, nil
}

// uses says whether any list has hashes of an algorithm.
func (s *HashSets) uses(a hashset.Algorithm) bool {
	if s == nil {
		return false
	}
	for _, list := range [...][]*hashset.Set{s.Known, s.Match} {
		for _, set := range list {
			if set.Uses(a) {
				return true
			}
		}
	}
	return false
}

// in returns the names of the lists that have a content.
func (c *contentHash) in(list []*hashset.Set) []string {
	var out []string
	for _, s := range list {
		if s.Has(hashset.SHA256, c.sha256) || s.Has(hashset.SHA1, c.sha1) || s.Has(hashset.MD5, c.md5) {
			out = append(out, s.Name)
		}
	}
	return out
}

// keeps says whether a file is wanted, of which f has what the lists say.
func (s *HashSets) keeps(f *File) bool {
	return s == nil || !(s.HideKnown && len(f.Known) > 0) && !(s.OnlyMatches && len(f.Matches) == 0)
}

// contentHash is what was hashed of one content; nil where it wasn't asked for.
type contentHash struct{ md5, sha1, sha256 []byte }

// contentKey is one content of the evidence: containers that share a layer share it.
type contentKey struct {
	fsys evidence.FS
	ino  evidence.Ino
}

// contentHashes keeps hashes, so that a content is read once.
type contentHashes struct {
	mu   sync.Mutex
	done map[contentKey]contentHash
}

// maxContentHashes bounds the memory: some 250 bytes each. What is over it is
// hashed where it is met.
const maxContentHashes = 1 << 20

// contentOf finds where a file's content lies.
func (t *Tree) contentOf(ino evidence.Ino) contentKey {
	if view, ok := t.FS.(*overlay.FS); ok {
		if layer, of, err := view.Data(ino); err == nil {
			return contentKey{view.Layers()[layer].FS, of}
		}
	}
	return contentKey{t.FS, ino}
}

// hashContent hashes a file's content, once a run: SHA-256 where it is wanted or a
// list has it, the others where a list has them.
func (l *lister) hashContent(ino evidence.Ino) (contentHash, error) {
	key := l.t.contentOf(ino)
	c := &l.n.contents
	c.mu.Lock()
	got := c.done[key]
	c.mu.Unlock()
	var sums []hash.Hash
	var into []*[]byte
	var next contentHash
	want := func(have []byte, to *[]byte, wanted bool, h func() hash.Hash) {
		if *to = have; have == nil && wanted {
			sums, into = append(sums, h()), append(into, to)
		}
	}
	want(got.sha256, &next.sha256, l.o.Hash || l.o.Sets.uses(hashset.SHA256), sha256.New)
	want(got.sha1, &next.sha1, l.o.Sets.uses(hashset.SHA1), sha1.New)
	want(got.md5, &next.md5, l.o.Sets.uses(hashset.MD5), md5.New)
	if sums == nil {
		return next, nil
	}
	r, err := l.t.Open(ino)
	if err != nil {
		return contentHash{}, err
	}
	if r.Size() > maxHashed {
		return contentHash{}, fmt.Errorf("%d bytes are too many to hash: %w", r.Size(), evidence.ErrUnsupported)
	}
	writers := make([]io.Writer, len(sums))
	for i, h := range sums {
		writers[i] = h
	}
	if _, err := io.CopyBuffer(io.MultiWriter(writers...), onlyReader{r}, bufferFor(&l.buf, r.Size())); err != nil {
		return contentHash{}, err
	}
	for i, h := range sums {
		*into[i] = h.Sum(nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(map[contentKey]contentHash)
	}
	if len(c.done) < maxContentHashes {
		c.done[key] = next
	}
	return next, nil
}

// sets fills in what the lists say of a file.
func (l *lister) sets(f *File, h contentHash) {
	if l.o.Hash {
		f.SHA256 = hex.EncodeToString(h.sha256)
	}
	if l.o.Sets != nil {
		f.Known, f.Matches = h.in(l.o.Sets.Known), h.in(l.o.Sets.Match)
	}
}
