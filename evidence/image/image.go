// Package image turns a file or block device that holds a disk into its bytes:
// a raw image as it is, a compressed one unpacked. The format is recognised by
// content and never by the file's name.
//
// Evidence is opened O_RDONLY, without changing its access time where the
// system allows that, and is never written to. A compressed stream that has no random access
// is unpacked once into a private sparse file that has no name, so that it is
// gone when the process ends, however it ends.
//
// Input is hostile: no panic, no endless loop, no allocation sized by the
// evidence. What could be unpacked of a damaged stream is delivered; the damage
// is told to Options.Warn.
package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"lagan/evidence"
	"lagan/evidence/image/ebs"
)

// ErrDirectory says that the path is a folder: a mounted tree, which
// evidence/hostdir reads.
var ErrDirectory = errors.New("is a directory")

// maxWraps bounds how deep one compression may stand in another.
const maxWraps = 4

// Image is the bytes of a disk. ReadAt may be called from several goroutines.
type Image interface {
	io.ReaderAt
	io.Closer
	// Size returns the number of bytes of the disk.
	Size() int64
	// Format names what the disk was wrapped in, outermost first: "raw",
	// "device", "zstd+raw".
	Format() string
}

// Options apply to the opening of an image.
type Options struct {
	// TempDir is where a compressed image is unpacked; os.TempDir() if empty.
	TempDir string
	// CacheDir, if set, is where an unpacked image is kept for the next time,
	// as a sparse file named after the identity of what it was unpacked from. It
	// takes the place of TempDir. Images with damage are not kept.
	CacheDir string
	// Parents are the files that may serve as what an image holds only the
	// changes of: a qcow2's backing file, a VMDK's or VHD's parent.
	Parents []string
	// Snapshot selects an internal snapshot by id or name.
	Snapshot string
	// MaxSize bounds the size of the unpacked disk; 16 TiB if zero.
	MaxSize int64
	// Warn, if set, is told of damage that was read past. It may be called
	// during Open and, from several goroutines, at any later time.
	Warn func(error)
	// Progress, if set, is told how many of the file's bytes were unpacked.
	Progress func(done, total int64)

	identity string // of the file and the wrappings that were taken off it, for CacheDir
}

func (o Options) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

func (o Options) progress(done, total int64) {
	if o.Progress != nil {
		o.Progress(done, total)
	}
}

// blob is some bytes on the way from the file to the disk. Who opened it closes it.
type blob interface {
	io.ReaderAt
	Size() int64
}

type disk struct {
	blob
	format      string
	files       *opener
	description Description
}

func (d *disk) Format() string { return d.format }

func (d *disk) Close() error { return d.files.close() }

// Open opens the image at path with the files that belong to it; a path such as
// ebs:snap-0123456789abcdef0 is a snapshot of a cloud's volume. It returns
// ErrDirectory for a folder, and evidence.ErrUnsupported for a format that is
// known and not read.
func Open(ctx context.Context, path string, o Options) (Image, error) {
	if at, ok := ebs.Parse(path); ok {
		s, err := ebs.Open(ctx, at, ebs.Options{TempDir: o.TempDir, CacheDir: o.CacheDir})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if o.MaxSize == 0 {
		o.MaxSize = defaultMaxSize
	}
	im, err := open(ctx, path, o, 0)
	if err != nil {
		return nil, err // and no nil of a type
	}
	return im, nil
}

func open(ctx context.Context, path string, o Options, depth int) (*disk, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if o.CacheDir != "" {
		o.identity = f.identity()
	}
	op := &opener{ctx: ctx, path: path, o: o, depth: depth, device: f.device, about: Description{Files: []string{path}}}
	op.open = append(op.open, f)
	b, err := op.join(f)
	if err != nil {
		op.close()
		return nil, err
	}
	if p, ok := b.(*parts); ok && op.o.identity != "" {
		for _, f := range p.files[1:] {
			op.o.identity += "\n" + f.identity()
		}
	}
	d, err := op.unwrap(b)
	if err != nil {
		op.close()
		return nil, err
	}
	return d, nil
}

// unwrap takes one wrapping after another off, until the disk is there.
func (op *opener) unwrap(b blob) (*disk, error) {
	formats := []string{}
	if _, ok := b.(*parts); ok {
		formats = append(formats, "split")
	}
	done := func(b blob, format string) (*disk, error) {
		if op.o.Snapshot != "" && op.about.Loaded == "" {
			return nil, fmt.Errorf("%q is a %s image: %q: %w", op.path, format, op.o.Snapshot, ErrNoSnapshot)
		}
		return &disk{b, strings.Join(append(formats, format), "+"), op, op.about}, nil
	}
	for range maxWraps {
		head, err := readHead(b)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", op.path, err)
		}
		for _, c := range containers() {
			if !c.is(b, head) {
				continue
			}
			inner, err := c.open(op, b)
			if err != nil {
				return nil, fmt.Errorf("opening %q: %w", op.path, err)
			}
			return done(inner, c.name)
		}
		w := recognise(b, head)
		if w == nil {
			if err := stranger(head); err != nil {
				return nil, fmt.Errorf("%q is %w", op.path, err)
			}
			break
		}
		op.o.identity += "\n" + w.name
		inner, err := w.open(op.ctx, b, op.o)
		if err != nil {
			return nil, fmt.Errorf("unpacking %q (%s): %w", op.path, w.name, err)
		}
		if c, ok := inner.(io.Closer); ok {
			op.open = append(op.open, c)
		}
		b, formats = inner, append(formats, w.name)
	}
	if op.device && len(formats) == 0 {
		return done(b, "device")
	}
	return done(b, "raw")
}

