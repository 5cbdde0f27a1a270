package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
	"lagan/internal/needs"
)

// TestBomb stops a stream that is nothing but size, and no other.
func TestBomb(t *testing.T) {
	for _, c := range []struct {
		unpacked, packed, written int64
		want                      bool
	}{
		{bombSize + 1, (bombSize + 1) >> 15, 1, true}, // zeros with zstd
		{bombSize - 1, 100, 1, false},
		{1 << 40, 1<<25 + 1<<24, 1, false}, // a nearly empty disk
		{10 << 30, 100, 1, true},
		{defaultMaxSize + 1, 1 << 40, 1, true},
		{emptyHead, emptyHead >> 10, 0, false},
		{emptyHead + 1, emptyHead >> 8, 0, true}, // zeros with lz4
	} {
		s := &spool{size: c.unpacked, written: c.written}
		if err := s.excess(c.packed, defaultMaxSize, &source{r: bytes.NewReader(nil)}); (err != nil) != c.want {
			t.Errorf("%d from %d: %v", c.unpacked, c.packed, err)
		}
	}
	got, _, warned, err := openBytes(t, zstdBomb(2000), Options{MaxSize: 100 << 20})
	if err != nil || len(got) < 100<<20 || len(warned) != 1 || !errors.Is(warned[0], evidence.ErrUnsupported) {
		t.Errorf("%d bytes, %v, %v", len(got), warned, err)
	}
}

// TestWiped: a disk that begins with zeros is read on where content follows, and
// else no further than a bomb is.
func TestWiped(t *testing.T) {
	needs.Time(t) // to unpack half a gibibyte
	const size = emptyHead + 8<<20
	content := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(content)
	for name, end := range map[string][]byte{"wiped": content, "zeros": nil} {
		packed := zstdBomb(size / (128 << 10))
		if end != nil {
			packed = append(packed, zstdFrame(end, 1<<20)...)
		}
		path := imagetest.Write(t, "disk", packed)
		var warned []error
		im, err := Open(t.Context(), path, Options{Warn: func(err error) { warned = append(warned, err) }})
		if err != nil {
			t.Fatal(err)
		}
		defer im.Close()
		got := make([]byte, len(end))
		if end == nil {
			if len(warned) != 1 || !errors.Is(warned[0], evidence.ErrUnsupported) || im.Size() >= size {
				t.Errorf("%s: %d bytes, %v", name, im.Size(), warned)
			}
		} else if _, err := im.ReadAt(got, size); err != nil && err != io.EOF || !bytes.Equal(got, end) || len(warned) > 0 {
			t.Errorf("%s: %d bytes, %v, %v", name, im.Size(), err, warned)
		}
	}
}

// TestCache unpacks once, and again after the file has changed.
func TestCache(t *testing.T) {
	d := sparseDisk()[:100_000]
	path, cache := imagetest.Write(t, "disk", gzipped(d)), t.TempDir()
	read := func() (string, []string) {
		t.Helper()
		unpacked := "kept"
		im, err := Open(context.Background(), path, Options{CacheDir: cache, Progress: func(int64, int64) { unpacked = "unpacked" }})
		if err != nil {
			t.Fatal(err)
		}
		defer im.Close()
		imagetest.Compare(t, im, d)
		if im.Format() != "gzip+raw" {
			t.Errorf("format %s", im.Format())
		}
		names, _ := filepath.Glob(filepath.Join(cache, "*"))
		return unpacked, names
	}
	if how, names := read(); how != "unpacked" || len(names) != 1 {
		if runtime.GOOS != "linux" {
			t.Skip("nothing is kept on this system")
		}
		t.Fatalf("%s, %q are kept", how, names)
	}
	if how, names := read(); how != "kept" || len(names) != 1 {
		t.Errorf("%s, %q are kept", how, names)
	}
	d = d[:90_000]
	if err := os.WriteFile(path, gzipped(d), 0o600); err != nil {
		t.Fatal(err)
	}
	if how, names := read(); how != "unpacked" || len(names) != 2 {
		t.Errorf("changed: %s, %q are kept", how, names)
	}
	broken := gzipped(d)
	path = imagetest.Write(t, "broken", broken[:len(broken)-3])
	if how, names := read(); how != "unpacked" || len(names) != 2 {
		t.Errorf("damaged: %s, %q are kept", how, names)
	}
}

func TestMaxSizeEndsUnpacking(t *testing.T) {
	d := sparseDisk()
	got, _, warned, err := openBytes(t, zstdFrame(d, 1<<20), Options{MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) > 2<<20 || !bytes.Equal(got, d[:len(got)]) || len(warned) != 1 {
		t.Errorf("%d bytes, warned %v", len(got), warned)
	}
}

func TestCancel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evidence.bin")
	if err := os.WriteFile(path, zstdFrame(make([]byte, 64<<20), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{TempDir: t.TempDir(), Progress: func(int64, int64) { cancel() }}
	if _, err := Open(ctx, path, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSpoolIsSparse(t *testing.T) {
	s, err := newSpool(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.write(sparseDisk()); err != nil {
		t.Fatal(err)
	}
	// 8000 bytes of text in 2 or 3 blocks, 100000 of noise in 25, the end.
	if s.written > 30*holeSize {
		t.Errorf("%d bytes written", s.written)
	}
}
