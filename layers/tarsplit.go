package layers

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"

	"github.com/klauspost/compress/gzip"

	"lagan/evidence"
)

// Types of a tar-split's entries: tar/storage/entry.go of tar-split.
const (
	splitFile    = 1
	splitSegment = 2
)

// splitEntry is one line of a tar-split: the raw bytes of headers and padding, or
// the name, size and CRC-64 of a file whose content is in the layer's folder.
type splitEntry struct {
	Type    int    `json:"type"`
	Name    string `json:"name"`
	NameRaw []byte `json:"name_raw"`
	Size    int64  `json:"size"`
	Payload []byte `json:"payload"`
}

// maxSplitLine bounds one line: a segment holds a header with its extended ones,
// of 1 MiB at most each, or what stands behind the tar's end, which tar-split
// stores in pieces of as much.
const maxSplitLine = 16 << 20

// maxSplit bounds the tar that a tar-split may claim.
const maxSplit = 1 << 40

// Split is what a comparison with a tar-split found.
type Split struct {
	Comparison
	DiffID Digest // of the tar that was built from tar-split and folder
	Size   int64  // of that tar
	// Agree says that every content of the folder has the checksum that
	// the tar-split recorded.
	Agree bool
	// Checksums names files whose recorded checksum isn't that of their content,
	// although the tar is the one that was asked for: the tar-split was changed.
	Checksums []string
}

// CompareSplit builds the tar of a layer from its tar-split, which Docker and
// Podman keep in place of the blob, and from the contents in the folder, and
// compares the folder with it as CompareTar does. want is the layer's diff id. A
// content that differs is known by the CRC-64 in the tar-split alone, which proves
// nothing against who can choose it: DiffID does.
//
// A tar-split that can't be read whole is an error, evidence.ErrCorrupt; the
// Differences are nil then.
func CompareSplit(split io.Reader, folder evidence.FS, want Digest, o CompareOptions) (*Split, error) {
	z, err := gzip.NewReader(bufio.NewReaderSize(split, 1<<16))
	if err != nil {
		return &Split{}, broken(err)
	}
	c := newComparer(folder, o)
	c.split = &splitReader{lines: bufio.NewScanner(&unpacker{z}), sum: crc64.New(crc64.MakeTable(crc64.ISO)), agree: true}
	c.split.lines.Buffer(make([]byte, 0, 64<<10), maxSplitLine)
	h := newHasher(want.Hash())
	built := &counter{r: c.split, tee: h}
	if o.Built != nil {
		built.tee = io.MultiWriter(h, o.Built)
	}
	t, err := ReadTar(built, TarOptions{UserXattr: o.UserXattr, File: c.file})
	if err == nil {
		_, err = io.CopyBuffer(io.Discard, onlyReader{built}, make([]byte, 64<<10))
	}
	sum := h.sum()
	if err != nil {
		return &Split{Comparison: Comparison{Entries: t.entries}}, err
	}
	out := &Split{DiffID: want.with(sum), Size: built.n, Agree: c.split.agree}
	if out.DiffID == want {
		for i := range t.nodes {
			if d := c.content[evidence.Ino(i)]; d != nil && d.err == nil {
				out.Checksums = append(out.Checksums, t.Path(evidence.Ino(i)))
				delete(c.content, evidence.Ino(i))
			}
		}
	}
	found, err := c.finish(t)
	out.Comparison = *found
	return out, err
}

// fileOfSplit lets the tar be built with the folder's content f, nil where it has
// none, and notes what the tar-split says of it.
func (c *comparer) fileOfSplit(ino evidence.Ino, f *io.SectionReader, err error, r io.Reader) error {
	if err != nil {
		c.content[ino] = &content{err: err}
	}
	if f != nil && f.Size() > maxComparedFile {
		return fmt.Errorf("%s: %d bytes are too many to compare: %w", c.tar.Path(ino), f.Size(), evidence.ErrUnsupported)
	}
	c.split.next = f
	c.split.done, c.split.failed = nil, nil
	if c.buf[0] == nil {
		c.buf[0] = make([]byte, compareBuffer)
	}
	_, readErr := io.CopyBuffer(io.Discard, onlyReader{r}, c.buf[0])
	c.split.next = nil
	switch {
	case readErr != nil:
		return readErr
	case c.split.failed != nil:
		c.content[ino] = &content{err: c.split.failed}
	case c.split.done != nil && err == nil:
		c.content[ino] = c.split.done
	}
	return nil
}

// splitReader reads the tar that a tar-split and a folder's contents make.
type splitReader struct {
	lines *bufio.Scanner
	line  int
	total int64

	segment []byte // what is left of one
	left    int64  // of a file's content
	want    []byte // its checksum
	file    io.Reader
	sum     hash.Hash64

	next   *io.SectionReader // content of the file whose header was read last
	done   *content          // what differs in the file that was read last
	failed error             // to read it
	agree  bool
}

func (s *splitReader) Read(p []byte) (int, error) {
	for len(s.segment) == 0 && s.left == 0 {
		if err := s.entry(); err != nil {
			return 0, err
		}
	}
	if len(s.segment) > 0 {
		n := copy(p, s.segment)
		s.segment = s.segment[n:]
		return n, nil
	}
	p = p[:min(int64(len(p)), s.left)]
	n, err := s.file.Read(p)
	if n == 0 && err == nil {
		return 0, nil
	}
	if n == 0 {
		// what is missing of the file is zeros, so that the rest is in its place
		if err != io.EOF {
			s.failed = err
		}
		clear(p)
		n = len(p)
		s.file = zeros{}
	}
	s.sum.Write(p[:n])
	if s.left -= int64(n); s.left == 0 {
		s.endFile()
	}
	return n, nil
}

func (s *splitReader) endFile() {
	got := s.sum.Sum(nil)
	if bytes.Equal(got, s.want) {
		return
	}
	s.agree = false
	s.done = &content{want: "crc64:" + hex.EncodeToString(s.want), got: "crc64:" + hex.EncodeToString(got)}
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// entry reads the next line.
func (s *splitReader) entry() error {
	if !s.lines.Scan() {
		if err := s.lines.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("line of more than %d bytes: %w", maxSplitLine, evidence.ErrCorrupt)
			}
			return fmt.Errorf("tar-split line %d: %w", s.line+1, err)
		}
		return io.EOF
	}
	s.line++
	var e splitEntry
	if err := json.Unmarshal(s.lines.Bytes(), &e); err != nil {
		return fmt.Errorf("tar-split line %d: %w: %w", s.line, err, evidence.ErrCorrupt)
	}
	size := e.Size
	switch e.Type {
	case splitSegment:
		s.segment = e.Payload
		size = int64(len(e.Payload))
	case splitFile:
		if size < 0 {
			return fmt.Errorf("tar-split line %d: size %d: %w", s.line, size, evidence.ErrCorrupt)
		}
		s.left, s.want, s.file = size, e.Payload, io.Reader(zeros{})
		if s.next != nil {
			s.file = s.next
			s.next = nil
		}
		s.sum.Reset()
	default:
		return fmt.Errorf("tar-split line %d: type %d: %w", s.line, e.Type, evidence.ErrCorrupt)
	}
	if s.total += size; size > maxSplit || s.total > maxSplit {
		return fmt.Errorf("tar-split line %d: a tar of more than %d bytes: %w", s.line, int64(maxSplit), evidence.ErrUnsupported)
	}
	return nil
}
