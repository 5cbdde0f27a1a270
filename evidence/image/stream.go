package image

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"lagan/evidence"
)

// maxWindow bounds the memory of a zstd decoder: twice what `zstd --long=27`
// writes, which is also the most that zstd itself unpacks unless told to.
const maxWindow = 256 << 20

// readAhead is the size of the reads of a compressed file: what a decoder holds and
// has not unpacked yet counts as read, and a bomb is known by what was read.
const readAhead = 64 << 10

// openZstd unpacks zstd frames and passes over skippable ones.
func openZstd(src *source, _ Options) (io.ReadCloser, error) {
	d, err := zstd.NewReader(bufio.NewReaderSize(src, readAhead),
		zstd.WithDecoderMaxWindow(maxWindow),
		// Without this, the history of a stream is twice its window.
		zstd.WithDecoderLowmem(true),
		// One block is parsed while the one before it is executed.
		zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	return &zstdReader{d}, nil
}

type zstdReader struct{ d *zstd.Decoder }

func (z *zstdReader) Close() error {
	z.d.Close()
	return nil
}

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.d.Read(p)
	switch {
	case err == nil, err == io.EOF:
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = fmt.Errorf("zstd: a window of more than %d MiB: unpack it with zstd -d --long=31: %w", maxWindow>>20, evidence.ErrUnsupported)
	case errors.Is(err, zstd.ErrUnknownDictionary):
		err = fmt.Errorf("zstd: packed with a dictionary: %w", evidence.ErrUnsupported)
	default:
		err = fmt.Errorf("%w: %w", evidence.ErrCorrupt, err)
	}
	return n, err
}

// openGzip unpacks the members of a gzip file.
func openGzip(src *source, o Options) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(src, readAhead)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w: %w", evidence.ErrCorrupt, err)
	}
	z.Multistream(false)
	return &gzipReader{Reader: z, in: in, src: src, o: o}, nil
}

// gzipReader goes from member to member itself, so that a wrong checksum at
// the end of one doesn't lose the ones after it.
type gzipReader struct {
	*gzip.Reader
	in  *bufio.Reader
	src *source
	o   Options
	err error // sticky
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for g.err == nil {
		n, err := g.Reader.Read(p)
		switch {
		case err == nil:
		case errors.Is(err, gzip.ErrChecksum):
			g.o.warn(fmt.Errorf("gzip: the checksum of the member that ends near offset %#x is wrong: %w", g.offset(), evidence.ErrCorrupt))
			g.err = g.next()
		case err == io.EOF:
			g.err = g.next()
		default:
			g.err = fmt.Errorf("gzip: %w: %w", evidence.ErrCorrupt, err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, g.err
}

// next goes to the next member; zeros, with which tapes and block devices pad, end the file.
func (g *gzipReader) next() error {
	b, err := g.in.Peek(len(magicGzip))
	if len(b) == 0 {
		return err
	}
	if string(b) != string(magicGzip) {
		if b[0] != 0 {
			g.o.warn(fmt.Errorf("gzip: bytes at offset %#x that are no member are left out: %w", g.offset(), evidence.ErrCorrupt))
		}
		return io.EOF
	}
	if err := g.Reader.Reset(g.in); err != nil {
		return fmt.Errorf("gzip: member at offset %#x: %w: %w", g.offset(), evidence.ErrCorrupt, err)
	}
	g.Multistream(false)
	return nil
}

func (g *gzipReader) offset() int64 { return g.src.off.Load() - int64(g.in.Buffered()) }

// openBzip2 unpacks the streams of a bzip2 file.
func openBzip2(src *source, _ Options) (io.ReadCloser, error) {
	return &corrupting{bzip2.NewReader(bufio.NewReaderSize(src, readAhead)), "bzip2"}, nil
}

// openLZ4 unpacks LZ4 frames, also of the old kind.
func openLZ4(src *source, _ Options) (io.ReadCloser, error) {
	return &corrupting{lz4.NewReader(bufio.NewReaderSize(src, readAhead)), "lz4"}, nil
}

// corrupting is a decoder all of whose errors are of what it reads.
type corrupting struct {
	r    io.Reader
	name string
}

func (c *corrupting) Close() error { return nil }

func (c *corrupting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%s: %w: %w", c.name, evidence.ErrCorrupt, err)
	}
	return n, err
}
