package lines

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"lagan/evidence"
)

const (
	// MaxUnpacked bounds what one packed log gives. Rotation keeps real ones
	// far smaller; a bomb of a few kilobytes gives as much as one lets it.
	MaxUnpacked = 4 << 30
	// maxMemory bounds the window of a packed log; xz -9 and zstd -19 take 64 MiB and 8 MiB.
	maxMemory = 64 << 20
)

var forms = []struct {
	magic []byte
	open  func(*bufio.Reader) (io.Reader, error)
}{
	{[]byte{0x1f, 0x8b}, func(r *bufio.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0}, openXZ},
	{[]byte("BZh"), func(r *bufio.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, openZstd},
	{[]byte{0x04, 0x22, 0x4d, 0x18}, func(r *bufio.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
}

// Unpack returns what a log holds, unpacked where it is packed with gzip, xz,
// bzip2, zstd or lz4, which its first bytes tell. Reading goes as far as what
// is packed is whole, and then fails. close releases what the unpacking holds.
func Unpack(r io.Reader) (unpacked io.Reader, close func()) {
	in := bufio.NewReaderSize(r, readAhead)
	head, err := in.Peek(6)
	for _, f := range forms {
		if !bytes.HasPrefix(head, f.magic) {
			continue
		}
		var out io.Reader
		if out, err = f.open(in); err != nil {
			return failing{fmt.Errorf("%w: %w", evidence.ErrCorrupt, err)}, func() {}
		}
		done := func() {}
		if c, ok := out.(*zstd.Decoder); ok {
			done = c.Close
		}
		return &bounded{r: out, left: MaxUnpacked}, done
	}
	if err != nil && err != io.EOF && len(head) == 0 {
		return failing{err}, func() {}
	}
	return in, func() {}
}

func openZstd(r *bufio.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxMemory), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1))
}

// openXZ refuses a dictionary that is larger than a real log's: the library
// allocates what the file says, up to 4 GiB.
func openXZ(r *bufio.Reader) (io.Reader, error) {
	// The .xz file format, 3.1: after the 12 bytes of the stream's header come
	// the first block's, with the filter's flags: id 0x21, size 1, dictionary.
	const streamHeader = 12
	head, _ := r.Peek(streamHeader + 64)
	if len(head) > streamHeader+2 {
		block := head[streamHeader:]
		if size := (int(block[0]) + 1) * 4; size <= len(block) {
			block = block[:size]
		}
		if at := bytes.Index(block[2:], []byte{0x21, 1}); at >= 0 && at+4 < len(block) {
			if d := block[2+at+2]; d > 40 || (2|int64(d&1))<<(d/2+11) > maxMemory {
				return nil, fmt.Errorf("xz: a dictionary of more than %d MiB: %w", maxMemory>>20, evidence.ErrUnsupported)
			}
		}
	}
	return xz.ReaderConfig{DictCap: 8 << 20}.NewReader(r)
}

// bounded ends a bomb.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("more than %d GiB unpacked: %w", MaxUnpacked>>30, evidence.ErrUnsupported)
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("what is packed ends too early: %w", evidence.ErrCorrupt)
		} else if !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
			err = fmt.Errorf("unpacking: %w: %w", evidence.ErrCorrupt, err)
		}
	}
	return n, err
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
