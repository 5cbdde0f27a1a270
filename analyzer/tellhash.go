package analyzer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// hasher hashes files, each once: one that has several names, or that several
// containers' views show, is remembered.
type hasher struct {
	sum   hash.Hash
	buf   []byte
	known map[place][sha256.Size]byte
}

// maxHashes bounds what is remembered: about 100 MiB. Files beyond are read again.
const maxHashes = 1 << 20

// hash returns the SHA-256 of a file of a volume, "" where it can't be read.
// again says that the file may be asked for again.
func (t *teller) hash(at place, volume int, name string, again bool) string {
	h := &t.hasher
	if sum, ok := h.known[at]; ok {
		return hex.EncodeToString(sum[:])
	}
	var sum []byte
	t.n.guard(volume, name, func() error {
		r, err := at.fsys.Open(at.ino)
		if err != nil {
			return fmt.Errorf("hashing: %w", err)
		}
		sum = t.sum(r, volume, name)
		return nil
	})
	if h.known == nil {
		h.known = make(map[place][sha256.Size]byte)
	}
	if sum != nil && (again || t.o.Merged) && len(h.known) < maxHashes {
		h.known[at] = [sha256.Size]byte(sum)
	}
	return hex.EncodeToString(sum)
}

// sum returns the SHA-256 of what is read, nil where it can't be.
func (t *teller) sum(r *io.SectionReader, volume int, name string) (sum []byte) {
	h := &t.hasher
	if h.sum == nil {
		h.sum = sha256.New()
	}
	t.n.guard(volume, name, func() (err error) {
		if sum, err = digestOf(r, h.sum, &h.buf); err != nil {
			return fmt.Errorf("hashing: %w", err)
		}
		return nil
	})
	return sum
}

// hashInView returns the SHA-256 of a file of a container's view.
func (t *teller) hashInView(c *Container, f *File) string {
	return t.hash(t.original(c, f), c.store.Volume, "container "+c.DisplayName()+": "+f.Path, f.Info.Nlink > 1)
}

// original finds where a file of a view lies on its volume, so that it is read
// once however many views show it. One that lies elsewhere, in a filesystem's
// image or a blob, is its view's own.
func (t *teller) original(c *Container, f *File) place {
	own, info := place{f.tree.FS, f.ino}, &f.Info
	o, ok := f.tree.FS.(stacked)
	if !ok {
		return own
	}
	_, lower, err := o.Origin(f.ino)
	if err != nil {
		return own
	}
	below, err := c.store.Tree.Stat(lower)
	if err != nil || below.Type != info.Type || below.Inode != info.Inode || below.Size != info.Size || !below.Ctime.Equal(info.Ctime) || !below.Mtime.Equal(info.Mtime) {
		return own
	}
	return locate(c.store.Tree, lower)
}

// merged tells the whole view of a container: each file with what was done to
// it, and what was deleted.
func (t *teller) merged(c *Container) error {
	view, err := t.n.View(c)
	if err != nil {
		return err
	}
	common := t.containerCommon(c, "overlay")
	prefix := "CONTAINER:" + c.DisplayName() + ":"
	kinds := make(map[string]string)
	err = t.n.Changes(t.ctx, c, ChangeOptions{}, func(ch Change) error {
		kind := changeKind(&ch)
		if kind == "deleted" || kind == "opaque" {
			return t.containerFile(c, common, prefix, &ch, kind)
		}
		kinds[ch.Path] = kind
		return nil
	})
	if err != nil {
		return err
	}
	return t.n.List(t.ctx, view, "/", ListOptions{Recursive: true}, func(f File) error {
		kind := firstOf(kinds[f.Path], "unchanged")
		return t.containerFile(c, common, prefix, &Change{File: f}, kind)
	})
}
