package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
)

// sparseDisk is 3 MiB and a bit: text, a hole, noise, an odd end.
func sparseDisk() []byte {
	b := make([]byte, 3<<20+777)
	copy(b[4096:], bytes.Repeat([]byte("evidence"), 1000))
	seed := sha256.Sum256(nil)
	for at := 2 << 20; at < 2<<20+100000; at += len(seed) {
		seed = sha256.Sum256(seed[:])
		copy(b[at:], seed[:])
	}
	b[len(b)-1] = 1
	return b
}

func gzipped(parts ...[]byte) []byte {
	var out bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&out)
		w.Write(p)
		w.Close()
	}
	return out.Bytes()
}

func zstdFrame(p []byte, window int) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	w.Write(p)
	w.Close()
	return out.Bytes()
}

func skippable(n int) []byte {
	b := make([]byte, 8+n)
	copy(b, []byte{0x5a, 0x2a, 0x4d, 0x18, byte(n), byte(n >> 8)})
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// openBytes opens content as a file; the warnings are returned beside the image's bytes.
func openBytes(t *testing.T, content []byte, o Options) ([]byte, string, []error, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "evidence.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	o.TempDir = t.TempDir()
	var warned []error
	o.Warn = func(err error) { warned = append(warned, err) }
	im, err := Open(context.Background(), path, o)
	if left, _ := os.ReadDir(o.TempDir); len(left) > 0 {
		t.Errorf("%s is left in the temporary folder", left[0].Name())
	}
	if err != nil {
		return nil, "", warned, err
	}
	defer im.Close()
	b, err := io.ReadAll(io.NewSectionReader(im, 0, im.Size()))
	return b, im.Format(), warned, err
}

func TestOpenForms(t *testing.T) {
	d := sparseDisk()
	corrupt := gzipped(d[:1<<20], d[1<<20:])
	first := len(gzipped(d[:1<<20]))
	corrupt[first-6] ^= 1 // in the CRC of the first member
	cut := zstdFrame(d, 1<<20)
	cut = cut[:len(cut)-100]
	for _, c := range []struct {
		name    string
		content []byte
		format  string
		size    int // of the prefix of d that comes out
		warned  string
	}{
		{"raw", d, "raw", len(d), ""},
		{"gzip", gzipped(d), "gzip+raw", len(d), ""},
		{"gzip members", gzipped(d[:5000], d[5000:5001], nil, d[5001:]), "gzip+raw", len(d), ""},
		{"gzip zero padding", join(gzipped(d), make([]byte, 700)), "gzip+raw", len(d), ""},
		{"gzip garbage after", join(gzipped(d), []byte("garbage")), "gzip+raw", len(d), "no member"},
		{"gzip bad checksum", corrupt, "gzip+raw", len(d), "checksum"},
		{"zstd", zstdFrame(d, 1<<20), "zstd+raw", len(d), ""},
		{"zstd long window", zstdFrame(d, 128<<20), "zstd+raw", len(d), ""},
		{"zstd frames", join(skippable(30), zstdFrame(d[:9], 1<<20), skippable(0), zstdFrame(d[9:], 1<<20)), "zstd+raw", len(d), ""},
		{"zstd cut short", cut, "zstd+raw", 2 << 20, "stopped near"},
		{"gzip in zstd", zstdFrame(gzipped(d), 1<<20), "zstd+gzip+raw", len(d), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, format, warned, err := openBytes(t, c.content, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if format != c.format {
				t.Errorf("format %q, want %q", format, c.format)
			}
			if len(got) < c.size || !bytes.Equal(got, d[:len(got)]) {
				t.Errorf("%d bytes, want %d of the disk's", len(got), c.size)
			}
			text := errors.Join(warned...)
			if c.warned == "" && text != nil || c.warned != "" && (text == nil || !strings.Contains(text.Error(), c.warned)) {
				t.Errorf("warned %v, want %q", text, c.warned)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	d := sparseDisk()
	for _, c := range []struct {
		name    string
		content []byte
		o       Options
		want    error
		text    string
	}{
		{"empty file", nil, Options{}, evidence.ErrFormat, "is empty"},
		{"gzip header only", gzipped(d)[:12], Options{}, evidence.ErrCorrupt, "unpacking"},
		{"gzip of nothing", gzipped(nil), Options{}, evidence.ErrFormat, "nothing is in it"},
		{"zstd magic only", zstdFrame(d, 1<<20)[:5], Options{}, evidence.ErrCorrupt, "unpacking"},
		{"zstd window of 2 GiB", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0}, Options{}, evidence.ErrUnsupported, "window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := openBytes(t, c.content, c.o)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	if _, err := Open(context.Background(), t.TempDir(), Options{}); !errors.Is(err, ErrDirectory) {
		t.Errorf("folder: got %v", err)
	}
	if _, err := Open(context.Background(), filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: got %v", err)
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

func TestLooksLikeText(t *testing.T) {
	for _, c := range []struct {
		content string
		want    bool
	}{
		{"# a config\nkey = value\n", true},
		{strings.Repeat("ж", 3000), true},
		{"x" + strings.Repeat("ж", 3000), true},
		{"a\x00b", false},
		{"\xff\xfe", false},
		{"", false},
	} {
		if got := LooksLikeText(strings.NewReader(c.content)); got != c.want {
			t.Errorf("%.20q: got %v", c.content, got)
		}
	}
}
