// Package piece serves io.ReaderAt from a disk that lies in pieces: clusters,
// grains, blocks, chunks. It keeps the pieces that were costly to get.
package piece

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// Reader fills p, or the first part of it, from the disk's bytes at off, which
// with p lie inside the disk. It returns a count above 0, or an error.
type Reader func(p []byte, off int64) (int, error)

// ReadAt is io.ReaderAt for a disk of size bytes.
func ReadAt(p []byte, off, size int64, read Reader) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > size-off {
		p, end = p[:size-off], io.EOF
	}
	for done := 0; done < len(p); {
		n, err := read(p[done:], off+int64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(p), end
}

// ReadAtOnAllCores is ReadAt for pieces of equal size that take computing: a
// read of several is divided between the cores.
func ReadAtOnAllCores(p []byte, off, size, pieceSize int64, read Reader) (int, error) {
	parts := int64(runtime.GOMAXPROCS(0))
	inside := min(int64(len(p)), size-off)
	if off < 0 || parts < 2 || inside < 2*pieceSize {
		return ReadAt(p, off, size, read)
	}
	// Each part begins at a piece's start, so that none is unpacked twice.
	step := max((inside/parts+pieceSize-1)/pieceSize, 1) * pieceSize
	type result struct {
		n   int
		err error
	}
	var results []*result
	var ends []int64
	var wg sync.WaitGroup
	for from := int64(0); from < int64(len(p)); {
		to := min(from+step-(off+from)%pieceSize, int64(len(p)))
		if to >= inside {
			to = int64(len(p)) // the last one says io.EOF
		}
		r := &result{}
		results, ends = append(results, r), append(ends, to)
		wg.Add(1)
		go func(from int64) {
			defer wg.Done()
			// A panic in a goroutine of its own can't be recovered by the caller.
			defer func() {
				if v := recover(); v != nil {
					r.err = fmt.Errorf("reading at offset %#x: panic: %v", off+from, v)
				}
			}()
			r.n, r.err = ReadAt(p[from:to], off+from, size, read)
		}(from)
		from = to
	}
	wg.Wait()
	from := int64(0)
	for i, r := range results {
		if r.err != nil {
			return int(from) + r.n, r.err
		}
		from = ends[i]
	}
	return len(p), nil
}

// Full reads all of p, as io.ReaderAt may, but holds that an end of the file
// within p is an error.
func Full(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}
