package lines

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lagan/evidence"
	"lagan/internal/needs"
)

func told(r io.Reader) (out []string, failed []error) {
	for l, err := range Read(r) {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		s := fmt.Sprintf("%d:%s", l.Offset, l.Text)
		if l.Cut {
			s = fmt.Sprintf("%d:%d bytes", l.Offset, len(l.Text))
		}
		out = append(out, s)
	}
	return out, failed
}

func TestRead(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	nul := strings.Repeat("\x00", 64)
	for _, test := range []struct {
		name, log string
		want      []string
		errs      int
	}{
		{"lines", "a\nbc\r\n\nd", []string{"0:a", "2:bc", "6:", "7:d"}, 0},
		{"empty", "", nil, 0},
		{"long", long + "\n" + long + "yz\nb\n", []string{"0:" + long, fmt.Sprintf("%d:%d bytes", MaxLine+1, MaxLine), fmt.Sprintf("%d:b", 2*MaxLine+4)}, 0},
		{"zeros first", nul + "a\n", []string{"64:a"}, 1},
		{"zeros last", "a\n" + nul, []string{"0:a"}, 1},
		{"zeros between", "a" + nul + "b\nc\n", []string{"0:a", "65:b", "67:c"}, 1},
		{"zeros at a line's end", "a\x00\x00\nc\n", []string{"0:a", "4:c"}, 1},
		{"zeros of its own", "a\x00b\n", []string{"0:a\x00b"}, 0},
	} {
		got, failed := told(strings.NewReader(test.log))
		if !reflect.DeepEqual(got, test.want) || len(failed) != test.errs {
			t.Errorf("%s: %.200q, %v", test.name, got, failed)
		}
	}
}

// hole reads as zeros without an end.
type hole struct{ read int64 }

func (h *hole) Read(p []byte) (int, error) {
	clear(p)
	h.read += int64(len(p))
	return len(p), nil
}

func TestHole(t *testing.T) {
	needs.Time(t)
	h := &hole{}
	got, failed := told(io.MultiReader(strings.NewReader("a\n"), h))
	if len(got) != 1 || len(failed) == 0 || h.read > maxSkipped+2*MaxLine {
		t.Errorf("%d lines, %v, %d bytes", len(got), failed, h.read)
	}
}

func unpack(b []byte) (string, error) {
	r, done := Unpack(bytes.NewReader(b))
	defer done()
	out, err := io.ReadAll(io.LimitReader(r, 64<<20))
	return string(out), err
}

func TestUnpack(t *testing.T) {
	var b strings.Builder
	for i := range needs.Rounds(50_000, 10_000) {
		fmt.Fprintf(&b, "%d is line %d of a log\n", i*i*7919%1_000_003, i)
	}
	log := b.String()
	packed := map[string][]byte{}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	io.WriteString(w, log)
	w.Close()
	packed["gzip"] = z.Bytes()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed["zstd"] = e.EncodeAll([]byte(log), nil)
	for _, tool := range []string{"xz", "bzip2", "lz4"} {
		cmd := exec.Command(tool, "-c")
		cmd.Stdin = strings.NewReader(log)
		if out, err := cmd.Output(); err == nil {
			packed[tool] = out
		}
	}
	for form, b := range packed {
		if got, err := unpack(b); got != log || err != nil {
			t.Errorf("%s: %d bytes, %v", form, len(got), err)
		}
		got, err := unpack(b[:len(b)-len(b)/4])
		// What is whole is there: all blocks of the front but the one that is cut.
		if !strings.HasPrefix(log, got) || !errors.Is(err, evidence.ErrCorrupt) || form == "gzip" && len(got) < len(log)/2 {
			t.Errorf("%s, cut: %d bytes, %v", form, len(got), err)
		}
	}
	if got, err := unpack([]byte("BZ plain")); got != "BZ plain" || err != nil {
		t.Error(got, err)
	}
	if got, err := unpack(nil); got != "" || err != nil {
		t.Error(got, err)
	}
}

// TestDictionary has a file of xz that asks for a dictionary of 4 GiB.
func TestDictionary(t *testing.T) {
	b := append([]byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 4, 0xe6, 0xd6, 0xb4, 0x46}, 2, 0, 0x21, 1, 40, 0, 0, 0, 0, 0, 0, 0)
	if _, err := unpack(b); !errors.Is(err, evidence.ErrUnsupported) {
		t.Error(err)
	}
}

func FuzzUnpack(f *testing.F) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	io.WriteString(w, "a\nb\n")
	w.Close()
	f.Add(z.Bytes())
	f.Add([]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00"))
	f.Add([]byte("BZh91AY&SY"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00\x19\x00\x00a\nb"))
	f.Add([]byte("\x04\x22\x4d\x18\x64\x40\xa7"))
	f.Add([]byte("a\x00\x00\nb\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, done := Unpack(bytes.NewReader(b))
		defer done()
		for _, err := range Read(io.LimitReader(r, 8<<20)) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
				t.Fatal(err)
			}
		}
	})
}
