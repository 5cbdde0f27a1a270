package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"

	"lagan/evidence"
)

const (
	// defaultMaxSize bounds the unpacked disk: ext4's largest with 4 KiB blocks
	// and the largest volume that a cloud offers (EBS io2: 64 TiB) are rarely met packed.
	defaultMaxSize = 16 << 40
	// A stream that unpacks to more than bombSize and more than bombRatio times
	// what was read costs time and holds nothing: zeros alone pack to 1:32000
	// with zstd, an empty filesystem to 1:20000, a small system to 1:3000.
	bombSize  = 4 << 30
	bombRatio = 24000
	// A stream that begins with so many zeros is no disk that is in use, whose
	// labels, tables and superblocks stand in the first MiB, but may be one that was
	// wiped: it is read on where what is still packed looks like content. Other
	// formats pack zeros worse than the ratio tells (xz 1:7000, gzip 1:1032, lz4
	// 1:255) or unpack them slower (bzip2).
	emptyHead = 256 << 20
	// So many pieces of the packed file are looked at for content. Packed zeros
	// have at most 126 values in a piece (xz), packed content nearly all 256.
	samples      = 64
	sampleSize   = 4096
	sampleValues = 200
	// spareSpace is left free in the temporary folder: filling it stops others.
	spareSpace = 64 << 20
	// checkEvery is how many bytes are written between two looks at the free space.
	checkEvery = 64 << 20

	// largeHeap is the size of a disk whose unpacking may have taken as much memory.
	largeHeap = 64 << 20

	bufferSize = 1 << 20
	bufferings = 3    // one that is unpacked, one that waits, one that is written
	holeSize   = 4096 // the block size of every usual filesystem
)

var zeros [holeSize]byte

// unpacker returns a reader of the unpacked stream. What it reads before an
// error is good.
type unpacker func(src *source, o Options) (io.ReadCloser, error)

// spooler returns the opener of a wrapper that is unpacked as a stream.
func spooler(unpack unpacker) func(context.Context, blob, Options) (blob, error) {
	return func(ctx context.Context, b blob, o Options) (blob, error) {
		kept := o.cachePath()
		if s := openKept(kept); s != nil {
			return s, nil
		}
		dir := o.TempDir
		if kept != "" {
			dir = o.CacheDir
		}
		s, err := newSpool(dir, b.Size())
		if err != nil {
			return nil, err
		}
		damaged := false
		warn := o.Warn
		o.Warn = func(err error) {
			damaged = true
			if warn != nil {
				warn(err)
			}
		}
		if err := s.unpack(ctx, unpack, b, o); err != nil {
			s.Close()
			return nil, err
		}
		if kept != "" && !damaged {
			keep(s.File, kept) // where that can't be done, the next time takes as long as this one
		}
		return s, nil
	}
}

// unpack fills the spool with what comes out of b.
func (s *spool) unpack(ctx context.Context, unpack unpacker, b blob, o Options) error {
	src := &source{r: b, size: b.Size()}
	r, err := unpack(src, o)
	if err != nil {
		return err
	}
	err = s.fill(ctx, r, src, o)
	r.Close()
	r = nil
	// A decoder's window may be most of the heap. Left to the collector, as
	// much again would be used before it is freed.
	if s.size > largeHeap {
		debug.FreeOSMemory()
	}
	return err
}

// cachePath returns the name under which an unpacked file is kept, or "".
func (o Options) cachePath() string {
	if o.CacheDir == "" || o.identity == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(o.identity))
	return filepath.Join(o.CacheDir, "lagan-"+hex.EncodeToString(sum[:16])+".raw")
}

