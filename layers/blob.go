package layers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
)

// Compression names how a blob is packed.
type Compression string

// What a layer's blob may be packed with. eStargz is gzip in many members,
// zstd:chunked zstd in many frames with its table of contents in skippable ones.
const (
	Uncompressed Compression = "none"
	Gzip         Compression = "gzip"
	Zstd         Compression = "zstd"
)

// The first bytes of gzip (RFC 1952, 2.3.1) and of zstd frames (RFC 8878, 3.1.1
// and 3.1.2: a skippable frame's number has any last half byte).
var (
	magicGzip      = []byte{0x1f, 0x8b, 0x08}
	magicZstd      = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicSkippable = []byte{0x2a, 0x4d, 0x18}
)

// maxWindow is the largest window of a zstd frame that is unpacked: what zstd
// itself takes without --long (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
const maxWindow = 128 << 20

// A blob that unpacks to more than freeOutput may grow to usualRatio times its
// size: what layers hold packs to a half or a quarter, zeros to 1:1032 with gzip and
// 1:32000 with zstd. One that a runtime unpacked may be as large as the runtime
// counted it. What follows the end of the archive is padding, which no
// writer makes larger than a record.
const (
	freeOutput = 2 << 30
	usualRatio = 100
	maxPadding = 256 << 20
)

// outputFor is how many bytes may come out whatever goes in, where size bytes were
// counted in the files: a tar has headers, padding and names beside.
func outputFor(size int64) int64 {
	const most = 1 << 60
	size = min(max(size, 0), most)
	return freeOutput + size + size/4
}

// Sums is what one pass over a blob found.
type Sums struct {
	Digest      Digest // of the blob as it lies there
	Size        int64
	DiffID      Digest // of what it unpacks to; zero where it could not be unpacked whole
	Unpacked    int64  // bytes
	Compression Compression
}

// ReadBlob reads a blob once, to its end: it is hashed as it is, unpacked, hashed
// again and handed to read as a stream of the unpacked bytes. read may be nil, and
// reads nothing, or an archive to its end. The blob's digest is of the algorithm of want.
// size is how many bytes of files a record says are in it, or less than 0: without
// one, a blob that unpacks beyond what layers do is evidence.ErrUnsupported.
//
// Sums are as whole as they can be: where the blob can't be unpacked (err is
// evidence.ErrCorrupt) or read fails, Digest and Size are of the whole blob still.
// They are zero where the blob itself could not be read.
func ReadBlob(blob io.Reader, want Digest, size int64, read func(unpacked io.Reader) error) (Sums, error) {
	raw := newHasher(want.Hash())
	counted := &counter{r: io.TeeReader(blob, raw)}
	in := bufio.NewReaderSize(counted, 1<<20)
	var s Sums
	err := s.unpack(in, counted, outputFor(size), read)
	// what stands behind the compressed stream, or behind what can't be unpacked
	_, restErr := io.Copy(io.Discard, in)
	sum := raw.sum()
	if counted.err != nil {
		return Sums{}, fmt.Errorf("reading at offset %#x: %w", counted.n, counted.err)
	}
	s.Digest, s.Size = want.with(sum), counted.n
	return s, errors.Join(err, restErr)
}

func (s *Sums) unpack(in *bufio.Reader, counted *counter, free int64, read func(io.Reader) error) error {
	unpacked, kind, done, err := unpack(in)
	s.Compression = kind
	if err != nil {
		return err
	}
	defer done()
	h := newHasher(Digest{}.Hash())
	out := &counter{r: &limited{r: unpacked, in: counted, free: free}, tee: h}
	if read != nil {
		err = read(out)
	}
	if err == nil {
		err = drain(out, out.n > 0)
	}
	s.Unpacked = out.n
	sum := h.sum()
	if err == nil {
		s.DiffID = Digest{}.with(sum)
	}
	return err
}

// drain reads to the end, of an archive that was read no further than padding goes.
func drain(r io.Reader, archive bool) error {
	if archive {
		r = io.LimitReader(r, maxPadding+1)
	}
	n, err := io.CopyBuffer(io.Discard, onlyReader{r}, make([]byte, 1<<18))
	if archive && n > maxPadding {
		return fmt.Errorf("more than %d MiB follow the archive's end: %w", maxPadding>>20, evidence.ErrUnsupported)
	}
	return err
}

