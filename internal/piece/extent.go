package piece

import (
	"fmt"
	"io"

	"lagan/evidence"
)

// Extent says where some bytes of a disk lie.
type Extent struct {
	Len  int64       // of the bytes, above 0
	From io.ReaderAt // nil for zeros
	Off  int64       // in From
}

// maxJoined bounds the extents that are read at once: 1 MiB of clusters of 512 bytes.
const maxJoined = 2048

// ReadExtents is a Reader over what locate says of the bytes at an offset.
// Extents that follow each other in the file are read at once.
func ReadExtents(p []byte, off int64, locate func(off int64) (Extent, error)) (int, error) {
	e, err := locate(off)
	if err != nil {
		return 0, err
	}
	for range maxJoined {
		if e.Len >= int64(len(p)) {
			break
		}
		next, err := locate(off + e.Len)
		if err != nil || next.From != e.From || e.From != nil && next.Off != e.Off+e.Len {
			break // an error is met again when its bytes are asked for
		}
		e.Len += next.Len
	}
	p = p[:min(int64(len(p)), e.Len)]
	if e.From == nil {
		clear(p)
		return len(p), nil
	}
	n, err := e.From.ReadAt(p, e.Off)
	switch {
	case n > 0:
		return n, nil
	case err == io.EOF:
		return 0, fmt.Errorf("offset %#x of the disk is at %#x of a file that ends before: %w", off, e.Off, evidence.ErrCorrupt)
	case err == nil:
		return 0, io.ErrNoProgress
	}
	return 0, err
}

// Unpacked is the io.ReaderAt of a disk's packed pieces, by the offset on the disk.
type Unpacked func(p []byte, off int64) (int, error)

// ReadAt implements io.ReaderAt.
func (u Unpacked) ReadAt(p []byte, off int64) (int, error) { return u(p, off) }