// wrapper is one way in which a disk may be wrapped.
type wrapper struct {
	name string
	// open returns what has to be closed, if it is an io.Closer. It may go on reading b.
	open func(context.Context, blob, Options) (blob, error)
}

// recognise returns what the bytes are wrapped in, or nil for none that is known.
func recognise(b blob, head []byte) *wrapper {
	if isPartitioned(head) {
		return nil
	}
	lz4Magic := le32(magicLZ4)
	switch {
	case bytes.HasPrefix(head, magicGzip):
		return &wrapper{"gzip", spooler(openGzip)}
	case bytes.HasPrefix(head, magicXZ):
		return &wrapper{"xz", spooler(openXZ)}
	case isBzip2(head):
		return &wrapper{"bzip2", spooler(openBzip2)}
	case bytes.HasPrefix(head, magicLZ4), bytes.HasPrefix(head, magicLZ4Old), isSkippable(head) && afterSkippable(b) == lz4Magic:
		return &wrapper{"lz4", spooler(openLZ4)}
	case bytes.HasPrefix(head, magicZstd), isSkippable(head):
		return &wrapper{"zstd", openAnyZstd}
	}
	return nil
}

// isPartitioned reports whether head is the start of a disk with a GPT. The
// magic of a container in its boot sector, which the firmware of today doesn't
// look at, then is a trap for tools that probe.
func isPartitioned(head []byte) bool {
	for _, at := range []int{512, 4096} {
		if len(head) >= at+8 && string(head[at:at+8]) == "EFI PART" {
			return true
		}
	}
	return false
}

func readHead(r blob) ([]byte, error) {
	head := make([]byte, min(headSize, r.Size()))
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return head[:n], nil
}

// file is an image's file as the operating system has it.
type file struct {
	*os.File
	size   int64
	device bool
}

func (f *file) Size() int64 { return f.size }

// identity tells a file from all others and from itself after a change; "" for
// a device, which doesn't say when it changed.
func (f *file) identity() string {
	path, err := filepath.Abs(f.Name())
	st, statErr := f.Stat()
	if err != nil || statErr != nil || f.device {
		return ""
	}
	// A copy that kept size and time is told by its ends.
	sum := sha256.New()
	for _, off := range []int64{0, max(0, st.Size()-identityEnds)} {
		if _, err := io.Copy(sum, io.NewSectionReader(f, off, identityEnds)); err != nil {
			return ""
		}
	}
	return fmt.Sprintf("%s\n%d\n%d\n%x", path, st.Size(), st.ModTime().UnixNano(), sum.Sum(nil))
}

// identityEnds is how much of a file's beginning and end tells it from others.
const identityEnds = 64 << 10

// openFile opens a regular file or a block device; anything else, a pipe for
// one, is refused before it is opened.
func openFile(path string) (*file, error) {
	st, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if target, err := os.Readlink(path); err == nil {
				return nil, &sentence{fmt.Sprintf("%q is a link to %q, which isn't there", path, target), fs.ErrNotExist}
			}
			return nil, &sentence{fmt.Sprintf("%q: no such file or device", path), fs.ErrNotExist}
		}
		return nil, err
	}
	mode := st.Mode()
	device := mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0
	switch {
	case mode.IsDir():
		return nil, fmt.Errorf("%q: %w", path, ErrDirectory)
	case !mode.IsRegular() && !device:
		return nil, &sentence{fmt.Sprintf("%q is a %s, not a file or block device that could hold a disk", path, modeName(mode)), evidence.ErrFormat}
	}
	f, err := openQuiet(path)
	if err != nil {
		return nil, err
	}
	// On a block device too, the end is where the size is (BLKGETSIZE64 says the same).
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("finding the size of %q: %w", path, err)
	}
	if size == 0 {
		f.Close()
		return nil, &sentence{fmt.Sprintf("%q is empty: there is no disk in it", path), evidence.ErrFormat}
	}
	return &file{f, size, device}, nil
}

// sentence is an error that says all in its own words, and is one of the sentinels.
type sentence struct {
	text string
	is   error
}

func (s *sentence) Error() string { return s.text }

func (s *sentence) Unwrap() error { return s.is }

func modeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeCharDevice != 0:
		return "character device"
	}
	return "special file"
}

// LooksLikeText reports whether r begins as a text file does: valid UTF-8
// without control characters. It is for the error message of a caller who found no
// volume in an image.
func LooksLikeText(r io.ReaderAt) bool {
	b := make([]byte, 4096)
	n, err := r.ReadAt(b, 0)
	if err != nil && err != io.EOF || n == 0 {
		return false
	}
	full := n == len(b)
	for b = b[:n]; len(b) > 0; {
		c, size := utf8.DecodeRune(b)
		switch {
		case c == utf8.RuneError && size <= 1:
			// A character that the end of the buffer cuts is no error.
			return full && len(b) < utf8.UTFMax && !utf8.FullRune(b)
		case c < ' ' && !strings.ContainsRune("\t\n\r\f\x1b", c), c == 0x7f:
			return false
		}
		b = b[size:]
	}
	return true
}
