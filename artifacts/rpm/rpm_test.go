package rpm

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/sqlite"
)

// The files of testdata hold two packages that rpmbuild 4.18 made of specs of
// this project: rpmdb.sqlite as rpm --justdb wrote it, and the same headers in a
// hash that db5.3_load made. rpm said of them:
//
//	rpm -qa --qf '%{nevra} %{installtime} %{buildtime}\n'
var want = []string{
	"hello-1:1.0-1.noarch 1795767720 1795767719",
	"libssl-2:3.2.1-4.el9.noarch 1795767720 1795767720",
}

func unpacked(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func say(p *Package) string {
	return fmt.Sprintf("%s %d %d", p.NEVRA(), p.Installed.Unix(), p.Built.Unix())
}

// headers are the blobs of the SQLite database.
func headers(t testing.TB) [][]byte {
	t.Helper()
	db, err := sqlite.Open(bytes.NewReader(unpacked(t, "sqlite.gz")), nil, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for r, err := range db.Rows("Packages") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, []byte(r.Text("blob")))
	}
	return out
}

func TestHeaders(t *testing.T) {
	var got []string
	for _, h := range headers(t) {
		p, err := ParseHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if p.Vendor != "Nobody" || p.Summary != "A package for a test" || !strings.HasSuffix(p.SourceRPM, ".src.rpm") {
			t.Errorf("%+v", p)
		}
		got = append(got, say(&p))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func all(t *testing.T, b []byte) []string {
	t.Helper()
	packages, err := Packages(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for p, err := range packages {
		if err != nil {
			if !errors.Is(err, evidence.ErrCorrupt) {
				t.Error(err)
			}
			got = append(got, "error")
			continue
		}
		got = append(got, say(&p))
	}
	slices.Sort(got)
	return got
}

func TestBerkeleyDB(t *testing.T) {
	b := unpacked(t, "bdb.gz")
	if got := all(t, b); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// Pages that lead back to themselves, and a file that was cut.
	for n := 1; n < len(b)/4096; n++ {
		if b[n*4096+bdbType] == bdbOverflow {
			loop := bytes.Clone(b)
			binary.LittleEndian.PutUint32(loop[n*4096+bdbNextPage:], uint32(n))
			if got := all(t, loop); !slices.Contains(got, "error") {
				t.Errorf("page %d: %q", n, got)
			}
			break
		}
	}
	all(t, b[:len(b)/2])
}

// buildNDB writes blobs as rpmpkg.c does.
func buildNDB(blobs [][]byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, ndbSlotPage)
	for i, v := range []uint32{ndbMagic, ndbVersion, 7, 1, uint32(len(blobs) + 1)} {
		le.PutUint32(b[4*i:], v)
	}
	for at := ndbHeader; at < ndbSlotPage; at += ndbSlotSize {
		le.PutUint32(b[at:], ndbSlot)
	}
	for i, blob := range blobs {
		size := (ndbBlobHead + len(blob) + 12 + ndbBlock - 1) / ndbBlock * ndbBlock
		slot := b[ndbHeader+i*ndbSlotSize:]
		le.PutUint32(slot[4:], uint32(i+1))
		le.PutUint32(slot[8:], uint32(len(b)/ndbBlock))
		le.PutUint32(slot[12:], uint32(size/ndbBlock))
		at := len(b)
		b = append(b, make([]byte, size)...)
		for k, v := range []uint32{ndbBlob, uint32(i + 1), 7, uint32(len(blob))} {
			le.PutUint32(b[at+4*k:], v)
		}
		copy(b[at+ndbBlobHead:], blob)
	}
	return b
}

func TestNDB(t *testing.T) {
	b := buildNDB(headers(t))
	if got := all(t, b); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	b[ndbSlotPage] ^= 1 // the first blob's magic
	if got := all(t, b); len(got) != 2 || !slices.Contains(got, "error") {
		t.Errorf("%q", got)
	}
}

func TestOther(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 10_000), []byte("SQLite format 3\x00")} {
		if _, err := Packages(bytes.NewReader(b), int64(len(b))); !errors.Is(err, evidence.ErrFormat) {
			t.Error(err)
		}
	}
}

func FuzzPackages(f *testing.F) {
	f.Add(unpacked(f, "bdb.gz"))
	f.Add(buildNDB(headers(f)))
	f.Add(headers(f)[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseHeader(b); err == nil && p.Name == "" {
			t.Error("no name")
		}
		packages, err := Packages(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for p, err := range packages {
			if err == nil && p.Name == "" {
				t.Error("no name")
			}
		}
	})
}
