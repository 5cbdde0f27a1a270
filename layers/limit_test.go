package layers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"

	"lagan/evidence"
)

// TestBomb: a stream that grows to far more than any packer makes is ended.
func TestBomb(t *testing.T) {
	l := &limited{r: zeros{}, in: &counter{n: 1000}, free: 1 << 20}
	n, err := io.CopyBuffer(io.Discard, onlyReader{l}, make([]byte, 4096))
	if !errors.Is(err, evidence.ErrUnsupported) || n < 1<<20 || n > 1<<20+1000*usualRatio {
		t.Errorf("%d bytes, %v", n, err)
	}
	l = &limited{r: io.LimitReader(zeros{}, 2<<20), in: &counter{n: 40000}, free: 1 << 20}
	if n, err := io.Copy(io.Discard, l); n != 2<<20 || err != nil {
		t.Errorf("what layers may: %d bytes, %v", n, err)
	}
}

// TestPadding: what stands behind an archive is read no further than padding
// goes, and all of a blob that isn't read as one.
func TestPadding(t *testing.T) {
	var blob bytes.Buffer
	z := gzip.NewWriter(&blob)
	w := tar.NewWriter(z)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "f", Mode: 0o600}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	// A gzip member of zeros, again and again, which is cheaper than to pack them all.
	const piece = 1 << 20
	var member bytes.Buffer
	z.Reset(&member)
	if _, err := io.CopyN(z, zeros{}, piece); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for range maxPadding/piece + 1 {
		blob.Write(member.Bytes())
	}
	sums, err := ReadBlob(bytes.NewReader(blob.Bytes()), Digest{}, -1, func(r io.Reader) error {
		all := tar.NewReader(r)
		for {
			if _, err := all.Next(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, evidence.ErrUnsupported) || !sums.DiffID.IsZero() || sums.Size != int64(blob.Len()) {
		t.Errorf("%+v, %v", sums, err)
	}
	if sums, err = ReadBlob(bytes.NewReader(blob.Bytes()), Digest{}, -1, func(io.Reader) error { return nil }); err != nil || sums.DiffID.IsZero() {
		t.Errorf("not as an archive: %+v, %v", sums, err)
	}
}