// openKept opens a file that was kept, or returns nil.
func openKept(path string) *spool {
	if path == "" {
		return nil
	}
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Mode().Perm()&0o022 != 0 {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	return &spool{File: f, size: st.Size()}
}

// source reads the compressed file and counts how far that went.
type source struct {
	r    io.ReaderAt
	size int64
	off  atomic.Int64 // decoders read ahead in goroutines of their own
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.ReadAt(p, s.off.Load())
	s.off.Add(int64(n))
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// holdsContent says whether pieces of what wasn't read yet look like packed
// content, and not like packed zeros.
func (s *source) holdsContent() bool {
	from, b := s.off.Load(), make([]byte, sampleSize)
	for i := range int64(samples) {
		n, _ := s.r.ReadAt(b, from+(s.size-from)/samples*i) // what can't be read holds nothing
		var seen [256]bool
		values := 0
		for _, v := range b[:n] {
			if !seen[v] {
				seen[v] = true
				values++
			}
		}
		if values >= sampleValues {
			return true
		}
	}
	return false
}

// spool is the private file that a stream is unpacked into.
type spool struct {
	*os.File
	size      int64
	written   int64 // bytes that are not in holes
	nextCheck int64
	wiped     bool // zeros alone up to here, and content to come
}

func (s *spool) Size() int64 { return s.size }

// newSpool makes the file and takes its name away at once. need is what it will
// at least hold: data that doesn't pack stays as long as it is.
func newSpool(dir string, need int64) (*spool, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	f := openUnnamed(dir)
	if f == nil {
		var err error
		if f, err = os.CreateTemp(dir, "lagan-*"); err != nil {
			return nil, fmt.Errorf("making a temporary file: %w: name a folder that can be written to, with --temp or --cache", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return nil, fmt.Errorf("making a temporary file: %w", err)
		}
	}
	if free, ok := freeSpace(f); ok && free < need+spareSpace {
		f.Close()
		return nil, fmt.Errorf("the temporary folder %q has %d MiB free and %d MiB are needed at least: name a larger one with --temp or --cache, or unpack the image yourself",
			dir, free>>20, (need+spareSpace)>>20)
	}
	return &spool{File: f}, nil
}

// chunk is a filled buffer on its way from the unpacker to the file.
type chunk struct {
	b   []byte
	off int64 // in the compressed file, after the chunk
	err error // what the stream said after the chunk's bytes
}

// fill unpacks r into the spool; unpacking and writing run side by side. An
// error means that there is nothing to use: damage after the first bytes is warned of.
func (s *spool) fill(ctx context.Context, r io.Reader, src *source, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	full, empty := make(chan chunk), make(chan []byte, bufferings)
	for range bufferings {
		empty <- make([]byte, bufferSize)
	}
	go unpackInto(ctx, r, src, empty, full)
	// The unpacker reads from what the caller closes: it has to end first.
	defer func() {
		cancel()
		for range full {
		}
	}()
	for c := range full {
		if err := s.write(c.b); err != nil {
			return err
		}
		o.progress(c.off, src.size)
		err := c.err
		if err == nil {
			err = s.excess(c.off, o.MaxSize, src)
		}
		if err == nil {
			empty <- c.b[:bufferSize]
			continue
		}
		if err == io.EOF {
			return s.end(nil, c.off, src.size, o)
		}
		return s.end(err, c.off, src.size, o)
	}
	return ctx.Err()
}

// unpackInto reads r into buffers until its end, an error, or the end of ctx.
func unpackInto(ctx context.Context, r io.Reader, src *source, empty <-chan []byte, full chan<- chunk) {
	defer close(full)
	for {
		var b []byte
		select {
		case b = <-empty:
		case <-ctx.Done():
			return
		}
		n, err := io.ReadFull(r, b)
		if err == io.ErrUnexpectedEOF && n < len(b) {
			// ReadFull says so of every end that isn't at a buffer's; a stream that is
			// cut short says it again.
			_, err = r.Read(b[n:])
		}
		select {
		case full <- chunk{b[:n], src.off.Load(), err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// excess returns an error where the stream has grown past all reason.
func (s *spool) excess(read, maxSize int64, src *source) error {
	switch {
	case s.size > maxSize:
		return fmt.Errorf("more than %d bytes come out: %w", maxSize, evidence.ErrUnsupported)
	case s.size > bombSize && s.size/bombRatio > read:
		return fmt.Errorf("more than %d times as many bytes come out as go in, as from a bomb: %w", bombRatio, evidence.ErrUnsupported)
	case s.size > emptyHead && s.written == 0 && !s.wiped:
		if s.wiped = src.holdsContent(); s.wiped {
			return nil
		}
		return fmt.Errorf("the first %d MiB are nothing but zeros, and what is packed after them looks like zeros too, as from a bomb or an empty disk; to have more read, unpack it yourself: %w", emptyHead>>20, evidence.ErrUnsupported)
	}
	return nil
}

// end finishes the file; cause is what kept the stream from its own end.
func (s *spool) end(cause error, off, total int64, o Options) error {
	if s.size == 0 {
		if cause == nil {
			cause = fmt.Errorf("nothing is in it: %w", evidence.ErrFormat)
		}
		return cause
	}
	if cause != nil {
		o.warn(fmt.Errorf("unpacking stopped near offset %#x of the file's %#x, after %#x unpacked bytes; what follows is missing: %w",
			off, total, s.size, cause))
	}
	return s.Truncate(s.size)
}

// write appends b; blocks of zeros become holes.
func (s *spool) write(b []byte) error {
	start := 0 // of the run of blocks that are not zero
	for at := 0; at < len(b); at += holeSize {
		end := min(at+holeSize, len(b))
		if !bytes.Equal(b[at:end], zeros[:end-at]) {
			continue
		}
		if err := s.writeRun(b[start:at], s.size+int64(start)); err != nil {
			return err
		}
		start = end
	}
	if err := s.writeRun(b[start:], s.size+int64(start)); err != nil {
		return err
	}
	s.size += int64(len(b))
	return nil
}

func (s *spool) writeRun(b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	if s.written >= s.nextCheck {
		s.nextCheck = s.written + checkEvery
		if free, ok := freeSpace(s.File); ok && free < checkEvery+spareSpace {
			return s.fullError()
		}
	}
	s.written += int64(len(b))
	_, err := s.WriteAt(b, off)
	if errors.Is(err, errNoSpace) {
		return s.fullError()
	}
	return err
}

func (s *spool) fullError() error {
	return fmt.Errorf("the temporary folder is full after %d MiB were unpacked, %d MiB of them not zeros: name a larger one with --temp or --cache, or unpack the image yourself",
		s.size>>20, s.written>>20)
}