// Unpack returns what a blob unpacks to, by its first bytes and not by what it is
// called, and a function that releases what it holds.
func Unpack(blob io.Reader) (io.Reader, Compression, func(), error) {
	counted := &counter{r: blob}
	r, kind, done, err := unpack(bufio.NewReaderSize(counted, 1<<16))
	if err != nil {
		return nil, kind, done, err
	}
	return &limited{r: r, in: counted, free: freeOutput}, kind, done, nil
}

// CompressionOf says how a blob is packed by its first bytes, of which four are enough.
func CompressionOf(head []byte) Compression {
	switch {
	case bytes.HasPrefix(head, magicGzip):
		return Gzip
	case bytes.HasPrefix(head, magicZstd), len(head) >= 4 && head[0]>>4 == 5 && bytes.Equal(head[1:4], magicSkippable):
		return Zstd
	}
	return Uncompressed
}

func unpack(in *bufio.Reader) (io.Reader, Compression, func(), error) {
	nothing := func() {}
	head, _ := in.Peek(len(magicZstd))
	switch CompressionOf(head) {
	case Gzip:
		r, err := gzip.NewReader(in)
		if err != nil {
			return nil, Gzip, nothing, broken(err)
		}
		return &unpacker{r}, Gzip, nothing, nil
	case Zstd:
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<62))
		if err != nil {
			return nil, Zstd, nothing, broken(err)
		}
		return &unpacker{r}, Zstd, r.Close, nil
	}
	return in, Uncompressed, nothing, nil
}

// unpacker gives a decoder's errors as ours.
type unpacker struct{ r io.Reader }

func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	return n, broken(err)
}

func broken(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrUnknownDictionary) {
		return fmt.Errorf("unpacking: %w: %w", err, evidence.ErrUnsupported)
	}
	return fmt.Errorf("unpacking: %w: %w", err, evidence.ErrCorrupt)
}

// limited ends a stream that grows beyond all proportion.
type limited struct {
	r    io.Reader
	in   *counter // what it is made of
	free int64    // bytes that may come whatever the proportion
	n    int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if l.n > l.free && l.n/usualRatio > l.in.n {
		return n, fmt.Errorf("unpacks to more than %d MiB and %d times its size, as a bomb does, and no record says that it should: %w",
			l.free>>20, usualRatio, evidence.ErrUnsupported)
	}
	return n, err
}

// counter counts what is read, and copies it to tee.
type counter struct {
	r   io.Reader
	tee io.Writer
	n   int64
	err error // that r failed with
	end int64 // of what was last sought over, or else read: see seeker
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.tee != nil && n > 0 {
		c.tee.Write(p[:n])
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// onlyReader hides WriteTo, so that CopyBuffer uses the buffer it is given.
type onlyReader struct{ io.Reader }

// hasher hashes in a goroutine of its own, beside what reads and unpacks: hashing
// is about as much work as the rest. It is a Writer until sum.
type hasher struct {
	full, free chan []byte
	now        []byte
	done       chan hash.Hash
}

const (
	hashBlock  = 256 << 10
	hashBlocks = 4
)

func newHasher(h hash.Hash) *hasher {
	s := &hasher{full: make(chan []byte, hashBlocks), free: make(chan []byte, hashBlocks), done: make(chan hash.Hash, 1)}
	go func() {
		for b := range s.full {
			h.Write(b)
			s.free <- b[:0]
		}
		s.done <- h
	}()
	for range hashBlocks - 1 {
		s.free <- nil
	}
	return s
}

func (s *hasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if cap(s.now) == 0 {
			s.now = make([]byte, 0, hashBlock)
		}
		k := min(len(p), cap(s.now)-len(s.now))
		s.now = append(s.now, p[:k]...)
		p = p[k:]
		if len(s.now) == cap(s.now) {
			s.full <- s.now
			s.now = <-s.free
		}
	}
	return n, nil
}

// sum ends the hasher, which every one needs.
func (s *hasher) sum() hash.Hash {
	if len(s.now) > 0 {
		s.full <- s.now
	}
	close(s.full)
	return <-s.done
}
