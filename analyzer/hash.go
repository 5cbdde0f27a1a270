package analyzer

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Hashes are the digests of a disk's bytes, unpacked, in hex.
type Hashes struct {
	MD5, SHA1, SHA256 string
	// Stored are those that the image's container recorded when the disk was
	// acquired, by name: "md5", "sha1".
	Stored map[string]string
}

// Differ names the stored hashes that are not those of the bytes.
func (h Hashes) Differ() []string {
	var out []string
	for _, h := range [...]struct{ name, got, stored string }{{"md5", h.MD5, h.Stored["md5"]}, {"sha1", h.SHA1, h.Stored["sha1"]}} {
		if h.stored != "" && h.stored != h.got {
			out = append(out, h.name)
		}
	}
	return out
}

// hashBlock is what is read of a disk at a time: each hash takes it in a
// goroutine of its own, while the next is read.
const hashBlock = 4 << 20

// Hash reads a whole disk once and returns its hashes; none, and a gap, where
// some of it can't be read.
func (n *Node) Hash(ctx context.Context, e *Evidence) (Hashes, error) {
	if e.image == nil {
		return Hashes{}, fmt.Errorf("%s is a folder, which has no hash", e.Path)
	}
	sums := []hash.Hash{md5.New(), sha1.New(), sha256.New()}
	feeds := make([]chan []byte, len(sums))
	done := make(chan struct{})
	for i, s := range sums {
		feeds[i] = make(chan []byte)
		go func() {
			for b := range feeds[i] {
				s.Write(b)
				done <- struct{}{}
			}
		}()
	}
	err := n.feed(ctx, e, func(b []byte) {
		for _, f := range feeds {
			f <- b
		}
	}, func() {
		for range sums {
			<-done
		}
	})
	for _, f := range feeds {
		close(f)
	}
	if err != nil && ctx.Err() == nil { // a gap: the hashes of a part would be none of the disk
		n.gaps.add(Gap{Evidence: e.Name, Message: err.Error()})
		return Hashes{Stored: e.Stored}, nil
	}
	h := Hashes{
		MD5: hex.EncodeToString(sums[0].Sum(nil)), SHA1: hex.EncodeToString(sums[1].Sum(nil)), SHA256: hex.EncodeToString(sums[2].Sum(nil)),
		Stored: e.Stored,
	}
	if err == nil {
		for _, name := range h.Differ() {
			n.gaps.add(Gap{Evidence: e.Name, Message: fmt.Sprintf("the %s of the disk is not the one stored when it was acquired", name)})
		}
	}
	return h, err
}

// feed reads the disk from its beginning to its end, one block ahead of what
// is being hashed.
func (n *Node) feed(ctx context.Context, e *Evidence, give func([]byte), wait func()) error {
	buffers := [2][]byte{make([]byte, hashBlock), make([]byte, hashBlock)}
	given := false
	for off := int64(0); off < e.Size; {
		if err := ctx.Err(); err != nil {
			if given {
				wait()
			}
			return err
		}
		b := buffers[off/hashBlock&1]
		b = b[:min(hashBlock, e.Size-off)]
		got, err := e.image.ReadAt(b, off)
		if given {
			wait()
		}
		given = false
		if got < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("hashing %s at offset %#x: %w", e.Name, off+int64(got), err)
		}
		give(b)
		given = true
		off += int64(len(b))
		n.progress("hashing "+e.Name, off, e.Size)
	}
	if given {
		wait()
	}
	return nil
}
