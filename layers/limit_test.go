package layers

import (
	"errors"
	"io"
	"testing"

	"lagan/evidence"
)

// TestBomb: a stream that grows to far more than any packer makes is ended.
func TestBomb(t *testing.T) {
	l := &limited{r: zeros{}, in: &counter{n: 1000}, free: 1 << 20}
	n, err := io.CopyBuffer(io.Discard, onlyReader{l}, make([]byte, 4096))
	if !errors.Is(err, evidence.ErrUnsupported) || n < 1<<20 || n > 1<<20+1000*maxRatio {
		t.Errorf("%d bytes, %v", n, err)
	}
	l = &limited{r: io.LimitReader(zeros{}, 2<<20), in: &counter{n: 4000}, free: 1 << 20}
	if n, err := io.Copy(io.Discard, l); n != 2<<20 || err != nil {
		t.Errorf("what deflate can do: %d bytes, %v", n, err)
	}
}
