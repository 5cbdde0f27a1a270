package packtest

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"
)

// Member is one header of a tar with its content, whose size Tar fills in.
type Member struct {
	tar.Header
	Content string
}

// Tar returns the archive of members.
func Tar(tb testing.TB, members ...Member) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		m.Size = int64(len(m.Content))
		if err := w.WriteHeader(&m.Header); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, m.Content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}
